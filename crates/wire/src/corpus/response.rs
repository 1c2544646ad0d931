//! Responses of upstreams: what is sent on, and what is 502 (RFC 9112 §4, §6, §7).

use super::{Answer, Input, ResponseCase, ResponseOutcome};
use crate::h1::framing::Outgoing;

const EMPTY: Outgoing = Outgoing::Length(0);

pub(super) const CASES: &[ResponseCase] = &[
    ResponseCase::served(
        "a response with a length",
        "9112 §6.3",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-a: b\r\n\r\nhello",
        Answer::new(200, Outgoing::Length(5), b"hello").with(&[("Content-Length", "5"), ("X-a", "b")]),
    ),
    ResponseCase::served(
        "a chunked response",
        "9112 §7.1",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX: y\r\n\r\n",
        Answer::new(200, Outgoing::Chunked, b"hello!").with(&[("Transfer-Encoding", "chunked")]),
    ),
    ResponseCase::served(
        "a response that ends with the connection",
        "9112 §6.3",
        b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nhello",
        Answer::new(200, Outgoing::Chunked, b"hello"),
    )
    .closing(),
    ResponseCase::served(
        "a response of HTTP/1.0",
        "9112 §6.3",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        Answer::new(200, Outgoing::Chunked, b"hello"),
    )
    .closing(),
    ResponseCase::served(
        "no reason phrase",
        "9112 §4",
        b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
        Answer::new(200, EMPTY, b""),
    ),
    ResponseCase::served(
        "no space after the status",
        "9112 §4",
        b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
        Answer::new(200, EMPTY, b""),
    ),
    ResponseCase::served(
        "a reason phrase above ASCII",
        "9112 §4",
        b"HTTP/1.1 404 Pas trouv\xc3\xa9\r\nContent-Length: 0\r\n\r\n",
        Answer::new(404, EMPTY, b""),
    ),
    ResponseCase::served(
        "an unknown status",
        "9110 §15",
        b"HTTP/1.1 299 Odd\r\nContent-Length: 0\r\n\r\n",
        Answer::new(299, EMPTY, b""),
    ),
    ResponseCase::served(
        "a status above 599",
        "9110 §15",
        b"HTTP/1.1 999 Denied\r\nContent-Length: 2\r\n\r\nno",
        Answer::new(999, Outgoing::Length(2), b"no"),
    ),
    ResponseCase::served(
        "hop-by-hop fields are not sent on",
        "9110 §7.6.1",
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nUpgrade: h2,h2c\r\nX: y\r\nContent-Length: 0\r\n\r\n",
        Answer::new(200, EMPTY, b"")
            .with(&[("X", "y")])
            .without(&["connection", "keep-alive", "x-hop", "upgrade"]),
    ),
    ResponseCase::served(
        "order, spelling and repetition are kept",
        "9110 §5.3",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nCONTENT-length: 0\r\nset-cookie: b=2; Expires=Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n",
        Answer::new(200, EMPTY, b"").with(&[
            ("Set-Cookie", "a=1"),
            ("CONTENT-length", "0"),
            ("set-cookie", "b=2; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
        ]),
    ),
    ResponseCase::served(
        "an interim response",
        "9110 §15.2",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        Answer::new(200, EMPTY, b"").after(&[103]),
    ),
    ResponseCase::served(
        "two interim responses",
        "9110 §15.2",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        Answer::new(204, Outgoing::Nothing, b"").after(&[100, 102]).without(&["content-length"]),
    ),
    ResponseCase::served(
        "HEAD with a length",
        "9112 §6.3",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        Answer::new(200, Outgoing::Nothing, b"").with(&[("Content-Length", "5")]),
    )
    .to("HEAD"),
    ResponseCase::served(
        "HEAD with chunked",
        "9112 §6.3",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        Answer::new(200, Outgoing::Nothing, b""),
    )
    .to("HEAD"),
    ResponseCase::served(
        "HEAD without framing",
        "9112 §6.3",
        b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n",
        Answer::new(200, Outgoing::Nothing, b""),
    )
    .to("HEAD"),
    ResponseCase::served(
        "304 with a length",
        "9110 §15.4.5",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n",
        Answer::new(304, Outgoing::Nothing, b"").with(&[("Content-Length", "5"), ("ETag", "\"a\"")]),
    ),
    ResponseCase::served(
        "204 with a length of 0",
        "9110 §8.6",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        Answer::new(204, Outgoing::Nothing, b"").without(&["content-length"]),
    ),
    ResponseCase::served(
        "426 keeps its Upgrade",
        "9110 §15.5.22",
        b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n",
        Answer::new(426, EMPTY, b"").with(&[("Upgrade", "websocket"), ("connection", "upgrade")]),
    ),
    ResponseCase::served(
        "101 to a request that asked",
        "9110 §7.8",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
        Answer::new(101, Outgoing::Tunnel, b"").with(&[
            ("Upgrade", "WebSocket"),
            ("Sec-WebSocket-Accept", "x"),
            ("connection", "upgrade"),
        ]),
    )
    .asking("websocket"),
    ResponseCase::bad("101 that nobody asked for", "9110 §7.8, CVE-2026-2833", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
    ResponseCase::bad("101 to another protocol", "9110 §7.8", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n").asking("websocket"),
    ResponseCase::bad("101 without Upgrade", "9110 §7.8", b"HTTP/1.1 101 Switching Protocols\r\n\r\n").asking("websocket"),
    ResponseCase::bad("Content-Length and Transfer-Encoding", "9112 §6.3", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ResponseCase::bad("two different Content-Lengths", "9112 §6.3", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
    ResponseCase::bad("two equal Content-Lengths", "9112 §6.3", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    ResponseCase::bad("a length that is no number", "9110 §8.6", b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello"),
    ResponseCase::bad("a negative length", "9110 §8.6", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
    ResponseCase::bad("a bad length in a response to HEAD", "9110 §8.6", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n").to("HEAD"),
    ResponseCase::bad("an unknown coding", "9112 §6.1", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n").closing(),
    ResponseCase::bad("chunked twice", "9112 §6.1", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ResponseCase::bad("chunked not last", "9112 §6.3", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n").closing(),
    ResponseCase::bad("Transfer-Encoding in HTTP/1.0", "9112 §6.1", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").closing(),
    ResponseCase::bad("204 with Transfer-Encoding", "9112 §6.1", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ResponseCase::bad("204 with a length", "9110 §8.6", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"),
    ResponseCase::bad("1xx with Transfer-Encoding", "9112 §6.1", b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ResponseCase::bad("bare LF in the head", "9112 §2.2", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    ResponseCase::bad("bare CR in the head", "9112 §2.2", b"HTTP/1.1 200 OK\r\nX: a\rContent-Length: 0\r\n\r\n"),
    ResponseCase::bad("obs-fold", "9112 §5.2", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
    ResponseCase::bad("a space before a colon", "9112 §5.1", b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"),
    ResponseCase::bad("NUL in a value", "9110 §5.5", b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
    ResponseCase::bad("a line without a colon", "9112 §5", b"HTTP/1.1 200 OK\r\nfoo\r\n\r\n"),
    ResponseCase::bad("an empty line first", "9112 §4", b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ResponseCase::bad("another version", "9112 §2.3", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ResponseCase::bad("another protocol", "9112 §4", b"ICY 200 OK\r\n\r\n").closing(),
    ResponseCase::bad("a status of two digits", "9112 §4", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
    ResponseCase::bad("a status of four digits", "9112 §4", b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
    ResponseCase::bad("a status below 100", "9110 §15", b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n"),
    ResponseCase::bad("bytes that are no HTTP", "9112 §4", b"\x15\x03\x01\x00\x02\x02\x16").closing(),
    ResponseCase::bad("a head that is cut off", "9112 §8", b"HTTP/1.1 200 OK\r\nContent-Le").closing(),
    ResponseCase::bad("an empty answer", "9112 §8", b"").closing(),
    ResponseCase {
        input: Input::Repeated {
            before: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
            unit: b"X: y\r\n",
            count: 100,
            after: b"\r\n",
        },
        ..ResponseCase::bad("101 fields", "limits", b"")
    },
    ResponseCase {
        input: Input::Repeated {
            before: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: ",
            unit: b"0123456789abcdef",
            count: 3840,
            after: b"\r\n\r\n",
        },
        ..ResponseCase::bad("a head that is too long", "limits", b"")
    },
    ResponseCase::truncated("a body that is cut off", "9112 §8", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").closing(),
    ResponseCase::truncated("chunks that are cut off", "9112 §8", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel").closing(),
    ResponseCase::truncated("chunks without the last one", "9112 §8", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").closing(),
    ResponseCase::truncated("a bad chunk size", "9112 §7.1", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n\r\n"),
    ResponseCase::truncated("bare LF after a chunk size", "9112 §7.1", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n"),
    ResponseCase {
        name: "200 to CONNECT has no body",
        reference: "9112 §6.3",
        method: "CONNECT",
        upgrade: None,
        input: Input::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        closes: false,
        outcome: ResponseOutcome::Forwarded(
            Answer::new(200, Outgoing::Tunnel, b"").without(&["content-length", "transfer-encoding"]),
        ),
    },
];
