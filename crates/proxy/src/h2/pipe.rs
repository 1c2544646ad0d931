//! A stream of HTTP/2 as the engine sees it: a connection.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use super::{requested, served};
use crate::buffer::{Buffer, Pool};
use crate::transport::Read;

/// A stream, in one of the two roles.
#[derive(Debug)]
pub enum Pipe {
    /// Of a client: requests are read from it, responses written to it.
    Served(served::Stream),
    /// To an upstream: requests are written to it, responses read from it.
    Requested(requested::Stream),
}

/// Why a stream to an upstream broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The upstream has not looked at it and says so (`REFUSED_STREAM`, or a GOAWAY that leaves it
    /// out), or its connection ended before the stream was opened: whatever the request, it can be
    /// sent again.
    #[error("the upstream refused the stream")]
    Refused,
    /// The upstream reset it.
    #[error("the upstream reset the stream")]
    Reset,
    /// The upstream broke a rule of the protocol, or the request cannot be said in it.
    #[error("the upstream broke the protocol")]
    Protocol,
    /// The connection ended.
    #[error("the connection to the upstream ended")]
    Connection,
}

// === impl Pipe ===

impl Pipe {
    /// Reads as from a connection.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        pool: &Pool,
    ) -> Poll<io::Result<Read>> {
        match self {
            Self::Served(stream) => stream.poll_read(cx, buffer, pool),
            Self::Requested(stream) => stream.poll_read(cx, buffer, pool),
        }
    }

    /// Writes as to a connection.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Served(stream) => stream.poll_write(cx, pieces),
            Self::Requested(stream) => stream.poll_write(cx, pieces),
        }
    }

    /// Ends the writing direction, which means something in tunnels only: elsewhere the framing
    /// has ended it.
    pub fn poll_shutdown(&mut self) -> Poll<io::Result<()>> {
        match self {
            Self::Served(stream) => stream.shutdown(),
            Self::Requested(stream) => stream.shutdown(),
        }
        Poll::Ready(Ok(()))
    }

    /// Why a stream to an upstream broke off.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Served(_) => None,
            Self::Requested(stream) => stream.fault(),
        }
    }

    /// The address at this end of the connection.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Served(_) => None,
            Self::Requested(stream) => stream.local_addr(),
        }
    }
}

// === impl Fault ===

impl Fault {
    /// What an error of a stream means. `h2` closes streams above the last one of a GOAWAY with the
    /// GOAWAY, and others, when the connection ends, with an error of the socket.
    pub(super) fn of(error: &::h2::Error) -> Self {
        let reason = error.reason();
        if error.is_remote() && error.is_go_away() {
            return Self::Refused;
        }
        if error.is_remote() && error.is_reset() {
            return match reason {
                Some(::h2::Reason::REFUSED_STREAM) => Self::Refused,
                _ => Self::Reset,
            };
        }
        if error.is_io() {
            return Self::Connection;
        }
        Self::Protocol
    }

    /// As an error of reading and writing.
    pub(super) fn into_io(self) -> io::Error {
        let kind = match self {
            Self::Refused => io::ErrorKind::ConnectionRefused,
            Self::Reset | Self::Connection => io::ErrorKind::ConnectionReset,
            Self::Protocol => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, self)
    }
}
