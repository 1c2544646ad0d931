//! Waits for the first bytes of a connection, to see what it carries.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use lateen_wire::server_name::{ServerName, server_name};
use lateen_wire::sniff::{Verdict, sniff};

use crate::clock;
use crate::deadline::Deadline;
use crate::side::Side;
use crate::transport::Read;
use crate::worker::Worker;

/// How a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    /// With bytes of this kind.
    Said(Verdict),
    /// With nothing in the time that was given.
    Silence,
    /// The client went away.
    Gone,
}

/// Waits for enough bytes to tell. Without a limit a client may take as long as it likes for its
/// first byte (as Envoy's inspectors for a declared protocol), but what is needed has to follow in
/// the time of a head, however many pieces it comes in.
pub(crate) async fn first(worker: &Worker, side: &mut Side, limit_ms: Option<u32>) -> First {
    let mut deadline = Deadline::default();
    let timeouts = worker.profile.timeouts;
    let limit = limit_ms.map_or(timeouts.idle, |limit| Duration::from_millis(limit.into()));
    deadline.set(clock::now().checked_add(limit));
    let mut has_begun = !side.buffer.is_empty();
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(verdict) = judge(side) {
                return Poll::Ready(First::Said(verdict));
            }
            match side.poll_fill(cx, &worker.buffers) {
                Poll::Ready(Ok(Read::Bytes(_))) => {
                    if limit_ms.is_none() && !std::mem::replace(&mut has_begun, true) {
                        deadline.set(clock::now().checked_add(timeouts.head));
                    }
                }
                Poll::Ready(Ok(Read::End)) if side.buffer.is_empty() => {
                    // Only an undeclared connection can mean something by ending without a byte.
                    return Poll::Ready(match limit_ms {
                        Some(_) => First::Said(Verdict::Tcp),
                        None => First::Gone,
                    });
                }
                Poll::Ready(Ok(Read::End)) => {
                    return Poll::Ready(First::Said(final_verdict(side)));
                }
                Poll::Ready(Err(_)) => return Poll::Ready(First::Gone),
                Poll::Pending => break,
            }
        }
        deadline.poll(cx).map(|()| {
            if side.buffer.is_empty() {
                // A declared protocol whose client never speaks is an idle connection.
                limit_ms.map_or(First::Gone, |_| First::Silence)
            } else {
                First::Said(final_verdict(side))
            }
        })
    })
    .await
}

/// What the bytes so far are, if they are enough. TLS is routed by the name in its ClientHello, so
/// that has to be complete.
pub(crate) fn judge(side: &Side) -> Poll<Verdict> {
    let bytes = side.buffer.bytes();
    if bytes.is_empty() {
        return Poll::Pending;
    }
    match sniff(bytes) {
        _ if side.buffer.is_full() => Poll::Ready(final_verdict(side)),
        Verdict::NeedMore => Poll::Pending,
        Verdict::Tls if server_name(bytes) == ServerName::NeedMore => Poll::Pending,
        verdict => Poll::Ready(verdict),
    }
}

/// What the bytes are, as nothing more is waited for.
fn final_verdict(side: &Side) -> Verdict {
    match sniff(side.buffer.bytes()) {
        Verdict::NeedMore => Verdict::Tcp,
        verdict => verdict,
    }
}
