//! How an endpoint is chosen.

use std::time::Duration;

use serde::Serialize;

use crate::Percent;

/// How an endpoint is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancer {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Which localities come first; the mesh's setting if unset.
    pub locality: Option<LocalityLb>,
    /// Gives new endpoints less at first.
    pub warmup: Option<Warmup>,
}

/// The algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Algorithm {
    /// The less busy of two random ones.
    #[default]
    LeastRequest,
    /// One after the other.
    RoundRobin,
    /// Any.
    Random,
    /// The address that the caller dialled.
    Passthrough,
    /// By a hash of a property of the request.
    ConsistentHash(ConsistentHash),
}

/// By a hash of a property of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsistentHash {
    /// The property. A request without it goes to any endpoint.
    pub key: HashKey,
    /// How a hash finds its endpoint.
    pub table: HashTable,
}

/// The property of a request that is hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HashKey {
    /// A header, by lower-case name.
    Header(String),
    /// A cookie.
    Cookie(HashCookie),
    /// The client's address.
    SourceIp,
    /// A query parameter.
    QueryParameter(String),
}

/// A cookie that keeps a client at an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HashCookie {
    /// Its name.
    pub name: String,
    /// The path it is set for; empty if none.
    pub path: String,
    /// A cookie that is missing is made, with this life; zero is a session cookie. Without it none
    /// is made.
    pub ttl: Option<Duration>,
    /// Other attributes of a cookie that is made.
    pub attributes: Vec<(String, String)>,
}

/// How a hash finds its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HashTable {
    /// A ring with at least this many points (Ketama).
    Ring {
        /// 1024 if not given.
        minimum_size: u64,
    },
    /// Maglev.
    Maglev {
        /// A prime; 65537 if not given.
        table_size: u64,
    },
}

/// Which localities come first (Istio's `localityLbSetting`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalityLb {
    /// Whether it is on.
    pub is_enabled: bool,
    /// Shares by locality of the caller: the first whose `from` matches.
    pub distribute: Vec<Distribute>,
    /// Which region takes over for a region.
    pub failover: Vec<(String, String)>,
    /// Labels that order endpoints: `key`, equal to the proxy's own, or `key=value`.
    pub failover_priority: Vec<String>,
}

/// The shares of localities for some callers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Distribute {
    /// `region/zone/subzone`, with `*` at the end or instead.
    pub from: String,
    /// The same of endpoints, with weights; others get nothing.
    pub to: Vec<(String, u32)>,
}

/// Slow start: the weight of a new endpoint grows from a minimum to its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Warmup {
    /// How long it takes.
    pub duration: Duration,
    /// The share at the start.
    pub minimum: Percent,
    /// The curve's exponent is 1 / aggression, in thousandths; 1000 grows evenly.
    pub aggression_millis: u32,
}
