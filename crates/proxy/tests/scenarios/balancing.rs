//! Load balancers, and when endpoints are left out, field by field.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use lateen_model::balancer::{Algorithm, LoadBalancer};
use lateen_model::destination::{PortPolicy, RetryBudget};
use lateen_model::http::HttpRule;
use lateen_model::pool::OutlierDetection;
use lateen_model::proxy::Role;
use lateen_model::retry::{Retries, RetryOn};
use lateen_model::{Body, Percent, Protocol};

use crate::resources;
use crate::world::{GET, OK, OWN, World, answer, attempt, run, to};

const THREE: [&str; 3] = ["10.0.1.1", "10.0.1.2", "10.0.1.3"];

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

fn by(algorithm: Algorithm) -> PortPolicy {
    PortPolicy {
        load_balancer: Some(LoadBalancer {
            algorithm,
            ..LoadBalancer::default()
        }),
        ..PortPolicy::default()
    }
}

/// Sends a request on a connection of its own and answers where it went; nowhere, if it could not
/// be connected.
async fn visit(world: &World, response: &str) -> Option<String> {
    let mut client = world.client();
    client.say(GET).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let Some(mut web) = world.next_upstream() else {
        client.hear_response().await;
        return None;
    };
    web.hear_head().await;
    web.say(response.replacen("\r\n", "\r\nconnection: close\r\n", 1))
        .await;
    client.hear_response().await;
    Some(web.ip())
}

async fn counts(world: &World, turns: u32) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for _ in 0..turns {
        let place = visit(world, OK).await.expect("an endpoint");
        *counts.entry(place).or_default() += 1;
    }
    counts
}

#[test]
fn round_robin_takes_turns() {
    run(async || {
        let world = world(&THREE, by(Algorithm::RoundRobin));
        let counts = counts(&world, 30).await;
        assert!(counts.values().all(|count| *count == 10), "{counts:?}");
    });
}

#[test]
fn random_takes_any() {
    run(async || {
        let world = world(&THREE, by(Algorithm::Random));
        assert_eq!(counts(&world, 100).await.len(), 3);
    });
}

#[test]
fn least_request_leaves_a_busy_endpoint_alone() {
    run(async || {
        let world = world(&THREE[..2], by(Algorithm::LeastRequest));
        let mut waiting = world.client();
        waiting.say(GET).await;
        let mut busy = world.upstream().await;
        busy.hear_head().await;
        let counts = counts(&world, 20).await;
        assert_eq!(counts.len(), 1);
        assert!(!counts.contains_key(&busy.ip()));
        busy.say(OK).await;
        waiting.hear_message("ok").await;
    });
}

#[test]
fn passthrough_goes_where_the_caller_dialled() {
    run(async || {
        let mut world = World::sidecar();
        world
            .service("web", Protocol::Http, &THREE)
            .policy("web", by(Algorithm::Passthrough));
        let mut application = world.application("10.96.0.3:80");
        application.say("GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
        let mut web = world.upstream().await;
        assert_eq!(web.address.to_string(), "10.96.0.3:80");
        web.serve(OK).await;
        application.hear_message("ok").await;
    });
}

fn detection() -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: 0,
        consecutive_gateway_errors: 0,
        splits_local_origin: false,
        consecutive_local_origin: 0,
        error_codes: vec![],
        interval: Duration::from_secs(10),
        base_ejection_time: Duration::from_secs(30),
        max_ejection: Percent::ALL,
        min_health: Percent::ZERO,
    }
}

/// Whether the only endpoint is left out after answers with these statuses.
async fn is_left_out(detection: OutlierDetection, statuses: &[u16]) -> bool {
    let policy = PortPolicy {
        outlier_detection: Some(detection),
        ..PortPolicy::default()
    };
    let world = Box::new(world(&THREE[..1], policy));
    for status in statuses {
        visit(&world, &answer(*status)).await;
    }
    visit(&world, OK).await.is_none()
}

#[test]
fn errors_in_a_row_are_counted_by_their_kind() {
    run(async || {
        let any = || OutlierDetection {
            consecutive_5xx: 3,
            ..detection()
        };
        assert!(is_left_out(any(), &[500, 501, 503]).await);
        assert!(!is_left_out(any(), &[500, 501]).await);
        assert!(!is_left_out(any(), &[500, 500, 200, 500]).await);
        let gateway = || OutlierDetection {
            consecutive_gateway_errors: 2,
            ..detection()
        };
        assert!(is_left_out(gateway(), &[502, 504]).await);
        assert!(!is_left_out(gateway(), &[500, 500, 500]).await);
        let codes = || OutlierDetection {
            consecutive_5xx: 2,
            error_codes: vec![(429, 429)],
            ..detection()
        };
        assert!(is_left_out(codes(), &[429, 429]).await);
        assert!(!is_left_out(codes(), &[500, 500, 500]).await);
    });
}

#[test]
fn failures_to_connect_are_counted_apart_where_the_policy_says_so() {
    for (splits, dials) in [(false, 5), (true, 2)] {
        run(async || {
            let policy = PortPolicy {
                outlier_detection: Some(OutlierDetection {
                    consecutive_5xx: 5,
                    splits_local_origin: splits,
                    consecutive_local_origin: 2,
                    ..detection()
                }),
                ..PortPolicy::default()
            };
            let world = world(&THREE[..1], policy);
            world.refuse("10.0.1.1:9080");
            for _ in 0..10 {
                assert_eq!(visit(&world, OK).await, None);
            }
            assert_eq!(world.dialled(), dials);
        });
    }
}

#[test]
fn no_more_endpoints_are_left_out_than_the_share_allows() {
    run(async || {
        let policy = PortPolicy {
            outlier_detection: Some(OutlierDetection {
                consecutive_5xx: 1,
                max_ejection: Percent::from_millionths(500_000),
                ..detection()
            }),
            ..PortPolicy::default()
        };
        let world = world(&THREE, policy);
        let mut places = BTreeMap::<_, u32>::new();
        for _ in 0..30 {
            let place = visit(&world, &answer(500)).await.expect("an endpoint");
            *places.entry(place).or_default() += 1;
        }
        let once = places.values().filter(|count| **count == 1).count();
        assert_eq!(once, 2, "two of three are out after one error: {places:?}");
    });
}

#[test]
fn with_too_few_healthy_endpoints_all_get_requests() {
    run(async || {
        let policy = PortPolicy {
            outlier_detection: Some(OutlierDetection {
                consecutive_5xx: 1,
                min_health: Percent::from_millionths(500_000),
                ..detection()
            }),
            ..PortPolicy::default()
        };
        let world = world(&THREE, policy);
        for _ in 0..2 {
            visit(&world, &answer(500)).await;
        }
        assert_eq!(counts(&world, 60).await.len(), 3);
    });
}

#[test]
fn a_budget_limits_retries_to_a_share_of_the_requests() {
    run(async || {
        let mut world = World::gateway();
        world
            .service("web", Protocol::Http, &THREE[..1])
            .rule(HttpRule {
                retries: Some(Retries {
                    attempts: 3,
                    conditions: vec![RetryOn::ServerError],
                    ..Retries::default_policy()
                }),
                ..to("web")
            });
        let mut rule = resources::destination_rule("web", PortPolicy::default());
        if let Body::DestinationRule(rule) = &mut rule.body {
            rule.policy.retry_budget = Some(RetryBudget {
                percent: Percent::ZERO,
                min_retry_concurrency: 1,
            });
        }
        world.apply(rule);
        let mut first = world.client();
        first.say(GET).await;
        let mut web = world.upstream().await;
        web.serve(answer(500)).await;
        assert_eq!(attempt(&web.hear_head().await), 2);
        let mut second = world.client();
        second.say(GET).await;
        world.upstream().await.serve(answer(500)).await;
        let (head, _) = second.hear_response().await;
        assert!(head.starts_with("HTTP/1.1 500"), "{head}");
        web.say(OK).await;
        first.hear_message("ok").await;
    });
}

/// Two endpoints are near, one is far; requests are sent three times at most.
fn spread(remote_localities: bool) -> World {
    let mut world = world(
        &THREE,
        PortPolicy {
            outlier_detection: Some(detection()),
            ..PortPolicy::default()
        },
    );
    let mut proxy = resources::proxy(Role::Gateway, OWN.parse().expect("an address"));
    if let Body::Proxy(proxy) = &mut proxy.body {
        proxy.locality = "r1/z1".into();
    }
    world.apply(proxy);
    let address = |one: &str| SocketAddr::new(one.parse().expect("an address"), 9080);
    let mut endpoints = resources::endpoints("web", &THREE.map(address));
    for (endpoint, locality) in endpoints
        .endpoints
        .iter_mut()
        .zip(["r1/z1", "r1/z1", "r2/z1"])
    {
        endpoint.locality = locality.into();
    }
    world.apply_endpoints(endpoints);
    let retries = Retries {
        attempts: 2,
        conditions: vec![RetryOn::ServerError],
        remote_localities,
        ..Retries::default_policy()
    };
    world.rule(HttpRule {
        retries: Some(retries),
        ..to("web")
    });
    world
}

/// Where the three attempts of a request go.
async fn places(world: &World) -> Vec<String> {
    let mut client = world.client();
    client.say(GET).await;
    let mut places = Vec::new();
    // An answer with which its connection ends, so that each attempt makes one.
    let no = answer(500).replacen("\r\n", "\r\nconnection: close\r\n", 1);
    for _ in 0..3 {
        let mut web = world.upstream().await;
        web.serve(&no).await;
        places.push(web.ip());
    }
    client.hear_response().await;
    places
}

#[test]
fn retries_seek_another_locality_after_two_attempts_if_they_may() {
    run(async || {
        for _ in 0..10 {
            let places = places(&spread(true)).await;
            let near: BTreeSet<_> = places[..2].iter().map(String::as_str).collect();
            assert_eq!(near, BTreeSet::from([THREE[0], THREE[1]]));
            assert_eq!(places[2], THREE[2]);
        }
    });
}

#[test]
fn retries_stay_in_their_locality_otherwise() {
    run(async || {
        for _ in 0..10 {
            let places = places(&spread(false)).await;
            assert!(!places.iter().any(|one| one == THREE[2]), "{places:?}");
        }
    });
}
