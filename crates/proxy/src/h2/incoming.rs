//! A peer's message as HTTP/1.1 bytes: a head that is staged, then the body in its framing.
//!
//! A DATA frame becomes one chunk, whatever room the engine's buffer has at the moment: the chunk's
//! bytes then come in several reads. The peer gets its window back byte by byte as they are read.

use std::task::{Context, Poll};
use std::time::Duration;

use ::h2::RecvStream;
use bytes::{Buf, Bytes};
use http::HeaderMap;
use lateen_wire::h1::chunked::{self, CRLF};

use crate::buffer::{Buffer, Pool};

/// How long the last, empty frame of a body is waited for.
const LAST_FRAME: Duration = Duration::from_secs(1);

/// A body that is read, and what comes before and after it.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Bytes of framing: a head, a chunk's line, trailers.
    stage: Vec<u8>,
    staged: usize,
    /// What is left of a DATA frame.
    data: Bytes,
    body: Option<RecvStream>,
    framing: Framing,
    /// What is left of a declared length.
    left: Option<u64>,
}

/// How a body is written as HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Framing {
    /// There is none, or it has been read.
    #[default]
    Done,
    /// As it is: its length was declared, or it is a tunnel.
    Plain,
    /// As chunks, with trailers.
    Chunks,
    /// Its data has been read.
    Trailers {
        /// Whether it was read as chunks.
        is_chunked: bool,
    },
}

/// What became of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Got {
    /// So many bytes.
    Bytes(usize),
    /// None, and none will come.
    Nothing,
}

// === impl Incoming ===

impl Incoming {
    /// The bytes of framing that are read next, to add to.
    pub(super) fn stage(&mut self) -> &mut Vec<u8> {
        if self.staged == self.stage.len() {
            self.stage.clear();
            self.staged = 0;
        }
        &mut self.stage
    }

    /// Reads this body after what is staged. `length` is what its head declared.
    pub(super) fn start(&mut self, body: RecvStream, framing: Framing, length: Option<u64>) {
        self.body = Some(body);
        self.framing = framing;
        self.left = length;
    }

    /// Waits for the end of a body that is whole but whose end has not come: the length said that
    /// nothing more would, and the frame that says so may be a packet behind. A reset instead would
    /// look like one that was cancelled.
    pub(super) fn finish(&mut self) {
        let is_whole = self.framing == Framing::Done || self.left == Some(0);
        let Some(mut body) = self
            .body
            .take()
            .filter(|body| is_whole && !body.is_end_stream())
        else {
            return;
        };
        let end = async move {
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
            }
        };
        tokio::task::spawn_local(tokio::time::timeout(LAST_FRAME, end));
    }

    /// Answers whether everything has been read.
    pub(super) fn is_done(&self) -> bool {
        self.framing == Framing::Done && self.staged == self.stage.len()
    }

    /// Reads as much as there is and as fits.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        pool: &Pool,
    ) -> Poll<Result<Got, ::h2::Error>> {
        let mut total = 0;
        loop {
            total += self.drain(buffer, pool)?;
            if self.has_more() {
                return Poll::Ready(Ok(Got::Bytes(total))); // The buffer is full.
            }
            match self.poll_next(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) if total == 0 => return Poll::Ready(Ok(Got::Nothing)),
                Poll::Ready(Err(error)) if total == 0 => return Poll::Ready(Err(error)),
                Poll::Pending if total == 0 => return Poll::Pending,
                // What stopped it is found again by the next read.
                Poll::Ready(_) | Poll::Pending => return Poll::Ready(Ok(Got::Bytes(total))),
            }
        }
    }

    fn has_more(&self) -> bool {
        self.staged < self.stage.len() || !self.data.is_empty()
    }

    /// Copies what is there.
    fn drain(&mut self, buffer: &mut Buffer, pool: &Pool) -> Result<usize, ::h2::Error> {
        let mut total = 0;
        if self.staged < self.stage.len() {
            let count = copy(&self.stage[self.staged..], buffer, pool);
            self.staged += count;
            total += count;
            if self.staged < self.stage.len() {
                return Ok(total);
            }
        }
        if !self.data.is_empty() {
            let count = copy(&self.data, buffer, pool);
            self.data.advance(count);
            self.left = self.left.map(|left| left.saturating_sub(count as u64));
            total += count;
            if let Some(body) = &mut self.body {
                body.flow_control().release_capacity(count)?;
            }
            if self.data.is_empty() && self.framing == Framing::Chunks {
                self.stage().extend_from_slice(CRLF);
                let count = copy(CRLF, buffer, pool);
                self.staged = count;
                total += count;
            }
        }
        Ok(total)
    }

    /// Takes the next piece of the message; `false` if there is none.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, ::h2::Error>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(Ok(false));
        };
        match self.framing {
            Framing::Done => Poll::Ready(Ok(false)),
            Framing::Plain | Framing::Chunks => {
                match std::task::ready!(body.poll_data(cx)).transpose()? {
                    Some(data) if data.is_empty() => {}
                    Some(data) => {
                        if self.framing == Framing::Chunks {
                            chunked::write_start(self.stage(), data.len());
                        }
                        self.data = data;
                    }
                    None => {
                        let is_chunked = self.framing == Framing::Chunks;
                        self.framing = Framing::Trailers { is_chunked };
                    }
                }
                Poll::Ready(Ok(true))
            }
            Framing::Trailers { is_chunked } => {
                let trailers = std::task::ready!(body.poll_trailers(cx))?;
                self.framing = Framing::Done;
                if is_chunked {
                    write_end(self.stage(), trailers.as_ref());
                }
                Poll::Ready(Ok(true))
            }
        }
    }
}

/// Copies as much as fits.
fn copy(from: &[u8], buffer: &mut Buffer, pool: &Pool) -> usize {
    let room = buffer.room(pool);
    let count = from.len().min(room.len());
    room[..count].copy_from_slice(&from[..count]);
    buffer.filled(count);
    count
}

/// Writes the last chunk and the trailers.
fn write_end(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(CRLF);
    }
    out.extend_from_slice(CRLF);
}
