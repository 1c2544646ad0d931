//! Gateways.

use prost::Message;

use super::Labels;

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
