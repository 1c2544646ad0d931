//! Limits of connections and requests, and outlier detection.

use prost::Message;

/// A part that is absent limits nothing.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ConnectionPool {
    #[prost(message, optional, tag = "1")]
    pub tcp: Option<TcpPool>,
    #[prost(message, optional, tag = "2")]
    pub http: Option<HttpPool>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct TcpPool {
    #[prost(uint32, optional, tag = "1")]
    pub max_connections: Option<u32>,
    /// Nanoseconds.
    #[prost(uint64, optional, tag = "2")]
    pub connect_timeout: Option<u64>,
    #[prost(message, optional, tag = "3")]
    pub keepalive: Option<TcpKeepalive>,
    /// Nanoseconds.
    #[prost(uint64, optional, tag = "4")]
    pub max_connection_duration: Option<u64>,
    /// Nanoseconds.
    #[prost(uint64, optional, tag = "5")]
    pub idle_timeout: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct TcpKeepalive {
    #[prost(uint32, optional, tag = "1")]
    pub probes: Option<u32>,
    /// Nanoseconds.
    #[prost(uint64, optional, tag = "2")]
    pub time: Option<u64>,
    /// Nanoseconds.
    #[prost(uint64, optional, tag = "3")]
    pub interval: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct HttpPool {
    #[prost(uint32, optional, tag = "1")]
    pub max_pending_requests: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    pub max_requests: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    pub max_requests_per_connection: Option<u32>,
    #[prost(uint32, optional, tag = "4")]
    pub max_retries: Option<u32>,
    /// Nanoseconds.
    #[prost(uint64, optional, tag = "5")]
    pub idle_timeout: Option<u64>,
    #[prost(int32, tag = "6")]
    pub h2_upgrade: i32,
    #[prost(bool, tag = "7")]
    pub uses_client_protocol: bool,
    #[prost(uint32, optional, tag = "8")]
    pub max_concurrent_streams: Option<u32>,
    #[prost(message, optional, tag = "9")]
    pub h2_keepalive: Option<H2Keepalive>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct H2Keepalive {
    /// Nanoseconds.
    #[prost(uint64, tag = "1")]
    pub interval: u64,
    /// Nanoseconds.
    #[prost(uint64, tag = "2")]
    pub timeout: u64,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct OutlierDetection {
    #[prost(uint32, tag = "1")]
    pub consecutive_5xx: u32,
    #[prost(uint32, tag = "2")]
    pub consecutive_gateway_errors: u32,
    #[prost(bool, tag = "3")]
    pub splits_local_origin: bool,
    #[prost(uint32, tag = "4")]
    pub consecutive_local_origin: u32,
    #[prost(message, repeated, tag = "5")]
    pub error_codes: Vec<StatusRange>,
    /// Nanoseconds.
    #[prost(uint64, tag = "6")]
    pub interval: u64,
    /// Nanoseconds.
    #[prost(uint64, tag = "7")]
    pub base_ejection_time: u64,
    /// Parts per million.
    #[prost(uint32, tag = "8")]
    pub max_ejection: u32,
    /// Parts per million.
    #[prost(uint32, tag = "9")]
    pub min_health: u32,
}

/// Both ends belong to it.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct StatusRange {
    #[prost(uint32, tag = "1")]
    pub first: u32,
    #[prost(uint32, tag = "2")]
    pub last: u32,
}
