//! Configuration as the control plane would send it, for tests.

use std::net::IpAddr;
use std::time::Duration;

use lateen_model::destination::{DestinationRule, PortPolicy, TrafficPolicy};
use lateen_model::endpoint::{Endpoint, Endpoints, Health};
use lateen_model::gateway::{Gateway, Server, ServerHost};
use lateen_model::http::{HeaderRules, HttpAction, HttpRule};
use lateen_model::pool::{ConnectionPool, HttpPool, OutlierDetection, TcpPool};
use lateen_model::proxy::{InboundPort, Proxy, Role};
use lateen_model::route::{Destination, GatewayRef, VirtualService, WeightedDestination};
use lateen_model::service::{ExportTo, Registry, Resolution, Service, ServiceKey, ServicePort};
use lateen_model::{
    Address, Body, Host, HostPattern, Labels, Percent, Protocol, Resource, ResourceName,
    SocketAddress, Source,
};

/// The service of this name in the namespace `default`.
pub(crate) fn key(name: &str) -> ServiceKey {
    ServiceKey {
        namespace: "default".into(),
        host: Host::new(&format!("{name}.default.svc.cluster.local")),
    }
}

/// A resource of this name.
pub(crate) fn named(name: &str, body: Body) -> Resource {
    Resource {
        name: ResourceName(format!("{}/default/{name}", body.kind())),
        source: Source::default(),
        body,
    }
}

/// What the proxy is: its application serves on 8080 (HTTP), 9000 (undeclared) and 7000 (TCP).
pub(crate) fn proxy(role: Role, address: IpAddr) -> Resource {
    let inbound = |port, protocol| InboundPort {
        port,
        protocol,
        service: key("app"),
        service_port: port,
        endpoint: None,
        pool: None,
    };
    named(
        "app-1",
        Body::Proxy(Proxy {
            role,
            name: "app-1".into(),
            namespace: "default".into(),
            labels: Labels::new(),
            addresses: vec![address],
            locality: String::new(),
            inbound: vec![
                inbound(8080, Protocol::Http),
                inbound(9000, Protocol::Unknown),
                inbound(7000, Protocol::Tcp),
            ],
            gateway_ports: vec![],
            answers_dns: false,
        }),
    )
}

/// A service with one port, 80, at 10.96.0.x, where x is the length of its name.
pub(crate) fn service(name: &str, protocol: Protocol) -> Resource {
    named(
        name,
        Body::Service(Service {
            key: key(name),
            registry: Registry::Kubernetes,
            addresses: vec![
                format!("10.96.0.{}/32", name.len())
                    .parse()
                    .expect("a network"),
            ],
            ports: vec![ServicePort {
                number: 80,
                name: String::new(),
                protocol,
            }],
            resolution: Resolution::Endpoints,
            is_external: false,
            allocated: Vec::new(),
            export_to: ExportTo::All,
        }),
    )
}

/// The endpoints of a service.
pub(crate) fn endpoints<A>(name: &str, addresses: &[A]) -> Endpoints
where
    A: Clone + Into<SocketAddress>,
{
    let endpoint = |address: A| {
        let (address, port) = match address.into() {
            SocketAddress::Inet(address) => (Address::Ip(address.ip()), address.port()),
            SocketAddress::Unix(path) => (Address::Unix(path), 80),
        };
        Endpoint {
            address,
            ports: vec![(80, port)],
            labels: Labels::new(),
            weight: 1,
            health: Health::Ready,
            locality: String::new(),
            is_meshed: false,
            service_account: String::new(),
            hostname: String::new(),
        }
    };
    Endpoints {
        service: key(name),
        endpoints: addresses.iter().cloned().map(endpoint).collect(),
    }
}

/// A Gateway that listens on a port for every host.
pub(crate) fn gateway(port: u16) -> Resource {
    named(
        "gateway",
        Body::Gateway(Gateway {
            namespace: "default".into(),
            name: "gateway".into(),
            selector: Labels::new(),
            servers: vec![Server {
                name: String::new(),
                port,
                port_name: "http".into(),
                protocol: Protocol::Http,
                bind: String::new(),
                hosts: vec![ServerHost {
                    namespace: None,
                    host: HostPattern::Any,
                }],
                https_redirect: false,
                tls: None,
            }],
        }),
    )
}

/// A VirtualService that sends everything that comes to the Gateway to services by weight.
pub(crate) fn route(weights: &[(&str, u32)]) -> Resource {
    let action = HttpAction::Route(
        weights
            .iter()
            .map(|(to, weight)| to_service(to, *weight))
            .collect(),
    );
    rules(vec![HttpRule {
        name: "all".into(),
        ..HttpRule::new(action)
    }])
}

/// A service with a weight.
pub(crate) fn to_service(service: &str, weight: u32) -> WeightedDestination {
    WeightedDestination {
        destination: destination(service),
        weight,
        headers: HeaderRules::default(),
    }
}

/// Port 80 of a service.
pub(crate) fn destination(service: &str) -> Destination {
    Destination {
        host: key(service).host,
        subset: None,
        port: Some(80),
    }
}

/// A VirtualService with these rules for everything that comes to the Gateway.
pub(crate) fn rules(http: Vec<HttpRule>) -> Resource {
    virtual_service(
        vec![HostPattern::Any],
        GatewayRef::Gateway {
            namespace: "default".into(),
            name: "gateway".into(),
        },
        http,
    )
}

/// A VirtualService with these rules.
pub(crate) fn virtual_service(
    hosts: Vec<HostPattern>,
    gateway: GatewayRef,
    http: Vec<HttpRule>,
) -> Resource {
    named(
        "all",
        Body::VirtualService(VirtualService {
            namespace: "default".into(),
            hosts,
            gateways: vec![gateway],
            export_to: ExportTo::All,
            http,
            tls: vec![],
            tcp: vec![],
        }),
    )
}

/// A DestinationRule for a service, with one policy for all of its ports.
pub(crate) fn destination_rule(service: &str, port_default: PortPolicy) -> Resource {
    named(
        service,
        Body::DestinationRule(DestinationRule {
            namespace: "default".into(),
            host: HostPattern::Exact(key(service).host),
            export_to: ExportTo::All,
            workload_selector: None,
            policy: TrafficPolicy {
                port_default,
                ..TrafficPolicy::default()
            },
            subsets: vec![],
        }),
    )
}

/// A policy of these pools.
pub(crate) fn pools(tcp: TcpPool, http: HttpPool) -> PortPolicy {
    PortPolicy {
        connection_pool: Some(ConnectionPool { tcp, http }),
        ..PortPolicy::default()
    }
}

/// One connection at most.
pub(crate) fn one_connection() -> TcpPool {
    TcpPool {
        max_connections: Some(1),
        ..TcpPool::default()
    }
}

/// Endpoints are out for half a minute after two errors in a row, all of them if it must be.
pub(crate) fn detection() -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: 2,
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
