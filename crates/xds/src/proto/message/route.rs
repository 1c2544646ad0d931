//! Rules that route traffic.

use prost::{Message, Oneof};

use super::{ExportTo, HeaderRules, HttpRule, Labels, Subnet, Unit};

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
    #[prost(message, optional, tag = "3")]
    pub headers: Option<HeaderRules>,
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
