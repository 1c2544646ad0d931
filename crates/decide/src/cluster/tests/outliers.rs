//! Endpoints that fail, and those that are left.

use std::time::Duration;

use lateen_model::Percent;
use lateen_model::pool::OutlierDetection;

use super::*;
use crate::outlier::Detection;

fn watched(algorithm: Algorithm, number: usize, max: u32, min_health: u32) -> Cluster {
    let mut cluster = equal(algorithm, number);
    cluster.policy.outlier_detection = Some(Detection::new(&OutlierDetection {
        consecutive_5xx: 1,
        consecutive_gateway_errors: 0,
        splits_local_origin: false,
        consecutive_local_origin: 5,
        error_codes: Vec::new(),
        interval: Duration::from_secs(10),
        base_ejection_time: Duration::from_secs(30),
        max_ejection: Percent::from_millionths(max * 10_000),
        min_health: Percent::from_millionths(min_health * 10_000),
    }));
    cluster
}

fn fail(cluster: &Cluster, index: usize, now: u64) -> bool {
    cluster.record(
        endpoint(cluster, index),
        Outcome::Answered(500),
        Millis(now),
    )
}

fn at_time(cluster: &Cluster, now: u64) -> Vec<u32> {
    let context = Pick {
        now: Millis(now),
        ..Pick::default()
    };
    counts(cluster, &context, 300)
}

#[test]
fn an_endpoint_that_fails_gets_nothing_until_its_time_is_over() {
    for algorithm in [
        Algorithm::LeastRequest,
        Algorithm::RoundRobin,
        Algorithm::Random,
        hashed(HashTable::Ring { minimum_size: 1024 }),
    ] {
        let cluster = watched(algorithm.clone(), 3, 100, 0);
        assert!(fail(&cluster, 1, 1_000));
        for now in [1_000, 30_999] {
            let counts = at_time(&cluster, now);
            assert_eq!(counts[1], 0, "{algorithm:?}");
            assert!(
                counts[0] > 60 && counts[2] > 60,
                "{algorithm:?}: {counts:?}"
            );
        }
        assert!(at_time(&cluster, 31_000)[1] > 60, "{algorithm:?}");
    }
}

#[test]
fn no_more_than_the_maximum_are_out_but_one_may_always_be() {
    let cluster = watched(Algorithm::Random, 4, 10, 0);
    assert!(fail(&cluster, 0, 1_000));
    assert!(!fail(&cluster, 1, 1_000));
    let cluster = watched(Algorithm::Random, 4, 50, 0);
    assert!(fail(&cluster, 0, 1_000));
    assert!(fail(&cluster, 1, 1_000));
    assert!(!fail(&cluster, 2, 1_000));
    // The first is back.
    assert!(fail(&cluster, 2, 31_000));
}

#[test]
fn with_all_of_them_out_there_is_none_unless_the_threshold_says_panic() {
    let all_out = |min_health| {
        let cluster = watched(Algorithm::Random, 3, 100, min_health);
        (0..3).for_each(|index| assert!(fail(&cluster, index, 1_000)));
        at_time(&cluster, 2_000)
    };
    assert_eq!(all_out(0), [0, 0, 0, 300]);
    assert_near(&all_out(50), &[100, 100, 100, 0], 30);
}

#[test]
fn panic_begins_below_the_threshold() {
    let cluster = watched(Algorithm::Random, 4, 100, 50);
    assert!(fail(&cluster, 0, 1_000));
    assert!(fail(&cluster, 1, 1_000));
    assert_eq!(at_time(&cluster, 2_000)[..2], [0, 0]);
    assert!(fail(&cluster, 2, 2_000));
    assert_near(&at_time(&cluster, 3_000), &[75, 75, 75, 75, 0], 25);
    // The first two are back.
    assert_eq!(at_time(&cluster, 31_500)[2], 0);
}

#[test]
fn without_detection_nothing_is_remembered() {
    let cluster = equal(Algorithm::Random, 2);
    for _ in 0..100 {
        assert!(!fail(&cluster, 0, 1_000));
    }
    assert!(at_time(&cluster, 1_000)[0] > 100);
}

#[test]
fn a_retry_rather_repeats_an_endpoint_than_takes_one_that_is_out() {
    let cluster = watched(Algorithm::LeastRequest, 2, 100, 0);
    assert!(fail(&cluster, 1, 1_000));
    let context = Pick {
        now: Millis(2_000),
        tried: &[address(0)],
        ..Pick::default()
    };
    assert_eq!(counts(&cluster, &context, 20), [20, 0, 0]);
}
