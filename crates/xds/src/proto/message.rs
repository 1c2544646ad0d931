//! The messages of `lateen.config.v1`. Numbers are never reused; 0 of an enum is "not set".
//!
//! Each mirrors the type of the same name in `lateen-model`, where its fields are explained.
#![allow(
    missing_docs,
    reason = "the fields are those of lateen-model, which documents them"
)]

use std::collections::BTreeMap;

use prost::{Message, Oneof};

type Labels = BTreeMap<String, String>;

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

#[derive(Clone, PartialEq, Eq, Hash, Message)]
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
}

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
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct PortPair {
    #[prost(uint32, tag = "1")]
    pub port: u32,
    #[prost(uint32, tag = "2")]
    pub target: u32,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ServiceKey {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, tag = "2")]
    pub host: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Subnet {
    #[prost(bytes = "vec", tag = "1")]
    pub address: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub prefix: u32,
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
    #[prost(oneof = "Resolution", tags = "10, 11, 12, 13")]
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
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct Unit {}

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
pub struct DnsEndpoint {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, repeated, tag = "2")]
    pub ports: Vec<PortPair>,
    #[prost(btree_map = "string, string", tag = "3")]
    pub labels: Labels,
    #[prost(uint32, tag = "4")]
    pub weight: u32,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ExportTo {
    #[prost(int32, tag = "1")]
    pub scope: i32,
    #[prost(string, repeated, tag = "2")]
    pub namespaces: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct VirtualService {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, repeated, tag = "2")]
    pub hosts: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    pub gateways: Vec<GatewayRef>,
    #[prost(message, optional, tag = "4")]
    pub export_to: Option<ExportTo>,
    #[prost(message, repeated, tag = "5")]
    pub http: Vec<HttpRule>,
    #[prost(message, repeated, tag = "6")]
    pub tls: Vec<TlsRule>,
    #[prost(message, repeated, tag = "7")]
    pub tcp: Vec<TcpRule>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct GatewayRef {
    #[prost(oneof = "GatewayRefTo", tags = "1, 2")]
    pub to: Option<GatewayRefTo>,
}

#[derive(Clone, PartialEq, Eq, Hash, Oneof)]
pub enum GatewayRefTo {
    #[prost(message, tag = "1")]
    Mesh(Unit),
    #[prost(message, tag = "2")]
    Gateway(GatewayName),
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct GatewayName {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, tag = "2")]
    pub name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct HttpRule {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, repeated, tag = "2")]
    pub matches: Vec<HttpMatch>,
    #[prost(message, repeated, tag = "3")]
    pub route: Vec<WeightedDestination>,
}

#[derive(Clone, PartialEq, Message)]
pub struct HttpMatch {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub uri: Option<StringMatch>,
    #[prost(bool, tag = "3")]
    pub ignore_uri_case: bool,
    #[prost(message, optional, tag = "4")]
    pub scheme: Option<StringMatch>,
    #[prost(message, optional, tag = "5")]
    pub method: Option<StringMatch>,
    #[prost(message, optional, tag = "6")]
    pub authority: Option<StringMatch>,
    #[prost(message, repeated, tag = "7")]
    pub headers: Vec<NamedMatch>,
    #[prost(message, repeated, tag = "8")]
    pub without_headers: Vec<NamedMatch>,
    #[prost(message, repeated, tag = "9")]
    pub query_params: Vec<NamedMatch>,
    #[prost(uint32, optional, tag = "10")]
    pub port: Option<u32>,
    #[prost(btree_map = "string, string", tag = "11")]
    pub source_labels: Labels,
    #[prost(string, optional, tag = "12")]
    pub source_namespace: Option<String>,
    #[prost(message, repeated, tag = "13")]
    pub gateways: Vec<GatewayRef>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct StringMatch {
    #[prost(oneof = "StringMatchKind", tags = "1, 2, 3")]
    pub kind: Option<StringMatchKind>,
}

#[derive(Clone, PartialEq, Eq, Hash, Oneof)]
pub enum StringMatchKind {
    #[prost(string, tag = "1")]
    Exact(String),
    #[prost(string, tag = "2")]
    Prefix(String),
    #[prost(string, tag = "3")]
    Regex(String),
}

/// A condition on the value of a name; without `value` the name must be there.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct NamedMatch {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(oneof = "NamedMatchKind", tags = "2, 3")]
    pub kind: Option<NamedMatchKind>,
}

#[derive(Clone, PartialEq, Eq, Hash, Oneof)]
pub enum NamedMatchKind {
    #[prost(message, tag = "2")]
    Present(Unit),
    #[prost(message, tag = "3")]
    Value(StringMatch),
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct WeightedDestination {
    #[prost(message, optional, tag = "1")]
    pub destination: Option<Destination>,
    #[prost(uint32, tag = "2")]
    pub weight: u32,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Destination {
    #[prost(string, tag = "1")]
    pub host: String,
    #[prost(string, optional, tag = "2")]
    pub subset: Option<String>,
    #[prost(uint32, optional, tag = "3")]
    pub port: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TlsRule {
    #[prost(message, repeated, tag = "1")]
    pub matches: Vec<TlsMatch>,
    #[prost(message, repeated, tag = "2")]
    pub route: Vec<WeightedDestination>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TcpRule {
    #[prost(message, repeated, tag = "1")]
    pub matches: Vec<L4Match>,
    #[prost(message, repeated, tag = "2")]
    pub route: Vec<WeightedDestination>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TlsMatch {
    #[prost(string, repeated, tag = "1")]
    pub sni_hosts: Vec<String>,
    #[prost(message, optional, tag = "2")]
    pub l4: Option<L4Match>,
}

#[derive(Clone, PartialEq, Message)]
pub struct L4Match {
    #[prost(message, repeated, tag = "1")]
    pub destination_subnets: Vec<Subnet>,
    #[prost(uint32, optional, tag = "2")]
    pub port: Option<u32>,
    #[prost(btree_map = "string, string", tag = "3")]
    pub source_labels: Labels,
    #[prost(string, optional, tag = "4")]
    pub source_namespace: Option<String>,
    #[prost(message, repeated, tag = "5")]
    pub gateways: Vec<GatewayRef>,
}

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
}

#[derive(Clone, PartialEq, Message)]
pub struct NumberedPolicy {
    #[prost(uint32, tag = "1")]
    pub port: u32,
    #[prost(message, optional, tag = "2")]
    pub policy: Option<PortPolicy>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PortPolicy {
    #[prost(int32, optional, tag = "1")]
    pub load_balancer: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Gateway {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(btree_map = "string, string", tag = "3")]
    pub selector: Labels,
    #[prost(message, repeated, tag = "4")]
    pub servers: Vec<Server>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Server {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint32, tag = "2")]
    pub port: u32,
    #[prost(string, tag = "3")]
    pub port_name: String,
    #[prost(int32, tag = "4")]
    pub protocol: i32,
    #[prost(string, tag = "5")]
    pub bind: String,
    #[prost(message, repeated, tag = "6")]
    pub hosts: Vec<ServerHost>,
    #[prost(bool, tag = "7")]
    pub https_redirect: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ServerHost {
    #[prost(string, optional, tag = "1")]
    pub namespace: Option<String>,
    #[prost(string, tag = "2")]
    pub host: String,
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
