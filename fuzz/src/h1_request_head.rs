//! Request heads: pieces give what the whole gives, and what is sent on is read as it was.

use lateen_wire::Error;
use lateen_wire::h1::framing::Body;
use lateen_wire::h1::head::{Limits, Progress, Version};
use lateen_wire::h1::request::{Head, Method, Request};
use lateen_wire::h1::target::Form;
use lateen_wire::h1::write::{self, RequestChanges};

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
    let mut head = Head::default();
    let whole = head.parse(input, &LIMITS);
    assert_eq!(whole, in_pieces(input), "pieces differ from the whole");
    if whole != Ok(Progress::Complete) {
        return;
    }
    assert!(head.len() <= LIMITS.head_bytes as usize && head.len() <= input.len());
    let request = head.view(input);
    check(request, &input[..head.len()]);

    let mut written = Vec::new();
    write::request(&mut written, request, &RequestChanges::default());
    assert!(written.ends_with(b"\r\n\r\n"));
    if request.authority().is_none() {
        // HTTP/1.0 without Host: the proxy gives an authority of its own.
        return;
    }
    let mut again = Head::default();
    assert_eq!(
        again.parse(&written, &Limits::default()),
        Ok(Progress::Complete)
    );
    assert_eq!(again.len(), written.len(), "one head became several");
    same(request, again.view(&written));

    let mut twice = Vec::new();
    write::request(&mut twice, again.view(&written), &RequestChanges::default());
    assert_eq!(written, twice, "writing is not stable");
}

/// Parses with one more byte at a time.
fn in_pieces(input: &[u8]) -> Result<Progress, Error> {
    let mut head = Head::default();
    let mut progress = Progress::NeedMore;
    for end in 1..=input.len() {
        progress = head.parse(&input[..end], &LIMITS)?;
        if progress == Progress::Complete {
            break;
        }
    }
    Ok(progress)
}

/// What holds for every valid request.
fn check(request: Request<'_>, bytes: &[u8]) {
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' => assert_eq!(bytes[index - 1], b'\r', "bare LF"),
            b'\r' => assert_eq!(bytes[index + 1], b'\n', "bare CR"),
            0 => panic!("NUL"),
            _ => {}
        }
    }
    assert!(request.version() == Version::Http10 || request.authority().is_some());
    assert!(!matches!(request.body(), Body::UntilClose | Body::Tunnel));
    match request.form() {
        Form::Authority => assert_eq!(request.method(), Method::Connect),
        Form::Asterisk => assert_eq!(request.path(), b"*"),
        Form::Origin => assert_eq!(request.path()[0], b'/'),
        Form::Absolute => assert!(matches!(request.path()[0], b'/' | b'*')),
    }
    for (name, value) in request.fields().iter() {
        assert!(!name.is_empty());
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }
}

/// The upstream reads what we decided on.
fn same(request: Request<'_>, again: Request<'_>) {
    assert_eq!(request.method_bytes(), again.method_bytes());
    assert_eq!(request.path(), again.path());
    assert_eq!(request.query(), again.query());
    assert_eq!(request.authority(), again.authority());
    assert_eq!(request.body(), again.body());
    assert_eq!(again.version(), Version::Http11);
    assert_ne!(again.form(), Form::Absolute);
    assert_eq!(again.upgrade(), None, "an upgrade was sent on unasked");
}
