//! What is not HTTP, and how that is found out.

use std::time::Duration;

use lateen_model::Protocol;
use lateen_proxy::settings::Timeouts;

use crate::world::{World, run};

#[test]
fn a_declared_tcp_port_is_dialled_at_once_and_carries_anything() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(7000);
        let mut app = world.upstream().await;
        app.say("220 hello\r\n").await;
        caller.hear("220 hello\r\n").await;
        caller.say("GET / HTTP/1.1\r\n\r\n").await;
        app.hear("GET / HTTP/1.1\r\n\r\n").await;
        drop(caller);
        app.hear_end().await;
        drop(app);
        tokio::task::yield_now().await;
        let labels = [("reporter", "destination"), ("request_protocol", "tcp")];
        assert_eq!(
            world.metric("istio_tcp_connections_opened_total", &labels),
            Some(1)
        );
        assert_eq!(
            world.metric("istio_tcp_sent_bytes_total", &labels),
            Some(11)
        );
        assert_eq!(
            world.metric("istio_tcp_received_bytes_total", &labels),
            Some(18)
        );
    });
}

#[test]
fn an_undeclared_port_serves_http() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(9000);
        caller.say("GE").await;
        tokio::task::yield_now().await;
        caller.say("T / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut app = world.upstream().await;
        assert!(app.hear_head().await.contains("x-request-id"));
        app.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        caller.hear_head().await;
    });
}

#[test]
fn on_a_silent_undeclared_port_a_server_may_speak_first() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(9000);
        let mut app = world.upstream().await;
        app.say("* OK ready\r\n").await;
        caller.hear("* OK ready\r\n").await;
        caller.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        app.hear("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    });
}

#[test]
fn on_a_silent_undeclared_port_a_late_request_is_still_http() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(9000);
        // The upstream is dialled after the silence, and says nothing.
        let mut app = world.upstream().await;
        app.hear_nothing().await;
        caller.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(app.hear_head().await.contains("x-request-id"));
        app.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        caller.hear_head().await;
        assert_eq!(
            world.dialled(),
            1,
            "the connection that was dialled is used"
        );
    });
}

#[test]
fn bytes_of_another_protocol_are_carried_on_an_undeclared_port() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(9000);
        caller.say("\0\x01binary").await;
        let mut app = world.upstream().await;
        app.hear("\0\x01binary").await;
        app.say("reply").await;
        caller.hear("reply").await;
    });
}

#[test]
fn outbound_requests_are_routed_by_their_destination() {
    run(async || {
        let mut world = World::sidecar();
        world.service("web", Protocol::Http, &["10.0.1.1", "10.0.1.2"]);
        let mut application = world.application("10.96.0.3:80");
        application.say("GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
        let mut web = world.upstream().await;
        assert!(
            web.address.to_string().starts_with("10.0.1."),
            "{}",
            web.address
        );
        web.hear_head().await;
        web.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        application.hear_head().await;
        let labels = [
            ("reporter", "source"),
            ("destination_service_name", "web"),
            ("response_code", "200"),
        ];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
    });
}

#[test]
fn unknown_destinations_are_passed_through() {
    run(async || {
        let mut world = World::sidecar();
        world.service("web", Protocol::Http, &["10.0.1.1"]);
        let mut application = world.application("203.0.113.9:80");
        application
            .say("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
            .await;
        let mut there = world.upstream().await;
        assert_eq!(there.address.to_string(), "203.0.113.9:80");
        there.hear_head().await;
        there
            .say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        application.hear_head().await;
        let labels = [
            ("destination_service_name", "PassthroughCluster"),
            ("destination_service", "example.com"),
        ];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
    });
}

#[test]
fn an_upstream_that_refuses_bytes_resets_the_client() {
    run(async || {
        let world = World::sidecar();
        world.refuse("10.0.0.1:7000");
        let mut caller = world.caller(7000);
        caller.hear_end().await;
        let labels = [("response_flags", "UF"), ("request_protocol", "tcp")];
        assert_eq!(
            world.metric("istio_tcp_connections_opened_total", &labels),
            Some(1)
        );
    });
}

#[test]
fn on_a_silent_undeclared_port_silence_has_an_end() {
    run(async || {
        let world = World::sidecar();
        let _caller = world.caller(9000);
        let mut app = world.upstream().await;
        let idle = Timeouts::default().tcp_idle;
        let second = Duration::from_secs(1);
        app.hear_nothing_for(idle.saturating_sub(second)).await;
        tokio::time::sleep(2 * second).await;
        app.hear_end().await;
        assert_eq!(world.worker.activity.connections.get(), 0);
    });
}
