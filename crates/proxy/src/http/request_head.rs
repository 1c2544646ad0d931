//! What is decided by a request's head, and the head that is sent on.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use lateen_decide::{ClusterId, Decision, Facts, normalize_path};
use lateen_model::Reason;
use lateen_wire::h1::chunked::{Decoder, Ending, Event, Mode};
use lateen_wire::h1::field::{Name, Value};
use lateen_wire::h1::framing::Body;
use lateen_wire::h1::head::FieldsView;
use lateen_wire::h1::request::{self, Method, Request};
use lateen_wire::h1::target::{Authority, Form, OriginForm};
use lateen_wire::h1::write::{self, Change, Edit, RequestChanges};

use super::client::Client;
use super::flow::Framing;
use super::workspace::{Extent, Workspace};
use crate::connection::rules::{Chosen, Rules};
use crate::connection::{Door, Origin};
use crate::observe::metrics::Service;
use crate::random::UUID_LEN;

/// The most edits that a request gets.
const MOST_EDITS: usize = 24;

/// Headers of the mesh's own that nobody outside may set: they would steer or mislead the proxies
/// behind this one.
const INTERNAL: [Name<'static>; 16] = [
    Name::X_ENVOY_ATTEMPT_COUNT,
    Name::X_ENVOY_ORIGINAL_PATH,
    Name::X_ENVOY_DECORATOR_OPERATION,
    Name::X_ENVOY_INTERNAL,
    Name::X_ENVOY_EXTERNAL_ADDRESS,
    Name::X_ENVOY_PEER_METADATA,
    Name::X_ENVOY_PEER_METADATA_ID,
    Name::X_ENVOY_DOWNSTREAM_SERVICE_CLUSTER,
    Name::X_ENVOY_DOWNSTREAM_SERVICE_NODE,
    Name::X_ENVOY_EXPECTED_RQ_TIMEOUT_MS,
    Name::X_ENVOY_FORCE_TRACE,
    Name::X_ENVOY_IP_TAGS,
    Name::X_ENVOY_MAX_RETRIES,
    Name::X_ENVOY_RETRY_ON,
    Name::X_ENVOY_RETRY_GRPC_ON,
    Name::X_ENVOY_UPSTREAM_RQ_TIMEOUT_MS,
];

/// The length of the longest socket address as text.
const LONGEST_ADDRESS: usize =
    "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255%4294967295]:65535".len();

/// What becomes of a request.
pub(super) enum Course<'p> {
    /// It goes where this says, if it can.
    Forward(Chosen<'p>),
    /// It is asked to come back under https.
    Redirect,
    /// It is refused.
    Refuse(Reason),
}

/// A request as rules see it.
struct RequestFacts<'a> {
    request: Request<'a>,
    path: &'a [u8],
}

/// An address as text, on the stack.
struct Text([u8; LONGEST_ADDRESS]);

/// A list of edits on the stack.
struct Edits<'a> {
    list: [Edit<'a>; MOST_EDITS],
    len: usize,
}

/// Decides where the request goes.
pub(super) fn decide<'p>(client: &Client, work: &mut Workspace, rules: &Rules<'p>) -> Course<'p> {
    let request = work.request.view(client.side.buffer.bytes());
    if request.method() == Method::Connect {
        // Envoy answers so too where no route takes CONNECT.
        return Course::Refuse(Reason::NoRoute);
    }
    work.composed.clear();
    work.normal.clear();
    let path = compose(request, &mut work.composed);
    let is_changed = normalize_path(path, &mut work.normal);
    let Some(table) = rules.http() else {
        return match client.origin.door {
            Door::Inbound => Course::Forward(rules.choose_inbound()),
            Door::Outbound | Door::Gateway => Course::Refuse(Reason::NoRoute),
        };
    };
    let worker = &client.worker;
    let facts = RequestFacts {
        request,
        path: if is_changed { &work.normal } else { path },
    };
    let mut scratch = worker.scratch.borrow_mut();
    match table.decide(&facts, &mut scratch, || worker.random.next()) {
        Decision::RedirectToHttps => Course::Redirect,
        Decision::Refuse(reason) => Course::Refuse(reason),
        Decision::Forward { cluster, route } => {
            let mut chosen = rules.choose_cluster(worker, cluster, route);
            let is_foreign = chosen.service == Service::Cluster(ClusterId::PASSTHROUGH);
            if let Some(authority) = request.authority().filter(|_| is_foreign) {
                chosen.service = Service::Foreign(worker.recorder.foreign_host(authority.host()));
            }
            Course::Forward(chosen)
        }
    }
}

/// Path and query of a request in one piece.
fn compose<'a>(request: Request<'a>, into: &'a mut Vec<u8>) -> &'a [u8] {
    if request.form() == Form::Origin {
        return request.target();
    }
    into.extend_from_slice(request.path());
    if let Some(query) = request.query() {
        into.push(b'?');
        into.extend_from_slice(query);
    }
    into
}

/// Finds out whether the whole request is in the buffer and can be sent as it came.
pub(super) fn extent(head: &request::Head, input: &[u8], decoder: &mut Decoder) -> Extent {
    let rest = &input[head.len()..];
    match head.view(input).body() {
        Body::Empty | Body::UntilClose | Body::Tunnel => Extent::Whole(0),
        Body::Length(length) => match usize::try_from(length) {
            Ok(length) if length <= rest.len() => Extent::Whole(length),
            Ok(_) | Err(_) => Extent::Streamed,
        },
        Body::Chunked => {
            decoder.reset(Mode::Relay);
            let Ok(first) = decoder.next(rest) else {
                return Extent::Streamed; // Is refused when it is read again.
            };
            match (first.event, decoder.next(&[]).map(|step| step.event)) {
                (Event::Verbatim { bytes, .. }, Ok(Event::End(Ending::Relayed))) => {
                    Extent::Whole(bytes.len())
                }
                _ => Extent::Streamed,
            }
        }
    }
}

/// Writes the head for the upstream and starts the flow of the body. Answers whether it asks for a
/// switch of protocols.
pub(super) fn send(client: &mut Client, work: &mut Workspace, upstream: SocketAddr) -> bool {
    let Workspace {
        request: head,
        to_upstream,
        extent,
        normal,
        snapshot,
        ..
    } = work;
    let input = client.side.buffer.bytes();
    let request = head.view(input);
    let id = client.worker.random.uuid();
    if client.worker.log.is_on() {
        snapshot.set_request_id(&id);
    }
    let mut address = Text::default();
    let address = address.write(client.origin.peer.ip());
    let mut host = Text::default();
    let mut edits = Edits::new();
    edits.fill(request.fields(), client.origin, &id, address);
    // HTTP/1.1 wants a Host; an HTTP/1.0 client may not have said one.
    let missing = match request.authority() {
        None => Authority::new(host.write(upstream)),
        Some(_) => None,
    };
    let sends_upgrade = request.upgrade().is_some();
    let changes = RequestChanges {
        target: OriginForm::new(normal),
        authority: missing,
        sends_upgrade,
        edits: &edits.list[..edits.len],
    };
    write::request(&mut to_upstream.lead, request, &changes);
    match *extent {
        Extent::Whole(length) => to_upstream.start_kept(head.len(), length),
        Extent::Streamed => {
            let framing = match request.body() {
                Body::Length(length) => Framing::Length(length),
                Body::Chunked => Framing::Chunks,
                Body::Empty | Body::UntilClose | Body::Tunnel => Framing::Done,
            };
            client.side.buffer.consume(head.len());
            to_upstream.start(framing);
        }
    }
    sends_upgrade
}

/// Answers whether a request may be sent twice (RFC 9110 §9.2.2).
pub(super) fn is_idempotent(method: Method) -> bool {
    match method {
        Method::Get
        | Method::Head
        | Method::Put
        | Method::Delete
        | Method::Options
        | Method::Trace => true,
        Method::Post | Method::Patch | Method::Connect | Method::Other => false,
    }
}

// === impl Text ===

impl Text {
    /// Writes an address; it is cut if it is longer than any address can be.
    fn write(&mut self, address: impl std::fmt::Display) -> &[u8] {
        let mut rest = &mut self.0[..];
        let _ = write!(rest, "{address}");
        let left = rest.len();
        &self.0[..LONGEST_ADDRESS - left]
    }
}

impl Default for Text {
    fn default() -> Self {
        Self([0; LONGEST_ADDRESS])
    }
}

// === impl Edits ===

impl<'a> Edits<'a> {
    fn new() -> Self {
        let none = Edit {
            name: Name::X_ENVOY_PEER_METADATA,
            change: Change::Remove,
        };
        Self {
            list: [none; MOST_EDITS],
            len: 0,
        }
    }

    fn push(&mut self, name: Name<'a>, change: Change<'a>) {
        if let Some(slot) = self.list.get_mut(self.len) {
            *slot = Edit { name, change };
            self.len += 1;
        }
    }

    fn set(&mut self, name: Name<'a>, value: &'a [u8]) {
        if let Some(value) = Value::new(value) {
            self.push(name, Change::Set(value));
        }
    }

    fn set_if_absent(&mut self, name: Name<'a>, value: &'a [u8]) {
        if let Some(value) = Value::new(value) {
            self.push(name, Change::SetIfAbsent(value));
        }
    }

    /// What Istio's proxies change, by the way the request came in.
    fn fill(
        &mut self,
        fields: FieldsView<'_>,
        origin: Origin,
        id: &'a [u8; UUID_LEN],
        address: &'a [u8],
    ) {
        let has_internal = fields.iter().any(|(name, _)| {
            name.get(..8)
                .is_some_and(|start| start.eq_ignore_ascii_case(b"x-envoy-"))
        });
        if origin.door == Door::Gateway {
            self.fill_at_edge(fields, origin, id, address, has_internal);
        } else {
            if has_internal {
                self.push(Name::X_ENVOY_PEER_METADATA, Change::Remove);
                self.push(Name::X_ENVOY_PEER_METADATA_ID, Change::Remove);
                self.push(Name::X_ENVOY_DECORATOR_OPERATION, Change::Remove);
            }
            self.set_if_absent(Name::X_FORWARDED_PROTO, b"http");
            self.set_if_absent(Name::X_REQUEST_ID, id);
        }
        self.set(Name::X_ENVOY_ATTEMPT_COUNT, b"1");
    }

    /// At the edge the client's word counts for nothing: what it says about itself is replaced by
    /// what the connection shows.
    fn fill_at_edge(
        &mut self,
        fields: FieldsView<'_>,
        origin: Origin,
        id: &'a [u8; UUID_LEN],
        address: &'a [u8],
        has_internal: bool,
    ) {
        if has_internal {
            for name in INTERNAL {
                self.push(name, Change::Remove);
            }
        }
        let has_forwarded = fields.get_all(Name::X_FORWARDED_FOR).next().is_some();
        let is_private = is_private(origin.peer.ip());
        if let Some(address) = Value::new(address) {
            self.push(Name::X_FORWARDED_FOR, Change::Join(address));
            if !is_private {
                self.push(Name::X_ENVOY_EXTERNAL_ADDRESS, Change::Set(address));
            }
        }
        self.set(Name::X_FORWARDED_PROTO, b"http");
        if is_private && !has_forwarded {
            self.set(Name::X_ENVOY_INTERNAL, b"true");
            self.set_if_absent(Name::X_REQUEST_ID, id);
        } else {
            self.set(Name::X_REQUEST_ID, id);
        }
    }
}

/// Answers whether an address is of a private network, as Envoy has it.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback(),
    }
}

// === impl RequestFacts ===

impl Facts for RequestFacts<'_> {
    fn method(&self) -> &[u8] {
        self.request.method_bytes()
    }

    fn scheme(&self) -> &[u8] {
        b"http"
    }

    fn authority(&self) -> &[u8] {
        self.request.authority().map_or(b"", Authority::as_bytes)
    }

    fn path(&self) -> &[u8] {
        self.path
    }

    fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.request.fields().iter()
    }
}
