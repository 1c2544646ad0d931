//! Probes: when to ask a container how it is, and what to make of the answers.
//!
//! Kubernetes asks every `periodSeconds`, which costs a pod up to one period after it has become
//! ready. Until the first success this node asks more often over the network, at first after 20 ms;
//! failures count towards the threshold once per period all the same.

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;
use tokio::time::{Instant, sleep, timeout};

use super::action::Target;

/// What a probe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Startup,
    Readiness,
    Liveness,
}

/// What has been found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// As many successes as are asked for, after a failure or at first.
    Healthy,
    /// As many failures as are too many, after a success or at first.
    Unhealthy(String),
    /// One failure, for an event.
    Failed(String),
}

/// The pauses before the first success: from, doubling, to.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// How a probe is timed.
#[derive(Debug, Clone, Copy)]
struct Timing {
    delay: Duration,
    period: Duration,
    timeout: Duration,
    successes: u32,
    failures: u32,
    /// Whether asking costs little, so that it may be done more often.
    is_cheap: bool,
}

/// Counts answers; no clock of its own.
#[derive(Debug)]
struct Count {
    timing: Timing,
    successes: u32,
    failures: u32,
    is_healthy: Option<bool>,
    pause: Duration,
    /// Failures before this are not counted.
    next_failure: Instant,
}

/// Asks until the future is dropped, or the probe's question is answered for good.
pub(crate) async fn run(kind: Kind, probe: Probe, target: Target, report: impl Fn(Finding)) {
    let timing = Timing::of(&probe);
    sleep(timing.delay).await;
    let mut count = Count::new(timing, Instant::now());
    loop {
        let answer = timeout(timing.timeout, target.probe(&probe)).await;
        let answer = answer.unwrap_or_else(|_| {
            Err(format!(
                "no answer within {}",
                super::seconds(timing.timeout)
            ))
        });
        for finding in count.take(answer, Instant::now()) {
            let is_last = matches!(
                (&finding, kind),
                (Finding::Healthy, Kind::Startup)
                    | (Finding::Unhealthy(_), Kind::Startup | Kind::Liveness)
            );
            report(finding);
            if is_last {
                return;
            }
        }
        sleep(count.pause).await;
    }
}

// === impl Timing ===

impl Timing {
    fn of(probe: &Probe) -> Self {
        let seconds = |value: Option<i32>, default: u64| {
            let value = value.and_then(|value| u64::try_from(value).ok());
            Duration::from_secs(value.unwrap_or(default))
        };
        let count = |value: Option<i32>, default: u32| {
            value
                .and_then(|value| u32::try_from(value).ok())
                .unwrap_or(default)
                .max(1)
        };
        Self {
            delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
            timeout: seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1)),
            successes: count(probe.success_threshold, 1),
            failures: count(probe.failure_threshold, 3),
            is_cheap: probe.exec.is_none(),
        }
    }
}

// === impl Count ===

impl Count {
    fn new(timing: Timing, now: Instant) -> Self {
        Self {
            timing,
            successes: 0,
            failures: 0,
            is_healthy: None,
            pause: FIRST_PAUSE,
            // Nothing listens at once; that alone is worth no event.
            next_failure: now + timing.period.min(LAST_PAUSE),
        }
    }

    fn take(&mut self, answer: Result<(), String>, now: Instant) -> Vec<Finding> {
        match answer {
            Ok(()) => {
                self.pause = self.timing.period;
                self.failures = 0;
                self.successes += 1;
                let is_news =
                    self.successes >= self.timing.successes && self.is_healthy != Some(true);
                if !is_news {
                    return Vec::new();
                }
                self.is_healthy = Some(true);
                vec![Finding::Healthy]
            }
            Err(why) => self.fail(why, now),
        }
    }

    fn fail(&mut self, why: String, now: Instant) -> Vec<Finding> {
        self.successes = 0;
        let is_early = self.is_healthy != Some(true) && self.timing.is_cheap;
        if is_early {
            let pause = self.pause;
            self.pause = (pause * 2).min(LAST_PAUSE).min(self.timing.period);
            if now < self.next_failure {
                return Vec::new();
            }
            self.next_failure = now + self.timing.period;
        } else {
            self.pause = self.timing.period;
        }
        self.failures += 1;
        let mut findings = vec![Finding::Failed(why.clone())];
        if self.failures >= self.timing.failures && self.is_healthy != Some(false) {
            self.is_healthy = Some(false);
            findings.push(Finding::Unhealthy(why));
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn count(probe: Value) -> (Count, Instant) {
        let now = Instant::now();
        let probe: Probe = serde_json::from_value(probe).unwrap();
        (Count::new(Timing::of(&probe), now), now)
    }

    fn no() -> Result<(), String> {
        Err("no".into())
    }

    #[test]
    fn the_first_success_is_found_soon() {
        let (mut count, now) = count(json!({ "periodSeconds": 10, "httpGet": { "port": 1 } }));
        let mut waited = Duration::ZERO;
        for _ in 0..4 {
            waited += count.pause;
            assert!(count.take(no(), now + waited).is_empty());
        }
        assert!(waited < Duration::from_millis(400), "{waited:?}");
        assert_eq!(count.take(Ok(()), now + waited), [Finding::Healthy]);
        assert_eq!(count.pause, Duration::from_secs(10));
    }

    #[test]
    fn failures_count_once_per_period() {
        let (mut count, start) =
            count(json!({ "periodSeconds": 1, "failureThreshold": 3, "tcpSocket": { "port": 1 } }));
        let mut waited = Duration::ZERO;
        let mut counted = 0;
        loop {
            let findings = count.take(no(), start + waited);
            counted += usize::from(findings.contains(&Finding::Failed("no".into())));
            if findings.contains(&Finding::Unhealthy("no".into())) {
                break;
            }
            waited += count.pause;
        }
        assert_eq!(counted, 3);
        assert!((3..=5).contains(&waited.as_secs()), "{waited:?}");
    }

    #[test]
    fn programs_are_run_once_per_period_only() {
        let (mut count, now) = count(json!({ "periodSeconds": 5, "exec": { "command": ["x"] } }));
        assert_eq!(count.take(no(), now).len(), 1);
        assert_eq!(count.pause, Duration::from_secs(5));
    }

    #[test]
    fn a_change_is_reported_and_its_confirmation_is_not() {
        let (mut count, now) = count(json!({ "failureThreshold": 2, "successThreshold": 2,
            "httpGet": { "port": 1 } }));
        assert!(count.take(Ok(()), now).is_empty());
        assert_eq!(count.take(Ok(()), now), [Finding::Healthy]);
        assert!(count.take(Ok(()), now).is_empty());
        assert_eq!(count.take(no(), now).len(), 1);
        assert_eq!(
            count.take(no(), now).len(),
            2,
            "unhealthy, and the failure itself"
        );
        let later = now + Duration::from_secs(100);
        assert_eq!(count.take(no(), later).len(), 1);
        assert!(count.take(Ok(()), later).is_empty());
        assert_eq!(count.take(Ok(()), later), [Finding::Healthy]);
    }
}
