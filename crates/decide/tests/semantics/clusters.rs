//! How clusters are talked to: the blocks of DestinationRules with their defaults, and what is
//! remembered of a cluster and of its endpoints.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use lateen_decide::cluster::{HttpVersion, IdleTimeout, Limits, Policy};
use lateen_decide::{Cluster, Counted, Endpoint, Millis, Outcome, Permit, Pick, Upstream};
use lateen_model::balancer::{Algorithm, Distribute, LoadBalancer, LocalityLb};
use lateen_model::destination::{DestinationRule, PortPolicy, RetryBudget, TrafficPolicy};
use lateen_model::endpoint::{Endpoints, Health};
use lateen_model::mesh::Mesh;
use lateen_model::pool::{ConnectionPool, H2Upgrade, HttpPool, OutlierDetection, TcpPool};
use lateen_model::proxy::{InboundPort, Role};
use lateen_model::service::{DnsEndpoint, Resolution, ServiceKey};
use lateen_model::tls::{ClientTls, ClientTlsMode};
use lateen_model::{Body, Host, Labels, Percent, Protocol, endpoint};

use crate::world::{World, balanced, destination_rule, service};

fn reviews(protocol: Protocol) -> World {
    let mut world = World::sidecar();
    let mut service = service("reviews", "default", &[(9080, protocol)]);
    service.addresses = vec!["10.96.0.1/32".parse().expect("an address")];
    world.service(service);
    world
}

/// The cluster of `reviews`, which needs no rule: it is its default route.
fn cluster(world: &mut World) -> Arc<Cluster> {
    let plan = world.plan();
    let mut clusters = plan.clusters();
    let found = clusters.find(|one| one.name.contains("||reviews.default"));
    Arc::clone(found.expect("the cluster exists"))
}

fn policy(world: &mut World) -> Policy {
    cluster(world).policy.clone()
}

fn with(policy: PortPolicy) -> DestinationRule {
    let mut rule = destination_rule("reviews", "default", &[]);
    rule.policy.port_default = policy;
    rule
}

fn pool(tcp: TcpPool, http: HttpPool) -> PortPolicy {
    PortPolicy {
        connection_pool: Some(ConnectionPool { tcp, http }),
        ..PortPolicy::default()
    }
}

fn detection() -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: 1,
        consecutive_gateway_errors: 0,
        splits_local_origin: false,
        consecutive_local_origin: 5,
        error_codes: Vec::new(),
        interval: Duration::from_secs(10),
        base_ejection_time: Duration::from_secs(30),
        max_ejection: Percent::ALL,
        min_health: Percent::ZERO,
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn without_a_rule_nothing_is_limited_and_the_mesh_says_how_long_a_connect_may_take() {
    let mut world = reviews(Protocol::Http);
    let plain = policy(&mut world);
    assert_eq!(plain.connect_timeout, Duration::from_secs(10));
    assert_eq!(plain.limits, Limits::default());
    assert_eq!(
        (plain.tcp_idle_timeout, plain.http_idle_timeout),
        (IdleTimeout::Default, IdleTimeout::Default)
    );
    assert_eq!(plain.max_connection_duration, None);
    assert_eq!(plain.outlier_detection, None);
    let mesh = Mesh {
        connect_timeout: Duration::from_secs(3),
        ..Mesh::default()
    };
    world.add("Mesh", "istio-system", "mesh", Body::Mesh(mesh));
    assert_eq!(policy(&mut world).connect_timeout, Duration::from_secs(3));
    let plan = world.plan();
    for cluster in plan.clusters() {
        assert_eq!(cluster.policy.connect_timeout, Duration::from_secs(3));
    }
}

#[test]
fn a_zero_turns_idle_timeouts_off_and_other_numbers_to_their_defaults() {
    let mut world = reviews(Protocol::Http);
    let tcp = TcpPool {
        max_connections: Some(0),
        idle_timeout: Some(Duration::ZERO),
        ..TcpPool::default()
    };
    let http = HttpPool {
        max_requests: Some(0),
        max_requests_per_connection: Some(0),
        ..HttpPool::default()
    };
    world.rules("dr", with(pool(tcp.clone(), http.clone())));
    let off = policy(&mut world);
    assert_eq!(
        (off.tcp_idle_timeout, off.http_idle_timeout),
        (IdleTimeout::Never, IdleTimeout::Never)
    );
    assert_eq!(off.limits, Limits::default());
    assert_eq!(off.max_requests_per_connection, None);
    let http = HttpPool {
        idle_timeout: Some(HOUR),
        ..http
    };
    world.rules("dr", with(pool(tcp, http)));
    let over = policy(&mut world);
    assert_eq!(
        (over.tcp_idle_timeout, over.http_idle_timeout),
        (IdleTimeout::Never, IdleTimeout::After(HOUR))
    );
}

#[test]
fn limits_and_budgets_are_those_of_the_rule() {
    let mut world = reviews(Protocol::Http);
    let tcp = TcpPool {
        max_connections: Some(1),
        connect_timeout: Some(Duration::from_secs(1)),
        ..TcpPool::default()
    };
    let http = HttpPool {
        max_pending_requests: Some(2),
        max_requests: Some(3),
        max_retries: Some(4),
        max_requests_per_connection: Some(5),
        ..HttpPool::default()
    };
    let budget = RetryBudget {
        percent: Percent::from_millionths(200_000),
        min_retry_concurrency: 3,
    };
    let mut rule = with(pool(tcp, http));
    rule.policy.retry_budget = Some(budget.clone());
    // A port replaces its blocks, but a budget is none of them.
    let port = rule.policy.port_default.clone();
    rule.policy.port_default = PortPolicy::default();
    rule.policy.ports = vec![(9080, port)];
    world.rules("dr", rule);
    let policy = policy(&mut world);
    assert_eq!(policy.connect_timeout, Duration::from_secs(1));
    assert_eq!(policy.max_requests_per_connection, NonZeroU32::new(5));
    let limits = Limits {
        max_connections: 1,
        max_pending: 2,
        max_requests: 3,
        max_retries: 4,
        retry_budget: Some(budget),
    };
    assert_eq!(policy.limits, limits);
}

#[test]
fn a_subset_overrides_each_block_as_a_whole() {
    let mut world = reviews(Protocol::Http);
    let http = HttpPool {
        max_requests: Some(3),
        ..HttpPool::default()
    };
    let mut general = pool(TcpPool::default(), http);
    general.outlier_detection = Some(detection());
    general.tls = Some(ClientTls {
        mode: ClientTlsMode::Simple,
        ..ClientTls::default()
    });
    let mut rule = with(general);
    let tcp = TcpPool {
        max_connections: Some(1),
        ..TcpPool::default()
    };
    rule.subsets = destination_rule("reviews", "default", &["v1"]).subsets;
    rule.subsets[0].policy = TrafficPolicy {
        port_default: pool(tcp, HttpPool::default()),
        ..TrafficPolicy::default()
    };
    world.rules("dr", rule);
    let routes = vec![crate::world::rule(vec![], "reviews/v1")];
    world.routes("one", crate::world::virtual_service(&["reviews"], routes));
    let plan = world.plan();
    let mut clusters = plan.clusters();
    let subset = clusters.find(|one| &*one.subset == "v1");
    let policy = &subset.expect("it is routed to").policy;
    assert_eq!(policy.limits.max_connections, 1);
    assert_eq!(policy.limits.max_requests, Limits::NONE);
    assert!(policy.outlier_detection.is_some());
    assert_eq!(
        policy.tls.as_ref().map(|tls| tls.mode),
        Some(ClientTlsMode::Simple)
    );
}

#[test]
fn a_port_has_blocks_of_its_own_and_none_of_those_for_all_ports() {
    let mut world = reviews(Protocol::Http);
    let limited = |max| HttpPool {
        max_requests: Some(max),
        ..HttpPool::default()
    };
    let mut rule = with(pool(TcpPool::default(), limited(3)));
    let watched = PortPolicy {
        outlier_detection: Some(detection()),
        ..PortPolicy::default()
    };
    rule.policy.ports = vec![(9080, watched)];
    world.rules("dr", rule.clone());
    let own = policy(&mut world);
    assert!(own.outlier_detection.is_some());
    assert_eq!(own.limits, Limits::default());
    rule.policy.ports = vec![(9080, pool(TcpPool::default(), limited(5)))];
    world.rules("dr", rule.clone());
    let own = policy(&mut world);
    assert_eq!(own.limits.max_requests, 5);
    assert_eq!(own.outlier_detection, None);
    // Another port's blocks are not for this one.
    rule.policy.ports[0].0 = 9081;
    world.rules("dr", rule);
    assert_eq!(policy(&mut world).limits.max_requests, 3);
}

#[test]
fn the_version_of_http_is_the_ports_unless_the_pool_says_otherwise() {
    for (protocol, upgrade, client, expected) in [
        (
            Protocol::Http,
            H2Upgrade::Default,
            false,
            HttpVersion::Http1,
        ),
        (Protocol::Http, H2Upgrade::Always, false, HttpVersion::Http2),
        (
            Protocol::Http,
            H2Upgrade::Default,
            true,
            HttpVersion::Client,
        ),
        (Protocol::Http2, H2Upgrade::Never, false, HttpVersion::Http2),
        (
            Protocol::Grpc,
            H2Upgrade::Default,
            false,
            HttpVersion::Http2,
        ),
        (
            Protocol::Unknown,
            H2Upgrade::Never,
            false,
            HttpVersion::Client,
        ),
        (
            Protocol::Unknown,
            H2Upgrade::Always,
            false,
            HttpVersion::Http2,
        ),
    ] {
        let mut world = reviews(protocol);
        let http = HttpPool {
            h2_upgrade: upgrade,
            uses_client_protocol: client,
            ..HttpPool::default()
        };
        world.rules("dr", with(pool(TcpPool::default(), http)));
        let version = policy(&mut world).http_version;
        assert_eq!(version, expected, "{protocol:?} {upgrade:?} {client}");
    }
}

#[test]
fn the_own_proxy_of_a_service_takes_its_pool_alone() {
    let mut world = reviews(Protocol::Http);
    let mut proxy = World::proxy(Role::Sidecar, "default", &[]);
    proxy.inbound = vec![InboundPort {
        port: 8080,
        protocol: Protocol::Http,
        service: ServiceKey {
            namespace: "default".into(),
            host: Host::new("reviews.default.svc.cluster.local"),
        },
        service_port: 9080,
        endpoint: Some("127.0.0.1:8081".parse().expect("a socket")),
        pool: None,
    }];
    world.add("Proxy", "istio-system", "pod", Body::Proxy(proxy));
    let http = HttpPool {
        max_requests: Some(1),
        ..HttpPool::default()
    };
    let mut whole = pool(TcpPool::default(), http);
    whole.outlier_detection = Some(detection());
    world.rules("dr", with(whole));
    let plan = world.plan();
    let inbound = plan.inbound(8080);
    assert_eq!(inbound.policy.limits.max_requests, 1);
    assert_eq!(inbound.policy.outlier_detection, None);
    assert!(inbound.endpoint.is_some() && plan.inbound(1).endpoint.is_none());
    let permit = inbound.permit(Counted::Request);
    assert!(permit.is_some());
    // It counts on in the next plan.
    world.http("other", 9080);
    let next = world.plan();
    assert!(next.inbound(8080).permit(Counted::Request).is_none());
    drop(permit);
    assert!(next.inbound(8080).permit(Counted::Request).is_some());
    assert!(next.inbound(1).permit(Counted::Request).is_some());
}

#[test]
fn a_workload_s_own_pool_is_in_place_of_the_whole_of_its_service_s() {
    let mut world = reviews(Protocol::Http);
    let service = ServiceKey {
        namespace: "default".into(),
        host: Host::new("reviews.default.svc.cluster.local"),
    };
    let most = |max| HttpPool {
        max_requests: Some(max),
        ..HttpPool::default()
    };
    let tcp = TcpPool {
        max_connections: Some(7),
        ..TcpPool::default()
    };
    world.rules("dr", with(pool(tcp, most(1))));
    let mut proxy = World::proxy(Role::Sidecar, "default", &[]);
    proxy.inbound = [
        (8080, None),
        (8081, pool(TcpPool::default(), most(2)).connection_pool),
    ]
    .map(|(port, pool)| InboundPort {
        port,
        protocol: Protocol::Http,
        service: service.clone(),
        service_port: 9080,
        endpoint: None,
        pool,
    })
    .into();
    world.add("Proxy", "istio-system", "pod", Body::Proxy(proxy));
    let plan = world.plan();
    let limits = |port| {
        let limits = &plan.inbound(port).policy.limits;
        (limits.max_requests, limits.max_connections)
    };
    assert_eq!(limits(8080), (1, 7));
    assert_eq!(limits(8081), (2, u32::MAX));
}

fn endpoint_of(cluster: &Cluster) -> &Endpoint {
    match &cluster.upstream {
        Upstream::Endpoints(set) => &set.all()[0],
        Upstream::OriginalDst | Upstream::Dynamic(_) | Upstream::BlackHole => {
            panic!("it has endpoints")
        }
    }
}

#[test]
fn what_is_in_use_and_who_is_out_outlives_every_change_around_it() {
    let mut world = reviews(Protocol::Http);
    world.endpoints("reviews", &[9080], &[("10.1.0.1", "v1")]);
    let limited = |max| {
        let http = HttpPool {
            max_requests: Some(max),
            ..HttpPool::default()
        };
        PortPolicy {
            outlier_detection: Some(detection()),
            ..pool(TcpPool::default(), http)
        }
    };
    world.rules("dr", with(limited(1)));
    let before = cluster(&mut world);
    let permit = before.permit(Counted::Request).map(Permit::into_owned);
    assert!(permit.is_some());
    let now = Millis(1_000);
    assert!(before.record(endpoint_of(&before), Outcome::Failed, now));
    // New endpoints, another policy, another service.
    world.endpoints(
        "reviews",
        &[9080],
        &[("10.1.0.1", "v1"), ("10.1.0.2", "v1")],
    );
    world.rules("dr", with(limited(2)));
    world.http("other", 9080);
    let after = cluster(&mut world);
    assert!(!Arc::ptr_eq(&before, &after));
    let _second = after
        .permit(Counted::Request)
        .expect("the limit was raised");
    assert!(after.permit(Counted::Request).is_none());
    let context = Pick {
        now,
        ..Pick::default()
    };
    for bits in [0, u64::MAX] {
        let picked = after.pick(&context, &mut 0, || bits).expect("one is in");
        assert_eq!(picked.address.to_string(), "10.1.0.2:9080");
    }
    drop(permit);
    assert!(after.permit(Counted::Request).is_some());
    // An endpoint that goes and comes is another one.
    world.endpoints("reviews", &[9080], &[("10.1.0.2", "v1")]);
    world.plan();
    world.endpoints("reviews", &[9080], &[("10.1.0.1", "v1")]);
    let back = cluster(&mut world);
    assert!(back.pick(&context, &mut 0, || 0).is_some());
}

/// Endpoints in localities, each with whether it is ready.
fn spread(world: &mut World, localities: &[(&str, bool)]) {
    let endpoints = (1..)
        .zip(localities)
        .map(|(last, (locality, is_ready))| endpoint::Endpoint {
            address: IpAddr::from([10, 1, 0, last]).into(),
            ports: vec![(9080, 9080)],
            labels: Labels::new(),
            weight: 1,
            health: if *is_ready {
                Health::Ready
            } else {
                Health::NotReady
            },
            locality: (*locality).to_owned(),
            is_meshed: true,
            service_account: "default".into(),
            hostname: String::new(),
        });
    world.store.apply_endpoints(Endpoints {
        service: ServiceKey {
            namespace: "default".into(),
            host: Host::new("reviews.default.svc.cluster.local"),
        },
        endpoints: endpoints.collect(),
    });
}

/// The priority of each endpoint in order of address.
fn priorities(world: &mut World) -> Vec<Option<u32>> {
    let cluster = cluster(world);
    let Upstream::Endpoints(set) = &cluster.upstream else {
        panic!("it has endpoints");
    };
    let mut all: Vec<_> = set
        .all()
        .iter()
        .map(|one| (one.address.clone(), one.priority))
        .collect();
    all.sort_unstable();
    all.into_iter().map(|(_, priority)| priority).collect()
}

#[test]
fn localities_are_in_order_only_beside_outlier_detection_and_a_rule_replaces_the_mesh() {
    let mut proxy = World::proxy(Role::Sidecar, "default", &[]);
    proxy.locality = "r1/z1".into();
    let mut world = World::new(proxy);
    world.service(service("reviews", "default", &[(9080, Protocol::Http)]));
    spread(
        &mut world,
        &[("r1/z1", true), ("r2", true), ("r1/z2", false)],
    );
    assert_eq!(priorities(&mut world), [Some(0); 3]);
    let watched = PortPolicy {
        outlier_detection: Some(detection()),
        ..PortPolicy::default()
    };
    world.rules("dr", with(watched.clone()));
    // Priorities follow each other without gaps.
    assert_eq!(priorities(&mut world), [Some(0), Some(2), Some(1)]);
    let off = LoadBalancer {
        locality: Some(LocalityLb::default()),
        ..LoadBalancer::default()
    };
    world.rules(
        "dr",
        with(PortPolicy {
            load_balancer: Some(off),
            ..watched
        }),
    );
    assert_eq!(priorities(&mut world), [Some(0); 3]);
}

#[test]
fn names_are_in_order_of_their_localities_and_have_their_shares() {
    let mut proxy = World::proxy(Role::Sidecar, "default", &[]);
    proxy.locality = "r1/z1".into();
    let mut world = World::new(proxy);
    let named = |world: &mut World, localities: &[&str]| {
        let names = (1..).zip(localities).map(|(last, locality)| DnsEndpoint {
            name: format!("10.1.0.{last}"),
            ports: vec![(9080, 9080)],
            labels: Labels::new(),
            weight: 1,
            locality: (*locality).to_owned(),
        });
        let mut service = service("reviews", "default", &[(9080, Protocol::Http)]);
        service.resolution = Resolution::Dns(names.collect());
        world.service(service);
    };
    let watched = PortPolicy {
        outlier_detection: Some(detection()),
        ..PortPolicy::default()
    };
    world.rules("dr", with(watched));
    named(&mut world, &["r2", "r1/z1", "r1/z2"]);
    assert_eq!(priorities(&mut world), [Some(2), Some(0), Some(1)]);
    named(&mut world, &["", "", ""]);
    assert_eq!(priorities(&mut world), [Some(0); 3]);
    let shares = LocalityLb {
        is_enabled: true,
        distribute: vec![Distribute {
            from: "r1".into(),
            to: vec![("r2".into(), 100)],
        }],
        ..LocalityLb::default()
    };
    let shared = PortPolicy {
        load_balancer: Some(LoadBalancer {
            locality: Some(shares),
            ..LoadBalancer::default()
        }),
        ..PortPolicy::default()
    };
    world.rules("dr", with(shared));
    named(&mut world, &["r1", "r2", ""]);
    assert_eq!(priorities(&mut world), [None, Some(0), None]);
    // Where none is known all of them are alike.
    named(&mut world, &["", "", ""]);
    assert_eq!(priorities(&mut world), [Some(0); 3]);
}

#[test]
fn nobody_ready_is_nobody_picked_whatever_the_policy() {
    let mut world = reviews(Protocol::Http);
    spread(&mut world, &[("r1", false), ("r2", false)]);
    let watched = PortPolicy {
        outlier_detection: Some(detection()),
        ..PortPolicy::default()
    };
    for policy in [
        with(PortPolicy::default()),
        with(watched),
        DestinationRule {
            policy: balanced(Algorithm::Random),
            ..with(PortPolicy::default())
        },
    ] {
        world.rules("dr", policy);
        let cluster = cluster(&mut world);
        let tried = ["10.1.0.9:80".parse().expect("an address")];
        for tried in [&[][..], &tried] {
            let context = Pick {
                tried,
                ..Pick::default()
            };
            assert!(cluster.pick(&context, &mut 0, || 0).is_none());
        }
    }
}
