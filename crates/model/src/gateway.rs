//! Gateways: what the proxies at the edge listen to.

use serde::Serialize;

use crate::{HostPattern, Labels, Protocol};

/// A Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// Namespace of the object.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The proxies that it configures, in every namespace; empty selects every gateway.
    pub selector: Labels,
    /// What they listen to.
    pub servers: Vec<Server>,
}

/// One server of a Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Its name; empty if none.
    pub name: String,
    /// The number of the gateway *Service's* port, or the listening port itself if no Service
    /// exposes that number (see [`crate::proxy::Proxy::gateway_ports`]).
    pub port: u16,
    /// The port's name.
    pub port_name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// The address to listen on; empty for all.
    pub bind: String,
    /// Hosts that it serves.
    pub hosts: Vec<ServerHost>,
    /// Answers every plaintext request with a redirect to https.
    pub https_redirect: bool,
}

/// A host of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerHost {
    /// Only VirtualServices of this namespace; any if unset. `.` is already replaced.
    pub namespace: Option<String>,
    /// The host.
    pub host: HostPattern,
}
