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

use std::ops::Range;

use super::field;
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
    /// The size of the chunk whose line is read, and how many digits it had.
    size: u64,
    digits: u8,
    /// The bytes of the line so far.
    line: u64,
    /// What lines took beyond what the data justifies.
    overhead: u64,
    /// The trailer section as received; after the end, the lines that may be sent on.
    trailer: Vec<u8>,
    scan: Scan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Size,
    /// White space after the size, or after an extension: a `;` must follow.
    BeforeSemicolon,
    /// After `;`.
    BeforeName,
    Name,
    /// White space after a name.
    AfterName,
    /// After `=`.
    BeforeValue,
    Token,
    Quoted,
    Escaped,
    /// After a closing quote.
    AfterQuoted,
    LineFeed,
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
                State::Size if self.digits == 0 => match canonical(&input[at..]) {
                    Some(Line::Chunk { length, size }) => {
                        at += length;
                        self.state = State::Data {
                            left: size,
                            framing: Framing::Verbatim,
                        };
                    }
                    Some(Line::Last { length }) => {
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
        let fault = |fault| Err(Error::Malformed(fault));
        let is_line = !matches!(self.state, State::DataReturn(_) | State::DataFeed(_));
        if is_line {
            self.line += 1;
            if self.overhead + self.line > MAX_OVERHEAD + FREE_OVERHEAD {
                return fault(Fault::ChunkOverhead);
            }
        }
        Ok(match (self.state, byte) {
            (State::Size, byte) if byte.is_ascii_hexdigit() => self.digit(byte)?,
            (State::Size, _) if self.digits == 0 => return fault(Fault::ChunkSize),
            (
                State::Size | State::Name | State::AfterName | State::Token | State::AfterQuoted,
                b'\r',
            ) => State::LineFeed,
            (
                State::Size
                | State::BeforeSemicolon
                | State::Name
                | State::AfterName
                | State::Token
                | State::AfterQuoted,
                b';',
            ) => State::BeforeName,
            (State::Size | State::BeforeSemicolon, b' ' | b'\t') => State::BeforeSemicolon,
            (State::Size, _) => return fault(Fault::ChunkSize),
            (State::Token | State::AfterQuoted, b' ' | b'\t') => State::BeforeSemicolon,
            (State::BeforeName, b' ' | b'\t') => State::BeforeName,
            (State::Name | State::AfterName, b' ' | b'\t') => State::AfterName,
            (State::Name | State::AfterName, b'=') => State::BeforeValue,
            (State::BeforeValue, b' ' | b'\t') => State::BeforeValue,
            (State::BeforeValue, b'"') => State::Quoted,
            (State::Quoted, b'"') => State::AfterQuoted,
            (State::Quoted, b'\\') => State::Escaped,
            (State::Escaped | State::Quoted, byte) if field::is_value_byte(byte) => State::Quoted,
            (State::BeforeName | State::Name, byte) if field::is_token_byte(byte) => State::Name,
            (State::BeforeValue | State::Token, byte) if field::is_token_byte(byte) => State::Token,
            (State::LineFeed, b'\n') => self.line_end(),
            (State::LineFeed, _) => return fault(Fault::BareCr),
            (State::DataReturn(framing), b'\r') => State::DataFeed(framing),
            (State::DataFeed(_), b'\n') => State::Size,
            (State::DataReturn(_) | State::DataFeed(_), _) => return fault(Fault::ChunkEnd),
            (_, b'\n') => return fault(Fault::BareLf),
            _ => return fault(Fault::ChunkExtension),
        })
    }

    fn digit(&mut self, byte: u8) -> Result<State, Error> {
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            _ => (byte | 0x20) - b'a' + 10,
        };
        self.digits += 1;
        let size = self.size << 4 | u64::from(value);
        // The value before the shift has at most 59 bits if the one after it fits 63.
        if self.digits > MAX_DIGITS || self.size >> 59 != 0 {
            return Err(Error::Malformed(Fault::ChunkSizeTooLarge));
        }
        self.size = size;
        Ok(State::Size)
    }

    fn line_end(&mut self) -> State {
        let justified = FREE_OVERHEAD.saturating_add(self.size.saturating_mul(2));
        self.overhead = (self.overhead + self.line).saturating_sub(justified);
        self.line = 0;
        self.digits = 0;
        let left = std::mem::take(&mut self.size);
        if left == 0 {
            self.scan = Scan::trailer();
            return State::Trailer;
        }
        let framing = Framing::Stripped;
        State::Data { left, framing }
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
        self.trailer = kept_trailers(&self.trailer)?;
        self.state = State::End(Ending::ToWrite);
        Ok(found.end - before)
    }
}

/// A chunk line that a next hop can read in one way only.
enum Line {
    Chunk {
        length: usize,
        size: u64,
    },
    /// The last chunk, with the empty line of a body without trailers.
    Last {
        length: usize,
    },
}

/// Reads a canonical line at the start of `input`; nothing if it is not one, or not complete.
fn canonical(input: &[u8]) -> Option<Line> {
    let mut size: u64 = 0;
    for (index, byte) in input.iter().enumerate().take(9) {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if input[index..].starts_with(CRLF) && index > 0 => {
                let length = index + CRLF.len();
                return match size {
                    0 if index == 1 && input[length..].starts_with(CRLF) => Some(Line::Last {
                        length: length + CRLF.len(),
                    }),
                    0 => None,
                    _ if input[0] != b'0' && i32::try_from(size).is_ok() => {
                        Some(Line::Chunk { length, size })
                    }
                    _ => None,
                };
            }
            _ => return None,
        };
        size = size << 4 | u64::from(digit);
    }
    None
}

/// Checks a trailer section and keeps the lines that may be sent on. Trailers are rare: this
/// allocates.
fn kept_trailers(section: &[u8]) -> Result<Vec<u8>, Error> {
    let mut table = [httparse::EMPTY_HEADER; MAX_TRAILERS];
    let parsed = match httparse::parse_headers(section, &mut table) {
        Ok(httparse::Status::Complete((length, parsed))) if length == section.len() => parsed,
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Error::Malformed(Fault::TrailerTooLarge));
        }
        Ok(_) | Err(_) => {
            return Err(Error::Malformed(super::head::field_fault(section)));
        }
    };
    let mut kept = Vec::with_capacity(section.len());
    for header in parsed {
        if may_be_trailer(header.name.as_bytes()) {
            super::write::field(&mut kept, header.name.as_bytes(), header.value);
        }
    }
    Ok(kept)
}

/// Whether a field may be sent on as a trailer. RFC 9110 §6.5.1 forbids those that frame a message,
/// route it, modify the request, authenticate, or say how to read the content: a recipient that
/// merged them into the head would be told otherwise than whoever decided on the head. They are
/// dropped, not refused: recipients are to ignore them.
fn may_be_trailer(name: &[u8]) -> bool {
    const FORBIDDEN: &[&str] = &[
        "age",
        "authorization",
        "cache-control",
        "content-encoding",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "expect",
        "expires",
        "forwarded",
        "location",
        "max-forwards",
        "pragma",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "range",
        "retry-after",
        "set-cookie",
        "trailer",
        "vary",
        "warning",
        "www-authenticate",
    ];
    const FORBIDDEN_PREFIXES: &[&str] = &["if-", "x-forwarded-", "x-envoy-"];
    let id = field::Id::of(name);
    let starts_with = |prefix: &&str| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    !(id.is_hop_by_hop()
        || id.is_protected()
        || FORBIDDEN
            .iter()
            .any(|forbidden| name.eq_ignore_ascii_case(forbidden.as_bytes()))
        || FORBIDDEN_PREFIXES.iter().any(starts_with))
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
