//! What a connection speaks, from the first bytes that its client sends.
//!
//! It is for ports of which nobody said what they speak. A wrong "TCP" takes a request past every
//! HTTP rule, so whatever an HTTP server might take for a request counts as HTTP/1, malformed or
//! not (it is then answered 400); a wrong "HTTP" breaks a protocol that works, so a line of text
//! without a version of HTTP (`HELO a`, `SET k v`, `GET /` of HTTP/0.9) stays TCP.

use crate::h1::field::is_token_byte;

/// The preface of HTTP/2 (RFC 9113 §3.4).
pub const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How many bytes are looked at before the line is judged by its start.
pub const MAX_LINE: usize = 16 * 1024;

/// The longest payload of a TLS record (RFC 8446 §5.2).
pub(crate) const MAX_RECORD: usize = 16 * 1024 + 256;

/// How many bytes of empty lines may come before a request line, as the head parser allows.
const MAX_EMPTY: usize = 8;

/// What the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Too few to say; all of them could still be the start of something known.
    NeedMore,
    /// A TLS record with a ClientHello.
    Tls,
    /// The preface of HTTP/2.
    Http2,
    /// A request line of HTTP/1.
    Http1,
    /// None of these.
    Tcp,
}

/// Judges the first bytes of a connection. Call it again with more after [`Verdict::NeedMore`].
pub fn sniff(input: &[u8]) -> Verdict {
    match (tls(input), http2(input)) {
        (Match::Yes, _) => Verdict::Tls,
        (_, Match::Yes) => Verdict::Http2,
        (Match::Maybe, _) | (_, Match::Maybe) => Verdict::NeedMore,
        (Match::No, Match::No) => match http1(input) {
            Match::Yes => Verdict::Http1,
            Match::Maybe => Verdict::NeedMore,
            Match::No => Verdict::Tcp,
        },
    }
}

/// Whether bytes are something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    Yes,
    Maybe,
    No,
}

/// A handshake record (type 22, version 3.x, a length that a record can have) whose first message
/// is a ClientHello (type 1). The minor version is ignored, as servers have to (RFC 8446 §5.1). A
/// record of a single byte counts: a client may split its hello anywhere, and one that does so on
/// purpose must not pass for TCP (CVE-2020-8660).
fn tls(input: &[u8]) -> Match {
    let prefix = [0x16, 0x03];
    if !starts_alike(input, &prefix) {
        return Match::No;
    }
    if let [_, _, _, high, low, ..] = input {
        let length = usize::from(*high) << 8 | usize::from(*low);
        if !(1..=MAX_RECORD).contains(&length) {
            return Match::No;
        }
    }
    match input.get(5) {
        Some(1) => Match::Yes,
        Some(_) => Match::No,
        None => Match::Maybe,
    }
}

fn http2(input: &[u8]) -> Match {
    if !starts_alike(input, HTTP2_PREFACE) {
        Match::No
    } else if input.len() >= HTTP2_PREFACE.len() {
        Match::Yes
    } else {
        Match::Maybe
    }
}

/// Whether as much of `input` as there is agrees with `prefix`.
fn starts_alike(input: &[u8], prefix: &[u8]) -> bool {
    input.iter().zip(prefix).all(|(a, b)| a == b)
}

/// A line `method SP … SP HTTP/digit`, perhaps after empty lines.
fn http1(input: &[u8]) -> Match {
    let empty = input
        .iter()
        .take(MAX_EMPTY)
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    let input = &input[empty..];
    let method = input
        .iter()
        .take_while(|byte| is_token_byte(**byte))
        .count();
    match input.get(method) {
        None if method < MAX_LINE => return Match::Maybe,
        Some(b' ' | b'\t') if method > 0 => {}
        Some(_) | None => return Match::No,
    }
    let window = &input[..input.len().min(MAX_LINE)];
    let line_end = memchr::memchr2(b'\r', b'\n', window);
    let line = &window[..line_end.unwrap_or(window.len())];
    if has_version(&line[method..]) {
        return Match::Yes;
    }
    match line_end {
        None if input.len() < MAX_LINE => Match::Maybe,
        // A target this long after a method is a request; other protocols have shorter lines.
        None if matches!(input.get(method + 1), Some(b'/')) => Match::Yes,
        Some(_) | None => Match::No,
    }
}

/// Whether ` HTTP/` and a digit are in the line.
fn has_version(line: &[u8]) -> bool {
    memchr::memmem::find_iter(line, b"HTTP/").any(|at| {
        at > 0
            && matches!(line[at - 1], b' ' | b'\t')
            && line.get(at + 5).is_some_and(u8::is_ascii_digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_is_known_by_its_first_bytes() {
        let cases: &[(&[u8], Verdict)] = &[
            (b"", Verdict::NeedMore),
            (b"G", Verdict::NeedMore),
            (b"GET / HTT", Verdict::NeedMore),
            (b"GET / HTTP/1.1\r\n", Verdict::Http1),
            (b"\r\nGET / HTTP/1.1\r\n", Verdict::Http1),
            (b"M-SEARCH * HTTP/1.1\r\n", Verdict::Http1),
            (b"get  / a b  HTTP/9.9\n", Verdict::Http1),
            (b"CONNECT a:1 HTTP/1.1\r\n", Verdict::Http1),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", Verdict::Http2),
            (b"PRI * HTTP/2.0\r\n\r\nSM", Verdict::NeedMore),
            (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", Verdict::Http1),
            (b"\x16\x03\x01\x02\x00\x01\x00", Verdict::Tls),
            (b"\x16\x03\x01\x02\x00", Verdict::NeedMore),
            (b"\x16\x03\x01\x00\x01\x01", Verdict::Tls),
            (b"\x16\x03\x01\x00\x00\x01", Verdict::Tcp),
            (b"\x16\x03\x01\xff\xff\x01", Verdict::Tcp),
            (b"\x16\x03\x05", Verdict::NeedMore),
            (b"\x16\x02\x00", Verdict::Tcp),
            (b"\x15\x03\x01\x00\x02\x02", Verdict::Tcp),
            (b"SSH-2.0-OpenSSH\r\n", Verdict::Tcp),
            (b"HELO me\r\n", Verdict::Tcp),
            (b"*1\r\n$4\r\nPING\r\n", Verdict::Tcp),
            (b"GET /\r\n", Verdict::Tcp),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", Verdict::Tcp),
        ];
        for (input, verdict) in cases {
            assert_eq!(sniff(input), *verdict, "{}", input.escape_ascii());
        }
    }

    #[test]
    fn a_verdict_is_final_and_always_comes() {
        let mut long = b"GET /".to_vec();
        long.resize(MAX_LINE, b'a');
        assert_eq!(sniff(&long), Verdict::Http1);
        let mut text = b"SET key ".to_vec();
        text.resize(MAX_LINE, b'a');
        assert_eq!(sniff(&text), Verdict::Tcp);
        assert_eq!(sniff(&[b'a'; MAX_LINE]), Verdict::Tcp);
    }
}
