//! `ServiceEntry`: services that Kubernetes does not know.

use schemars::JsonSchema;
use serde::Deserialize;

use super::common::LabelSelector;
use super::workload::WorkloadEntry;

/// Configuration affecting service registry.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntry {
    /// The hosts of the service.
    #[schemars(extend("x-required" = true), length(min = 1, max = 256))]
    pub hosts: Vec<String>,
    /// Virtual addresses, or ranges of them.
    #[schemars(length(max = 256))]
    pub addresses: Vec<String>,
    /// The ports of the service.
    #[schemars(length(max = 256))]
    pub ports: Vec<ServicePort>,
    /// Whether the service is part of the mesh.
    pub location: Option<Location>,
    /// How endpoints are found.
    pub resolution: Option<Resolution>,
    /// The endpoints.
    #[schemars(length(max = 4096))]
    pub endpoints: Vec<WorkloadEntry>,
    /// Selects WorkloadEntries and pods as endpoints.
    pub workload_selector: Option<LabelSelector>,
    /// Namespaces that see this object: `*` for all, `.` for its own, `~` for none.
    pub export_to: Vec<String>,
    /// Names of which the server's certificate must carry one.
    pub subject_alt_names: Vec<String>,
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// The number that clients use.
    #[schemars(extend("x-required" = true))]
    pub number: u32,
    /// The protocol; found out from the name or the first bytes if empty.
    #[schemars(length(max = 256))]
    pub protocol: String,
    /// The name.
    #[schemars(extend("x-required" = true), length(max = 256))]
    pub name: String,
    /// The port of the endpoints; the number if unset.
    pub target_port: Option<u32>,
}

/// Whether a service is part of the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Location {
    /// Outside: reached without the mesh's TLS.
    #[default]
    MeshExternal,
    /// Inside, such as virtual machines.
    MeshInternal,
}

/// How endpoints are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// The address that the caller dialled.
    #[default]
    None,
    /// The addresses of endpoints.
    Static,
    /// Every address that DNS knows.
    Dns,
    /// The first address that DNS knows.
    DnsRoundRobin,
    /// Each host of a wildcard is looked up when it is called.
    DynamicDns,
}
