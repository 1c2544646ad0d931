//! Points in time as Kubernetes writes them.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// Now, in whole seconds, as objects have it.
pub(super) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// The time that is left until `seconds` after `start`; nothing if that has passed.
///
/// Times of objects have whole seconds, so a second is added: being late is allowed, being early
/// is not.
pub(super) fn remaining(start: &Time, seconds: i64, now: Timestamp) -> Option<Duration> {
    let end = start
        .0
        .checked_add(SignedDuration::from_secs(seconds))
        .ok()?;
    let left = end.duration_since(now);
    if left <= SignedDuration::ZERO {
        return None;
    }
    Duration::try_from(left)
        .ok()
        .map(|left| left + Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_passed_is_not_waited_for() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        assert_eq!(remaining(&Time(at(100)), 10, at(110)), None);
        let left = remaining(&Time(at(100)), 10, at(105));
        assert_eq!(left, Some(Duration::from_secs(6)));
    }
}
