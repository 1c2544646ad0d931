//! What the policy of a service limits at its own workload, and where the workload is reached.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lateen_model::pool::{ConnectionPool, HttpPool, TcpPool};
use lateen_model::proxy::Role;
use lateen_model::{Body, Protocol, SocketAddress};
use tokio::time::Instant;

use crate::resources::{self, one_connection, pools};
use crate::world::{GET, OK, OWN, World, field, run};

/// A sidecar whose application is the service `app`, of which this is the policy.
fn world(tcp: TcpPool, http: HttpPool) -> World {
    let mut world = World::sidecar();
    world.apply(resources::service("app", Protocol::Http));
    world.policy("app", pools(tcp, http));
    world
}

#[test]
fn no_more_requests_are_under_way_than_may_be() {
    run(async || {
        let http = HttpPool {
            max_requests: Some(1),
            ..HttpPool::default()
        };
        let world = world(TcpPool::default(), http);
        let mut first = world.caller(8080);
        first.say(GET).await;
        let mut app = world.upstream().await;
        app.hear_head().await;
        let (head, body) = world.caller(8080).ask(GET).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert_eq!(field(&head, "x-envoy-overloaded"), Some("true"));
        assert!(body.ends_with("reset reason: overflow"), "{body}");
        assert_eq!(world.requests("503", "UO"), Some(1));
        // Another port has limits of its own.
        let mut other = world.caller(9000);
        other.say(GET).await;
        world.upstream().await.serve(OK).await;
        other.hear_message("ok").await;
        app.say(OK).await;
        first.hear_message("ok").await;
        let mut again = world.caller(8080);
        again.say(GET).await;
        app.serve(OK).await;
        again.hear_message("ok").await;
    });
}

#[test]
fn a_request_waits_for_a_connection_and_no_more_of_them_than_may() {
    run(async || {
        let http = HttpPool {
            max_pending_requests: Some(1),
            ..HttpPool::default()
        };
        let world = world(one_connection(), http);
        let (mut first, mut second) = (world.caller(8080), world.caller(8080));
        first.say(GET).await;
        let mut app = world.upstream().await;
        app.hear_head().await;
        second.say("GET /second HTTP/1.1\r\nHost: a\r\n\r\n").await;
        app.hear_nothing().await;
        let (head, _) = world.caller(8080).ask(GET).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert_eq!(field(&head, "x-envoy-overloaded"), Some("true"));
        assert_eq!(world.requests("503", "UO"), Some(1));
        app.say(OK).await;
        first.hear_message("ok").await;
        assert!(app.serve(OK).await.starts_with("GET /second"));
        second.hear_message("ok").await;
        assert_eq!(world.dialled(), 1);
        assert_eq!(world.requests("200", "-"), Some(2));
    });
}

#[test]
fn limits_of_the_workload_itself_are_in_place_of_those_of_its_service() {
    run(async || {
        let mut world = world(one_connection(), HttpPool::default());
        let own: IpAddr = OWN.parse().expect("an address");
        let mut proxy = resources::proxy(Role::Sidecar, own);
        let Body::Proxy(body) = &mut proxy.body else {
            panic!("it is a proxy");
        };
        let http = HttpPool {
            max_requests: Some(2),
            ..HttpPool::default()
        };
        for one in &mut body.inbound {
            one.pool = Some(ConnectionPool {
                tcp: TcpPool::default(),
                http: http.clone(),
            });
        }
        world.apply(proxy);
        let mut waiting = Vec::new();
        for _ in 0..2 {
            let mut client = world.caller(8080);
            client.say(GET).await;
            let mut app = world.upstream().await;
            app.hear_head().await;
            waiting.push((client, app));
        }
        let (head, _) = world.caller(8080).ask(GET).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert_eq!(world.requests("503", "UO"), Some(1));
        for (client, app) in &mut waiting {
            app.say(OK).await;
            client.hear_message("ok").await;
        }
    });
}

#[test]
fn what_no_service_names_is_not_limited() {
    run(async || {
        let world = world(one_connection(), HttpPool::default());
        let (mut first, mut second) = (world.caller(5000), world.caller(5000));
        first.say(GET).await;
        let mut one = world.upstream().await;
        one.hear_head().await;
        second.say(GET).await;
        world.upstream().await.serve(OK).await;
        second.hear_message("ok").await;
    });
}

#[test]
fn a_connection_has_the_time_of_the_service_to_be_made() {
    run(async || {
        let tcp = TcpPool {
            connect_timeout: Some(Duration::from_millis(200)),
            ..TcpPool::default()
        };
        let world = world(tcp, HttpPool::default());
        world.silence("10.0.0.1:8080");
        world.silence("10.0.0.1:7000");
        let begun = Instant::now();
        let (head, _) = world.caller(8080).ask(GET).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        let elapsed = begun.elapsed().as_millis();
        assert!((600..1000).contains(&elapsed), "three attempts: {elapsed}");
        let begun = Instant::now();
        world.caller(7000).hear_end().await;
        assert_eq!(begun.elapsed().as_millis(), 200);
    });
}

#[test]
fn a_connection_carries_no_more_requests_than_may_be() {
    run(async || {
        let http = HttpPool {
            max_requests_per_connection: Some(2),
            ..HttpPool::default()
        };
        let world = world(TcpPool::default(), http);
        let mut client = world.caller(8080);
        for _ in 0..2 {
            client.say(GET).await;
            let mut app = world.upstream().await;
            app.serve(OK).await;
            client.hear_message("ok").await;
            client.say(GET).await;
            app.serve(OK).await;
            client.hear_message("ok").await;
            app.hear_end().await;
        }
        assert_eq!(world.dialled(), 2);
    });
}

#[test]
fn an_unused_connection_is_closed_after_the_time_of_the_service() {
    run(async || {
        let http = HttpPool {
            idle_timeout: Some(Duration::from_secs(10)),
            ..HttpPool::default()
        };
        let world = world(TcpPool::default(), http);
        let mut client = world.caller(8080);
        client.say(GET).await;
        let mut app = world.upstream().await;
        app.serve(OK).await;
        client.hear_message("ok").await;
        tokio::time::sleep(Duration::from_secs(9)).await;
        world.worker.tick();
        assert_eq!(world.worker.pools.len(), 1);
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.worker.tick();
        app.hear_end().await;
    });
}

#[test]
fn connections_that_are_carried_as_bytes_are_limited_too() {
    run(async || {
        let tcp = TcpPool {
            idle_timeout: Some(Duration::from_secs(10)),
            ..one_connection()
        };
        let world = world(tcp, HttpPool::default());
        let mut first = world.caller(7000);
        first.say("hello").await;
        let mut app = world.upstream().await;
        app.hear("hello").await;
        world.caller(7000).hear_end().await;
        let labels = [("response_flags", "UO"), ("request_protocol", "tcp")];
        let name = "istio_tcp_connections_opened_total";
        assert_eq!(world.metric(name, &labels), Some(1));
        // A silent one makes room.
        tokio::time::sleep(Duration::from_secs(11)).await;
        first.hear_end().await;
        app.hear_end().await;
        let mut third = world.caller(7000);
        third.say("again").await;
        world.upstream().await.hear("again").await;
    });
}

#[test]
fn an_undeclared_port_that_has_its_connection_uses_it_for_the_request() {
    run(async || {
        let world = world(one_connection(), HttpPool::default());
        let mut client = world.caller(9000);
        // Silent for so long that the application is dialled.
        let mut app = world.upstream().await;
        client.say(GET).await;
        app.serve(OK).await;
        client.hear_message("ok").await;
        assert_eq!(world.dialled(), 1);
    });
}

#[test]
fn a_workload_is_reached_where_it_is_said_to_listen() {
    run(async || {
        let own: IpAddr = OWN.parse().expect("an address");
        let mut proxy = resources::proxy(Role::Sidecar, own);
        let Body::Proxy(body) = &mut proxy.body else {
            panic!("it is a proxy");
        };
        for one in &mut body.inbound {
            one.endpoint = Some(match one.port {
                9000 => SocketAddress::Unix("/run/app.sock".into()),
                port => SocketAddr::from(([127, 0, 0, 1], port + 1)).into(),
            });
        }
        let mut world = World::sidecar();
        world.apply(proxy);
        let mut client = world.caller(8080);
        client.say(GET).await;
        let mut app = world.upstream().await;
        assert_eq!(app.address.to_string(), "127.0.0.1:8081");
        app.serve(OK).await;
        client.hear_message("ok").await;
        let mut client = world.caller(7000);
        client.say("hello").await;
        let mut app = world.upstream().await;
        assert_eq!(app.address.to_string(), "127.0.0.1:7001");
        app.hear("hello").await;
        let mut client = world.caller(9000);
        client.say(GET).await;
        let mut app = world.upstream().await;
        assert_eq!(app.address.to_string(), "unix:///run/app.sock");
        app.serve(OK).await;
        client.hear_message("ok").await;
        // All other ports are as they were dialled.
        let mut client = world.caller(5000);
        client.say(GET).await;
        let app = world.upstream().await;
        assert_eq!(app.address.to_string(), format!("{OWN}:5000"));
    });
}
