//! When a request is sent again.

use prost::Message;

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Retries {
    #[prost(uint32, tag = "1")]
    pub attempts: u32,
    /// Nanoseconds.
    #[prost(uint64, optional, tag = "2")]
    pub per_try_timeout: Option<u64>,
    #[prost(int32, repeated, tag = "3")]
    pub conditions: Vec<i32>,
    #[prost(uint32, repeated, tag = "4")]
    pub status_codes: Vec<u32>,
    /// Nanoseconds.
    #[prost(uint64, tag = "5")]
    pub backoff: u64,
    #[prost(bool, tag = "6")]
    pub ignores_previous_hosts: bool,
    #[prost(bool, tag = "7")]
    pub remote_localities: bool,
}
