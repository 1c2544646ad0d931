//! gRPC over HTTP/1.1 framing: what the proxy knows of calls.

use lateen_model::Protocol;

use crate::world::{World, has_line, run, to};

const CALL: &str = "POST /a.B/C HTTP/1.1\r\nHost: a\r\ncontent-type: application/grpc\r\n\
                    te: trailers\r\ncontent-length: 0\r\n\r\n";

fn calls(world: &World, status: &str, code: &str, flags: &str) -> Option<u64> {
    let labels = [
        ("request_protocol", "grpc"),
        ("grpc_response_status", status),
        ("response_code", code),
        ("response_flags", flags),
    ];
    world.metric("istio_requests_total", &labels)
}

fn world(endpoints: &[&str]) -> World {
    let mut world = World::gateway();
    world
        .service("web", Protocol::Http, endpoints)
        .rule(to("web"));
    world
}

#[test]
fn the_status_of_a_call_is_counted_from_its_trailers() {
    run(async || {
        let world = world(&["10.0.1.1"]);
        let mut client = world.client();
        client.say(CALL).await;
        let mut web = world.upstream().await;
        web.hear_head().await;
        let trailers = "3\r\nabc\r\n0\r\ngrpc-status: 5\r\ngrpc-message: gone\r\n\r\n";
        web.say(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\n\
             transfer-encoding: chunked\r\n\r\n{trailers}"
        ))
        .await;
        client.hear_message(trailers).await;
        assert_eq!(calls(&world, "5", "200", "-"), Some(1));
    });
}

#[test]
fn the_status_of_a_call_is_counted_from_its_head() {
    run(async || {
        let world = world(&["10.0.1.1"]);
        let mut client = world.client();
        client.say(CALL).await;
        let mut web = world.upstream().await;
        web.serve("HTTP/1.1 200 OK\r\ngrpc-status: 3\r\ncontent-length: 0\r\n\r\n")
            .await;
        client.hear_response().await;
        assert_eq!(calls(&world, "3", "200", "-"), Some(1));
    });
}

#[test]
fn what_the_proxy_answers_to_a_call_is_an_answer_to_a_call() {
    run(async || {
        let world = world(&[]);
        let (head, body) = world.client().ask(CALL).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(has_line(&head, "grpc-status: 14"), "{head}");
        assert!(
            has_line(&head, "grpc-message: no healthy upstream"),
            "{head}"
        );
        assert_eq!(body, "");
        assert_eq!(calls(&world, "14", "200", "UH"), Some(1));
    });
}

#[test]
fn a_call_whose_upstream_went_away_is_unavailable() {
    run(async || {
        let world = world(&["10.0.1.1"]);
        let mut client = world.client();
        client.say(CALL).await;
        let mut web = world.upstream().await;
        web.hear_head().await;
        drop(web);
        let (head, _) = client.hear_response().await;
        assert!(has_line(&head, "grpc-status: 14"), "{head}");
        assert_eq!(calls(&world, "14", "200", "UC"), Some(1));
    });
}

#[test]
fn a_request_of_another_type_is_no_call() {
    run(async || {
        let world = world(&[]);
        let request = CALL.replace("application/grpc", "application/grpcish");
        let (head, _) = world.client().ask(&request).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        let labels = [("request_protocol", "http"), ("grpc_response_status", "")];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
    });
}
