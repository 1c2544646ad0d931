//! A time limit that costs nothing while it is moved into the future.
//!
//! A connection has one timer for all its limits. Setting a later limit only stores it; the timer
//! goes off at the earlier moment, sees that the limit has moved and sleeps on. So a connection that
//! serves ten thousand requests a second touches the timer wheel once per time limit, not once per
//! request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::Sleep;

use crate::clock::{self, Instant};

/// A movable time limit.
#[derive(Debug, Default)]
pub struct Deadline {
    at: Option<Instant>,
    /// Made when it is first waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

// === impl Deadline ===

impl Deadline {
    /// Sets the limit; nothing is waited for if there is none.
    pub fn set(&mut self, at: Option<Instant>) {
        self.at = at;
    }

    /// Answers whether the limit has passed; else the task is woken when it has.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else {
            return Poll::Pending;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if clock::now() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_moves_is_kept_exactly() {
        let start = clock::now();
        let mut deadline = Deadline::default();
        deadline.set(Some(start + Duration::from_secs(10)));
        let first = poll_fn(|cx| Poll::Ready(deadline.poll(cx))).await;
        assert!(first.is_pending());
        deadline.set(Some(start + Duration::from_secs(25)));
        poll_fn(|cx| deadline.poll(cx)).await;
        assert_eq!(start.elapsed().as_secs(), 25);
        deadline.set(Some(start + Duration::from_secs(100)));
        assert!(
            poll_fn(|cx| Poll::Ready(deadline.poll(cx)))
                .await
                .is_pending()
        );
        deadline.set(Some(start + Duration::from_secs(30)));
        poll_fn(|cx| deadline.poll(cx)).await;
        assert_eq!(start.elapsed().as_secs(), 30);
    }
}
