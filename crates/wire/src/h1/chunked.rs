//! The chunked transfer coding (RFC 9112 §7.1): an incremental decoder that never copies data, and
//! the encoder's lines.
//!
//! # How a proxy sends chunks on
//!
//! Chunk extensions are for one hop and are dropped, so the bytes cannot all be sent on as they
//! came. Framing every piece anew would be sound and simple, but costs a size line per read and
//! turns one write into three. So the decoder in [`Mode::Relay`] answers two kinds of pieces:
//!
//! - [`Event::Verbatim`]: a run of chunks, *with* their lines, that are canonical: 1 to 8 digits,
//!   no leading zero, no extension, no size above 2^31-1, the line not split over two reads.
//!   A next hop can read such a line in one way only, even if it keeps sizes in 32 bits, and it
//!   goes out in the same write as the data. This is nearly all traffic.
//! - [`Event::Data`]: data of any other chunk, which the caller frames anew with [`write_start`]
//!   and [`CRLF`].
//!
//! The end is [`Event::End`]; unless it says that the last chunk was part of a verbatim run,
//! [`Decoder::write_end`] writes it, with the trailers that may be sent on.
//!
//! In [`Mode::Decode`] there is only `Data` and `End`, for a next hop that does not get chunks.
//!
//! # Limits
//!
//! A chunk's size fits 63 bits. Lines may take 16 bytes per chunk, plus 2 for each byte of data,
//! plus 16 KiB per message: enough for any signature in an extension, and an end to messages that
//! are all extension (one byte of data per KiB read). The trailer section is limited like a head.

mod line;
mod trailer;

use std::ops::Range;

use self::line::{Canonical, Line, canonical};
use super::head::Limits;
use super::scan::Scan;
use crate::{Error, Fault};

/// What ends a chunk's data.
pub const CRLF: &[u8] = b"\r\n";

/// The most bytes that [`write_start`] writes.
pub const MAX_START: usize = 18;

/// More digits than any 63-bit number needs, but room for a few leading zeros.
const MAX_DIGITS: u8 = 16;

/// How many bytes the lines of a message may take beyond what its data justifies.
const MAX_OVERHEAD: u64 = 16 * 1024;

/// The part of each line that is free: 8 digits and CRLF, twice over.
const FREE_OVERHEAD: u64 = 16;

/// The limits of a trailer section.
const TRAILER_LIMITS: Limits = Limits {
    head_bytes: 8 * 1024,
    fields: MAX_TRAILERS,
};

const MAX_TRAILERS: usize = 32;

/// What the caller wants of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// To send it on as chunks.
    #[default]
    Relay,
    /// Only the data.
    Decode,
}

/// How far the decoder got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// How many bytes of the input are done with: the next call starts after them.
    pub consumed: usize,
    /// What they were.
    pub event: Event,
}

/// What was found in the input. Ranges are offsets of the input of that call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// All input is consumed; more is needed.
    NeedMore,
    /// Chunks, or parts of chunks, that can be sent on as they are.
    Verbatim {
        /// Where they are.
        bytes: Range<usize>,
        /// How many of the bytes are data.
        data: usize,
    },
    /// Data without its framing.
    Data(Range<usize>),
    /// The body is complete; what follows is another message.
    End(Ending),
}

/// Whether the last chunk has been sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was the end of the last verbatim run.
    Relayed,
    /// It is to be written with [`Decoder::write_end`].
    ToWrite,
}

/// Decodes one body. Reused from one to the next by [`Decoder::reset`].
#[derive(Debug, Default)]
pub struct Decoder {
    mode: Mode,
    state: State,
    line: Line,
    /// The trailer section as received; after the end, the lines that may be sent on.
    trailer: Vec<u8>,
    scan: Scan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// In the line before a chunk's data.
    #[default]
    Line,
    Data {
        left: u64,
        framing: Framing,
    },
    DataReturn(Framing),
    DataFeed(Framing),
    Trailer,
    End(Ending),
}

/// Whether the line of the current chunk was sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Verbatim,
    Stripped,
}

impl Decoder {
    /// A decoder at the start of a body.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            ..Self::default()
        }
    }

    /// Starts another body; keeps memory.
    pub fn reset(&mut self, mode: Mode) {
        let mut trailer = std::mem::take(&mut self.trailer);
        trailer.clear();
        *self = Self {
            mode,
            trailer,
            ..Self::default()
        };
    }

    /// Reads on. Call it with what is left after [`Step::consumed`], and then with what is read
    /// next, until it answers [`Event::End`].
    ///
    /// # Errors
    /// The body is malformed. What was sent on of it must not be completed: both connections are
    /// closed.
    pub fn next(&mut self, input: &[u8]) -> Result<Step, Error> {
        if self.mode == Mode::Relay {
            let (consumed, data) = self.run(input)?;
            if consumed > 0 {
                let bytes = 0..consumed;
                let event = Event::Verbatim { bytes, data };
                return Ok(Step { consumed, event });
            }
        }
        let mut at = 0;
        loop {
            let event = match self.state {
                State::End(ending) => Event::End(ending),
                State::Trailer => {
                    at += self.trailer(&input[at..])?;
                    if !matches!(self.state, State::End(_)) {
                        return Ok(Step {
                            consumed: at,
                            event: Event::NeedMore,
                        });
                    }
                    continue;
                }
                State::Data { left, framing } if at < input.len() => {
                    let start = at;
                    at += self.data(left, framing, input.len() - at);
                    Event::Data(start..at)
                }
                _ => {
                    let Some(byte) = input.get(at) else {
                        let event = Event::NeedMore;
                        return Ok(Step {
                            consumed: at,
                            event,
                        });
                    };
                    self.state = self.byte(*byte)?;
                    at += 1;
                    continue;
                }
            };
            return Ok(Step {
                consumed: at,
                event,
            });
        }
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::End(_))
    }

    /// After the end: the trailer fields that may be sent on, as lines.
    pub fn trailers(&self) -> &[u8] {
        if self.is_done() { &self.trailer } else { &[] }
    }

    /// Writes the last chunk, the trailers and the end.
    pub fn write_end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"0\r\n");
        out.extend_from_slice(self.trailers());
        out.extend_from_slice(CRLF);
    }

    /// Consumes as many canonical chunks as there are; answers the bytes and those that are data.
    fn run(&mut self, input: &[u8]) -> Result<(usize, usize), Error> {
        let (mut at, mut data) = (0, 0);
        while at < input.len() {
            match self.state {
                State::Line if self.line.is_at_start() => match canonical(&input[at..]) {
                    Some(Canonical::Chunk { length, size }) => {
                        at += length;
                        self.state = State::Data {
                            left: size,
                            framing: Framing::Verbatim,
                        };
                    }
                    Some(Canonical::Last { length }) => {
                        at += length;
                        self.state = State::End(Ending::Relayed);
                        break;
                    }
                    None => break,
                },
                State::Data {
                    left,
                    framing: Framing::Verbatim,
                } => {
                    let length = self.data(left, Framing::Verbatim, input.len() - at);
                    at += length;
                    data += length;
                }
                State::DataReturn(Framing::Verbatim) | State::DataFeed(Framing::Verbatim) => {
                    self.state = self.byte(input[at])?;
                    at += 1;
                }
                _ => break,
            }
        }
        Ok((at, data))
    }

    /// Consumes data; answers how much.
    fn data(&mut self, left: u64, framing: Framing, available: usize) -> usize {
        let length = usize::try_from(left).map_or(available, |left| left.min(available));
        let left = left - length as u64;
        self.state = if left == 0 {
            State::DataReturn(framing)
        } else {
            State::Data { left, framing }
        };
        length
    }

    /// Reads one byte of framing.
    fn byte(&mut self, byte: u8) -> Result<State, Error> {
        Ok(match (self.state, byte) {
            (State::DataReturn(framing), b'\r') => State::DataFeed(framing),
            (State::DataFeed(_), b'\n') => State::Line,
            (State::DataReturn(_) | State::DataFeed(_), _) => {
                return Err(Error::Malformed(Fault::ChunkEnd));
            }
            (state, byte) => match self.line.read(byte)? {
                None => state,
                Some(0) => {
                    self.scan = Scan::trailer();
                    State::Trailer
                }
                Some(left) => State::Data {
                    left,
                    framing: Framing::Stripped,
                },
            },
        })
    }

    /// Collects the trailer section; answers how many bytes belong to it.
    fn trailer(&mut self, input: &[u8]) -> Result<usize, Error> {
        if self.trailer.is_empty() && input.starts_with(CRLF) {
            self.state = State::End(Ending::ToWrite);
            return Ok(CRLF.len());
        }
        let before = self.trailer.len();
        let room = TRAILER_LIMITS.head_bytes as usize - before;
        let taken = input.len().min(room);
        self.trailer.extend_from_slice(&input[..taken]);
        let found = match self.scan.advance(&self.trailer, &TRAILER_LIMITS) {
            Ok(found) => found,
            Err(Error::HeadTooLarge(_)) => {
                return Err(Error::Malformed(Fault::TrailerTooLarge));
            }
            Err(error) => return Err(error),
        };
        let Some(found) = found else {
            return Ok(taken);
        };
        self.trailer.truncate(found.end);
        self.trailer = trailer::kept(&self.trailer)?;
        self.state = State::End(Ending::ToWrite);
        Ok(found.end - before)
    }
}

/// Writes the size line of a chunk. A chunk without data would end the body: nothing is written
/// for it.
pub fn write_start(out: &mut Vec<u8>, size: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    if size == 0 {
        return;
    }
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4);
    for index in (0..digits).rev() {
        out.push(DIGITS[size >> (index * 4) & 0xf]);
    }
    out.extend_from_slice(CRLF);
}

/// Writes a chunk; nothing if there is no data.
pub fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        write_start(out, data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(CRLF);
    }
}

#[cfg(test)]
mod tests;
