//! The control plane of the comparison: sends one gateway, one route and one endpoint through the
//! real protocol, so that ours is measured as it runs in a mesh.

use anyhow::Context as _;
use lateen_model::endpoint::{Endpoint, Endpoints, Health};
use lateen_model::gateway::{Gateway, Server, ServerHost};
use lateen_model::mesh::Mesh;
use lateen_model::proxy::{Proxy, Role};
use lateen_model::route::{Destination, GatewayRef, HttpRule, VirtualService, WeightedDestination};
use lateen_model::service::{ExportTo, Registry, Resolution, Service, ServiceKey, ServicePort};
use lateen_model::{
    Body, Host, HostPattern, Labels, ObjectRef, Protocol, Resource, ResourceName, Source,
};
use lateen_xds::server::{self, Audience, Change, Publisher};
use lateen_xds::{Kind, proto};
use tokio::net::TcpListener;

const HOST: &str = "bench.example";
const NAMESPACE: &str = "bench";

/// Serves on a port of its own, until the process ends, a gateway that listens on `port` and
/// forwards to `origin`. It has a thread of its own: peers are started by blocking calls.
pub(crate) fn serve(origin: u16, port: u16) -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("xDS")?;
    listener.set_nonblocking(true)?;
    let xds = listener.local_addr()?.port();
    let publisher = Publisher::new();
    publisher.apply(changes(origin, port));
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

fn changes(origin: u16, port: u16) -> Vec<Change> {
    let mut changes: Vec<Change> = bodies(origin, port).into_iter().map(resource).collect();
    let endpoint = Endpoint {
        address: std::net::Ipv4Addr::LOCALHOST.into(),
        ports: vec![(origin, origin)],
        labels: Labels::new(),
        weight: 1,
        health: Health::Ready,
        locality: String::new(),
        is_meshed: false,
        service_account: String::new(),
    };
    let endpoints = Endpoints {
        service: key(),
        endpoints: vec![endpoint],
    };
    changes.push(Change::Set {
        kind: Kind::Endpoints,
        name: endpoints.service.to_string(),
        bytes: proto::encode_endpoints(&endpoints),
        audience: Audience::default(),
    });
    changes
}

fn resource(body: Body) -> Change {
    let name = format!("{}/{NAMESPACE}/{HOST}", body.kind());
    let object = ObjectRef {
        kind: body.kind().into(),
        namespace: NAMESPACE.into(),
        name: HOST.into(),
    };
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

fn key() -> ServiceKey {
    ServiceKey {
        namespace: NAMESPACE.into(),
        host: Host::new(HOST),
    }
}

fn bodies(origin: u16, port: u16) -> Vec<Body> {
    let host = HostPattern::Exact(Host::new(HOST));
    vec![
        Body::Mesh(Mesh::default()),
        Body::Proxy(Proxy {
            role: Role::Gateway,
            name: "bench".into(),
            namespace: NAMESPACE.into(),
            labels: Labels::new(),
            addresses: Vec::new(),
            locality: String::new(),
            inbound: Vec::new(),
            gateway_ports: Vec::new(),
        }),
        Body::Service(Service {
            key: key(),
            registry: Registry::ServiceEntry,
            addresses: Vec::new(),
            ports: vec![ServicePort {
                number: origin,
                name: "http".into(),
                protocol: Protocol::Http,
            }],
            resolution: Resolution::Endpoints,
            is_external: false,
            export_to: ExportTo::All,
        }),
        Body::Gateway(gateway(host.clone(), port)),
        Body::VirtualService(route(host, origin)),
    ]
}

fn gateway(host: HostPattern, port: u16) -> Gateway {
    let server = Server {
        name: String::new(),
        port,
        port_name: "http".into(),
        protocol: Protocol::Http,
        bind: "127.0.0.1".into(),
        hosts: vec![ServerHost {
            namespace: None,
            host,
        }],
        https_redirect: false,
    };
    Gateway {
        namespace: NAMESPACE.into(),
        name: HOST.into(),
        selector: Labels::new(),
        servers: vec![server],
    }
}

fn route(host: HostPattern, origin: u16) -> VirtualService {
    let destination = Destination {
        host: Host::new(HOST),
        subset: None,
        port: Some(origin),
    };
    let rule = HttpRule {
        name: String::new(),
        matches: Vec::new(),
        route: vec![WeightedDestination {
            destination,
            weight: 100,
        }],
    };
    VirtualService {
        namespace: NAMESPACE.into(),
        hosts: vec![host],
        gateways: vec![GatewayRef::Gateway {
            namespace: NAMESPACE.into(),
            name: HOST.into(),
        }],
        export_to: ExportTo::All,
        http: vec![rule],
        tls: Vec::new(),
        tcp: Vec::new(),
    }
}
