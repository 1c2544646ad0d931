//! A client's connection: takes streams, and serves each by a task of its own.
//!
//! ```text
//! serving ─ the proxy ends, or idle ─► GOAWAY, streams finish ─► closed
//!    └──── a flood, a broken rule ───► GOAWAY with the reason ─► lingers ─► closed
//! ```

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use ::h2::server::{Builder, Connection, SendResponse};
use ::h2::{Reason, RecvStream};
use ::http::Request;
use lateen_wire::h2::{Flood, Observer};

use super::data::Data;
use super::io::Io;
use super::pipe::Pipe;
use super::served::Stream;
use super::watch::Watch;
use super::wire::Wire;
use super::{
    CLIENT_WINDOW, HEAD_BYTES, MOST_LOCAL_RESETS, MOST_STREAMS, SEND_BUFFER, STREAM_WINDOW,
    websocket,
};
use crate::clock;
use crate::connection::rules::Rules;
use crate::connection::{Door, Origin};
use crate::deadline::Deadline;
use crate::side::Side;
use crate::transport::Transport;
use crate::worker::Worker;

/// How long a connection that is to end may take to say so.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a client that broke a rule is read from, so that its unread bytes do not make the kernel
/// reset the connection before the reason is read, and how many bytes at most.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// What happens on a connection beside its requests.
enum Event {
    /// It has ended.
    Closed,
    /// The client broke a rule.
    Failed,
    /// The client floods.
    Flood(Flood),
    /// The proxy is about to end.
    Draining,
    /// Nothing has happened for long.
    Idle,
}

/// Serves a connection of which the client speaks HTTP/2 until it ends.
pub async fn serve(worker: Rc<Worker>, side: Side, origin: Origin) {
    let wire = Wire::new(side, Rc::clone(&worker.buffers));
    let watch = Rc::new(Watch::new(Observer::of_client(), wire));
    let io = Io::new(Rc::clone(&watch));
    let limit = worker.profile.timeouts.head;
    let is_orderly = match tokio::time::timeout(limit, builder().handshake(io)).await {
        Ok(Ok(connection)) => Box::pin(run(&worker, connection, origin, &watch)).await,
        Ok(Err(_)) | Err(_) => false,
    };
    let transport = watch.take_transport();
    if let Some(transport) = transport.filter(|_| !is_orderly) {
        linger(transport).await;
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CLIENT_WINDOW)
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(HEAD_BYTES)
        .max_send_buffer_size(SEND_BUFFER)
        .max_local_error_reset_streams(Some(MOST_LOCAL_RESETS))
        .enable_connect_protocol();
    builder
}

/// Takes streams until the connection ends; answers whether it did in order.
async fn run(
    worker: &Rc<Worker>,
    mut connection: Connection<Io, Data>,
    origin: Origin,
    watch: &Rc<Watch>,
) -> bool {
    let mut is_ending = false;
    let mut is_orderly = true;
    let idle = worker.profile.timeouts.idle;
    let mut deadline = Deadline::default();
    let mut draining = pin!(draining(worker, origin));
    watch.gather();
    loop {
        let event = poll_fn(|cx| {
            let accept = |request, respond| spawn(worker, request, respond, origin, watch);
            if let Poll::Ready(event) = poll_accept(cx, &mut connection, origin, accept) {
                return Poll::Ready(event);
            }
            watch.poll_send(cx);
            if let Some(flood) = watch.flood().filter(|_| is_orderly) {
                return Poll::Ready(Event::Flood(flood));
            }
            if !is_ending {
                if draining.as_mut().poll(cx).is_ready() || is_outdated(worker, origin) {
                    return Poll::Ready(Event::Draining);
                }
                let since = match watch.active() {
                    0 => watch.idle_since(),
                    _ => clock::now(),
                };
                deadline.set(since.checked_add(idle));
            }
            deadline.poll(cx).map(|()| Event::Idle)
        })
        .await;
        match event {
            Event::Closed => return is_orderly,
            Event::Failed => return false,
            Event::Draining => {
                is_ending = true;
                deadline.set(None);
                connection.graceful_shutdown();
            }
            Event::Idle if is_ending => return is_orderly,
            Event::Idle if watch.active() > 0 => {}
            Event::Idle => {
                is_ending = true;
                deadline.set(clock::now().checked_add(FAREWELL));
                connection.graceful_shutdown();
            }
            Event::Flood(flood) => {
                tracing::debug!(%flood, peer = %origin.peer, "closed a connection that floods");
                is_ending = true;
                is_orderly = false;
                deadline.set(clock::now().checked_add(FAREWELL));
                connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            }
        }
    }
}

/// Takes all requests that have come; ready when `h2` has something else to say.
fn poll_accept(
    cx: &mut Context<'_>,
    connection: &mut Connection<Io, Data>,
    origin: Origin,
    accept: impl Fn(Request<RecvStream>, SendResponse<Data>),
) -> Poll<Event> {
    loop {
        match ready!(connection.poll_accept(cx)) {
            Some(Ok((request, respond))) => accept(request, respond),
            Some(Err(error)) => {
                tracing::debug!(%error, peer = %origin.peer, "a connection of HTTP/2 failed");
                return Poll::Ready(Event::Failed);
            }
            None => return Poll::Ready(Event::Closed),
        }
    }
}

/// Answers whether the connection is for a server that is gone or has changed: its client has to
/// come again, and knows that what was refused was not looked at.
fn is_outdated(worker: &Worker, origin: Origin) -> bool {
    origin.tls.is_some() && Rules::of(&worker.view(), origin).are_gone()
}

/// Ready when this connection is to end because the proxy does.
async fn draining(worker: &Worker, origin: Origin) {
    if origin.door == Door::Outbound {
        pending::<()>().await;
    }
    worker.draining().await;
}

/// Serves a stream.
fn spawn(
    worker: &Rc<Worker>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Data>,
    origin: Origin,
    watch: &Rc<Watch>,
) {
    if is_outdated(worker, origin) {
        respond.send_reset(Reason::REFUSED_STREAM);
        return;
    }
    if is_reset(&mut respond) {
        return;
    }
    let key = || websocket::key(&worker.random);
    match Stream::new(request, respond, Rc::clone(watch), key) {
        Ok(stream) => {
            let transport = Transport::Stream(Box::new(Pipe::Served(stream)));
            let side = Side::new(transport);
            worker.attendants.serve(worker, side, origin);
        }
        Err((malformed, mut respond)) => {
            tracing::debug!(%malformed, peer = %origin.peer, "a request of HTTP/2 is not valid");
            respond.send_reset(Reason::PROTOCOL_ERROR);
        }
    }
}

/// Reads and forgets what the client still sends.
async fn linger(mut transport: Transport) {
    let mut room = vec![0; 4096];
    let left = Cell::new(LINGER_BYTES);
    let read = poll_fn(|cx| {
        loop {
            let mut room = tokio::io::ReadBuf::new(&mut room);
            let read: io::Result<()> = ready!(transport.poll_read_into(cx, &mut room));
            let count = room.filled().len();
            left.set(left.get().saturating_sub(count));
            if read.is_err() || count == 0 || left.get() == 0 {
                return Poll::Ready(());
            }
        }
    });
    // A client that goes on sending has had its time.
    let _ = tokio::time::timeout(LINGER, read).await;
}

/// Whether a stream is over before anything was made of it, as those of rapid resets are: nothing is
/// chosen, dialled or counted for it.
fn is_reset(respond: &mut SendResponse<Data>) -> bool {
    let mut nobody = Context::from_waker(Waker::noop());
    respond.poll_reset(&mut nobody).is_ready()
}
