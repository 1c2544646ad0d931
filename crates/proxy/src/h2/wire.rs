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
//! Small pieces are copied, of large ones a share is held ([`super::data`]): a body of 64 KiB goes
//! off in one call without having been copied here. Under TLS all are copied, as records would be
//! cut where pieces are.
//!
//! It holds some 200 KiB at most, and nothing while it is idle.

use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::ReadBuf;

use super::data::Lender;
use super::outbox::Outbox;
use crate::buffer::Pool;
use crate::side::Side;
use crate::transport::{Read, Transport};

/// The socket of a connection, and what is on its way.
#[derive(Debug)]
pub(super) struct Wire {
    side: Side,
    out: Outbox,
    lender: Rc<Lender>,
    /// Whether the socket takes many pieces in one call.
    is_vectored: bool,
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
            is_vectored: !matches!(side.transport, Transport::Tls(_)),
            side,
            out: Outbox::default(),
            lender: Rc::default(),
            pool,
            is_gathering: false,
            failed: None,
            #[cfg(test)]
            sends: 0,
        }
    }

    /// With whom pieces of bodies leave shares of their bytes.
    pub(super) fn lender(&self) -> &Rc<Lender> {
        &self.lender
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
            let share = if self.is_vectored {
                self.lender.share(piece)
            } else {
                None
            };
            while !rest.is_empty() {
                let mut count = self.take(rest, share.as_ref());
                if count == 0 {
                    // What the socket takes makes room.
                    let _is_all = self.poll_send(cx)?;
                    count = self.take(rest, share.as_ref());
                }
                if count == 0 {
                    return match total {
                        0 => Poll::Pending,
                        total => Poll::Ready(Ok(total)),
                    };
                }
                total += count;
                rest = &rest[count..];
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
            let transport = &mut self.side.transport;
            let count = ready!(self.out.pieces(|pieces| transport.poll_write(cx, pieces)))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.consume(count);
        }
        self.out.release(&self.pool);
        self.side.transport.poll_flush(cx)
    }

    /// Sends everything and the end.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        self.side.transport.poll_shutdown(cx)
    }

    fn check(&self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// Holds the share, or copies as much as there is room for.
    fn take(&mut self, bytes: &[u8], share: Option<&Bytes>) -> usize {
        match share {
            Some(share) => self.out.share(share),
            None => self.out.copy(bytes, &self.pool),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Buf as _;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::buffer::{LARGE, SIZE};
    use crate::h2::data::Data;

    fn pair(size: usize) -> (Wire, DuplexStream) {
        let (near, far) = tokio::io::duplex(size);
        let wire = Wire::new(Side::new(near.into()), Rc::default());
        (wire, far)
    }

    async fn write(wire: &mut Wire, pieces: &[&[u8]]) -> usize {
        let pieces: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let written = poll_fn(|cx| Poll::Ready(wire.poll_write(cx, &pieces))).await;
        match written {
            Poll::Ready(written) => written.expect("open"),
            Poll::Pending => 0,
        }
    }

    async fn send(wire: &mut Wire) -> Poll<io::Result<()>> {
        poll_fn(|cx| Poll::Ready(wire.poll_send(cx))).await
    }

    async fn read(wire: &mut Wire, size: usize) -> Vec<u8> {
        let mut room = vec![0; size];
        let mut room = ReadBuf::new(&mut room);
        poll_fn(|cx| wire.poll_read(cx, &mut room))
            .await
            .expect("open");
        room.filled().to_vec()
    }

    #[tokio::test]
    async fn frames_of_a_turn_are_one_write() {
        let (mut wire, mut far) = pair(LARGE);
        wire.gather();
        for _ in 0..100 {
            assert_eq!(write(&mut wire, &[b"head", &[b'x'; 100]]).await, 104);
            let flushed = poll_fn(|cx| Poll::Ready(wire.poll_flush(cx))).await;
            assert!(flushed.is_ready());
        }
        assert_eq!(wire.sends, 0);
        assert!(send(&mut wire).await.is_ready());
        assert_eq!(wire.sends, 1);
        assert!(wire.out.holds_nothing());
        let mut got = vec![0; 100 * 104];
        far.read_exact(&mut got).await.expect("all of it");
        assert!(got.chunks(104).all(|frame| frame.starts_with(b"headxx")));
    }

    #[tokio::test]
    async fn large_pieces_are_sent_from_where_they_lie() {
        let (mut wire, mut far) = pair(LARGE);
        wire.gather();
        let body = vec![b'x'; SIZE];
        let data = Data::new(body.clone().into(), wire.lender());
        let chunk = data.chunk();
        assert_eq!(write(&mut wire, &[b"frame of ", chunk]).await, 9 + SIZE);
        let at = chunk.as_ptr();
        let lies_there = |pieces: &[IoSlice<'_>]| pieces.iter().any(|it| it.as_ptr() == at);
        assert!(wire.out.pieces(lies_there));
        drop(data);
        assert!(send(&mut wire).await.is_ready());
        let mut got = vec![0; 9 + SIZE];
        far.read_exact(&mut got).await.expect("all of it");
        assert_eq!(got, [b"frame of ", &body[..]].concat());
        assert!(wire.out.holds_nothing());
    }

    #[tokio::test]
    async fn a_socket_that_takes_nothing_stops_large_pieces_too() {
        let (mut wire, mut far) = pair(SIZE / 4);
        wire.gather();
        let lender = Rc::clone(wire.lender());
        let mut taken = 0;
        loop {
            let data = Data::new(vec![b'x'; SIZE].into(), &lender);
            let count = write(&mut wire, &[data.chunk()]).await;
            taken += count;
            if count == 0 {
                break;
            }
        }
        assert_eq!(taken, LARGE + SIZE);
        let mut got = vec![0; SIZE / 4];
        for _ in 0..3 {
            far.read_exact(&mut got).await.expect("some of it");
            assert!(send(&mut wire).await.is_pending());
        }
        let data = Data::new(vec![b'x'; SIZE].into(), &lender);
        assert_eq!(write(&mut wire, &[data.chunk()]).await, SIZE);
    }

    #[tokio::test]
    async fn before_somebody_sends_a_flush_does() {
        let (mut wire, mut far) = pair(64);
        write(&mut wire, &[b"settings"]).await;
        let flushed = poll_fn(|cx| wire.poll_flush(cx)).await;
        flushed.expect("room");
        let mut got = [0; 8];
        far.read_exact(&mut got).await.expect("all of it");
        assert_eq!(&got, b"settings");
    }

    #[tokio::test]
    async fn a_socket_that_takes_nothing_stops_the_writer_at_a_limit() {
        let (mut wire, mut far) = pair(10);
        wire.gather();
        let piece = vec![b'x'; SIZE];
        let mut taken = 0;
        loop {
            let count = write(&mut wire, &[&piece]).await;
            if count == 0 {
                break;
            }
            taken += count;
        }
        assert_eq!(taken, LARGE + 10);
        // What is read makes room for as much.
        let mut got = vec![0; 10];
        far.read_exact(&mut got).await.expect("some of it");
        assert_eq!(write(&mut wire, &[&piece]).await, 10);
    }

    #[tokio::test]
    async fn a_socket_that_fails_is_told_to_whoever_reads_or_writes_next() {
        let (mut wire, far) = pair(10);
        wire.gather();
        drop(far);
        write(&mut wire, &[b"frame"]).await;
        assert!(matches!(send(&mut wire).await, Poll::Ready(Err(_))));
        assert!(matches!(send(&mut wire).await, Poll::Ready(Ok(()))));
        let mut room = [0; 8];
        let mut room = ReadBuf::new(&mut room);
        assert!(poll_fn(|cx| wire.poll_read(cx, &mut room)).await.is_err());
        let piece = [IoSlice::new(b"x")];
        assert!(poll_fn(|cx| wire.poll_write(cx, &piece)).await.is_err());
    }

    #[tokio::test]
    async fn what_was_read_at_once_is_given_out_in_pieces() {
        let (mut wire, mut far) = pair(4 * SIZE);
        let sent: Vec<u8> = (0..3 * SIZE).map(|at| at.to_le_bytes()[0]).collect();
        far.write_all(&sent).await.expect("room");
        let mut got = read(&mut wire, 1000).await;
        assert_eq!(got.len(), 1000);
        got.extend(read(&mut wire, 2 * SIZE).await);
        assert_eq!(got.len(), SIZE);
        // The first read filled its room: the second one has more.
        got.extend(read(&mut wire, 4 * SIZE).await);
        assert_eq!(got, sent);
        assert_eq!(wire.side.buffer.capacity(), 0);
        drop(far);
        assert!(read(&mut wire, 10).await.is_empty());
    }
}
