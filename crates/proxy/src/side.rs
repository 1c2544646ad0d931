//! One side of an exchange: a connection with the bytes that were read from it and not yet used.

use std::io;
use std::task::{Context, Poll};

use crate::buffer::{Buffer, Pool};
use crate::transport::{Read, Transport};

/// A connection and what was read ahead from it.
#[derive(Debug)]
pub struct Side {
    /// The connection.
    pub transport: Transport,
    /// What was read and not used.
    pub buffer: Buffer,
    /// Whether its peer sends no more.
    pub has_ended: bool,
    /// Whether the last read filled the buffer, so that there is likely more.
    pub was_filled: bool,
}

// === impl Side ===

impl Side {
    /// A side from which nothing was read yet.
    pub fn new(transport: Transport) -> Self {
        Self {
            transport,
            buffer: Buffer::default(),
            has_ended: false,
            was_filled: false,
        }
    }

    /// Reads more into the buffer, which must have room. An end is remembered and answered again.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, pool: &Pool) -> Poll<io::Result<Read>> {
        if self.has_ended {
            return Poll::Ready(Ok(Read::End));
        }
        let polled = self.transport.poll_read(cx, &mut self.buffer, pool);
        match polled {
            Poll::Ready(Ok(Read::End)) => self.has_ended = true,
            Poll::Ready(Ok(Read::Bytes(_))) => self.was_filled = self.buffer.has_no_room(),
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
        polled
    }
}
