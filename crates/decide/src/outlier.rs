//! Outlier detection: endpoints that fail are taken out for a while.
//!
//! It is pure: outcomes and the time come in as arguments, and what is remembered of an endpoint
//! is a handful of relaxed atomics that all workers share. There is no timer: an endpoint comes
//! back when its time is over, and what Envoy does in each interval (an endpoint that stays in
//! makes up for one of its ejections) is counted when it fails the next time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use lateen_model::Percent;
use lateen_model::pool::OutlierDetection;

/// A reading of a monotonic clock in milliseconds. All workers of a proxy count from the same
/// moment, which is not before their plans were made; zero is not used for a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Millis(pub u64);

/// How an attempt ended, for the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered with this status; for gRPC with the HTTP status that `grpc-status` equals.
    Answered(u16),
    /// A connection was made, and no more is known of it: TCP.
    Connected,
    /// The connection could not be made, or broke before an answer.
    Failed,
    /// There was no answer in time.
    TimedOut,
}

/// When endpoints of a cluster are taken out, in compiled form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detection {
    consecutive_5xx: u32,
    consecutive_gateway_errors: u32,
    /// Failures to connect are counted apart, up to this; never if zero.
    consecutive_local_origin: Option<u32>,
    error_codes: Box<[(u16, u16)]>,
    interval: u64,
    base_ejection_time: u64,
    max_ejection: Percent,
    min_health: Percent,
}

/// What is remembered of an endpoint in a cluster.
#[derive(Debug, Default)]
pub struct Status {
    errors: AtomicU32,
    gateway_errors: AtomicU32,
    local_failures: AtomicU32,
    /// Zero before the first ejection.
    ejected_until: AtomicU64,
    /// How many times the base an ejection lasts.
    factor: AtomicU32,
    /// When it was first seen to take requests; zero if not yet.
    ready_since: AtomicU64,
}

/// An ejection lasts no longer than this, or the base if that is longer (Envoy's default).
const MAX_EJECTION_TIME: u64 = 300_000;

// === impl Detection ===

impl Detection {
    /// Compiles a policy.
    pub(crate) fn new(policy: &OutlierDetection) -> Self {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            consecutive_5xx: policy.consecutive_5xx,
            consecutive_gateway_errors: policy.consecutive_gateway_errors,
            consecutive_local_origin: policy
                .splits_local_origin
                .then_some(policy.consecutive_local_origin),
            error_codes: policy.error_codes.as_slice().into(),
            interval: millis(policy.interval).max(1),
            base_ejection_time: millis(policy.base_ejection_time),
            max_ejection: policy.max_ejection,
            min_health: policy.min_health,
        }
    }

    /// Answers whether one more endpoint may be taken out: the share that is out is below the
    /// maximum, or none is.
    pub(crate) fn may_eject(&self, ejected: usize, all: usize) -> bool {
        ejected == 0 || is_below(ejected, all, self.max_ejection)
    }

    /// Answers whether so few endpoints are in that all get requests.
    pub(crate) fn is_panic(&self, healthy: usize, all: usize) -> bool {
        is_below(healthy, all, self.min_health)
    }

    fn is_error(&self, status: u16) -> bool {
        if self.error_codes.is_empty() {
            return (500..=599).contains(&status);
        }
        let mut ranges = self.error_codes.iter();
        ranges.any(|(first, last)| (*first..=*last).contains(&status))
    }
}

/// Answers whether a part is a smaller share of the whole.
fn is_below(part: usize, whole: usize, share: Percent) -> bool {
    part as u128 * 1_000_000 < whole as u128 * u128::from(share.millionths())
}

// === impl Status ===

impl Status {
    /// Answers whether it is out.
    pub fn is_ejected(&self, now: Millis) -> bool {
        now.0 < self.ejected_until.load(Relaxed)
    }

    /// Until when it is, or was, out; `None` if it never was.
    pub fn ejected_until(&self) -> Option<Millis> {
        Some(Millis(self.ejected_until.load(Relaxed))).filter(|until| until.0 > 0)
    }

    /// Counts an outcome and answers whether there were too many failures in a row; they are
    /// counted anew then.
    pub(crate) fn count(&self, detection: &Detection, outcome: Outcome) -> bool {
        let is_split = detection.consecutive_local_origin.is_some();
        // Apart from answers everything is a status too, unless it is counted apart: Envoy's.
        let status = match outcome {
            Outcome::Answered(status) => status,
            Outcome::Connected => 200,
            Outcome::Failed if !is_split => 503,
            Outcome::TimedOut if !is_split => 504,
            Outcome::Failed | Outcome::TimedOut => {
                let limit = detection.consecutive_local_origin.unwrap_or(0);
                return one_more(&self.local_failures, limit);
            }
        };
        clear(&self.local_failures);
        // What is no answer is an error whatever statuses are errors.
        let is_error = match outcome {
            Outcome::Answered(status) => detection.is_error(status),
            Outcome::Connected => false,
            Outcome::Failed | Outcome::TimedOut => true,
        };
        if !is_error {
            clear(&self.errors);
            clear(&self.gateway_errors);
            return false;
        }
        let mut is_due = false;
        if (502..=504).contains(&status) {
            is_due |= one_more(&self.gateway_errors, detection.consecutive_gateway_errors);
        } else {
            clear(&self.gateway_errors);
        }
        is_due | one_more(&self.errors, detection.consecutive_5xx)
    }

    /// Takes it out and answers until when; `None` if it is out already.
    pub(crate) fn eject(&self, detection: &Detection, now: Millis) -> Option<Millis> {
        let last = self.ejected_until.load(Relaxed);
        if now.0 < last {
            return None;
        }
        let base = detection.base_ejection_time;
        let longest = base.max(MAX_EJECTION_TIME);
        let healthy = match last {
            0 => 0,
            last => (now.0 - last) / detection.interval,
        };
        let mut factor = u64::from(self.factor.load(Relaxed)).saturating_sub(healthy);
        if factor.saturating_mul(base) < longest.saturating_add(base) {
            factor += 1;
        }
        let until = now
            .0
            .saturating_add(factor.saturating_mul(base).min(longest));
        // Of several workers that come here at once one wins.
        let swapped = self
            .ejected_until
            .compare_exchange(last, until, Relaxed, Relaxed);
        swapped.ok()?;
        let factor = u32::try_from(factor).unwrap_or(u32::MAX);
        self.factor.store(factor, Relaxed);
        Some(Millis(until))
    }

    /// Since when it takes requests: from now on, if it was not seen before.
    pub(crate) fn ready_since(&self, now: Millis) -> Millis {
        match self.ready_since.load(Relaxed) {
            0 => {
                self.ready_since.store(now.0.max(1), Relaxed);
                now
            }
            since => Millis(since),
        }
    }

    /// It takes no requests: when it does again, it is new.
    pub(crate) fn forget_ready(&self) {
        self.ready_since.store(0, Relaxed);
    }
}

/// Counts a failure and answers whether it was one too many, after which it counts anew.
fn one_more(counter: &AtomicU32, limit: u32) -> bool {
    if limit == 0 {
        return false;
    }
    let is_due = counter.fetch_add(1, Relaxed).saturating_add(1) >= limit;
    if is_due {
        counter.store(0, Relaxed);
    }
    is_due
}

/// Sets a counter to zero without a write where it is: success is the usual case.
fn clear(counter: &AtomicU32) {
    if counter.load(Relaxed) != 0 {
        counter.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests;
