//! The delays after which a broken watch is begun again: short ones first, because everybody waits
//! for the cluster to come up, and growing ones if it keeps breaking.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(10);

/// Delays that double until nothing has failed for a while.
#[derive(Debug, Default)]
pub(super) struct Retry {
    last: Option<(Instant, Duration)>,
}

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let delay = match self.last {
            Some((failed, delay)) if now - failed < LONGEST + delay => (delay * 2).min(LONGEST),
            _ => FIRST,
        };
        self.last = Some((now, delay));
        Some(delay)
    }
}

impl Backoff for Retry {
    /// Does nothing: a list that succeeds before a watch that fails each time would make a busy
    /// loop. Only time without a failure shortens the delay.
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn delays_grow_until_nothing_has_failed_for_a_while() {
        let mut retry = Retry::default();
        let delays: Vec<_> = retry
            .by_ref()
            .take(3)
            .map(|delay| delay.as_millis())
            .collect();
        assert_eq!(delays, [10, 20, 40]);
        retry.reset();
        assert_eq!(retry.next(), Some(Duration::from_millis(80)));
        tokio::time::advance(LONGEST * 2).await;
        assert_eq!(retry.next(), Some(FIRST));
    }
}
