//! A mesh in a few words, for scenarios: resources with defaults, and answers as text.

use std::net::SocketAddr;
use std::sync::Arc;

use lateen_decide::{Decision, Plan, RouteTable, Scratch, Serve, Store};
use lateen_model::balancer::{Algorithm, LoadBalancer};
use lateen_model::destination::{DestinationRule, PortPolicy, Subset, TrafficPolicy};
use lateen_model::endpoint::{Endpoint, Endpoints, Health};
use lateen_model::gateway::{Gateway, Server, ServerHost};
use lateen_model::http::{HeaderRules, HttpAction, HttpRule};
use lateen_model::mesh::{Mesh, OutboundPolicy};
use lateen_model::proxy::{Proxy, Role};
use lateen_model::route::{
    Destination, GatewayRef, HttpMatch, StringMatch, ValueMatch, VirtualService,
    WeightedDestination,
};
use lateen_model::service::{ExportTo, Registry, Resolution, Service, ServiceKey, ServicePort};
use lateen_model::{
    Body, Host, HostPattern, Labels, ObjectRef, Protocol, Resource, ResourceName, Source,
};

use crate::request::Request;

/// The resources of one proxy; each new one is younger than those before.
pub(crate) struct World {
    pub(crate) store: Store,
    clock: i64,
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    let pairs = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    pairs.collect()
}

pub(crate) fn pattern(text: &str, namespace: &str) -> HostPattern {
    HostPattern::resolve(text, namespace, "cluster.local")
}

pub(crate) fn exact(text: &str) -> StringMatch {
    StringMatch::Exact(text.into())
}

pub(crate) fn prefix(text: &str) -> StringMatch {
    StringMatch::Prefix(text.into())
}

pub(crate) fn regex(text: &str) -> StringMatch {
    StringMatch::Regex(text.into())
}

/// `GET http://authority/path`.
pub(crate) fn get(authority: &str, path: &str) -> Request {
    Request {
        method: "GET".into(),
        scheme: "http".into(),
        authority: authority.into(),
        path: path.into(),
        headers: Vec::new(),
    }
}

impl Request {
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// A reference to a Gateway of the namespace `default`.
pub(crate) fn gateway_ref(name: &str) -> GatewayRef {
    GatewayRef::Gateway {
        namespace: "default".into(),
        name: name.into(),
    }
}

/// A destination in the namespace `default`: `host`, `host/subset`, `host:port`.
pub(crate) fn to(text: &str) -> WeightedDestination {
    weighted(text, 0)
}

pub(crate) fn weighted(text: &str, weight: u32) -> WeightedDestination {
    let (text, port) = match text.split_once(':') {
        Some((text, port)) => (text, Some(port.parse().expect("a port"))),
        None => (text, None),
    };
    let (host, subset) = match text.split_once('/') {
        Some((host, subset)) => (host, Some(subset.to_owned())),
        None => (text, None),
    };
    WeightedDestination {
        destination: Destination {
            host: Host::resolve(host, "default", "cluster.local"),
            subset,
            port,
        },
        weight,
        headers: HeaderRules::default(),
    }
}

/// A rule that sends what matches one of the blocks to `host`.
pub(crate) fn rule(matches: Vec<HttpMatch>, target: &str) -> HttpRule {
    HttpRule {
        matches,
        ..HttpRule::new(HttpAction::Route(vec![to(target)]))
    }
}

/// A block on the path.
pub(crate) fn uri(uri: StringMatch) -> HttpMatch {
    HttpMatch {
        uri: Some(uri),
        ..HttpMatch::default()
    }
}

/// A block on a header.
pub(crate) fn header(name: &str, value: ValueMatch) -> HttpMatch {
    HttpMatch {
        headers: vec![(name.into(), value)],
        ..HttpMatch::default()
    }
}

/// A VirtualService of the mesh in the namespace `default`.
pub(crate) fn virtual_service(hosts: &[&str], http: Vec<HttpRule>) -> VirtualService {
    VirtualService {
        namespace: "default".into(),
        hosts: hosts.iter().map(|host| pattern(host, "default")).collect(),
        gateways: vec![GatewayRef::Mesh],
        export_to: ExportTo::All,
        http,
        tls: Vec::new(),
        tcp: Vec::new(),
    }
}

/// A Kubernetes Service; ports as number and protocol.
pub(crate) fn service(name: &str, namespace: &str, ports: &[(u16, Protocol)]) -> Service {
    Service {
        key: ServiceKey {
            namespace: namespace.into(),
            host: Host::resolve(name, namespace, "cluster.local"),
        },
        registry: Registry::Kubernetes,
        addresses: Vec::new(),
        ports: ports
            .iter()
            .map(|(number, protocol)| ServicePort {
                number: *number,
                name: String::new(),
                protocol: *protocol,
            })
            .collect(),
        resolution: Resolution::Endpoints,
        is_external: false,
        allocated: Vec::new(),
        export_to: ExportTo::All,
    }
}

/// A ServiceEntry of the namespace `default`.
pub(crate) fn entry(host: &str, ports: &[(u16, Protocol)], resolution: Resolution) -> Service {
    Service {
        registry: Registry::ServiceEntry,
        key: ServiceKey {
            namespace: "default".into(),
            host: Host::new(host),
        },
        resolution,
        is_external: true,
        allocated: Vec::new(),
        ..service("x", "default", ports)
    }
}

/// Subsets by the label `version`, without a policy.
pub(crate) fn destination_rule(host: &str, namespace: &str, subsets: &[&str]) -> DestinationRule {
    DestinationRule {
        namespace: namespace.into(),
        host: pattern(host, namespace),
        export_to: ExportTo::All,
        workload_selector: None,
        policy: TrafficPolicy::default(),
        subsets: subsets
            .iter()
            .map(|name| Subset {
                name: (*name).into(),
                labels: labels(&[("version", name)]),
                policy: TrafficPolicy::default(),
            })
            .collect(),
    }
}

/// A policy with one algorithm for all ports.
pub(crate) fn balanced(algorithm: Algorithm) -> TrafficPolicy {
    TrafficPolicy {
        port_default: PortPolicy {
            load_balancer: Some(LoadBalancer {
                algorithm,
                ..LoadBalancer::default()
            }),
            ..PortPolicy::default()
        },
        ..TrafficPolicy::default()
    }
}

/// A Gateway of the namespace `default` for proxies with `istio: ingressgateway`.
pub(crate) fn gateway(name: &str, servers: Vec<Server>) -> Gateway {
    Gateway {
        namespace: "default".into(),
        name: name.into(),
        selector: labels(&[("istio", "ingressgateway")]),
        servers,
    }
}

/// An HTTP server; hosts as `host` or `namespace/host`.
pub(crate) fn server(port: u16, hosts: &[&str]) -> Server {
    Server {
        name: String::new(),
        port,
        port_name: "http".into(),
        protocol: Protocol::Http,
        bind: String::new(),
        hosts: hosts
            .iter()
            .map(|text| {
                let (namespace, host) = match text.split_once('/') {
                    Some((namespace, host)) => (Some(namespace.to_owned()), host),
                    None => (None, *text),
                };
                ServerHost {
                    namespace,
                    host: pattern(host, "default"),
                }
            })
            .collect(),
        https_redirect: false,
        tls: None,
    }
}

impl World {
    /// A sidecar of the namespace `default`.
    pub(crate) fn sidecar() -> Self {
        Self::new(Self::proxy(Role::Sidecar, "default", &[("app", "client")]))
    }

    /// An ingress gateway, whose Service exposes 80 as 8080.
    pub(crate) fn gateway() -> Self {
        let selected = [("istio", "ingressgateway")];
        let mut proxy = Self::proxy(Role::Gateway, "istio-system", &selected);
        proxy.gateway_ports = vec![(80, 8080)];
        Self::new(proxy)
    }

    pub(crate) fn proxy(role: Role, namespace: &str, pairs: &[(&str, &str)]) -> Proxy {
        Proxy {
            role,
            name: "pod".into(),
            namespace: namespace.into(),
            labels: labels(pairs),
            addresses: vec!["10.244.0.9".parse().expect("an address")],
            locality: String::new(),
            inbound: Vec::new(),
            gateway_ports: Vec::new(),
            answers_dns: false,
        }
    }

    pub(crate) fn new(proxy: Proxy) -> Self {
        let mut world = Self {
            store: Store::new(),
            clock: 0,
        };
        world.add("Proxy", "istio-system", "pod", Body::Proxy(proxy));
        world
    }

    /// Applies a resource that is younger than all before.
    pub(crate) fn add(&mut self, kind: &str, namespace: &str, name: &str, body: Body) {
        let resource = self.resource(kind, namespace, name, body);
        self.store.apply(resource).expect("the resource is valid");
    }

    pub(crate) fn resource(
        &mut self,
        kind: &str,
        namespace: &str,
        name: &str,
        body: Body,
    ) -> Resource {
        self.clock += 1;
        Resource {
            name: ResourceName(format!("{kind}/{namespace}/{name}")),
            source: Source {
                object: ObjectRef {
                    kind: kind.into(),
                    namespace: namespace.into(),
                    name: name.into(),
                },
                generation: 1,
                created: self.clock,
            },
            body,
        }
    }

    pub(crate) fn service(&mut self, service: Service) -> &mut Self {
        let ServiceKey { namespace, host } = service.key.clone();
        self.add("Service", &namespace, host.as_str(), Body::Service(service));
        self
    }

    /// A Kubernetes HTTP service of the namespace `default`.
    pub(crate) fn http(&mut self, name: &str, port: u16) -> &mut Self {
        self.service(service(name, "default", &[(port, Protocol::Http)]))
    }

    pub(crate) fn routes(&mut self, name: &str, routes: VirtualService) -> &mut Self {
        let namespace = routes.namespace.clone();
        self.add(
            "VirtualService",
            &namespace,
            name,
            Body::VirtualService(routes),
        );
        self
    }

    pub(crate) fn rules(&mut self, name: &str, rule: DestinationRule) -> &mut Self {
        let namespace = rule.namespace.clone();
        self.add(
            "DestinationRule",
            &namespace,
            name,
            Body::DestinationRule(rule),
        );
        self
    }

    pub(crate) fn edge(&mut self, gateway: Gateway) -> &mut Self {
        let name = gateway.name.clone();
        self.add("Gateway", "default", &name, Body::Gateway(gateway));
        self
    }

    pub(crate) fn policy(&mut self, outbound_policy: OutboundPolicy) -> &mut Self {
        let mesh = Mesh {
            outbound_policy,
            ..Mesh::default()
        };
        self.add("Mesh", "istio-system", "mesh", Body::Mesh(mesh));
        self
    }

    /// Endpoints of a service of the namespace `default`, each with its version; every service
    /// port listed targets itself.
    pub(crate) fn endpoints(&mut self, name: &str, ports: &[u16], pods: &[(&str, &str)]) {
        let endpoints = pods.iter().map(|(address, version)| Endpoint {
            address: address.parse().expect("an address"),
            ports: ports.iter().map(|port| (*port, *port)).collect(),
            labels: labels(&[("version", version)]),
            weight: 1,
            health: Health::Ready,
            locality: String::new(),
            is_meshed: true,
            service_account: "default".into(),
            hostname: String::new(),
        });
        self.store.apply_endpoints(Endpoints {
            service: ServiceKey {
                namespace: "default".into(),
                host: Host::resolve(name, "default", "cluster.local"),
            },
            endpoints: endpoints.collect(),
        });
    }

    /// What the sidecar does with a request on a port: a cluster, `404 NR`, `503 NC`, …
    pub(crate) fn ask(&mut self, port: u16, request: &Request) -> String {
        let plan = self.store.compile();
        let address = SocketAddr::from(([203, 0, 113, 1], port));
        let table = plan.outbound(address).http.clone();
        decide(
            &plan,
            &table.expect("the port has HTTP services"),
            request,
            0,
        )
    }

    /// What the gateway does with a request on a listening port.
    pub(crate) fn ask_edge(&mut self, port: u16, request: &Request) -> String {
        let plan = self.store.compile();
        let address = SocketAddr::from(([10, 244, 0, 9], port));
        let Some(listener) = plan.gateway(address) else {
            return "nothing listens".to_owned();
        };
        match &listener.serve {
            Serve::Http(table) => decide(&plan, table, request, 0),
            Serve::Tls(_) | Serve::Tcp(_) => "not HTTP".to_owned(),
        }
    }

    pub(crate) fn plan(&mut self) -> Arc<Plan> {
        self.store.compile()
    }
}

/// A decision as text.
pub(crate) fn decide(plan: &Plan, table: &RouteTable, request: &Request, random: u64) -> String {
    let mut scratch = Scratch::default();
    match table.decide(request, &mut scratch, || random) {
        Decision::RedirectToHttps => "301".to_owned(),
        Decision::Refuse(reason) => format!("{} {}", reason.status(), reason.flag()),
        Decision::Redirect { redirect, .. } => redirect.code.to_string(),
        Decision::Respond { response, .. } => response.status.to_string(),
        Decision::Forward { cluster, .. } => plan
            .cluster(cluster)
            .map_or("503 NC".to_owned(), |cluster| cluster.name.to_string()),
    }
}
