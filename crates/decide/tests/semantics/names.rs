//! What a sidecar tells its application that names stand for.

use lateen_decide::Plan;
use lateen_model::endpoint::{Endpoint, Endpoints, Health};
use lateen_model::proxy::Role;
use lateen_model::service::{ExportTo, Resolution, Service};
use lateen_model::{Host, Labels, Protocol};

use crate::world::{World, entry, service};

fn world() -> World {
    let mut proxy = World::proxy(Role::Sidecar, "default", &[]);
    proxy.answers_dns = true;
    World::new(proxy)
}

fn at(address: &str, service: Service) -> Service {
    Service {
        addresses: vec![address.parse().expect("a network")],
        ..service
    }
}

/// The addresses of a name, with what it is another name of.
fn named(plan: &Plan, name: &str) -> Option<String> {
    let named = plan.named(name)?;
    let addresses: Vec<_> = named.addresses.iter().map(ToString::to_string).collect();
    let alias = named.alias.map(|alias| format!("{alias} "));
    Some(alias.unwrap_or_default() + &addresses.join(" "))
}

fn named_as(plan: &Plan, names: &[(&str, Option<&str>)]) {
    for (name, expected) in names {
        assert_eq!(named(plan, name).as_deref(), *expected, "{name}");
    }
}

fn pod(hostname: &str, address: &str, health: Health) -> Endpoint {
    Endpoint {
        address: address.parse().expect("an address"),
        ports: vec![(3306, 3306)],
        labels: Labels::new(),
        weight: 1,
        health,
        locality: String::new(),
        is_meshed: false,
        service_account: String::new(),
        hostname: hostname.into(),
    }
}

#[test]
fn a_service_has_its_short_names() {
    let mut world = world();
    let http = [(80, Protocol::Http)];
    world
        .service(at("10.96.0.1/32", service("a", "default", &http)))
        .service(at("10.96.0.2/32", service("a", "other", &http)));
    let (own, other) = (Some("10.96.0.1"), Some("10.96.0.2"));
    named_as(
        &world.plan(),
        &[
            ("a", own),
            ("a.default", own),
            ("a.default.svc", own),
            ("a.default.svc.cluster.local", own),
            ("a.other", other),
            ("a.other.svc", other),
            ("a.other.svc.cluster.local", other),
            ("b", None),
            ("a.default.pod", None),
            ("x.a.default.svc.cluster.local", None),
        ],
    );
}

#[test]
fn what_is_not_exported_has_no_name() {
    let mut world = world();
    let hidden = Service {
        export_to: ExportTo::Namespaces(vec!["other".into()]),
        ..at("10.96.0.2/32", service("a", "other", &[]))
    };
    world.service(hidden);
    assert_eq!(named(&world.plan(), "a.other"), None);
}

#[test]
fn entries_stand_for_written_addresses_else_for_allocated_ones() {
    let tcp = [(9000, Protocol::Tcp)];
    let dns = || Resolution::Dns(Vec::new());
    let allocated = Service {
        allocated: vec!["240.240.0.1/32".parse().expect("a network")],
        ..entry("a.test", &tcp, dns())
    };
    let mut world = world();
    world
        .service(allocated.clone())
        .service(at("192.0.2.7/32", entry("b.test", &tcp, dns())))
        .service(at("192.0.2.0/24", entry("range.test", &tcp, dns())))
        .service(entry("none.test", &tcp, Resolution::OriginalDst));
    let plan = world.plan();
    named_as(
        &plan,
        &[
            ("a.test", Some("240.240.0.1")),
            ("b.test", Some("192.0.2.7")),
            ("range.test", None),
            ("none.test", None),
        ],
    );
    // Connections to it are its own, whatever else has the port.
    let to_it = plan.outbound(([240, 240, 0, 1], 9000).into());
    assert_ne!(
        format!("{:?}", to_it.tcp),
        format!("{:?}", plan.outbound(([203, 0, 113, 1], 9000).into()).tcp)
    );
    // A proxy that answers no DNS knows neither the names nor the address.
    let mut world = World::sidecar();
    world.service(allocated);
    let plan = world.plan();
    assert_eq!(named(&plan, "a.test"), None);
    let bound = |address: [u8; 4]| format!("{:?}", plan.outbound((address, 9000).into()).tcp);
    assert_eq!(bound([240, 240, 0, 1]), bound([203, 0, 113, 1]));
}

#[test]
fn the_longest_wildcard_counts_and_exact_hosts_before_it() {
    let mut world = world();
    let http = [(80, Protocol::Http)];
    for (address, host) in [
        ("192.0.2.1/32", "*.example.com"),
        ("192.0.2.2/32", "*.deep.example.com"),
        ("192.0.2.3/32", "one.example.com"),
    ] {
        world.service(at(address, entry(host, &http, Resolution::OriginalDst)));
    }
    named_as(
        &world.plan(),
        &[
            ("a.example.com", Some("192.0.2.1")),
            ("a.deep.example.com", Some("192.0.2.2")),
            ("deep.example.com", Some("192.0.2.1")),
            ("one.example.com", Some("192.0.2.3")),
            ("example.com", None),
            ("*.example.com", Some("192.0.2.1")),
            ("", None),
        ],
    );
}

#[test]
fn a_headless_service_stands_for_its_pods_and_each_has_a_name() {
    let mut world = world();
    let headless = Service {
        resolution: Resolution::OriginalDst,
        ..service("db", "default", &[(3306, Protocol::Tcp)])
    };
    let key = headless.key.clone();
    world.service(headless);
    assert_eq!(named(&world.plan(), "db"), None, "nobody is there yet");
    let mut endpoints = Endpoints {
        service: key,
        endpoints: vec![
            pod("db-0", "10.244.0.1", Health::Ready),
            pod("db-1", "10.244.0.2", Health::Ready),
            pod("db-2", "10.244.0.3", Health::NotReady),
        ],
    };
    world.store.apply_endpoints(endpoints.clone());
    named_as(
        &world.plan(),
        &[
            ("db", Some("10.244.0.1 10.244.0.2")),
            (
                "db.default.svc.cluster.local",
                Some("10.244.0.1 10.244.0.2"),
            ),
            ("db-1.db.default.svc.cluster.local", Some("10.244.0.2")),
            ("db-2.db.default.svc.cluster.local", None),
        ],
    );
    endpoints.endpoints.remove(0);
    world.store.apply_endpoints(endpoints);
    assert_eq!(named(&world.plan(), "db").as_deref(), Some("10.244.0.2"));
}

#[test]
fn another_name_for_a_service_stands_for_its_addresses() {
    let mut world = world();
    let http = [(80, Protocol::Http)];
    let alias = |name: &str, target: &str| Service {
        resolution: Resolution::Alias(Host::new(target)),
        ..service(name, "default", &http)
    };
    world
        .service(at("10.96.0.1/32", service("a", "default", &http)))
        .service(alias("b", "a.default.svc.cluster.local"))
        .service(alias("c", "example.com"));
    named_as(
        &world.plan(),
        &[
            ("b", Some("a.default.svc.cluster.local 10.96.0.1")),
            ("c", None),
        ],
    );
}
