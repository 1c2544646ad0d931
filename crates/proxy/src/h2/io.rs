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

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::pin::pin;

    use ::h2::client::Builder;
    use ::http::Request;
    use bytes::Bytes;
    use lateen_wire::h2::Observer;
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::h2::wire::Wire;
    use crate::side::Side;

    #[tokio::test]
    async fn the_frames_of_many_streams_are_one_write() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let wire = Wire::new(Side::new(near.into()), Rc::default());
        let watch = Rc::new(Watch::new(Observer::of_server(), wire));
        let io = Io::new(Rc::clone(&watch));
        let handshake = Builder::new().handshake::<_, Bytes>(io).await;
        let (send, connection) = handshake.expect("a connection");
        watch.gather();
        let mut open = Vec::new();
        for _ in 0..32 {
            let request = Request::post("http://shop/").body(()).expect("valid");
            let stream = send.clone().send_request(request, false);
            let (response, mut body) = stream.expect("a stream");
            // Longer than what `h2` gathers by itself.
            body.send_data(vec![b'x'; 1500].into(), true).expect("open");
            open.push(response);
        }
        let mut connection = pin!(connection);
        poll_fn(|cx| {
            assert!(connection.as_mut().poll(cx).is_pending());
            assert_eq!(watch.sends(), 0);
            watch.poll_send(cx);
            Poll::Ready(())
        })
        .await;
        assert_eq!(watch.sends(), 1);
        let mut got = vec![0; 32 * 1500];
        far.read_exact(&mut got).await.expect("all of it");
    }
}
