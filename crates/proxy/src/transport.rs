//! The bytes of one connection: a TCP socket, one of the file system, a stream in memory, or a stream of HTTP/2 that is
//! made to look like a connection.
//!
//! It is an enum, not a trait object, so that a read or write is one predictable branch. Streams in
//! memory are how the whole worker is tested without the network.
//!
//! Reads go through tokio's `AsyncRead`, which clears a socket's readiness after a short read: the
//! next read then waits for the event loop and no system call ends in `EAGAIN`.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::buffer::{Buffer, Pool};
use crate::h2::{Fault, Pipe};
use crate::tls;

/// A connection's bytes.
#[derive(Debug)]
pub enum Transport {
    /// A TCP socket.
    Tcp(TcpStream),
    /// A socket of the file system.
    Unix(UnixStream),
    /// A stream in memory, for tests.
    Memory(DuplexStream),
    /// A stream of an HTTP/2 connection, as an HTTP/1.1 connection for one exchange.
    Stream(Box<Pipe>),
    /// One of the former two, under TLS that ends here.
    Tls(Box<tls::Stream>),
}

/// What became of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// This many bytes came.
    Bytes(usize),
    /// The peer sends no more.
    End,
}

// === impl Transport ===

impl Transport {
    /// Reads into the room of `buffer`, which must not be full. Storage is borrowed from `pool`
    /// only when there is something to read.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        pool: &Pool,
    ) -> Poll<io::Result<Read>> {
        debug_assert!(
            !buffer.is_full(),
            "a read without room would look like an end"
        );
        match self {
            Self::Tcp(_) | Self::Unix(_) | Self::Tls(_) | Self::Memory(_) => {
                ready!(self.poll_read_ready(cx))?;
            }
            Self::Stream(pipe) => return pipe.poll_read(cx, buffer, pool),
        }
        let mut room = ReadBuf::new(buffer.room(pool));
        let polled = self.poll_read_into(cx, &mut room);
        let count = room.filled().len();
        match polled {
            Poll::Ready(Ok(())) if count == 0 => {
                buffer.release(pool);
                Poll::Ready(Ok(Read::End))
            }
            Poll::Ready(Ok(())) => {
                buffer.filled(count);
                Poll::Ready(Ok(Read::Bytes(count)))
            }
            Poll::Ready(Err(error)) => {
                buffer.release(pool);
                Poll::Ready(Err(error))
            }
            Poll::Pending => {
                buffer.release(pool);
                Poll::Pending
            }
        }
    }

    /// Ready when a read may have something to do: before memory is borrowed for it.
    pub(crate) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
            Self::Tls(stream) => stream.poll_read_ready(cx),
            Self::Memory(_) | Self::Stream(_) => Poll::Ready(Ok(())),
        }
    }

    /// Reads into plain memory: for what brings its own buffer. Streams of HTTP/2 have no bytes of
    /// their own to give.
    pub fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, room),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, room),
            Self::Memory(stream) => Pin::new(stream).poll_read(cx, room),
            Self::Tls(stream) => stream.poll_read(cx, room),
            Self::Stream(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }

    /// Writes from several pieces at once; a result of 0 means that there was nothing to write.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => {
                // A single piece takes the way that clears readiness after a short write.
                if let [piece] = pieces {
                    Pin::new(stream).poll_write(cx, piece)
                } else {
                    Pin::new(stream).poll_write_vectored(cx, pieces)
                }
            }
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Self::Memory(stream) => {
                let piece = pieces.iter().find(|piece| !piece.is_empty());
                Pin::new(stream).poll_write(cx, piece.map_or(&[][..], |piece| piece))
            }
            Self::Stream(pipe) => pipe.poll_write(cx, pieces),
            Self::Tls(stream) => stream.poll_write(cx, pieces),
        }
    }

    /// Sends what a write took and could not send. To be called whenever a direction waits for
    /// more: only TLS keeps anything back.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) | Self::Unix(_) | Self::Memory(_) | Self::Stream(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => stream.poll_flush(cx),
        }
    }

    /// Says farewell before an orderly close, where the protocol has a word for it.
    pub fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) | Self::Unix(_) | Self::Memory(_) | Self::Stream(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => stream.poll_shutdown(cx),
        }
    }

    /// Tells the peer that nothing more is sent.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Memory(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Stream(pipe) => pipe.poll_shutdown(),
            Self::Tls(stream) => stream.poll_shutdown(cx),
        }
    }

    /// Answers whether an idle connection can no longer be used: its peer closed it, or sent what
    /// nobody asked for. Costs no system call unless the event loop has seen something.
    pub fn is_stale(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let mut byte = [0];
        let mut room = ReadBuf::new(&mut byte);
        match self {
            Self::Tcp(stream) => {
                // The noop waker replaces none that matters: nobody waits for an idle connection.
                stream.poll_read_ready(&mut cx).is_ready()
                    && Pin::new(stream).poll_read(&mut cx, &mut room).is_ready()
            }
            Self::Unix(stream) => {
                stream.poll_read_ready(&mut cx).is_ready()
                    && Pin::new(stream).poll_read(&mut cx, &mut room).is_ready()
            }
            Self::Memory(stream) => Pin::new(stream).poll_read(&mut cx, &mut room).is_ready(),
            // It carries one exchange.
            Self::Stream(_) => true,
            Self::Tls(stream) => stream.poll_read_ready(&mut cx).is_ready(),
        }
    }

    /// Asks the kernel whether something has come on an idle connection: bytes, its end, or an
    /// error. One system call, unlike [`Self::is_stale`].
    pub fn has_news(&self) -> bool {
        match self {
            Self::Tcp(stream) => has_news(&SockRef::from(stream)),
            Self::Unix(stream) => has_news(&SockRef::from(stream)),
            Self::Tls(stream) => stream.inner().has_news(),
            Self::Memory(_) | Self::Stream(_) => false,
        }
    }

    /// The address at this end, if it has one: a socket of the file system has none where it was
    /// not bound.
    pub fn local_addr(&self) -> Option<std::net::SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) | Self::Memory(_) => None,
            Self::Stream(pipe) => pipe.local_addr(),
            Self::Tls(stream) => stream.inner().local_addr(),
        }
    }

    /// Answers whether it is a stream of an HTTP/2 connection, which carries one exchange.
    pub fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Why a stream to an upstream broke off, if it is one and did.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Stream(pipe) => pipe.fault(),
            Self::Tcp(_) | Self::Unix(_) | Self::Memory(_) | Self::Tls(_) => None,
        }
    }

    /// Makes the kernel answer with a reset when the connection is dropped, where there is one.
    pub fn reset_on_drop(&self) {
        match self {
            Self::Tcp(stream) => {
                // An error leaves an orderly close, which is no worse.
                let _ = stream.set_zero_linger();
            }
            Self::Tls(stream) => stream.inner().reset_on_drop(),
            // A socket of the file system has no reset.
            Self::Unix(_) | Self::Memory(_) | Self::Stream(_) => {}
        }
    }
}

/// Asks the kernel whether something is there to read, be it the end.
fn has_news(socket: &SockRef<'_>) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    let peeked = socket.peek(&mut byte);
    !peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

impl From<TcpStream> for Transport {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<DuplexStream> for Transport {
    fn from(stream: DuplexStream) -> Self {
        Self::Memory(stream)
    }
}
