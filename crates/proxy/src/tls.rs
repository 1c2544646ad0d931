//! A client's connection whose TLS ends here, as bytes in plain.
//!
//! Reading takes one system call for whatever has come, into memory that all connections of the
//! worker share, and decrypts it there; plaintext is copied once, to where the reader wants it. So
//! an idle connection holds no buffers. Writing encrypts up to [`MOST`] bytes at once and sends
//! them with one system call; what the socket does not take waits here, and nothing more is taken
//! before it is gone. A connection therefore never holds more than that, whoever reads slowly.
//!
//! Where a connection ends without the farewell of TLS, somebody may have cut it: that is an error
//! of the transport, never an end.

pub mod credentials;
pub mod facts;

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use lateen_wire::tls::session::MAX_RECORD;
use lateen_wire::tls::{Fate, Output, Session};
use tokio::io::ReadBuf;

use crate::transport::Transport;

pub use facts::{Facts, Secure, Sessions};

/// How many bytes of a message are encrypted and sent at once: as much as a large buffer holds.
const MOST: usize = 64 * 1024;

/// The memory for what is read: the longest unfinished handshake, a large read, and a record.
const INCOMING: usize = 64 * 1024 + MOST + MAX_RECORD;

/// A connection.
#[derive(Debug)]
pub struct Stream {
    inner: Transport,
    session: Session,
    memory: Rc<RefCell<Memory>>,
    /// Plaintext for which the reader had no room.
    plain: Queue,
    /// What the socket did not take.
    unsent: Queue,
    state: State,
}

/// Memory that the connections of a worker share: none of it is used over an await.
#[derive(Debug, Default)]
pub struct Memory {
    /// Empty before the first connection.
    incoming: Vec<u8>,
    out: Output,
}

/// Bytes that wait.
#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    used: usize,
}

/// Whether more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The peer said that nothing does.
    Ended,
    /// The connection is of no more use.
    Failed(io::ErrorKind),
}

// === impl Memory ===

impl Memory {
    /// The memory, made for the first connection that needs it.
    fn parts(&mut self) -> (&mut [u8], &mut Output) {
        if self.incoming.is_empty() {
            self.incoming.resize(INCOMING, 0);
        }
        (&mut self.incoming, &mut self.out)
    }
}

// === impl Stream ===

impl Stream {
    /// A session on a connection, of which `ahead` was read already.
    pub fn start(
        inner: Transport,
        session: Session,
        memory: Rc<RefCell<Memory>>,
        ahead: &[u8],
    ) -> Self {
        let mut stream = Self {
            inner,
            session,
            memory,
            plain: Queue::default(),
            unsent: Queue::default(),
            state: State::Open,
        };
        let memory = Rc::clone(&stream.memory);
        let mut memory = memory.borrow_mut();
        let (incoming, out) = memory.parts();
        let count = ahead.len().min(incoming.len());
        incoming[..count].copy_from_slice(&ahead[..count]);
        let mut nowhere = ReadBuf::new(&mut []);
        // What is wrong with it is found again by whoever uses the stream.
        let _ = stream.take(&mut incoming[..count], out, &mut nowhere);
        stream
    }

    /// Exchanges what comes before the first byte of plaintext.
    pub fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                return Poll::Ready(Err(error));
            }
            if let State::Failed(kind) = self.state {
                // The reason is told as far as the socket takes it at once.
                return Poll::Ready(Err(kind.into()));
            }
            if !self.session.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if self.state == State::Ended {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            let mut nowhere = ReadBuf::new(&mut []);
            // What goes wrong is found by the next turn, which sends the reason first.
            let _ = ready!(self.poll_take(cx, &mut nowhere));
        }
    }

    /// What was agreed.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The connection under it.
    pub fn inner(&self) -> &Transport {
        &self.inner
    }

    /// Ready when a read would have something to do.
    pub fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.plain.is_empty() || self.state != State::Open {
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        self.inner.poll_read_ready(cx)
    }

    /// Reads plaintext; nothing is read when nothing more will come.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = room.filled().len();
        loop {
            if !self.plain.is_empty() {
                let bytes = self.plain.bytes();
                let count = bytes.len().min(room.remaining());
                room.put_slice(&bytes[..count]);
                self.plain.consume(count);
                return Poll::Ready(Ok(()));
            }
            match self.state {
                State::Open => {}
                State::Ended => return Poll::Ready(Ok(())),
                State::Failed(kind) => return Poll::Ready(Err(kind.into())),
            }
            if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                return Poll::Ready(Err(error));
            }
            let taken = ready!(self.poll_take(cx, room));
            // An answer, or the reason of an end, goes out before its cause is told.
            if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                return Poll::Ready(Err(error));
            }
            if room.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            taken?;
        }
    }

    /// Writes the start of a message. What was taken and could not be sent is sent before anything
    /// else is taken.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        if let State::Failed(kind) = self.state {
            return Poll::Ready(Err(kind.into()));
        }
        let memory = Rc::clone(&self.memory);
        let mut memory = memory.borrow_mut();
        let (_, out) = memory.parts();
        out.clear();
        let count = self.session.send(pieces, MOST, out);
        let count = count.map_err(|error| self.fail(io::ErrorKind::BrokenPipe, &error))?;
        if let Poll::Ready(Err(error)) = self.poll_out(cx, out.bytes()) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(count))
    }

    /// Sends what waits.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let piece = IoSlice::new(self.unsent.bytes());
            let count = ready!(self.inner.poll_write(cx, &[piece]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.consume(count);
        }
        Poll::Ready(Ok(()))
    }

    /// Tells the peer that nothing more is sent.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !matches!(self.state, State::Failed(_)) {
            let memory = Rc::clone(&self.memory);
            let mut memory = memory.borrow_mut();
            let (_, out) = memory.parts();
            out.clear();
            // One that cannot say it any more is closed without.
            if self.session.close(out).is_ok() {
                self.unsent.add(out.bytes());
            }
        }
        ready!(self.poll_flush(cx))?;
        self.inner.poll_shutdown(cx)
    }

    /// Reads what has come and takes it.
    fn poll_take(&mut self, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let memory = Rc::clone(&self.memory);
        let mut memory = memory.borrow_mut();
        let (incoming, out) = memory.parts();
        let start = self.session.begin(incoming);
        // A whole record at least, or it would never be complete.
        let wanted = room.remaining().clamp(MAX_RECORD, MOST);
        let end = (start + wanted).min(incoming.len());
        let mut raw = ReadBuf::new(&mut incoming[start..end]);
        ready!(self.inner.poll_read_into(cx, &mut raw))?;
        let count = raw.filled().len();
        if count == 0 {
            let kind = io::ErrorKind::UnexpectedEof;
            self.state = State::Failed(kind);
            return Poll::Ready(Err(kind.into()));
        }
        Poll::Ready(self.take(&mut incoming[..start + count], out, room))
    }

    /// Takes what came.
    fn take(
        &mut self,
        incoming: &mut [u8],
        out: &mut Output,
        room: &mut ReadBuf<'_>,
    ) -> io::Result<()> {
        let Self {
            session,
            plain,
            unsent,
            ..
        } = self;
        out.clear();
        let keep = |bytes: &[u8]| {
            let count = bytes.len().min(room.remaining());
            room.put_slice(&bytes[..count]);
            plain.add(&bytes[count..]);
        };
        let fate = session.receive(incoming, keep, out);
        unsent.add(out.bytes());
        match fate {
            Ok(Fate::Open) => Ok(()),
            Ok(Fate::Closed) => {
                self.state = State::Ended;
                Ok(())
            }
            Err(error) => Err(self.fail(io::ErrorKind::InvalidData, &error)),
        }
    }

    /// Sends `bytes` as far as the socket takes them; nothing waits before them.
    fn poll_out(&mut self, cx: &mut Context<'_>, mut bytes: &[u8]) -> Poll<io::Result<()>> {
        while !bytes.is_empty() {
            match self.inner.poll_write(cx, &[IoSlice::new(bytes)]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => bytes = &bytes[count..],
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.unsent.add(bytes);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn fail(&mut self, kind: io::ErrorKind, error: &lateen_wire::tls::Error) -> io::Error {
        tracing::debug!(%error, "a connection of TLS failed");
        self.state = State::Failed(kind);
        kind.into()
    }
}

// === impl Queue ===

impl Queue {
    fn bytes(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    fn is_empty(&self) -> bool {
        self.used == self.bytes.len()
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes bytes off the front; the memory goes with the last one.
    fn consume(&mut self, count: usize) {
        self.used += count;
        if self.is_empty() {
            *self = Self::default();
        }
    }
}
