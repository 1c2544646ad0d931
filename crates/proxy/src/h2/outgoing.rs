//! The engine's HTTP/1.1 bytes as DATA and trailers.
//!
//! Nothing is kept: bytes are taken when the peer's window and the connection's buffer have room for
//! them. The last piece of a write is held back to its end, so that the piece that completes a body
//! carries `END_STREAM`.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use ::h2::SendStream;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use lateen_wire::h1::chunked::{Decoder, Event, Mode};

use super::data::Data;
use super::head;
use super::pipe::Fault;
use super::watch::Watch;

/// A body that is written.
#[derive(Debug)]
pub(super) struct Outgoing {
    framing: Framing,
    /// What is sent next.
    held: Bytes,
    /// How much more the stream takes, as far as is known: each question has its price.
    room: usize,
}

/// What the engine's bytes are.
#[derive(Debug)]
enum Framing {
    /// These many of a body.
    Length(u64),
    /// Chunks.
    Chunks {
        decoder: Box<Decoder>,
        /// How many bytes of data the decoder has passed that were not taken.
        owed: usize,
    },
    /// Bytes of another protocol.
    Tunnel,
    /// Nothing more is sent.
    Done,
}

// === impl Outgoing ===

impl Outgoing {
    /// A body of a length; with 0 there is none.
    pub(super) fn length(length: u64) -> Self {
        Self::new(match length {
            0 => Framing::Done,
            length => Framing::Length(length),
        })
    }

    /// A body in chunks.
    pub(super) fn chunks() -> Self {
        Self::new(Framing::Chunks {
            decoder: Box::new(Decoder::new(Mode::Decode)),
            owed: 0,
        })
    }

    /// A tunnel.
    pub(super) fn tunnel() -> Self {
        Self::new(Framing::Tunnel)
    }

    fn new(framing: Framing) -> Self {
        Self {
            framing,
            held: Bytes::new(),
            room: 0,
        }
    }

    /// Answers whether everything was sent.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.framing, Framing::Done)
    }

    /// Ends a tunnel.
    pub(super) fn shutdown(&mut self, send: &mut SendStream<Data>) {
        if matches!(self.framing, Framing::Tunnel) {
            self.framing = Framing::Done;
            // A stream that is reset needs no end.
            let _ = send.send_data(Data::empty(), true);
        }
    }

    /// Takes bytes, after the first `skip` ones of the pieces; answers how many.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        send: &mut SendStream<Data>,
        pieces: &[IoSlice<'_>],
        mut skip: usize,
        watch: &Watch,
    ) -> Poll<io::Result<usize>> {
        let mut total = 0;
        let mut has_room = true;
        for piece in pieces {
            let mut rest: &[u8] = piece;
            let skipped = skip.min(rest.len());
            skip -= skipped;
            rest = &rest[skipped..];
            while has_room && !rest.is_empty() && !self.is_done() {
                match self.poll_step(cx, send, rest, watch) {
                    Poll::Ready(Ok(count)) => {
                        rest = &rest[count..];
                        total += count;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => has_room = false,
                }
            }
        }
        self.flush(send, watch)?;
        if total == 0 && !has_room {
            return Poll::Pending;
        }
        Poll::Ready(Ok(total))
    }

    /// Takes some bytes of what comes next.
    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        send: &mut SendStream<Data>,
        rest: &[u8],
        watch: &Watch,
    ) -> Poll<io::Result<usize>> {
        let most = match &mut self.framing {
            Framing::Done => return Poll::Ready(Ok(0)),
            Framing::Tunnel => rest.len(),
            Framing::Length(left) => {
                usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()))
            }
            Framing::Chunks { decoder, owed } if *owed == 0 => {
                let step = decoder.next(rest).map_err(io::Error::other)?;
                let consumed = match step.event {
                    Event::Data(range) => {
                        *owed = range.len();
                        range.start
                    }
                    Event::End(_) => {
                        let trailers = trailers(decoder.trailers());
                        self.finish(send, trailers, watch)?;
                        step.consumed
                    }
                    Event::NeedMore | Event::Verbatim { .. } => step.consumed,
                };
                return Poll::Ready(Ok(consumed));
            }
            Framing::Chunks { owed, .. } => (*owed).min(rest.len()),
        };
        let count = ready!(self.poll_take(cx, send, &rest[..most], watch))?;
        match &mut self.framing {
            Framing::Length(left) => {
                *left -= count as u64;
                if *left == 0 {
                    self.finish(send, None, watch)?;
                }
            }
            Framing::Chunks { owed, .. } => *owed -= count,
            Framing::Tunnel | Framing::Done => {}
        }
        Poll::Ready(Ok(count))
    }

    /// Takes data as far as there is room for it.
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        send: &mut SendStream<Data>,
        data: &[u8],
        watch: &Watch,
    ) -> Poll<io::Result<usize>> {
        ready!(watch.poll_writable(cx));
        // What is held counts once it is sent, so it goes first.
        self.flush(send, watch)?;
        while self.room < data.len() {
            send.reserve_capacity(data.len());
            self.room = send.capacity();
            if self.room > 0 {
                break;
            }
            match ready!(send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(Fault::of(&error).into_io())),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let count = self.room.min(data.len());
        self.room -= count;
        self.held = Bytes::copy_from_slice(&data[..count]);
        Poll::Ready(Ok(count))
    }

    /// Sends what is held.
    fn flush(&mut self, send: &mut SendStream<Data>, watch: &Watch) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        watch.sent();
        let held = std::mem::take(&mut self.held);
        send.send_data(watch.data(held), false)
            .map_err(|error| Fault::of(&error).into_io())
    }

    /// Sends what is held, and the end.
    fn finish(
        &mut self,
        send: &mut SendStream<Data>,
        trailers: Option<HeaderMap>,
        watch: &Watch,
    ) -> io::Result<()> {
        self.framing = Framing::Done;
        let held = std::mem::take(&mut self.held);
        let sent = match trailers {
            None => send.send_data(watch.data(held), true),
            Some(trailers) => {
                let sent = if held.is_empty() {
                    Ok(())
                } else {
                    send.send_data(watch.data(held), false)
                };
                sent.and_then(|()| send.send_trailers(trailers))
            }
        };
        sent.map_err(|error| Fault::of(&error).into_io())
    }
}

/// The trailers of these lines, which the decoder has checked.
fn trailers(lines: &[u8]) -> Option<HeaderMap> {
    let mut trailers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = head::name(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Some(name), Ok(value)) = (name, value) {
            trailers.append(name, value);
        }
    }
    (!trailers.is_empty()).then_some(trailers)
}
