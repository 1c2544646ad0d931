//! Makes a mesh and requests from bytes, so that a property test and a fuzzer share it: small
//! alphabets, so that rules overlap, shadow each other and meet the requests.

// The path is written out for the fuzzer, which takes this file by its own path.
#[path = "generate/rules.rs"]
mod rules;

use lateen_model::destination::{DestinationRule, Subset, TrafficPolicy};
use lateen_model::gateway::{Gateway, Server, ServerHost, ServerTls, ServerTlsMode};
use lateen_model::mesh::{Mesh, OutboundPolicy};
use lateen_model::proxy::{Proxy, Role};
use lateen_model::route::{GatewayRef, VirtualService};
use lateen_model::service::{ExportTo, Registry, Resolution, Service, ServiceKey, ServicePort};
use lateen_model::{
    Body, Host, HostPattern, Labels, ObjectRef, Protocol, Resource, ResourceName, Source,
};

use self::rules::{rule, similar};
use super::request::Request;

/// A mesh as one proxy sees it, and what it is asked.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) proxy: Proxy,
    pub(crate) mesh: Mesh,
    pub(crate) resources: Vec<Resource>,
    /// Each with uniform bits for the choice between destinations.
    pub(crate) requests: Vec<(Request, u64)>,
    /// What happens to the resources before: each a resource, and what is done to it for a while.
    pub(crate) churn: Vec<(usize, Detour)>,
}

/// What a resource goes through before it is as it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Detour {
    /// It is removed.
    Removed,
    /// It says what another one says.
    Disguised(usize),
    /// It is older than all others.
    Older,
}

/// Choices from bytes; the first of each when there are none left.
struct Dice<'b> {
    bytes: &'b [u8],
}

const NAMESPACES: [&str; 2] = ["default", "other"];
const HOSTS: [&str; 8] = [
    "a.default.svc.cluster.local",
    "b.default.svc.cluster.local",
    "a.other.svc.cluster.local",
    "*.default.svc.cluster.local",
    "*.svc.cluster.local",
    "ext.com",
    "*.com",
    "free.org",
];
const AUTHORITIES: [&str; 12] = [
    "a.default.svc.cluster.local",
    "a",
    "A.Default",
    "b:80",
    "b.default.svc.",
    "a.other",
    "10.96.0.1",
    "x.ext.com",
    "ext.com:8080",
    "free.org",
    "nobody",
    "",
];
const PATHS: [&str; 9] = ["/", "/a", "/a/b", "/ab", "/a/b/c", "/A", "", "/b", "/a/"];
const VALUES: [&str; 5] = ["1", "2", "", "12", "1,2"];
const REGEXES: [&str; 5] = [".*", "/a.*", "[12]", "1?", "/(a|b)/.+"];

/// Makes a case.
pub(crate) fn case(bytes: &[u8], role: Role) -> Case {
    let mut dice = Dice { bytes };
    let mesh = Mesh {
        outbound_policy: dice.of(&[OutboundPolicy::AllowAny, OutboundPolicy::RegistryOnly]),
        ..Mesh::default()
    };
    let mut resources = Vec::new();
    for at in 0..=dice.roll(5) {
        resources.push(service(&mut dice, at));
    }
    for at in 0..=dice.roll(5) {
        resources.push(routes(&mut dice, at));
    }
    for at in 0..dice.roll(3) {
        resources.push(gateway(&mut dice, at));
    }
    if role == Role::Gateway {
        resources.push(gateway(&mut dice, 9));
    }
    resources.push(subsets());
    let churn = (0..dice.roll(4)).map(|_| detour(&mut dice)).collect();
    let requests = (0..24).map(|_| (request(&mut dice), dice.bits())).collect();
    Case {
        churn,
        proxy: proxy(role),
        mesh,
        resources,
        requests,
    }
}

fn detour(dice: &mut Dice<'_>) -> (usize, Detour) {
    let at = dice.roll(16);
    let detour = match dice.roll(3) {
        0 => Detour::Removed,
        1 => Detour::Disguised(dice.roll(16)),
        _ => Detour::Older,
    };
    (at, detour)
}

/// Host and name of the proxy do not vary.
fn proxy(role: Role) -> Proxy {
    Proxy {
        role,
        name: "pod".into(),
        namespace: "default".into(),
        labels: labels(&[("app", "client")]),
        addresses: Vec::new(),
        locality: String::new(),
        inbound: Vec::new(),
        gateway_ports: Vec::new(),
        answers_dns: false,
    }
}

// === impl Dice ===

impl Dice<'_> {
    fn roll(&mut self, sides: usize) -> usize {
        let Some((first, rest)) = self.bytes.split_first() else {
            return 0;
        };
        self.bytes = rest;
        usize::from(*first) % sides
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.roll(choices.len())].clone()
    }

    /// One in `n`.
    fn once_in(&mut self, n: usize) -> bool {
        self.roll(n) == 1
    }

    fn bits(&mut self) -> u64 {
        (self.roll(256) as u64) << 56
    }
}

fn resource(kind: &str, namespace: &str, name: &str, created: usize, body: Body) -> Resource {
    Resource {
        name: ResourceName(format!("{kind}/{namespace}/{name}")),
        source: Source {
            object: ObjectRef {
                kind: kind.into(),
                namespace: namespace.into(),
                name: name.into(),
            },
            generation: 1,
            created: i64::try_from(created).expect("small"),
        },
        body,
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let pairs = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    pairs.collect()
}

fn pattern(text: &str) -> HostPattern {
    HostPattern::resolve(text, "default", "cluster.local")
}

fn service(dice: &mut Dice<'_>, at: usize) -> Resource {
    let host = dice.of(&HOSTS);
    let is_of_cluster = host.ends_with("cluster.local") && !host.starts_with('*');
    let is_kubernetes = is_of_cluster && !dice.once_in(4);
    let namespace = match host.split('.').nth(1) {
        Some(namespace) if is_kubernetes => namespace,
        _ => dice.of(&NAMESPACES),
    };
    let ports: &[u16] = dice.of(&[&[80][..], &[80, 8080], &[8080]]);
    let ports = ports.iter().map(|number| ServicePort {
        number: *number,
        name: "http".into(),
        protocol: Protocol::Http,
    });
    let service = Service {
        key: ServiceKey {
            namespace: namespace.into(),
            host: Host::new(host),
        },
        registry: if is_kubernetes {
            Registry::Kubernetes
        } else {
            Registry::ServiceEntry
        },
        addresses: if is_kubernetes {
            vec![format!("10.96.0.{at}/32").parse().expect("an address")]
        } else {
            Vec::new()
        },
        ports: ports.collect(),
        resolution: Resolution::Endpoints,
        is_external: false,
        allocated: Vec::new(),
        export_to: visibility(dice),
    };
    // Services of one key replace each other, as they would in Kubernetes.
    let created = dice.roll(3);
    resource("Service", namespace, host, created, Body::Service(service))
}

fn visibility(dice: &mut Dice<'_>) -> ExportTo {
    match dice.roll(8) {
        1 => ExportTo::Nobody,
        2 => ExportTo::Namespaces(vec!["other".into()]),
        3 => ExportTo::Namespaces(vec!["default".into()]),
        _ => ExportTo::All,
    }
}

fn subsets() -> Resource {
    let subset = |name: &str| Subset {
        name: name.into(),
        labels: labels(&[("version", name)]),
        policy: TrafficPolicy::default(),
    };
    let rule = DestinationRule {
        namespace: "istio-system".into(),
        host: pattern("*.default.svc.cluster.local"),
        export_to: ExportTo::All,
        workload_selector: None,
        policy: TrafficPolicy::default(),
        subsets: vec![subset("v1"), subset("v2")],
    };
    let body = Body::DestinationRule(rule);
    resource("DestinationRule", "istio-system", "subsets", 0, body)
}

fn gateway_name(dice: &mut Dice<'_>) -> GatewayRef {
    GatewayRef::Gateway {
        namespace: "default".into(),
        name: dice.of(&["gw9", "gw0", "gw1"]).into(),
    }
}

fn gateways(dice: &mut Dice<'_>) -> Vec<GatewayRef> {
    match dice.roll(4) {
        0 => vec![GatewayRef::Mesh, gateway_name(dice)],
        1 => vec![GatewayRef::Mesh],
        2 => vec![gateway_name(dice)],
        _ => vec![GatewayRef::Mesh, gateway_name(dice), gateway_name(dice)],
    }
}

fn gateway(dice: &mut Dice<'_>, at: usize) -> Resource {
    let servers = (0..=dice.roll(3)).map(|index| {
        let port = dice.of(&[80, 80, 8080, 443]);
        let is_secure = port == 443;
        Server {
            name: String::new(),
            port,
            port_name: format!("port-{index}"),
            protocol: if is_secure {
                Protocol::Https
            } else {
                Protocol::Http
            },
            bind: String::new(),
            hosts: (0..=dice.roll(2))
                .map(|_| ServerHost {
                    namespace: dice.once_in(4).then(|| dice.of(&NAMESPACES).to_owned()),
                    host: if dice.once_in(2) {
                        HostPattern::Any
                    } else {
                        pattern(dice.of(&HOSTS))
                    },
                })
                .collect(),
            https_redirect: dice.once_in(8),
            tls: is_secure.then(|| ServerTls {
                mode: ServerTlsMode::Simple,
                ..ServerTls::default()
            }),
        }
    });
    let name = format!("gw{at}");
    let gateway = Gateway {
        namespace: "default".into(),
        name: name.clone(),
        servers: servers.collect(),
        selector: labels(dice.of(&[&[][..], &[("app", "client")], &[("app", "other")]])),
    };
    let created = dice.roll(3);
    resource("Gateway", "default", &name, created, Body::Gateway(gateway))
}

fn routes(dice: &mut Dice<'_>, at: usize) -> Resource {
    // The first is a delegate that others find.
    let namespace = match at {
        0 => "default",
        _ => dice.of(&NAMESPACES),
    };
    let hosts = match dice.roll(6) {
        1 => Vec::new(),
        _ if at == 0 => Vec::new(),
        _ => (0..=dice.roll(2))
            .map(|_| pattern(dice.of(&HOSTS)))
            .collect(),
    };
    // Many rules that differ in one value only, or a few of every kind.
    let http = match dice.roll(4) {
        1 => (0..=dice.roll(40)).map(|at| similar(dice, at)).collect(),
        _ => (0..dice.roll(8)).map(|_| rule(dice)).collect(),
    };
    let routes = VirtualService {
        namespace: namespace.into(),
        hosts,
        gateways: gateways(dice),
        export_to: visibility(dice),
        http,
        tls: Vec::new(),
        tcp: Vec::new(),
    };
    let name = format!("vs{at}");
    let created = dice.roll(3);
    resource(
        "VirtualService",
        namespace,
        &name,
        created,
        Body::VirtualService(routes),
    )
}

fn request(dice: &mut Dice<'_>) -> Request {
    let query = dice.of(&[
        "",
        "",
        "?x=1",
        "?y=2&x",
        "?q=3&x=12&x=1",
        "?q5&q12=&=1",
        "?",
    ]);
    let path = dice.of(&PATHS[..6]);
    let mut headers = Vec::new();
    for _ in 0..dice.roll(4) {
        let name = dice.of(&[
            "x", "X", "y", "x-user", "X-User", "x-3", "x-20", "accept", "Origin",
        ]);
        headers.push((
            name.to_owned(),
            dice.of(&["1", "2", "", "12", "3", "6"]).to_owned(),
        ));
    }
    Request {
        method: dice.of(&["GET", "POST"]).into(),
        scheme: dice.of(&["http", "https"]).into(),
        authority: dice.of(&AUTHORITIES).into(),
        path: format!("{path}{query}"),
        headers,
    }
}
