//! `Sidecar`: what a sidecar listens to and which services it knows.

use schemars::JsonSchema;
use serde::Deserialize;

use super::common::{LabelSelector, Port};
use super::tls::ServerTls;
use super::traffic_policy::ConnectionPool;
use super::virtual_service::Destination;

/// Configuration affecting network reachability of a sidecar.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Sidecar {
    /// The workloads that it is for; all of the namespace if unset.
    pub workload_selector: Option<LabelSelector>,
    /// What the sidecar listens to for its workload.
    pub ingress: Vec<IngressListener>,
    /// The services that its workload may call.
    pub egress: Vec<EgressListener>,
    /// What happens to traffic to unknown destinations.
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    /// Limits of what the workload receives.
    pub inbound_connection_pool: Option<ConnectionPool>,
}

/// What a sidecar listens to for its workload.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressListener {
    /// The port of the workload.
    #[schemars(extend("x-required" = true))]
    pub port: Port,
    /// The address to listen on.
    pub bind: String,
    /// How traffic gets here.
    pub capture_mode: Option<CaptureMode>,
    /// Where the workload listens.
    pub default_endpoint: String,
    /// TLS.
    pub tls: Option<ServerTls>,
    /// Limits of what the workload receives.
    pub connection_pool: Option<ConnectionPool>,
}

/// The services that a workload may call.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EgressListener {
    /// The port.
    pub port: Option<Port>,
    /// The address to listen on.
    pub bind: String,
    /// How traffic gets here.
    pub capture_mode: Option<CaptureMode>,
    /// Hosts, as `namespace/name`.
    #[schemars(extend("x-required" = true))]
    pub hosts: Vec<String>,
}

/// How traffic gets to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum CaptureMode {
    /// As everything else.
    #[default]
    Default,
    /// By redirection.
    Iptables,
    /// Not at all: the listener is dialled.
    None,
}

/// What happens to traffic to unknown destinations.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OutboundTrafficPolicy {
    /// Passed or refused.
    pub mode: Option<OutboundMode>,
    /// A service that it is sent to.
    pub egress_proxy: Option<Destination>,
}

/// Whether traffic to unknown destinations passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboundMode {
    /// Refused.
    #[default]
    RegistryOnly,
    /// Passed.
    AllowAny,
}
