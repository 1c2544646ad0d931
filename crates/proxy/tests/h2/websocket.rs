//! WebSocket: over extended CONNECT (RFC 8441), over an HTTP/1.1 upgrade, and from one to the other.

use std::time::Duration;

use h2::ext::Protocol as Upgrade;
use http::Request;
use lateen_model::Protocol;

use crate::peers::{Client, Server, get, piece, read, say, soon, status};
use crate::translate::gateway;
use crate::world::{World, field, has_line, run};

/// The example of RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn connect() -> Request<()> {
    Request::builder()
        .method("CONNECT")
        .uri("http://shop/chat")
        .extension(Upgrade::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .body(())
        .expect("a request")
}

/// A client that knows that the gateway takes extended CONNECT.
async fn client(world: &World) -> Client {
    let client = Client::new(world.client()).await;
    while !client.send.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    client
}

#[test]
fn a_client_of_http2_talks_to_an_upstream_of_http1() {
    run(async || {
        let world = gateway(Protocol::Http);
        let mut client = client(&world).await;
        let (response, mut up) = client.open(connect(), false).await;
        let mut web = world.upstream().await;
        let head = web.hear_head().await;
        assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
        assert!(has_line(&head, "upgrade: websocket"), "{head}");
        assert!(has_line(&head, "connection: upgrade"), "{head}");
        assert!(has_line(&head, "sec-websocket-version: 13"), "{head}");
        let key = field(&head, "sec-websocket-key").expect("a key");
        assert_eq!(key.len(), 24, "{head}");
        web.say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\nhi")
            .await;
        let mut response = soon(response).await.expect("a response");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
        for absent in ["sec-websocket-accept", "upgrade", "connection"] {
            assert!(!response.headers().contains_key(absent), "{absent}");
        }
        assert_eq!(piece(response.body_mut()).await, "hi");
        say(&mut up, "\u{1}ping", false);
        web.hear("\u{1}ping").await;
        web.say("pong").await;
        assert_eq!(piece(response.body_mut()).await, "pong");
        say(&mut up, "", true);
        web.hear_end().await;
        drop(web);
        assert_eq!(read(response.body_mut()).await, "");
    });
}

#[test]
fn an_upstream_that_does_not_switch_is_no_success() {
    run(async || {
        let world = gateway(Protocol::Http);
        let mut client = client(&world).await;
        for (answer, seen) in [("200 OK", 502), ("403 Forbidden", 403)] {
            let (response, _up) = client.open(connect(), false).await;
            let mut web = world.upstream().await;
            web.hear_head().await;
            web.say(format!(
                "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ))
            .await;
            assert_eq!(soon(response).await.expect("a response").status(), seen);
        }
    });
}

#[test]
fn what_follows_a_connect_that_is_refused_is_no_request() {
    run(async || {
        let world = gateway(Protocol::Http);
        let mut client = client(&world).await;
        let hidden = "GET /hidden HTTP/1.1\r\nhost: shop\r\n\r\n";
        let (response, mut up) = client.open(connect(), false).await;
        say(&mut up, hidden, false);
        let mut web = world.upstream().await;
        web.hear_head().await;
        web.say("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            .await;
        assert_eq!(soon(response).await.expect("a response").status(), 403);
        web.hear_nothing_for(Duration::from_secs(1)).await;
        // A CONNECT without a protocol is answered by the proxy.
        let tunnel = Request::connect("shop:80").body(()).expect("a request");
        let (response, mut up) = client.open(tunnel, false).await;
        say(&mut up, hidden, false);
        assert_eq!(soon(response).await.expect("a response").status(), 404);
        web.hear_nothing_for(Duration::from_secs(1)).await;
        assert_eq!(world.dialled(), 1);
    });
}

#[test]
fn a_client_of_http1_talks_to_an_upstream_of_http2() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = world.client();
        client
            .say(format!("GET /chat HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"))
            .await;
        let mut web = Server::new(world.upstream().await).await;
        let (mut asked, mut respond) = web.request().await;
        assert_eq!(asked.method(), "CONNECT");
        let protocol = asked.extensions().get::<Upgrade>().expect("a protocol");
        assert_eq!(protocol.as_str(), "websocket");
        assert_eq!(asked.uri().to_string(), "http://shop/chat");
        assert!(!asked.headers().contains_key("sec-websocket-key"));
        let mut down = respond.send_response(status(200), false).expect("response");
        let head = client.hear_head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(
            has_line(&head, &format!("sec-websocket-accept: {ACCEPT}")),
            "{head}"
        );
        client.say("ping").await;
        assert_eq!(piece(asked.body_mut()).await, "ping");
        say(&mut down, "pong", true);
        client.hear("pong").await;
    });
}

#[test]
fn both_sides_may_speak_http2() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = client(&world).await;
        let (response, mut up) = client.open(connect(), false).await;
        let mut web = Server::new(world.upstream().await).await;
        let (mut asked, mut respond) = web.request().await;
        assert!(asked.extensions().get::<Upgrade>().is_some());
        let mut down = respond.send_response(status(200), false).expect("response");
        let mut response = soon(response).await.expect("a response");
        assert_eq!(response.status(), 200);
        say(&mut up, "ping", false);
        assert_eq!(piece(asked.body_mut()).await, "ping");
        say(&mut down, "pong", false);
        assert_eq!(piece(response.body_mut()).await, "pong");
        say(&mut up, "", true);
        assert_eq!(read(asked.body_mut()).await, "");
        say(&mut down, "bye", true);
        assert_eq!(read(response.body_mut()).await, "bye");
    });
}

#[test]
fn an_upstream_that_knows_no_extended_connect_is_a_protocol_error() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = client(&world).await;
        let (response, _up) = client.open(connect(), false).await;
        let builder = h2::server::Builder::new();
        let mut web = Server::with(world.upstream().await, &builder).await;
        assert_eq!(soon(response).await.expect("a response").status(), 502);
        web.hears_nothing().await;
    });
}

#[test]
fn an_upgrade_to_h2c_is_ignored() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = world.client();
        client
            .say("GET / HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
            .await;
        let mut web = Server::new(world.upstream().await).await;
        let (asked, mut respond) = web.request().await;
        assert_eq!(asked.method(), get("/").method());
        assert!(!asked.headers().contains_key("http2-settings"));
        respond.send_response(status(200), true).expect("response");
        assert!(client.hear_head().await.starts_with("HTTP/1.1 200 "));
    });
}
