//! Notices an upstream that vanished: pings one that owes a response and says nothing.
//!
//! An upstream that is idle is not asked, as pings without streams are what servers like least: that
//! it vanished is found out with the next request.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::h2::{Ping, PingPong};
use lateen_model::pool::H2Keepalive;

use super::watch::Watch;
use crate::clock::{self, Instant};
use crate::deadline::Deadline;

/// The pings where no policy asks for any. Servers of gRPC close connections on which pings come
/// more often than every five minutes while no data flows (`too_many_pings`), so it is a bit more:
/// still less than the quarter of an hour that TCP takes to give up.
pub(super) const PATIENT: H2Keepalive = H2Keepalive {
    interval: Duration::from_secs(310),
    timeout: Duration::from_secs(20),
};

/// The pings of one connection.
#[derive(Debug)]
pub(super) struct Keepalive {
    pings: PingPong,
    rhythm: H2Keepalive,
    deadline: Deadline,
    /// When the peer was asked.
    asked: Option<Instant>,
}

// === impl Keepalive ===

impl Keepalive {
    pub(super) fn new(pings: PingPong, rhythm: H2Keepalive) -> Self {
        Self {
            pings,
            rhythm,
            deadline: Deadline::default(),
            asked: None,
        }
    }

    /// Ready when the upstream does not answer.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, watch: &Watch) -> Poll<()> {
        if self.asked.is_some() && self.pings.poll_pong(cx).is_ready() {
            self.asked = None;
        }
        loop {
            let (since, limit) = match self.asked {
                Some(asked) => (asked.max(watch.received()), self.rhythm.timeout),
                None => (
                    watch.received().max(watch.busy_since()),
                    self.rhythm.interval,
                ),
            };
            let now = clock::now();
            if watch.active() == 0 {
                // Looked at again when streams come, by the same task, which they wake.
                self.deadline.set(None);
            } else if now.saturating_duration_since(since) < limit {
                self.deadline.set(since.checked_add(limit));
            } else if self.asked.is_some() {
                tracing::debug!("an upstream does not answer: its connection is given up");
                return Poll::Ready(());
            } else if self.pings.send_ping(Ping::opaque()).is_ok() {
                self.asked = Some(now);
                self.deadline.set(now.checked_add(self.rhythm.timeout));
            } else {
                // A ping is still on its way out.
                self.deadline.set(now.checked_add(limit));
            }
            ready!(self.deadline.poll(cx));
        }
    }
}
