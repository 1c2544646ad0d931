//! A stream to an upstream: requests are written to it, responses read from it.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use ::h2::SendStream;
use ::h2::client::ResponseFuture;
use lateen_wire::h1::framing::Body;

use super::client::Connection;
use super::data::Data;
use super::head::{self, Asked, Sent};
use super::incoming::{Got, Incoming};
use super::outgoing::Outgoing;
use super::pipe::Fault;
use crate::buffer::{Buffer, Pool};
use crate::transport::Read;

/// A stream of a connection to an upstream.
#[derive(Debug)]
pub struct Stream {
    connection: Rc<Connection>,
    asked: Asked,
    accept: Option<String>,
    request: Sending,
    response: Receiving,
    incoming: Incoming,
    fault: Option<Fault>,
}

/// A head that opens a stream, and how its body is sent.
type Opening = (Sent, Outgoing);

/// How far the request is.
#[derive(Debug)]
enum Sending {
    /// Its head has not come from the engine, or not all of it.
    Head(Vec<u8>),
    /// It waits to learn whether the upstream knows extended CONNECT.
    Waiting(Box<Opening>),
    /// Its body is being sent, or was.
    Body(SendStream<Data>, Outgoing),
    /// It could not be sent.
    Failed,
}

/// How far the response is.
#[derive(Debug)]
enum Receiving {
    Nothing,
    Head(ResponseFuture),
    Body,
}

// === impl Stream ===

impl Stream {
    /// A stream that is opened with the head that is written to it.
    pub(super) fn new(connection: Rc<Connection>) -> Self {
        connection.watch.begin();
        Self {
            connection,
            asked: Asked::default(),
            accept: None,
            request: Sending::Head(Vec::new()),
            response: Receiving::Nothing,
            incoming: Incoming::default(),
            fault: None,
        }
    }

    /// Why it broke off.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// The address at this end of the connection.
    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        self.connection.local
    }

    /// Takes the request.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (taken, head) = self.take_head(pieces)?;
        let opened = match head {
            Some(head) => self.open(cx, head),
            None => self.poll_open(cx),
        };
        if opened?.is_pending() && taken > 0 {
            return Poll::Ready(Ok(taken));
        }
        let Sending::Body(send, body) = &mut self.request else {
            return match taken {
                0 => Poll::Pending,
                taken => Poll::Ready(Ok(taken)),
            };
        };
        let polled = body.poll_write(cx, send, pieces, taken, &self.connection.watch);
        match polled {
            Poll::Pending if taken > 0 => Poll::Ready(Ok(taken)),
            Poll::Pending => Poll::Pending,
            Poll::Ready(written) => Poll::Ready(written.map(|count| taken + count)),
        }
    }

    /// Reads the response.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        pool: &Pool,
    ) -> Poll<io::Result<Read>> {
        ready!(self.poll_open(cx))?;
        loop {
            match self.incoming.poll_read(cx, buffer, pool) {
                Poll::Ready(Ok(Got::Bytes(count))) => return Poll::Ready(Ok(Read::Bytes(count))),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.failed(&error))),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Got::Nothing)) => {}
            }
            match &mut self.response {
                Receiving::Nothing => return Poll::Pending,
                Receiving::Body => return Poll::Ready(Ok(Read::End)),
                Receiving::Head(_) => ready!(self.poll_head(cx))?,
            }
        }
    }

    /// Ends a tunnel.
    pub(super) fn shutdown(&mut self) {
        if let Sending::Body(send, body) = &mut self.request {
            body.shutdown(send);
        }
    }

    /// Collects the head of the request; answers how many bytes belong to it.
    fn take_head(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<(usize, Option<Opening>)> {
        let Sending::Head(kept) = &mut self.request else {
            return Ok((0, None));
        };
        let mut tables = self.connection.watch.tables();
        let collected = tables.collect_request(kept, pieces)?;
        let Some(bytes) = collected.head else {
            return Ok((collected.taken, None));
        };
        let view = tables.request.view(&bytes);
        let Some(sent) = head::request(view, &bytes) else {
            tracing::debug!("the request cannot be said in HTTP/2");
            self.request = Sending::Failed;
            self.fault = Some(Fault::Protocol);
            return Err(Fault::Protocol.into_io());
        };
        let body = match view.body() {
            _ if sent.asked.upgrade.is_some() => Outgoing::tunnel(),
            Body::Length(length) => Outgoing::length(length),
            Body::Chunked => Outgoing::chunks(),
            Body::Tunnel => Outgoing::tunnel(),
            Body::Empty | Body::UntilClose => Outgoing::length(0),
        };
        Ok((collected.taken, Some((sent, body))))
    }

    /// Opens the stream, if it has waited.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.request {
            Sending::Body(..) => return Poll::Ready(Ok(())),
            Sending::Head(_) => return Poll::Pending,
            Sending::Failed => {
                let fault = self.fault.unwrap_or(Fault::Connection);
                return Poll::Ready(Err(fault.into_io()));
            }
            Sending::Waiting(_) => {}
        }
        match std::mem::replace(&mut self.request, Sending::Failed) {
            Sending::Waiting(head) => self.open(cx, *head),
            Sending::Head(_) | Sending::Body(..) | Sending::Failed => Poll::Pending,
        }
    }

    /// Opens the stream with its head, or has the head wait.
    fn open(&mut self, cx: &mut Context<'_>, (sent, body): Opening) -> Poll<io::Result<()>> {
        self.request = Sending::Failed;
        let connection = &self.connection;
        // A handle of its own has no earlier stream to wait for, so it is always ready.
        let mut send_request = connection.send.borrow().clone();
        if sent.asked.upgrade.is_some() && !send_request.is_extended_connect_protocol_enabled() {
            if !connection.watch.has_settings() {
                self.request = Sending::Waiting(Box::new((sent, body)));
                connection.watch.wait(cx);
                return Poll::Pending;
            }
            tracing::debug!("the upstream does not switch protocols over HTTP/2");
            self.fault = Some(Fault::Protocol);
            return Poll::Ready(Err(Fault::Protocol.into_io()));
        }
        // Nothing was sent so far, so whatever goes wrong, it can be sent again.
        self.fault = Some(Fault::Refused);
        let Sent {
            request,
            asked,
            accept,
        } = sent;
        let (response, send) = send_request
            .send_request(request, body.is_done())
            .map_err(|_| Fault::Refused.into_io())?;
        self.connection.watch.sent();
        self.fault = None;
        self.asked = asked;
        self.accept = accept;
        self.request = Sending::Body(send, body);
        self.response = Receiving::Head(response);
        Poll::Ready(Ok(()))
    }

    /// Reads a head: of an interim response, or the final one.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Receiving::Head(future) = &mut self.response else {
            return Poll::Ready(Ok(()));
        };
        let asked = &self.asked;
        // Where no interim response may be there, neither is the final one.
        if let Some(interim) = ready!(future.poll_informational(cx)) {
            let interim = match interim {
                Ok(interim) => interim.into_parts().0,
                Err(error) => return Poll::Ready(Err(self.failed(&error))),
            };
            if interim.status != http::StatusCode::SWITCHING_PROTOCOLS {
                head::write_response(self.incoming.stage(), &interim, false, asked, None);
            }
            return Poll::Ready(Ok(()));
        }
        let response = match ready!(Pin::new(future).poll(cx)) {
            Ok(response) => response,
            Err(error) => return Poll::Ready(Err(self.failed(&error))),
        };
        let (parts, body) = response.into_parts();
        let has_body = !body.is_end_stream();
        let accept = self.accept.as_deref();
        let stage = self.incoming.stage();
        let framing = head::write_response(stage, &parts, has_body, asked, accept);
        self.incoming
            .start(body, framing, head::length(&parts.headers));
        self.response = Receiving::Body;
        Poll::Ready(Ok(()))
    }

    fn failed(&mut self, error: &::h2::Error) -> io::Error {
        tracing::debug!(%error, "a stream to an upstream broke off");
        let fault = Fault::of(error);
        self.fault = Some(fault);
        fault.into_io()
    }
}

impl Drop for Stream {
    /// What was not completed is reset by `h2`, with `CANCEL`.
    fn drop(&mut self) {
        if matches!(&self.request, Sending::Body(_, body) if body.is_done()) {
            self.incoming.finish();
        }
        self.connection.watch.end();
    }
}
