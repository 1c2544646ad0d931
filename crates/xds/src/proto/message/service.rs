//! Services and their endpoints.

use prost::{Message, Oneof};

use super::{Labels, PortPair, Subnet, Unit};

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ServiceKey {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, tag = "2")]
    pub host: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Service {
    #[prost(message, optional, tag = "1")]
    pub key: Option<ServiceKey>,
    #[prost(int32, tag = "2")]
    pub registry: i32,
    #[prost(message, repeated, tag = "3")]
    pub addresses: Vec<Subnet>,
    #[prost(message, repeated, tag = "4")]
    pub ports: Vec<ServicePort>,
    #[prost(bool, tag = "5")]
    pub is_external: bool,
    #[prost(message, optional, tag = "6")]
    pub export_to: Option<ExportTo>,
    #[prost(message, repeated, tag = "7")]
    pub allocated: Vec<Subnet>,
    #[prost(oneof = "Resolution", tags = "10, 11, 12, 13, 14, 15")]
    pub resolution: Option<Resolution>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Resolution {
    #[prost(message, tag = "10")]
    Endpoints(Unit),
    #[prost(message, tag = "11")]
    Dns(DnsEndpoints),
    #[prost(message, tag = "12")]
    OriginalDst(Unit),
    #[prost(string, tag = "13")]
    Alias(String),
    #[prost(message, tag = "14")]
    DnsRoundRobin(DnsEndpoints),
    #[prost(message, tag = "15")]
    DynamicDns(DynamicDns),
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ServicePort {
    #[prost(uint32, tag = "1")]
    pub number: u32,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(int32, tag = "3")]
    pub protocol: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct DnsEndpoints {
    #[prost(message, repeated, tag = "1")]
    pub endpoints: Vec<DnsEndpoint>,
}

#[derive(Clone, PartialEq, Message)]
pub struct DynamicDns {
    #[prost(message, repeated, tag = "1")]
    pub ports: Vec<PortPair>,
}

#[derive(Clone, PartialEq, Message)]
pub struct DnsEndpoint {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, repeated, tag = "2")]
    pub ports: Vec<PortPair>,
    #[prost(btree_map = "string, string", tag = "3")]
    pub labels: Labels,
    #[prost(uint32, tag = "4")]
    pub weight: u32,
    #[prost(string, tag = "5")]
    pub locality: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ExportTo {
    #[prost(int32, tag = "1")]
    pub scope: i32,
    #[prost(string, repeated, tag = "2")]
    pub namespaces: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Endpoints {
    #[prost(message, optional, tag = "1")]
    pub service: Option<ServiceKey>,
    #[prost(message, repeated, tag = "2")]
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Endpoint {
    #[prost(bytes = "vec", tag = "1")]
    pub address: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    pub ports: Vec<PortPair>,
    #[prost(btree_map = "string, string", tag = "3")]
    pub labels: Labels,
    #[prost(uint32, tag = "4")]
    pub weight: u32,
    #[prost(int32, tag = "5")]
    pub health: i32,
    #[prost(string, tag = "6")]
    pub locality: String,
    #[prost(bool, tag = "7")]
    pub is_meshed: bool,
    #[prost(string, tag = "8")]
    pub service_account: String,
    #[prost(string, tag = "9")]
    pub hostname: String,
    /// In place of the address, for a socket of the file system.
    #[prost(string, tag = "10")]
    pub path: String,
}
