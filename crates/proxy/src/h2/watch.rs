//! What the task of a connection and those of its streams know of each other.

use std::cell::{Cell, RefCell, RefMut};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use lateen_wire::h2::{Flood, Observer};

use super::collect::Tables;
use super::data::{Data, Lender};
use super::wire::Wire;
use crate::clock::{self, Instant};
use crate::transport::Transport;

/// The state of one connection beside that of `h2`.
#[derive(Debug)]
pub(super) struct Watch {
    observer: RefCell<Observer>,
    flood: Cell<Option<Flood>>,
    started: Instant,
    active: Cell<u32>,
    idle_since: Cell<Instant>,
    busy_since: Cell<Instant>,
    received: Cell<Instant>,
    is_blocked: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
    tables: RefCell<Tables>,
    lender: Rc<Lender>,
    /// Nothing once the connection has ended.
    wire: RefCell<Option<Wire>>,
}

// === impl Watch ===

impl Watch {
    pub(super) fn new(observer: Observer, wire: Wire) -> Self {
        let now = clock::now();
        Self {
            observer: RefCell::new(observer),
            flood: Cell::new(None),
            started: now,
            active: Cell::new(0),
            idle_since: Cell::new(now),
            busy_since: Cell::new(now),
            received: Cell::new(now),
            is_blocked: Cell::new(false),
            waiting: RefCell::default(),
            tables: RefCell::default(),
            lender: Rc::clone(wire.lender()),
            wire: RefCell::new(Some(wire)),
        }
    }

    /// Where heads are parsed; not to be kept over a call of another stream.
    pub(super) fn tables(&self) -> RefMut<'_, Tables> {
        self.tables.borrow_mut()
    }

    /// Does something with the connection's bytes.
    pub(super) fn wire<T>(
        &self,
        work: impl FnOnce(&mut Wire) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match self.wire.borrow_mut().as_mut() {
            Some(wire) => work(wire),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// From now on the task of the connection calls [`Self::poll_send`] at the end of its turns.
    pub(super) fn gather(&self) {
        if let Some(wire) = self.wire.borrow_mut().as_mut() {
            wire.gather();
        }
    }

    /// Sends what `h2` has written in this turn. An error is met by `h2` when it reads or writes
    /// next, which is at once.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) {
        let sent = self.wire(|wire| wire.poll_send(cx));
        if let Poll::Ready(Err(error)) = &sent {
            tracing::debug!(%error, "a connection of HTTP/2 takes no more");
            cx.waker().wake_by_ref();
        }
        self.set_blocked(sent.is_pending());
    }

    /// How often the socket was written to.
    #[cfg(test)]
    pub(super) fn sends(&self) -> usize {
        self.wire.borrow().as_ref().map_or(0, |wire| wire.sends)
    }

    /// The socket, after which nothing is read or written any more.
    pub(super) fn take_transport(&self) -> Option<Transport> {
        self.wire.take().map(Wire::into_transport)
    }

    /// Takes note of bytes from the peer; answers whether they are to be processed.
    pub(super) fn takes(&self, bytes: &[u8]) -> bool {
        let now = clock::now();
        self.received.set(now);
        let elapsed = clock::millis_between(self.started, now);
        match self.observer.borrow_mut().received(bytes, elapsed) {
            Ok(()) => true,
            Err(flood) => {
                self.flood.set(Some(flood));
                false
            }
        }
    }

    /// The flood that was seen, if one was.
    pub(super) fn flood(&self) -> Option<Flood> {
        self.flood.get()
    }

    /// When the peer sent something last.
    pub(super) fn received(&self) -> Instant {
        self.received.get()
    }

    /// A piece of a body to be sent.
    pub(super) fn data(&self, bytes: Bytes) -> Data {
        Data::new(bytes, &self.lender)
    }

    /// Takes note of a frame with data.
    pub(super) fn sent(&self) {
        self.observer.borrow_mut().sent();
    }

    /// Whether the peer's settings are known.
    pub(super) fn has_settings(&self) -> bool {
        self.observer.borrow().has_settings()
    }

    /// How many streams are being served.
    pub(super) fn active(&self) -> u32 {
        self.active.get()
    }

    /// Since when none is.
    pub(super) fn idle_since(&self) -> Instant {
        self.idle_since.get()
    }

    /// When the first of the streams began that have been served since.
    pub(super) fn busy_since(&self) -> Instant {
        self.busy_since.get()
    }

    /// Another stream is served.
    pub(super) fn begin(&self) {
        if self.active.replace(self.active.get() + 1) == 0 {
            self.busy_since.set(clock::now());
        }
    }

    /// A stream is no longer served.
    pub(super) fn end(&self) {
        self.active.set(self.active.get().saturating_sub(1));
        self.idle_since.set(clock::now());
    }

    /// Whether the socket takes no more at the moment.
    pub(super) fn set_blocked(&self, is_blocked: bool) {
        if self.is_blocked.replace(is_blocked) && !is_blocked {
            self.wake();
        }
    }

    /// Ready when the socket takes bytes: however many streams there are and whatever windows the
    /// peer gives, they do not fill memory while it does not read.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_blocked.get() {
            self.wait(cx);
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Wakes the task when something about the connection has changed.
    pub(super) fn wait(&self, cx: &mut Context<'_>) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
    }

    /// Wakes all who wait.
    pub(super) fn wake(&self) {
        for waker in self.waiting.take() {
            waker.wake();
        }
    }
}
