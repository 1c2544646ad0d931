//! New endpoints beside old ones.

use std::time::Duration;

use lateen_model::Percent;
use lateen_model::balancer::Warmup;

use super::*;

fn slow(algorithm: Algorithm) -> LoadBalancer {
    LoadBalancer {
        algorithm,
        warmup: Some(Warmup {
            duration: Duration::from_secs(100),
            minimum: Percent::from_millionths(100_000),
            aggression_millis: 1000,
        }),
        ..LoadBalancer::default()
    }
}

/// How often a new endpoint is picked beside an old one, at an age.
fn share_of_new(algorithm: Algorithm, age: u64) -> u32 {
    let cluster = cluster_of(slow(algorithm), &[given(1), given(1)]);
    endpoint(&cluster, 0).status.ready_since(Millis(1));
    endpoint(&cluster, 1).status.ready_since(Millis(1_000_000));
    let context = Pick {
        now: Millis(1_000_000 + age),
        ..Pick::default()
    };
    counts(&cluster, &context, 1100)[1]
}

#[test]
fn a_new_endpoint_gets_less_at_first_and_its_share_in_the_end() {
    let turns = [0, 50_000, 100_000].map(|age| share_of_new(Algorithm::RoundRobin, age));
    assert_near(&turns, &[100, 367, 550], 45);
    let busy = [0, 50_000, 100_000].map(|age| share_of_new(Algorithm::LeastRequest, age));
    assert!(busy[0] < 160 && busy[1] > 250 && busy[1] < 480, "{busy:?}");
    assert_near(&busy[2..], &[550], 45);
}

#[test]
fn other_algorithms_know_no_slow_start() {
    assert_near(&[share_of_new(Algorithm::Random, 0)], &[550], 45);
}

#[test]
fn endpoints_that_are_new_together_share_evenly() {
    let cluster = cluster_of(slow(Algorithm::RoundRobin), &vec![given(1); 4]);
    let context = Pick {
        now: Millis(5),
        ..Pick::default()
    };
    assert_near(
        &counts(&cluster, &context, 2000),
        &[500, 500, 500, 500, 0],
        60,
    );
}
