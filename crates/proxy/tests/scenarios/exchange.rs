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
