//! What a proxy is told about itself, and workloads.

use prost::Message;

use super::{ConnectionPool, Labels, PortPair, ServiceKey, SocketAddress};

#[derive(Clone, PartialEq, Message)]
pub struct Proxy {
    #[prost(int32, tag = "1")]
    pub role: i32,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, tag = "3")]
    pub namespace: String,
    #[prost(btree_map = "string, string", tag = "4")]
    pub labels: Labels,
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub addresses: Vec<Vec<u8>>,
    #[prost(string, tag = "6")]
    pub locality: String,
    #[prost(message, repeated, tag = "7")]
    pub inbound: Vec<InboundPort>,
    #[prost(message, repeated, tag = "8")]
    pub gateway_ports: Vec<PortPair>,
    #[prost(bool, tag = "9")]
    pub answers_dns: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct InboundPort {
    #[prost(uint32, tag = "1")]
    pub port: u32,
    #[prost(int32, tag = "2")]
    pub protocol: i32,
    #[prost(message, optional, tag = "3")]
    pub service: Option<ServiceKey>,
    #[prost(uint32, tag = "4")]
    pub service_port: u32,
    #[prost(message, optional, tag = "5")]
    pub endpoint: Option<SocketAddress>,
    #[prost(message, optional, tag = "6")]
    pub pool: Option<ConnectionPool>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Workload {
    #[prost(bytes = "vec", tag = "1")]
    pub address: Vec<u8>,
    #[prost(string, tag = "2")]
    pub pod: String,
    #[prost(string, tag = "3")]
    pub namespace: String,
    #[prost(string, tag = "4")]
    pub workload: String,
    #[prost(string, tag = "5")]
    pub canonical_service: String,
    #[prost(string, tag = "6")]
    pub canonical_revision: String,
    #[prost(string, tag = "7")]
    pub app: String,
    #[prost(string, tag = "8")]
    pub version: String,
    #[prost(string, tag = "9")]
    pub service_account: String,
    #[prost(string, tag = "10")]
    pub cluster: String,
    #[prost(string, tag = "11")]
    pub node: String,
}
