//! Credentials.

use prost::Message;

#[derive(Clone, PartialEq, Eq, Hash, Message)]
#[prost(skip_debug)]
pub struct Secret {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(bytes = "vec", tag = "3")]
    pub chain: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub private_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub authorities: Vec<u8>,
    #[prost(bytes = "vec", tag = "6")]
    pub revoked: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    pub ocsp_staple: Vec<u8>,
}

/// What it holds must not get into logs.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
