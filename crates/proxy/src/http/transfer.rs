//! The bytes of one exchange, both directions at once.
//!
//! The request goes up while the response may already come down (an upstream may answer before it
//! has read everything). The upstream's answer decides: when it is complete, the exchange is over,
//! whether the request was or not.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use lateen_decide::{Counted, Permit, Usage};
use lateen_wire::h1::field::Name;
use lateen_wire::h1::framing::{Body, Outgoing};
use lateen_wire::h1::head::{Persistence, Progress, Version};
use lateen_wire::h1::request::Method;
use lateen_wire::h1::response::{Asked, Response};

use super::client::Client;
use super::course::Course;
use super::flow::{Broken, Framing};
use super::grpc;
use super::record::Record;
use super::response_head;
use super::timeouts::{Stage, Timeouts};
use super::unanswered;
use super::workspace::{Workspace, head_bytes};
use crate::clock::{self, Instant};
use crate::connection::rules::Recipient;
use crate::side::Side;
use crate::transport::Read;

/// What the exchange needs to know of the request while the response comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct About {
    /// The client's version.
    pub(super) version: Version,
    /// The method, on which the response's framing depends.
    pub(super) method: Method,
    /// Whether the client wants to use its connection again.
    pub(super) persistence: Persistence,
    /// Whether it is a call of gRPC.
    pub(super) is_call: bool,
}

/// What rules an attempt beside the request itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a, 'p> {
    /// What was decided.
    pub(super) course: &'a Course<'p>,
    /// Who takes the request.
    pub(super) recipient: Recipient<'p>,
    /// Its time limits.
    pub(super) timeouts: Timeouts,
    /// How many attempts may follow.
    pub(super) retries_left: u32,
}

/// How an exchange ended that ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Done {
    /// Whether the upstream's connection can be used again.
    pub(super) upstream: Persistence,
    /// Whether the client's connection can be.
    pub(super) client: Persistence,
    /// Whether the request was read to its end.
    pub(super) is_request_whole: bool,
    /// Whether the protocol was switched.
    pub(super) is_tunnel: bool,
    /// When the response came.
    pub(super) at: Instant,
}

/// How an attempt broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The connection could not be made.
    Connect,
    /// A limit of the cluster is reached.
    Overflow,
    /// The upstream went away without a byte of an answer.
    NoResponse,
    /// The upstream refused the stream: it has not looked at the request (HTTP/2).
    Refused,
    /// The upstream went away in the middle of its answer's head.
    PartialHead,
    /// The upstream's answer is not valid.
    BadResponse(lateen_wire::Error),
    /// The answer broke off, or turned out invalid, after its head was sent on.
    Truncated,
    /// The client went away.
    ClientGone,
    /// The request's body is not valid.
    BadRequest(lateen_wire::Error),
    /// No byte moved for too long.
    Idle,
    /// The route's timeout has passed.
    TimedOut,
    /// The timeout of the attempt has passed.
    TryTimedOut,
    /// The answer, with this status, is worth another attempt; nothing of it was sent on.
    WorthAnother(u16),
}

/// An exchange under way.
pub(super) struct Transfer<'a, 'p> {
    client: &'a mut Client,
    upstream: &'a mut Side,
    work: &'a mut Workspace,
    record: &'a mut Record,
    about: About,
    terms: Terms<'a, 'p>,
    /// Leave for the retry that the answer is worth.
    permit: Option<Permit<&'p Arc<Usage>>>,
    request: Sending,
    response: Receiving,
    responded: Instant,
}

/// How far the request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    Going,
    Sent,
    /// The upstream takes no more of it; it may still have answered.
    Refused,
}

/// How far the response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receiving {
    /// Nothing has come.
    Nothing,
    /// A part of a head, or an interim response.
    Head,
    /// The head has been taken on.
    Body {
        upstream: Persistence,
        client: Persistence,
        is_tunnel: bool,
    },
}

// === impl Transfer ===

impl<'a, 'p> Transfer<'a, 'p> {
    pub(super) fn new(
        client: &'a mut Client,
        upstream: &'a mut Side,
        work: &'a mut Workspace,
        record: &'a mut Record,
        about: About,
        terms: Terms<'a, 'p>,
    ) -> Self {
        let started = record.started;
        Self {
            client,
            upstream,
            work,
            record,
            about,
            terms,
            permit: None,
            request: Sending::Going,
            response: Receiving::Nothing,
            responded: started,
        }
    }

    /// Moves bytes until the exchange is over.
    pub(super) async fn run(&mut self) -> Result<Done, Failure> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// When the route's timeout ends the exchange, if it has begun.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.terms.timeouts.ends()
    }

    /// Leave for the retry that the answer is worth.
    pub(super) fn take_permit(&mut self) -> Option<Permit<&'p Arc<Usage>>> {
        self.permit.take()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done, Failure>> {
        let before = self.moved();
        self.poll_request(cx)?;
        let polled = self.poll_response(cx);
        if polled.is_ready() || self.terms.timeouts.is_off() {
            return polled;
        }
        let stage = Stage {
            has_moved: self.moved() != before,
            is_request_whole: self.work.to_upstream.has_read_all(),
            has_response: matches!(self.response, Receiving::Body { .. }),
        };
        let deadline = &mut self.client.deadline;
        self.terms.timeouts.poll(cx, deadline, stage).map(Err)
    }

    fn moved(&self) -> u64 {
        self.work.to_upstream.written() + self.work.to_client.written()
    }

    /// Sends the request on, then keeps an eye on the client.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let Self {
            client,
            upstream,
            work,
            ..
        } = self;
        if self.request != Sending::Going {
            return self.watch_client(cx);
        }
        let pool = &client.worker.buffers;
        let flow = &mut work.to_upstream;
        match flow.poll(cx, &mut client.side, &mut upstream.transport, pool) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => {
                self.request = Sending::Sent;
                self.watch_client(cx)
            }
            Poll::Ready(Err(Broken::Sink(error))) => {
                tracing::trace!(%error, "the upstream takes no more of the request");
                self.request = Sending::Refused;
                Ok(())
            }
            Poll::Ready(Err(Broken::Malformed(error))) => Err(Failure::BadRequest(error)),
            Poll::Ready(Err(Broken::Short | Broken::Source)) => Err(Failure::ClientGone),
        }
    }

    /// Notices a client that goes away while it waits, and reads ahead what it pipelines. One that
    /// only ends its own direction (half-close) still gets its answer.
    fn watch_client(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let side = &mut self.client.side;
        if self.request == Sending::Refused || side.has_ended || side.buffer.is_full() {
            return Ok(());
        }
        match side.poll_fill(cx, &self.client.worker.buffers) {
            Poll::Ready(Err(_)) => Err(Failure::ClientGone),
            Poll::Ready(Ok(_)) | Poll::Pending => Ok(()),
        }
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done, Failure>> {
        let (upstream, client, is_tunnel) = loop {
            match self.response {
                Receiving::Body {
                    upstream,
                    client,
                    is_tunnel,
                } => {
                    break (upstream, client, is_tunnel);
                }
                Receiving::Nothing | Receiving::Head => ready!(self.poll_head(cx))?,
            }
        };
        let pool = &self.client.worker.buffers;
        let sink = &mut self.client.side.transport;
        match ready!(self.work.to_client.poll(cx, self.upstream, sink, pool)) {
            Ok(()) => Poll::Ready(Ok(Done {
                upstream,
                client,
                is_request_whole: self.request == Sending::Sent,
                is_tunnel,
                at: self.responded,
            })),
            Err(Broken::Sink(_)) => Poll::Ready(Err(Failure::ClientGone)),
            Err(Broken::Source | Broken::Short | Broken::Malformed(_)) => {
                Poll::Ready(Err(Failure::Truncated))
            }
        }
    }

    /// Reads one head: an interim response, or the final one.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let sink = &mut self.client.side.transport;
        if ready!(self.work.to_client.poll_lead(cx, sink)).is_err() {
            return Poll::Ready(Err(Failure::ClientGone));
        }
        loop {
            if !self.upstream.buffer.is_empty() {
                self.response = Receiving::Head;
                if self.parse_head().map_err(Failure::BadResponse)? == Progress::Complete {
                    return Poll::Ready(self.take_head());
                }
            }
            let pool = &self.client.worker.buffers;
            if self.upstream.buffer.is_full() {
                self.upstream.buffer.enlarge(pool);
            }
            match ready!(self.upstream.poll_fill(cx, pool)) {
                Ok(Read::Bytes(_)) => {}
                Ok(Read::End) | Err(_) if self.response == Receiving::Nothing => {
                    return Poll::Ready(Err(Failure::NoResponse));
                }
                Ok(Read::End) | Err(_) => return Poll::Ready(Err(Failure::PartialHead)),
            }
        }
    }

    fn parse_head(&mut self) -> Result<Progress, lateen_wire::Error> {
        let Workspace {
            request,
            response,
            streamed_head,
            ..
        } = &mut *self.work;
        let upgrade = if self.record.sends_upgrade {
            let input = head_bytes(streamed_head, &self.client.side);
            request.view(input).upgrade()
        } else {
            None
        };
        let asked = Asked {
            method: self.about.method,
            upgrade,
        };
        let limits = &self.client.worker.profile.limits;
        response.parse(self.upstream.buffer.bytes(), limits, asked)
    }

    /// Takes a complete head on, unless it is worth another attempt.
    fn take_head(&mut self) -> Result<(), Failure> {
        let head = self.work.response.view(self.upstream.buffer.bytes());
        let (status, body, upstream) = (head.status(), head.body(), head.persistence());
        if head.is_interim() {
            if self.about.version == Version::Http11 {
                self.work.to_client.forget_sent(); // There may be any number of them.
                response_head::write_interim(&mut self.work.to_client.lead, head);
            }
            self.upstream.buffer.consume(self.work.response.len());
            return Ok(());
        }
        let call_status = (self.about.is_call)
            .then(|| grpc::status_in(head.fields()))
            .flatten();
        if self.is_worth_another(head, call_status) && self.may_try_another() {
            return Err(Failure::WorthAnother(status));
        }
        if self.terms.course.policy.mirrors.is_empty() {
            self.work.to_upstream.stop_recording();
        }
        let head = self.work.response.view(self.upstream.buffer.bytes());
        let is_open = self.request == Sending::Sent && !self.client.is_draining();
        let persistence = match self.about.persistence {
            Persistence::KeepAlive if is_open => Persistence::KeepAlive,
            Persistence::KeepAlive | Persistence::Close => Persistence::Close,
        };
        self.responded = clock::now();
        let elapsed = clock::millis_between(self.record.started, self.responded);
        self.record.responded(status, elapsed, call_status);
        let changes = response_head::Changes {
            client: self.about.version,
            persistence,
            door: self.client.origin.door,
            elapsed,
        };
        let course = self.terms.course;
        let sent = if course.changes_responses() {
            let Self {
                client,
                work,
                upstream,
                record,
                ..
            } = self;
            response_head::write_by_rules(client, work, upstream, record, course, changes)
        } else {
            response_head::write(&mut self.work.to_client.lead, head, changes)
        };
        self.upstream.buffer.consume(self.work.response.len());
        self.work.to_client.start(framing(body, sent.body));
        self.response = Receiving::Body {
            upstream,
            client: sent.persistence,
            is_tunnel: sent.body == Outgoing::Tunnel,
        };
        Ok(())
    }

    /// Answers whether an answer should not be sent on but sought elsewhere.
    fn is_worth_another(&self, head: Response<'_>, call_status: Option<u8>) -> bool {
        // What went to the client, such as an interim response, cannot be taken back.
        if self.work.to_client.written() > 0 || !self.work.to_upstream.can_repeat() {
            return false;
        }
        let retries = &self.terms.course.policy.retries;
        if !retries.is_on() {
            return false;
        }
        let status = head.status();
        let is_ratelimited = status >= 400
            && Name::new(b"x-envoy-ratelimited")
                .is_some_and(|name| head.fields().get_all(name).next().is_some());
        // An application has no say in this: it is behind a proxy that has.
        let is_proxied = matches!(self.terms.recipient, Recipient::Cluster(_));
        retries.retries_response(status, call_status, is_ratelimited)
            || is_proxied && unanswered::is_worth_another(head, self.about.method, retries)
    }

    /// Asks for leave for another attempt, before the answer is thrown away.
    fn may_try_another(&mut self) -> bool {
        if self.terms.retries_left > 0 {
            let permit = self.terms.recipient.permit(Counted::Retry);
            if permit.is_some() {
                self.permit = permit;
                return true;
            }
        }
        self.record.is_exhausted();
        false
    }
}

/// How a body with the upstream's framing is sent with the client's.
fn framing(body: Body, outgoing: Outgoing) -> Framing {
    match (body, outgoing) {
        (_, Outgoing::Nothing | Outgoing::Tunnel) => Framing::Done,
        (_, Outgoing::Length(length)) => Framing::Length(length),
        (Body::Chunked, Outgoing::Chunked) => Framing::Chunks,
        (Body::Chunked, Outgoing::UntilClose) => Framing::Unchunked,
        (_, Outgoing::Chunked) => Framing::IntoChunks,
        (_, Outgoing::UntilClose) => Framing::UntilEnd,
    }
}
