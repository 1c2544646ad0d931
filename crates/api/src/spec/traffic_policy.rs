//! Traffic policies: how a DestinationRule (and a Sidecar) wants destinations to be talked to.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::common::PortSelector;
use super::duration::Duration;
use super::tls::ClientTls;

/// Policies of a destination.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPolicy {
    /// How endpoints are chosen.
    pub load_balancer: Option<LoadBalancer>,
    /// Limits of connections and requests.
    pub connection_pool: Option<ConnectionPool>,
    /// When endpoints are taken out for a while.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards the destination.
    pub tls: Option<ClientTls>,
    /// Settings of single ports; they replace those of the destination as a whole.
    #[schemars(length(max = 4096))]
    pub port_level_settings: Vec<PortSettings>,
    /// Tunnels TCP through a proxy.
    pub tunnel: Option<Tunnel>,
    /// Sends a PROXY protocol header.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Limits retries to a share of the requests.
    pub retry_budget: Option<RetryBudget>,
}

/// Policies of one port.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PortSettings {
    /// The port of the service.
    pub port: Option<PortSelector>,
    /// How endpoints are chosen.
    pub load_balancer: Option<LoadBalancer>,
    /// Limits of connections and requests.
    pub connection_pool: Option<ConnectionPool>,
    /// When endpoints are taken out for a while.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards the destination.
    pub tls: Option<ClientTls>,
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancer {
    /// A standard algorithm.
    pub simple: Option<SimpleLb>,
    /// By a hash of a property of the request.
    pub consistent_hash: Option<ConsistentHash>,
    /// By locality.
    pub locality_lb_setting: Option<LocalityLb>,
    /// By zone.
    pub zone_aware_lb_setting: Option<ZoneAwareLb>,
    /// Deprecated: use warmup.
    pub warmup_duration_secs: Option<Duration>,
    /// Gives new endpoints less at first.
    pub warmup: Option<Warmup>,
    /// By load reports of the endpoints.
    pub backend_utilization: Option<BackendUtilization>,
}

/// Standard algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SimpleLb {
    /// The default: LEAST_REQUEST.
    Unspecified,
    /// Deprecated name of LEAST_REQUEST.
    LeastConn,
    /// Any endpoint.
    Random,
    /// The address that the caller dialled.
    Passthrough,
    /// One after the other.
    RoundRobin,
    /// The less busy of two random ones.
    LeastRequest,
}

/// By a hash of a property of the request.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsistentHash {
    /// Of this header.
    pub http_header_name: Option<String>,
    /// Of this cookie.
    pub http_cookie: Option<HttpCookie>,
    /// Of the client's address.
    pub use_source_ip: Option<bool>,
    /// Of this query parameter.
    pub http_query_parameter_name: Option<String>,
    /// On a ring.
    pub ring_hash: Option<RingHash>,
    /// By Maglev.
    pub maglev: Option<Maglev>,
    /// Deprecated: use ringHash.
    pub minimum_ring_size: Option<u64>,
}

/// A cookie that keeps a client at an endpoint.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpCookie {
    /// Its name.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Its path.
    pub path: Option<String>,
    /// How long it lives; `0s` is a session cookie.
    pub ttl: Option<Duration>,
    /// Other attributes.
    pub attributes: Vec<CookieAttribute>,
}

/// An attribute of a cookie.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CookieAttribute {
    /// Its name.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Ring hash.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RingHash {
    /// The smallest number of points on the ring.
    pub minimum_ring_size: Option<u64>,
}

/// Maglev.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Maglev {
    /// The size of the table, a prime.
    pub table_size: Option<u64>,
}

/// Locality load balancing.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalityLb {
    /// Shares of localities.
    pub distribute: Vec<Distribute>,
    /// Where traffic goes when a locality fails.
    pub failover: Vec<Failover>,
    /// Labels that order endpoints.
    pub failover_priority: Vec<String>,
    /// Whether it is on.
    pub enabled: Option<bool>,
}

/// Shares of localities.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Distribute {
    /// Locality of the caller.
    pub from: String,
    /// Locality of the endpoints, with its percentage.
    pub to: BTreeMap<String, u32>,
}

/// Where traffic goes when a region fails.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Failover {
    /// The region that fails.
    pub from: String,
    /// The region that takes over.
    pub to: String,
}

/// Zone-aware load balancing.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ZoneAwareLb {
    /// Whether it is on.
    pub enabled: Option<bool>,
    /// Where traffic goes when a region fails.
    pub failover: Vec<Failover>,
    /// Labels that order endpoints.
    pub failover_priority: Vec<String>,
    /// Clusters with fewer endpoints are not divided by zone.
    #[schemars(range(min = 1))]
    pub min_cluster_size: Option<u32>,
}

/// Slow start.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Warmup {
    /// How long it takes.
    #[schemars(extend("x-required" = true))]
    pub duration: Option<Duration>,
    /// The share at the start.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub minimum_percent: Option<f64>,
    /// The form of the curve.
    #[schemars(range(min = 0.0))]
    pub aggression: Option<f64>,
}

/// Weighs endpoints by the load that they report.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendUtilization {
    /// How long weights wait at the start.
    pub weight_stabilization_period: Option<String>,
    /// When a report is too old.
    pub weight_expiration_period: Option<String>,
    /// How often weights are computed.
    pub weight_update_period: Option<String>,
    /// How much errors count.
    pub error_utilization_penalty_percent: Option<u32>,
    /// Which metrics count.
    pub metric_names_for_computing_utilization: Vec<String>,
}

/// Limits of connections and requests.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionPool {
    /// Of connections.
    pub tcp: Option<TcpPool>,
    /// Of requests.
    pub http: Option<HttpPool>,
}

/// Limits of connections.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpPool {
    /// How many at once.
    pub max_connections: Option<i32>,
    /// How long a connection may take to be made.
    pub connect_timeout: Option<Duration>,
    /// Keep-alive probes.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// How old a connection may get.
    pub max_connection_duration: Option<Duration>,
    /// How long a connection may be silent; `0s` for ever.
    pub idle_timeout: Option<String>,
}

/// Keep-alive probes.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpKeepalive {
    /// How many before the connection is dead.
    pub probes: Option<u32>,
    /// How long a connection is silent before the first.
    pub time: Option<Duration>,
    /// The time between them.
    pub interval: Option<Duration>,
}

/// Limits of requests.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpPool {
    /// Requests that may wait for a connection.
    #[serde(rename = "http1MaxPendingRequests")]
    pub http1_max_pending_requests: Option<i32>,
    /// Requests at once.
    #[serde(rename = "http2MaxRequests")]
    pub http2_max_requests: Option<i32>,
    /// Requests on one connection.
    pub max_requests_per_connection: Option<i32>,
    /// Retries at once.
    pub max_retries: Option<i32>,
    /// How long a connection may be unused.
    pub idle_timeout: Option<Duration>,
    /// Whether HTTP/1.1 becomes HTTP/2.
    #[serde(rename = "h2UpgradePolicy")]
    pub h2_upgrade_policy: Option<H2UpgradePolicy>,
    /// Uses the protocol of the client.
    pub use_client_protocol: bool,
    /// Streams at once on one connection.
    pub max_concurrent_streams: Option<i32>,
    /// HTTP/2 pings.
    #[serde(rename = "http2KeepAlive")]
    pub http2_keep_alive: Option<Http2KeepAlive>,
}

/// Whether HTTP/1.1 becomes HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum H2UpgradePolicy {
    /// As the mesh says.
    Default,
    /// Never.
    DoNotUpgrade,
    /// Always.
    Upgrade,
}

/// HTTP/2 pings.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Http2KeepAlive {
    /// The time between them.
    pub interval: Option<Duration>,
    /// How long an answer may take.
    pub timeout: Option<Duration>,
}

/// When endpoints are taken out for a while.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OutlierDetection {
    /// Deprecated and ignored.
    pub consecutive_errors: Option<i32>,
    /// Tells errors of the connection from those of the answer.
    pub split_external_local_origin_errors: bool,
    /// Errors of the connection in a row.
    pub consecutive_local_origin_failures: Option<u32>,
    /// 502, 503 and 504 in a row.
    pub consecutive_gateway_errors: Option<u32>,
    /// 5xx in a row.
    #[serde(rename = "consecutive5xxErrors")]
    pub consecutive_5xx_errors: Option<u32>,
    /// How often endpoints are looked at.
    pub interval: Option<Duration>,
    /// How long an endpoint is out the first time.
    pub base_ejection_time: Option<Duration>,
    /// How many may be out.
    pub max_ejection_percent: Option<i32>,
    /// Below this share of healthy ones nobody is taken out.
    pub min_health_percent: Option<i32>,
    /// Which statuses are errors.
    pub outlier_detection_http_error_codes: Vec<String>,
}

/// Tunnels TCP through a proxy.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Tunnel {
    /// CONNECT or POST.
    pub protocol: String,
    /// Where the tunnel ends.
    #[schemars(extend("x-required" = true))]
    pub target_host: String,
    /// The port there.
    #[schemars(extend("x-required" = true))]
    pub target_port: u32,
}

/// Sends a PROXY protocol header.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyProtocol {
    /// Its version.
    pub version: Option<ProxyProtocolVersion>,
}

/// Versions of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ProxyProtocolVersion {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// Limits retries to a share of the requests.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryBudget {
    /// The share.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub percent: Option<f64>,
    /// Always allowed.
    pub min_retry_concurrency: Option<u32>,
    /// The time over which requests are counted.
    pub budget_interval: Option<String>,
}
