//! The list of changes that the head of a request gets: the mesh's own, then those of rules.

use std::net::IpAddr;

use lateen_wire::h1::field::{Name, Value};
use lateen_wire::h1::head::FieldsView;
use lateen_wire::h1::write::{Change, Edit};

use super::headers::{self, Filled};
use super::request_head::{Sent, Text};
use crate::connection::{Door, Origin};
use crate::random::UUID_LEN;

/// How many edits most requests have at most.
const USUAL: usize = 12;

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

/// More of them, which only Envoys behind this proxy would follow.
const INTERNAL_TO_ENVOY: [&[u8]; 9] = [
    b"x-envoy-hedge-on-per-try-timeout",
    b"x-envoy-original-dst-host",
    b"x-envoy-original-host",
    b"x-envoy-original-url",
    b"x-envoy-retriable-header-names",
    b"x-envoy-retriable-status-codes",
    b"x-envoy-upstream-alt-stat-name",
    b"x-envoy-upstream-rq-per-try-timeout-ms",
    b"x-envoy-upstream-rq-timeout-alt-response",
];

/// What says who a client is that a proxy before this one has checked, or this one.
const FORWARDED_CLIENT_CERT: &[u8] = b"x-forwarded-client-cert";

/// What the connection says of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    /// An id, for a request that has none.
    pub(super) id: &'a [u8; UUID_LEN],
    /// The client's address.
    pub(super) address: &'a [u8],
    /// The client's certificate as it is told to the upstream; empty if it showed none.
    pub(super) certificate: &'a [u8],
}

/// A list of edits, on the stack while they are few and no rule adds to it.
pub(super) struct Edits<'a> {
    list: [Edit<'a>; USUAL],
    len: usize,
    /// All of them, once there are more.
    more: Vec<Edit<'a>>,
}

// === impl Edits ===

impl<'a> Edits<'a> {
    /// An empty list.
    pub(super) fn new() -> Self {
        let none = Edit {
            name: Name::X_ENVOY_PEER_METADATA,
            change: Change::Remove,
        };
        Self {
            list: [none; USUAL],
            len: 0,
            more: Vec::new(),
        }
    }

    /// All of them, in order.
    pub(super) fn as_slice(&self) -> &[Edit<'a>] {
        if self.more.is_empty() {
            &self.list[..self.len]
        } else {
            &self.more
        }
    }

    /// Tells the upstream how long it has.
    pub(super) fn limit(&mut self, sent: Sent, expected: &'a mut Text, call: &'a mut Text) {
        let Some(timeout) = sent.timeout else { return };
        let millis = timeout.as_millis();
        let name = Name::X_ENVOY_EXPECTED_RQ_TIMEOUT_MS;
        self.set(name, expected.write(millis));
        if let (true, Some(name)) = (sent.is_call, Name::new(b"grpc-timeout")) {
            // The protocol allows eight digits.
            let limited = millis.min(99_999_999);
            self.set(name, call.write(format_args!("{limited}m")));
        }
    }

    /// Has the changes of rules take effect on the list.
    pub(super) fn apply(&mut self, filled: &'a [Filled<'_>], values: &'a [u8]) {
        if !filled.is_empty() {
            self.spill();
            headers::apply(filled, values, &mut self.more);
        }
    }

    /// Moves the list to where there is room for more.
    fn spill(&mut self) {
        if self.more.is_empty() {
            self.more.extend_from_slice(&self.list[..self.len]);
        }
    }

    fn push(&mut self, name: Name<'a>, change: Change<'a>) {
        if self.len == USUAL {
            self.spill();
        }
        if !self.more.is_empty() {
            // What the mesh sets at last is not for rules to change.
            self.more
                .retain(|edit| edit.name.as_bytes() != name.as_bytes());
            self.more.push(Edit { name, change });
            return;
        }
        if let Some(slot) = self.list.get_mut(self.len) {
            *slot = Edit { name, change };
            self.len += 1;
        }
    }

    /// Sets a field.
    pub(super) fn set(&mut self, name: Name<'a>, value: &'a [u8]) {
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
    pub(super) fn fill(&mut self, fields: FieldsView<'_>, origin: Origin, said: Said<'a>) {
        let has_internal = fields.iter().any(|(name, _)| {
            name.get(..8)
                .is_some_and(|start| start.eq_ignore_ascii_case(b"x-envoy-"))
        });
        if origin.door == Door::Gateway {
            self.fill_at_edge(fields, origin, said, has_internal);
        } else {
            // No client at this door has shown a certificate: until there is TLS here, whatever it
            // says about one is made up.
            if origin.door == Door::Inbound {
                self.forward_certificate(fields, b"");
            }
            if has_internal {
                self.push(Name::X_ENVOY_PEER_METADATA, Change::Remove);
                self.push(Name::X_ENVOY_PEER_METADATA_ID, Change::Remove);
                self.push(Name::X_ENVOY_DECORATOR_OPERATION, Change::Remove);
            }
            self.set_if_absent(Name::X_FORWARDED_PROTO, origin.scheme().as_bytes());
            self.set_if_absent(Name::X_REQUEST_ID, said.id);
        }
    }

    /// Says who the client is, if it has shown that, in place of what it says itself.
    fn forward_certificate(&mut self, fields: FieldsView<'_>, shown: &'a [u8]) {
        let Some(name) = Name::new(FORWARDED_CLIENT_CERT) else {
            return;
        };
        match Value::new(shown).filter(|_| !shown.is_empty()) {
            Some(shown) => self.push(name, Change::Set(shown)),
            None if fields.get_all(name).next().is_some() => self.push(name, Change::Remove),
            None => {}
        }
    }

    /// At the edge the client's word counts for nothing: what it says about itself is replaced by
    /// what the connection shows.
    fn fill_at_edge(
        &mut self,
        fields: FieldsView<'_>,
        origin: Origin,
        said: Said<'a>,
        has_internal: bool,
    ) {
        let Said {
            id,
            address,
            certificate,
        } = said;
        self.forward_certificate(fields, certificate);
        if has_internal {
            let more = INTERNAL_TO_ENVOY.into_iter().filter_map(Name::new);
            for name in INTERNAL.into_iter().chain(more) {
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
        self.set(Name::X_FORWARDED_PROTO, origin.scheme().as_bytes());
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
