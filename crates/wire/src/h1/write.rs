//! The heads that are sent on: the parsed one with edits, in the order and spelling in which it
//! came.
//!
//! Lines that are written `Name: value` are copied in runs, so a head without edits is one copy.
//! Nothing here allocates but the buffer when it grows.
//!
//! | Field | Sent on as |
//! |---|---|
//! | Connection, Keep-Alive, Proxy-Connection, HTTP2-Settings, what Connection names | not at all |
//! | TE | `te: trailers` if the client takes them, with `connection: te` |
//! | Upgrade | as it is, with `connection: upgrade`, if the switch is sent on, or with 101 and 426 |
//! | Transfer-Encoding | `chunked` in its place if the next body is chunked, else not at all |
//! | Content-Length | without leading zeros, if it says what follows (or HEAD's and 304's) |
//! | Host | in its place; replaced if the target was absolute or the authority is rewritten |
//! | Expect | not from an HTTP/1.0 client (RFC 9110 §10.1.1) |

use super::field::{Field, Id, Name, Value};
use super::framing::{Body, Outgoing};
use super::head::{FieldsView, Persistence, Version};
use super::request::Request;
use super::response::Response;
use super::target::{Authority, Form, OriginForm};

/// A change of the fields of one name. Changes of the fields that frame a message, that name its
/// host or that are hop-by-hop are ignored: those have ways of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edit<'a> {
    /// The name.
    pub name: Name<'a>,
    /// The change.
    pub change: Change<'a>,
}

/// What an [`Edit`] does. Fields of the message are taken away first, in their places; then the
/// edits write theirs after the last field, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// Takes the message's fields of this name away and writes this one.
    Set(Value<'a>),
    /// Writes another field line.
    Add(Value<'a>),
    /// Writes it if the message has no field of this name.
    SetIfAbsent(Value<'a>),
    /// Makes one line of the message's values and this one, separated by commas.
    Join(Value<'a>),
    /// Takes the message's fields of this name away.
    Remove,
}

/// How a request is changed on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestChanges<'a> {
    /// Replaces path and query.
    pub target: Option<OriginForm<'a>>,
    /// Replaces Host.
    pub authority: Option<Authority<'a>>,
    /// Sends the upgrade on that the request asks for ([`Request::upgrade`]).
    pub sends_upgrade: bool,
    /// The other fields.
    pub edits: &'a [Edit<'a>],
}

/// How a response is changed on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseChanges<'a> {
    /// The client's version.
    pub client: Version,
    /// Whether the client's connection stays open, as far as the proxy has a say.
    pub persistence: Persistence,
    /// The fields.
    pub edits: &'a [Edit<'a>],
}

/// What was written for a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// How the body is to be sent.
    pub body: Outgoing,
    /// Whether the client's connection stays open.
    pub persistence: Persistence,
}

/// What becomes of a field of the message.
enum Fate<'a> {
    Keep,
    Drop,
    Replace(&'a [u8]),
}

/// Writes the head of a request for an upstream, in HTTP/1.1 and origin-form. The body is sent with
/// the framing with which it came.
///
/// A request of HTTP/1.0 may have no authority; HTTP/1.1 wants a Host, so unless
/// `changes.authority` gives one, an empty one is written (RFC 9112 §3.2).
pub fn request(out: &mut Vec<u8>, request: Request<'_>, changes: &RequestChanges<'_>) {
    out.reserve(request.head.len() + 512);
    out.extend_from_slice(request.method_bytes());
    out.push(b' ');
    write_target(out, request, changes.target);
    out.extend_from_slice(b" HTTP/1.1\r\n");

    let fields = request.fields();
    let authority = changes.authority.or(request.authority());
    let replaces_host = changes.authority.is_some() || request.form() == Form::Absolute;
    let sends_upgrade = changes.sends_upgrade && request.upgrade().is_some();
    let mut length = Decimal::default();
    if let Body::Length(bytes) = request.body() {
        length = Decimal::of(bytes);
    }
    let mut has_host = false;
    copy(out, fields, changes.edits, |field| match field.id {
        Id::Host => {
            has_host = true;
            match authority {
                Some(authority) if replaces_host => Fate::Replace(authority.as_bytes()),
                Some(_) | None => Fate::Keep,
            }
        }
        Id::ContentLength if request.body() == Body::Empty => Fate::Drop,
        Id::ContentLength => Fate::Replace(length.as_bytes()),
        Id::TransferEncoding => Fate::Replace(b"chunked"),
        Id::Upgrade if sends_upgrade => Fate::Keep,
        Id::Expect if request.version() == Version::Http10 => Fate::Drop,
        _ if field.is_hop => Fate::Drop,
        _ => Fate::Keep,
    });
    if !has_host {
        field(out, b"host", authority.map_or(b"", Authority::as_bytes));
    }
    let takes_trailers = request.takes_trailers();
    if takes_trailers {
        field(out, b"te", b"trailers");
    }
    match (sends_upgrade, takes_trailers) {
        (true, true) => field(out, b"connection", b"upgrade, te"),
        (true, false) => field(out, b"connection", b"upgrade"),
        (false, true) => field(out, b"connection", b"te"),
        (false, false) => {}
    }
    apply(out, fields, changes.edits);
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of a response for a client, in HTTP/1.1 (RFC 9110 §2.5: a server sends its own
/// version).
pub fn response(out: &mut Vec<u8>, response: Response<'_>, changes: &ResponseChanges<'_>) -> Sent {
    let body = Outgoing::choose(response.body(), changes.client);
    let persistence = match body {
        Outgoing::UntilClose => Persistence::Close,
        Outgoing::Nothing | Outgoing::Length(_) | Outgoing::Chunked | Outgoing::Tunnel => {
            changes.persistence
        }
    };
    out.reserve(response.head.len() + 512);
    status_line(out, response.status(), response.reason());

    let fields = response.fields();
    let keeps_upgrade = matches!(response.status(), 101 | 426);
    let stated = match body {
        Outgoing::Length(length) => Some(length),
        Outgoing::Nothing => response.stated_length(),
        Outgoing::Chunked | Outgoing::UntilClose | Outgoing::Tunnel => None,
    };
    let length = stated.map_or(Decimal::default(), Decimal::of);
    let mut has_coding = false;
    let mut has_upgrade = false;
    copy(out, fields, changes.edits, |field| match field.id {
        Id::ContentLength if stated.is_some() => Fate::Replace(length.as_bytes()),
        Id::ContentLength => Fate::Drop,
        Id::TransferEncoding if body == Outgoing::Chunked => {
            has_coding = true;
            Fate::Replace(b"chunked")
        }
        Id::Upgrade if keeps_upgrade => {
            has_upgrade = true;
            Fate::Keep
        }
        _ if field.is_hop => Fate::Drop,
        _ => Fate::Keep,
    });
    if body == Outgoing::Chunked && !has_coding {
        field(out, b"transfer-encoding", b"chunked");
    }
    if !response.is_interim() {
        write_connection(
            out,
            changes.client,
            persistence,
            has_upgrade,
            response.status(),
        );
    }
    apply(out, fields, changes.edits);
    out.extend_from_slice(b"\r\n");
    Sent { body, persistence }
}

/// Writes a field line. The caller vouches for name and value.
pub(super) fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(if value.is_empty() { b":" } else { b": " });
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes a status line.
pub(super) fn status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(Decimal::of(u64::from(status)).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// Writes what the client is told about its connection.
pub(super) fn write_connection(
    out: &mut Vec<u8>,
    client: Version,
    persistence: Persistence,
    has_upgrade: bool,
    status: u16,
) {
    match (status, persistence, client) {
        (101, _, _) => field(out, b"connection", b"upgrade"),
        (_, Persistence::Close, _) if has_upgrade => field(out, b"connection", b"upgrade, close"),
        (_, Persistence::Close, _) => field(out, b"connection", b"close"),
        (_, Persistence::KeepAlive, _) if has_upgrade => field(out, b"connection", b"upgrade"),
        // An HTTP/1.0 client must be told, an HTTP/1.1 client knows.
        (_, Persistence::KeepAlive, Version::Http10) => field(out, b"connection", b"keep-alive"),
        (_, Persistence::KeepAlive, Version::Http11) => {}
    }
}

fn write_target(out: &mut Vec<u8>, request: Request<'_>, target: Option<OriginForm<'_>>) {
    if let Some(target) = target {
        out.extend_from_slice(target.as_bytes());
        return;
    }
    if request.form() != Form::Absolute {
        out.extend_from_slice(request.target());
        return;
    }
    out.extend_from_slice(request.path());
    if let Some(query) = request.query() {
        out.push(b'?');
        out.extend_from_slice(query);
    }
}

/// Copies the fields that stay, in runs of adjacent canonical lines.
fn copy<'a>(
    out: &mut Vec<u8>,
    fields: FieldsView<'_>,
    edits: &[Edit<'_>],
    mut fate: impl FnMut(&Field) -> Fate<'a>,
) {
    let input = fields.input();
    let mut run = 0..0;
    for entry in fields.raw() {
        let is_edited = edits
            .iter()
            .any(|edit| edit.takes_away() && edit.name.names(entry, input));
        let fate = if is_edited { Fate::Drop } else { fate(entry) };
        let value = entry.value.of(input);
        let (replacement, is_same) = match fate {
            Fate::Drop => continue,
            Fate::Keep => (value, true),
            Fate::Replace(replacement) => (replacement, replacement == value),
        };
        if is_same && is_canonical(entry, input) {
            if run.end != entry.name.start() {
                out.extend_from_slice(&input[run.clone()]);
                run.start = entry.name.start();
            }
            run.end = entry.value.end() + 2;
            continue;
        }
        out.extend_from_slice(&input[run.clone()]);
        run = 0..0;
        field(out, entry.name.of(input), replacement);
    }
    out.extend_from_slice(&input[run]);
}

/// Whether the line is exactly `Name: value CRLF`.
fn is_canonical(field: &Field, input: &[u8]) -> bool {
    let (name, value) = (field.name, field.value);
    value.start() == name.end() + 2
        && input.get(name.end()..value.start()) == Some(b": ")
        && input.get(value.end()..value.end() + 2) == Some(b"\r\n")
}

// === impl Edit ===

impl<'a> Edit<'a> {
    /// Sets a field.
    pub fn set(name: Name<'a>, value: Value<'a>) -> Self {
        let change = Change::Set(value);
        Self { name, change }
    }

    /// Whether the message's own fields of this name go.
    fn takes_away(&self) -> bool {
        self.is_allowed()
            && matches!(
                self.change,
                Change::Set(_) | Change::Join(_) | Change::Remove
            )
    }

    fn is_allowed(&self) -> bool {
        let id = self.name.id();
        !id.is_protected() && !id.is_hop_by_hop()
    }
}

/// Writes what the edits add.
fn apply(out: &mut Vec<u8>, fields: FieldsView<'_>, edits: &[Edit<'_>]) {
    for edit in edits.iter().filter(|edit| edit.is_allowed()) {
        let name = edit.name.as_bytes();
        match edit.change {
            Change::Set(value) | Change::Add(value) => field(out, name, value.as_bytes()),
            Change::SetIfAbsent(value) => {
                if fields.get_all(edit.name).next().is_none() {
                    field(out, name, value.as_bytes());
                }
            }
            Change::Join(value) => {
                out.extend_from_slice(name);
                out.extend_from_slice(b": ");
                for present in fields.get_all(edit.name).filter(|value| !value.is_empty()) {
                    out.extend_from_slice(present);
                    out.push(b',');
                }
                out.extend_from_slice(value.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            Change::Remove => {}
        }
    }
}

/// A number as decimal digits, on the stack.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Decimal {
    digits: [u8; 20],
    start: u8,
}

impl Decimal {
    pub(super) fn of(mut number: u64) -> Self {
        let mut digits = [b'0'; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] += u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
            if number == 0 {
                break;
            }
        }
        Self {
            digits,
            start: u8::try_from(start).unwrap_or(0),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.digits[usize::from(self.start)..]
    }
}

#[cfg(test)]
mod tests;
