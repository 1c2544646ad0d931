//! Requests that are no requests: refused, and never sent on.

use lateen_model::Protocol;

use crate::peers::{Client, Raw, frame, literal, soon};
use crate::translate::gateway;
use crate::world::{World, run};

/// `PROTOCOL_ERROR`.
const PROTOCOL_ERROR: u32 = 1;

type Fields = &'static [(&'static str, &'static [u8])];

const GET: Fields = &[
    (":method", b"GET"),
    (":scheme", b"http"),
    (":path", b"/"),
    (":authority", b"shop"),
];

fn block(fields: &[&[(&str, &[u8])]]) -> Vec<u8> {
    let fields = fields.iter().flat_map(|part| part.iter());
    fields
        .flat_map(|(name, value)| literal(name, value))
        .collect()
}

async fn refused(world: &World, name: &str, frames: &[u8]) {
    let mut raw = Raw::new(world.client()).await;
    raw.send(frames).await;
    assert_eq!(raw.refusal().await, PROTOCOL_ERROR, "{name}");
}

/// Heads that break a rule, by its name.
const HEADS: &[(&str, &[Fields])] = &[
    ("uppercase", &[GET, &[("X-A", b"1")]]),
    ("connection", &[GET, &[("connection", b"close")]]),
    ("keep-alive", &[GET, &[("keep-alive", b"1")]]),
    (
        "proxy-connection",
        &[GET, &[("proxy-connection", b"close")]],
    ),
    (
        "transfer-encoding",
        &[GET, &[("transfer-encoding", b"chunked")]],
    ),
    ("upgrade", &[GET, &[("upgrade", b"websocket")]]),
    ("te", &[GET, &[("te", b"gzip")]]),
    ("second path", &[GET, &[(":path", b"/b")]]),
    ("late pseudo header", &[&[("a", b"b")], GET]),
    ("unknown pseudo header", &[GET, &[(":who", b"me")]]),
    ("response's pseudo header", &[GET, &[(":status", b"200")]]),
    ("no pseudo header", &[&[("host", b"shop")]]),
    (
        "no path",
        &[&[
            (":method", b"GET"),
            (":scheme", b"http"),
            (":authority", b"a"),
        ]],
    ),
    (
        "no path, host alone",
        &[&[(":method", b"GET"), (":scheme", b"http"), ("host", b"a")]],
    ),
    (
        "empty path",
        &[&[
            (":method", b"GET"),
            (":scheme", b"http"),
            (":path", b""),
            (":authority", b"a"),
        ]],
    ),
    (
        "no method",
        &[&[(":scheme", b"http"), (":path", b"/"), (":authority", b"a")]],
    ),
    (
        "no scheme",
        &[&[(":method", b"GET"), (":path", b"/"), (":authority", b"a")]],
    ),
    (
        "foreign scheme",
        &[&[
            (":method", b"GET"),
            (":scheme", b"ftp"),
            (":path", b"/"),
            (":authority", b"a"),
        ]],
    ),
    (
        "absolute path",
        &[&[
            (":method", b"GET"),
            (":scheme", b"http"),
            (":path", b"http://b/"),
            (":authority", b"a"),
        ]],
    ),
    (
        "path without a slash",
        &[&[
            (":method", b"GET"),
            (":scheme", b"http"),
            (":path", b"abc"),
            (":authority", b"a"),
        ]],
    ),
    (
        "asterisk of a GET",
        &[&[
            (":method", b"GET"),
            (":scheme", b"http"),
            (":path", b"*"),
            (":authority", b"a"),
        ]],
    ),
    (
        "space in the path",
        &[&[
            (":method", b"GET"),
            (":scheme", b"http"),
            (":path", b"/a HTTP/1.1"),
            (":authority", b"a"),
        ]],
    ),
    (
        "line end in the path",
        &[&[
            (":method", b"GET"),
            (":scheme", b"http"),
            (":path", b"/\r\nx: y"),
            (":authority", b"a"),
        ]],
    ),
    (
        "line end in the authority",
        &[&[
            (":method", b"GET"),
            (":scheme", b"http"),
            (":path", b"/"),
            (":authority", b"a\r\nx: y"),
        ]],
    ),
    (
        "line end in the method",
        &[&[
            (":method", b"GET / HTTP/1.1\r\n"),
            (":scheme", b"http"),
            (":path", b"/"),
            (":authority", b"a"),
        ]],
    ),
    (
        "line end in a value",
        &[GET, &[("x-a", b"1\r\ntransfer-encoding: chunked")]],
    ),
    ("line feed in a value", &[GET, &[("x-a", b"1\nb: c")]]),
    ("NUL in a value", &[GET, &[("x-a", b"1\0")]]),
    ("colon in a name", &[GET, &[("x-a:b", b"1")]]),
    ("space in a name", &[GET, &[("x a", b"1")]]),
    ("white space before a value", &[GET, &[("x-a", b" 1")]]),
    ("white space after a value", &[GET, &[("x-a", b"1\t")]]),
    ("another host", &[GET, &[("host", b"elsewhere")]]),
    (
        "one host of two",
        &[GET, &[("host", b"shop"), ("host", b"elsewhere")]],
    ),
    (
        "a length that is none",
        &[GET, &[("content-length", b"1x")]],
    ),
    (
        "a length without a body",
        &[GET, &[("content-length", b"5")]],
    ),
    (
        "line end in the protocol",
        &[&[
            (":method", b"CONNECT"),
            (":protocol", b"websocket\r\nx-a: b"),
            (":scheme", b"http"),
            (":path", b"/"),
            (":authority", b"a"),
        ]],
    ),
    (
        "a protocol of a GET",
        &[GET, &[(":protocol", b"websocket")]],
    ),
];

#[test]
fn heads_that_break_a_rule_reset_their_stream() {
    run(async || {
        let world = gateway(Protocol::Http);
        for (name, fields) in HEADS {
            refused(&world, name, &frame(1, 5, 1, &block(fields))).await;
        }
        assert_eq!(world.dialled(), 0);
    });
}

#[test]
fn bodies_that_break_a_rule_reset_their_stream() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let head = |length: &[u8]| block(&[GET, &[("content-length", length)]]);
        for (name, length, body) in [
            ("more than its length", &b"3"[..], &b"four"[..]),
            ("less than its length", b"5", b"four"),
        ] {
            let fields = frame(1, 4, 1, &head(length));
            let data = frame(0, 1, 1, body);
            refused(&world, name, &[fields, data].concat()).await;
        }
    });
}

#[test]
fn pseudo_headers_among_trailers_go_no_further() {
    run(async || {
        let world = gateway(Protocol::Http);
        let mut raw = Raw::new(world.client()).await;
        let head = frame(1, 4, 1, &block(&[GET]));
        let trailers = [literal(":path", b"/evil"), literal("x-sum", b"7")].concat();
        raw.send(&[head, frame(1, 5, 1, &trailers)].concat()).await;
        let mut web = world.upstream().await;
        let head = web.hear_head().await;
        assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
        web.hear("0\r\nx-sum: 7\r\n\r\n").await;
    });
}

#[test]
fn what_only_http1_forbids_is_answered_400() {
    run(async || {
        let world = gateway(Protocol::Http);
        let mut client = Client::new(world.client()).await;
        let asked = http::Request::builder().uri("http://user@shop/").body(());
        let (response, _) = client.open(asked.expect("a request"), true).await;
        assert_eq!(soon(response).await.expect("a response").status(), 400);
        assert_eq!(world.dialled(), 0);
    });
}

#[test]
fn an_upstream_that_breaks_a_rule_is_a_protocol_error() {
    run(async || {
        let world = gateway(Protocol::Http2);
        for fields in [
            block(&[&[(":status", b"200"), ("connection", b"close")]]),
            block(&[&[("x", b"no status")]]),
            block(&[&[(":status", b"200"), ("x-a", b"1\r\nb: c")]]),
        ] {
            let mut client = world.client();
            client.say("GET / HTTP/1.1\r\nHost: shop\r\n\r\n").await;
            let mut web = world.upstream().await;
            web.say(frame(4, 0, 0, &[])).await;
            web.say(frame(1, 5, 1, &fields)).await;
            let head = client.hear_head().await;
            assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
            drop(web);
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let labels = [("response_code", "502"), ("response_flags", "UPE")];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(3));
    });
}
