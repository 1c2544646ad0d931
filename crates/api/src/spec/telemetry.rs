//! `Telemetry`: metrics, access logs and traces of workloads.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::common::{MatchLabels, TargetRef};
use super::duration::Duration;

/// Telemetry configuration for workloads.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Telemetry {
    /// The workloads that it is for.
    pub selector: Option<MatchLabels>,
    /// Deprecated: use targetRefs.
    pub target_ref: Option<TargetRef>,
    /// The objects that it is attached to.
    #[schemars(length(max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// Traces.
    pub tracing: Vec<Tracing>,
    /// Metrics.
    pub metrics: Vec<Metrics>,
    /// Access logs.
    pub access_logging: Vec<AccessLogging>,
}

/// Which side of a connection is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WorkloadMode {
    /// Both.
    ClientAndServer,
    /// The caller's.
    Client,
    /// The callee's.
    Server,
}

/// Which side of a connection is meant.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ModeSelector {
    /// The side.
    pub mode: Option<WorkloadMode>,
}

/// A provider of the mesh's configuration.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProviderRef {
    /// Its name.
    #[schemars(extend("x-required" = true), length(min = 1))]
    pub name: String,
}

/// Traces.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Tracing {
    /// Which side is meant.
    #[serde(rename = "match")]
    pub matches: Option<ModeSelector>,
    /// Where spans are sent.
    pub providers: Vec<ProviderRef>,
    /// The share of requests that are traced.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub random_sampling_percentage: Option<f64>,
    /// Sends no spans.
    pub disable_span_reporting: Option<bool>,
    /// Passes no trace headers on.
    pub disable_context_propagation: Option<bool>,
    /// Tags of spans.
    pub custom_tags: BTreeMap<String, CustomTag>,
    /// Whether the request id decides about sampling.
    pub use_request_id_for_trace_sampling: Option<bool>,
    /// Whether spans carry Istio's tags.
    pub enable_istio_tags: Option<bool>,
}

/// Where the value of a tag comes from: exactly one is set.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomTag {
    /// From here.
    pub literal: Option<TagValue>,
    /// From the proxy's environment.
    pub environment: Option<TagSource>,
    /// From a header of the request.
    pub header: Option<TagSource>,
    /// From a format of the access log.
    pub formatter: Option<TagValue>,
}

/// The value of a tag.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TagValue {
    /// The value.
    #[schemars(extend("x-required" = true), length(min = 1))]
    pub value: String,
}

/// What a tag's value is read from.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TagSource {
    /// The name of the variable or header.
    #[schemars(extend("x-required" = true), length(min = 1))]
    pub name: String,
    /// The value if there is none.
    pub default_value: String,
}

/// Metrics.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Metrics {
    /// Where metrics are sent.
    pub providers: Vec<ProviderRef>,
    /// Changes of single metrics.
    pub overrides: Vec<MetricsOverride>,
    /// How often the counters of long connections are reported.
    pub reporting_interval: Option<Duration>,
}

/// A change of a metric.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricsOverride {
    /// The metric; all if unset.
    #[serde(rename = "match")]
    pub matches: Option<MetricSelector>,
    /// Turns it off.
    pub disabled: Option<bool>,
    /// Changes of its tags.
    pub tag_overrides: BTreeMap<String, TagOverride>,
}

/// Selects a metric.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricSelector {
    /// A metric of Istio.
    pub metric: Option<IstioMetric>,
    /// Another one, by its name.
    #[schemars(length(min = 1))]
    pub custom_metric: Option<String>,
    /// Which side is meant.
    pub mode: Option<WorkloadMode>,
}

/// Istio's metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IstioMetric {
    /// Every metric.
    AllMetrics,
    /// Requests.
    RequestCount,
    /// Their duration.
    RequestDuration,
    /// Their size.
    RequestSize,
    /// The size of responses.
    ResponseSize,
    /// Connections that were opened.
    TcpOpenedConnections,
    /// Connections that were closed.
    TcpClosedConnections,
    /// Bytes sent to clients.
    TcpSentBytes,
    /// Bytes received from clients.
    TcpReceivedBytes,
    /// Messages of gRPC requests.
    GrpcRequestMessages,
    /// Messages of gRPC responses.
    GrpcResponseMessages,
}

/// A change of a tag.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TagOverride {
    /// What happens to it.
    pub operation: Option<TagOperation>,
    /// The expression that gives its value.
    pub value: String,
}

/// What happens to a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TagOperation {
    /// Set.
    Upsert,
    /// Left out.
    Remove,
}

/// Access logs.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessLogging {
    /// Which side is meant.
    #[serde(rename = "match")]
    pub matches: Option<ModeSelector>,
    /// Where logs are sent.
    pub providers: Vec<ProviderRef>,
    /// Turns them off.
    pub disabled: Option<bool>,
    /// What is logged.
    pub filter: Option<LogFilter>,
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LogFilter {
    /// A CEL expression.
    pub expression: String,
}
