//! Connections to upstreams: how many there are, and when they end.

use std::time::Duration;

use lateen_model::Protocol;
use lateen_model::pool::{H2Keepalive, HttpPool, TcpPool};

use crate::peers::{Client, Server, get, piece, request, say, soon, status};
use crate::resources::{self, pools};
use crate::translate::gateway;
use crate::world::{World, run};

#[test]
fn requests_that_come_while_it_is_dialled_share_the_connection() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = world.client();
            client.say("GET / HTTP/1.1\r\nHost: shop\r\n\r\n").await;
            clients.push(client);
        }
        let mut web = Server::new(world.upstream().await).await;
        for _ in 0..20 {
            let (_asked, mut respond) = web.request().await;
            respond.send_response(status(200), true).expect("response");
        }
        for client in &mut clients {
            assert!(client.hear_head().await.starts_with("HTTP/1.1 200 "));
        }
        assert_eq!(world.dialled(), 1);
    });
}

#[test]
fn another_connection_is_opened_when_the_upstreams_limit_is_reached() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = Client::new(world.client()).await;
        let (first, _) = client.open(get("/"), true).await;
        let mut builder = h2::server::Builder::new();
        builder.max_concurrent_streams(2);
        let mut web = Server::with(world.upstream().await, &builder).await;
        let (_asked, mut respond) = web.request().await;
        respond.send_response(status(200), true).expect("response");
        soon(first).await.expect("a response");
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(client.open(get("/"), true).await);
            let (asked, respond) = web.request().await;
            held_open(asked, respond);
        }
        held.push(client.open(get("/"), true).await);
        let mut other = Server::with(world.upstream().await, &builder).await;
        let (_asked, mut respond) = other.request().await;
        respond.send_response(status(200), true).expect("response");
        assert_eq!(world.dialled(), 2);
    });
}

/// A gateway whose policy for the service has these limits.
fn limited(http: HttpPool) -> World {
    let mut world = gateway(Protocol::Http2);
    world.policy("web", pools(TcpPool::default(), http));
    world
}

#[test]
fn a_policy_limits_the_streams_of_a_connection_at_once() {
    run(async || {
        let world = limited(HttpPool {
            max_concurrent_streams: Some(1),
            ..HttpPool::default()
        });
        let mut client = Client::new(world.client()).await;
        let (_first, _) = client.open(get("/1"), true).await;
        let mut web = Server::new(world.upstream().await).await;
        let (asked, respond) = web.request().await;
        held_open(asked, respond);
        let (second, _) = client.open(get("/2"), true).await;
        let mut other = Server::new(world.upstream().await).await;
        let (_asked, mut respond) = other.request().await;
        respond.send_response(status(200), true).expect("response");
        assert_eq!(soon(second).await.expect("a response").status(), 200);
        assert_eq!(world.dialled(), 2);
    });
}

#[test]
fn a_policy_limits_the_requests_of_a_connection() {
    run(async || {
        let world = limited(HttpPool {
            max_requests_per_connection: Some(2),
            ..HttpPool::default()
        });
        let mut client = Client::new(world.client()).await;
        for _ in 0..2 {
            let mut web = None;
            for _ in 0..2 {
                let (response, _) = client.open(get("/"), true).await;
                if web.is_none() {
                    web = Some(Server::new(world.upstream().await).await);
                }
                let (_asked, mut respond) = web.as_mut().expect("dialled").request().await;
                respond.send_response(status(200), true).expect("response");
                assert_eq!(soon(response).await.expect("a response").status(), 200);
            }
        }
        assert_eq!(world.dialled(), 2);
    });
}

#[test]
fn a_policy_says_how_soon_an_upstream_that_vanished_is_noticed() {
    run(async || {
        let world = limited(HttpPool {
            h2_keepalive: Some(H2Keepalive {
                interval: Duration::from_secs(5),
                timeout: Duration::from_secs(1),
            }),
            ..HttpPool::default()
        });
        let mut client = world.client();
        client
            .say("POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n")
            .await;
        let web = world.upstream().await;
        tokio::time::sleep(Duration::from_secs(7)).await;
        let head = client.hear_head().await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        drop(web);
    });
}

/// Keeps a stream open to the end of the test.
fn held_open(
    asked: http::Request<h2::RecvStream>,
    respond: h2::server::SendResponse<bytes::Bytes>,
) {
    tokio::task::spawn_local(async move {
        std::future::pending::<()>().await;
        drop((asked, respond));
    });
}

#[test]
fn an_upstream_that_cannot_be_reached_fails_all_who_wait_for_it() {
    run(async || {
        let world = gateway(Protocol::Http2);
        world.refuse("10.0.1.1:9080");
        let mut client = Client::new(world.client()).await;
        let mut answers = Vec::new();
        for _ in 0..5 {
            answers.push(client.open(get("/"), true).await.0);
        }
        for answer in answers {
            assert_eq!(soon(answer).await.expect("a response").status(), 503);
        }
        let labels = [("response_code", "503"), ("response_flags", "UF,URX")];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(5));
    });
}

#[test]
fn a_connection_that_says_goaway_gets_no_more_requests_and_finishes_those_it_has() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = Client::new(world.client()).await;
        let (first, _) = client.open(get("/1"), true).await;
        let mut web = Server::new(world.upstream().await).await;
        let (_asked, mut respond) = web.request().await;
        web.go_away();
        tokio::time::sleep(Duration::from_millis(10)).await;
        let (second, _) = client.open(request("POST", "/2"), true).await;
        let mut next = Server::new(world.upstream().await).await;
        let (asked, mut respond_next) = next.request().await;
        assert_eq!(asked.uri().path(), "/2");
        respond_next
            .send_response(status(201), true)
            .expect("response");
        assert_eq!(soon(second).await.expect("a response").status(), 201);
        respond.send_response(status(200), true).expect("response");
        assert_eq!(soon(first).await.expect("a response").status(), 200);
    });
}

#[test]
fn an_upstream_that_vanished_is_noticed() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = world.client();
        client.say("GET / HTTP/1.1\r\nHost: shop\r\n\r\n").await;
        // It takes every byte and never says one.
        let web = world.upstream().await;
        tokio::time::sleep(Duration::from_secs(340)).await;
        let head = client.hear_head().await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        drop(web);
    });
}

#[test]
fn an_upstream_that_answers_pings_may_take_its_time() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = Client::new(world.client()).await;
        let (response, mut up) = client.open(request("POST", "/"), false).await;
        say(&mut up, "x", false);
        let mut web = Server::new(world.upstream().await).await;
        let (mut asked, mut respond) = web.request().await;
        assert_eq!(piece(asked.body_mut()).await, "x");
        tokio::time::sleep(Duration::from_secs(1200)).await;
        respond.send_response(status(200), true).expect("response");
        assert_eq!(soon(response).await.expect("a response").status(), 200);
        assert_eq!(world.dialled(), 1);
    });
}

#[test]
fn an_idle_connection_is_closed_in_order() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = Client::new(world.client()).await;
        let (response, _) = client.open(get("/"), true).await;
        let mut web = Server::new(world.upstream().await).await;
        let (_asked, mut respond) = web.request().await;
        respond.send_response(status(200), true).expect("response");
        soon(response).await.expect("a response");
        world.worker.tick();
        assert_eq!(world.worker.pools.len(), 1);
        tokio::time::sleep(world.worker.profile.timeouts.upstream_idle).await;
        world.worker.tick();
        assert_eq!(world.worker.pools.len(), 0);
        web.hears_nothing().await;
    });
}

#[test]
fn a_response_whose_end_is_a_frame_behind_is_not_cancelled() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = world.client();
        client.say("GET / HTTP/1.1\r\nHost: shop\r\n\r\n").await;
        let mut web = Server::new(world.upstream().await).await;
        let (_asked, mut respond) = web.request().await;
        let mut head = status(200);
        head.headers_mut().insert("content-length", 5.into());
        let mut body = respond.send_response(head, false).expect("response");
        say(&mut body, "hello", false);
        client.hear_message("hello").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        say(&mut body, "", true);
        let reset = tokio::time::timeout(Duration::from_secs(2), crate::peers::reset(&mut body));
        assert_ne!(reset.await, Ok(Some(h2::Reason::CANCEL)));
    });
}

#[test]
fn a_policy_limits_the_streams_to_its_own_workload() {
    run(async || {
        let mut world = World::sidecar();
        world.apply(resources::service("app", Protocol::Http2));
        let http = HttpPool {
            max_requests: Some(2),
            max_concurrent_streams: Some(1),
            ..HttpPool::default()
        };
        world.policy("app", pools(TcpPool::default(), http));
        let mut client = Client::new(world.caller(9000)).await;
        let mut held = Vec::new();
        let mut apps = Vec::new();
        for _ in 0..2 {
            held.push(client.open(get("/"), true).await);
            let mut app = Server::new(world.upstream().await).await;
            let (asked, respond) = app.request().await;
            held_open(asked, respond);
            apps.push(app);
        }
        let (third, _) = client.open(get("/"), true).await;
        let response = soon(third).await.expect("a response");
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["x-envoy-overloaded"], "true");
        assert_eq!(world.dialled(), 2);
    });
}
