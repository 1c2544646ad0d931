//! A connection's bytes as `h2` reads and writes them, with somebody who counts frames on the way.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::watch::Watch;

/// `h2`'s end of a connection. The socket stays with the [`Watch`] when `h2` drops this: the last
/// words are still to be read by the peer.
#[derive(Debug)]
pub(super) struct Io {
    watch: Rc<Watch>,
}

// === impl Io ===

impl Io {
    pub(super) fn new(watch: Rc<Watch>) -> Self {
        Self { watch }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.watch.flood().is_some() {
            // The task of the connection ends it; nothing more is looked at.
            return Poll::Pending;
        }
        let before = room.filled().len();
        ready!(self.watch.wire(|wire| wire.poll_read(cx, room)))?;
        if self.watch.takes(&room.filled()[before..]) {
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
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.watch.wire(|wire| wire.poll_write(cx, pieces));
        if polled.is_pending() {
            self.watch.set_blocked(true);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch.wire(|wire| wire.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch.wire(|wire| wire.poll_shutdown(cx))
    }
}
