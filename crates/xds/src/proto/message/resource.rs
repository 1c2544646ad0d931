//! The envelope of configuration and the settings of the mesh.

use prost::{Message, Oneof};

use super::{DestinationRule, Gateway, LocalityLb, Proxy, Retries, Service, VirtualService};

#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub source: Option<Source>,
    #[prost(oneof = "Body", tags = "10, 11, 12, 13, 14, 15")]
    pub body: Option<Body>,
}

#[derive(Clone, PartialEq, Oneof)]
#[allow(
    clippy::large_enum_variant,
    reason = "one lives at a time, while its resource is written or read"
)]
pub enum Body {
    #[prost(message, tag = "10")]
    Mesh(Mesh),
    #[prost(message, tag = "11")]
    Proxy(Proxy),
    #[prost(message, tag = "12")]
    Service(Service),
    #[prost(message, tag = "13")]
    VirtualService(VirtualService),
    #[prost(message, tag = "14")]
    DestinationRule(DestinationRule),
    #[prost(message, tag = "15")]
    Gateway(Gateway),
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Source {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(string, tag = "2")]
    pub namespace: String,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(int64, tag = "4")]
    pub generation: i64,
    #[prost(int64, tag = "5")]
    pub created: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Mesh {
    #[prost(string, tag = "1")]
    pub cluster_domain: String,
    #[prost(string, tag = "2")]
    pub root_namespace: String,
    #[prost(string, tag = "3")]
    pub trust_domain: String,
    #[prost(int32, tag = "4")]
    pub outbound_policy: i32,
    #[prost(string, tag = "5")]
    pub access_log_file: String,
    #[prost(int32, tag = "6")]
    pub access_log_encoding: i32,
    #[prost(uint32, tag = "7")]
    pub protocol_detection_timeout_ms: u32,
    #[prost(message, optional, tag = "8")]
    pub default_retries: Option<Retries>,
    /// Nanoseconds.
    #[prost(uint64, optional, tag = "9")]
    pub connect_timeout: Option<u64>,
    #[prost(message, optional, tag = "10")]
    pub locality: Option<LocalityLb>,
    /// Nanoseconds.
    #[prost(uint64, optional, tag = "11")]
    pub dns_refresh_rate: Option<u64>,
}
