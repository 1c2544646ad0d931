//! Outlier detection in single steps.

use super::*;

fn policy() -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: 3,
        consecutive_gateway_errors: 0,
        splits_local_origin: false,
        consecutive_local_origin: 2,
        error_codes: Vec::new(),
        interval: Duration::from_secs(10),
        base_ejection_time: Duration::from_secs(30),
        max_ejection: Percent::from_millionths(100_000),
        min_health: Percent::ZERO,
    }
}

/// After which of the outcomes the endpoint is due.
fn due(policy: &OutlierDetection, outcomes: &[Outcome]) -> Vec<usize> {
    let detection = Detection::new(policy);
    let status = Status::default();
    let due = outcomes.iter().enumerate();
    let due = due.filter(|(_, outcome)| status.count(&detection, **outcome));
    due.map(|(at, _)| at).collect()
}

#[test]
fn failures_in_a_row_count_and_a_success_forgets_them() {
    let bad = Outcome::Answered(500);
    let good = Outcome::Answered(200);
    assert_eq!(due(&policy(), &[bad, bad, bad, bad, bad, bad]), [2, 5]);
    assert_eq!(due(&policy(), &[bad, bad, good, bad, bad, good]), [0; 0]);
    let missing = Outcome::Answered(404);
    assert_eq!(due(&policy(), &[bad, bad, missing, bad, bad]), [0; 0]);
}

#[test]
fn failures_to_connect_count_as_errors_unless_they_are_split_off() {
    let outcomes = [
        Outcome::Failed,
        Outcome::TimedOut,
        Outcome::Answered(500),
        Outcome::Failed,
    ];
    assert_eq!(due(&policy(), &outcomes), [2]);
    let split = OutlierDetection {
        splits_local_origin: true,
        ..policy()
    };
    assert_eq!(due(&split, &outcomes), [1]);
    let off = OutlierDetection {
        consecutive_local_origin: 0,
        ..split
    };
    assert_eq!(due(&off, &outcomes), [0; 0]);
}

#[test]
fn gateway_errors_are_counted_beside_the_others() {
    let policy = OutlierDetection {
        consecutive_5xx: 0,
        consecutive_gateway_errors: 2,
        ..policy()
    };
    let [own, gateway] = [Outcome::Answered(500), Outcome::Answered(503)];
    assert_eq!(due(&policy, &[gateway, own, gateway, gateway]), [3]);
    assert_eq!(due(&policy, &[Outcome::TimedOut, Outcome::Failed]), [1]);
    assert_eq!(due(&policy, &[own, own, own, own]), [0; 0]);
}

#[test]
fn other_statuses_may_be_errors() {
    let policy = OutlierDetection {
        consecutive_5xx: 1,
        error_codes: vec![(429, 429), (520, 529)],
        ..policy()
    };
    let outcomes = [500, 429, 520, 530, 200].map(Outcome::Answered);
    assert_eq!(due(&policy, &outcomes), [1, 2]);
    assert_eq!(due(&policy, &[Outcome::Failed]), [0]);
}

#[test]
fn each_ejection_lasts_longer_and_each_healthy_interval_makes_up_for_one() {
    let detection = Detection::new(&policy());
    let status = Status::default();
    let eject = |now| status.eject(&detection, Millis(now)).map(|until| until.0);
    assert_eq!(eject(1_000), Some(31_000));
    assert_eq!(eject(30_999), None);
    assert_eq!(eject(31_000), Some(91_000));
    // Two healthy intervals: as if it was never out.
    assert_eq!(eject(111_000), Some(141_000));
    // Less than one.
    assert_eq!(eject(150_999), Some(210_999));
    assert!(status.is_ejected(Millis(210_998)));
    assert!(!status.is_ejected(Millis(210_999)));
}

#[test]
fn an_ejection_ends_after_five_minutes_at_most() {
    let detection = Detection::new(&policy());
    let status = Status::default();
    let mut now = 1;
    for _ in 0..20 {
        let until = status.eject(&detection, Millis(now)).expect("it is in");
        assert!(until.0 - now <= MAX_EJECTION_TIME);
        now = until.0;
    }
    let long = OutlierDetection {
        base_ejection_time: Duration::from_secs(1000),
        ..policy()
    };
    let until = Status::default().eject(&Detection::new(&long), Millis(1));
    assert_eq!(until, Some(Millis(1_000_001)));
}

#[test]
fn one_may_always_be_out_and_more_up_to_the_maximum() {
    let detection = Detection::new(&policy());
    assert!(detection.may_eject(0, 1));
    assert!(!detection.may_eject(1, 10));
    assert!(detection.may_eject(1, 11));
    let none = Detection::new(&OutlierDetection {
        max_ejection: Percent::ZERO,
        ..policy()
    });
    assert!(none.may_eject(0, 3));
    assert!(!none.may_eject(1, 3));
}
