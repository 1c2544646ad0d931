//! Clients that send what costs work and moves nothing, beside one that behaves.

use lateen_model::Protocol;
use lateen_wire::corpus::h2::{ENHANCE_YOUR_CALM, FLOODS, Flood, GOAWAY, PING};

use crate::peers::{Client, Raw, Server, frame, get, pseudo, soon, status};
use crate::translate::gateway;
use crate::world::run;

/// Sends a flood, made for each round, until the connection takes no more; expects that it is closed
/// with `ENHANCE_YOUR_CALM` and that a second connection is served all the while.
fn is_closed(flood: &'static Flood) {
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
        while code.is_none() && sent < flood.rounds {
            if !bad.send(&flood.round("shop", sent)).await {
                break;
            }
            sent += 1;
            if sent % 50 == 0 {
                let (response, _) = good.open(get("/good"), true).await;
                assert_eq!(soon(response).await.expect("a response").status(), 200);
                while let Some(Some((kind, _, _, payload))) = ready_frame(&mut bad).await {
                    if kind == GOAWAY {
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
        let name = flood.name;
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
        if kind != GOAWAY {
            continue;
        }
        let code = u32::from_be_bytes(payload.get(4..8)?.try_into().ok()?);
        if code != 0 {
            return Some(code);
        }
    }
    None
}

fn headers(stream: u32, flags: u8) -> Vec<u8> {
    frame(1, flags, stream, &pseudo())
}

#[test]
fn floods_are_told_to_calm_down_beside_a_client_that_is_served() {
    FLOODS.iter().for_each(is_closed);
}

#[test]
fn nothing_is_dialled_for_streams_that_are_reset_at_once() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let resets = |flood: &&Flood| flood.name.contains("resets");
        for flood in FLOODS.iter().filter(resets) {
            let mut raw = Raw::new(world.client()).await;
            let rounds = (0..10).flat_map(|round| flood.round("shop", round));
            let bytes = rounds.chain(frame(PING, 0, 0, &[1; 8]));
            assert!(raw.send(&bytes.collect::<Vec<_>>()).await);
            while raw.next().await.expect("an answer").0 != PING {}
        }
        assert_eq!(world.dialled(), 0);
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
