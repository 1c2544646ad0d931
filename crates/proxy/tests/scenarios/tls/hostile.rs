//! Clients that break the rules of TLS, or never come to the point.

use std::time::Duration;

use lateen_certificates::Authority;
use lateen_model::http::{DirectResponse, HttpAction, HttpRule};
use lateen_proxy::settings::Timeouts;
use lateen_wire::tls::session::MAX_RECORD;
use rustls::version::TLS12;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{get, https, plain, put, shake, world};
use crate::certificates;
use crate::world::{World, run};

fn secure() -> (Authority, World) {
    let authority = Authority::new("root");
    let mut world = world(vec![https(&["*"])]);
    put(&mut world, "credential", &authority.sign(&["shop.example"]));
    (authority, world)
}

/// A record of this type.
fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("short").to_be_bytes();
    [&[kind, 3, 3][..], &length, payload].concat()
}

#[test]
fn garbage_instead_of_a_handshake_is_closed() {
    run(|| async {
        let (authority, world) = secure();
        for garbage in [
            b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec(),
            record(22, &[1, 0, 0, 4, 9, 9, 9, 9]),
            record(22, &[2, 0, 0, 1, 0]),
            record(23, b"no handshake"),
            vec![0x16, 3, 1, 0xff, 0xff, 1],
        ] {
            let mut client = world.secure_client();
            client.say(&garbage).await;
            client.stream.shutdown().await.expect("an end");
            let mut rest = Vec::new();
            // An alert may come first.
            client.stream.read_to_end(&mut rest).await.expect("an end");
            assert!(rest.len() < 16, "{rest:?}");
        }
        let mut client = shake(&world, &plain(&authority), "shop.example")
            .await
            .expect("TLS");
        get(&world, &mut client, "shop.example").await;
    });
}

#[test]
fn garbage_after_the_hello_is_closed_with_an_alert() {
    run(|| async {
        let (authority, world) = secure();
        let name = "shop.example".try_into().expect("a name");
        let config = plain(&authority);
        let mut peer = rustls::ClientConnection::new(config, name).expect("a client");
        let mut hello = Vec::new();
        peer.write_tls(&mut hello).expect("written");
        let mut client = world.secure_client();
        client.say(&hello).await;
        client.say(record(23, &[7; 100])).await;
        let mut rest = Vec::new();
        client.stream.read_to_end(&mut rest).await.expect("an end");
        assert!(!rest.is_empty());
    });
}

#[test]
fn half_a_handshake_message_and_then_garbage_is_closed_with_an_alert() {
    run(|| async {
        let (authority, world) = secure();
        // TLS 1.2, whose messages are in plaintext for longer.
        let config = certificates::client(&authority, None, &[&TLS12], &[]);
        let name = "shop.example".try_into().expect("a name");
        let mut peer = rustls::ClientConnection::new(config, name).expect("a client");
        let mut hello = Vec::new();
        peer.write_tls(&mut hello).expect("written");
        let mut client = world.secure_client();
        client.say(&hello).await;
        client.say(record(22, &[16, 0, 0, 70, 1, 2, 3])).await;
        client.say(record(99, &[0])).await;
        let mut rest = Vec::new();
        client.stream.read_to_end(&mut rest).await.expect("an end");
        let (_, alert) = rest.split_at(rest.len() - 7);
        assert_eq!(alert[..6], [21, 3, 3, 0, 2, 2], "a fatal alert");
        let mut client = shake(&world, &plain(&authority), "shop.example")
            .await
            .expect("TLS");
        get(&world, &mut client, "shop.example").await;
    });
}

#[test]
fn a_handshake_that_stands_still_ends_in_time() {
    run(|| async {
        let (authority, world) = secure();
        let name = "shop.example".try_into().expect("a name");
        let mut peer = rustls::ClientConnection::new(plain(&authority), name).expect("a client");
        let mut hello = Vec::new();
        peer.write_tls(&mut hello).expect("written");
        for part in [&hello[..40], &hello[..]] {
            let mut client = world.secure_client();
            client.say(part).await;
            let mut rest = Vec::new();
            let limit = Duration::from_secs(120);
            let read = tokio::time::timeout(limit, client.stream.read_to_end(&mut rest));
            read.await
                .expect("the connection stays open")
                .expect("an end");
        }
    });
}

#[test]
fn a_handshake_has_a_limit_of_bytes() {
    run(|| async {
        let (authority, world) = secure();
        let name = "shop.example".try_into().expect("a name");
        let mut peer = rustls::ClientConnection::new(plain(&authority), name).expect("a client");
        let mut hello = Vec::new();
        peer.write_tls(&mut hello).expect("written");
        let mut client = world.secure_client();
        client.say(&hello).await;
        // The compatibility message of TLS 1.3, again and again.
        let flood = record(20, &[1]).repeat(MAX_RECORD);
        let _ = tokio::time::timeout(Duration::from_secs(5), client.stream.write_all(&flood)).await;
        let mut rest = Vec::new();
        let _ = client.stream.read_to_end(&mut rest).await;
        assert!(rest.len() < 8 * 1024, "{} bytes", rest.len());
        let mut client = shake(&world, &plain(&authority), "shop.example")
            .await
            .expect("TLS");
        get(&world, &mut client, "shop.example").await;
    });
}

#[test]
fn a_client_that_reads_slowly_gets_everything() {
    run(|| async {
        let (authority, world) = secure();
        let mut client = shake(&world, &plain(&authority), "shop.example")
            .await
            .expect("TLS");
        client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut upstream = world.upstream().await;
        upstream.hear_head().await;
        // More than the connection holds, then silence: what TLS keeps back must come all the same.
        let body = "x".repeat(200_000);
        let serve = async {
            upstream
                .say(format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: 200001\r\n\r\n{body}"
                ))
                .await;
        };
        let ask = async {
            client.hear_head().await;
            client.hear(&body).await;
        };
        tokio::join!(serve, ask);
        upstream.say("y").await;
        client.hear("y").await;
    });
}

#[test]
fn an_answer_before_the_end_says_farewell() {
    run(|| async {
        let (authority, world) = secure();
        let mut client = shake(&world, &plain(&authority), "shop.example")
            .await
            .expect("TLS");
        client
            .say("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await;
        world.upstream().await.serve(crate::world::OK).await;
        client.hear_message("ok").await;
        // The client's library takes an end without the farewell for an error.
        client.hear_end().await;
    });
}

#[test]
fn a_hello_that_comes_byte_by_byte_has_no_more_time() {
    run(|| async {
        let (authority, world) = secure();
        let name = "shop.example".try_into().expect("a name");
        let mut peer = rustls::ClientConnection::new(plain(&authority), name).expect("a client");
        let mut hello = Vec::new();
        peer.write_tls(&mut hello).expect("written");
        let mut client = world.secure_client();
        let pause = Timeouts::default().head / 4;
        let mut taken = 0;
        for byte in &hello {
            if client.stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            taken += 1;
            tokio::time::sleep(pause).await;
        }
        assert!(
            taken < 8,
            "{taken} of {} bytes were waited for",
            hello.len()
        );
    });
}

#[test]
fn a_client_that_does_not_read_the_end_is_left() {
    run(|| async {
        let (authority, mut world) = secure();
        let action = HttpAction::DirectResponse(DirectResponse {
            status: 200,
            // More than the connection holds, and less than that and what TLS keeps.
            body: vec![b'x'; 65_200],
        });
        world.apply(crate::resources::rules(vec![HttpRule::new(action)]));
        let mut client = shake(&world, &plain(&authority), "shop.example")
            .await
            .expect("TLS");
        client
            .say("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(world.worker.activity.connections.get(), 0);
    });
}
