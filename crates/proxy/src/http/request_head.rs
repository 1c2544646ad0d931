//! The head of a request that is sent on to its upstream.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use lateen_wire::h1::chunked::{Decoder, Ending, Event, Mode};
use lateen_wire::h1::field::Name;
use lateen_wire::h1::framing::Body;
use lateen_wire::h1::request::{self, Method};
use lateen_wire::h1::target::{Authority, OriginForm};
use lateen_wire::h1::write::{self, RequestChanges};

use super::client::Client;
use super::course::Course;
use super::edits::{Edits, Said};
use super::flow::{Flow, Framing};
use super::headers::{self, Context, Filled};
use super::workspace::{Extent, Id, Workspace};
use crate::connection::Door;

/// How much of a request's body is kept, to send it again or to copy it to a mirror.
const MOST_KEPT: usize = 64 * 1024;

/// The length of the longest socket address as text.
const LONGEST_ADDRESS: usize =
    "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255%4294967295]:65535".len();

/// The name of the line that numbers attempts.
const ATTEMPT: &str = "x-envoy-attempt-count";

/// What the head that is sent on depends on, beside the request and its course.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    /// How long the upstream has, if the rule limits it.
    pub(super) timeout: Option<Duration>,
    /// Whether it is a call of gRPC.
    pub(super) is_call: bool,
}

/// A short text, such as an address, on the stack.
pub(super) struct Text([u8; LONGEST_ADDRESS]);

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
pub(super) fn send(
    client: &mut Client,
    work: &mut Workspace,
    course: &Course<'_>,
    sent: Sent,
) -> bool {
    let input = client.side.buffer.bytes();
    work.id = Id(client.worker.random.uuid());
    if client.worker.log.is_on() {
        work.snapshot.set_request_id(&work.id.0);
    }
    let mut lead = std::mem::take(&mut work.to_upstream.lead);
    let mut values = std::mem::take(&mut work.values);
    let request = work.request.view(input);
    let (mut address, mut host) = (Text::default(), Text::default());
    let address = address.write_ip(client.origin.peer.ip());
    let (mut expected, mut call) = (Text::default(), Text::default());
    let secure = client
        .origin
        .tls
        .and_then(|it| client.worker.sessions.get(it));
    let shown = secure.as_ref().map_or(&b""[..], |facts| &facts.forwarded);
    let mut edits = Edits::new();
    let said = Said {
        id: &work.id.0,
        address,
        certificate: shown,
    };
    edits.fill(request.fields(), client.origin, said);
    if !work.target.is_empty() {
        edits.set(Name::X_ENVOY_ORIGINAL_PATH, work.path(request));
    }
    edits.limit(sent, &mut expected, &mut call);
    let filled = fill(client, work, course, &mut values);
    edits.apply(&filled, &values);
    // The application is told the number of its caller's attempt.
    if client.origin.door != Door::Inbound {
        edits.set(Name::X_ENVOY_ATTEMPT_COUNT, b"1");
    }
    let target = if work.target.is_empty() {
        &work.normal
    } else {
        &work.target
    };
    // HTTP/1.1 wants a Host; an HTTP/1.0 client may not have said one.
    let authority = match request.authority() {
        None if work.authority.is_empty() => Authority::new(host.write(client.origin.destination)),
        _ => Authority::new(&work.authority),
    };
    let sends_upgrade = request.upgrade().is_some();
    let changes = RequestChanges {
        target: OriginForm::new(target),
        authority,
        sends_upgrade,
        edits: edits.as_slice(),
    };
    write::request(&mut lead, request, &changes);
    let framing = match request.body() {
        Body::Length(length) => Framing::Length(length),
        Body::Chunked => Framing::Chunks,
        Body::Empty | Body::UntilClose | Body::Tunnel => Framing::Done,
    };
    drop(edits);
    work.to_upstream.lead = lead;
    work.values = values;
    start(client, work, course, framing);
    sends_upgrade
}

/// Fills in what rules change; nothing where they change nothing.
fn fill<'p>(
    client: &Client,
    work: &Workspace,
    course: &Course<'p>,
    values: &mut Vec<u8>,
) -> Vec<Filled<'p>> {
    let policy = course.policy;
    let rules = [
        policy.headers.as_ref(),
        policy.headers_of(course.destination),
    ];
    if rules.iter().all(Option::is_none) {
        return Vec::new();
    }
    values.clear();
    let rules = rules.into_iter().flatten().map(|headers| &headers.request);
    let context = Context::of_request(client, work, course);
    headers::fill_all(rules, &context, values)
}

/// Starts the flow of the body behind the head.
fn start(client: &mut Client, work: &mut Workspace, course: &Course<'_>, framing: Framing) {
    let head = work.request.len();
    let flow = &mut work.to_upstream;
    match work.extent {
        Extent::Whole(length) => flow.start_kept(head, length),
        Extent::Streamed => {
            let buffer = &mut client.side.buffer;
            work.streamed_head
                .extend_from_slice(&buffer.bytes()[..head]);
            buffer.consume(head);
            let policy = course.policy;
            if policy.retries.is_on() || !policy.mirrors.is_empty() {
                flow.start_recorded(framing, MOST_KEPT);
            } else {
                flow.start(framing);
            }
        }
    }
}

/// Makes a head that was written for one attempt that of the next: the number of the attempt is
/// its last line.
pub(super) fn change_attempt(flow: &mut Flow, number: u32) {
    let (mut old, mut new) = (Text::default(), Text::default());
    let old = old.write(format_args!("{ATTEMPT}: {}\r\n\r\n", number - 1));
    let new = new.write(format_args!("{ATTEMPT}: {number}\r\n\r\n"));
    flow.change_head_end(old, new);
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
    /// Writes something; it is cut if it is longer than any address can be.
    pub(super) fn write(&mut self, address: impl std::fmt::Display) -> &[u8] {
        let mut rest = &mut self.0[..];
        let _ = write!(rest, "{address}");
        let left = rest.len();
        &self.0[..LONGEST_ADDRESS - left]
    }

    /// Writes an address, of the common kind without the machinery of formatting.
    fn write_ip(&mut self, address: IpAddr) -> &[u8] {
        let IpAddr::V4(address) = address else {
            return self.write(address);
        };
        let mut length = 0;
        for (index, octet) in address.octets().into_iter().enumerate() {
            let digits = [octet / 100, octet / 10 % 10, octet % 10];
            let leading = usize::from(octet < 100) + usize::from(octet < 10);
            if index > 0 {
                self.0[length] = b'.';
                length += 1;
            }
            for digit in &digits[leading..] {
                self.0[length] = b'0' + digit;
                length += 1;
            }
        }
        &self.0[..length]
    }
}

impl Default for Text {
    fn default() -> Self {
        Self([0; LONGEST_ADDRESS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_standard_library_writes_them() {
        let addresses = [
            "0.0.0.0",
            "10.9.100.99",
            "255.255.255.255",
            "127.0.0.1",
            "fd00::1",
        ];
        for address in addresses {
            let parsed: IpAddr = address.parse().expect("an address");
            assert_eq!(Text::default().write_ip(parsed), address.as_bytes());
        }
    }
}
