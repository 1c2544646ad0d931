//! Policies of destinations.

use prost::Message;

use super::{
    ConnectionPool, ConsistentHash, ExportTo, Labels, LocalityLb, OutlierDetection, Warmup,
};

#[derive(Clone, PartialEq, Message)]
pub struct DestinationRule {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, tag = "2")]
    pub host: String,
    #[prost(message, optional, tag = "3")]
    pub export_to: Option<ExportTo>,
    #[prost(message, optional, tag = "4")]
    pub workload_selector: Option<Selector>,
    #[prost(message, optional, tag = "5")]
    pub policy: Option<TrafficPolicy>,
    #[prost(message, repeated, tag = "6")]
    pub subsets: Vec<Subset>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Selector {
    #[prost(btree_map = "string, string", tag = "1")]
    pub labels: Labels,
}

#[derive(Clone, PartialEq, Message)]
pub struct Subset {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(btree_map = "string, string", tag = "2")]
    pub labels: Labels,
    #[prost(message, optional, tag = "3")]
    pub policy: Option<TrafficPolicy>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TrafficPolicy {
    #[prost(message, optional, tag = "1")]
    pub port_default: Option<PortPolicy>,
    #[prost(message, repeated, tag = "2")]
    pub ports: Vec<NumberedPolicy>,
    #[prost(message, optional, tag = "3")]
    pub retry_budget: Option<RetryBudget>,
}

#[derive(Clone, PartialEq, Message)]
pub struct NumberedPolicy {
    #[prost(uint32, tag = "1")]
    pub port: u32,
    #[prost(message, optional, tag = "2")]
    pub policy: Option<PortPolicy>,
}

/// The load balancer is spread over `load_balancer`, whose presence says that there is one, and
/// `consistent_hash`, `locality` and `warmup`, which older proxies skip.
#[derive(Clone, PartialEq, Message)]
pub struct PortPolicy {
    #[prost(int32, optional, tag = "1")]
    pub load_balancer: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub consistent_hash: Option<ConsistentHash>,
    #[prost(message, optional, tag = "3")]
    pub locality: Option<LocalityLb>,
    #[prost(message, optional, tag = "4")]
    pub warmup: Option<Warmup>,
    #[prost(message, optional, tag = "5")]
    pub connection_pool: Option<ConnectionPool>,
    #[prost(message, optional, tag = "6")]
    pub outlier_detection: Option<OutlierDetection>,
    #[prost(message, optional, tag = "7")]
    pub tls: Option<ClientTls>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct RetryBudget {
    #[prost(uint32, tag = "1")]
    pub percent: u32,
    #[prost(uint32, tag = "2")]
    pub min_retry_concurrency: u32,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ClientTls {
    #[prost(int32, tag = "1")]
    pub mode: i32,
    #[prost(string, tag = "2")]
    pub client_certificate: String,
    #[prost(string, tag = "3")]
    pub private_key: String,
    #[prost(string, tag = "4")]
    pub ca_certificates: String,
    #[prost(string, tag = "5")]
    pub ca_crl: String,
    #[prost(string, tag = "6")]
    pub credential_name: String,
    #[prost(string, tag = "7")]
    pub sni: String,
    #[prost(string, repeated, tag = "8")]
    pub subject_alt_names: Vec<String>,
    #[prost(bool, tag = "9")]
    pub insecure_skip_verify: bool,
}
