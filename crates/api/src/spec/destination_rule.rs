//! `DestinationRule`: what happens to traffic after it was routed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::common::MatchLabels;
use super::traffic_policy::TrafficPolicy;

/// Configuration affecting load balancing, outlier detection, etc.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationRule {
    /// The name of a service of the registry.
    #[schemars(extend("x-required" = true))]
    pub host: String,
    /// Policies for all subsets and ports.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Named parts of the service, usually its versions.
    pub subsets: Vec<Subset>,
    /// Namespaces that see this object: `*` for all, `.` for its own.
    pub export_to: Vec<String>,
    /// Only for callers of the same namespace with these labels.
    pub workload_selector: Option<MatchLabels>,
}

/// A named part of a service.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Subset {
    /// The name that routes use.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// The endpoints with these labels.
    pub labels: BTreeMap<String, String>,
    /// Overrides the rule's policies block by block.
    pub traffic_policy: Option<TrafficPolicy>,
}
