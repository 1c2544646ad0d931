//! Connections of HTTP/2 to upstreams: shared by the requests of a worker, as many as their streams
//! need.
//!
//! The first request to an address dials, and those that come meanwhile wait for it. A connection
//! takes streams until its peer's limit, or ours, is reached; then another one is opened. It ends
//! when it was idle for long, or when its address is no longer wanted: streams that run are
//! finished.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::hash::BuildHasherDefault;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::h2::client::{Builder, SendRequest};
use lateen_decide::cluster::Policy;
use lateen_model::pool::H2Keepalive;
use lateen_wire::h2::Observer;
use tokio::sync::Notify;

use super::data::Data;
use super::io::Io;
use super::keepalive::{self, Keepalive};
use super::pipe::Pipe;
use super::requested::Stream;
use super::watch::Watch;
use super::wire::Wire;
use super::{HEAD_BYTES, MOST_LOCAL_RESETS, MOST_STREAMS, SEND_BUFFER, UPSTREAM_WINDOW};
use crate::clock::{self, Instant};
use crate::side::Side;
use crate::transport::Transport;
use crate::upstream::pool::AddressHasher;
use crate::upstream::{ConnectError, Key};
use crate::worker::Worker;

type Hasher = BuildHasherDefault<AddressHasher>;

/// The connections of a worker.
#[derive(Debug, Default)]
pub struct Upstreams {
    open: RefCell<HashMap<Key, Vec<Rc<Connection>>, Hasher>>,
    dialling: RefCell<HashMap<Key, Rc<Dial>, Hasher>>,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// Opens streams, by copies of it: one that has opened a stream waits until the upstream lets
    /// that one begin.
    pub(super) send: RefCell<SendRequest<Data>>,
    /// Its state.
    pub(super) watch: Rc<Watch>,
    /// The address at this end.
    pub(super) local: Option<SocketAddr>,
    /// How many streams it has carried.
    served: Cell<u32>,
    /// When it takes no more.
    ends: Option<Instant>,
}

/// A connection that is being made.
#[derive(Debug, Default)]
struct Dial {
    outcome: Cell<Outcome>,
    news: Notify,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Outcome {
    /// Whoever dialled went away.
    #[default]
    Abandoned,
    Connected,
    Failed,
}

/// Whoever dials.
struct Dialler<'a> {
    upstreams: &'a Upstreams,
    key: Key,
    dial: Rc<Dial>,
}

// === impl Upstreams ===

impl Upstreams {
    /// A stream to an address, over a connection that has room for it.
    pub fn ready(&self, key: &Key, policy: &Policy) -> Option<Transport> {
        self.available(key, policy).map(stream)
    }

    /// A stream to an address, over a connection that has room for it or a new one.
    pub async fn open(
        &self,
        worker: &Worker,
        key: &Key,
        limit: Duration,
        policy: &Policy,
    ) -> Result<Transport, ConnectError> {
        loop {
            if let Some(connection) = self.available(key, policy) {
                return Ok(stream(connection));
            }
            let dial = self.dialling.borrow().get(key).cloned();
            let Some(dial) = dial else {
                let dialler = Dialler::new(self, key.clone());
                // Boxed: it is needed once per connection, and large.
                let connected = Box::pin(self.connect(worker, key, limit, policy)).await;
                let outcome = match &connected {
                    Ok(_) => Outcome::Connected,
                    Err(_) => Outcome::Failed,
                };
                dialler.dial.outcome.set(outcome);
                return connected.map(stream);
            };
            dial.news.notified().await;
            if dial.outcome.get() == Outcome::Failed {
                let kind = io::ErrorKind::ConnectionRefused;
                let why = "the connection that this request waited for could not be opened";
                return Err(io::Error::new(kind, why).into());
            }
        }
    }

    /// Ends what was idle for too long, and what goes to addresses that are not wanted any more.
    pub(crate) fn sweep(
        &self,
        now: Instant,
        limit: impl Fn(&Key) -> Option<Duration>,
        is_wanted: impl Fn(&Key) -> bool,
    ) {
        self.open.borrow_mut().retain(|key, list| {
            if !is_wanted(key) {
                return false;
            }
            let limit = limit(key);
            list.retain(|connection| {
                let watch = &connection.watch;
                let idle = now.saturating_duration_since(watch.idle_since());
                let is_used = watch.active() > 0 || limit.is_none_or(|limit| idle < limit);
                is_used && connection.is_open()
            });
            !list.is_empty()
        });
    }

    /// The number of connections.
    pub(crate) fn len(&self) -> usize {
        self.open.borrow().values().map(Vec::len).sum()
    }

    fn available(&self, key: &Key, policy: &Policy) -> Option<Rc<Connection>> {
        let mut open = self.open.borrow_mut();
        let list = open.get_mut(key)?;
        // One that takes no more streams ends with those that it has; one that has ended is cleared
        // away by the next sweep.
        list.retain(|connection| !connection.is_spent(policy));
        let mut list = list.iter();
        let found = list.find(|connection| connection.has_room(policy) && connection.is_open());
        found.cloned()
    }

    async fn connect(
        &self,
        worker: &Worker,
        key: &Key,
        limit: Duration,
        policy: &Policy,
    ) -> Result<Rc<Connection>, ConnectError> {
        let keepalive = policy.keepalive.as_ref();
        let transport = worker
            .connector
            .connect(&key.address, key.mark, limit, keepalive)
            .await?;
        let local = transport.local_addr();
        let wire = Wire::new(Side::new(transport), Rc::clone(&worker.buffers));
        let watch = Rc::new(Watch::new(Observer::of_server(), wire));
        let io = Io::new(Rc::clone(&watch));
        let handshake = tokio::time::timeout(limit, builder().handshake(io)).await;
        let (send, connection) = handshake
            .map_err(|_| ConnectError::TimedOut(limit))?
            .map_err(io::Error::other)?;
        let rhythm = policy.h2_keepalive.clone();
        let rhythm = rhythm.unwrap_or(keepalive::PATIENT);
        tokio::task::spawn_local(drive(connection, Rc::clone(&watch), rhythm));
        let age = policy.max_connection_duration;
        let connection = Rc::new(Connection {
            send: RefCell::new(send),
            watch,
            local,
            served: Cell::new(0),
            ends: age.and_then(|age| clock::now().checked_add(age)),
        });
        let mut open = self.open.borrow_mut();
        open.entry(key.clone())
            .or_default()
            .push(Rc::clone(&connection));
        Ok(connection)
    }
}

fn stream(connection: Rc<Connection>) -> Transport {
    connection
        .served
        .set(connection.served.get().saturating_add(1));
    Transport::Stream(Box::new(Pipe::Requested(Stream::new(connection))))
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(super::STREAM_WINDOW)
        .initial_connection_window_size(UPSTREAM_WINDOW)
        .max_header_list_size(HEAD_BYTES)
        .max_send_buffer_size(SEND_BUFFER)
        .max_local_error_reset_streams(Some(MOST_LOCAL_RESETS));
    builder
}

// === impl Connection ===

impl Connection {
    /// Whether it takes streams at all: not after a GOAWAY, or when it has ended.
    fn is_open(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let mut send = self.send.borrow_mut();
        !matches!(send.poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    /// Whether it takes another stream now.
    fn has_room(&self, policy: &Policy) -> bool {
        let wanted = policy.max_concurrent_streams;
        let own = wanted.map_or(MOST_STREAMS, |most| most.get().min(MOST_STREAMS));
        let limit = self.send.borrow().current_max_send_streams();
        let active = self.watch.active();
        active < own && usize::try_from(active).is_ok_and(|active| active < limit)
    }

    /// Whether it has carried as many streams as it may, or has become as old as it may.
    fn is_spent(&self, policy: &Policy) -> bool {
        let most = policy.max_requests_per_connection;
        most.is_some_and(|most| self.served.get() >= most.get())
            || self.ends.is_some_and(|ends| ends <= clock::now())
    }
}

// === impl Dialler ===

impl<'a> Dialler<'a> {
    fn new(upstreams: &'a Upstreams, key: Key) -> Self {
        let dial = Rc::<Dial>::default();
        let mut dialling = upstreams.dialling.borrow_mut();
        dialling.insert(key.clone(), Rc::clone(&dial));
        Self {
            upstreams,
            key,
            dial,
        }
    }
}

impl Drop for Dialler<'_> {
    /// However it ended, those who wait go on.
    fn drop(&mut self) {
        self.upstreams.dialling.borrow_mut().remove(&self.key);
        self.dial.news.notify_waiters();
    }
}

/// Moves the bytes of a connection until it ends.
async fn drive(
    connection: ::h2::client::Connection<Io, Data>,
    watch: Rc<Watch>,
    rhythm: H2Keepalive,
) {
    let mut connection = pin!(connection);
    let pings = connection.ping_pong();
    let mut keepalive = pings.map(|pings| Keepalive::new(pings, rhythm));
    let mut is_known = false;
    watch.gather();
    poll_fn(|cx| {
        let polled = connection.as_mut().poll(cx);
        watch.poll_send(cx);
        if let Poll::Ready(Err(error)) = &polled {
            tracing::debug!(%error, "a connection to an upstream failed");
        }
        if let Some(flood) = watch.flood() {
            tracing::warn!(%flood, "closed a connection to an upstream that floods");
            return Poll::Ready(());
        }
        if watch.has_settings() && !is_known {
            is_known = true;
            watch.wake();
        }
        if polled.is_pending() {
            return match &mut keepalive {
                Some(keepalive) => keepalive.poll(cx, &watch),
                None => Poll::Pending,
            };
        }
        Poll::Ready(())
    })
    .await;
    // Streams and the list of connections may keep the rest of it a while longer.
    drop(watch.take_transport());
    watch.wake();
}
