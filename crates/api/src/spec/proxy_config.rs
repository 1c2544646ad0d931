//! `ProxyConfig`: settings of proxies that are given when they start.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::common::MatchLabels;

/// Provides configuration for individual workloads.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfig {
    /// The workloads that it is for.
    pub selector: Option<MatchLabels>,
    /// Number of worker threads; 0 uses every core.
    #[schemars(range(min = 0))]
    pub concurrency: Option<i32>,
    /// Environment of the proxy.
    pub environment_variables: BTreeMap<String, String>,
    /// The image of the proxy.
    pub image: Option<ProxyImage>,
}

/// The image of a proxy.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyImage {
    /// default, debug or distroless.
    pub image_type: String,
}
