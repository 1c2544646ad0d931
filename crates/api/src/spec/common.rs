//! Parts that several kinds share.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// Selects workloads of the same namespace by their labels (Sidecar, ServiceEntry, EnvoyFilter).
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels that a workload must carry.
    #[schemars(extend("maxProperties" = 256))]
    pub labels: BTreeMap<String, String>,
}

/// Selects workloads by their labels (policies and DestinationRule).
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MatchLabels {
    /// Labels that a workload must carry.
    #[schemars(extend("maxProperties" = 4096))]
    pub match_labels: BTreeMap<String, String>,
}

/// The object that a policy is attached to.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetRef {
    /// The API group of the object; empty for core.
    #[schemars(
        length(max = 253),
        regex(pattern = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub group: String,
    /// The kind of the object.
    #[schemars(extend("x-required" = true), length(min = 1, max = 63), regex(pattern = "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"))]
    pub kind: String,
    /// The name of the object.
    #[schemars(extend("x-required" = true), length(min = 1, max = 253))]
    pub name: String,
    /// Must be empty: only objects of the same namespace can be attached to.
    pub namespace: String,
}

/// The number of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PortSelector {
    /// The number.
    pub number: u32,
}

/// A port of a Gateway or Sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    /// The number.
    pub number: u32,
    /// The protocol: HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, MONGO, TCP or TLS.
    pub protocol: String,
    /// The name.
    pub name: String,
    /// Not used by Istio; refused.
    pub target_port: Option<u32>,
}

/// A share of requests.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Percent {
    /// From 0.0 to 100.0.
    pub value: f64,
}

/// A condition on a string: exactly one of the fields is set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StringMatch {
    /// Equal.
    pub exact: Option<String>,
    /// Starts with.
    pub prefix: Option<String>,
    /// A regular expression (RE2 syntax) that matches the whole string.
    pub regex: Option<String>,
}
