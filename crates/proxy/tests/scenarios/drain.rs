//! What clients see of a proxy that is about to end.

use lateen_proxy::worker::Phase;

use crate::world::{World, has_line, run};

#[test]
fn inbound_connections_are_asked_to_go_and_outbound_ones_serve_on() {
    run(async || {
        let mut world = World::sidecar();
        world.service("web", lateen_model::Protocol::Http, &["10.0.1.1"]);
        world.worker.enter(Phase::Draining);
        let mut caller = world.caller(8080);
        caller.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut app = world.upstream().await;
        app.hear_head().await;
        app.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await;
        let head = caller.hear_message("ok").await;
        assert!(has_line(&head, "connection: close"), "{head}");
        caller.hear_end().await;
        let mut application = world.application("10.96.0.3:80");
        for _ in 0..2 {
            application.say("GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
            if world.dialled() == 1 {
                let mut web = world.upstream().await;
                web.hear_head().await;
                web.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .await;
                let head = application.hear_head().await;
                assert!(!has_line(&head, "connection: close"), "{head}");
            }
        }
    });
}
