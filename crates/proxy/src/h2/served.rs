//! A client's stream: requests are read from it, responses written to it.

use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll};

use ::h2::server::SendResponse;
use ::h2::{Reason, RecvStream, SendStream};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use lateen_wire::h1::framing::Body;
use lateen_wire::h1::response;

use super::data::Data;
use super::head::{self, Asked, Malformed};
use super::incoming::{Got, Incoming};
use super::outgoing::Outgoing;
use super::pipe::Fault;
use super::watch::Watch;
use crate::buffer::{Buffer, Pool};
use crate::clock;
use crate::deadline::Deadline;
use crate::http::MOST_STALLED;
use crate::transport::Read;

/// A stream that a client opened.
#[derive(Debug)]
pub struct Stream {
    watch: Rc<Watch>,
    asked: Asked,
    request: Incoming,
    response: Sending,
    stall: Stall,
}

/// How long nothing of a response could be written.
#[derive(Debug, Default)]
struct Stall {
    is_stalled: bool,
    deadline: Deadline,
}

/// How far the response is.
#[derive(Debug)]
enum Sending {
    /// Its head has not come from the engine, or not all of it.
    Head(SendResponse<Data>, Vec<u8>),
    /// Its body is being sent.
    Body(SendStream<Data>, Outgoing),
    /// It is complete; what else the engine writes is of no use.
    Done,
}

// === impl Stream ===

impl Stream {
    /// A stream with a request.
    pub(super) fn new(
        request: Request<RecvStream>,
        respond: SendResponse<Data>,
        watch: Rc<Watch>,
        key: impl FnOnce() -> String,
    ) -> Result<Self, (Malformed, SendResponse<Data>)> {
        let (parts, body) = request.into_parts();
        let mut incoming = Incoming::default();
        let has_body = !body.is_end_stream();
        let written = head::write_request(incoming.stage(), &parts, has_body, key);
        let (asked, framing) = match written {
            Ok(written) => written,
            Err(malformed) => return Err((malformed, respond)),
        };
        incoming.start(body, framing, head::length(&parts.headers));
        watch.begin();
        Ok(Self {
            watch,
            asked,
            request: incoming,
            response: Sending::Head(respond, Vec::new()),
            stall: Stall::default(),
        })
    }

    /// Reads the request. Its end is no end of the connection, as one that the client resets is.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        pool: &Pool,
    ) -> Poll<io::Result<Read>> {
        if matches!(self.response, Sending::Done) {
            return Poll::Ready(Ok(Read::End));
        }
        match self.request.poll_read(cx, buffer, pool) {
            Poll::Ready(Ok(Got::Bytes(count))) => return Poll::Ready(Ok(Read::Bytes(count))),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(Fault::of(&error).into_io())),
            Poll::Ready(Ok(Got::Nothing)) | Poll::Pending => {}
        }
        let reset = match &mut self.response {
            Sending::Head(respond, _) => respond.poll_reset(cx),
            Sending::Body(send, _) => send.poll_reset(cx),
            Sending::Done => Poll::Pending,
        };
        if reset.is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let is_tunnel = self.asked.upgrade.is_some() && matches!(self.response, Sending::Body(..));
        if is_tunnel && self.request.is_done() {
            return Poll::Ready(Ok(Read::End));
        }
        Poll::Pending
    }

    /// Takes the response.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        while let Sending::Head(_, kept) = &mut self.response {
            let watch = Rc::clone(&self.watch);
            let mut tables = watch.tables();
            let asked = (self.asked.method, self.asked.upgrade.as_deref());
            let collected = tables.collect_response(kept, pieces, taken, asked)?;
            taken += collected.taken;
            let Some(bytes) = collected.head else {
                return Poll::Ready(Ok(taken)); // A part of a head.
            };
            self.send_head(tables.response.view(&bytes), &bytes)?;
        }
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        let Sending::Body(send, body) = &mut self.response else {
            return Poll::Ready(Ok(total));
        };
        let polled = body.poll_write(cx, send, pieces, taken, &self.watch);
        if body.is_done() {
            self.response = Sending::Done;
        }
        match polled {
            Poll::Pending if taken > 0 => Poll::Ready(Ok(taken)),
            Poll::Pending => self
                .stall
                .poll(cx)
                .map(|()| Err(io::ErrorKind::TimedOut.into())),
            Poll::Ready(written) => {
                self.stall.is_stalled = false;
                Poll::Ready(written.map(|count| taken + count))
            }
        }
    }

    /// Ends a tunnel.
    pub(super) fn shutdown(&mut self) {
        if let Sending::Body(send, body) = &mut self.response {
            body.shutdown(send);
            if body.is_done() && self.request.is_done() {
                self.response = Sending::Done;
            }
        }
    }

    /// Sends a head that is complete.
    fn send_head(&mut self, view: response::Response<'_>, bytes: &Bytes) -> io::Result<()> {
        let Sending::Head(respond, _) = &mut self.response else {
            return Ok(());
        };
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let response = head::response(view, bytes).ok_or_else(invalid)?;
        let failed = |error: ::h2::Error| Fault::of(&error).into_io();
        if view.is_interim() {
            return respond.send_informational(response).map_err(failed);
        }
        let is_switch = view.status() == 101;
        if self.asked.upgrade.is_some() && response.status().is_success() && !is_switch {
            // A success would say that the protocol was switched.
            let mut refusal = Response::new(());
            *refusal.status_mut() = StatusCode::BAD_GATEWAY;
            respond.send_response(refusal, true).map_err(failed)?;
            self.response = Sending::Done;
            return Ok(());
        }
        let body = match view.body() {
            Body::Empty => Outgoing::length(0),
            Body::Length(length) => Outgoing::length(length),
            Body::Chunked => Outgoing::chunks(),
            Body::Tunnel => Outgoing::tunnel(),
            Body::UntilClose => return Err(invalid()),
        };
        let is_end = body.is_done();
        let send = respond.send_response(response, is_end).map_err(failed)?;
        self.watch.sent();
        self.response = if is_end {
            Sending::Done
        } else {
            Sending::Body(send, body)
        };
        Ok(())
    }
}

// === impl Stall ===

impl Stall {
    /// Ready when it has lasted too long.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_stalled {
            self.is_stalled = true;
            self.deadline.set(clock::now().checked_add(MOST_STALLED));
        }
        self.deadline.poll(cx)
    }
}

impl Drop for Stream {
    /// What the engine did not complete must not look complete.
    fn drop(&mut self) {
        match &mut self.response {
            Sending::Head(respond, _) => respond.send_reset(Reason::INTERNAL_ERROR),
            Sending::Body(send, body) if !body.is_done() => {
                send.send_reset(Reason::INTERNAL_ERROR);
            }
            Sending::Body(..) | Sending::Done => self.request.finish(),
        }
        self.watch.end();
    }
}
