//! A client's connection between and at the start of its exchanges.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use lateen_model::Reason;
use lateen_wire::h1::head::Progress;
use lateen_wire::h1::request;

use crate::clock::{self, Instant};
use crate::connection::rules::Rules;
use crate::connection::{Door, Origin};
use crate::deadline::Deadline;
use crate::observe::metrics::Last;
use crate::side::Side;
use crate::tcp::relay;
use crate::transport::Read;
use crate::upstream::Connection;
use crate::worker::{Phase, Worker};

/// How long a closed connection is read from, so that the client's unread bytes do not make the
/// kernel reset it before the answer is read (RFC 9112 §9.6), and how many bytes at most.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;

/// A client's connection.
#[derive(Debug)]
pub(super) struct Client {
    /// The worker that it belongs to.
    pub(super) worker: Rc<Worker>,
    /// Its bytes.
    pub(super) side: Side,
    /// Where it comes from and was going.
    pub(super) origin: Origin,
    /// The time limit of now.
    pub(super) deadline: Deadline,
    /// The counters of the last exchange.
    pub(super) last: Last,
    /// When the last exchange ended, or the connection came.
    pub(super) idle_since: Instant,
}

/// Why there is no request to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoHead {
    /// The client has gone: nobody waits for an answer.
    Gone,
    /// It is to be answered.
    Refused(Reason),
}

// === impl Client ===

impl Client {
    pub(super) fn new(worker: Rc<Worker>, side: Side, origin: Origin) -> Self {
        Self {
            worker,
            side,
            origin,
            deadline: Deadline::default(),
            last: Last::default(),
            idle_since: clock::now(),
        }
    }

    /// Waits for the first byte of the next request; `false` if the connection is done.
    pub(super) async fn wait(&mut self) -> bool {
        if !self.side.buffer.is_empty() {
            return true;
        }
        let idle = self.worker.profile.timeouts.idle;
        self.deadline.set(self.idle_since.checked_add(idle));
        poll_fn(|cx| {
            if let Poll::Ready(read) = self.side.poll_fill(cx, &self.worker.buffers) {
                return Poll::Ready(matches!(read, Ok(Read::Bytes(_))));
            }
            self.deadline.poll(cx).map(|()| false)
        })
        .await
    }

    /// Holds nothing while it waits.
    pub(super) fn rest(&mut self) {
        self.side.buffer.release(&self.worker.buffers);
    }

    /// Reads the head of a request, of which the first byte has come.
    pub(super) async fn read_head(&mut self, head: &mut request::Head) -> Result<(), NoHead> {
        let Self {
            worker,
            side,
            deadline,
            ..
        } = self;
        let mut is_timed = false;
        poll_fn(|cx| {
            loop {
                match head.parse(side.buffer.bytes(), &worker.profile.limits) {
                    Ok(Progress::Complete) => return Poll::Ready(Ok(())),
                    Ok(Progress::NeedMore) => {}
                    Err(error) => return Poll::Ready(Err(NoHead::Refused(reason(error)))),
                }
                if side.buffer.is_full() {
                    side.buffer.enlarge(&worker.buffers);
                }
                match side.poll_fill(cx, &worker.buffers) {
                    Poll::Ready(Ok(Read::Bytes(_))) => {}
                    Poll::Ready(Ok(Read::End) | Err(_)) => {
                        return Poll::Ready(Err(NoHead::Gone));
                    }
                    Poll::Pending => break,
                }
            }
            // Only a head that does not come in one piece costs a look at the clock.
            if !is_timed {
                is_timed = true;
                deadline.set(clock::now().checked_add(worker.profile.timeouts.head));
            }
            let late = NoHead::Refused(Reason::RequestHeadTimeout);
            deadline.poll(cx).map(|()| Err(late))
        })
        .await
    }

    /// Answers whether this connection is to end because the proxy does.
    pub(super) fn is_draining(&self) -> bool {
        self.origin.door != Door::Outbound && self.worker.phase() != Phase::Serving
    }

    /// Answers whether the connection is for a server that is gone or has changed. No request is
    /// answered on it: its client comes again, as it does when a connection is closed while idle.
    pub(super) fn is_outdated(&self) -> bool {
        let view = self.worker.view();
        self.origin.tls.is_some() && Rules::of(&view, self.origin).are_gone()
    }

    /// Closes the connection in order.
    pub(super) async fn close(&mut self) {
        let Self {
            worker,
            side,
            deadline,
            ..
        } = self;
        side.buffer.discard(&worker.buffers);
        deadline.set(clock::now().checked_add(LINGER));
        poll_fn(|cx| match side.transport.poll_farewell(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => deadline.poll(cx),
        })
        .await;
    }

    /// Ends the connection when the client has had time to read the answer.
    pub(super) async fn linger(mut self) {
        let Self {
            worker,
            side,
            deadline,
            ..
        } = &mut self;
        deadline.set(clock::now().checked_add(LINGER));
        let mut left = LINGER_BYTES;
        side.buffer.discard(&worker.buffers);
        // TLS has words to say here, for which a client that does not read gives no room.
        poll_fn(|cx| match side.transport.poll_shutdown(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => deadline.poll(cx),
        })
        .await;
        poll_fn(|cx| {
            while let Poll::Ready(read) = side.poll_fill(cx, &worker.buffers) {
                let Ok(Read::Bytes(count)) = read else {
                    return Poll::Ready(());
                };
                side.buffer.discard(&worker.buffers);
                left = left.saturating_sub(count);
                if left == 0 {
                    return Poll::Ready(());
                }
            }
            deadline.poll(cx)
        })
        .await;
    }

    /// Carries bytes between the client and the upstream that switched protocols.
    pub(super) async fn tunnel(mut self, mut upstream: Connection) {
        let _tunnel = self.worker.activity.tunnels.enter();
        let limits = relay::Limits {
            idle: Some(self.worker.profile.timeouts.tcp_idle),
            age: None,
        };
        let buffers = &self.worker.buffers;
        relay::relay(&mut self.side, &mut upstream.side, buffers, limits, |_| {}).await;
    }
}

/// The reason that answers a head or body that cannot be accepted.
pub(super) fn reason(error: lateen_wire::Error) -> Reason {
    match error {
        lateen_wire::Error::Malformed(_) => Reason::DownstreamProtocolError,
        lateen_wire::Error::HeadTooLarge(_) | lateen_wire::Error::TooManyFields(_) => {
            Reason::RequestHeadTooLarge
        }
        lateen_wire::Error::UnknownCoding => Reason::UnknownTransferCoding,
        lateen_wire::Error::UnsupportedVersion => Reason::UnsupportedVersion,
    }
}
