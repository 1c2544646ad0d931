//! What happens to outbound connections by their original destination.

use std::net::SocketAddr;

use lateen_decide::{ClusterId, Inspect, Outbound, Plan, Upstream};
use lateen_model::Protocol;
use lateen_model::mesh::OutboundPolicy;
use lateen_model::proxy::{InboundPort, Role};
use lateen_model::route::{GatewayRef, L4Match, TcpRule, TlsMatch, TlsRule};
use lateen_model::service::{Resolution, Service, ServiceKey};
use lateen_model::{Body, Host};

use crate::world::{
    World, decide, destination_rule, entry, gateway_ref, get, labels, pattern, rule, service, to,
    virtual_service, weighted,
};

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn with_vip(name: &str, vip: &str, port: u16, protocol: Protocol) -> Service {
    Service {
        addresses: vec![vip.parse().expect("a network")],
        ..service(name, "default", &[(port, protocol)])
    }
}

fn outbound<'p>(plan: &'p Plan, text: &str) -> &'p Outbound {
    plan.outbound(address(text))
}

/// Where bytes to an address go.
fn tcp(plan: &Plan, text: &str) -> String {
    let (cluster, _) = outbound(plan, text).tcp.decide(address(text), || 0);
    let cluster = plan.cluster(cluster);
    cluster.map_or("503 NC".to_owned(), |cluster| cluster.name.to_string())
}

/// Where TLS to an address goes by its server name; nothing if no rule names it.
fn tls(plan: &Plan, text: &str, name: &str) -> Option<String> {
    let table = outbound(plan, text).sni.as_ref()?;
    let (cluster, _) = table.decide(name.as_bytes(), address(text), || 0)?;
    plan.cluster(cluster)
        .map(|cluster| cluster.name.to_string())
}

#[test]
fn unknown_destinations_pass_through_or_go_nowhere_as_the_mesh_says() {
    let mut world = World::sidecar();
    let plan = world.plan();
    assert_eq!(outbound(&plan, "1.1.1.1:99").inspect, Inspect::Never);
    assert_eq!(tcp(&plan, "1.1.1.1:99"), "PassthroughCluster");
    world.policy(OutboundPolicy::RegistryOnly);
    let plan = world.plan();
    assert_eq!(tcp(&plan, "1.1.1.1:99"), "BlackHoleCluster");
    let nowhere = plan.cluster(ClusterId::BLACK_HOLE).expect("always there");
    assert!(matches!(nowhere.upstream, Upstream::BlackHole));
}

#[test]
fn a_declared_http_port_is_one_table_for_every_address_and_other_bytes_pass_through() {
    let mut world = World::sidecar();
    world.service(with_vip("reviews", "10.96.0.1/32", 9080, Protocol::Http));
    let plan = world.plan();
    for text in ["10.96.0.1:9080", "10.244.0.5:9080", "[fd00::1]:9080"] {
        let found = outbound(&plan, text);
        assert_eq!(found.inspect, Inspect::Wait);
        assert!(found.http.is_some());
        assert_eq!(tcp(&plan, text), "PassthroughCluster");
    }
    assert!(outbound(&plan, "10.96.0.1:9081").http.is_none());
}

#[test]
fn a_declared_tcp_port_is_bound_to_the_services_address() {
    let mut world = World::sidecar();
    world.service(with_vip("db", "10.96.0.2/32", 5432, Protocol::Tcp));
    let plan = world.plan();
    assert_eq!(outbound(&plan, "10.96.0.2:5432").inspect, Inspect::Never);
    let cluster = "outbound|5432||db.default.svc.cluster.local";
    assert_eq!(tcp(&plan, "10.96.0.2:5432"), cluster);
    assert_eq!(tcp(&plan, "[::ffff:10.96.0.2]:5432"), cluster);
    assert_eq!(tcp(&plan, "10.96.0.3:5432"), "PassthroughCluster");
}

#[test]
fn an_undeclared_port_is_detected_and_its_http_is_routed_whatever_host_is_asked_for() {
    let mut world = World::sidecar();
    world.service(with_vip("web", "10.96.0.3/32", 8000, Protocol::Unknown));
    world.http("reviews", 9080);
    world.routes(
        "one",
        virtual_service(&["web"], vec![rule(vec![], "reviews")]),
    );
    let plan = world.plan();
    let found = outbound(&plan, "10.96.0.3:8000");
    assert_eq!(found.inspect, Inspect::Detect);
    assert_eq!(
        tcp(&plan, "10.96.0.3:8000"),
        "outbound|8000||web.default.svc.cluster.local"
    );
    let table = found.http.as_ref().expect("HTTP may come");
    let reviews = "outbound|9080||reviews.default.svc.cluster.local";
    assert_eq!(decide(&plan, table, &get("anything", "/"), 0), reviews);
}

#[test]
fn udp_ports_are_not_captured() {
    let mut world = World::sidecar();
    world.service(with_vip("dns", "10.96.0.10/32", 53, Protocol::Udp));
    let plan = world.plan();
    assert_eq!(tcp(&plan, "10.96.0.10:53"), "PassthroughCluster");
}

#[test]
fn headless_services_are_bound_to_their_pods_but_not_the_own_one() {
    let mut world = World::sidecar();
    let mut headless = service("db", "default", &[(5432, Protocol::Tcp)]);
    headless.resolution = Resolution::OriginalDst;
    world.service(headless);
    world.endpoints("db", &[5432], &[("10.244.0.7", "v1"), ("10.244.0.9", "v1")]);
    let cluster = "outbound|5432||db.default.svc.cluster.local";
    let plan = world.plan();
    assert_eq!(tcp(&plan, "10.244.0.7:5432"), cluster);
    assert_eq!(tcp(&plan, "10.244.0.9:5432"), "PassthroughCluster");
    world.endpoints("db", &[5432], &[("10.244.0.8", "v1")]);
    let plan = world.plan();
    assert_eq!(tcp(&plan, "10.244.0.7:5432"), "PassthroughCluster");
    assert_eq!(tcp(&plan, "10.244.0.8:5432"), cluster);
}

#[test]
fn ranges_of_a_service_entry_are_matched_by_their_longest_prefix() {
    let mut world = World::sidecar();
    for (host, net) in [("wide.com", "10.0.0.0/8"), ("narrow.com", "10.1.0.0/16")] {
        let mut ranged = entry(host, &[(443, Protocol::Tcp)], Resolution::OriginalDst);
        ranged.addresses = vec![net.parse().expect("a network")];
        world.service(ranged);
    }
    let plan = world.plan();
    assert_eq!(tcp(&plan, "10.2.3.4:443"), "outbound|443||wide.com");
    assert_eq!(tcp(&plan, "10.1.3.4:443"), "outbound|443||narrow.com");
    assert_eq!(tcp(&plan, "11.1.3.4:443"), "PassthroughCluster");
    assert_eq!(tcp(&plan, "10.1.3.4:444"), "PassthroughCluster");
}

#[test]
fn a_tcp_entry_without_addresses_captures_the_whole_port() {
    let mut world = World::sidecar();
    world.service(entry(
        "db.com",
        &[(5432, Protocol::Tcp)],
        Resolution::OriginalDst,
    ));
    world.service(with_vip("db", "10.96.0.2/32", 5432, Protocol::Tcp));
    let plan = world.plan();
    assert_eq!(tcp(&plan, "8.8.8.8:5432"), "outbound|5432||db.com");
    let own = "outbound|5432||db.default.svc.cluster.local";
    assert_eq!(tcp(&plan, "10.96.0.2:5432"), own);
}

#[test]
fn http_and_tcp_on_one_port_are_told_apart_by_the_first_bytes() {
    let mut world = World::sidecar();
    world.http("web", 8000);
    world.service(entry(
        "db.com",
        &[(8000, Protocol::Tcp)],
        Resolution::OriginalDst,
    ));
    let plan = world.plan();
    let found = outbound(&plan, "8.8.8.8:8000");
    assert_eq!(found.inspect, Inspect::Detect);
    assert!(found.http.is_some());
    assert_eq!(tcp(&plan, "8.8.8.8:8000"), "outbound|8000||db.com");
}

#[test]
fn the_oldest_keeps_an_address_and_the_younger_is_told() {
    let mut world = World::sidecar();
    world.service(with_vip("older", "10.96.0.2/32", 5432, Protocol::Tcp));
    world.service(with_vip("younger", "10.96.0.2/32", 5432, Protocol::Tcp));
    let plan = world.plan();
    let older = "outbound|5432||older.default.svc.cluster.local";
    assert_eq!(tcp(&plan, "10.96.0.2:5432"), older);
    let (object, text) = &plan.notices()[0];
    assert_eq!(object.name, "younger.default.svc.cluster.local");
    assert!(text.contains("older"), "{text}");
}

#[test]
fn tls_entries_without_addresses_are_told_apart_by_the_server_name() {
    let mut world = World::sidecar();
    for host in ["a.com", "*.b.com"] {
        world.service(entry(
            host,
            &[(443, Protocol::Tls)],
            Resolution::OriginalDst,
        ));
    }
    let plan = world.plan();
    assert_eq!(outbound(&plan, "1.1.1.1:443").inspect, Inspect::Wait);
    assert_eq!(
        tls(&plan, "1.1.1.1:443", "A.com").as_deref(),
        Some("outbound|443||a.com")
    );
    assert_eq!(
        tls(&plan, "1.1.1.1:443", "x.b.com").as_deref(),
        Some("outbound|443||*.b.com")
    );
    assert_eq!(tls(&plan, "1.1.1.1:443", "c.com"), None);
    assert_eq!(tcp(&plan, "1.1.1.1:443"), "PassthroughCluster");
}

#[test]
fn tls_rules_route_by_server_name_and_the_service_takes_the_rest() {
    let mut world = World::sidecar();
    world.service(with_vip("web", "10.96.0.4/32", 443, Protocol::Https));
    world.service(with_vip("canary", "10.96.0.5/32", 443, Protocol::Https));
    let mut routes = virtual_service(&["web"], vec![]);
    routes.tls = vec![TlsRule {
        matches: vec![TlsMatch {
            sni_hosts: vec![pattern("web", "default")],
            l4: L4Match::default(),
        }],
        route: vec![to("canary")],
    }];
    world.routes("one", routes);
    let plan = world.plan();
    let canary = "outbound|443||canary.default.svc.cluster.local";
    let name = "web.default.svc.cluster.local";
    assert_eq!(outbound(&plan, "10.96.0.4:443").inspect, Inspect::Wait);
    assert_eq!(tls(&plan, "10.96.0.4:443", name).as_deref(), Some(canary));
    assert_eq!(tls(&plan, "10.96.0.4:443", "other"), None);
    assert_eq!(
        tcp(&plan, "10.96.0.4:443"),
        "outbound|443||web.default.svc.cluster.local"
    );
    // Nothing depends on the name where no rule is.
    assert_eq!(outbound(&plan, "10.96.0.5:443").inspect, Inspect::Never);
}

#[test]
fn tcp_rules_are_tried_in_order_by_port_and_subnet() {
    let mut world = World::sidecar();
    let mut ranged = entry("net.com", &[(9000, Protocol::Tcp)], Resolution::OriginalDst);
    ranged.addresses = vec!["10.0.0.0/8".parse().expect("a network")];
    world.service(ranged);
    for name in ["a", "b", "c"] {
        world.service(with_vip(name, "10.96.0.2/32", 9000, Protocol::Tcp));
    }
    let mut routes = virtual_service(&["net.com"], vec![]);
    let inside = |net: &str| L4Match {
        destination_subnets: vec![net.parse().expect("a network")],
        ..L4Match::default()
    };
    let elsewhere = L4Match {
        port: Some(1),
        ..L4Match::default()
    };
    routes.tcp = vec![
        TcpRule {
            matches: vec![elsewhere],
            route: vec![to("c")],
        },
        TcpRule {
            matches: vec![inside("10.1.0.0/16"), inside("10.2.0.0/16")],
            route: vec![to("a")],
        },
        TcpRule {
            matches: vec![inside("10.2.0.0/15")],
            route: vec![to("b")],
        },
    ];
    world.routes("one", routes);
    let plan = world.plan();
    for (text, expected) in [
        (
            "10.1.0.1:9000",
            "outbound|9000||a.default.svc.cluster.local",
        ),
        (
            "10.2.0.1:9000",
            "outbound|9000||a.default.svc.cluster.local",
        ),
        (
            "10.3.0.1:9000",
            "outbound|9000||b.default.svc.cluster.local",
        ),
        ("10.4.0.1:9000", "outbound|9000||net.com"),
    ] {
        assert_eq!(tcp(&plan, text), expected, "{text}");
    }
}

#[test]
fn conditions_on_the_source_of_connections_are_those_of_the_proxy() {
    let mut world = World::sidecar();
    for (name, vip) in [("db", "10.96.0.2/32"), ("a", "10.96.0.3/32")] {
        world.service(with_vip(name, vip, 9000, Protocol::Tcp));
    }
    let db = "outbound|9000||db.default.svc.cluster.local";
    let a = "outbound|9000||a.default.svc.cluster.local";
    let app = |name| L4Match {
        source_labels: labels(&[("app", name)]),
        ..L4Match::default()
    };
    let from = |namespace: &str| L4Match {
        source_namespace: Some(namespace.into()),
        ..L4Match::default()
    };
    let bound = |gateways| L4Match {
        gateways,
        ..L4Match::default()
    };
    for (block, expected) in [
        (app("client"), a),
        (app("other"), db),
        (from("default"), a),
        (from("other"), db),
        (bound(vec![GatewayRef::Mesh]), a),
        (bound(vec![gateway_ref("edge")]), db),
    ] {
        let mut routes = virtual_service(&["db"], vec![]);
        routes.tcp = vec![TcpRule {
            matches: vec![block.clone()],
            route: vec![to("a")],
        }];
        world.routes("one", routes);
        assert_eq!(tcp(&world.plan(), "10.96.0.2:9000"), expected, "{block:?}");
    }
}

#[test]
fn tls_rules_are_tried_by_port_source_and_subnet() {
    let mut world = World::sidecar();
    world.service(with_vip("web", "10.96.0.4/32", 443, Protocol::Tls));
    world.service(with_vip("canary", "10.96.0.5/32", 443, Protocol::Tls));
    let name = "web.default.svc.cluster.local";
    let subnet = |net: &str| L4Match {
        destination_subnets: vec![net.parse().expect("a network")],
        ..L4Match::default()
    };
    let port = |number| L4Match {
        port: Some(number),
        ..L4Match::default()
    };
    let app = |name| L4Match {
        source_labels: labels(&[("app", name)]),
        ..L4Match::default()
    };
    let from = |namespace: &str| L4Match {
        source_namespace: Some(namespace.into()),
        ..L4Match::default()
    };
    let bound = |gateways| L4Match {
        gateways,
        ..L4Match::default()
    };
    for (l4, is_taken) in [
        (subnet("10.96.0.4/32"), true),
        (subnet("10.97.0.0/16"), false),
        (port(443), true),
        (port(444), false),
        (app("client"), true),
        (app("other"), false),
        (from("default"), true),
        (from("other"), false),
        (bound(vec![GatewayRef::Mesh]), true),
        (bound(vec![gateway_ref("edge")]), false),
    ] {
        let mut routes = virtual_service(&["web"], vec![]);
        routes.tls = vec![TlsRule {
            matches: vec![TlsMatch {
                sni_hosts: vec![pattern("web", "default")],
                l4: l4.clone(),
            }],
            route: vec![to("canary")],
        }];
        world.routes("one", routes);
        let found = tls(&world.plan(), "10.96.0.4:443", name);
        let is_canary = found.is_some_and(|cluster| cluster.contains("canary"));
        assert_eq!(is_canary, is_taken, "{l4:?}");
    }
}

#[test]
fn connections_are_split_by_weight_between_services_and_subsets() {
    let mut world = World::sidecar();
    for (name, vip) in [("db", "10.96.0.2/32"), ("web", "10.96.0.4/32")] {
        world.service(with_vip(name, vip, 443, Protocol::Tls));
    }
    world.rules("dr", destination_rule("db", "default", &["v1"]));
    let route = || vec![weighted("db/v1", 3), weighted("web:443", 1)];
    let mut routes = virtual_service(&["db"], vec![]);
    routes.tcp = vec![TcpRule {
        matches: vec![],
        route: route(),
    }];
    routes.tls = vec![TlsRule {
        matches: vec![TlsMatch {
            sni_hosts: vec![pattern("db", "default")],
            l4: L4Match::default(),
        }],
        route: route(),
    }];
    world.routes("one", routes);
    let plan = world.plan();
    let there = address("10.96.0.2:443");
    let found = plan.outbound(there);
    let sni = found.sni.as_ref().expect("a rule names it");
    let mut counts = [[0; 2]; 2];
    for step in 0..400_u64 {
        // The middles of 400 equal parts of all bits.
        let bits = || step * (u64::MAX / 400) + u64::MAX / 800;
        let (bytes, _) = found.tcp.decide(there, bits);
        let (named, _) = sni
            .decide(b"db.default.svc.cluster.local", there, bits)
            .expect("its rule");
        for (count, cluster) in counts.iter_mut().zip([bytes, named]) {
            let cluster = plan.cluster(cluster).expect("both exist");
            count[usize::from(&*cluster.subset != "v1")] += 1;
        }
    }
    assert_eq!(counts, [[300, 100]; 2]);
}

#[test]
fn http_rules_do_not_concern_an_opaque_port() {
    let mut world = World::sidecar();
    world.service(with_vip("web", "10.96.0.4/32", 443, Protocol::Https));
    world.http("reviews", 9080);
    world.routes(
        "one",
        virtual_service(&["web"], vec![rule(vec![], "reviews")]),
    );
    let plan = world.plan();
    assert!(outbound(&plan, "10.96.0.4:443").http.is_none());
    assert_eq!(
        tcp(&plan, "10.96.0.4:443"),
        "outbound|443||web.default.svc.cluster.local"
    );
}

#[test]
fn inbound_ports_know_their_service_and_all_others_pass_through() {
    let mut world = World::sidecar();
    world.http("reviews", 80);
    let mut proxy = World::proxy(Role::Sidecar, "default", &[]);
    proxy.inbound = vec![InboundPort {
        port: 9080,
        protocol: Protocol::Http,
        service: ServiceKey {
            namespace: "default".into(),
            host: Host::new("reviews.default.svc.cluster.local"),
        },
        service_port: 80,
        endpoint: None,
        pool: None,
    }];
    world.add("Proxy", "istio-system", "pod", Body::Proxy(proxy));
    let plan = world.plan();
    let known = plan.inbound(9080);
    assert_eq!(&*known.cluster_name, "inbound|9080||");
    assert_eq!(known.protocol, Protocol::Http);
    let labels = known.service.as_ref().expect("a service targets the port");
    assert_eq!((&*labels.name, &*labels.namespace), ("reviews", "default"));
    let other = plan.inbound(1234);
    assert_eq!(
        (other.port, &*other.cluster_name),
        (0, "InboundPassthroughCluster")
    );
    assert_eq!(other.protocol, Protocol::Unknown);
}
