//! The answers of the proxy's own: the only place that turns a [`Reason`] into a response.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::SystemTime;

use lateen_decide::cors::Cors;
use lateen_model::Reason;
use lateen_model::http::{AbortWith, DirectResponse, Redirect};
use lateen_wire::h1::field::{Id, Name, Value};
use lateen_wire::h1::head::{Persistence, Version};
use lateen_wire::h1::local::{self, Reply};
use lateen_wire::h1::request::Method;
use lateen_wire::h1::write::{Change, Edit};

use super::client::Client;
use super::cors;
use super::course::Course;
use super::flow::Flow;
use super::grpc;
use super::headers::{self, Context};
use super::location;
use super::record::Record;
use super::response_head::server;
use super::transfer::About;
use super::unanswered;
use super::workspace::{Extent, Workspace};
use super::{MOST_STALLED, Next};
use crate::clock;
use crate::observe::calendar;

/// What is answered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer<'p> {
    /// A refusal.
    Refuse(Reason),
    /// The same URL under https.
    RedirectToHttps,
    /// Another URL, by a rule.
    Redirect(&'p Redirect),
    /// What a rule says.
    Respond(&'p DirectResponse),
    /// An injected error.
    Fault(AbortWith),
    /// A preflight is answered, with the permissions of this policy if its origin has any.
    Preflight(Option<&'p Cors>),
}

/// Answers a request, and says what becomes of its connection. `about` is nothing if its head
/// could not be read; the connection then ends.
pub(super) async fn answer(
    client: &mut Client,
    work: &mut Workspace,
    course: &Course<'_>,
    answer: Answer<'_>,
    about: Option<About>,
    record: &mut Record,
) -> Next {
    let is_call = about.is_some_and(|about| about.is_call);
    let status = answer.status(is_call);
    record.answered(status, answer);
    if status == 0 {
        return Next::Close; // Nobody is left to answer.
    }
    let (to, is_open) = terms(client, work, about);
    work.to_client.reset();
    write(client, work, course, answer, about, to, record);
    match (send(client, &mut work.to_client).await, is_open) {
        (Err(_), _) => Next::Close,
        (Ok(()), true) => Next::Again,
        (Ok(()), false) => Next::Linger,
    }
}

/// Writes an answer, as long as its client takes it.
async fn send(client: &mut Client, answer: &mut Flow) -> io::Result<()> {
    let Client { side, deadline, .. } = client;
    let mut before = None;
    poll_fn(|cx| {
        if let Poll::Ready(sent) = answer.poll_lead(cx, &mut side.transport) {
            return Poll::Ready(sent);
        }
        if before.replace(answer.written()) != Some(answer.written()) {
            deadline.set(clock::now().checked_add(MOST_STALLED));
        }
        let late = io::ErrorKind::TimedOut;
        deadline.poll(cx).map(|()| Err(late.into()))
    })
    .await
}

/// To whom the answer goes, and whether the connection stays open. It does not where the rest of
/// the request is yet to be read, nor after a CONNECT, whose client may send the first bytes of its
/// tunnel at once: what follows could be taken for another request.
fn terms(client: &Client, work: &Workspace, about: Option<About>) -> (local::Client, bool) {
    let Some(about) = about else {
        let to = local::Client {
            version: Version::Http11,
            is_head: false,
            persistence: Persistence::Close,
        };
        return (to, false);
    };
    let is_whole = matches!(work.extent, Extent::Whole(_)) && about.method != Method::Connect;
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
    course: &Course<'_>,
    answer: Answer<'_>,
    about: Option<About>,
    to: local::Client,
    record: &mut Record,
) {
    let mut lead = std::mem::take(&mut work.to_client.lead);
    let is_call = about.is_some_and(|about| about.is_call);
    let date = calendar::http_date(SystemTime::now());
    let (code, message) = answer.call(is_call);
    let location = location::of(client, work, course, answer);
    let mut values = Vec::new();
    let origin = about.and_then(|_| cors::origin(work.request(&client.side)));
    let filled = match about {
        Some(_) => by_rules(client, work, course, answer, record, &mut values),
        None => Vec::new(),
    };
    let mut fields = vec![Edit::set(Name::SERVER, value(server(client.origin.door)))];
    let mut set = |name: &'static [u8], text| {
        if let (Some(name), Some(value)) = (Name::new(name), Value::new(text)) {
            fields.push(Edit::set(name, value));
        }
    };
    if !location.is_empty() {
        set(b"location", &location);
    }
    if is_call {
        set(grpc::STATUS, &code);
        set(grpc::MESSAGE, &message);
    }
    if matches!(answer, Answer::Refuse(Reason::UpstreamOverflow)) {
        set(b"x-envoy-overloaded", b"true");
    }
    if let (false, Some(said)) = (is_call, unanswered::value(client.origin.door, answer)) {
        set(unanswered::NAME, said);
    }
    headers::apply(&filled, &values, &mut fields);
    grant(course, answer, origin.unwrap_or_default(), &mut fields);
    let is_type = |edit: &&Edit<'_>| edit.name.as_bytes() == Name::CONTENT_TYPE.as_bytes();
    let own_type = fields.iter().find(is_type).and_then(written);
    let pairs: Vec<_> = fields
        .iter()
        .filter(|edit| !is_type(edit) && is_for_rules(edit.name.id()))
        .filter_map(|edit| Some((edit.name, written(edit)?)))
        .collect();
    let reply = Reply {
        status: answer.status(is_call),
        date: value(date.as_bytes()),
        fields: &pairs,
        content_type: match own_type {
            Some(own) => own,
            None if is_call => value(grpc::CONTENT_TYPE),
            None => value(b"text/plain"),
        },
        body: if is_call { b"" } else { answer.body() },
        is_call,
    };
    local::write(&mut lead, &reply, to);
    if is_call {
        record.called(answer.call_status());
    }
    work.to_client.lead = lead;
}

/// Answers whether rules may write a field: not where it says how the answer is framed or sent.
fn is_for_rules(id: Id) -> bool {
    !id.is_protected() && !id.is_hop_by_hop() && id != Id::Date
}

/// Adds what an origin is allowed.
fn grant<'a>(
    course: &Course<'a>,
    answer: Answer<'a>,
    origin: &'a [u8],
    fields: &mut Vec<Edit<'a>>,
) {
    let mut set = |(name, text)| {
        if let (Some(name), Some(value)) = (Name::new(name), Value::new(text)) {
            fields.push(Edit::set(name, value));
        }
    };
    match (answer, course.cors) {
        (Answer::Preflight(Some(policy)), _) => cors::preflight(policy, origin).for_each(set),
        (_, Some(policy)) => cors::actual(policy, origin).for_each(&mut set),
        (_, None) => {}
    }
}

/// The changes of a rule that answers by itself; answers about failures have none.
fn by_rules<'p>(
    client: &Client,
    work: &Workspace,
    course: &Course<'p>,
    answer: Answer<'_>,
    record: &Record,
    values: &mut Vec<u8>,
) -> Vec<headers::Filled<'p>> {
    let rules = match answer {
        Answer::Redirect(_) | Answer::Respond(_) => course.policy.headers.as_ref(),
        Answer::Refuse(_) | Answer::RedirectToHttps | Answer::Fault(_) | Answer::Preflight(_) => {
            None
        }
    };
    let Some(rules) = rules else {
        return Vec::new();
    };
    let context = Context::of_request(client, work, course).of_answer(headers::About {
        head: None,
        status: answer.status(false),
        upstream: None,
        flags: record.flags(),
    });
    headers::fill_all(std::iter::once(&rules.response), &context, values)
}

/// The value that an edit writes.
fn written<'a>(edit: &Edit<'a>) -> Option<Value<'a>> {
    match edit.change {
        Change::Set(value)
        | Change::Add(value)
        | Change::SetIfAbsent(value)
        | Change::Join(value) => Some(value),
        Change::Remove => None,
    }
}

fn value(text: &[u8]) -> Value<'_> {
    Value::new(text).unwrap_or_default()
}

// === impl Answer ===

impl Answer<'_> {
    /// The status; 0 if nobody is left to answer. Calls of gRPC are always answered 200.
    pub(super) fn status(self, is_call: bool) -> u16 {
        match self.http_status() {
            0 => 0,
            _ if is_call => 200,
            // No answer may be an interim one, whatever a rule says.
            1..200 => 500,
            status => status,
        }
    }

    /// Why, for the record.
    pub(super) fn reason(self) -> Option<Reason> {
        match self {
            Self::Refuse(reason) => Some(reason),
            Self::Redirect(_) | Self::Respond(_) => Some(Reason::DirectResponse),
            Self::Fault(_) => Some(Reason::FaultAbort),
            Self::RedirectToHttps | Self::Preflight(_) => None,
        }
    }

    fn http_status(self) -> u16 {
        match self {
            Self::Refuse(reason) => reason.status(),
            Self::RedirectToHttps => 301,
            Self::Redirect(redirect) => redirect.code,
            Self::Respond(response) => response.status,
            Self::Fault(AbortWith::Http(status)) => status,
            Self::Fault(AbortWith::Grpc(status)) => grpc::to_http(status),
            Self::Preflight(_) => 200,
        }
    }

    /// The status of gRPC.
    fn call_status(self) -> u8 {
        match self {
            Self::Fault(AbortWith::Grpc(status)) => status,
            _ => grpc::from_http(self.http_status()),
        }
    }

    /// Status and message of gRPC as text, if it is a call.
    fn call(self, is_call: bool) -> (Vec<u8>, Vec<u8>) {
        if !is_call {
            return (Vec::new(), Vec::new());
        }
        let mut message = Vec::new();
        grpc::write_message(self.body(), &mut message);
        (self.call_status().to_string().into_bytes(), message)
    }

    /// Envoy's words, where it has any.
    fn body(&self) -> &[u8] {
        match self {
            Self::Refuse(reason) => words(*reason),
            Self::Respond(response) => &response.body,
            Self::Fault(_) => b"fault filter abort",
            Self::RedirectToHttps | Self::Redirect(_) | Self::Preflight(_) => b"",
        }
    }
}

fn words(reason: Reason) -> &'static [u8] {
    match reason {
        Reason::NoHealthyUpstream => b"no healthy upstream",
        Reason::DnsResolutionFailure => b"DNS resolution failure",
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
        | Reason::RetryLimitExceeded
        | Reason::FaultAbort
        | Reason::FaultDelay
        | Reason::DirectResponse
        | Reason::ConnectionDurationLimit
        | Reason::DownstreamConnectionTermination => b"",
    }
}
