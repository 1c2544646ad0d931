//! Runs the corpus through the crate's pieces, in one read and byte by byte.

#[path = "support/exchange.rs"]
mod exchange;
#[path = "support/naive.rs"]
mod naive;

use std::collections::HashSet;

use exchange::{Answered, Requests, answer};
use lateen_wire::corpus::{
    Answer, Forwarded, RESPONSES, RequestCase, ResponseCase, ResponseOutcome, requests,
};
use lateen_wire::h1::framing::{Body, Outgoing};
use lateen_wire::h1::request::Method;
use lateen_wire::h1::response::Asked;
use naive::Message;

/// Inputs longer than this are not sent byte by byte.
const LONG: usize = 8 * 1024;

#[test]
fn the_corpus_is_large_and_its_names_are_unique() {
    let mut names = HashSet::new();
    for case in requests() {
        assert!(names.insert(case.name), "{}", case.name);
    }
    let requests = names.len();
    names.clear();
    for case in RESPONSES {
        assert!(names.insert(case.name), "{}", case.name);
    }
    assert!(
        requests >= 200 && names.len() >= 50,
        "{requests} {}",
        names.len()
    );
}

#[test]
fn every_request_of_the_corpus_gets_its_outcome() {
    let mut failures = Vec::new();
    for case in requests() {
        let input = case.input.bytes();
        let whole = std::panic::catch_unwind(|| check_request(case, [&*input]));
        let pieces = std::panic::catch_unwind(|| {
            if input.len() <= LONG {
                check_request(case, input.chunks(1));
            } else {
                check_request(case, input.chunks(1021));
            }
        });
        if whole.is_err() || pieces.is_err() {
            failures.push(format!("{} ({})", case.name, case.reference));
        }
    }
    assert!(
        failures.is_empty(),
        "{} cases: {failures:#?}",
        failures.len()
    );
}

#[test]
fn every_response_of_the_corpus_gets_its_outcome() {
    let mut failures = Vec::new();
    for case in RESPONSES {
        let input = case.input.bytes();
        let whole = std::panic::catch_unwind(|| check_response(case, [&*input]));
        let pieces = std::panic::catch_unwind(|| check_response(case, input.chunks(1)));
        if whole.is_err() || pieces.is_err() {
            failures.push(format!("{} ({})", case.name, case.reference));
        }
    }
    assert!(
        failures.is_empty(),
        "{} cases: {failures:#?}",
        failures.len()
    );
}

fn check_request<'a>(case: &RequestCase, pieces: impl IntoIterator<Item = &'a [u8]>) {
    let served = Requests::serve(pieces);
    assert_eq!(served.then, case.then, "{}", case.name);
    assert_eq!(served.upstream.len(), case.forwarded.len(), "{}", case.name);
    for (bytes, expected) in served.upstream.iter().zip(case.forwarded) {
        check_forwarded(&Message::read(bytes, true), expected);
    }
}

fn check_forwarded(message: &Message, expected: &Forwarded) {
    let start = format!("{} {} HTTP/1.1", expected.method, expected.target);
    assert_eq!(message.start, start);
    assert_eq!(message.all("host"), [expected.host.as_bytes()]);
    let chunked: &[&[u8]] = match expected.body {
        Body::Chunked => &[b"chunked"],
        _ => &[],
    };
    assert_eq!(message.all("transfer-encoding"), chunked);
    let has_length = matches!(expected.body, Body::Length(_));
    assert_eq!(message.all("content-length").len(), usize::from(has_length));
    assert_eq!(message.content, expected.content);
    message.assert_has(expected.fields);
    for name in expected.absent {
        assert!(message.all(name).is_empty(), "{name} in {message:?}");
    }
    let trailers: Vec<(String, Vec<u8>)> = expected
        .trailers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect();
    assert_eq!(message.trailers, trailers);
}

fn check_response<'a>(case: &ResponseCase, pieces: impl IntoIterator<Item = &'a [u8]>) {
    let asked = Asked {
        method: Method::of(case.method.as_bytes()),
        upgrade: case.upgrade.map(str::as_bytes),
    };
    let answered = answer(pieces, case.closes, asked);
    match (&answered, case.outcome) {
        (Answered::Whole(answers, body), ResponseOutcome::Forwarded(expected)) => {
            assert_eq!(*body, expected.body);
            check_answer(answers, &expected);
        }
        (Answered::BadGateway, ResponseOutcome::BadGateway)
        | (Answered::Truncated, ResponseOutcome::Truncated) => {}
        _ => panic!("{}: {answered:?}", case.name),
    }
}

fn check_answer(answers: &[Vec<u8>], expected: &Answer) {
    let (last, interim) = answers.split_last().expect("an answer");
    let statuses: Vec<String> = interim
        .iter()
        .map(|bytes| Message::read(bytes, false).start[9..12].to_owned())
        .collect();
    let expected_statuses: Vec<String> = expected.interim.iter().map(u16::to_string).collect();
    assert_eq!(statuses, expected_statuses);
    let has_content = !matches!(expected.body, Outgoing::Nothing | Outgoing::Tunnel);
    let message = Message::read(last, has_content);
    let start = format!("HTTP/1.1 {} ", expected.status);
    assert!(message.start.starts_with(&start), "{}", message.start);
    assert_eq!(message.content, expected.content);
    message.assert_has(expected.fields);
    for name in expected.absent {
        assert!(message.all(name).is_empty(), "{name} in {message:?}");
    }
}
