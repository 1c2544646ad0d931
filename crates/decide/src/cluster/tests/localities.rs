//! Priorities and shares of localities.

use std::time::Duration;

use lateen_model::Percent;
use lateen_model::pool::OutlierDetection;

use super::*;
use crate::outlier::Detection;

fn tiers(tiers: &[(u32, Health)]) -> Cluster {
    let all: Vec<_> = tiers
        .iter()
        .map(|(priority, health)| at(*priority, *health))
        .collect();
    cluster(Algorithm::Random, &all)
}

const READY: Health = Health::Ready;
const NOT: Health = Health::NotReady;

#[test]
fn the_first_priority_gets_everything_while_it_is_healthy_enough() {
    let cluster = tiers(&[(0, READY), (0, READY), (3, READY)]);
    assert_near(&plain(&cluster, 200), &[100, 100, 0, 0], 30);
    // Three of four are more than 100/140.
    let cluster = tiers(&[(0, READY), (0, READY), (0, READY), (0, NOT), (7, READY)]);
    assert_eq!(plain(&cluster, 300)[4], 0);
}

#[test]
fn what_a_priority_cannot_take_goes_to_the_next_one() {
    // Half of the first is healthy: 70 % stay.
    let cluster = tiers(&[(0, READY), (0, NOT), (2, READY), (4, READY)]);
    assert_near(&plain(&cluster, 1000), &[700, 0, 300, 0, 0], 50);
    // None is, and half of the second.
    let cluster = tiers(&[(0, NOT), (1, READY), (1, NOT), (2, READY)]);
    assert_near(&plain(&cluster, 1000), &[0, 700, 0, 300, 0], 50);
}

#[test]
fn where_all_together_are_not_enough_they_share_in_proportion() {
    // 1 of 4 is 35 %, 1 of 7 is 20 %.
    let mut all = vec![(0, NOT); 4];
    all[0].1 = READY;
    all.extend([(1, NOT); 7]);
    all[4].1 = READY;
    let counts = plain(&tiers(&all), 1100);
    assert_near(&[counts[0], counts[4]], &[700, 400], 60);
}

#[test]
fn endpoints_that_go_away_do_not_count_as_failed() {
    let cluster = tiers(&[(0, READY), (0, Health::Draining), (1, READY)]);
    assert_eq!(plain(&cluster, 100), [100, 0, 0, 0]);
}

#[test]
fn endpoints_that_get_nothing_are_told_with_the_reason() {
    let mut all = vec![
        at(0, READY),
        at(0, NOT),
        at(0, Health::Draining),
        at(1, READY),
        at(9, READY),
        given(1),
    ];
    all[5].place = None;
    let cluster = cluster(Algorithm::Random, &all);
    let mut told: Vec<_> = cluster
        .explain(Millis(1))
        .into_iter()
        .map(|(endpoint, why)| (endpoint.address.clone(), why))
        .collect();
    told.sort_by_key(|(address, _)| address.clone());
    let told: Vec<_> = told.into_iter().map(|(_, why)| why).collect();
    let far = LeftOut::OtherPriority { priority: 2 };
    assert_eq!(
        told,
        [
            None,
            Some(LeftOut::NotReady),
            Some(LeftOut::Draining),
            None,
            Some(far),
            Some(LeftOut::NoShare)
        ]
    );
    let text = "has priority 2, and those before it take everything";
    assert_eq!(far.to_string(), text);
}

#[test]
fn ejected_endpoints_move_requests_to_the_next_priority() {
    let mut cluster = tiers(&[(0, READY), (0, READY), (1, READY)]);
    cluster.policy.outlier_detection = Some(Detection::new(&OutlierDetection {
        consecutive_5xx: 1,
        consecutive_gateway_errors: 0,
        splits_local_origin: false,
        consecutive_local_origin: 5,
        error_codes: Vec::new(),
        interval: Duration::from_secs(10),
        base_ejection_time: Duration::from_secs(30),
        max_ejection: Percent::ALL,
        min_health: Percent::ZERO,
    }));
    let context = Pick {
        now: Millis(2_000),
        ..Pick::default()
    };
    let fail = |index| {
        let bad = Outcome::Answered(503);
        cluster.record(endpoint(&cluster, index), bad, Millis(1_000))
    };
    assert!(fail(0));
    assert_near(&counts(&cluster, &context, 1000), &[0, 700, 300, 0], 50);
    assert!(fail(1));
    assert_eq!(counts(&cluster, &context, 100), [0, 0, 100, 0]);
    let why = |now| {
        let told = cluster.explain(Millis(now)).into_iter();
        told.map(|(_, why)| why).collect::<Vec<_>>()
    };
    let out = Some(LeftOut::Ejected { millis: 29_000 });
    assert_eq!(why(2_000), [out, out, None]);
    let far = Some(LeftOut::OtherPriority { priority: 1 });
    assert_eq!(why(40_000), [None, None, far]);
    assert!(fail(2));
    assert_eq!(counts(&cluster, &context, 100), [0, 0, 0, 100]);
}

#[test]
fn retries_may_leave_a_locality_after_every_other_attempt() {
    let cluster = tiers(&[(0, READY), (0, READY), (1, READY)]);
    let context = |tried| Pick {
        tried,
        seeks_other_localities: true,
        ..Pick::default()
    };
    let once = [address(0)];
    assert_eq!(counts(&cluster, &context(&once), 20), [0, 20, 0, 0]);
    let twice = [address(0), address(1)];
    assert_eq!(counts(&cluster, &context(&twice), 20), [0, 0, 20, 0]);
    // Everywhere: from the start.
    let all = [address(0), address(1), address(2), address(2)];
    let counts = counts(&cluster, &context(&all), 20);
    assert_eq!(counts[2..], [0, 0], "{counts:?}");
}

#[test]
fn shares_hold_however_many_endpoints_a_locality_has() {
    let place = |pool, share| {
        Some(Place {
            pool,
            share,
            ..FLAT
        })
    };
    let mut all = vec![given(1); 5];
    for (index, one) in all.iter_mut().enumerate() {
        one.place = match index {
            0 => place(0, 80),
            1..4 => place(1, 20),
            _ => None,
        };
    }
    for algorithm in [
        Algorithm::Random,
        Algorithm::RoundRobin,
        Algorithm::LeastRequest,
    ] {
        let cluster = cluster(algorithm, &all);
        let counts = plain(&cluster, 3000);
        let shares = [counts[0], counts[1..4].iter().sum(), counts[4], counts[5]];
        assert_near(&shares, &[2400, 600, 0, 0], 80);
        assert_eq!(endpoint(&cluster, 4).priority, None);
    }
}
