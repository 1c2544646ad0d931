//! How long to wait between attempts: doubling with jitter, so that the proxies of a mesh do not
//! come back all at once when a control plane restarts.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Exponential back-off with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The longest first wait.
    pub base: Duration,
    /// The longest wait of all.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            // A proxy is often started together with its control plane, and not ready before.
            base: Duration::from_millis(100),
            max: Duration::from_secs(3),
        }
    }
}

impl Backoff {
    /// The wait after this many failures: between half of `base * 2^failures` and all of it.
    pub fn wait(self, failures: u32) -> Duration {
        let full = self
            .base
            .saturating_mul(1 << failures.min(16))
            .min(self.max);
        // Each `RandomState` has keys of its own, which is all the randomness that jitter needs.
        let thousandths = RandomState::new().hash_one(()) % 1000;
        let thousandths = u32::try_from(thousandths).unwrap_or(0);
        full / 2 + (full / 2) * thousandths / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_maximum_and_is_never_less_than_half() {
        let backoff = Backoff {
            base: Duration::from_millis(100),
            max: Duration::from_secs(1),
        };
        for (failures, full) in [(0, 100), (1, 200), (3, 800), (4, 1000), (40, 1000)] {
            let wait = backoff.wait(failures);
            assert!(wait >= Duration::from_millis(full / 2), "{wait:?}");
            assert!(wait <= Duration::from_millis(full), "{wait:?}");
        }
    }
}
