//! What passes the proxy, and what happens without it.

use std::io;

use crate::world::{MINE, POD, WEB, WORLD, World, get, talk};

pub(crate) const CASES: &[(&str, fn())] = &[
    (
        "a_call_from_outside_passes_the_inbound_side",
        a_call_from_outside_passes_the_inbound_side,
    ),
    (
        "a_call_of_the_application_passes_the_outbound_side",
        a_call_of_the_application_passes_the_outbound_side,
    ),
    (
        "a_call_to_the_own_service_passes_both_sides",
        a_call_to_the_own_service_passes_both_sides,
    ),
    (
        "unknown_destinations_are_passed_through",
        unknown_destinations_are_passed_through,
    ),
    (
        "a_server_that_speaks_first_is_heard",
        a_server_that_speaks_first_is_heard,
    ),
    (
        "a_connection_to_the_proxy_itself_is_closed",
        a_connection_to_the_proxy_itself_is_closed,
    ),
    (
        "without_its_proxy_the_application_cannot_call",
        without_its_proxy_the_application_cannot_call,
    ),
];

fn a_call_from_outside_passes_the_inbound_side() {
    let world = World::new();
    let answer = get(&world.outside, &format!("{POD}:8080"), "/").unwrap();
    assert!(answer.contains("\r\nserver: istio-envoy\r\n"), "{answer}");
    assert!(
        answer.contains("\r\n\r\napp\nGET / HTTP/1.1\r\n"),
        "{answer}"
    );
    assert!(answer.contains("\r\nx-request-id: "), "{answer}");
    let counted = world.metric(
        "istio_requests_total",
        &["reporter=\"destination\"", "response_code=\"200\""],
    );
    assert_eq!(counted.as_deref(), Some("1"));
}

fn a_call_of_the_application_passes_the_outbound_side() {
    let world = World::new();
    let answer = get(&world.pod, WEB, "/x").unwrap();
    assert!(answer.contains("\r\nserver: envoy\r\n"), "{answer}");
    assert!(
        answer.contains("\r\n\r\nweb\nGET /x HTTP/1.1\r\n"),
        "{answer}"
    );
    let counted = world.metric(
        "istio_requests_total",
        &["reporter=\"source\"", "destination_service_name=\"web\""],
    );
    assert_eq!(counted.as_deref(), Some("1"));
}

fn a_call_to_the_own_service_passes_both_sides() {
    let world = World::new();
    let answer = get(&world.pod, MINE, "/").unwrap();
    assert!(answer.contains("\r\n\r\napp\n"), "{answer}");
    for side in ["source", "destination"] {
        let counted = world.metric("istio_requests_total", &[&format!("reporter=\"{side}\"")]);
        assert_eq!(counted.as_deref(), Some("1"), "{side}");
    }
}

fn unknown_destinations_are_passed_through() {
    let world = World::new();
    let answer = get(&world.pod, &format!("{WORLD}:9999"), "/").unwrap();
    assert!(answer.contains("\r\n\r\nelsewhere\n"), "{answer}");
    // Where no service has a port, nothing is known of it, as in Istio: it is carried as bytes.
    let labels = ["destination_service_name=\"PassthroughCluster\""];
    let counted = world.metric("istio_tcp_connections_opened_total", &labels);
    assert_eq!(counted.as_deref(), Some("1"));
}

fn a_server_that_speaks_first_is_heard() {
    let world = World::new();
    let answer = talk(&world.outside, &format!("{POD}:7000"), "").unwrap();
    assert_eq!(answer, "220 hello\r\n");
}

fn a_connection_to_the_proxy_itself_is_closed() {
    let world = World::new();
    for port in [15001, 15006] {
        let request = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        let answer = talk(&world.outside, &format!("{POD}:{port}"), request);
        assert!(
            !matches!(&answer, Ok(text) if !text.is_empty()),
            "{port}: {answer:?}"
        );
    }
}

fn without_its_proxy_the_application_cannot_call() {
    let mut world = World::new();
    world.proxy.kill().unwrap();
    world.proxy.wait().unwrap();
    let error = get(&world.pod, WEB, "/").expect_err("there is no proxy");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let error = get(&world.outside, &format!("{POD}:8080"), "/").expect_err("nor inbound");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}
