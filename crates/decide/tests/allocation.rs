//! Decisions do not allocate in steady state: the budget of the data path is none per request.

#![allow(
    unsafe_code,
    reason = "an allocator that counts can only be written with the unsafe GlobalAlloc"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::IpAddr;
use std::time::Duration;

use lateen_decide::hash::hash_of;
use lateen_decide::{
    Cluster, Counted, Decision, Facts, Millis, Outcome, Pick, Scratch, Store, Upstream,
};
use lateen_model::balancer::{Algorithm, ConsistentHash, HashKey, HashTable, LoadBalancer};
use lateen_model::destination::{DestinationRule, PortPolicy, Subset, TrafficPolicy};
use lateen_model::endpoint::{Endpoint, Endpoints, Health};
use lateen_model::http::{HeaderRules, HttpAction, HttpRule};
use lateen_model::pool::{ConnectionPool, HttpPool, OutlierDetection};
use lateen_model::route::{
    Destination, GatewayRef, HttpMatch, StringMatch, ValueMatch, VirtualService,
    WeightedDestination,
};
use lateen_model::service::{ExportTo, Registry, Resolution, Service, ServiceKey, ServicePort};
use lateen_model::{
    Body, Host, HostPattern, Labels, Percent, Protocol, Resource, ResourceName, Source,
};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// Counts the allocations of each thread.
struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged; the counter is a plain
// thread-local cell without a destructor, which allocates nothing itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Request(&'static str);

impl Facts for Request {
    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn scheme(&self) -> &[u8] {
        b"http"
    }

    fn authority(&self) -> &[u8] {
        b"Reviews.Default:9080"
    }

    fn path(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let headers: [(&[u8], &[u8]); 3] =
            [(b"X-User", b"1"), (b"x-user", b"2"), (b"Accept", b"*/*")];
        headers.into_iter()
    }
}

fn block(uri: Option<StringMatch>) -> HttpMatch {
    HttpMatch {
        uri,
        ..HttpMatch::default()
    }
}

/// Rules of every kind, and many of one.
fn rules() -> Vec<HttpRule> {
    let mut blocks = vec![
        block(Some(StringMatch::Exact("/exact".into()))),
        block(Some(StringMatch::Regex("/v[0-9]+/.*".into()))),
    ];
    let mut folded = block(Some(StringMatch::Prefix("/Folded".into())));
    folded.ignore_uri_case = true;
    blocks.push(folded);
    for at in 0..100 {
        let mut one = block(Some(StringMatch::Prefix("/users".into())));
        let value = ValueMatch::Value(StringMatch::Exact(format!("{at},2")));
        one.headers.push(("x-user".into(), value));
        blocks.push(one);
    }
    let mut query = block(None);
    query.query_params.push(("q".into(), ValueMatch::Present));
    blocks.push(query);
    let to = |subset: &str, weight| WeightedDestination {
        destination: Destination {
            host: Host::new("reviews.default.svc.cluster.local"),
            subset: Some(subset.into()),
            port: None,
        },
        weight,
        headers: HeaderRules::default(),
    };
    let rule = |block| HttpRule {
        name: "rule".into(),
        matches: vec![block],
        ..HttpRule::new(HttpAction::Route(vec![to("v1", 3), to("v2", 1)]))
    };
    blocks.into_iter().map(rule).collect()
}

fn store() -> Store {
    let host = Host::new("reviews.default.svc.cluster.local");
    let service = Service {
        key: ServiceKey {
            namespace: "default".into(),
            host: host.clone(),
        },
        registry: Registry::Kubernetes,
        addresses: Vec::new(),
        ports: vec![ServicePort {
            number: 9080,
            name: "http".into(),
            protocol: Protocol::Http,
        }],
        resolution: Resolution::Endpoints,
        is_external: false,
        allocated: Vec::new(),
        export_to: ExportTo::All,
    };
    let routes = VirtualService {
        namespace: "default".into(),
        hosts: vec![HostPattern::Exact(host)],
        gateways: vec![GatewayRef::Mesh],
        export_to: ExportTo::All,
        http: rules(),
        tls: Vec::new(),
        tcp: Vec::new(),
    };
    let mut store = Store::new();
    for body in [Body::Service(service), Body::VirtualService(routes)] {
        let resource = Resource {
            name: ResourceName(body.kind().to_owned()),
            source: Source::default(),
            body,
        };
        store.apply(resource).expect("the resource is valid");
    }
    store
}

#[test]
fn a_decision_allocates_nothing_once_its_space_has_grown() {
    let plan = store().compile();
    let table = plan.outbound(([10, 96, 0, 1], 9080).into()).http.clone();
    let table = table.expect("the port has an HTTP service");
    let mut scratch = Scratch::default();
    let paths = [
        "/exact",
        "/v1/x",
        "/FOLDED/x",
        "/users/7",
        "/other?p=1&q",
        "/none",
    ];
    let mut forwarded = 0;
    for round in 0..10_u64 {
        let before = COUNT.get();
        for path in paths {
            let decision = table.decide(&Request(path), &mut scratch, || round << 60);
            forwarded += u32::from(matches!(decision, Decision::Forward { .. }));
        }
        // The first round grows the space, and the caches of the regex engine.
        assert!(round == 0 || COUNT.get() == before, "round {round}");
    }
    assert_eq!(forwarded, 10 * 5);
}

/// A subset with every kind of care: limits, outlier detection, an algorithm.
fn subset(name: &str, algorithm: Algorithm) -> Subset {
    let pool = ConnectionPool {
        http: HttpPool {
            max_requests: Some(100),
            ..HttpPool::default()
        },
        ..ConnectionPool::default()
    };
    let detection = OutlierDetection {
        consecutive_5xx: 1,
        consecutive_gateway_errors: 1,
        splits_local_origin: false,
        consecutive_local_origin: 1,
        error_codes: Vec::new(),
        interval: Duration::from_secs(10),
        base_ejection_time: Duration::from_secs(30),
        max_ejection: Percent::from_millionths(500_000),
        min_health: Percent::from_millionths(500_000),
    };
    let port_default = PortPolicy {
        load_balancer: Some(LoadBalancer {
            algorithm,
            ..LoadBalancer::default()
        }),
        connection_pool: Some(pool),
        outlier_detection: Some(detection),
        tls: None,
    };
    Subset {
        name: name.into(),
        labels: Labels::new(),
        policy: TrafficPolicy {
            port_default,
            ..TrafficPolicy::default()
        },
    }
}

fn store_with_endpoints() -> Store {
    let mut store = store();
    let host = Host::new("reviews.default.svc.cluster.local");
    let hashed = Algorithm::ConsistentHash(ConsistentHash {
        key: HashKey::SourceIp,
        table: HashTable::Ring { minimum_size: 1024 },
    });
    let rule = DestinationRule {
        namespace: "default".into(),
        host: HostPattern::Exact(host.clone()),
        export_to: ExportTo::All,
        workload_selector: None,
        policy: TrafficPolicy::default(),
        subsets: vec![subset("v1", Algorithm::LeastRequest), subset("v2", hashed)],
    };
    let resource = Resource {
        name: ResourceName("DestinationRule".into()),
        source: Source::default(),
        body: Body::DestinationRule(rule),
    };
    store.apply(resource).expect("the resource is valid");
    let endpoints = (1..=8_u8).map(|last| Endpoint {
        address: IpAddr::from([10, 1, 0, last]).into(),
        ports: vec![(9080, 9080)],
        labels: Labels::new(),
        weight: u32::from(last),
        health: Health::Ready,
        locality: String::new(),
        is_meshed: true,
        service_account: String::new(),
        hostname: String::new(),
    });
    store.apply_endpoints(Endpoints {
        service: ServiceKey {
            namespace: "default".into(),
            host,
        },
        endpoints: endpoints.collect(),
    });
    store
}

/// An attempt, and its retry.
fn attempt(cluster: &Cluster, now: Millis) -> bool {
    let Some(_request) = cluster.permit(Counted::Request) else {
        return false;
    };
    let mut rotation = 0;
    let context = Pick {
        now,
        hash: cluster.hash_policy().map(|_| hash_of(&now.0.to_le_bytes())),
        ..Pick::default()
    };
    let Some(first) = cluster.pick(&context, &mut rotation, || now.0 << 50) else {
        return false;
    };
    cluster.record(first, Outcome::Answered(503), now);
    let _retry = cluster.permit(Counted::Retry);
    let tried = [first.address.clone()];
    let context = Pick {
        tried: &tried,
        ..context
    };
    let second = cluster.pick(&context, &mut rotation, || now.0 << 40);
    second.is_some_and(|second| !cluster.record(second, Outcome::Answered(200), now))
}

#[test]
fn choosing_an_endpoint_allocates_nothing() {
    let plan = store_with_endpoints().compile();
    let clusters: Vec<_> = plan
        .clusters()
        .filter(|cluster| !cluster.subset.is_empty())
        .collect();
    assert_eq!(clusters.len(), 2);
    let before = COUNT.get();
    let mut answered = 0;
    for now in 1..=1000 {
        for cluster in &clusters {
            answered += u32::from(attempt(cluster, Millis(now * 100)));
        }
    }
    assert_eq!(COUNT.get(), before);
    assert_eq!(answered, 2000);
    for cluster in clusters {
        let Upstream::Endpoints(set) = &cluster.upstream else {
            panic!("it has endpoints");
        };
        let out = set.all().iter();
        let out = out.filter(|one| one.status.ejected_until().is_some());
        assert!(out.count() > 3, "{}", cluster.name);
    }
}
