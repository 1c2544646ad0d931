//! The head of a response that is sent on to the client.

use lateen_wire::h1::field::{Name, Value};
use lateen_wire::h1::head::{Persistence, Version};
use lateen_wire::h1::response::Response;
use lateen_wire::h1::write::{self, Change, Edit, ResponseChanges, Sent};

use crate::connection::Door;

/// How a response is changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changes {
    /// The client's version.
    pub(super) client: Version,
    /// Whether the client's connection stays open, as far as the proxy has a say.
    pub(super) persistence: Persistence,
    /// Which way the request came in.
    pub(super) door: Door,
    /// Milliseconds from the request to the response.
    pub(super) elapsed: u64,
}

/// What `server` says: Istio overwrites it everywhere.
pub(super) fn server(door: Door) -> &'static [u8] {
    match door {
        Door::Outbound => b"envoy",
        Door::Inbound | Door::Gateway => b"istio-envoy",
    }
}

/// Writes the head of a final response.
pub(super) fn write(out: &mut Vec<u8>, head: Response<'_>, changes: Changes) -> Sent {
    let mut digits = [0; 20];
    let time = decimal(&mut digits, changes.elapsed);
    let time = Value::new(time).map(|value| Edit {
        name: Name::X_ENVOY_UPSTREAM_SERVICE_TIME,
        change: Change::Set(value),
    });
    let server = Value::new(server(changes.door)).map(|value| Edit {
        name: Name::SERVER,
        change: Change::Set(value),
    });
    let none = Edit {
        name: Name::X_ENVOY_PEER_METADATA,
        change: Change::Remove,
    };
    let edits = [time.unwrap_or(none), server.unwrap_or(none), none];
    let changes = ResponseChanges {
        client: changes.client,
        persistence: changes.persistence,
        edits: &edits,
    };
    write::response(out, head, &changes)
}

/// Writes the head of an interim response.
pub(super) fn write_interim(out: &mut Vec<u8>, head: Response<'_>) {
    let changes = ResponseChanges {
        client: Version::Http11,
        persistence: Persistence::KeepAlive,
        edits: &[],
    };
    write::response(out, head, &changes);
}

/// Writes a number as decimal digits, without an allocation.
fn decimal(digits: &mut [u8; 20], mut number: u64) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}
