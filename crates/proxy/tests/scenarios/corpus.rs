//! The corpus of RFC 9112 cases through the real engine.

use std::time::Duration;

use lateen_decide::normalize_path;
use lateen_model::Protocol;
use lateen_wire::corpus::{self, RequestCase, ResponseCase, ResponseOutcome, Then};
use lateen_wire::h1::framing::Body;
use lateen_wire::h1::head::{Limits, Progress};
use lateen_wire::h1::{chunked, request, response};
use lateen_wire::sniff::HTTP2_PREFACE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{Peer, World, run};

/// What one side has read so far. Reading rests when nothing more comes.
struct Ear {
    bytes: Vec<u8>,
    has_ended: bool,
}

impl Ear {
    fn new() -> Self {
        Self {
            bytes: Vec::new(),
            has_ended: false,
        }
    }

    /// Reads what there is; time is paused, so waiting for more costs nothing.
    async fn listen(&mut self, peer: &mut Peer) {
        let mut room = vec![0; 64 * 1024];
        while !self.has_ended {
            let read = tokio::time::timeout(Duration::from_millis(20), peer.stream.read(&mut room));
            match read.await {
                Err(_) => return,
                Ok(Ok(0) | Err(_)) => self.has_ended = true,
                Ok(Ok(count)) => self.bytes.extend_from_slice(&room[..count]),
            }
        }
    }
}

/// A request as the upstream read it.
#[derive(Debug, PartialEq, Eq)]
struct Received {
    method: String,
    target: String,
    host: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

fn take_request(bytes: &mut Vec<u8>) -> Option<Received> {
    let mut head = request::Head::default();
    let progress = head.parse(
        bytes,
        &Limits {
            head_bytes: 1 << 20,
            fields: 256,
        },
    );
    assert!(
        progress.is_ok(),
        "what reached the upstream is invalid: {progress:?} {}",
        bytes.escape_ascii()
    );
    if progress == Ok(Progress::NeedMore) {
        return None;
    }
    let view = head.view(bytes);
    let host = view
        .authority()
        .map_or(String::new(), |it| text(it.as_bytes()));
    let (method, target) = (text(view.method_bytes()), text(view.target()));
    let framing = view.body();
    let (body, length) = take_body(framing, &bytes[head.len()..])?;
    let fields = view.fields().raw().iter();
    let fields = fields
        .map(|field| (text(field.name.of(bytes)), text(field.value.of(bytes))))
        .collect();
    bytes.drain(..head.len() + length);
    Some(Received {
        method,
        target,
        host,
        fields,
        body,
    })
}

fn take_body(framing: Body, rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    match framing {
        Body::Empty | Body::Tunnel => Some((Vec::new(), 0)),
        Body::UntilClose => Some((rest.to_vec(), rest.len())),
        Body::Length(length) => {
            let length = usize::try_from(length).ok()?;
            (rest.len() >= length).then(|| (rest[..length].to_vec(), length))
        }
        Body::Chunked => {
            let mut decoder = chunked::Decoder::new(chunked::Mode::Decode);
            let (mut at, mut body) = (0, Vec::new());
            loop {
                let step = decoder.next(&rest[at..]).expect("what is sent on is valid");
                match step.event {
                    chunked::Event::Data(range) | chunked::Event::Verbatim { bytes: range, .. } => {
                        body.extend_from_slice(&rest[at..][range]);
                    }
                    chunked::Event::End(_) => return Some((body, at + step.consumed)),
                    chunked::Event::NeedMore => return None,
                }
                at += step.consumed;
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The status of the first complete response.
fn take_status(bytes: &mut Vec<u8>) -> Option<u16> {
    let mut head = response::Head::default();
    let asked = response::Asked::default();
    let progress = head
        .parse(bytes, &Limits::default(), asked)
        .expect("a valid response");
    if progress == Progress::NeedMore {
        return None;
    }
    let view = head.view(bytes);
    let (status, framing) = (view.status(), view.body());
    let (_, length) = take_body(framing, &bytes[head.len()..])?;
    bytes.drain(..head.len() + length);
    Some(status)
}

async fn run_request(case: &RequestCase) {
    let mut world = World::gateway();
    world
        .service("web", Protocol::Http, &["10.0.1.1"])
        .route_all_to("web");
    let mut caller = world.client();
    let input = case.input.bytes();
    // A refusal may come before everything is sent.
    let _ = tokio::time::timeout(Duration::from_secs(1), caller.stream.write_all(&input)).await;
    let (mut upstream, mut heard, mut answer) = (None, Ear::new(), Ear::new());
    for forwarded in case.forwarded {
        answer_next(&world, &mut upstream, &mut heard, forwarded, case.name).await;
        answer.listen(&mut caller).await;
        let is_connect = forwarded.method == "CONNECT";
        let status = if forwarded.method == "HEAD" {
            Some(200)
        } else {
            take_status(&mut answer.bytes)
        };
        if forwarded.method == "HEAD" {
            answer.bytes.clear();
        }
        assert_eq!(
            status,
            Some(if is_connect { 404 } else { 200 }),
            "{}",
            case.name
        );
    }
    answer.listen(&mut caller).await;
    match case.then {
        Then::Waits => assert!(!answer.has_ended, "{}: closed", case.name),
        Then::Closes => assert!(answer.has_ended, "{}: left open", case.name),
        Then::Refuses(status) => {
            assert_eq!(
                take_status(&mut answer.bytes),
                Some(status),
                "{}",
                case.name
            );
            assert!(answer.has_ended, "{}: left open", case.name);
        }
    }
    if let Some(peer) = &mut upstream {
        heard.listen(peer).await;
    }
    let more = if heard.bytes.is_empty() {
        None
    } else {
        take_request(&mut heard.bytes)
    };
    assert_eq!(more, None, "{}: too much reached the upstream", case.name);
}

async fn answer_next(
    world: &World,
    upstream: &mut Option<Peer>,
    heard: &mut Ear,
    forwarded: &corpus::Forwarded,
    name: &str,
) {
    if forwarded.method == "CONNECT" {
        return; // Refused by policy, whatever its syntax.
    }
    if upstream.is_none() {
        *upstream = Some(world.upstream().await);
    }
    let peer = upstream.as_mut().expect("it was just dialled");
    heard.listen(peer).await;
    let request = take_request(&mut heard.bytes);
    let request = request.unwrap_or_else(|| panic!("{name}: nothing reached the upstream"));
    // The parser leaves paths as they are; the proxy sends on what it decided on (RFC 3986 §6.2).
    let mut normal = Vec::new();
    let expected = if normalize_path(forwarded.target.as_bytes(), &mut normal) {
        text(&normal)
    } else {
        forwarded.target.to_owned()
    };
    assert_eq!(request.target, expected, "{name}");
    assert_eq!(request.method, forwarded.method, "{name}");
    if !forwarded.host.is_empty() {
        assert_eq!(request.host, forwarded.host, "{name}");
    }
    assert_eq!(request.body, forwarded.content, "{name}");
    let mut fields = request.fields.iter();
    for (key, value) in forwarded.fields {
        let found = fields.any(|(k, v)| k == key && v == value);
        assert!(found, "{name}: {key}: {value} is missing in {request:?}");
    }
    for key in forwarded.absent {
        let found = request
            .fields
            .iter()
            .find(|(k, _)| k.eq_ignore_ascii_case(key));
        assert_eq!(found, None, "{name}");
    }
    peer.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await;
}

async fn run_response(case: &ResponseCase) {
    if case.method == "CONNECT" {
        return; // Never reaches an upstream.
    }
    let world = World::sidecar();
    let mut caller = world.caller(8080);
    let upgrade = case.upgrade.map_or(String::new(), |protocols| {
        format!("Connection: upgrade\r\nUpgrade: {protocols}\r\n")
    });
    caller
        .say(format!(
            "{} / HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n",
            case.method
        ))
        .await;
    let mut app = world.upstream().await;
    app.hear_head().await;
    let _ = app.stream.write_all(&case.input.bytes()).await;
    let mut after = Ear::new();
    if case.closes {
        drop(app);
    } else {
        after.listen(&mut app).await;
    }
    let mut answer = Ear::new();
    answer.listen(&mut caller).await;
    let shown = format!("{}: {}", case.name, answer.bytes.escape_ascii());
    match case.outcome {
        ResponseOutcome::BadGateway => {
            // No answer at all is 503 (UC) as Envoy's, not a malformed one.
            let is_empty = case.input.bytes().is_empty();
            let status: &[u8] = if is_empty {
                b"HTTP/1.1 503"
            } else {
                b"HTTP/1.1 502"
            };
            assert!(answer.bytes.starts_with(status), "{shown}");
            assert!(
                case.closes || after.has_ended,
                "{shown}: the upstream is kept"
            );
        }
        ResponseOutcome::Truncated => {
            assert!(!answer.bytes.starts_with(b"HTTP/1.1 502"), "{shown}");
            assert!(answer.has_ended, "{shown}: left open");
        }
        ResponseOutcome::Forwarded(expected) => check_answer(case, &expected, answer, &shown),
    }
}

/// Holds what the client got against what it must get.
fn check_answer(case: &ResponseCase, expected: &corpus::Answer, mut answer: Ear, shown: &str) {
    let mut head = response::Head::default();
    let asked = response::Asked {
        method: request::Method::of(case.method.as_bytes()),
        upgrade: case.upgrade.map(str::as_bytes),
    };
    for interim in expected.interim {
        let done = head.parse(&answer.bytes, &Limits::default(), asked);
        assert_eq!(done, Ok(Progress::Complete), "{shown}");
        assert_eq!(head.view(&answer.bytes).status(), *interim, "{shown}");
        answer.bytes.drain(..head.len());
    }
    let done = head.parse(&answer.bytes, &Limits::default(), asked);
    assert_eq!(done, Ok(Progress::Complete), "{shown}");
    let view = head.view(&answer.bytes);
    assert_eq!(view.status(), expected.status, "{shown}");
    for (name, value) in expected.fields {
        let found = view.fields().raw().iter().any(|field| {
            let bytes = &answer.bytes;
            (field.name.of(bytes), field.value.of(bytes)) == (name.as_bytes(), value.as_bytes())
        });
        assert!(found, "{name}: {value} is missing in {shown}");
    }
    let (framing, rest) = (view.body(), &answer.bytes[head.len()..]);
    let body = match framing {
        Body::Tunnel => Some((rest.to_vec(), rest.len())),
        _ => take_body(framing, rest),
    };
    assert_eq!(
        body.map(|it| it.0),
        Some(expected.content.to_vec()),
        "{shown}"
    );
}

#[test]
fn every_request_of_the_corpus_becomes_what_it_must() {
    let mut count = 0;
    for case in corpus::requests() {
        if case.input.bytes().starts_with(HTTP2_PREFACE) {
            continue; // A gateway speaks it: the tests of HTTP/2 have it.
        }
        run(async || run_request(case).await);
        count += 1;
    }
    assert!(count >= 120, "{count} cases");
}

#[test]
fn every_response_of_the_corpus_becomes_what_it_must() {
    for case in corpus::RESPONSES {
        run(async || run_response(case).await);
    }
}
