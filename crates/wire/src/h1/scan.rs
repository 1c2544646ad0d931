//! Finds the end of a head in bytes that arrive in pieces.
//!
//! It does not read the lines. It exists for three reasons: `httparse` takes a bare LF for the end
//! of a line, which RFC 9112 §2.2 allows and a proxy may not (the next hop may see one line where
//! we saw two); a head that arrives byte by byte would be parsed anew for each byte, which is
//! quadratic; and the limit must hold before the end is seen.

use super::head::Limits;
use crate::{Error, Fault};

/// How many empty lines may come before a request line (RFC 9112 §2.2 asks for at least one;
/// some old clients send one CRLF too many after a body).
const MAX_EMPTY_LINES: usize = 4;

/// How far a head has been searched for its end.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Scan {
    /// The offset of the next byte to look at.
    next: usize,
    /// The offset at which the current line started.
    line: usize,
    /// The offset of the start line, once its first byte is known.
    start: Option<usize>,
    /// What may come before the start line.
    allows_empty_lines: bool,
}

/// Where a complete head is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// The offset of the start line.
    pub(super) start: usize,
    /// The offset after the empty line that ends the head.
    pub(super) end: usize,
}

impl Scan {
    /// A scan for a request: a few empty lines are skipped.
    pub(super) fn request() -> Self {
        Self {
            allows_empty_lines: true,
            ..Self::default()
        }
    }

    /// A scan for a response: starts with the status line.
    pub(super) fn response() -> Self {
        Self::default()
    }

    /// A scan for a trailer section: has no start line, so an empty line may end it at once.
    pub(super) fn trailer() -> Self {
        Self {
            start: Some(0),
            ..Self::default()
        }
    }

    /// Searches on from where the last call ended; `input` starts where it did then.
    pub(super) fn advance(
        &mut self,
        input: &[u8],
        limits: &Limits,
    ) -> Result<Option<Found>, Error> {
        let limit = limits.head_bytes as usize;
        let window = &input[..input.len().min(limit)];
        while let Some(found) =
            memchr::memchr2(b'\r', b'\n', window.get(self.next..).unwrap_or(&[]))
        {
            let at = self.next + found;
            if window[at] == b'\n' {
                return Err(Error::Malformed(Fault::BareLf));
            }
            match window.get(at + 1) {
                Some(b'\n') => {}
                Some(_) => return Err(Error::Malformed(Fault::BareCr)),
                None => {
                    // The CR is looked at again when its LF is there.
                    self.next = at;
                    return full(window, limit);
                }
            }
            let line = self.line;
            let is_empty_line = at == line;
            self.next = at + 2;
            self.line = at + 2;
            match self.start {
                Some(start) if is_empty_line => {
                    let end = at + 2;
                    return Ok(Some(Found { start, end }));
                }
                None if !is_empty_line => self.start = Some(line),
                None if !self.allows_empty_lines => {
                    return Err(Error::Malformed(Fault::StatusLine));
                }
                None if at / 2 >= MAX_EMPTY_LINES => {
                    return Err(Error::Malformed(Fault::EmptyLines));
                }
                Some(_) | None => {}
            }
        }
        self.next = window.len();
        full(window, limit)
    }
}

/// What an unfinished head is: not complete, or too large.
fn full(window: &[u8], limit: usize) -> Result<Option<Found>, Error> {
    if window.len() >= limit {
        return Err(Error::HeadTooLarge(limit));
    }
    Ok(None)
}
