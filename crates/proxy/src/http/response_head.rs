//! The head of a response that is sent on to the client.

use lateen_wire::h1::field::{Name, Value};
use lateen_wire::h1::head::{Persistence, Version};
use lateen_wire::h1::response::Response;
use lateen_wire::h1::write::{self, Change, Edit, ResponseChanges, Sent};

use super::client::Client;
use super::cors;
use super::course::Course;
use super::headers::{self, Context};
use super::record::Record;
use super::workspace::Workspace;
use crate::connection::Door;
use crate::side::Side;

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
    let edits = edits(&mut digits, changes);
    finish(out, head, changes, &edits)
}

/// Writes the head of a final response where rules change it. Allocates for the list of changes.
pub(super) fn write_by_rules(
    client: &Client,
    work: &mut Workspace,
    upstream: &Side,
    record: &Record,
    course: &Course<'_>,
    changes: Changes,
) -> Sent {
    let mut lead = std::mem::take(&mut work.to_client.lead);
    let mut values = std::mem::take(&mut work.values);
    values.clear();
    let head = work.response.view(upstream.buffer.bytes());
    let context = Context::of_request(client, work, course).of_answer(headers::About {
        head: Some(head),
        status: head.status(),
        upstream: record.upstream(),
        flags: record.flags(),
    });
    let policy = course.policy;
    let rules = [
        policy.headers.as_ref(),
        policy.headers_of(course.destination),
    ];
    let rules = rules.into_iter().flatten().map(|headers| &headers.response);
    let filled = headers::fill_all(rules, &context, &mut values);
    let mut digits = [0; 20];
    let mut list = edits(&mut digits, changes).to_vec();
    headers::apply(&filled, &values, &mut list);
    let origin = cors::origin(work.request(&client.side)).unwrap_or_default();
    if let Some(cors) = course.cors {
        for (name, value) in cors::actual(cors, origin) {
            if let (Some(name), Some(value)) = (Name::new(name), Value::new(value)) {
                list.push(Edit::set(name, value));
            }
        }
    }
    if let (true, Some(name), Some(value)) = (
        course.makes_cookie,
        Name::new(b"set-cookie"),
        Value::new(&work.cookie),
    ) {
        let change = Change::Add(value);
        list.push(Edit { name, change });
    }
    let sent = finish(&mut lead, head, changes, &list);
    work.to_client.lead = lead;
    work.values = values;
    sent
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

fn edits(digits: &mut [u8; 20], changes: Changes) -> [Edit<'_>; 3] {
    let time = decimal(digits, changes.elapsed);
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
    [time.unwrap_or(none), server.unwrap_or(none), none]
}

fn finish(out: &mut Vec<u8>, head: Response<'_>, changes: Changes, edits: &[Edit<'_>]) -> Sent {
    let changes = ResponseChanges {
        client: changes.client,
        persistence: changes.persistence,
        edits,
    };
    write::response(out, head, &changes)
}

/// Writes a number as decimal digits, without an allocation.
pub(super) fn decimal(digits: &mut [u8; 20], mut number: u64) -> &[u8] {
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
