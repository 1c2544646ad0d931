//! Clients that send what costs work and moves nothing, beside one that behaves.

use lateen_model::Protocol;

use crate::peers::{Client, Raw, Server, frame, get, literal, pseudo, soon, status};
use crate::translate::gateway;
use crate::world::run;

const ENHANCE_YOUR_CALM: u32 = 11;

/// Sends a flood, made for each round, until the connection takes no more; expects that it is closed
/// with `ENHANCE_YOUR_CALM` and that a second connection is served all the while.
fn is_closed(name: &'static str, most: u32, flood: fn(u32) -> Vec<u8>) {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut good = Client::new(world.client()).await;
        let (response, _) = good.open(get("/good"), true).await;
        let mut web = Server::new(world.upstream().await).await;
        tokio::task::spawn_local(async move {
            let mut held = Vec::new();
            loop {
                let (asked, mut respond) = web.request().await;
                if asked.uri().path() == "/good" {
                    let _ = respond.send_response(status(200), true);
                } else {
                    held.push((asked, respond));
                }
            }
        });
        assert_eq!(soon(response).await.expect("a response").status(), 200);
        let mut bad = Raw::new(world.client()).await;
        let mut sent = 0;
        let mut code = None;
        while code.is_none() && sent < most {
            if !bad.send(&flood(sent)).await {
                break;
            }
            sent += 1;
            if sent % 50 == 0 {
                let (response, _) = good.open(get("/good"), true).await;
                assert_eq!(soon(response).await.expect("a response").status(), 200);
                while let Some(Some((kind, _, _, payload))) = ready_frame(&mut bad).await {
                    if kind == 7 {
                        code = Some(u32::from_be_bytes(
                            payload[4..8].try_into().expect("a code"),
                        ));
                        break;
                    }
                }
            }
        }
        if code.is_none() {
            code = goaway(&mut bad).await;
        }
        assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{name} after {sent} rounds");
        let (response, _) = good.open(get("/good"), true).await;
        assert_eq!(soon(response).await.expect("a response").status(), 200);
    });
}

/// A frame, if one is there.
async fn ready_frame(raw: &mut Raw) -> Option<Option<(u8, u8, u32, Vec<u8>)>> {
    let wait = std::time::Duration::from_millis(1);
    tokio::time::timeout(wait, raw.next()).await.ok()
}

/// The code of the GOAWAY that comes.
async fn goaway(raw: &mut Raw) -> Option<u32> {
    while let Some((kind, _, _, payload)) = raw.next().await {
        let code = u32::from_be_bytes(payload.get(4..8)?.try_into().ok()?);
        if kind == 7 && code != 0 {
            return Some(code);
        }
    }
    None
}

fn headers(stream: u32, flags: u8) -> Vec<u8> {
    frame(1, flags, stream, &pseudo())
}

#[test]
fn pings() {
    is_closed("PING", 1000, |_| frame(6, 0, 0, &[0; 8]));
}

#[test]
fn settings() {
    is_closed("SETTINGS", 1000, |_| frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]));
}

#[test]
fn priorities() {
    is_closed("PRIORITY", 2000, |_| frame(2, 0, 1, &[0, 0, 0, 0, 1]));
}

#[test]
fn window_updates() {
    is_closed("WINDOW_UPDATE", 5000, |_| frame(8, 0, 0, &[0, 0, 0, 1]));
}

#[test]
fn unknown_frames() {
    is_closed("an unknown type", 1000, |_| frame(0xbe, 0, 0, &[0; 8]));
}

#[test]
fn rapid_resets() {
    is_closed("RST_STREAM", 2000, |round| {
        let stream = 2 * round + 1;
        [headers(stream, 5), frame(3, 0, stream, &[0, 0, 0, 8])].concat()
    });
}

#[test]
fn resets_that_the_server_is_made_to_send() {
    // A window beyond 2^31-1 makes the receiver reset the stream (CVE-2025-8671).
    is_closed("made resets", 2000, |round| {
        let stream = 2 * round + 1;
        [
            headers(stream, 4),
            frame(8, 0, stream, &[0x7f, 0xff, 0xff, 0xff]),
        ]
        .concat()
    });
}

#[test]
fn empty_data() {
    is_closed("empty DATA", 1000, |round| {
        let data = frame(0, 0, 1, &[]);
        match round {
            0 => [headers(1, 4), data].concat(),
            _ => data,
        }
    });
}

#[test]
fn continuations_without_end() {
    is_closed("CONTINUATION", 2000, |round| match round {
        0 => frame(1, 1, 1, &pseudo()),
        _ => frame(9, 0, 1, &literal("a", &[b'x'; 100])),
    });
}

#[test]
fn heads_that_grow_when_they_are_decompressed() {
    // One field of 4,000 bytes in the table, then thousands of references of one byte each.
    is_closed("an HPACK bomb", 200, |round| {
        let mut block = pseudo();
        if round == 0 {
            block.extend_from_slice(&[0x40, 1, b'a', 0x7f, 0xa1, 0x1e]);
            block.extend_from_slice(&[b'x'; 4000]);
        } else {
            block.extend_from_slice(&[0xbe; 12_000]);
        }
        frame(1, 5, 2 * round + 1, &block)
    });
}

#[test]
fn a_head_above_the_limit_is_answered_431() {
    run(async || {
        let world = gateway(Protocol::Http);
        let mut client = Client::new(world.client()).await;
        let mut long = get("/");
        for index in 0..7 {
            let name = http::HeaderName::try_from(format!("x-{index}")).expect("a name");
            let value = "v".repeat(10_000).parse().expect("a value");
            long.headers_mut().insert(name, value);
        }
        let (response, _) = client.open(long, true).await;
        assert_eq!(soon(response).await.expect("a response").status(), 431);
        let mut many = get("/");
        for index in 0..120 {
            let name = http::HeaderName::try_from(format!("x-{index}")).expect("a name");
            many.headers_mut()
                .insert(name, "v".parse().expect("a value"));
        }
        let (response, _) = client.open(many, true).await;
        assert_eq!(soon(response).await.expect("a response").status(), 431);
        assert_eq!(world.dialled(), 0);
    });
}

#[test]
fn no_more_streams_than_the_limit_are_served_at_once() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut raw = Raw::new(world.client()).await;
        for index in 0..1001 {
            assert!(raw.send(&headers(2 * index + 1, 4)).await);
        }
        // REFUSED_STREAM
        assert_eq!(raw.refusal().await, 7);
    });
}
