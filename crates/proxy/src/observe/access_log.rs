//! The access log, in Istio's default text format or as JSON; off by default.
//!
//! A worker writes lines to memory and hands them to the process's log thread ([`sink`]) once a
//! second or when they fill a buffer; a worker never waits for a disk or a pipe. What the thread
//! cannot keep up with is dropped and counted.
//!
//! Whatever a client sends, a line stays one line and JSON stays JSON: see [`format`].

mod format;
mod sink;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;

use lateen_model::SocketAddress;
use lateen_model::mesh::{AccessLogEncoding, Mesh};
use lateen_wire::h1::field::Id;
use lateen_wire::h1::request;

use super::flags::Flags;
use crate::connection::Origin;

pub use sink::Sink;

/// A worker hands its lines over when it has this many bytes of them.
const FLUSH_BYTES: usize = 64 * 1024;

/// One line of the log.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Where it came from.
    pub origin: Origin,
    /// The name that the client asked for in TLS; empty if none.
    pub server_name: &'a [u8],
    /// What the request said; nothing for TCP.
    pub request: Request<'a>,
    /// The status; 0 if none was sent.
    pub status: u16,
    /// Why it ended as it did, and what befell it.
    pub flags: Flags,
    /// Bytes of the body from the client.
    pub bytes_received: u64,
    /// Bytes of the body to the client.
    pub bytes_sent: u64,
    /// How long it took.
    pub duration_ms: u64,
    /// How long the upstream took to respond.
    pub service_time_ms: Option<u64>,
    /// The upstream's address.
    pub upstream: Option<&'a SocketAddress>,
    /// The address from which it was reached.
    pub upstream_local: Option<SocketAddr>,
    /// The cluster's name; empty if there is none.
    pub cluster: &'a str,
    /// The route's name; empty if it has none.
    pub route: &'a str,
}

/// What a request says that is logged; empty parts are absent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The path with its query, as sent.
    pub path: &'a [u8],
    /// The version.
    pub protocol: &'a [u8],
    /// Whom it is for.
    pub authority: &'a [u8],
    /// `user-agent`
    pub user_agent: &'a [u8],
    /// `x-forwarded-for`
    pub forwarded_for: &'a [u8],
    /// `x-request-id`
    pub request_id: &'a [u8],
}

/// A copy of what a request says, for it is sent and forgotten before it is logged.
#[derive(Debug, Default)]
pub struct Snapshot {
    text: Vec<u8>,
    ends: [usize; PARTS],
}

const PARTS: usize = 7;

/// A worker's end of the log.
#[derive(Debug)]
pub struct Writer {
    is_on: Cell<bool>,
    encoding: Cell<AccessLogEncoding>,
    path: RefCell<Arc<str>>,
    lines: RefCell<Vec<u8>>,
    sink: Sink,
}

// === impl Request ===

impl Request<'_> {
    /// No request: bytes.
    pub const NONE: Self = Request {
        method: b"",
        path: b"",
        protocol: b"",
        authority: b"",
        user_agent: b"",
        forwarded_for: b"",
        request_id: b"",
    };
}

// === impl Snapshot ===

impl Snapshot {
    /// Copies what `request` says, which came over HTTP/2 or not. Only called while the log is on.
    pub fn take(&mut self, request: request::Request<'_>, is_http2: bool) {
        let fields = request.fields();
        let field = |id| fields.get(id).unwrap_or_default();
        self.text.clear();
        let protocol = if is_http2 {
            "HTTP/2"
        } else {
            request.version().as_str()
        };
        let parts: [&[u8]; PARTS] = [
            request.method_bytes(),
            request.target(),
            protocol.as_bytes(),
            request.authority().map_or(b"", |it| it.as_bytes()),
            field(Id::UserAgent),
            field(Id::XForwardedFor),
            field(Id::XRequestId),
        ];
        for (end, part) in self.ends.iter_mut().zip(parts) {
            self.text.extend_from_slice(part);
            *end = self.text.len();
        }
    }

    /// How many bytes its storage has room for.
    pub fn held(&self) -> usize {
        self.text.capacity()
    }

    /// Forgets it: the next exchange may never have a request.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends = [0; PARTS];
    }

    /// Takes the id that the proxy gave to a request that had none.
    pub fn set_request_id(&mut self, id: &[u8]) {
        if self.request().request_id.is_empty() {
            self.text.extend_from_slice(id);
            self.ends[PARTS - 1] = self.text.len();
        }
    }

    /// What was copied.
    pub fn request(&self) -> Request<'_> {
        let part = |index: usize| {
            let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
            self.text.get(start..self.ends[index]).unwrap_or_default()
        };
        Request {
            method: part(0),
            path: part(1),
            protocol: part(2),
            authority: part(3),
            user_agent: part(4),
            forwarded_for: part(5),
            request_id: part(6),
        }
    }
}

// === impl Writer ===

impl Writer {
    /// A writer that is off.
    pub fn new(sink: Sink) -> Self {
        Self {
            is_on: Cell::new(false),
            encoding: Cell::new(AccessLogEncoding::Text),
            path: RefCell::new("".into()),
            lines: RefCell::default(),
            sink,
        }
    }

    /// Takes the settings of the mesh over.
    pub fn configure(&self, mesh: &Mesh) {
        self.encoding.set(mesh.access_log_encoding);
        self.is_on.set(!mesh.access_log_file.is_empty());
        if **self.path.borrow() != mesh.access_log_file {
            self.flush();
            self.path.replace(mesh.access_log_file.as_str().into());
        }
    }

    /// Answers whether anything is logged at all.
    pub fn is_on(&self) -> bool {
        self.is_on.get()
    }

    /// Logs a line.
    pub fn write(&self, entry: &Entry<'_>) {
        let mut lines = self.lines.borrow_mut();
        match self.encoding.get() {
            AccessLogEncoding::Text => format::text(&mut lines, entry),
            AccessLogEncoding::Json => format::json(&mut lines, entry),
        }
        if lines.len() >= FLUSH_BYTES {
            drop(lines);
            self.flush();
        }
    }

    /// Hands what was written over to the log thread.
    pub fn flush(&self) {
        if self.lines.borrow().is_empty() {
            return;
        }
        let lines = self.lines.take();
        self.sink.write(Arc::clone(&self.path.borrow()), lines);
    }
}

#[cfg(test)]
mod tests {
    use lateen_wire::h1::head::{Limits, Progress};

    use super::*;

    #[test]
    fn a_request_is_told_with_the_version_that_its_client_spoke() {
        let input = b"GET /a HTTP/1.1\r\nHost: shop\r\n\r\n";
        let mut head = request::Head::default();
        assert_eq!(
            head.parse(input, &Limits::default()),
            Ok(Progress::Complete)
        );
        let mut snapshot = Snapshot::default();
        snapshot.take(head.view(input), false);
        assert_eq!(snapshot.request().protocol, b"HTTP/1.1");
        snapshot.take(head.view(input), true);
        assert_eq!(snapshot.request().protocol, b"HTTP/2");
        assert_eq!(snapshot.request().authority, b"shop");
    }
}
