//! The plan: everything that the data path reads, immutable, shared by all workers.
//!
//! A plan is two parts: the routing, which changes with rules and services, and the clusters,
//! which change with every pod. A new endpoint makes a new plan with the same routing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use lateen_model::mesh::Mesh;
use lateen_model::proxy::Proxy;
use lateen_model::{ObjectRef, Protocol, SocketAddress};

use crate::cluster::{Cluster, ClusterId, Counted, Permit, Policy, ServiceLabels, Usage};
use crate::hosts::FixedMap;
use crate::l4::{SniTable, TcpRoute};
use crate::names::{Named, Names, Pods};
use crate::table::RouteTable;
use crate::tls::{ServerId, Terminated, TlsTable};

/// What the data path reads.
#[derive(Debug)]
pub struct Plan {
    pub(crate) routing: Arc<Routing>,
    /// Endpoints of headless services, by address and service port.
    pub(crate) headless: Arc<FixedMap<(IpAddr, u16), Arc<Outbound>>>,
    /// What names stand for, for the application's questions.
    pub(crate) names: Arc<Names>,
    /// The endpoints of headless services by name.
    pub(crate) pods: Arc<Pods>,
    /// By id; none where no such destination exists.
    pub(crate) clusters: Vec<Option<Arc<Cluster>>>,
}

/// The part of a plan that does not depend on endpoints.
#[derive(Debug)]
pub(crate) struct Routing {
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) proxy: Option<Arc<Proxy>>,
    pub(crate) outbound: OutboundMap,
    pub(crate) inbound: FixedMap<u16, Inbound>,
    pub(crate) inbound_otherwise: Inbound,
    pub(crate) listeners: Vec<Arc<GatewayListener>>,
    pub(crate) terminated: FixedMap<ServerId, Arc<Terminated>>,
    pub(crate) notices: Vec<(ObjectRef, String)>,
}

/// Finds what happens to a destination: its own address, its range, its port, or the rest.
#[derive(Debug)]
pub(crate) struct OutboundMap {
    pub(crate) addresses: FixedMap<(IpAddr, u16), Arc<Outbound>>,
    pub(crate) ranges: FixedMap<(IpNet, u16), Arc<Outbound>>,
    /// The lengths of the prefixes in `ranges`, longest first.
    pub(crate) range_lengths: Vec<u8>,
    pub(crate) ports: FixedMap<u16, Arc<Outbound>>,
    pub(crate) otherwise: Arc<Outbound>,
}

/// What happens to outbound connections to one original destination.
///
/// The first bytes decide between the three: HTTP goes by `http`, a TLS ClientHello by `sni`
/// (and where no name matches, by `tcp`), all else by `tcp`. Bytes of a kind whose table is
/// absent go by `tcp`.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// Whether to look at the first bytes at all.
    pub inspect: Inspect,
    /// For HTTP requests.
    pub http: Option<Arc<RouteTable>>,
    /// For TLS that is passed through.
    pub sni: Option<Arc<SniTable>>,
    /// For everything else.
    pub tcp: Arc<TcpRoute>,
}

/// Whether to look at the first bytes of a connection before it is routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inspect {
    /// The protocol is declared TCP, or nothing depends on it: connect at once.
    Never,
    /// The client speaks first (declared HTTP or TLS): wait for its bytes.
    Wait,
    /// Nothing is declared: wait for [`Mesh::protocol_detection_timeout_ms`], then dial `tcp`
    /// and watch both sides.
    Detect,
}

/// What happens to inbound connections to one port of the workload.
#[derive(Debug)]
pub struct Inbound {
    /// The port of the workload; 0 for the entry of all other ports.
    pub port: u16,
    /// `inbound|<port>||` or `InboundPassthroughCluster`.
    pub cluster_name: Box<str>,
    /// Where the workload listens, if not where it was dialled.
    pub endpoint: Option<SocketAddress>,
    /// What it speaks; [`Protocol::Unknown`] is found out from the first bytes.
    pub protocol: Protocol,
    /// The service for metrics; none on ports that no service targets.
    pub service: Option<ServiceLabels>,
    /// The port of that service; 0 if none.
    pub service_port: u16,
    /// How the workload is talked to: of the policy of its service only the pools and limits.
    pub policy: Policy,
    /// What is in use of the workload's port, over all workers.
    pub usage: Arc<Usage>,
}

/// A socket that a gateway listens on.
#[derive(Debug, Clone)]
pub struct GatewayListener {
    /// The address; all if none is given.
    pub bind: Option<IpAddr>,
    /// The port to listen on: the target port of the gateway's Service.
    pub port: u16,
    /// The port as the first Gateway writes it.
    pub server_port: u16,
    /// The Gateway objects behind it.
    pub origins: Vec<ObjectRef>,
    /// What it serves.
    pub serve: Serve,
}

/// What a gateway's listener serves.
#[derive(Debug, Clone)]
pub enum Serve {
    /// Requests in plain text.
    Http(Arc<RouteTable>),
    /// TLS, by its server name; a name that no server has is closed.
    Tls(Arc<TlsTable>),
    /// Bytes.
    Tcp(Arc<TcpRoute>),
}

// === impl Plan ===

impl Plan {
    /// The settings of the mesh.
    pub fn mesh(&self) -> &Mesh {
        &self.routing.mesh
    }

    /// What this proxy is; nothing before the control plane said so.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.routing.proxy.as_deref()
    }

    /// What happens to a connection that the workload opened to this address.
    pub fn outbound(&self, original: SocketAddr) -> &Outbound {
        let key = (original.ip().to_canonical(), original.port());
        let map = &self.routing.outbound;
        map.addresses
            .get(&key)
            .or_else(|| self.headless.get(&key))
            .or_else(|| map.range(key))
            .or_else(|| map.ports.get(&key.1))
            .unwrap_or(&map.otherwise)
    }

    /// What happens to a connection to this port of the workload. Known ports and unknown ones
    /// answer alike, see [`Inbound::port`].
    pub fn inbound(&self, port: u16) -> &Inbound {
        let routing = &self.routing;
        routing
            .inbound
            .get(&port)
            .unwrap_or(&routing.inbound_otherwise)
    }

    /// The sockets that a gateway listens on; none for a sidecar.
    pub fn listeners(&self) -> &[Arc<GatewayListener>] {
        &self.routing.listeners
    }

    /// The gateway's listener on a port and, where binds differ, the local address.
    pub fn gateway(&self, local: SocketAddr) -> Option<&GatewayListener> {
        let address = local.ip().to_canonical();
        let on_port = || {
            self.listeners()
                .iter()
                .filter(|one| one.port == local.port())
        };
        on_port()
            .find(|listener| listener.bind == Some(address))
            .or_else(|| {
                on_port().find(|listener| listener.bind.is_none_or(|ip| ip.is_unspecified()))
            })
            .map(|listener| &**listener)
    }

    /// The server that ends TLS of this id; `None` if it is gone or has changed.
    pub fn terminated(&self, id: ServerId) -> Option<&Terminated> {
        self.routing.terminated.get(&id).map(|server| &**server)
    }

    /// Every server that ends TLS, in order of id.
    pub fn all_terminated(&self) -> Vec<&Arc<Terminated>> {
        let mut all: Vec<_> = self.routing.terminated.values().collect();
        all.sort_by_key(|server| server.id);
        all
    }

    /// The cluster of this id; `None` if its service or subset does not exist, which is
    /// [`lateen_model::Reason::NoCluster`].
    pub fn cluster(&self, id: ClusterId) -> Option<&Cluster> {
        self.clusters.get(id.0 as usize)?.as_deref()
    }

    /// What a host name (in lower case, without a dot at its end) stands for, as a sidecar answers
    /// its application's DNS; nothing if the mesh does not know it, or has no address for it.
    pub fn named(&self, name: &str) -> Option<Named> {
        self.names.find(name, &self.pods)
    }

    /// Every cluster that exists, in order of id.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        self.clusters.iter().flatten()
    }

    /// What could not be carried out as written, with the object behind it, for the status.
    pub fn notices(&self) -> &[(ObjectRef, String)] {
        &self.routing.notices
    }
}

// === impl Inbound ===

impl Inbound {
    /// Asks for leave to use something until the permit is dropped; `None` if the limit is
    /// reached: see [`Cluster::permit`].
    pub fn permit(&self, what: Counted) -> Option<Permit<&Arc<Usage>>> {
        self.usage.begin(what, &self.policy.limits)
    }
}

// === impl OutboundMap ===

impl OutboundMap {
    /// The longest range that has the address: one look-up for each length of prefix in use.
    fn range(&self, (address, port): (IpAddr, u16)) -> Option<&Arc<Outbound>> {
        self.range_lengths.iter().find_map(|length| {
            let net = IpNet::new(address, *length).ok()?;
            self.ranges.get(&(net.trunc(), port))
        })
    }
}
