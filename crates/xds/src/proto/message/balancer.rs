//! How an endpoint is chosen.

use prost::{Message, Oneof};

use super::{Header, Unit};

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ConsistentHash {
    #[prost(oneof = "HashKey", tags = "1, 2, 3, 4")]
    pub key: Option<HashKey>,
    #[prost(oneof = "HashTable", tags = "5, 6")]
    pub table: Option<HashTable>,
}

#[derive(Clone, PartialEq, Eq, Hash, Oneof)]
pub enum HashKey {
    #[prost(string, tag = "1")]
    Header(String),
    #[prost(message, tag = "2")]
    Cookie(HashCookie),
    #[prost(message, tag = "3")]
    SourceIp(Unit),
    #[prost(string, tag = "4")]
    QueryParameter(String),
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct HashCookie {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub path: String,
    /// Nanoseconds.
    #[prost(uint64, optional, tag = "3")]
    pub ttl: Option<u64>,
    #[prost(message, repeated, tag = "4")]
    pub attributes: Vec<Header>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Oneof)]
pub enum HashTable {
    /// The least number of points on the ring.
    #[prost(uint64, tag = "5")]
    Ring(u64),
    /// The number of entries of the table.
    #[prost(uint64, tag = "6")]
    Maglev(u64),
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct LocalityLb {
    #[prost(bool, tag = "1")]
    pub is_enabled: bool,
    #[prost(message, repeated, tag = "2")]
    pub distribute: Vec<Distribute>,
    #[prost(message, repeated, tag = "3")]
    pub failover: Vec<Failover>,
    #[prost(string, repeated, tag = "4")]
    pub failover_priority: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Distribute {
    #[prost(string, tag = "1")]
    pub from: String,
    #[prost(message, repeated, tag = "2")]
    pub to: Vec<LocalityWeight>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct LocalityWeight {
    #[prost(string, tag = "1")]
    pub locality: String,
    #[prost(uint32, tag = "2")]
    pub weight: u32,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Failover {
    #[prost(string, tag = "1")]
    pub from: String,
    #[prost(string, tag = "2")]
    pub to: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Warmup {
    /// Nanoseconds.
    #[prost(uint64, tag = "1")]
    pub duration: u64,
    /// Parts per million.
    #[prost(uint32, tag = "2")]
    pub minimum: u32,
    #[prost(uint32, tag = "3")]
    pub aggression_millis: u32,
}
