//! Which endpoint a request goes to: those that fail are left out, and clients stay at theirs.

use std::collections::BTreeSet;
use std::time::Duration;

use lateen_model::balancer::{
    Algorithm, ConsistentHash, HashCookie, HashKey, HashTable, LoadBalancer,
};
use lateen_model::destination::PortPolicy;
use lateen_model::endpoint::Health;
use lateen_model::http::HttpRule;
use lateen_model::retry::Retries;
use lateen_model::{Protocol, SocketAddress};

use crate::resources::{self, detection};
use crate::world::{GET, OK, Peer, World, answer, field, run, to};

const TWO: [&str; 2] = ["10.0.1.1", "10.0.1.2"];
const MANY: [&str; 5] = ["10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.4", "10.0.1.5"];

fn world(endpoints: &[&str], policy: PortPolicy) -> World {
    let mut world = World::gateway();
    let off = Retries {
        attempts: 0,
        ..Retries::default_policy()
    };
    world
        .service("web", Protocol::Http, endpoints)
        .rule(HttpRule {
            retries: Some(off),
            ..to("web")
        })
        .policy("web", policy);
    world
}

fn ejecting() -> PortPolicy {
    PortPolicy {
        outlier_detection: Some(detection()),
        ..PortPolicy::default()
    }
}

/// Sends a request on a connection of its own, has it answered, and answers where it went and what
/// the client heard.
async fn visit(
    world: &World,
    request: &str,
    response: impl Fn(&Peer) -> String,
) -> (String, String) {
    let mut client = world.client();
    client.say(request).await;
    let mut web = world.upstream().await;
    web.hear_head().await;
    // No connection is kept, so that each request is seen where it goes.
    let response = response(&web);
    web.say(response.replacen("\r\n", "\r\nconnection: close\r\n", 1))
        .await;
    let (head, _) = client.hear_response().await;
    (web.ip(), head)
}

#[test]
fn an_endpoint_that_fails_again_and_again_is_left_out_for_a_while() {
    run(async || {
        let world = world(&TWO, ejecting());
        let fails = |peer: &Peer| {
            let is_bad = peer.ip() == TWO[0];
            if is_bad { answer(500) } else { OK.into() }
        };
        let mut failed = 0;
        for _ in 0..200 {
            let (at, _) = visit(&world, GET, fails).await;
            failed += u32::from(at == TWO[0]);
        }
        assert_eq!(failed, 2, "two failures in a row are enough");
        tokio::time::sleep(Duration::from_secs(31)).await;
        for _ in 0..200 {
            let (at, _) = visit(&world, GET, fails).await;
            failed += u32::from(at == TWO[0]);
        }
        assert_eq!(failed, 4, "it gets another chance");
    });
}

#[test]
fn an_answer_that_is_no_error_begins_the_count_anew() {
    run(async || {
        let world = world(&["10.0.1.1"], ejecting());
        for _ in 0..3 {
            visit(&world, GET, |_| answer(500)).await;
            visit(&world, GET, |_| answer(404)).await;
        }
        visit(&world, GET, |_| OK.into()).await;
    });
}

#[test]
fn failures_to_connect_count() {
    run(async || {
        let world = world(&TWO, ejecting());
        world.refuse("10.0.1.1:9080");
        let mut refused = 0;
        for _ in 0..100 {
            let mut client = world.client();
            client.say(GET).await;
            let before = world.dialled();
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!(world.dialled(), before + 1);
            match world.next_upstream() {
                Some(mut web) => drop(web.serve(OK).await),
                None => refused += 1,
            }
        }
        assert_eq!(refused, 2);
    });
}

#[test]
fn failures_to_connect_count_for_bytes_too() {
    run(async || {
        let mut world = World::sidecar();
        world
            .service("db", Protocol::Tcp, &TWO)
            .policy("db", ejecting());
        world.refuse("10.0.1.1:9080");
        let mut refused = 0;
        for _ in 0..100 {
            let mut client = world.application("10.96.0.2:80");
            tokio::time::sleep(Duration::from_millis(1)).await;
            match world.next_upstream() {
                Some(mut db) => {
                    client.say("hello").await;
                    db.hear("hello").await;
                }
                None => refused += 1,
            }
        }
        assert_eq!(refused, 2);
    });
}

#[test]
fn where_nobody_is_left_the_answer_is_503() {
    run(async || {
        let world = world(&["10.0.1.1"], ejecting());
        for _ in 0..2 {
            visit(&world, GET, |_| answer(503)).await;
        }
        let (head, body) = world.client().ask(GET).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert_eq!(body, "no healthy upstream");
        let labels = [("response_flags", "UH")];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
    });
}

#[test]
fn an_endpoint_that_is_going_away_gets_nothing_new() {
    run(async || {
        let mut world = world(&TWO, PortPolicy::default());
        let mut client = world.client();
        client.say(GET).await;
        let mut web = world.upstream().await;
        web.hear_head().await;
        let leaving = web.ip();
        let address = |ip| -> SocketAddress { format!("{ip}:9080").parse().expect("an address") };
        let addresses = TWO.map(address);
        let mut endpoints = resources::endpoints("web", &addresses);
        for endpoint in &mut endpoints.endpoints {
            if endpoint.address.to_string() == leaving {
                endpoint.health = Health::Draining;
            }
        }
        world.apply_endpoints(endpoints);
        // What is under way ends well.
        web.say(OK).await;
        client.hear_message("ok").await;
        for _ in 0..20 {
            let (at, _) = visit(&world, GET, |_| OK.into()).await;
            assert_ne!(at, leaving);
        }
    });
}

fn by(key: HashKey) -> PortPolicy {
    PortPolicy {
        load_balancer: Some(LoadBalancer {
            algorithm: Algorithm::ConsistentHash(ConsistentHash {
                key,
                table: HashTable::Ring { minimum_size: 1024 },
            }),
            ..LoadBalancer::default()
        }),
        ..PortPolicy::default()
    }
}

/// Where requests go that are made by number.
async fn places(world: &World, request: impl Fn(usize) -> String) -> BTreeSet<String> {
    let mut places = BTreeSet::new();
    for number in 0..40 {
        let (at, _) = visit(world, &request(number), |_| OK.into()).await;
        places.insert(at);
    }
    places
}

fn with(line: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n")
}

#[test]
fn requests_with_the_same_header_go_to_the_same_endpoint() {
    run(async || {
        let world = world(&MANY, by(HashKey::Header("x-user".into())));
        assert_eq!(places(&world, |_| with("X-User: jason")).await.len(), 1);
        assert!(
            places(&world, |at| with(&format!("x-user: {at}")))
                .await
                .len()
                > 2
        );
        // Without the header there is nothing to hash.
        assert!(places(&world, |_| GET.to_owned()).await.len() > 2);
    });
}

#[test]
fn requests_with_the_same_query_parameter_go_to_the_same_endpoint() {
    run(async || {
        let world = world(&MANY, by(HashKey::QueryParameter("user".into())));
        let get = |query: String| format!("GET /?{query} HTTP/1.1\r\nHost: a\r\n\r\n");
        let same = places(&world, |at| get(format!("x={at}&user=jason"))).await;
        assert_eq!(same.len(), 1);
        assert!(places(&world, |at| get(format!("user={at}"))).await.len() > 2);
    });
}

#[test]
fn requests_of_the_same_client_go_to_the_same_endpoint() {
    run(async || {
        let world = world(&MANY, by(HashKey::SourceIp));
        assert_eq!(places(&world, |_| GET.to_owned()).await.len(), 1);
    });
}

fn cookie(ttl: Option<Duration>) -> HashKey {
    HashKey::Cookie(HashCookie {
        name: "user".into(),
        path: "/shop".into(),
        ttl,
        attributes: vec![("SameSite".into(), "Strict".into())],
    })
}

#[test]
fn requests_with_the_same_cookie_go_to_the_same_endpoint() {
    run(async || {
        let world = world(&MANY, by(cookie(None)));
        let same = places(&world, |at| with(&format!("Cookie: a={at}; user=jason"))).await;
        assert_eq!(same.len(), 1);
        assert!(
            places(&world, |at| with(&format!("cookie: user={at}")))
                .await
                .len()
                > 2
        );
        let (_, head) = visit(&world, GET, |_| OK.into()).await;
        assert_eq!(
            field(&head, "set-cookie"),
            None,
            "none is made without a ttl"
        );
    });
}

#[test]
fn a_cookie_that_is_missing_is_made_and_keeps_its_client() {
    run(async || {
        let world = world(&MANY, by(cookie(Some(Duration::from_secs(60)))));
        let (first, head) = visit(&world, GET, |_| OK.into()).await;
        let made = field(&head, "set-cookie").expect("a cookie").to_owned();
        let (pair, attributes) = made.split_once("; ").expect("attributes");
        assert!(pair.starts_with("user=\"") && pair.len() > 20, "{made}");
        assert_eq!(
            attributes,
            "Max-Age=60; Path=/shop; SameSite=Strict; HttpOnly"
        );
        for _ in 0..10 {
            let (at, head) = visit(&world, &with(&format!("Cookie: {pair}")), |_| OK.into()).await;
            assert_eq!(at, first);
            assert_eq!(field(&head, "set-cookie"), None);
        }
    });
    run(async || {
        let world = world(&MANY, by(cookie(Some(Duration::ZERO))));
        let (_, head) = visit(&world, GET, |_| OK.into()).await;
        let made = field(&head, "set-cookie").expect("a cookie of the session");
        assert!(!made.contains("Max-Age"), "{made}");
    });
}
