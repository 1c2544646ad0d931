//! Chunked bodies of requests (RFC 9112 §7.1).

use super::{Forwarded, Input, RequestCase, Then};
use crate::h1::framing::Body;

macro_rules! post {
    ($body:literal) => {
        concat!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            $body
        )
        .as_bytes()
    };
}

const fn chunked(content: &'static [u8]) -> Forwarded {
    Forwarded::post(Body::Chunked, content)
}

pub(super) const CASES: &[RequestCase] = &[
    RequestCase::served("two chunks", "9112 §7.1", post!("5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"), &[chunked(b"hello!")]),
    RequestCase::served("no data", "9112 §7.1", post!("0\r\n\r\n"), &[chunked(b"")]),
    RequestCase::served("several zeros end the body", "9112 §7.1", post!("5\r\nhello\r\n000\r\n\r\n"), &[chunked(b"hello")]),
    RequestCase::served("leading zeros", "9112 §7.1", post!("0005\r\nhello\r\n0\r\n\r\n"), &[chunked(b"hello")]),
    RequestCase::served("sizes in both cases", "9112 §7.1", post!("A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n"), &[chunked(b"01234567890123456789a")]),
    RequestCase::served(
        "the coding in upper case",
        "9112 §7",
        b"POST / HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &[chunked(b"hello").with(&[("TRANSFER-ENCODING", "chunked")])],
    ),
    RequestCase::served(
        "white space around the coding",
        "9112 §7",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \t chunked\t \r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &[chunked(b"hello")],
    ),
    RequestCase::served("data that looks like framing", "9112 §7.1", post!("5\r\n0\r\n\r\n\r\n0\r\n\r\n"), &[chunked(b"0\r\n\r\n")]),
    RequestCase::served(
        "a request after a chunked one",
        "9112 §9.3",
        post!("5\r\nhello\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
        &[chunked(b"hello"), Forwarded::get("/2")],
    ),
    RequestCase::served("an extension", "9112 §7.1.1", post!("5;a=b\r\nhello\r\n0\r\n\r\n"), &[chunked(b"hello")]),
    RequestCase::served("an extension without a value", "9112 §7.1.1", post!("5;a\r\nhello\r\n0;b\r\n\r\n"), &[chunked(b"hello")]),
    RequestCase::served("a quoted extension", "9112 §7.1.1", post!("5;a=\"b;\\\"c\"\r\nhello\r\n0\r\n\r\n"), &[chunked(b"hello")]),
    RequestCase::served("several extensions with white space", "9112 §7.1.1", post!("5 ; a = b\t;c ;\td=\"e\" ;f\r\nhello\r\n0\r\n\r\n"), &[chunked(b"hello")]),
    RequestCase::served(
        "trailers",
        "9112 §7.1.2",
        post!("5\r\nhello\r\n0\r\nX-Sum: 1\r\nx-b:2\r\n\r\n"),
        &[chunked(b"hello").trailed(&[("X-Sum", "1"), ("x-b", "2")])],
    ),
    RequestCase::served(
        "forbidden trailers are dropped",
        "9110 §6.5.1",
        post!("0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\nHost: b\r\nAuthorization: c\r\nX-Forwarded-For: d\r\nX-Sum: 1\r\nConnection: close\r\n\r\n"),
        &[chunked(b"").trailed(&[("X-Sum", "1")])],
    ),
    RequestCase::served(
        "a request after trailers",
        "9112 §7.1.2",
        post!("0\r\nX: y\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
        &[chunked(b"").trailed(&[("X", "y")]), Forwarded::get("/2")],
    ),
    RequestCase::served("a chunked body that is not complete yet", "9112 §8", post!("5\r\nhello\r\n0\r\n"), &[]),
    RequestCase::bad("an empty size", "9112 §7.1", post!("\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("a size that is no number", "9112 §7.1", post!("g\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("a size with a prefix", "9112 §7.1, smuggling", post!("0x5\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("a size with a plus", "9112 §7.1, smuggling", post!("+5\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("a negative size", "9112 §7.1, smuggling", post!("-5\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("a size with an underscore", "9112 §7.1", post!("0_5\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("a size with a point", "9112 §7.1", post!("5.0\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("a space before the size", "9112 §7.1", post!(" 5\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("a space after the size", "9112 §7.1", post!("5 \r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("a tab after the size", "9112 §7.1", post!("5\t\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("a size and words", "9112 §7.1", post!("5 x\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("a size of 64 bits", "9112 §7.1", post!("8000000000000000\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("a size of 68 bits", "9112 §7.1, smuggling", post!("10000000000000005\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("a size of very many zeros", "9112 §7.1", post!("00000000000000000000000000000005\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("bare LF after a size", "9112 §7.1, smuggling", post!("5\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("bare CR after a size", "9112 §7.1, smuggling", post!("5\rhello\r\n0\r\n\r\n")),
    RequestCase::bad("CR CR LF after a size", "9112 §7.1", post!("5\r\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("bare LF after data", "9112 §7.1, smuggling", post!("5\r\nhello\n0\r\n\r\n")),
    RequestCase::bad("bare CR after data", "9112 §7.1", post!("5\r\nhello\r0\r\n\r\n")),
    RequestCase::bad("no CRLF after data", "9112 §7.1", post!("5\r\nhello0\r\n\r\n")),
    RequestCase::bad("more data than the size", "9112 §7.1, smuggling", post!("5\r\nhello!\r\n0\r\n\r\n")),
    RequestCase::bad("less data than the size", "9112 §7.1, smuggling", post!("6\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("bare LF in an extension", "9112 §7.1.1, TERM.EXT", post!("5;a\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("bare CR in an extension", "9112 §7.1.1, TERM.EXT", post!("5;a\rb\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("bare LF in a quoted extension", "9112 §7.1.1, TERM.EXT", post!("5;a=\"b\nc\"\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("CRLF in a quoted extension", "9112 §7.1.1, TERM.EXT", post!("5;a=\"b\r\n\"\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("an extension without a name", "9112 §7.1.1", post!("5;\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("an extension that is only a value", "9112 §7.1.1", post!("5;=b\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("an extension with nothing after the sign", "9112 §7.1.1", post!("5;a=\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("an extension with an open quote", "9112 §7.1.1", post!("5;a=\"b\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("NUL in an extension", "9112 §7.1.1", post!("5;a\0\r\nhello\r\n0\r\n\r\n")),
    RequestCase::bad("an extension on the last chunk with bare LF", "9112 §7.1.1, smuggling", post!("0;a\n\r\nGET /evil HTTP/1.1\r\n\r\n")),
    RequestCase::bad("bare LF after the last size", "9112 §7.1", post!("0\n\r\n")),
    RequestCase::bad("bare LF at the end", "9112 §7.1", post!("0\r\n\n")),
    RequestCase::bad("bare LF in a trailer", "9112 §7.1.2, smuggling", post!("0\r\nX: y\n\r\n")),
    RequestCase::bad("bare CR in a trailer", "9112 §7.1.2", post!("0\r\nX: y\rz\r\n\r\n")),
    RequestCase::bad("obs-fold in a trailer", "9112 §7.1.2", post!("0\r\nX: y\r\n z\r\n\r\n")),
    RequestCase::bad("a space before the colon of a trailer", "9112 §7.1.2", post!("0\r\nX : y\r\n\r\n")),
    RequestCase::bad("a request where a trailer should be", "9112 §7.1.2, smuggling", post!("0\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n")),
    RequestCase {
        name: "a very long extension",
        reference: "9112 §7.1.1, DoS",
        input: Input::Repeated {
            before: post!("5;"),
            unit: b"aaaaaaaaaaaaaaaa",
            count: 2048,
            after: b"\r\nhello\r\n0\r\n\r\n",
        },
        forwarded: &[],
        then: Then::Refuses(400),
    },
    RequestCase {
        name: "tiny chunks that are nearly all extension",
        reference: "9112 §7.1.1, DoS",
        input: Input::Repeated {
            before: post!(""),
            unit: b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n",
            count: 1000,
            after: b"0\r\n\r\n",
        },
        forwarded: &[],
        then: Then::Refuses(400),
    },
    RequestCase {
        name: "very long trailers",
        reference: "9112 §7.1.2, DoS",
        input: Input::Repeated {
            before: post!("0\r\n"),
            unit: b"X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
            count: 31,
            after: b"\r\n",
        },
        forwarded: &[],
        then: Then::Refuses(400),
    },
    RequestCase {
        name: "too many trailers",
        reference: "9112 §7.1.2, DoS",
        input: Input::Repeated {
            before: post!("0\r\n"),
            unit: b"X: y\r\n",
            count: 33,
            after: b"\r\n",
        },
        forwarded: &[],
        then: Then::Refuses(400),
    },
];
