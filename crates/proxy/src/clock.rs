//! The one place that asks for the time on the data path.
//!
//! Tokio's clock is used throughout, so that tests can pause it. A reading costs about 25 ns (vDSO)
//! and no system call; an exchange takes two: when its head is complete and when it ends.

use std::sync::LazyLock;
use std::time::Duration;

use lateen_decide::Millis;

pub use tokio::time::Instant;

/// From when [`millis`] counts: before anything happens, and never zero.
static EPOCH: LazyLock<std::time::Instant> = LazyLock::new(|| {
    let now = std::time::Instant::now();
    now.checked_sub(Duration::from_secs(60)).unwrap_or(now)
});

/// Now, as the runtime's timers see it.
pub fn now() -> Instant {
    Instant::now()
}

/// Whole milliseconds from `earlier` to `later`.
pub fn millis_between(earlier: Instant, later: Instant) -> u64 {
    u64::try_from(later.saturating_duration_since(earlier).as_millis()).unwrap_or(u64::MAX)
}

/// A moment as endpoints remember it, for all workers alike.
pub fn millis(at: Instant) -> Millis {
    let since = at.into_std().saturating_duration_since(*EPOCH);
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1))
}
