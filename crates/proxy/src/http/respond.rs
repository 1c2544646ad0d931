//! The answers of the proxy's own: the only place that turns a [`Reason`] into a response.

use std::future::poll_fn;
use std::time::SystemTime;

use lateen_model::Reason;
use lateen_wire::h1::field::{Name, Value};
use lateen_wire::h1::head::{Persistence, Version};
use lateen_wire::h1::local::{self, Reply};
use lateen_wire::h1::request::Method;

use super::Next;
use super::client::Client;
use super::record::Record;
use super::response_head::server;
use super::transfer::About;
use super::workspace::{Extent, Workspace};
use crate::observe::calendar;

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// A refusal.
    Refuse(Reason),
    /// The same URL under https.
    RedirectToHttps,
}

/// Answers a request, and says what becomes of its connection. `about` is nothing if its head
/// could not be read; the connection then ends.
pub(super) async fn answer(
    client: &mut Client,
    work: &mut Workspace,
    answer: Answer,
    about: Option<About>,
    record: &mut Record,
) -> Next {
    let status = match answer {
        Answer::Refuse(reason) => reason.status(),
        Answer::RedirectToHttps => 301,
    };
    if status == 0 {
        return Next::Close; // Nobody is left to answer.
    }
    let (to, is_open) = terms(client, work, about);
    work.to_client.reset();
    let location = match answer {
        Answer::RedirectToHttps => location(client, work),
        Answer::Refuse(_) => Vec::new(),
    };
    write(client, work, answer, status, to, &location);
    record.answered(status, answer);
    let side = &mut client.side;
    let lead = &mut work.to_client;
    let written = poll_fn(|cx| lead.poll_lead(cx, &mut side.transport)).await;
    match (written, is_open) {
        (Err(_), _) => Next::Close,
        (Ok(()), true) => Next::Again,
        (Ok(()), false) => Next::Linger,
    }
}

/// To whom the answer goes, and whether the connection stays open. It does not where the rest of
/// the request is yet to be read: what follows could be taken for another request.
fn terms(client: &Client, work: &Workspace, about: Option<About>) -> (local::Client, bool) {
    let Some(about) = about else {
        let to = local::Client {
            version: Version::Http11,
            is_head: false,
            persistence: Persistence::Close,
        };
        return (to, false);
    };
    let is_whole = matches!(work.extent, Extent::Whole(_));
    let is_open = is_whole && about.persistence == Persistence::KeepAlive && !client.is_draining();
    let to = local::Client {
        version: about.version,
        is_head: about.method == Method::Head,
        persistence: if is_open {
            Persistence::KeepAlive
        } else {
            Persistence::Close
        },
    };
    (to, is_open)
}

fn write(
    client: &Client,
    work: &mut Workspace,
    answer: Answer,
    status: u16,
    to: local::Client,
    location: &[u8],
) {
    let empty = Value::default();
    let date = calendar::http_date(SystemTime::now());
    let server = Value::new(server(client.origin.door)).unwrap_or(empty);
    let location = Value::new(location).unwrap_or(empty);
    let fields = [(Name::SERVER, server), (Name::LOCATION, location)];
    let count = if answer == Answer::RedirectToHttps {
        2
    } else {
        1
    };
    let reply = Reply {
        status,
        date: Value::new(date.as_bytes()).unwrap_or(empty),
        fields: &fields[..count],
        content_type: Value::new(b"text/plain").unwrap_or(empty),
        body: body(answer),
    };
    local::write(&mut work.to_client.lead, &reply, to);
}

/// Envoy's words, where it has any.
fn body(answer: Answer) -> &'static [u8] {
    let Answer::Refuse(reason) = answer else {
        return b"";
    };
    match reason {
        Reason::NoHealthyUpstream => b"no healthy upstream",
        Reason::UpstreamConnectionFailure => {
            b"upstream connect error or disconnect/reset before headers. \
              reset reason: connection failure"
        }
        Reason::UpstreamConnectionTermination => {
            b"upstream connect error or disconnect/reset before headers. \
              reset reason: connection termination"
        }
        Reason::UpstreamProtocolError => {
            b"upstream connect error or disconnect/reset before headers. \
              reset reason: protocol error"
        }
        Reason::UpstreamOverflow => {
            b"upstream connect error or disconnect/reset before headers. reset reason: overflow"
        }
        Reason::UpstreamRequestTimeout => b"upstream request timeout",
        Reason::DownstreamProtocolError | Reason::Loop => b"Bad Request",
        Reason::RequestHeadTooLarge => b"Request Header Fields Too Large",
        Reason::UnknownTransferCoding => b"Not Implemented",
        Reason::UnsupportedVersion => b"HTTP Version Not Supported",
        Reason::RequestHeadTimeout => b"request header timeout",
        Reason::StreamIdleTimeout => b"stream timeout",
        Reason::Overload => b"overload",
        Reason::NoRoute
        | Reason::NoCluster
        | Reason::BlackHole
        | Reason::DownstreamConnectionTermination => b"",
    }
}

/// The URL of the request under https. Redirects are rare: this allocates.
fn location(client: &Client, work: &Workspace) -> Vec<u8> {
    let request = work.request.view(client.side.buffer.bytes());
    let host = request
        .authority()
        .map_or(&b""[..], |authority| authority.host());
    let path = request.path();
    let query = request.query();
    [b"https://", host, path]
        .concat()
        .into_iter()
        .chain(query.into_iter().flat_map(|query| [b"?", query].concat()))
        .collect()
}
