//! What has no kind of its own.

use prost::Message;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct Unit {}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct PortPair {
    #[prost(uint32, tag = "1")]
    pub port: u32,
    #[prost(uint32, tag = "2")]
    pub target: u32,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Subnet {
    #[prost(bytes = "vec", tag = "1")]
    pub address: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub prefix: u32,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct SocketAddress {
    #[prost(bytes = "vec", tag = "1")]
    pub address: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub port: u32,
    /// In place of both, for a socket of the file system.
    #[prost(string, tag = "3")]
    pub path: String,
}
