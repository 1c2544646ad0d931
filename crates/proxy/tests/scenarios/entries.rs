//! Services that users write down, subsets of services, and policies of ports: where requests go.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use lateen_model::balancer::{Algorithm, Distribute, LoadBalancer, LocalityLb};
use lateen_model::destination::{PortPolicy, Subset, TrafficPolicy};
use lateen_model::endpoint::{Endpoint, Endpoints, Health};
use lateen_model::http::{HttpAction, HttpRule, Mirror};
use lateen_model::pool::{ConnectionPool, HttpPool, OutlierDetection};
use lateen_model::proxy::Role;
use lateen_model::route::WeightedDestination;
use lateen_model::service::{DnsEndpoint, ExportTo, Resolution, Service};
use lateen_model::{Body, Labels, Percent, Protocol, Resource};

use crate::resources;
use crate::world::{GET, OK, OWN, World, field, run, to};

/// A service with a change.
fn service(name: &str, protocol: Protocol, change: impl FnOnce(&mut Service)) -> Resource {
    let mut resource = resources::service(name, protocol);
    if let Body::Service(service) = &mut resource.body {
        change(service);
    }
    resource
}

fn version(name: &str) -> Labels {
    Labels::from([("version".into(), name.into())])
}

/// Endpoints of `web` as address, port, version and weight.
fn endpoints(given: &[(&str, u16, &str, u32)]) -> Endpoints {
    let endpoints = given.iter().map(|(address, port, name, weight)| Endpoint {
        address: address.parse().expect("an address"),
        ports: vec![(80, *port)],
        labels: version(name),
        weight: *weight,
        health: Health::Ready,
        locality: String::new(),
        is_meshed: false,
        service_account: String::new(),
        hostname: String::new(),
    });
    Endpoints {
        service: resources::key("web"),
        endpoints: endpoints.collect(),
    }
}

/// A DestinationRule for `web` with a subset for each version, and their policy.
fn subsets(general: PortPolicy, of_subset: &PortPolicy) -> Resource {
    let mut rule = resources::destination_rule("web", general);
    if let Body::DestinationRule(rule) = &mut rule.body {
        rule.subsets = ["v1", "v2"]
            .map(|name| Subset {
                name: name.into(),
                labels: version(name),
                policy: TrafficPolicy {
                    port_default: of_subset.clone(),
                    ..TrafficPolicy::default()
                },
            })
            .to_vec();
    }
    rule
}

fn to_subset(name: &str) -> WeightedDestination {
    let mut destination = resources::to_service("web", 1);
    destination.destination.subset = Some(name.into());
    destination
}

/// Where a request goes that an application sends to `web` or to an address.
async fn place(world: &World, destination: &str) -> String {
    let mut application = world.application(destination);
    application.say("GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
    let mut upstream = world.upstream().await;
    let response = OK.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    upstream.serve(response).await;
    application.hear_message("ok").await;
    upstream.address.to_string()
}

#[test]
fn an_entry_that_resolves_nothing_is_reached_where_it_was_dialled() {
    run(async || {
        let mut world = World::sidecar();
        world.apply(service("web", Protocol::Http, |web| {
            web.resolution = Resolution::OriginalDst;
            web.addresses = vec!["203.0.113.0/24".parse().expect("a network")];
        }));
        let there = "203.0.113.7:80";
        assert_eq!(place(&world, there).await, there);
        let labels = [("destination_service_name", "web")];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
    });
}

#[test]
fn an_entry_of_dns_is_reached_at_what_its_names_stand_for() {
    run(async || {
        let mut world = World::sidecar();
        let web = service("web", Protocol::Http, |web| {
            web.resolution = Resolution::Dns(vec![DnsEndpoint {
                name: "one.example".into(),
                ports: vec![(80, 8080)],
                labels: Labels::new(),
                weight: 1,
                locality: String::new(),
            }]);
        });
        world.apply(web.clone());
        let found: IpAddr = "198.51.100.1".parse().expect("an address");
        world.store.set_dns("one.example", vec![found]);
        // Another change makes the next plan.
        world.apply(service("other", Protocol::Http, |_| ()));
        assert_eq!(place(&world, "10.96.0.3:80").await, "198.51.100.1:8080");
    });
}

#[test]
fn an_entry_is_reached_at_a_socket_of_the_file_system() {
    run(async || {
        let mut world = World::sidecar();
        world.service("web", Protocol::Http, &["unix:///run/web.sock"]);
        assert_eq!(place(&world, "10.96.0.3:80").await, "unix:///run/web.sock");
        let labels = [
            ("destination_service_name", "web"),
            ("destination_workload", "unknown"),
        ];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
    });
}

#[test]
fn ranges_of_an_entry_are_matched_by_their_longest_prefix() {
    run(async || {
        let mut world = World::sidecar();
        for (name, net) in [("wide", "198.18.0.0/15"), ("narrow", "198.18.7.0/24")] {
            world.apply(service(name, Protocol::Tcp, |entry| {
                entry.resolution = Resolution::OriginalDst;
                entry.addresses = vec![net.parse().expect("a network")];
            }));
        }
        for (there, name) in [("198.18.6.1:80", "wide"), ("198.18.7.1:80", "narrow")] {
            let mut application = world.application(there);
            application.say("hello").await;
            let mut upstream = world.upstream().await;
            upstream.hear("hello").await;
            assert_eq!(upstream.address.to_string(), there);
            let labels = [("destination_service_name", name)];
            let opened = world.metric("istio_tcp_connections_opened_total", &labels);
            assert_eq!(opened, Some(1), "{name}");
        }
    });
}

#[test]
fn endpoints_have_ports_and_weights_of_their_own() {
    run(async || {
        let mut world = World::sidecar();
        let in_turns = PortPolicy {
            load_balancer: Some(LoadBalancer {
                algorithm: Algorithm::RoundRobin,
                ..LoadBalancer::default()
            }),
            ..PortPolicy::default()
        };
        world
            .service("web", Protocol::Http, &[])
            .policy("web", in_turns);
        world.apply_endpoints(endpoints(&[
            ("10.0.1.1", 9080, "v1", 3),
            ("10.0.1.2", 7070, "v1", 1),
        ]));
        let mut counts = BTreeMap::<_, u32>::new();
        for _ in 0..40 {
            *counts
                .entry(place(&world, "10.96.0.3:80").await)
                .or_default() += 1;
        }
        // Turns begin anywhere in a cycle.
        assert!(counts["10.0.1.1:9080"].abs_diff(30) <= 2, "{counts:?}");
        assert_eq!(counts["10.0.1.1:9080"] + counts["10.0.1.2:7070"], 40);
    });
}

#[test]
fn an_entry_that_is_not_exported_to_the_namespace_is_unknown() {
    run(async || {
        let mut world = World::sidecar();
        world.service("web", Protocol::Http, &["10.0.1.1"]);
        assert_eq!(place(&world, "10.96.0.3:80").await, "10.0.1.1:9080");
        world.apply(service("web", Protocol::Http, |web| {
            web.export_to = ExportTo::Namespaces(vec!["other".into()]);
        }));
        assert_eq!(place(&world, "10.96.0.3:80").await, "10.96.0.3:80");
    });
}

/// A gateway with two versions of `web`, each with an endpoint.
fn versions(rule: HttpRule) -> World {
    let mut world = World::gateway();
    world.service("web", Protocol::Http, &[]).rule(rule);
    world.apply_endpoints(endpoints(&[
        ("10.0.1.1", 9080, "v1", 1),
        ("10.0.1.2", 9080, "v2", 1),
    ]));
    world.apply(subsets(PortPolicy::default(), &PortPolicy::default()));
    world
}

#[test]
fn a_subset_is_the_endpoints_with_its_labels() {
    run(async || {
        for (name, there) in [("v1", "10.0.1.1:9080"), ("v2", "10.0.1.2:9080")] {
            let world = versions(HttpRule::new(HttpAction::Route(vec![to_subset(name)])));
            for _ in 0..5 {
                let mut client = world.client();
                client.say(GET).await;
                let mut upstream = world.upstream().await;
                assert_eq!(upstream.address.to_string(), there);
                let close = OK.replacen("\r\n", "\r\nconnection: close\r\n", 1);
                upstream.serve(close).await;
                client.hear_message("ok").await;
            }
        }
        let unknown = versions(HttpRule::new(HttpAction::Route(vec![to_subset("v9")])));
        let (head, _) = unknown.client().ask(GET).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        let labels = [("response_flags", "NC")];
        assert_eq!(unknown.metric("istio_requests_total", &labels), Some(1));
    });
}

#[test]
fn a_mirror_may_be_a_subset_and_a_port() {
    run(async || {
        let mirror = |port| Mirror {
            destination: {
                let mut destination = to_subset("v2").destination;
                destination.port = port;
                destination
            },
            percentage: Percent::ALL,
        };
        let world = versions(HttpRule {
            mirrors: vec![mirror(Some(80)), mirror(Some(81))],
            ..HttpRule::new(HttpAction::Route(vec![to_subset("v1")]))
        });
        let mut client = world.client();
        client.say(GET).await;
        let mut places = BTreeMap::new();
        for _ in 0..2 {
            let mut upstream = world.upstream().await;
            upstream.serve(OK).await;
            places.insert(upstream.address.to_string(), upstream);
        }
        client.hear_message("ok").await;
        // The service has no port 81.
        assert_eq!(world.dialled(), 2);
        let places: Vec<_> = places.keys().map(String::as_str).collect();
        assert_eq!(places, ["10.0.1.1:9080", "10.0.1.2:9080"]);
    });
}

/// At most so many requests at once.
fn at_most(requests: u32) -> PortPolicy {
    PortPolicy {
        connection_pool: Some(ConnectionPool {
            http: HttpPool {
                max_requests: Some(requests),
                ..HttpPool::default()
            },
            ..ConnectionPool::default()
        }),
        ..PortPolicy::default()
    }
}

/// Whether a second request is refused while one is under way.
async fn is_limited(world: &World) -> bool {
    let mut first = world.client();
    first.say(GET).await;
    let mut busy = world.upstream().await;
    busy.hear_head().await;
    let mut second = world.client();
    second.say(GET).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let Some(mut upstream) = world.next_upstream() else {
        let (head, _) = second.hear_response().await;
        return field(&head, "x-envoy-overloaded") == Some("true");
    };
    upstream.serve(OK).await;
    second.hear_message("ok").await;
    false
}

#[test]
fn a_subset_and_a_port_have_policies_of_their_own() {
    run(async || {
        let in_subset = || HttpRule::new(HttpAction::Route(vec![to_subset("v1")]));
        for (own, is_refused) in [(at_most(2), false), (PortPolicy::default(), true)] {
            let mut world = versions(in_subset());
            world.apply(subsets(at_most(1), &own));
            assert_eq!(is_limited(&world).await, is_refused, "{own:?}");
        }
        for (port, is_refused) in [(80, false), (81, true)] {
            let mut world = World::gateway();
            world
                .service("web", Protocol::Http, &["10.0.1.1"])
                .rule(to("web"));
            let mut rule = resources::destination_rule("web", at_most(1));
            if let Body::DestinationRule(rule) = &mut rule.body {
                rule.policy.ports = vec![(port, PortPolicy::default())];
            }
            world.apply(rule);
            assert_eq!(is_limited(&world).await, is_refused, "port {port}");
        }
    });
}

#[test]
fn a_policy_that_is_not_exported_to_the_namespace_does_not_hold() {
    run(async || {
        for (export_to, is_refused) in [
            (ExportTo::All, true),
            (ExportTo::Namespaces(vec!["other".into()]), false),
        ] {
            let mut world = World::gateway();
            world
                .service("web", Protocol::Http, &["10.0.1.1"])
                .rule(to("web"));
            let mut rule = resources::destination_rule("web", at_most(1));
            if let Body::DestinationRule(rule) = &mut rule.body {
                rule.export_to = export_to;
                rule.namespace = "istio-system".into();
            }
            world.apply(rule);
            assert_eq!(is_limited(&world).await, is_refused);
        }
    });
}

/// Where forty requests go: endpoints in three localities, of which the first is the proxy's.
async fn spread(locality: LocalityLb) -> BTreeMap<String, u32> {
    let mut world = Box::new(World::sidecar());
    let mut proxy = resources::proxy(Role::Sidecar, OWN.parse().expect("an address"));
    if let Body::Proxy(proxy) = &mut proxy.body {
        proxy.locality = "r1/z1".into();
    }
    world.apply(proxy);
    let policy = PortPolicy {
        load_balancer: Some(LoadBalancer {
            locality: Some(locality),
            ..LoadBalancer::default()
        }),
        outlier_detection: Some(OutlierDetection {
            consecutive_5xx: 5,
            consecutive_gateway_errors: 0,
            splits_local_origin: false,
            consecutive_local_origin: 0,
            error_codes: vec![],
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection: Percent::ALL,
            min_health: Percent::ZERO,
        }),
        ..PortPolicy::default()
    };
    world
        .service("web", Protocol::Http, &[])
        .policy("web", policy);
    let mut endpoints = endpoints(&[
        ("10.0.1.1", 9080, "v1", 1),
        ("10.0.1.2", 9080, "v1", 1),
        ("10.0.1.3", 9080, "v2", 1),
    ]);
    for (endpoint, locality) in endpoints.endpoints.iter_mut().zip(["r1/z1", "r2", "r3"]) {
        endpoint.locality = locality.into();
        // The nearest one is away.
        if locality == "r1/z1" {
            endpoint.health = Health::NotReady;
        }
    }
    world.apply_endpoints(endpoints);
    let mut counts = BTreeMap::new();
    for _ in 0..40 {
        *counts
            .entry(place(&world, "10.96.0.3:80").await)
            .or_default() += 1;
    }
    counts
}

#[test]
fn a_policy_says_which_localities_take_over() {
    run(async || {
        let far = |region: &str| LocalityLb {
            is_enabled: true,
            failover: vec![("r1".into(), region.into())],
            ..LocalityLb::default()
        };
        for (region, there) in [("r2", "10.0.1.2:9080"), ("r3", "10.0.1.3:9080")] {
            assert_eq!(spread(far(region)).await[there], 40, "{region}");
        }
        let off = LocalityLb {
            is_enabled: false,
            ..far("r2")
        };
        assert_eq!(spread(off).await.len(), 2, "both alike");
        let by_label = LocalityLb {
            is_enabled: true,
            failover_priority: vec!["version=v2".into()],
            ..LocalityLb::default()
        };
        assert_eq!(spread(by_label).await["10.0.1.3:9080"], 40);
    });
}

#[test]
fn a_policy_says_the_shares_of_localities() {
    run(async || {
        let shares = |to: &[(&str, u32)]| LocalityLb {
            is_enabled: true,
            distribute: vec![Distribute {
                from: "r1/*".into(),
                to: to.iter().map(|(to, n)| ((*to).to_owned(), *n)).collect(),
            }],
            ..LocalityLb::default()
        };
        assert_eq!(spread(shares(&[("r3", 100)])).await["10.0.1.3:9080"], 40);
        let both = spread(shares(&[("r2", 50), ("r3", 50)])).await;
        assert_eq!(both.len(), 2, "{both:?}");
    });
}
