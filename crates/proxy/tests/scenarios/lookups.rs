//! Services whose endpoints follow from names: those that clients ask for, and first answers.

use std::net::IpAddr;
use std::sync::Arc;

use lateen_model::service::{DnsEndpoint, Registry, Resolution};
use lateen_model::{Body, Host, Labels, Protocol, Resource};
use lateen_proxy::names::Named;

use crate::resources;
use crate::world::{OK, Peer, World, field, run};

/// Where the application dials: the wildcard has no address of its own.
const THERE: &str = "203.0.113.9:80";

/// An entry for `*.wild.test` whose hosts are looked up one by one, and reached on 8080.
fn wild(protocol: Protocol) -> Resource {
    let mut resource = resources::service("wild", protocol);
    if let Body::Service(service) = &mut resource.body {
        service.registry = Registry::ServiceEntry;
        service.key.host = Host::new("*.wild.test");
        service.addresses = Vec::new();
        service.resolution = Resolution::DynamicDns(vec![(80, 8080)]);
    }
    resource
}

fn ips(list: &[&str]) -> Vec<IpAddr> {
    let list = list.iter().map(|text| text.parse().expect("an address"));
    list.collect()
}

/// Answers the next name that the worker asks for, and tells which it was.
async fn answer(world: &mut World, addresses: &[&str]) -> Arc<str> {
    let name = world.asked.recv().await.expect("the worker lives");
    world.worker.names.learn(Named {
        name: Arc::clone(&name),
        addresses: Some(ips(addresses).into()),
    });
    name
}

async fn get(application: &mut Peer, host: &str) {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    application.say(request).await;
}

#[test]
fn a_request_goes_to_the_host_that_it_asks_for() {
    run(async || {
        let mut world = World::sidecar();
        world.apply(wild(Protocol::Http));
        let mut application = world.application(THERE);
        for (host, name, address) in [
            ("A.wild.test:80", "a.wild.test", "198.51.100.1"),
            ("b.wild.test", "b.wild.test", "198.51.100.2"),
        ] {
            get(&mut application, host).await;
            assert_eq!(&*answer(&mut world, &[address]).await, name);
            let mut upstream = world.upstream().await;
            assert_eq!(upstream.address.to_string(), format!("{address}:8080"));
            let head = upstream.serve(OK).await;
            assert_eq!(field(&head, "host"), Some(host));
            application.hear_message("ok").await;
            // Known from now on, and the connection is kept.
            get(&mut application, host).await;
            upstream.serve(OK).await;
            application.hear_message("ok").await;
            assert!(world.asked.try_recv().is_err(), "{host}");
        }
    });
}

#[test]
fn a_host_without_an_address_is_answered_503() {
    run(async || {
        let mut world = World::sidecar();
        world.apply(wild(Protocol::Http));
        let mut application = world.application(THERE);
        get(&mut application, "none.wild.test").await;
        answer(&mut world, &[]).await;
        let (head, body) = application.hear_response().await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert_eq!(body, "DNS resolution failure");
        assert_eq!(world.dialled(), 0);
        let labels = [("response_code", "503"), ("response_flags", "DF")];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
    });
}

#[test]
fn a_host_that_nobody_answers_for_is_given_up() {
    run(async || {
        let mut world = World::sidecar();
        world.apply(wild(Protocol::Http));
        let mut application = world.application(THERE);
        get(&mut application, "slow.wild.test").await;
        let head = application.hear_late().await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        let labels = [("response_code", "503"), ("response_flags", "DF")];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
        // Requests for other hosts do not wait for it, and other services ask nobody.
        assert_eq!(
            world.asked.try_recv().ok().as_deref(),
            Some("slow.wild.test")
        );
        world.service("web", Protocol::Http, &["198.51.100.7"]);
        let mut application = world.application("10.96.0.3:80");
        get(&mut application, "web").await;
        world.upstream().await.serve(OK).await;
        application.hear_message("ok").await;
        assert!(world.asked.try_recv().is_err());
    });
}

#[test]
fn tls_goes_to_the_server_that_it_names() {
    run(async || {
        let mut world = World::sidecar();
        world.apply(wild(Protocol::Tls));
        let hello = hello("c.wild.test");
        let mut application = world.application(THERE);
        application.say(&hello).await;
        assert_eq!(&*answer(&mut world, &["198.51.100.3"]).await, "c.wild.test");
        let mut upstream = world.upstream().await;
        assert_eq!(upstream.address.to_string(), "198.51.100.3:8080");
        let mut heard = vec![0; hello.len()];
        let read = tokio::io::AsyncReadExt::read_exact(&mut upstream.stream, &mut heard);
        read.await.expect("the hello");
        assert_eq!(heard, hello);
    });
}

#[test]
fn tls_to_a_server_without_an_address_is_closed() {
    run(async || {
        let mut world = World::sidecar();
        world.apply(wild(Protocol::Tls));
        let mut application = world.application(THERE);
        application.say(&hello("none.wild.test")).await;
        answer(&mut world, &[]).await;
        application.hear_end().await;
        assert_eq!(world.dialled(), 0);
        let labels = [("response_flags", "DF")];
        let opened = world.metric("istio_tcp_connections_opened_total", &labels);
        assert_eq!(opened, Some(1));
    });
}

/// A ClientHello for a server name.
fn hello(name: &str) -> Vec<u8> {
    let vector = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).expect("it is short");
        [&length.to_be_bytes()[..], bytes].concat()
    };
    let names = vector(&[&[0], &vector(name.as_bytes())[..]].concat());
    let extensions = vector(&[&[0, 0][..], &vector(&names)].concat());
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &vector(&[0x13, 0x01]),
        &[1, 0],
        &extensions,
    ]
    .concat();
    let message = [&[1, 0][..], &vector(&body)].concat();
    [&[22, 3, 1][..], &vector(&message)].concat()
}

#[test]
fn of_round_robin_the_first_address_of_the_moment_counts_and_connections_stay() {
    run(async || {
        let mut world = World::sidecar();
        let mut web = resources::service("web", Protocol::Tcp);
        if let Body::Service(service) = &mut web.body {
            service.resolution = Resolution::DnsRoundRobin(vec![DnsEndpoint {
                name: "one.example".into(),
                ports: vec![(80, 8080)],
                labels: Labels::new(),
                weight: 1,
                locality: String::new(),
            }]);
        }
        world.apply(web);
        let first = ["198.51.100.2", "198.51.100.1"];
        let second = ["198.51.100.1", "198.51.100.2"];
        assert!(world.look_up("one.example", ips(&first)));
        let mut old = world.application("10.96.0.3:80");
        old.say("hello").await;
        let mut old_upstream = world.upstream().await;
        assert_eq!(old_upstream.address.to_string(), "198.51.100.2:8080");
        assert!(
            world.look_up("one.example", ips(&second)),
            "only the order changed"
        );
        assert!(!world.look_up("one.example", ips(&second)));
        for _ in 0..5 {
            let mut application = world.application("10.96.0.3:80");
            application.say("hello").await;
            let upstream = world.upstream().await;
            assert_eq!(upstream.address.to_string(), "198.51.100.1:8080");
        }
        old_upstream.hear("hello").await;
        old_upstream.say("still here").await;
        old.hear("still here").await;
    });
}

#[test]
fn of_dns_the_order_of_addresses_does_not_matter() {
    run(async || {
        let mut world = World::sidecar();
        let mut web = resources::service("web", Protocol::Tcp);
        if let Body::Service(service) = &mut web.body {
            service.resolution = Resolution::Dns(vec![DnsEndpoint {
                name: "one.example".into(),
                ports: vec![(80, 8080)],
                labels: Labels::new(),
                weight: 1,
                locality: String::new(),
            }]);
        }
        world.apply(web);
        assert!(world.look_up("one.example", ips(&["198.51.100.2", "198.51.100.1"])));
        assert!(!world.look_up("one.example", ips(&["198.51.100.1", "198.51.100.2"])));
    });
}
