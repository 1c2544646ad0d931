//! A connection's bytes as `h2` reads and writes them, with somebody who counts frames on the way.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::watch::Watch;
use crate::transport::Transport;

/// A connection.
#[derive(Debug)]
pub(super) struct Io {
    /// Nothing once it was given back.
    transport: Option<Transport>,
    /// What was read before it was known to be HTTP/2.
    ahead: Vec<u8>,
    watch: Rc<Watch>,
}

// === impl Io ===

impl Io {
    pub(super) fn new(transport: Transport, ahead: Vec<u8>, watch: Rc<Watch>) -> Self {
        Self {
            transport: Some(transport),
            ahead,
            watch,
        }
    }

    fn transport(&mut self) -> io::Result<&mut Transport> {
        self.transport
            .as_mut()
            .ok_or(io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Io {
    /// `h2` drops what it is done with; the last words are still to be read by the peer.
    fn drop(&mut self) {
        self.watch.returned.replace(self.transport.take());
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.watch.flood().is_some() {
            // The task of the connection ends it; nothing more is looked at.
            return Poll::Pending;
        }
        let before = room.filled().len();
        if this.ahead.is_empty() {
            ready!(this.transport()?.poll_read_into(cx, room))?;
        } else {
            let count = this.ahead.len().min(room.remaining());
            room.put_slice(&this.ahead[..count]);
            this.ahead.drain(..count);
        }
        if this.watch.takes(&room.filled()[before..]) {
            return Poll::Ready(Ok(()));
        }
        room.set_filled(before);
        // Polled again at once, so that the task sees what happened.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.transport()?.poll_write(cx, pieces);
        self.watch.set_blocked(polled.is_pending());
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // Sockets have nothing to flush.
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport()?.poll_shutdown(cx)
    }
}
