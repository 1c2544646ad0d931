//! What the policy of a destination limits: connections, requests, and the life of connections.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lateen_decide::Counted;
use lateen_model::Protocol;
use lateen_model::http::HttpRule;
use lateen_model::pool::{HttpPool, TcpPool};
use lateen_model::proxy::Role;
use lateen_proxy::names::Names;
use lateen_proxy::observe::access_log::{Sink, Writer};
use lateen_proxy::settings::Timeouts;
use lateen_proxy::worker::{Shared, Worker};
use tokio::time::Instant;

use crate::resources::{one_connection, pools};
use crate::world::{GET, OK, World, field, run, to};

fn world(tcp: TcpPool, http: HttpPool) -> World {
    let mut world = World::gateway();
    world
        .service("web", Protocol::Http, &["10.0.1.1"])
        .rule(to("web"))
        .policy("web", pools(tcp, http));
    world
}

#[test]
fn a_connection_has_the_time_of_its_cluster_to_be_made() {
    run(async || {
        let tcp = TcpPool {
            connect_timeout: Some(Duration::from_millis(200)),
            ..TcpPool::default()
        };
        let world = world(tcp, HttpPool::default());
        world.silence("10.0.1.1:9080");
        let begun = Instant::now();
        let (head, _) = world.client().ask(GET).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        let elapsed = begun.elapsed().as_millis();
        assert!((600..1000).contains(&elapsed), "three attempts: {elapsed}");
        assert_eq!(world.requests("503", "UF,URX"), Some(1));
    });
}

#[test]
fn a_request_waits_for_a_connection_where_there_are_as_many_as_there_may_be() {
    run(async || {
        let world = world(one_connection(), HttpPool::default());
        let (mut first, mut second) = (world.client(), world.client());
        first.say(GET).await;
        let mut web = world.upstream().await;
        web.hear_head().await;
        second.say("GET /second HTTP/1.1\r\nHost: a\r\n\r\n").await;
        web.hear_nothing().await;
        web.say(OK).await;
        first.hear_message("ok").await;
        assert!(web.serve(OK).await.starts_with("GET /second"));
        second.hear_message("ok").await;
        assert_eq!(world.dialled(), 1);
        // A connection that was closed makes room too.
        first.say(GET).await;
        web.hear_head().await;
        second.say(GET).await;
        web.say("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
            .await;
        first.hear_message("ok").await;
        world.upstream().await.serve(OK).await;
        second.hear_message("ok").await;
    });
}

#[test]
fn a_queue_is_served_to_its_end() {
    run(async || {
        let world = world(one_connection(), HttpPool::default());
        let mut clients = Vec::new();
        for number in 0..30 {
            let mut client = world.client();
            let request = format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n");
            client.say(request).await;
            clients.push(client);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut web = world.upstream().await;
        let mut served = Vec::new();
        for _ in 0..30 {
            let head = web.serve(OK).await;
            let number = head.split(['/', ' ']).nth(2).expect("a path");
            served.push(number.parse::<usize>().expect("a number"));
        }
        for client in &mut clients {
            client.hear_message("ok").await;
        }
        served.sort_unstable();
        assert_eq!(served, (0..30).collect::<Vec<_>>(), "each once");
        assert_eq!(world.dialled(), 1);
    });
}

#[test]
fn what_another_worker_gives_up_is_seen_soon() {
    run(async || {
        let world = world(one_connection(), HttpPool::default());
        let view = world.worker.view();
        let mut clusters = view.plan.clusters();
        let cluster = clusters.find(|cluster| cluster.name.contains("web"));
        let cluster = cluster.expect("the cluster");
        let elsewhere = cluster.permit(Counted::Connection);
        let mut client = world.client();
        client.say(GET).await;
        client.hear_nothing().await;
        drop(elsewhere);
        let begun = Instant::now();
        world.upstream().await.serve(OK).await;
        assert!(begun.elapsed() <= Duration::from_millis(10));
        client.hear_message("ok").await;
    });
}

/// Another worker of the same proxy.
fn another(world: &World) -> Rc<Worker> {
    let worker = &world.worker;
    let log = Writer::new(Sink::start().expect("a thread"));
    Worker::new(
        worker.profile,
        &Shared::default(),
        Arc::clone(&worker.view()),
        worker.connector.clone(),
        Names::new(None),
        log,
    )
}

#[test]
fn an_idle_connection_of_another_worker_makes_room() {
    run(async || {
        let mut world = world(one_connection(), HttpPool::default());
        let mut first = world.client();
        first.say(GET).await;
        let mut old = world.upstream().await;
        old.serve(OK).await;
        first.hear_message("ok").await;
        let other = another(&world);
        let busy = std::mem::replace(&mut world.worker, other);
        let mut second = world.client();
        second.say(GET).await;
        old.hear_nothing_for(Duration::from_secs(1)).await;
        busy.tick();
        old.hear_end().await;
        let mut new = world.upstream().await;
        new.serve(OK).await;
        second.hear_message("ok").await;
        // And at once when it is not idle yet.
        second.say(GET).await;
        new.hear_head().await;
        let idle = std::mem::replace(&mut world.worker, busy);
        first.say(GET).await;
        new.hear_nothing_for(Duration::from_secs(1)).await;
        new.say(OK).await;
        second.hear_message("ok").await;
        new.hear_end().await;
        world.upstream().await.serve(OK).await;
        first.hear_message("ok").await;
        drop(idle);
    });
}

#[test]
fn a_worker_with_a_queue_does_not_keep_the_only_connection_for_ever() {
    run(async || {
        let mut world = world(one_connection(), HttpPool::default());
        let mut queue: Vec<_> = (0..100).map(|_| world.client()).collect();
        for client in &mut queue {
            client.say(GET).await;
        }
        let mut web = world.upstream().await;
        tokio::time::sleep(Duration::from_millis(3)).await;
        world.worker = another(&world);
        let mut other = world.client();
        other.say("GET /other HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut served = 0;
        while served < 100 {
            if web.hear_head().await.starts_with("GET /other ") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            web.say(OK).await;
            served += 1;
            if served % 16 == 0 {
                web = world.upstream().await;
            }
        }
        assert!((16..100).contains(&served), "{served} came first");
    });
}

#[test]
fn an_idle_connection_to_another_endpoint_makes_room() {
    run(async || {
        let mut world = world(one_connection(), HttpPool::default());
        let mut client = world.client();
        client.say(GET).await;
        let mut old = world.upstream().await;
        old.serve(OK).await;
        client.hear_message("ok").await;
        world.endpoints("web", &["10.0.1.2"]);
        client.say(GET).await;
        let mut new = world.upstream().await;
        assert_eq!(new.address.to_string(), "10.0.1.2:9080");
        new.serve(OK).await;
        client.hear_message("ok").await;
        old.hear_end().await;
    });
}

#[test]
fn no_more_requests_wait_than_may() {
    run(async || {
        let http = HttpPool {
            max_pending_requests: Some(1),
            ..HttpPool::default()
        };
        let world = world(one_connection(), http);
        let (mut first, mut second) = (world.client(), world.client());
        first.say(GET).await;
        let mut web = world.upstream().await;
        web.hear_head().await;
        second.say(GET).await;
        web.hear_nothing().await;
        let (head, body) = world.client().ask(GET).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert_eq!(field(&head, "x-envoy-overloaded"), Some("true"));
        assert!(body.ends_with("reset reason: overflow"), "{body}");
        assert_eq!(world.requests("503", "UO"), Some(1));
        web.say(OK).await;
        first.hear_message("ok").await;
        web.serve(OK).await;
        second.hear_message("ok").await;
    });
}

#[test]
fn no_more_requests_are_under_way_than_may_be() {
    run(async || {
        let http = HttpPool {
            max_requests: Some(1),
            ..HttpPool::default()
        };
        let world = world(TcpPool::default(), http);
        let mut first = world.client();
        first.say(GET).await;
        let mut web = world.upstream().await;
        web.hear_head().await;
        let (head, _) = world.client().ask(GET).await;
        assert_eq!(field(&head, "x-envoy-overloaded"), Some("true"));
        assert_eq!(world.requests("503", "UO"), Some(1));
        web.say(OK).await;
        first.hear_message("ok").await;
        first.say(GET).await;
        web.serve(OK).await;
        first.hear_message("ok").await;
    });
}

#[test]
fn a_request_that_waits_keeps_its_timeout() {
    run(async || {
        let mut world = world(one_connection(), HttpPool::default());
        world.rule(HttpRule {
            timeout: Some(Duration::from_secs(1)),
            ..to("web")
        });
        let (mut first, mut second) = (world.client(), world.client());
        first
            .say("POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 2\r\n\r\n")
            .await;
        let mut web = world.upstream().await;
        web.hear_head().await;
        let begun = Instant::now();
        let (head, _) = second.ask(GET).await;
        assert!(head.starts_with("HTTP/1.1 504"), "{head}");
        assert_eq!(begun.elapsed().as_secs(), 1);
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
        let mut client = world.client();
        for _ in 0..2 {
            client.say(GET).await;
            let mut web = world.upstream().await;
            web.serve(OK).await;
            client.hear_message("ok").await;
            client.say(GET).await;
            web.serve(OK).await;
            client.hear_message("ok").await;
            web.hear_end().await;
        }
        assert_eq!(world.dialled(), 2);
    });
}

#[test]
fn an_unused_connection_is_closed_after_the_time_of_its_cluster() {
    run(async || {
        let http = HttpPool {
            idle_timeout: Some(Duration::from_secs(10)),
            ..HttpPool::default()
        };
        let world = world(TcpPool::default(), http);
        let mut client = world.client();
        client.say(GET).await;
        let mut web = world.upstream().await;
        web.serve(OK).await;
        client.hear_message("ok").await;
        tokio::time::sleep(Duration::from_secs(9)).await;
        world.worker.tick();
        assert_eq!(world.worker.pools.len(), 1);
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.worker.tick();
        web.hear_end().await;
    });
}

#[test]
fn a_connection_gets_no_older_than_it_may() {
    run(async || {
        let tcp = TcpPool {
            max_connection_duration: Some(Duration::from_secs(5)),
            ..TcpPool::default()
        };
        let world = world(tcp, HttpPool::default());
        let mut client = world.client();
        client.say(GET).await;
        let mut web = world.upstream().await;
        for _ in 0..3 {
            web.hear_head().await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            web.say(OK).await;
            client.hear_message("ok").await;
            client.say(GET).await;
        }
        web.hear_end().await;
        world.upstream().await.serve(OK).await;
        client.hear_message("ok").await;
    });
}

#[test]
fn limits_are_per_destination() {
    run(async || {
        let mut world = world(one_connection(), HttpPool::default());
        world.service("other", Protocol::Http, &["10.0.1.1"]);
        let mut first = world.client();
        first.say(GET).await;
        let mut web = world.upstream().await;
        web.hear_head().await;
        world.rule(to("other"));
        let mut second = world.client();
        second.say(GET).await;
        world.upstream().await.serve(OK).await;
        second.hear_message("ok").await;
    });
}

#[test]
fn connections_that_are_carried_as_bytes_have_the_same_limit() {
    run(async || {
        let mut world = World::sidecar();
        world
            .service("db", Protocol::Tcp, &["10.0.1.9"])
            .policy("db", pools(one_connection(), HttpPool::default()));
        let mut first = world.application("10.96.0.2:80");
        first.say("hello").await;
        let mut db = world.upstream().await;
        db.hear("hello").await;
        let mut second = world.application("10.96.0.2:80");
        second.say("hello").await;
        second.hear_end().await;
        let labels = [("response_flags", "UO"), ("request_protocol", "tcp")];
        let name = "istio_tcp_connections_opened_total";
        assert_eq!(world.metric(name, &labels), Some(1));
        drop(first);
        db.hear_end().await;
        drop(db);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut third = world.application("10.96.0.2:80");
        third.say("again").await;
        world.upstream().await.hear("again").await;
    });
}

#[test]
fn a_connection_that_is_carried_as_bytes_has_the_time_of_its_cluster_to_be_made() {
    run(async || {
        let mut world = World::sidecar();
        let tcp = TcpPool {
            connect_timeout: Some(Duration::from_millis(200)),
            ..TcpPool::default()
        };
        world
            .service("db", Protocol::Tcp, &["10.0.1.9"])
            .policy("db", pools(tcp, HttpPool::default()));
        world.silence("10.0.1.9:9080");
        let begun = Instant::now();
        let mut client = world.application("10.96.0.2:80");
        client.hear_end().await;
        assert_eq!(begun.elapsed().as_millis(), 200);
    });
}

#[test]
fn a_connection_that_is_carried_as_bytes_is_closed_after_the_time_without_any() {
    run(async || {
        let mut world = World::sidecar();
        let tcp = TcpPool {
            idle_timeout: Some(Duration::from_secs(10)),
            ..TcpPool::default()
        };
        world
            .service("db", Protocol::Tcp, &["10.0.1.9"])
            .policy("db", pools(tcp, HttpPool::default()));
        let mut client = world.application("10.96.0.2:80");
        client.say("hello").await;
        let mut db = world.upstream().await;
        db.hear("hello").await;
        tokio::time::sleep(Duration::from_secs(9)).await;
        client.say("still here").await;
        db.hear("still here").await;
        tokio::time::sleep(Duration::from_secs(9)).await;
        db.say("me too").await;
        client.hear("me too").await;
        tokio::time::sleep(Duration::from_secs(11)).await;
        client.hear_end().await;
        db.hear_end().await;
    });
}

#[test]
fn the_idle_time_of_a_rule_holds_whatever_the_proxys_own_is() {
    run(async || {
        let minute = Duration::from_secs(60);
        let mut world = World::new(
            Role::Sidecar,
            Timeouts {
                tcp_idle: minute,
                upstream_idle: minute,
                ..Timeouts::default()
            },
        );
        let of = |idle_timeout| TcpPool {
            idle_timeout: Some(idle_timeout),
            ..TcpPool::default()
        };
        world.service("db", Protocol::Tcp, &["10.0.1.9"]).policy(
            "db",
            pools(of(Duration::from_secs(7200)), HttpPool::default()),
        );
        world
            .service("log", Protocol::Tcp, &["10.0.1.8"])
            .policy("log", pools(of(Duration::ZERO), HttpPool::default()));
        let mut client = world.application("10.96.0.2:80");
        client.say("hello").await;
        let mut db = world.upstream().await;
        db.hear("hello").await;
        let mut writer = world.application("10.96.0.3:80");
        writer.say("line").await;
        let mut log = world.upstream().await;
        log.hear("line").await;
        tokio::time::sleep(Duration::from_secs(7199)).await;
        client.say("still here").await;
        db.hear("still here").await;
        tokio::time::sleep(Duration::from_secs(7201)).await;
        client.hear_end().await;
        writer.say("last line").await;
        log.hear("last line").await;
    });
}

#[test]
fn a_connection_that_is_carried_as_bytes_gets_no_older_than_it_may() {
    run(async || {
        let mut world = World::sidecar();
        let tcp = TcpPool {
            max_connection_duration: Some(Duration::from_secs(5)),
            ..TcpPool::default()
        };
        world
            .service("db", Protocol::Tcp, &["10.0.1.9"])
            .policy("db", pools(tcp, HttpPool::default()));
        let mut client = world.application("10.96.0.2:80");
        client.say("0").await;
        let mut db = world.upstream().await;
        db.hear("0").await;
        for second in ["1", "2", "3", "4"] {
            tokio::time::sleep(Duration::from_secs(1)).await;
            client.say(second).await;
            db.hear(second).await;
        }
        client.hear_end().await;
        db.hear_end().await;
    });
}

#[test]
fn a_connection_that_switched_protocols_is_a_request_under_way() {
    run(async || {
        let http = HttpPool {
            max_requests: Some(1),
            ..HttpPool::default()
        };
        let world = world(TcpPool::default(), http);
        let mut first = world.client();
        first
            .say("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        let mut web = world.upstream().await;
        web.serve(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .await;
        first.hear_head().await;
        first.say("ping").await;
        web.hear("ping").await;
        let mut second = world.client();
        let (head, _) = second.ask(GET).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        drop(first);
        web.hear_end().await;
        drop(web);
        second.say(GET).await;
        world.upstream().await.serve(OK).await;
        second.hear_message("ok").await;
    });
}
