//! What one proxy is told about itself: the only resource that differs between proxies.

use std::net::IpAddr;

use serde::Serialize;

use crate::pool::ConnectionPool;
use crate::service::ServiceKey;
use crate::{Labels, Protocol, SocketAddress};

/// The kind of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Beside an application.
    Sidecar,
    /// At the edge (`router` in Istio's node ids).
    Gateway,
}

/// One proxy, as the control plane sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proxy {
    /// Its kind.
    pub role: Role,
    /// The pod's name.
    pub name: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's labels.
    pub labels: Labels,
    /// The pod's addresses.
    pub addresses: Vec<IpAddr>,
    /// `region/zone/subzone`.
    pub locality: String,
    /// The ports on which its workload serves services.
    pub inbound: Vec<InboundPort>,
    /// For a gateway: service port and the port of the pod that it targets, for each port of each
    /// Service that selects the pod.
    pub gateway_ports: Vec<(u16, u16)>,
    /// Whether it answers the DNS questions of its application (`ISTIO_META_DNS_CAPTURE`).
    pub answers_dns: bool,
}

/// A port on which a workload serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InboundPort {
    /// The port of the workload.
    pub port: u16,
    /// What it speaks.
    pub protocol: Protocol,
    /// The oldest service that targets it.
    pub service: ServiceKey,
    /// The port of that service.
    pub service_port: u16,
    /// Where the workload listens, if not where it was dialled (a Sidecar's `defaultEndpoint`).
    pub endpoint: Option<SocketAddress>,
    /// The workload's own limits (its Sidecar's), in place of those of the service.
    pub pool: Option<ConnectionPool>,
}
