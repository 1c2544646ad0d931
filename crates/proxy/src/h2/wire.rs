//! The bytes of a connection on their way between the socket and `h2`, in as few system calls as can
//! be.
//!
//! ```text
//!  streams ─► h2 ─ frame by frame ─► out ─ at the end of a turn ─► socket
//!  streams ◄─ h2 ◄ as much as it asks for ─ in ◄─ one read ─────── socket
//! ```
//!
//! `h2` writes as soon as it has a frame of data of some size, so that a response of three frames
//! costs three writes, and a hundred streams that are answered at once three hundred. Here its
//! frames are gathered, and the task of the connection sends them off when `h2` has nothing more to
//! say. Nothing waits for what is yet to come: a turn ends before the worker looks at any socket
//! again, and streams that became ready together have written before the task that they wake runs.
//!
//! It holds no more than [`LARGE`] bytes in either direction, and none while it is idle.

use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;

use crate::buffer::{Buffer, LARGE, Pool};
use crate::side::Side;
use crate::transport::{Read, Transport};

/// The socket of a connection, and what is on its way.
#[derive(Debug)]
pub(super) struct Wire {
    side: Side,
    /// What `h2` wrote and the socket has not taken.
    out: Buffer,
    pool: Rc<Pool>,
    /// Whether somebody calls [`Self::poll_send`] at the end of each turn.
    is_gathering: bool,
    /// Why the socket takes no more, for `h2` to learn when it reads or writes next.
    failed: Option<io::ErrorKind>,
    #[cfg(test)]
    pub(super) sends: usize,
}

// === impl Wire ===

impl Wire {
    /// A connection, perhaps with bytes that were read before it was known to be HTTP/2.
    pub(super) fn new(side: Side, pool: Rc<Pool>) -> Self {
        Self {
            side,
            out: Buffer::default(),
            pool,
            is_gathering: false,
            failed: None,
            #[cfg(test)]
            sends: 0,
        }
    }

    /// From now on frames are sent by [`Self::poll_send`] only, or when they are many.
    pub(super) fn gather(&mut self) {
        self.is_gathering = true;
    }

    /// The socket, when `h2` is done with it.
    pub(super) fn into_transport(mut self) -> Transport {
        self.side.buffer.discard(&self.pool);
        self.out.discard(&self.pool);
        self.side.transport
    }

    /// Reads what has come; nothing at the end. A read that filled its room is followed by a larger
    /// one.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        let Self { side, pool, .. } = self;
        if side.buffer.is_empty() {
            if side.was_filled && !side.has_ended {
                side.buffer.enlarge(pool);
            }
            match side.poll_fill(cx, pool) {
                Poll::Ready(Ok(Read::Bytes(_))) => {}
                Poll::Ready(Ok(Read::End)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    side.buffer.release(pool);
                    return Poll::Pending;
                }
            }
        }
        let bytes = side.buffer.bytes();
        let count = bytes.len().min(room.remaining());
        room.put_slice(&bytes[..count]);
        side.buffer.consume(count);
        side.buffer.release(pool);
        Poll::Ready(Ok(()))
    }

    /// Takes what `h2` writes, to send it later; what has no room waits for the socket.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let mut total = 0;
        for piece in pieces {
            let mut rest: &[u8] = piece;
            while !rest.is_empty() {
                let count = self.take(rest);
                total += count;
                rest = &rest[count..];
                if count == 0 {
                    match self.poll_send(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending if total == 0 && self.out.is_full() => return Poll::Pending,
                        // What the socket took has made room, or there is something to report.
                        Poll::Pending if self.out.is_full() => return Poll::Ready(Ok(total)),
                        Poll::Pending => {}
                    }
                }
            }
        }
        Poll::Ready(Ok(total))
    }

    /// What `h2` calls a flush comes after every frame of data: it means something only while nobody
    /// else sends.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_gathering {
            return Poll::Ready(Ok(()));
        }
        self.poll_send(cx)
    }

    /// Sends what was gathered; ready when the socket has taken all of it, or failed.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = ready!(self.poll_drain(cx));
        if let Err(error) = &sent {
            self.failed = Some(error.kind());
            self.out.discard(&self.pool);
        }
        Poll::Ready(sent)
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            #[cfg(test)]
            {
                self.sends += 1;
            }
            let piece = IoSlice::new(self.out.bytes());
            let count = ready!(self.side.transport.poll_write(cx, &[piece]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.consume(count);
        }
        self.out.release(&self.pool);
        Poll::Ready(Ok(()))
    }

    /// Sends everything and the end.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        self.side.transport.poll_shutdown(cx)
    }

    fn check(&self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// Copies as much as there is room for.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let room = self.out.room(&self.pool);
        if room.is_empty() {
            if self.out.capacity() >= LARGE {
                return 0;
            }
            self.out.enlarge(&self.pool);
            return self.take(bytes);
        }
        let count = bytes.len().min(room.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.out.filled(count);
        count
    }
}
