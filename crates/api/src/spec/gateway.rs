//! `Gateway`: what proxies at the edge listen to.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::tls::ServerTls;

/// Configuration affecting edge load balancer.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Gateway {
    /// What the proxies listen to.
    pub servers: Vec<Server>,
    /// Labels of the proxies that this object configures.
    pub selector: BTreeMap<String, String>,
}

/// A server of a Gateway.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Server {
    /// The port.
    #[schemars(extend("x-required" = true))]
    pub port: ServerPort,
    /// The address to listen on.
    pub bind: String,
    /// Hosts that it serves, as `[namespace/]name`.
    #[schemars(extend("x-required" = true))]
    pub hosts: Vec<String>,
    /// TLS.
    pub tls: Option<ServerTls>,
    /// Not used by Istio.
    pub default_endpoint: String,
    /// The name, for statistics.
    pub name: String,
}

/// A port of a Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerPort {
    /// The number: that of the gateway's Service.
    #[schemars(extend("x-required" = true))]
    pub number: u32,
    /// The protocol: HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, MONGO, TCP or TLS.
    #[schemars(extend("x-required" = true))]
    pub protocol: String,
    /// The name.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Not used by Istio; refused.
    pub target_port: Option<u32>,
}
