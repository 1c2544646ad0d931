//! What is measured: which protocol, how large, how fast.

use std::time::Duration;

use lateen_wire::corpus::h2::{FLOODS, Flood};

use crate::flood;
use crate::peers::Peer;

/// One load that every peer gets.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    /// The name in results.
    pub(crate) name: String,
    /// What the client speaks.
    pub(crate) protocol: Protocol,
    /// It is spoken over TLS, which the peer ends.
    pub(crate) is_secure: bool,
    /// The host that is asked for.
    pub(crate) host: String,
    /// The path that is asked for.
    pub(crate) path: String,
    /// Bytes of each answer's body.
    pub(crate) body: usize,
    /// Requests per second; as fast as they go if unset.
    pub(crate) rate: Option<u32>,
    /// How long each measurement takes.
    pub(crate) duration: Duration,
    /// What others send meanwhile.
    pub(crate) beside: Option<&'static Flood>,
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1 with keep-alive, to an upstream of HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge, to an upstream of HTTP/1.1.
    Http2,
    /// gRPC: HTTP/2 on both sides, a message each way, trailers.
    Grpc,
}

/// The host of the upstream that speaks HTTP/1.1.
pub(crate) const HOST: &str = "bench.example";
/// The host of the upstream that speaks gRPC.
pub(crate) const GRPC_HOST: &str = "grpc.example";
/// The sizes of the route tables that are compared.
pub(crate) const ROUTES: [usize; 2] = [10, 10_000];
/// The floods that every run has: of frames that are answered, of streams, and of heads. Each costs a
/// minute; all of them are measured where it is asked for.
const BESIDE: [&str; 3] = ["pings", "rapid-resets", "continuations-without-end"];

/// Every workload whose name contains `only`.
pub(crate) fn all(only: &str, seconds: u64) -> Vec<Workload> {
    let duration = Duration::from_secs(seconds);
    let bytes = |name: String, protocol: Protocol, body: usize| Workload {
        name,
        protocol,
        is_secure: false,
        host: HOST.into(),
        path: format!("/{body}"),
        body,
        rate: None,
        duration,
        beside: None,
    };
    let mut list = Vec::new();
    for (size, body) in [("512b", 512), ("64k", 64 << 10)] {
        for (speed, rate) in [
            ("saturated", None),
            ("1k", Some(1_000)),
            ("10k", Some(10_000)),
        ] {
            list.push(Workload {
                rate,
                ..bytes(format!("h1-{size}-{speed}"), Protocol::Http1, body)
            });
        }
        list.push(bytes(format!("h2-{size}-saturated"), Protocol::Http2, body));
    }
    list.push(Workload {
        host: GRPC_HOST.into(),
        path: "/bench.Echo/Say".into(),
        ..bytes("grpc-512b-saturated".into(), Protocol::Grpc, 512)
    });
    for (version, protocol) in [("h1", Protocol::Http1), ("h2", Protocol::Http2)] {
        list.push(Workload {
            is_secure: true,
            ..bytes(format!("{version}-tls-512b"), protocol, 512)
        });
    }
    for routes in ROUTES {
        list.push(Workload {
            host: routes_host(routes),
            path: format!("{}x", route_prefix(routes - 1)),
            ..bytes(format!("h1-512b-routes-{routes}"), Protocol::Http1, 512)
        });
    }
    list.extend(beside_floods(only, duration));
    list.retain(|workload| workload.name.contains(only));
    list
}

/// The load of a thousand requests a second beside each of the floods that are wanted.
fn beside_floods(only: &str, duration: Duration) -> impl Iterator<Item = Workload> {
    let wanted = FLOODS.iter().filter(move |flood| {
        let name = flood::slug(flood);
        BESIDE.contains(&name.as_str()) || only.contains("beside")
    });
    wanted.map(move |flood| Workload {
        name: format!("h1-512b-1k-beside-{}", flood::slug(flood)),
        protocol: Protocol::Http1,
        is_secure: false,
        host: HOST.into(),
        path: "/512".into(),
        body: 512,
        rate: Some(1_000),
        duration,
        beside: Some(flood),
    })
}

/// The host with this many routes.
pub(crate) fn routes_host(routes: usize) -> String {
    format!("routes-{routes}.example")
}

/// The prefix of a route.
pub(crate) fn route_prefix(number: usize) -> String {
    format!("/service-{number}/")
}

// === impl Workload ===

impl Workload {
    /// Answers whether it is about the size of route tables.
    pub(crate) fn needs_routes(&self) -> bool {
        ROUTES
            .iter()
            .any(|routes| self.host == routes_host(*routes))
    }

    /// Answers whether a peer can be measured so: the relay does not translate, ends no TLS and takes
    /// floods for bytes, and the tables of routes are compared with each other, not with peers.
    pub(crate) fn is_for(&self, peer: Peer) -> bool {
        match peer {
            Peer::Lateen => true,
            Peer::TcpRelay => {
                let is_plain = self.protocol == Protocol::Http1 && !self.is_secure;
                is_plain && self.host == HOST && self.beside.is_none()
            }
            Peer::Envoy | Peer::Haproxy | Peer::Nginx => {
                self.host == HOST || self.host == GRPC_HOST
            }
        }
    }
}
