//! The control plane of the comparison: sends one gateway, one route and one endpoint through the
//! real protocol, so that ours is measured as it runs in a mesh.

use std::path::Path;

use anyhow::Context as _;
use lateen_model::endpoint::{Endpoint, Endpoints, Health};
use lateen_model::gateway::{self, Gateway, Server, ServerHost, ServerTls, ServerTlsMode};
use lateen_model::http::{HeaderRules, HttpAction, HttpRule};
use lateen_model::mesh::Mesh;
use lateen_model::proxy::{Proxy, Role};
use lateen_model::route::{
    Destination, GatewayRef, HttpMatch, StringMatch, VirtualService, WeightedDestination,
};
use lateen_model::service::{ExportTo, Registry, Resolution, Service, ServiceKey, ServicePort};
use lateen_model::{
    Body, Host, HostPattern, Labels, ObjectRef, Protocol, Resource, ResourceName, Source,
};
use lateen_xds::server::{self, Audience, Change, Publisher};
use lateen_xds::{Kind, proto};
use tokio::net::TcpListener;

use crate::tls::Certificate;
use crate::workload::{GRPC_HOST, HOST, ROUTES, route_prefix, routes_host};

const NAMESPACE: &str = "bench";

/// The ports of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    /// The origin that speaks HTTP/1.1.
    pub(crate) origin: u16,
    /// The origin that speaks gRPC.
    pub(crate) grpc_origin: u16,
    /// Where the gateway listens.
    pub(crate) gateway: u16,
    /// Where it ends TLS.
    pub(crate) secure: u16,
}

/// What the gateway is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// A route to each origin.
    Plain,
    /// Those, and tables of [`ROUTES`] routes.
    Routes,
}

/// Serves on a port of its own, until the process ends, a gateway that forwards to the origins. It
/// has a thread of its own: peers are started by blocking calls.
pub(crate) fn serve(
    ports: Ports,
    content: Content,
    certificate: &Certificate,
) -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("xDS")?;
    listener.set_nonblocking(true)?;
    let xds = listener.local_addr()?.port();
    let publisher = Publisher::new();
    publisher.apply(changes(ports, content, certificate));
    std::thread::spawn(move || {
        if let Err(error) = run(listener, publisher) {
            eprintln!("xDS: {error:#}");
        }
    });
    Ok(xds)
}

fn run(listener: std::net::TcpListener, publisher: Publisher) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        server::serve(listener, publisher, std::future::pending()).await?;
        Ok(())
    })
}

fn changes(ports: Ports, content: Content, certificate: &Certificate) -> Vec<Change> {
    let mut changes: Vec<Change> = bodies(ports, content, certificate)
        .into_iter()
        .map(|(name, body)| resource(&name, body))
        .collect();
    for (host, port) in [(HOST, ports.origin), (GRPC_HOST, ports.grpc_origin)] {
        let endpoint = Endpoint {
            address: std::net::IpAddr::from(std::net::Ipv4Addr::LOCALHOST).into(),
            ports: vec![(port, port)],
            labels: Labels::new(),
            weight: 1,
            health: Health::Ready,
            locality: String::new(),
            is_meshed: false,
            service_account: String::new(),
            hostname: String::new(),
        };
        let endpoints = Endpoints {
            service: key(host),
            endpoints: vec![endpoint],
        };
        changes.push(Change::Set {
            kind: Kind::Endpoints,
            name: endpoints.service.to_string(),
            bytes: proto::encode_endpoints(&endpoints),
            audience: Audience::default(),
        });
    }
    changes
}

fn resource(name: &str, body: Body) -> Change {
    let object = ObjectRef {
        kind: body.kind().into(),
        namespace: NAMESPACE.into(),
        name: name.into(),
    };
    let name = format!("{}/{NAMESPACE}/{name}", body.kind());
    let source = Source {
        object,
        generation: 1,
        created: 0,
    };
    let bytes = proto::encode_resource(&Resource {
        name: ResourceName(name.clone()),
        source,
        body,
    });
    Change::Set {
        kind: Kind::Config,
        name,
        bytes,
        audience: Audience::default(),
    }
}

fn key(host: &str) -> ServiceKey {
    ServiceKey {
        namespace: NAMESPACE.into(),
        host: Host::new(host),
    }
}

/// Everything with its name.
fn bodies(ports: Ports, content: Content, certificate: &Certificate) -> Vec<(String, Body)> {
    let proxy = Proxy {
        role: Role::Gateway,
        name: "bench".into(),
        namespace: NAMESPACE.into(),
        labels: Labels::new(),
        addresses: Vec::new(),
        locality: String::new(),
        inbound: Vec::new(),
        gateway_ports: Vec::new(),
        answers_dns: false,
    };
    let http = destination(HOST, ports.origin);
    let mut bodies = vec![
        Body::Mesh(Mesh::default()),
        Body::Proxy(proxy),
        Body::Gateway(gateway(ports, certificate)),
        service(HOST, ports.origin, Protocol::Http),
        service(GRPC_HOST, ports.grpc_origin, Protocol::Grpc),
        routes(HOST, vec![rule(&http)]),
        routes(
            GRPC_HOST,
            vec![rule(&destination(GRPC_HOST, ports.grpc_origin))],
        ),
    ];
    let tables = match content {
        Content::Plain => &[][..],
        Content::Routes => &ROUTES[..],
    };
    for &count in tables {
        let rules = (0..count).map(|number| {
            let condition = HttpMatch {
                uri: Some(StringMatch::Prefix(route_prefix(number))),
                ..HttpMatch::default()
            };
            HttpRule {
                matches: vec![condition],
                ..rule(&http)
            }
        });
        bodies.push(routes(&routes_host(count), rules.collect()));
    }
    let named = bodies.into_iter().map(|body| (name_of(&body), body));
    named.collect()
}

fn name_of(body: &Body) -> String {
    match body {
        Body::Service(service) => service.key.host.to_string(),
        Body::VirtualService(routes) => routes.hosts[0].to_string(),
        _ => HOST.into(),
    }
}

fn service(host: &str, port: u16, protocol: Protocol) -> Body {
    Body::Service(Service {
        key: key(host),
        registry: Registry::ServiceEntry,
        addresses: Vec::new(),
        ports: vec![ServicePort {
            number: port,
            name: String::new(),
            protocol,
        }],
        resolution: Resolution::Endpoints,
        is_external: false,
        allocated: Vec::new(),
        export_to: ExportTo::All,
    })
}

fn gateway(ports: Ports, certificate: &Certificate) -> Gateway {
    let any = ServerHost {
        namespace: None,
        host: HostPattern::Any,
    };
    let plain = Server {
        name: String::new(),
        port: ports.gateway,
        port_name: "http".into(),
        protocol: Protocol::Http,
        bind: "127.0.0.1".into(),
        hosts: vec![any],
        https_redirect: false,
        tls: None,
    };
    let path = |path: &Path| path.display().to_string();
    let secure = Server {
        port: ports.secure,
        port_name: "https".into(),
        protocol: Protocol::Https,
        tls: Some(ServerTls {
            mode: ServerTlsMode::Simple,
            certificates: vec![gateway::Certificate::Files {
                chain: path(&certificate.chain),
                private_key: path(&certificate.key),
            }],
            ..ServerTls::default()
        }),
        ..plain.clone()
    };
    Gateway {
        namespace: NAMESPACE.into(),
        name: HOST.into(),
        selector: Labels::new(),
        servers: vec![plain, secure],
    }
}

fn destination(host: &str, port: u16) -> Destination {
    Destination {
        host: Host::new(host),
        subset: None,
        port: Some(port),
    }
}

fn rule(destination: &Destination) -> HttpRule {
    HttpRule::new(HttpAction::Route(vec![WeightedDestination {
        destination: destination.clone(),
        weight: 100,
        headers: HeaderRules::default(),
    }]))
}

fn routes(host: &str, http: Vec<HttpRule>) -> Body {
    Body::VirtualService(VirtualService {
        namespace: NAMESPACE.into(),
        hosts: vec![HostPattern::Exact(Host::new(host))],
        gateways: vec![GatewayRef::Gateway {
            namespace: NAMESPACE.into(),
            name: HOST.into(),
        }],
        export_to: ExportTo::All,
        http,
        tls: Vec::new(),
        tcp: Vec::new(),
    })
}
