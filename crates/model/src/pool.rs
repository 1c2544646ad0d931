//! Limits of connections and requests, and when endpoints are taken out for a while.

use std::time::Duration;

use serde::Serialize;

use crate::Percent;

/// Limits of connections and requests to a destination, over all workers of a proxy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionPool {
    /// Of connections.
    pub tcp: TcpPool,
    /// Of requests.
    pub http: HttpPool,
}

/// Limits of connections; what is unset is not limited.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpPool {
    /// How many at once.
    pub max_connections: Option<u32>,
    /// How long a connection may take to be made; 10 s if unset.
    pub connect_timeout: Option<Duration>,
    /// Keep-alive probes; the system's way if unset.
    pub keepalive: Option<TcpKeepalive>,
    /// How old a connection may get.
    pub max_connection_duration: Option<Duration>,
    /// How long a connection may be silent; 1 h if unset, for ever if zero.
    pub idle_timeout: Option<Duration>,
}

/// Keep-alive probes; what is unset is the system's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpKeepalive {
    /// How many before the connection is dead.
    pub probes: Option<u32>,
    /// How long a connection is silent before the first.
    pub time: Option<Duration>,
    /// The time between them.
    pub interval: Option<Duration>,
}

/// Limits of requests; what is unset is not limited.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpPool {
    /// How many may wait for a connection.
    pub max_pending_requests: Option<u32>,
    /// How many at once.
    pub max_requests: Option<u32>,
    /// How many on one connection.
    pub max_requests_per_connection: Option<u32>,
    /// How many retries at once.
    pub max_retries: Option<u32>,
    /// How long a connection may be unused; 1 h if unset, for ever if zero. Overrides
    /// [`TcpPool::idle_timeout`].
    pub idle_timeout: Option<Duration>,
    /// Whether HTTP/1.1 becomes HTTP/2.
    pub h2_upgrade: H2Upgrade,
    /// Whether the upstream gets the client's version.
    pub uses_client_protocol: bool,
    /// Streams at once on one connection of HTTP/2.
    pub max_concurrent_streams: Option<u32>,
    /// Pings of HTTP/2: interval and timeout.
    pub h2_keepalive: Option<H2Keepalive>,
}

/// Whether HTTP/1.1 becomes HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum H2Upgrade {
    /// As the mesh says: it does not.
    #[default]
    Default,
    /// Never.
    Never,
    /// Always.
    Always,
}

/// Pings of HTTP/2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct H2Keepalive {
    /// The time between them.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// When endpoints are taken out for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutlierDetection {
    /// This many 5xx in a row (failures to connect count too, unless they are split off); never
    /// if zero.
    pub consecutive_5xx: u32,
    /// This many 502, 503 or 504 in a row; never if zero.
    pub consecutive_gateway_errors: u32,
    /// Failures to connect are counted apart.
    pub splits_local_origin: bool,
    /// This many failures to connect in a row, if they are counted apart; never if zero.
    pub consecutive_local_origin: u32,
    /// Statuses that count as errors in place of 5xx, as ranges with both ends; 5xx if empty.
    pub error_codes: Vec<(u16, u16)>,
    /// How often endpoints are looked at.
    pub interval: Duration,
    /// How long an endpoint is out, times how often it was.
    pub base_ejection_time: Duration,
    /// The share of endpoints that may be out at once; one may always.
    pub max_ejection: Percent,
    /// With a smaller share of healthy endpoints, all get requests (panic); never if zero.
    pub min_health: Percent,
}
