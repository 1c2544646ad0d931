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
    #[prost(message, optional, tag = "8")]
    pub tls: Option<ServerTls>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ServerTls {
    #[prost(int32, tag = "1")]
    pub mode: i32,
    #[prost(message, repeated, tag = "2")]
    pub certificates: Vec<Certificate>,
    #[prost(message, optional, tag = "3")]
    pub client_ca: Option<ClientCa>,
    #[prost(string, tag = "4")]
    pub ca_crl: String,
    #[prost(string, repeated, tag = "5")]
    pub subject_alt_names: Vec<String>,
    #[prost(string, repeated, tag = "6")]
    pub verify_certificate_spki: Vec<String>,
    #[prost(string, repeated, tag = "7")]
    pub verify_certificate_hash: Vec<String>,
    #[prost(int32, tag = "8")]
    pub min_version: i32,
    #[prost(int32, tag = "9")]
    pub max_version: i32,
    #[prost(string, repeated, tag = "10")]
    pub cipher_suites: Vec<String>,
    #[prost(string, repeated, tag = "11")]
    pub ecdh_curves: Vec<String>,
    #[prost(bool, tag = "12")]
    pub insecure_skip_verify: bool,
}

/// A Secret, or two files.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Certificate {
    #[prost(string, tag = "1")]
    pub secret: String,
    #[prost(string, tag = "2")]
    pub chain: String,
    #[prost(string, tag = "3")]
    pub private_key: String,
}

/// A Secret, or a file.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ClientCa {
    #[prost(string, tag = "1")]
    pub secret: String,
    #[prost(string, tag = "2")]
    pub file: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ServerHost {
    #[prost(string, optional, tag = "1")]
    pub namespace: Option<String>,
    #[prost(string, tag = "2")]
    pub host: String,
}
