//! Slow start: an endpoint that is new gets less, and more with its age.
//!
//! An endpoint is as old as the time since this proxy first could have chosen it, which is when a
//! request for its cluster came. It is drawn as all others are, and then turned down by chance.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use lateen_model::balancer;

use super::endpoint::Endpoint;
use crate::outlier::Millis;

/// The slow start of the endpoints of a cluster.
#[derive(Debug)]
pub(super) struct Warmup {
    duration: u64,
    /// The least share, of one.
    minimum: f64,
    /// The exponent of the curve.
    exponent: f64,
    /// When all endpoints are warm; zero before they were looked at.
    until: AtomicU64,
}

// === impl Warmup ===

impl Warmup {
    pub(super) fn new(spec: &balancer::Warmup) -> Self {
        Self {
            duration: u64::try_from(spec.duration.as_millis()).unwrap_or(u64::MAX),
            minimum: f64::from(spec.minimum.millionths()) / 1_000_000.0,
            exponent: 1000.0 / f64::from(spec.aggression_millis.max(1)),
            until: AtomicU64::new(0),
        }
    }

    /// Answers whether an endpoint is new; the first question after endpoints changed looks at
    /// all of them.
    pub(super) fn is_on(&self, endpoints: &[Endpoint], now: Millis) -> bool {
        let until = match self.until.load(Relaxed) {
            0 => {
                let since = endpoints.iter().map(|one| one.status.ready_since(now).0);
                let until = since
                    .max()
                    .unwrap_or(0)
                    .saturating_add(self.duration)
                    .max(1);
                self.until.store(until, Relaxed);
                until
            }
            until => until,
        };
        now.0 < until
    }

    /// Answers whether an endpoint takes a request that falls on it, by uniform bits.
    pub(super) fn takes(
        &self,
        endpoint: &Endpoint,
        now: Millis,
        random: impl FnOnce() -> u64,
    ) -> bool {
        let age = now.0.saturating_sub(endpoint.status.ready_since(now).0);
        if age >= self.duration {
            return true;
        }
        self.share(age) > unit(random())
    }

    /// The share of an endpoint of this age, of one.
    #[allow(
        clippy::cast_precision_loss,
        reason = "a share of a time is not exact, and need not be"
    )]
    fn share(&self, age: u64) -> f64 {
        let part = age as f64 / self.duration as f64;
        part.powf(self.exponent).max(self.minimum)
    }
}

/// Maps uniform bits to 0..1.
#[allow(
    clippy::cast_precision_loss,
    reason = "the upper 32 bits are exact, and are enough"
)]
fn unit(bits: u64) -> f64 {
    (bits >> 32) as f64 / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use lateen_model::Percent;
    use std::time::Duration;

    fn shares(aggression_millis: u32) -> Vec<u32> {
        let warmup = Warmup::new(&balancer::Warmup {
            duration: Duration::from_secs(100),
            minimum: Percent::from_millionths(100_000),
            aggression_millis,
        });
        let ages = [0, 5_000, 25_000, 50_000, 100_000];
        let percents = ages.map(|age| format!("{:.0}", warmup.share(age) * 100.0));
        percents.map(|it| it.parse().expect("a number")).to_vec()
    }

    #[test]
    fn the_share_grows_with_age_along_the_curve() {
        assert_eq!(shares(1000), [10, 10, 25, 50, 100]);
        assert_eq!(shares(2000), [10, 22, 50, 71, 100]);
        assert_eq!(shares(500), [10, 10, 10, 25, 100]);
    }
}
