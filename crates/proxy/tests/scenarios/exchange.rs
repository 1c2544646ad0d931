//! One exchange after the other.

use lateen_model::Protocol;

use crate::world::{World, field, has_line, run};

#[test]
fn a_request_goes_to_the_application_and_its_response_comes_back() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller
            .say("GET /a?b HTTP/1.1\r\nHost: app:8080\r\nX-Odd-CASE:  v\r\n\r\n")
            .await;
        let mut app = world.upstream().await;
        assert_eq!(app.address.to_string(), "10.0.0.1:8080");
        let head = app.hear_head().await;
        assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
        assert!(has_line(&head, "X-Odd-CASE: v"), "{head}");
        assert!(has_line(&head, "x-forwarded-proto: http"), "{head}");
        assert_eq!(
            field(&head, "x-request-id").map(str::len),
            Some(36),
            "{head}"
        );
        assert_eq!(field(&head, "x-forwarded-for"), None, "{head}");
        app.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: app\r\n\r\nhello")
            .await;
        let head = caller.hear_message("hello").await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(has_line(&head, "server: istio-envoy"), "{head}");
        assert!(
            has_line(&head, "x-envoy-upstream-service-time: 0"),
            "{head}"
        );
        // Both connections serve again.
        caller.say("GET /2 HTTP/1.1\r\nHost: app\r\n\r\n").await;
        app.hear_head().await;
        app.say("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert!(caller.hear_head().await.starts_with("HTTP/1.1 204"));
        assert_eq!(world.dialled(), 1);
        let labels = [
            ("reporter", "destination"),
            ("response_code", "200"),
            ("destination_service", "app.default.svc.cluster.local"),
        ];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
    });
}

#[test]
fn a_gateway_routes_and_tells_where_the_client_is() {
    run(async || {
        let mut world = World::gateway();
        world
            .service("web", Protocol::Http, &["10.0.1.1"])
            .route_all_to("web");
        let mut client = world.client();
        client
            .say("GET / HTTP/1.1\r\nHost: shop\r\nX-Forwarded-For: 1.2.3.4\r\nx-envoy-internal: true\r\n\r\n")
            .await;
        let mut web = world.upstream().await;
        assert_eq!(web.address.to_string(), "10.0.1.1:9080");
        let head = web.hear_head().await;
        assert!(
            has_line(&head, "x-forwarded-for: 1.2.3.4,192.0.2.7"),
            "{head}"
        );
        assert!(
            has_line(&head, "x-envoy-external-address: 192.0.2.7"),
            "{head}"
        );
        assert_eq!(field(&head, "x-envoy-internal"), None, "{head}");
        web.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        client.hear_head().await;
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller
            .say("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
        let mut app = world.upstream().await;
        assert!(app.hear_head().await.starts_with("GET /1 "));
        app.hear_nothing().await;
        app.say("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1")
            .await;
        assert!(app.hear_head().await.starts_with("GET /2 "));
        app.say("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n2")
            .await;
        caller.hear_message("1").await;
        caller.hear_message("2").await;
    });
}

#[test]
fn bodies_pass_in_both_directions_with_their_trailers() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller
            .say("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n")
            .await;
        let mut app = world.upstream().await;
        let head = app.hear_head().await;
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"), "{head}");
        assert_eq!(field(&head, "te"), Some("trailers"), "{head}");
        caller.say("3\r\nabc\r\n").await;
        app.hear("3\r\nabc\r\n").await;
        caller.say("2;ext=1\r\nde\r\n0\r\nx-sum: 5\r\n\r\n").await;
        app.hear("2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n").await;
        app.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
            .await;
        caller.hear_head().await;
        caller.hear("1\r\na\r\n").await;
        app.say("0\r\nx-end: yes\r\n\r\n").await;
        caller.hear("0\r\nx-end: yes\r\n\r\n").await;
    });
}

#[test]
fn a_long_body_passes_piece_by_piece() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        let body = "x".repeat(300_000);
        let sent = async {
            caller
                .say(format!(
                    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                ))
                .await;
            caller.say(&body).await;
            caller.hear_message(&body).await;
        };
        let answered = async {
            let mut app = world.upstream().await;
            app.hear_message(&body).await;
            app.say(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ))
            .await;
            app.say(&body).await;
        };
        tokio::join!(sent, answered);
        let labels = [("reporter", "destination")];
        let sum = world
            .metric("istio_request_bytes_sum", &labels)
            .expect("a sum");
        assert!(sum > 300_000, "{sum}");
    });
}

#[test]
fn a_slow_reader_slows_the_other_side_down() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut app = world.upstream().await;
        app.hear_head().await;
        app.say("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            .await;
        let flood = vec![b'x'; 2_000_000];
        let written = tokio::time::timeout(
            std::time::Duration::from_secs(1),
            tokio::io::AsyncWriteExt::write_all(&mut app.stream, &flood),
        );
        assert!(
            written.await.is_err(),
            "two megabytes were taken without a reader"
        );
    });
}

#[test]
fn a_client_that_waits_for_100_gets_it_from_the_application() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller
            .say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            .await;
        let mut app = world.upstream().await;
        let head = app.hear_head().await;
        assert_eq!(field(&head, "expect"), Some("100-continue"));
        app.say("HTTP/1.1 100 Continue\r\n\r\n").await;
        assert!(caller.hear_head().await.starts_with("HTTP/1.1 100"));
        caller.say("hi").await;
        app.hear("hi").await;
        app.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        assert!(caller.hear_head().await.starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn an_early_answer_reaches_a_client_that_still_sends() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller
            .say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome")
            .await;
        let mut app = world.upstream().await;
        app.hear_message("some").await;
        app.say("HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig")
            .await;
        let head = caller.hear_message("big").await;
        assert!(has_line(&head, "connection: close"), "{head}");
        caller.say("more that nobody wants").await;
        caller.hear_end().await;
        app.hear_end().await;
    });
}

#[test]
fn a_response_that_ends_with_its_connection_is_chunked_for_the_client() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut app = world.upstream().await;
        app.hear_head().await;
        app.say("HTTP/1.0 200 OK\r\n\r\nold").await;
        let head = caller.hear_head().await;
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"), "{head}");
        caller.hear("3\r\nold\r\n").await;
        drop(app);
        caller.hear("0\r\n\r\n").await;
        // The client's connection survives.
        caller.say("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await;
        world.upstream().await.hear_head().await;
    });
}

#[test]
fn an_http_1_0_client_gets_plain_bytes_until_the_end() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller.say("GET / HTTP/1.0\r\n\r\n").await;
        let mut app = world.upstream().await;
        let head = app.hear_head().await;
        assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
        assert_eq!(field(&head, "host"), Some("10.0.0.1:8080"), "{head}");
        app.say(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
        )
        .await;
        let head = caller.hear_message("abc").await;
        assert_eq!(field(&head, "transfer-encoding"), None, "{head}");
        assert_eq!(field(&head, "connection"), Some("close"), "{head}");
        caller.hear_end().await;
    });
}

#[test]
fn a_head_request_has_the_length_but_no_body() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller.say("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut app = world.upstream().await;
        app.hear_head().await;
        app.say("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")
            .await;
        let head = caller.hear_head().await;
        assert_eq!(field(&head, "content-length"), Some("999"));
        caller.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        app.hear_head().await;
    });
}

#[test]
fn a_client_that_ends_its_direction_still_gets_its_answer() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        tokio::io::AsyncWriteExt::shutdown(&mut caller.stream)
            .await
            .expect("shutdown");
        let mut app = world.upstream().await;
        app.hear_head().await;
        app.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await;
        caller.hear_message("ok").await;
        caller.hear_end().await;
    });
}

#[test]
fn an_upgrade_is_a_tunnel_only_after_101() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller
            .say("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly")
            .await;
        let mut app = world.upstream().await;
        let head = app.hear_head().await;
        assert_eq!(field(&head, "upgrade"), Some("websocket"), "{head}");
        app.hear_nothing().await;
        app.say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello")
            .await;
        assert!(caller.hear_head().await.starts_with("HTTP/1.1 101"));
        caller.hear("hello").await;
        app.hear("early").await;
        caller.say("ping").await;
        app.hear("ping").await;
        drop(caller);
        app.hear_end().await;
    });
}

#[test]
fn a_refused_upgrade_leaves_an_ordinary_exchange() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller
            .say("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
        let mut app = world.upstream().await;
        app.hear_head().await;
        app.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        caller.hear_head().await;
        assert!(app.hear_head().await.starts_with("GET /2 "));
    });
}

#[test]
fn connect_is_refused_and_what_follows_it_is_no_request() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller
            .say("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
        let head = caller.hear_head().await;
        assert!(head.starts_with("HTTP/1.1 404"), "{head}");
        assert!(has_line(&head, "connection: close"), "{head}");
        caller.hear_end().await;
        assert_eq!(world.dialled(), 0);
    });
}

#[test]
fn what_steers_proxies_does_not_come_from_outside() {
    const NAMES: [&str; 12] = [
        "x-envoy-attempt-count",
        "x-envoy-decorator-operation",
        "x-envoy-force-trace",
        "x-envoy-hedge-on-per-try-timeout",
        "x-envoy-max-retries",
        "x-envoy-original-dst-host",
        "x-envoy-peer-metadata",
        "x-envoy-retriable-status-codes",
        "x-envoy-retry-on",
        "x-envoy-upstream-alt-stat-name",
        "x-envoy-upstream-rq-per-try-timeout-ms",
        "X-Forwarded-Client-Cert",
    ];
    run(async || {
        let mut world = World::gateway();
        world
            .service("shop", Protocol::Http, &["10.0.1.1"])
            .route_all_to("shop");
        let lines = NAMES.map(|name| format!("{name}: made-up\r\n")).concat();
        let mut client = world.client();
        client
            .say(format!("GET / HTTP/1.1\r\nHost: shop\r\n{lines}\r\n"))
            .await;
        let head = world.upstream().await.hear_head().await;
        assert!(!head.contains("made-up"), "{head}");
    });
}

#[test]
fn an_application_is_not_told_of_a_certificate_that_nobody_has_shown() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller
            .say("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: URI=spiffe://cluster.local/ns/a/sa/admin\r\n\r\n")
            .await;
        let head = world.upstream().await.hear_head().await;
        assert!(!head.to_lowercase().contains("client-cert"), "{head}");
    });
}
