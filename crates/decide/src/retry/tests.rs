//! Envoy's conditions, one by one.

use super::*;

fn on(conditions: &[RetryOn]) -> RetryPolicy {
    RetryPolicy::new(&Retries {
        conditions: conditions.to_vec(),
        status_codes: vec![418],
        ..Retries::default_policy()
    })
}

/// The statuses among some of every kind that are retried.
fn statuses(condition: RetryOn) -> Vec<u16> {
    let policy = on(&[condition]);
    let all = [200, 404, 409, 418, 429, 500, 501, 502, 503, 504, 505];
    let retried = all.into_iter();
    retried
        .filter(|status| policy.retries_response(*status, None, false))
        .collect()
}

/// The failures that are retried: connect, reset unsent, reset sent, refused, timeout.
fn failures(condition: RetryOn) -> [bool; 5] {
    [
        AttemptFailure::Connect,
        AttemptFailure::Reset { is_unsent: true },
        AttemptFailure::Reset { is_unsent: false },
        AttemptFailure::RefusedStream,
        AttemptFailure::PerTryTimeout,
    ]
    .map(|failure| on(&[condition]).retries_failure(failure))
}

#[test]
fn each_condition_takes_its_statuses() {
    assert_eq!(
        statuses(RetryOn::ServerError),
        [500, 501, 502, 503, 504, 505]
    );
    assert_eq!(statuses(RetryOn::GatewayError), [502, 503, 504]);
    assert_eq!(statuses(RetryOn::Retriable4xx), [409]);
    assert_eq!(statuses(RetryOn::RetriableStatusCodes), [418]);
    for condition in [
        RetryOn::Reset,
        RetryOn::ResetBeforeRequest,
        RetryOn::ConnectFailure,
        RetryOn::EnvoyRatelimited,
        RetryOn::RefusedStream,
        RetryOn::RetriableHeaders,
        RetryOn::Http3PostConnectFailure,
        RetryOn::Unavailable,
    ] {
        assert_eq!(statuses(condition), [0; 0], "{condition:?}");
    }
}

#[test]
fn each_condition_takes_its_failures() {
    for condition in [RetryOn::ServerError, RetryOn::GatewayError, RetryOn::Reset] {
        assert_eq!(failures(condition), [true; 5], "{condition:?}");
    }
    let [connect, unsent, refused] = [
        RetryOn::ConnectFailure,
        RetryOn::ResetBeforeRequest,
        RetryOn::RefusedStream,
    ];
    assert_eq!(failures(connect), [true, false, false, false, false]);
    assert_eq!(failures(unsent), [true, true, false, false, false]);
    assert_eq!(failures(refused), [false, false, false, true, false]);
    for condition in [
        RetryOn::Retriable4xx,
        RetryOn::RetriableStatusCodes,
        RetryOn::EnvoyRatelimited,
        RetryOn::Unavailable,
    ] {
        assert_eq!(failures(condition), [false; 5], "{condition:?}");
    }
}

#[test]
fn grpc_conditions_look_at_the_status_in_the_head() {
    for (condition, code) in [
        (RetryOn::Cancelled, 1),
        (RetryOn::DeadlineExceeded, 4),
        (RetryOn::ResourceExhausted, 8),
        (RetryOn::Internal, 13),
        (RetryOn::Unavailable, 14),
    ] {
        let policy = on(&[condition]);
        let retried = (0..=16).filter(|one| policy.retries_response(200, Some(*one), false));
        assert_eq!(retried.collect::<Vec<_>>(), [code]);
    }
}

#[test]
fn what_is_rate_limited_is_retried_only_where_that_is_asked_for() {
    let all = [RetryOn::ServerError, RetryOn::Unavailable];
    assert!(!on(&all).retries_response(503, Some(14), true));
    assert!(on(&[RetryOn::EnvoyRatelimited]).retries_response(429, None, true));
}

#[test]
fn a_policy_without_attempts_or_conditions_is_off() {
    assert!(on(&[RetryOn::Reset]).is_on());
    assert!(!on(&[]).is_on());
    assert!(!RetryPolicy::default().is_on());
    let none = Retries {
        attempts: 0,
        ..Retries::default_policy()
    };
    assert!(!RetryPolicy::new(&none).is_on());
}

#[test]
fn pauses_grow_up_to_ten_times_the_base() {
    let policy = on(&[RetryOn::Reset]);
    let pauses = [1, 2, 3, 4, 5, 31, 32, 33, u32::MAX].map(|retry| policy.longest_pause(retry));
    let millis = pauses.map(|pause| pause.as_millis());
    assert_eq!(millis, [25, 75, 175, 250, 250, 250, 250, 250, 250]);
}
