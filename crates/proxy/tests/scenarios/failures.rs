//! What goes wrong, and what the client is told.

use std::time::Duration;

use lateen_model::Protocol;
use lateen_model::proxy::Role;
use lateen_proxy::settings::Timeouts;

use crate::world::{World, field, has_line, run};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn an_upstream_that_cannot_be_reached_is_503() {
    run(async || {
        let world = World::sidecar();
        world.refuse("10.0.0.1:8080");
        let mut caller = world.caller(8080);
        caller.say(GET).await;
        let head = caller.hear_head().await;
        assert!(
            head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
            "{head}"
        );
        let length = field(&head, "content-length").expect("a length");
        assert_eq!(length, "91");
        let labels = [("response_code", "503"), ("response_flags", "UF,URX")];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
    });
}

#[test]
fn no_route_is_404_and_no_endpoint_503() {
    run(async || {
        let mut world = World::gateway();
        world
            .service("web", Protocol::Http, &[])
            .route_all_to("web");
        let mut client = world.client();
        client.say(GET).await;
        let head = client.hear_message("no healthy upstream").await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert_eq!(field(&head, "server"), Some("istio-envoy"));
        // The connection survives, and knows the plan of now.
        world.endpoints("web", &["10.0.1.1"]);
        client.say(GET).await;
        let mut web = world.upstream().await;
        web.hear_head().await;
        web.say(OK).await;
        client.hear_message("ok").await;
        let labels = [("response_code", "503"), ("response_flags", "UH")];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
    });
}

#[test]
fn a_host_that_no_route_has_is_404() {
    run(async || {
        let mut world = World::gateway();
        world.apply(crate::resources::gateway(8080));
        let mut client = world.client();
        client.say(GET).await;
        let head = client.hear_head().await;
        assert!(head.starts_with("HTTP/1.1 404"), "{head}");
        let labels = [("response_code", "404"), ("response_flags", "NR")];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
    });
}

#[test]
fn a_request_in_plain_text_is_redirected_where_the_gateway_says_so() {
    run(async || {
        let mut world = World::gateway();
        world
            .service("web", Protocol::Http, &["10.0.1.1"])
            .route_all_to("web");
        let mut gateway = crate::resources::gateway(8080);
        if let lateen_model::Body::Gateway(body) = &mut gateway.body {
            body.servers[0].https_redirect = true;
        }
        world.apply(gateway);
        let mut client = world.client();
        client
            .say("GET /a?b=c HTTP/1.1\r\nHost: shop.example:8080\r\n\r\n")
            .await;
        let head = client.hear_head().await;
        assert!(head.starts_with("HTTP/1.1 301"), "{head}");
        assert_eq!(field(&head, "location"), Some("https://shop.example/a?b=c"));
    });
}

#[test]
fn unregistered_destinations_are_refused_where_the_mesh_says_so() {
    run(async || {
        let mut world = World::sidecar();
        world.service("web", Protocol::Http, &["10.0.1.1"]);
        let mesh = lateen_model::mesh::Mesh {
            outbound_policy: lateen_model::mesh::OutboundPolicy::RegistryOnly,
            ..lateen_model::mesh::Mesh::default()
        };
        world.apply(crate::resources::named(
            "mesh",
            lateen_model::Body::Mesh(mesh),
        ));
        let mut application = world.application("203.0.113.9:80");
        application
            .say("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
            .await;
        assert!(application.hear_head().await.starts_with("HTTP/1.1 502"));
        let mut application = world.application("203.0.113.9:4711");
        application.hear_end().await;
        assert_eq!(world.dialled(), 0);
    });
}

#[test]
fn connections_to_endpoints_that_vanish_are_closed() {
    run(async || {
        let mut world = World::gateway();
        world
            .service("web", Protocol::Http, &["10.0.1.1"])
            .route_all_to("web");
        let mut client = world.client();
        client.say(GET).await;
        let mut web = world.upstream().await;
        web.hear_head().await;
        web.say(OK).await;
        client.hear_message("ok").await;
        world.endpoints("web", &["10.0.1.2"]);
        world.worker.tick();
        web.hear_end().await;
    });
}

#[test]
fn a_malformed_response_is_502_and_its_connection_is_not_used_again() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller.say(GET).await;
        let mut app = world.upstream().await;
        app.hear_head().await;
        app.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")
            .await;
        assert!(caller.hear_head().await.starts_with("HTTP/1.1 502"));
        app.hear_end().await;
    });
}

#[test]
fn a_malformed_request_is_400_and_closed() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller.say("GET / HTTP/1.1\r\nHost : a\r\n\r\n").await;
        let head = caller.hear_message("Bad Request").await;
        assert!(head.starts_with("HTTP/1.1 400"), "{head}");
        assert!(has_line(&head, "connection: close"), "{head}");
        caller.hear_end().await;
        assert_eq!(world.dialled(), 0);
    });
}

#[test]
fn a_malformed_chunk_is_400_and_the_upstream_sees_no_end() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller
            .say("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
            .await;
        let mut app = world.upstream().await;
        app.hear_head().await;
        app.hear("1\r\na\r\n").await;
        caller.say("zz\r\n").await;
        assert!(caller.hear_head().await.starts_with("HTTP/1.1 400"));
        app.hear_end().await;
    });
}

#[test]
fn a_cut_response_is_cut_for_the_client_too() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller.say(GET).await;
        let mut app = world.upstream().await;
        app.hear_head().await;
        app.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            .await;
        caller.hear_message("abc").await;
        drop(app);
        caller.hear_end().await;
        let labels = [("response_code", "200"), ("response_flags", "UC")];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
    });
}

#[test]
fn a_connection_that_was_closed_while_idle_loses_no_request() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller.say(GET).await;
        let mut app = world.upstream().await;
        app.hear_head().await;
        app.say(OK).await;
        caller.hear_message("ok").await;
        // The application takes the next request and closes without a word.
        caller.say(GET).await;
        app.hear_head().await;
        drop(app);
        let mut app = world.upstream().await;
        app.hear_head().await;
        app.say(OK).await;
        caller.hear_message("ok").await;
    });
}

#[test]
fn a_request_that_may_not_be_repeated_is_not() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller.say(GET).await;
        let mut app = world.upstream().await;
        app.hear_head().await;
        app.say(OK).await;
        caller.hear_message("ok").await;
        caller
            .say("POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1")
            .await;
        app.hear_message("1").await;
        drop(app);
        assert!(caller.hear_head().await.starts_with("HTTP/1.1 503"));
        assert_eq!(world.dialled(), 1);
    });
}

#[test]
fn a_fresh_connection_that_is_closed_is_not_retried() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller.say(GET).await;
        let mut app = world.upstream().await;
        app.hear_head().await;
        drop(app);
        let head = caller.hear_head().await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        let labels = [("response_code", "503"), ("response_flags", "UC")];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
    });
}

#[test]
fn a_slow_head_is_408_and_an_idle_connection_is_closed_silently() {
    run(async || {
        let timeouts = Timeouts {
            head: Duration::from_secs(2),
            idle: Duration::from_secs(1),
            ..Timeouts::default()
        };
        let world = World::new(Role::Sidecar, timeouts);
        let mut slow = world.caller(8080);
        slow.say("GET / HTTP/1.1\r\n").await;
        assert!(slow.hear_head().await.starts_with("HTTP/1.1 408"));
        let mut idle = world.caller(8080);
        idle.hear_end().await;
    });
}

#[test]
fn a_client_that_goes_away_ends_its_request() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller
            .say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
            .await;
        let mut app = world.upstream().await;
        app.hear_message("abc").await;
        drop(caller);
        app.hear_end().await;
        let labels = [("response_code", "0"), ("response_flags", "DC")];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
    });
}

#[test]
fn a_head_beyond_the_limit_is_431() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        let filler = format!("x-filler: {}\r\n", "a".repeat(1000)).repeat(70);
        caller
            .say(format!("GET / HTTP/1.1\r\nHost: a\r\n{filler}\r\n"))
            .await;
        assert!(caller.hear_head().await.starts_with("HTTP/1.1 431"));
        let mut caller = world.caller(8080);
        let below = format!("x-filler: {}\r\n", "a".repeat(1000)).repeat(55);
        caller
            .say(format!("GET / HTTP/1.1\r\nHost: a\r\n{below}\r\n"))
            .await;
        let mut app = world.upstream().await;
        assert!(app.hear_head().await.len() > 55_000);
    });
}
