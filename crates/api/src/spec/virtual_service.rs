//! `VirtualService`: how requests are routed to services.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::common::{Percent, PortSelector, StringMatch};
use super::duration::Duration;

/// Configuration affecting label/content routing, sni routing, etc.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualService {
    /// The destination hosts to which traffic is being sent.
    pub hosts: Vec<String>,
    /// The names of gateways and sidecars that should apply these routes; `mesh` is every sidecar.
    pub gateways: Vec<String>,
    /// An ordered list of route rules for HTTP traffic; the first match wins.
    pub http: Vec<HttpRoute>,
    /// An ordered list of route rules for TLS and HTTPS traffic that is not terminated.
    pub tls: Vec<TlsRoute>,
    /// An ordered list of route rules for opaque TCP traffic.
    pub tcp: Vec<TcpRoute>,
    /// Namespaces that see this object: `*` for all, `.` for its own.
    pub export_to: Vec<String>,
}

/// A rule for HTTP traffic.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRoute {
    /// The name of the route, for logs.
    pub name: String,
    /// Conditions of which one must hold; none matches every request.
    #[serde(rename = "match")]
    pub matches: Vec<HttpMatch>,
    /// Destinations by weight.
    pub route: Vec<HttpDestination>,
    /// Answers with a redirect instead of forwarding.
    pub redirect: Option<Redirect>,
    /// Answers by itself instead of forwarding.
    pub direct_response: Option<DirectResponse>,
    /// Another VirtualService that continues the routing.
    pub delegate: Option<Delegate>,
    /// Rewrites URI and authority before forwarding.
    pub rewrite: Option<Rewrite>,
    /// The longest time that a request may take.
    pub timeout: Option<Duration>,
    /// Repeats failed requests.
    pub retries: Option<Retries>,
    /// Delays or aborts requests.
    pub fault: Option<Fault>,
    /// Sends a copy of each request here, without waiting for its answer.
    pub mirror: Option<Destination>,
    /// Several mirrors.
    pub mirrors: Vec<Mirror>,
    /// Deprecated: use mirrorPercentage.
    pub mirror_percent: Option<u32>,
    /// Deprecated: use mirrorPercentage.
    #[serde(rename = "mirror_percent")]
    pub mirror_percent_snake: Option<u32>,
    /// The share of requests that is mirrored; all if unset.
    pub mirror_percentage: Option<Percent>,
    /// Cross-origin resource sharing.
    pub cors_policy: Option<CorsPolicy>,
    /// Changes headers.
    pub headers: Option<Headers>,
}

/// Conditions that must all hold.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMatch {
    /// The name of the match, for logs.
    pub name: String,
    /// The path without query.
    pub uri: Option<StringMatch>,
    /// The scheme.
    pub scheme: Option<StringMatch>,
    /// The method.
    pub method: Option<StringMatch>,
    /// The authority (host).
    pub authority: Option<StringMatch>,
    /// Headers by lower-case name; an empty condition asks for presence.
    pub headers: BTreeMap<String, StringMatch>,
    /// The port on which the request arrived.
    pub port: Option<u32>,
    /// Labels of the calling workload.
    pub source_labels: BTreeMap<String, String>,
    /// Overrides the gateways of the VirtualService.
    pub gateways: Vec<String>,
    /// Query parameters; an empty condition asks for presence.
    pub query_params: BTreeMap<String, StringMatch>,
    /// Ignores case in uri (exact and prefix).
    pub ignore_uri_case: bool,
    /// Headers that must not match.
    pub without_headers: BTreeMap<String, StringMatch>,
    /// Namespace of the calling workload.
    pub source_namespace: String,
    /// Prefix of the statistics of this route.
    pub stat_prefix: String,
}

/// A service, or a subset of it.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Destination {
    /// The name of a service of the registry.
    #[schemars(extend("x-required" = true))]
    pub host: String,
    /// A subset that a DestinationRule of the host defines.
    pub subset: String,
    /// The port; may be omitted if the service has only one.
    pub port: Option<PortSelector>,
}

/// A destination with its weight.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpDestination {
    /// Where to.
    #[schemars(extend("x-required" = true))]
    pub destination: Destination,
    /// The share is weight / sum of all weights.
    pub weight: i32,
    /// Changes headers of what goes to this destination.
    pub headers: Option<Headers>,
}

/// A destination with its weight.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteDestination {
    /// Where to.
    #[schemars(extend("x-required" = true))]
    pub destination: Destination,
    /// The share is weight / sum of all weights.
    pub weight: i32,
}

/// A rule for TLS traffic that is not terminated.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsRoute {
    /// Conditions of which one must hold.
    #[serde(rename = "match")]
    #[schemars(extend("x-required" = true))]
    pub matches: Vec<TlsMatch>,
    /// Destinations by weight.
    pub route: Vec<RouteDestination>,
}

/// Conditions that must all hold.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsMatch {
    /// Server names that clients ask for.
    #[schemars(extend("x-required" = true))]
    pub sni_hosts: Vec<String>,
    /// Addresses or subnets of the destination.
    pub destination_subnets: Vec<String>,
    /// The port on which the connection arrived.
    pub port: Option<u32>,
    /// Labels of the calling workload.
    pub source_labels: BTreeMap<String, String>,
    /// Overrides the gateways of the VirtualService.
    pub gateways: Vec<String>,
    /// Namespace of the calling workload.
    pub source_namespace: String,
}

/// A rule for TCP traffic.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpRoute {
    /// Conditions of which one must hold; none matches every connection.
    #[serde(rename = "match")]
    pub matches: Vec<TcpMatch>,
    /// Destinations by weight.
    pub route: Vec<RouteDestination>,
}

/// Conditions that must all hold.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpMatch {
    /// Addresses or subnets of the destination.
    pub destination_subnets: Vec<String>,
    /// The port on which the connection arrived.
    pub port: Option<u32>,
    /// Ignored, as by Istio.
    pub source_subnet: String,
    /// Labels of the calling workload.
    pub source_labels: BTreeMap<String, String>,
    /// Overrides the gateways of the VirtualService.
    pub gateways: Vec<String>,
    /// Namespace of the calling workload.
    pub source_namespace: String,
}

/// An answer that sends the client elsewhere.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Redirect {
    /// Replaces the whole path.
    pub uri: String,
    /// Replaces the prefix that matched.
    pub prefix_rewrite: String,
    /// Replaces the host.
    pub authority: String,
    /// Replaces the port.
    pub port: Option<u32>,
    /// Where the port comes from.
    pub derive_port: Option<DerivePort>,
    /// Replaces the scheme.
    pub scheme: String,
    /// The status, 301 if unset.
    pub redirect_code: Option<u32>,
}

/// Where the port of a redirect comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DerivePort {
    /// 80 or 443, by scheme.
    FromProtocolDefault,
    /// The port on which the request arrived.
    FromRequestPort,
}

/// An answer that the proxy gives.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DirectResponse {
    /// The status.
    #[schemars(extend("x-required" = true))]
    pub status: u32,
    /// The body.
    pub body: Option<Body>,
}

/// The body of a direct response.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Body {
    /// As text.
    pub string: Option<String>,
    /// As base64.
    #[schemars(extend("format" = "byte"))]
    pub bytes: Option<String>,
}

/// Another VirtualService.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Delegate {
    /// Its name.
    pub name: String,
    /// Its namespace; that of the referring object if empty.
    pub namespace: String,
}

/// Rewrites a request.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Rewrite {
    /// Replaces the path, or the prefix that matched.
    pub uri: String,
    /// Replaces the host.
    pub authority: String,
    /// Replaces what a regular expression matches in the path.
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// A regular expression with its replacement.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RegexRewrite {
    /// The expression (RE2 syntax).
    #[serde(rename = "match")]
    pub pattern: String,
    /// The replacement; `\1` is the first group.
    pub rewrite: String,
}

/// When and how often requests are repeated.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Retries {
    /// How often; 0 turns retries off.
    pub attempts: i32,
    /// Timeout of each attempt.
    pub per_try_timeout: Option<Duration>,
    /// Conditions, separated by commas.
    pub retry_on: String,
    /// Whether other localities may be tried.
    pub retry_remote_localities: Option<bool>,
    /// Whether hosts that failed are avoided.
    pub retry_ignore_previous_hosts: Option<bool>,
    /// The smallest pause between attempts.
    pub backoff: Option<Duration>,
}

/// Faults that are injected.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Fault {
    /// Delays requests.
    pub delay: Option<Delay>,
    /// Aborts requests.
    pub abort: Option<Abort>,
}

/// Delays requests before they are forwarded.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Delay {
    /// Deprecated: use percentage.
    pub percent: Option<i32>,
    /// How long.
    pub fixed_delay: Option<Duration>,
    /// Not supported by Istio; refused.
    pub exponential_delay: Option<Duration>,
    /// The share of requests; none if unset.
    pub percentage: Option<Percent>,
}

/// Answers requests with an error.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Abort {
    /// The HTTP status.
    pub http_status: Option<i32>,
    /// The gRPC status, by name.
    pub grpc_status: Option<String>,
    /// Not supported by Istio; refused.
    #[serde(rename = "http2Error")]
    pub http2_error: Option<String>,
    /// The share of requests; none if unset.
    pub percentage: Option<Percent>,
}

/// A destination of copies.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Mirror {
    /// Where to.
    #[schemars(extend("x-required" = true))]
    pub destination: Destination,
    /// The share of requests; all if unset.
    pub percentage: Option<Percent>,
}

/// Cross-origin resource sharing.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CorsPolicy {
    /// Deprecated: use allowOrigins.
    pub allow_origin: Vec<String>,
    /// Origins that are allowed.
    pub allow_origins: Vec<StringMatch>,
    /// Methods that are allowed.
    pub allow_methods: Vec<String>,
    /// Request headers that are allowed.
    pub allow_headers: Vec<String>,
    /// Response headers that scripts may read.
    pub expose_headers: Vec<String>,
    /// How long a preflight's answer may be kept.
    pub max_age: Option<Duration>,
    /// Whether credentials may be sent.
    pub allow_credentials: Option<bool>,
    /// What happens to preflights of other origins.
    pub unmatched_preflights: Option<UnmatchedPreflights>,
}

/// What happens to preflights whose origin is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UnmatchedPreflights {
    /// The default: FORWARD.
    Unspecified,
    /// The upstream answers them.
    Forward,
    /// The proxy answers them.
    Ignore,
}

/// Changes headers.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Headers {
    /// Of requests.
    pub request: Option<HeaderOperations>,
    /// Of responses.
    pub response: Option<HeaderOperations>,
}

/// Changes headers.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderOperations {
    /// Overwrites, or adds if missing.
    pub set: BTreeMap<String, String>,
    /// Appends.
    pub add: BTreeMap<String, String>,
    /// Removes.
    pub remove: Vec<String>,
}
