//! Response heads.
//!
//! Where a response ends depends on the request ([`Asked`]). Every error here is 502 to the client
//! and the end of the upstream's connection: whatever is in its buffer cannot be trusted.

use super::field::{self, Id, Span};
use super::framing::{self, Body};
use super::head::{self, Fields, FieldsView, Limits, Persistence, Progress, Version};
use super::request::{self, Method};
use super::scan::Scan;
use crate::{Error, Fault};

/// What was asked for, as far as it changes how the response is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked<'a> {
    /// The method of the request.
    pub method: Method,
    /// The protocols that were sent on in its Upgrade field, if one was.
    pub upgrade: Option<&'a [u8]>,
}

impl<'a> Asked<'a> {
    /// What `request` asks for, when its upgrade is sent on.
    pub fn by(request: request::Request<'a>) -> Self {
        Self {
            method: request.method(),
            upgrade: request.upgrade(),
        }
    }
}

/// The head of a response as spans over the caller's buffer. Reused from one to the next.
#[derive(Debug)]
pub struct Head {
    scan: Scan,
    is_complete: bool,
    length: usize,
    status: u16,
    reason: Span,
    version: Version,
    fields: Fields,
    body: Body,
    content_length: Option<u64>,
}

/// A complete head together with the bytes from which it was parsed.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    pub(super) head: &'a Head,
    pub(super) input: &'a [u8],
}

// === impl Head ===

impl Default for Head {
    fn default() -> Self {
        Self {
            scan: Scan::response(),
            is_complete: false,
            length: 0,
            status: 0,
            reason: Span::default(),
            version: Version::Http11,
            fields: Fields::default(),
            body: Body::Empty,
            content_length: None,
        }
    }
}

impl Head {
    /// Parses the head at the start of `input`; see [`request::Head::parse`].
    ///
    /// # Errors
    /// The client is to be answered with [`Error::response_status`] and the upstream's connection
    /// closed.
    pub fn parse(
        &mut self,
        input: &[u8],
        limits: &Limits,
        asked: Asked<'_>,
    ) -> Result<Progress, Error> {
        if self.is_complete {
            self.clear();
        }
        let Some(found) = self.scan.advance(input, limits)? else {
            return Ok(Progress::NeedMore);
        };
        self.read(&input[..found.end], limits, asked)?;
        self.length = found.end;
        self.is_complete = true;
        Ok(Progress::Complete)
    }

    /// Forgets everything but the memory of the table.
    pub fn clear(&mut self) {
        self.scan = Scan::response();
        self.is_complete = false;
        self.length = 0;
        self.fields.clear();
    }

    /// The number of bytes of the head; 0 if it is not complete.
    #[allow(clippy::len_without_is_empty, reason = "a head is never empty")]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Looks at the head in the bytes from which it was parsed.
    pub fn view<'a>(&'a self, input: &'a [u8]) -> Response<'a> {
        debug_assert!(self.is_complete && input.len() >= self.length);
        Response { head: self, input }
    }

    fn read(&mut self, bytes: &[u8], limits: &Limits, asked: Asked<'_>) -> Result<(), Error> {
        let mut table = head::table();
        let table = &mut table[..limits.fields.min(head::MAX_FIELDS)];
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        match config.parse_response_with_uninit_headers(&mut parsed, bytes, table) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(Error::Malformed(Fault::StatusLine)),
            Err(error) => return Err(refusal(bytes, error, limits)),
        }
        let (Some(status), Some(minor)) = (parsed.code, parsed.version) else {
            return Err(Error::Malformed(Fault::StatusLine));
        };
        if status < 100 {
            return Err(Error::Malformed(Fault::StatusCode));
        }
        self.status = status;
        self.version = Version::of_minor(minor);
        self.reason = reason_span(bytes);
        self.fields.fill(bytes, parsed.headers)?;
        if status == 101 && !self.is_asked_upgrade(bytes, asked) {
            return Err(Error::Malformed(Fault::UnaskedUpgrade));
        }
        (self.body, self.content_length) =
            framing::response(&self.fields, bytes, self.version, self.status, asked.method)?;
        Ok(())
    }

    /// Whether a 101 switches to a protocol that the request named (RFC 9110 §7.8).
    fn is_asked_upgrade(&self, input: &[u8], asked: Asked<'_>) -> bool {
        let Ok(Some(upgrade)) = self.fields.only(Id::Upgrade, Fault::UnaskedUpgrade) else {
            return false;
        };
        let switched = upgrade.value.of(input);
        asked.upgrade.is_some_and(|asked| {
            field::list(asked).any(|protocol| protocol.eq_ignore_ascii_case(switched))
        })
    }
}

// === impl Response ===

impl<'a> Response<'a> {
    /// The status: 100 to 999.
    pub fn status(self) -> u16 {
        self.head.status
    }

    /// The reason phrase as sent; may be empty.
    pub fn reason(self) -> &'a [u8] {
        self.head.reason.of(self.input)
    }

    /// The version.
    pub fn version(self) -> Version {
        self.head.version
    }

    /// Whether it is an interim response, after which another head comes (1xx but not 101). An
    /// HTTP/1.0 client gets none of these (RFC 9110 §15.2).
    pub fn is_interim(self) -> bool {
        self.head.status < 200 && self.head.status != 101
    }

    /// The fields.
    pub fn fields(self) -> FieldsView<'a> {
        FieldsView {
            fields: self.head.fields.as_slice(),
            input: self.input,
        }
    }

    /// Where the body ends.
    pub fn body(self) -> Body {
        self.head.body
    }

    /// Whether the upstream's connection can be used again once the body has been read.
    pub fn persistence(self) -> Persistence {
        match self.head.body {
            Body::UntilClose | Body::Tunnel => Persistence::Close,
            Body::Empty | Body::Length(_) | Body::Chunked => {
                self.head.fields.connection.persistence(self.head.version)
            }
        }
    }

    /// The length that a response to HEAD, or a 304, states for content that it does not have.
    pub(super) fn stated_length(self) -> Option<u64> {
        self.head.content_length
    }
}

/// The reason phrase: what follows `HTTP/1.1 200 ` on the first line. `httparse` hides one that
/// has bytes above 0x7f, which RFC 9112 §4 allows.
fn reason_span(bytes: &[u8]) -> Span {
    let end = bytes.iter().position(|byte| *byte == b'\r').unwrap_or(0);
    let start = "HTTP/1.1 200 ".len().min(end);
    Span::new(start, end)
}

#[cold]
fn refusal(bytes: &[u8], error: httparse::Error, limits: &Limits) -> Error {
    let line_end = bytes.iter().position(|byte| *byte == b'\r').unwrap_or(0);
    let lines = bytes.get(line_end + 2..).unwrap_or_default();
    match error {
        httparse::Error::TooManyHeaders => Error::TooManyFields(limits.fields),
        httparse::Error::HeaderName | httparse::Error::HeaderValue => {
            Error::Malformed(head::field_fault(lines))
        }
        httparse::Error::Version => Error::Malformed(Fault::Version),
        httparse::Error::Token | httparse::Error::NewLine | httparse::Error::Status => {
            Error::Malformed(Fault::StatusLine)
        }
    }
}
