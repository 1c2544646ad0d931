//! Does a decision cost the same with 10,000 hosts or routes as with 10?
//!
//! For each kind of rule a small and a large table are timed in pairs, one after the other and in
//! alternating order, so that a machine that slows down slows down both; the figure is the median
//! of the ratios. `hot` asks both tables for the same ten things, so it shows the work; `spread`
//! asks the large one for everything in it, so it shows the caches of the machine too.
//!
//! `cargo bench -p lateen-decide [-- --at-most RATIO]`; with a bound it fails if a hot median is
//! above it.

#![allow(
    clippy::print_stdout,
    reason = "the table of results is what this program is for"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a bench measures time, and has no clock of its own"
)]

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lateen_decide::{Decision, Facts, Plan, RouteTable, Scratch, Store};
use lateen_model::endpoint::{Endpoint, Endpoints, Health};
use lateen_model::http::{HeaderRules, HttpAction, HttpRule};
use lateen_model::route::{
    Destination, GatewayRef, HttpMatch, StringMatch, ValueMatch, VirtualService,
    WeightedDestination,
};
use lateen_model::service::{ExportTo, Registry, Resolution, Service, ServiceKey, ServicePort};
use lateen_model::{Body, Host, HostPattern, Labels, Protocol, Resource, ResourceName, Source};

const SMALL: usize = 10;
const LARGE: usize = 10_000;
const PAIRS: usize = 21;
const DECISIONS: usize = 100_000;

/// What there is many of in a table.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Hosts,
    WildcardHosts,
    ExactPaths,
    Prefixes,
    HeaderValues,
    HeaderNames,
    Mixed,
}

struct Table {
    _plan: Arc<Plan>,
    routes: Arc<RouteTable>,
}

/// A request with the headers that a browser and a mesh send. Its text lies in one piece, and
/// requests lie one after the other, since those that a proxy decides on have just been read: what
/// is measured is the table, not where the bench keeps its questions.
struct Request {
    authority: Text,
    path: Text,
    /// One more header.
    name: Text,
    value: Text,
}

struct Text {
    bytes: [u8; 63],
    len: u8,
}

const HEADERS: [(&str, &str); 6] = [
    ("User-Agent", "curl/8.5.0"),
    ("Accept", "*/*"),
    ("Accept-Encoding", "gzip, br"),
    ("X-Forwarded-Proto", "http"),
    ("X-Request-Id", "8b0e7f0c-3a52-9c1f-8f36-6c3b0f4c7f11"),
    (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
];

impl Text {
    fn new(text: &str) -> Self {
        let mut bytes = [0; 63];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Self {
            bytes,
            len: u8::try_from(text.len()).expect("shorter than the array"),
        }
    }

    fn get(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Facts for Request {
    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn scheme(&self) -> &[u8] {
        b"http"
    }

    fn authority(&self) -> &[u8] {
        self.authority.get()
    }

    fn path(&self) -> &[u8] {
        self.path.get()
    }

    fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let fixed = HEADERS.iter();
        fixed
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .chain(std::iter::once((self.name.get(), self.value.get())))
    }
}

fn main() -> ExitCode {
    let bound = match bound() {
        Ok(bound) => bound,
        Err(problem) => {
            println!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    println!("ns per decision, medians of {PAIRS} interleaved pairs of {DECISIONS} decisions");
    println!(
        "{:<16}{:>8}{:>8}{:>8}{:>10}{:>8}",
        "kind", "10", "10,000", "hot", "spread", "ratio"
    );
    let mut is_within = true;
    for kind in [
        Kind::Hosts,
        Kind::WildcardHosts,
        Kind::ExactPaths,
        Kind::Prefixes,
        Kind::HeaderValues,
        Kind::HeaderNames,
        Kind::Mixed,
    ] {
        let (small, large) = (table(kind, SMALL), table(kind, LARGE));
        let few: Vec<_> = (0..SMALL).map(|at| request(kind, at)).collect();
        let all: Vec<_> = shuffled(LARGE).map(|at| request(kind, at)).collect();
        let (small_ns, hot_ns, hot) = compare((&small, &few), (&large, &few));
        let (_, spread_ns, spread) = compare((&small, &few), (&large, &all));
        println!(
            "{:<16}{small_ns:>8.0}{hot_ns:>8.0}{hot:>8.2}{spread_ns:>10.0}{spread:>8.2}",
            format!("{kind:?}"),
        );
        is_within &= bound.is_none_or(|bound| hot <= bound);
    }
    changes();
    if is_within {
        ExitCode::SUCCESS
    } else {
        println!("a hot median is above the bound");
        ExitCode::FAILURE
    }
}

/// What a change costs where there is much: every host a service with a VirtualService of its own.
fn changes() {
    let routes_of = |at: usize, rules: usize| {
        let pattern = HostPattern::Exact(Host::new(&host(at)));
        let rules = (0..rules).map(|rule| self::rule(block(Kind::Mixed, rule), &host(at)));
        resource(at, routes(vec![pattern], rules.collect()))
    };
    let mut store = Store::new();
    for at in 0..LARGE {
        take(&mut store, resource(at, service(&host(at))));
        take(&mut store, routes_of(at, 3));
    }
    let timed = |store: &mut Store| {
        let started = Instant::now();
        black_box(store.compile());
        started.elapsed().as_secs_f64() * 1e3
    };
    println!("\nms to compile {LARGE} services with a VirtualService each");
    println!("{:<28}{:>8.1}", "everything", timed(&mut store));
    let rule = (0..PAIRS).map(|at| {
        take(&mut store, routes_of(at, 4));
        timed(&mut store)
    });
    println!(
        "{:<28}{:>8.1}",
        "one VirtualService changed",
        median(rule.collect())
    );
    let endpoints = (0..PAIRS).map(|at| {
        store.apply_endpoints(endpoints(at));
        timed(&mut store)
    });
    println!(
        "{:<28}{:>8.1}",
        "one endpoint changed",
        median(endpoints.collect())
    );
}

fn endpoints(at: usize) -> Endpoints {
    Endpoints {
        service: ServiceKey {
            namespace: "default".into(),
            host: Host::new(&host(at)),
        },
        endpoints: vec![Endpoint {
            address: std::net::IpAddr::from([10, 1, 0, 1]).into(),
            ports: vec![(80, 8080)],
            labels: Labels::new(),
            weight: 1,
            health: Health::Ready,
            locality: String::new(),
            is_meshed: true,
            service_account: String::new(),
            hostname: String::new(),
        }],
    }
}

/// The bound from the command line; cargo adds `--bench` itself.
fn bound() -> Result<Option<f64>, String> {
    let mut arguments = std::env::args().skip(1).filter(|one| one != "--bench");
    match arguments.next().as_deref() {
        None => Ok(None),
        Some("--at-most") => {
            let bound = arguments.next().and_then(|text| text.parse().ok());
            bound
                .map(Some)
                .ok_or_else(|| "--at-most needs a number".to_owned())
        }
        Some(other) => Err(format!(
            "{other} is no option; there is only --at-most RATIO"
        )),
    }
}

/// Times both in pairs; answers the medians of each and of the ratio.
fn compare(small: (&Table, &[Request]), large: (&Table, &[Request])) -> (f64, f64, f64) {
    let mut scratch = Scratch::default();
    let (mut smalls, mut larges, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    time(small, &mut scratch);
    time(large, &mut scratch);
    for pair in 0..PAIRS {
        let (a, b) = if pair % 2 == 0 {
            let a = time(small, &mut scratch);
            (a, time(large, &mut scratch))
        } else {
            let b = time(large, &mut scratch);
            (time(small, &mut scratch), b)
        };
        smalls.push(nanos(a));
        larges.push(nanos(b));
        ratios.push(nanos(b) / nanos(a));
    }
    (median(smalls), median(larges), median(ratios))
}

fn time((table, requests): (&Table, &[Request]), scratch: &mut Scratch) -> Duration {
    let started = Instant::now();
    let mut forwarded = 0_usize;
    for request in requests.iter().cycle().take(DECISIONS) {
        let decision = table.routes.decide(black_box(request), scratch, || 0);
        forwarded += usize::from(matches!(decision, Decision::Forward { .. }));
    }
    let elapsed = started.elapsed();
    assert_eq!(forwarded, DECISIONS, "every request has a route");
    elapsed
}

fn nanos(elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() * 1e9 / f64::from(u32::try_from(DECISIONS).unwrap_or(u32::MAX))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// All numbers below `count`, a power of ten, in an order without neighbours: 7919 is a prime
/// that does not divide it.
fn shuffled(count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |at| at * 7919 % count)
}

fn host(at: usize) -> String {
    format!("service-{at}.team-{}.svc.cluster.local", at % 50)
}

fn path(at: usize) -> String {
    format!("/api/v{}/collections/{at:05}/items", at % 3)
}

fn request(kind: Kind, at: usize) -> Request {
    let mut authority = "web.default.svc.cluster.local:80".to_owned();
    let mut target = "/".to_owned();
    let mut header = ("Cache-Control".to_owned(), "no-cache".to_owned());
    match kind {
        Kind::Hosts => authority = host(at),
        Kind::WildcardHosts => authority = format!("a.b{at}.example.com"),
        Kind::ExactPaths => target = path(at),
        Kind::Prefixes => target = format!("{}/42?page=2", path(at)),
        Kind::HeaderValues => header = ("End-User".to_owned(), format!("user-{at}")),
        Kind::HeaderNames => header = (format!("X-Tenant-{at}"), "1".to_owned()),
        Kind::Mixed => {
            authority = host(at);
            target = path(at);
            header = ("End-User".to_owned(), format!("user-{at}"));
        }
    }
    Request {
        authority: Text::new(&authority),
        path: Text::new(&target),
        name: Text::new(&header.0),
        value: Text::new(&header.1),
    }
}

/// The block of rule `at`.
fn block(kind: Kind, at: usize) -> HttpMatch {
    let mut block = HttpMatch::default();
    let exact = |text: String| ValueMatch::Value(StringMatch::Exact(text));
    match kind {
        Kind::Hosts | Kind::WildcardHosts => {}
        Kind::ExactPaths => block.uri = Some(StringMatch::Exact(path(at))),
        Kind::Prefixes => block.uri = Some(StringMatch::Prefix(path(at))),
        Kind::HeaderValues => {
            block.uri = Some(StringMatch::Prefix("/".into()));
            block
                .headers
                .push(("end-user".into(), exact(format!("user-{at}"))));
        }
        Kind::HeaderNames => block
            .headers
            .push((format!("x-tenant-{at}"), exact("1".into()))),
        Kind::Mixed => match at % 3 {
            0 => return self::block(Kind::ExactPaths, at),
            1 => return self::block(Kind::Prefixes, at),
            _ => return self::block(Kind::HeaderValues, at),
        },
    }
    block
}

fn service(host: &str) -> Body {
    Body::Service(Service {
        key: ServiceKey {
            namespace: "default".into(),
            host: Host::new(host),
        },
        registry: Registry::Kubernetes,
        addresses: Vec::new(),
        ports: vec![ServicePort {
            number: 80,
            name: "http".into(),
            protocol: Protocol::Http,
        }],
        resolution: Resolution::Endpoints,
        is_external: false,
        allocated: Vec::new(),
        export_to: ExportTo::All,
    })
}

fn routes(hosts: Vec<HostPattern>, http: Vec<HttpRule>) -> Body {
    Body::VirtualService(VirtualService {
        namespace: "default".into(),
        hosts,
        gateways: vec![GatewayRef::Mesh],
        export_to: ExportTo::All,
        http,
        tls: Vec::new(),
        tcp: Vec::new(),
    })
}

fn rule(block: HttpMatch, target: &str) -> HttpRule {
    let destination = WeightedDestination {
        destination: Destination {
            host: Host::new(target),
            subset: None,
            port: None,
        },
        weight: 1,
        headers: HeaderRules::default(),
    };
    HttpRule {
        matches: vec![block],
        ..HttpRule::new(HttpAction::Route(vec![destination]))
    }
}

fn resource(at: usize, body: Body) -> Resource {
    Resource {
        name: ResourceName(format!("{}/{at}", body.kind())),
        source: Source::default(),
        body,
    }
}

fn take(store: &mut Store, resource: Resource) {
    store.apply(resource).expect("the resource is valid");
}

/// The table of port 80 of a sidecar with `count` of a kind.
fn table(kind: Kind, count: usize) -> Table {
    let web = "web.default.svc.cluster.local";
    let rules = || (0..count).map(|at| rule(block(kind, at), web)).collect();
    let pattern = |text: &str| HostPattern::resolve(text, "default", "cluster.local");
    let mut bodies = vec![service(web)];
    match kind {
        Kind::Hosts => bodies.extend((0..count).map(|at| service(&host(at)))),
        Kind::WildcardHosts => {
            let hosts = (0..count).map(|at| pattern(&format!("*.b{at}.example.com")));
            bodies.push(routes(
                hosts.collect(),
                vec![rule(HttpMatch::default(), web)],
            ));
        }
        Kind::Mixed => {
            let hosts = (0..count).map(|at| pattern(&host(at)));
            bodies.push(routes(hosts.collect(), rules()));
        }
        _ => bodies.push(routes(vec![pattern(web)], rules())),
    }
    let mut store = Store::new();
    for (at, body) in bodies.into_iter().enumerate() {
        take(&mut store, resource(at, body));
    }
    let plan = store.compile();
    let found = plan.outbound(([203, 0, 113, 1], 80).into()).http.clone();
    Table {
        routes: found.expect("the port has HTTP services"),
        _plan: plan,
    }
}
