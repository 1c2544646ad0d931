//! Request heads.
//!
//! A [`Head`] that [`Head::parse`] has called complete is valid as a whole: its target, its Host
//! and its framing have been checked, so that nothing after it has to ask again.
//!
//! ```
//! use lateen_wire::h1::head::{Limits, Progress};
//! use lateen_wire::h1::request::Head;
//!
//! let mut head = Head::default(); // Kept for the life of a connection.
//! let input = b"GET /a?b HTTP/1.1\r\nHost: example.com\r\n\r\nnext";
//! assert_eq!(head.parse(input, &Limits::default()), Ok(Progress::Complete));
//! let request = head.view(input);
//! assert_eq!(request.path(), b"/a");
//! assert_eq!(&input[head.len()..], b"next");
//! ```

use super::field::{self, Id, Span};
use super::framing::{self, Body};
use super::head::{self, Fields, FieldsView, Limits, Persistence, Progress, Version};
use super::scan::Scan;
use super::target::{self, Authority, Form, Target};
use crate::{Error, Fault};

/// The method of a request: those that change how a message is read, and the rest of the common
/// ones to compare quickly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs, reason = "each variant is the method of that name")]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Connect,
    Trace,
    /// Any other token.
    Other,
}

impl Method {
    /// Finds the method of a name; methods are case-sensitive.
    pub fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"PATCH" => Self::Patch,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"CONNECT" => Self::Connect,
            b"TRACE" => Self::Trace,
            _ => Self::Other,
        }
    }
}

/// The head of a request as spans over the caller's buffer. Reused from one request to the next.
#[derive(Debug)]
pub struct Head {
    scan: Scan,
    is_complete: bool,
    length: usize,
    method: Method,
    method_span: Span,
    version: Version,
    target: Target,
    authority: Option<target::AuthoritySpan>,
    fields: Fields,
    body: Body,
    upgrade: Option<Span>,
}

/// A complete head together with the bytes from which it was parsed.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub(super) head: &'a Head,
    pub(super) input: &'a [u8],
}

// === impl Head ===

impl Default for Head {
    fn default() -> Self {
        Self {
            scan: Scan::request(),
            is_complete: false,
            length: 0,
            method: Method::Get,
            method_span: Span::default(),
            version: Version::Http11,
            target: Target::default(),
            authority: None,
            fields: Fields::default(),
            body: Body::Empty,
            upgrade: None,
        }
    }
}

impl Head {
    /// Parses the head at the start of `input`.
    ///
    /// While it answers [`Progress::NeedMore`], call it again with the same bytes and more after
    /// them; what was searched once is not searched again. After [`Progress::Complete`] the next
    /// call starts a new head.
    ///
    /// # Errors
    /// The request is to be answered with [`Error::request_status`] and the connection closed.
    pub fn parse(&mut self, input: &[u8], limits: &Limits) -> Result<Progress, Error> {
        if self.is_complete {
            self.clear();
        }
        let Some(found) = self.scan.advance(input, limits)? else {
            return Ok(Progress::NeedMore);
        };
        self.read(input, found.start, found.end, limits)?;
        self.length = found.end;
        self.is_complete = true;
        Ok(Progress::Complete)
    }

    /// Forgets everything but the memory of the table.
    pub fn clear(&mut self) {
        self.scan = Scan::request();
        self.is_complete = false;
        self.length = 0;
        self.fields.clear();
    }

    /// The number of bytes of the head, with the empty lines before it; 0 if it is not complete.
    #[allow(clippy::len_without_is_empty, reason = "a head is never empty")]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Looks at the head in the bytes from which it was parsed.
    pub fn view<'a>(&'a self, input: &'a [u8]) -> Request<'a> {
        debug_assert!(self.is_complete && input.len() >= self.length);
        Request { head: self, input }
    }

    fn read(
        &mut self,
        input: &[u8],
        start: usize,
        end: usize,
        limits: &Limits,
    ) -> Result<(), Error> {
        let bytes = &input[start..end];
        let mut table = head::table();
        let table = &mut table[..limits.fields.min(head::MAX_FIELDS)];
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(bytes, table) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(Error::Malformed(Fault::RequestLine)),
            Err(error) => return Err(refusal(bytes, error, limits)),
        }
        let (Some(method), Some(path), Some(minor)) = (parsed.method, parsed.path, parsed.version)
        else {
            return Err(Error::Malformed(Fault::RequestLine));
        };
        self.method = Method::of(method.as_bytes());
        self.method_span = head::span_of(input, method.as_bytes());
        self.version = Version::of_minor(minor);
        let target = head::span_of(input, path.as_bytes());
        self.target = target::parse(target, input, self.method)?;
        self.fields.fill(input, parsed.headers)?;
        self.authority = self.read_authority(input)?;
        self.body = framing::request(&self.fields, input, self.version, self.method)?;
        self.upgrade = self.read_upgrade(input);
        Ok(())
    }

    /// The authority that the request is for: that of the target if it has one, which overrides
    /// Host (RFC 9112 §3.2.2), else Host. Host is checked in either case.
    fn read_authority(&self, input: &[u8]) -> Result<Option<target::AuthoritySpan>, Error> {
        let host = self.fields.only(Id::Host, Fault::HostRepeated)?;
        let host = match host {
            Some(host) => Some(
                target::authority_at(host.value, input)
                    .ok_or(Error::Malformed(Fault::HostInvalid))?,
            ),
            None if self.version == Version::Http11 => {
                return Err(Error::Malformed(Fault::HostMissing));
            }
            None => None,
        };
        Ok(self.target.authority.or(host))
    }

    /// The protocol that the request asks to switch to, if the switch can be sent on.
    ///
    /// It cannot with HTTP/1.0 (RFC 9110 §7.8 says to ignore it), not with a body (it would be
    /// unclear where the new protocol begins), and never to h2c: a back end that switches makes a
    /// tunnel past every rule of this proxy. The request is then served without the switch, as a
    /// server is free to do.
    fn read_upgrade(&self, input: &[u8]) -> Option<Span> {
        if !self.fields.connection.has_upgrade
            || self.version == Version::Http10
            || !matches!(self.body, Body::Empty | Body::Length(0))
        {
            return None;
        }
        let upgrade = self
            .fields
            .only(Id::Upgrade, Fault::Connection)
            .ok()??
            .value;
        let mut protocols = field::list(upgrade.of(input)).peekable();
        protocols.peek()?;
        protocols
            .all(|protocol| is_protocol(protocol) && !is_h2c(protocol))
            .then_some(upgrade)
    }
}

// === impl Request ===

impl<'a> Request<'a> {
    /// The method, to compare.
    pub fn method(self) -> Method {
        self.head.method
    }

    /// The method as sent.
    pub fn method_bytes(self) -> &'a [u8] {
        self.head.method_span.of(self.input)
    }

    /// The version.
    pub fn version(self) -> Version {
        self.head.version
    }

    /// The target as sent, for logs.
    pub fn target(self) -> &'a [u8] {
        self.head.target.whole.of(self.input)
    }

    /// The form of the target.
    pub fn form(self) -> Form {
        self.head.target.form
    }

    /// The path without its query: starts with `/`, or is `*` (OPTIONS), or is empty (CONNECT).
    pub fn path(self) -> &'a [u8] {
        let path = self.head.target.path;
        if !path.is_empty() {
            return path.of(self.input);
        }
        match (self.form(), self.method(), self.query()) {
            (Form::Authority, _, _) => b"",
            // RFC 9112 §3.2.4: OPTIONS of an absolute-form without path and query.
            (Form::Absolute, Method::Options, None) => b"*",
            (Form::Absolute | Form::Origin | Form::Asterisk, _, _) => b"/",
        }
    }

    /// The query without its `?`.
    pub fn query(self) -> Option<&'a [u8]> {
        self.head.target.query.map(|query| query.of(self.input))
    }

    /// Whom the request is for: the target's authority, else Host. Only an HTTP/1.0 request may
    /// have none; the proxy then names the upstream's address in its place.
    pub fn authority(self) -> Option<Authority<'a>> {
        let authority = self.head.authority?;
        Some(Authority::from_spans(authority, self.input))
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

    /// Whether the client wants to use its connection again.
    pub fn persistence(self) -> Persistence {
        self.head.fields.connection.persistence(self.head.version)
    }

    /// The protocols to which the client wants to switch, as its Upgrade field lists them.
    pub fn upgrade(self) -> Option<&'a [u8]> {
        self.head.upgrade.map(|upgrade| upgrade.of(self.input))
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub fn expects_continue(self) -> bool {
        self.head.version == Version::Http11
            && self.head.body != Body::Empty
            && self.head.body != Body::Length(0)
            && self
                .fields()
                .get(Id::Expect)
                .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
    }

    /// Whether the client takes trailers (`TE: trailers`).
    pub fn takes_trailers(self) -> bool {
        self.head
            .fields
            .as_slice()
            .iter()
            .filter(|field| field.id == Id::Te)
            .flat_map(|field| field::list(field.value.of(self.input)))
            .any(|member| member.eq_ignore_ascii_case(b"trailers"))
    }
}

/// `protocol-name ["/" protocol-version]`.
pub(super) fn is_protocol(protocol: &[u8]) -> bool {
    let mut parts = protocol.splitn(2, |byte| *byte == b'/');
    parts.all(field::is_token)
}

fn is_h2c(protocol: &[u8]) -> bool {
    protocol.eq_ignore_ascii_case(b"h2c") || protocol.eq_ignore_ascii_case(b"h2")
}

/// Says why `httparse` refused a complete head. It stops at the first fault, and so does this.
#[cold]
fn refusal(bytes: &[u8], error: httparse::Error, limits: &Limits) -> Error {
    let line_end = bytes.iter().position(|byte| *byte == b'\r').unwrap_or(0);
    let (line, lines) = bytes.split_at(line_end);
    match error {
        httparse::Error::TooManyHeaders => Error::TooManyFields(limits.fields),
        httparse::Error::HeaderName | httparse::Error::HeaderValue => {
            Error::Malformed(head::field_fault(lines.get(2..).unwrap_or_default()))
        }
        httparse::Error::Token
        | httparse::Error::Version
        | httparse::Error::NewLine
        | httparse::Error::Status => line_refusal(line),
    }
}

/// Finds the fault of a request line.
fn line_refusal(line: &[u8]) -> Error {
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else {
        return Error::Malformed(Fault::RequestLine);
    };
    if !field::is_token(method) {
        return Error::Malformed(Fault::Method);
    }
    if target.is_empty() {
        return Error::Malformed(Fault::RequestLine);
    }
    match version {
        b"HTTP/1.0" | b"HTTP/1.1" => Error::Malformed(Fault::Target),
        [b'H', b'T', b'T', b'P', b'/', b'2'..=b'9', b'.', b'0'..=b'9'] => Error::UnsupportedVersion,
        _ => Error::Malformed(Fault::Version),
    }
}
