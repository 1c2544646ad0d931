//! `WorkloadEntry` and `WorkloadGroup`: workloads that are not pods.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// Configuration affecting VMs onboarded into the mesh.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEntry {
    /// An address, a host name, or `unix://` with a path.
    #[schemars(length(max = 256))]
    pub address: String,
    /// Ports by the name of the service's port.
    #[schemars(extend("maxProperties" = 128))]
    pub ports: BTreeMap<String, u32>,
    /// Labels.
    #[schemars(extend("maxProperties" = 256))]
    pub labels: BTreeMap<String, String>,
    /// The network of the address.
    #[schemars(length(max = 2048))]
    pub network: String,
    /// `region/zone/subzone`.
    #[schemars(length(max = 2048))]
    pub locality: String,
    /// The share of traffic.
    pub weight: u32,
    /// The service account.
    #[schemars(length(max = 253))]
    pub service_account: String,
}

/// Describes a collection of workload instances.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadGroup {
    /// Metadata of the entries.
    pub metadata: Option<GroupMetadata>,
    /// The template of the entries.
    #[schemars(extend("x-required" = true))]
    pub template: WorkloadEntry,
    /// Tells whether an entry is ready.
    pub probe: Option<Probe>,
}

/// Metadata of the entries of a group.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupMetadata {
    /// Labels.
    #[schemars(extend("maxProperties" = 256))]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[schemars(extend("maxProperties" = 256))]
    pub annotations: BTreeMap<String, String>,
}

/// A readiness probe.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Probe {
    /// Seconds before the first.
    #[schemars(range(min = 0))]
    pub initial_delay_seconds: i32,
    /// Seconds that one may take.
    #[schemars(range(min = 0))]
    pub timeout_seconds: i32,
    /// Seconds between two.
    #[schemars(range(min = 0))]
    pub period_seconds: i32,
    /// Successes in a row until ready.
    #[schemars(range(min = 0))]
    pub success_threshold: i32,
    /// Failures in a row until not ready.
    #[schemars(range(min = 0))]
    pub failure_threshold: i32,
    /// By HTTP.
    pub http_get: Option<HttpProbe>,
    /// By a connection.
    pub tcp_socket: Option<TcpProbe>,
    /// By a command.
    pub exec: Option<ExecProbe>,
    /// By gRPC's health protocol.
    pub grpc: Option<GrpcProbe>,
}

/// A probe by HTTP.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpProbe {
    /// The path.
    pub path: String,
    /// The port.
    #[schemars(extend("x-required" = true))]
    pub port: u32,
    /// The host.
    pub host: String,
    /// HTTP or HTTPS.
    pub scheme: String,
    /// Headers to send.
    pub http_headers: Vec<ProbeHeader>,
}

/// A header of a probe.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProbeHeader {
    /// Its name.
    #[schemars(regex(pattern = "^[-_A-Za-z0-9]+$"))]
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A probe by a connection.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpProbe {
    /// The host.
    pub host: String,
    /// The port.
    #[schemars(extend("x-required" = true))]
    pub port: u32,
}

/// A probe by a command.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecProbe {
    /// The command with its arguments.
    #[schemars(extend("x-required" = true))]
    pub command: Vec<String>,
}

/// A probe by gRPC's health protocol.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcProbe {
    /// The port.
    pub port: u32,
    /// The service to ask for.
    pub service: String,
}
