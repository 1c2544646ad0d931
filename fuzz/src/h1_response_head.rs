//! Response heads: pieces give what the whole gives, and the client reads what the upstream meant.
//! The first byte of the input says what was asked for.

use lateen_wire::Error;
use lateen_wire::h1::framing::{Body, Outgoing};
use lateen_wire::h1::head::{Limits, Persistence, Progress, Version};
use lateen_wire::h1::request::Method;
use lateen_wire::h1::response::{Asked, Head};
use lateen_wire::h1::write::{self, ResponseChanges};

/// Small enough that the fuzzer reaches them.
const LIMITS: Limits = Limits {
    head_bytes: 2048,
    fields: 24,
};

/// Checks one input.
///
/// # Panics
/// If a property does not hold.
pub fn run(input: &[u8]) {
    let Some((choice, input)) = input.split_first() else {
        return;
    };
    let asked = Asked {
        method: match choice % 3 {
            0 => Method::Get,
            1 => Method::Head,
            _ => Method::Connect,
        },
        upgrade: (choice & 8 != 0).then_some(b"websocket, x/1"),
    };
    let client = if choice & 16 != 0 {
        Version::Http10
    } else {
        Version::Http11
    };
    let mut head = Head::default();
    let whole = head.parse(input, &LIMITS, asked);
    assert_eq!(
        whole,
        in_pieces(input, asked),
        "pieces differ from the whole"
    );
    if whole != Ok(Progress::Complete) {
        return;
    }
    let response = head.view(input);
    let mut written = Vec::new();
    let changes = ResponseChanges {
        client,
        persistence: Persistence::KeepAlive,
        edits: &[],
    };
    let sent = write::response(&mut written, response, &changes);

    let mut again = Head::default();
    let progress = again.parse(&written, &Limits::default(), asked);
    assert_eq!(
        progress,
        Ok(Progress::Complete),
        "{}",
        written.escape_ascii()
    );
    assert_eq!(again.len(), written.len(), "one head became several");
    let received = again.view(&written);
    assert_eq!(received.status(), response.status());
    assert_eq!(received.reason(), response.reason());
    let expected = match sent.body {
        Outgoing::Nothing => Body::Empty,
        Outgoing::Length(length) => Body::Length(length),
        Outgoing::Chunked => Body::Chunked,
        Outgoing::UntilClose => Body::UntilClose,
        Outgoing::Tunnel => Body::Tunnel,
    };
    assert_eq!(received.body(), expected, "{}", written.escape_ascii());
    if sent.body == Outgoing::UntilClose {
        assert_eq!(sent.persistence, Persistence::Close);
    }
}

/// Parses with one more byte at a time.
fn in_pieces(input: &[u8], asked: Asked<'_>) -> Result<Progress, Error> {
    let mut head = Head::default();
    let mut progress = Progress::NeedMore;
    for end in 1..=input.len() {
        progress = head.parse(&input[..end], &LIMITS, asked)?;
        if progress == Progress::Complete {
            break;
        }
    }
    Ok(progress)
}
