//! Persistence, hop-by-hop fields and upgrades (RFC 9112 §9, RFC 9110 §7.6, §7.8).

use super::{Forwarded, RequestCase};
use crate::h1::framing::Body;

pub(super) const CASES: &[RequestCase] = &[
    RequestCase::served(
        "hop-by-hop fields are not sent on",
        "9110 §7.6.1",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nX: y\r\n\r\n",
        &[Forwarded::get("/").with(&[("X", "y")]).without(&["connection", "keep-alive", "proxy-connection"])],
    ),
    RequestCase::served(
        "fields that Connection names are not sent on",
        "9110 §7.6.1",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nConnection: x-one, X-TWO\r\nX-Two: 2\r\nX-Three: 3\r\nX-Two: 4\r\n\r\n",
        &[Forwarded::get("/").with(&[("X-Three", "3")]).without(&["x-one", "x-two", "connection"])],
    ),
    RequestCase::served(
        "Connection in several fields",
        "9110 §7.6.1",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x-one\r\nX-One: 1\r\nConnection: ,, keep-alive ,x-two\r\nX-Two: 2\r\n\r\n",
        &[Forwarded::get("/").without(&["x-one", "x-two", "connection"])],
    ),
    RequestCase::served(
        "Connection cannot take the framing away",
        "9110 §7.6.1, hop-by-hop abuse",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: Content-Length\r\n\r\nhello",
        &[Forwarded::post(Body::Length(5), b"hello")],
    ),
    RequestCase::served(
        "Connection cannot take Transfer-Encoding away",
        "9110 §7.6.1, hop-by-hop abuse",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &[Forwarded::post(Body::Chunked, b"hello")],
    ),
    RequestCase::served(
        "Connection cannot take Host away",
        "9110 §7.6.1, hop-by-hop abuse",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Host\r\n\r\n",
        &[Forwarded::get("/")],
    ),
    RequestCase::bad("a Connection option that is no token", "9110 §7.6.1", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x y\r\n\r\n"),
    RequestCase::served_last(
        "close ends the connection",
        "9112 §9.6",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        &[Forwarded::get("/").without(&["connection"])],
    ),
    RequestCase::served_last(
        "close wins over keep-alive, in any case",
        "9112 §9.3",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive, CLOSE\r\n\r\n",
        &[Forwarded::get("/")],
    ),
    RequestCase::served_last(
        "nothing is read after close",
        "9112 §9.6",
        b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Forwarded::get("/1")],
    ),
    RequestCase::served_last(
        "HTTP/1.0 ends the connection",
        "9112 §9.3",
        b"GET /1 HTTP/1.0\r\nHost: a\r\n\r\nGET /2 HTTP/1.0\r\nHost: a\r\n\r\n",
        &[Forwarded::get("/1")],
    ),
    RequestCase::served(
        "HTTP/1.0 with keep-alive goes on",
        "9112 §C.2.2",
        b"GET /1 HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\nGET /2 HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n",
        &[Forwarded::get("/1"), Forwarded::get("/2")],
    ),
    RequestCase::served_last(
        "HTTP/1.0 with a body",
        "9112 §6.3",
        b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        &[Forwarded::post(Body::Length(5), b"hello")],
    ),
    RequestCase::served(
        "TE is sent on only for trailers",
        "9110 §10.1.4",
        b"GET / HTTP/1.1\r\nHost: a\r\nTE: gzip;q=0.5, trailers\r\nConnection: TE\r\n\r\n",
        &[Forwarded::get("/").with(&[("te", "trailers"), ("connection", "te")])],
    ),
    RequestCase::served(
        "TE without trailers is not sent on",
        "9110 §10.1.4",
        b"GET / HTTP/1.1\r\nHost: a\r\nTE: gzip\r\nConnection: TE\r\n\r\n",
        &[Forwarded::get("/").without(&["te", "connection"])],
    ),
    RequestCase::served(
        "an upgrade to h2c is not sent on",
        "9110 §7.8, h2c smuggling",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
        &[Forwarded::get("/").without(&["upgrade", "http2-settings", "connection"])],
    ),
    RequestCase::served(
        "HTTP2-Settings that Connection does not name",
        "9110 §7.8, h2c smuggling",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n",
        &[Forwarded::get("/").without(&["upgrade", "http2-settings", "connection"])],
    ),
    RequestCase::served(
        "Upgrade that Connection does not name",
        "9110 §7.8",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        &[Forwarded::get("/").without(&["upgrade", "connection"])],
    ),
    RequestCase::served_last(
        "an upgrade in HTTP/1.0 is ignored",
        "9110 §7.8",
        b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        &[Forwarded::get("/").without(&["upgrade", "connection"])],
    ),
    RequestCase::served(
        "an upgrade with a body is served without it",
        "9110 §7.8",
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello",
        &[Forwarded::post(Body::Length(5), b"hello").without(&["upgrade", "connection"])],
    ),
    RequestCase::served(
        "an upgrade to a WebSocket is sent on",
        "6455 §4.1",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        &[Forwarded::get("/").with(&[
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("connection", "upgrade"),
        ])],
    ),
    RequestCase::served_last(
        "HTTP/1.0 cannot expect 100-continue",
        "9110 §10.1.1",
        b"POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        &[Forwarded::post(Body::Length(5), b"hello").without(&["expect"])],
    ),
    RequestCase::served(
        "three pipelined requests keep their order",
        "9112 §9.3.2",
        b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
        &[
            Forwarded::get("/1"),
            Forwarded::post(Body::Length(5), b"hello"),
            Forwarded::get("/3"),
        ],
    ),
];
