//! The line before a chunk's data: its size and its extensions (RFC 9112 §7.1, §7.1.1).

use super::{CRLF, FREE_OVERHEAD, MAX_DIGITS, MAX_OVERHEAD};
use crate::h1::field;
use crate::{Error, Fault};

/// A chunk line as it is read, and the bytes that the lines of the message took.
#[derive(Debug, Default)]
pub(super) struct Line {
    state: State,
    size: u64,
    digits: u8,
    /// The bytes of this line so far.
    length: u64,
    /// What the lines took beyond what the data justifies.
    overhead: u64,
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
}

impl Line {
    /// Whether nothing of the next line has been read.
    pub(super) fn is_at_start(&self) -> bool {
        self.length == 0
    }

    /// Reads a byte; answers the size of the chunk when the line is complete.
    pub(super) fn read(&mut self, byte: u8) -> Result<Option<u64>, Error> {
        self.length += 1;
        if self.overhead + self.length > MAX_OVERHEAD + FREE_OVERHEAD {
            return Err(Error::Malformed(Fault::ChunkOverhead));
        }
        if (self.state, byte) == (State::LineFeed, b'\n') {
            return Ok(Some(self.end()));
        }
        match self.next(byte)? {
            Some(state) => self.state = state,
            None => return Err(Error::Malformed(self.fault(byte))),
        }
        Ok(None)
    }

    /// The state after `byte`; nothing if the grammar does not allow it here.
    fn next(&mut self, byte: u8) -> Result<Option<State>, Error> {
        let is_space = field::is_ows(byte);
        let is_token = field::is_token_byte(byte);
        Ok(Some(match (self.state, byte) {
            (State::Size, _) if byte.is_ascii_hexdigit() => {
                self.digit(byte)?;
                State::Size
            }
            (State::Size, _) if self.digits == 0 => return Ok(None),
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
            (State::Size | State::BeforeSemicolon | State::Token | State::AfterQuoted, _)
                if is_space =>
            {
                State::BeforeSemicolon
            }
            (State::BeforeName | State::BeforeValue, _) if is_space => self.state,
            (State::BeforeName | State::Name, _) if is_token => State::Name,
            (State::Name | State::AfterName, _) if is_space => State::AfterName,
            (State::Name | State::AfterName, b'=') => State::BeforeValue,
            (State::BeforeValue | State::Token, _) if is_token => State::Token,
            (State::BeforeValue, b'"') => State::Quoted,
            (State::Quoted, b'"') => State::AfterQuoted,
            (State::Quoted, b'\\') => State::Escaped,
            (State::Quoted | State::Escaped, _) if field::is_value_byte(byte) => State::Quoted,
            _ => return Ok(None),
        }))
    }

    fn fault(&self, byte: u8) -> Fault {
        match (self.state, byte) {
            (State::LineFeed, _) => Fault::BareCr,
            (State::Size, _) if self.digits == 0 => Fault::ChunkSize,
            (_, b'\n') => Fault::BareLf,
            (State::Size, _) => Fault::ChunkSize,
            _ => Fault::ChunkExtension,
        }
    }

    fn digit(&mut self, byte: u8) -> Result<(), Error> {
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            _ => (byte | 0x20) - b'a' + 10,
        };
        self.digits += 1;
        // A size of at most 59 bits before the shift has at most 63 after it.
        if self.digits > MAX_DIGITS || self.size >> 59 != 0 {
            return Err(Error::Malformed(Fault::ChunkSizeTooLarge));
        }
        self.size = self.size << 4 | u64::from(value);
        Ok(())
    }

    fn end(&mut self) -> u64 {
        let size = self.size;
        let justified = FREE_OVERHEAD.saturating_add(size.saturating_mul(2));
        let overhead = (self.overhead + self.length).saturating_sub(justified);
        *self = Self {
            overhead,
            ..Self::default()
        };
        size
    }
}

/// A chunk line that a next hop can read in one way only.
pub(super) enum Canonical {
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
pub(super) fn canonical(input: &[u8]) -> Option<Canonical> {
    let mut size: u64 = 0;
    for (index, byte) in input.iter().enumerate().take(9) {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if input[index..].starts_with(CRLF) && index > 0 => {
                let length = index + CRLF.len();
                return match size {
                    0 if index == 1 && input[length..].starts_with(CRLF) => Some(Canonical::Last {
                        length: length + CRLF.len(),
                    }),
                    0 => None,
                    _ if input[0] != b'0' && i32::try_from(size).is_ok() => {
                        Some(Canonical::Chunk { length, size })
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
