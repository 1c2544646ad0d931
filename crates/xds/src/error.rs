//! What can go wrong with the protocol, one variant per decision of the caller.

/// An error of the protocol.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A client's identity cannot be read: its stream is refused.
    #[error("node id {id:?} is malformed: {why}")]
    Node {
        /// The identity, cut to 200 characters.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// A client is not who it says: its stream is refused.
    #[error("{id} is not who it says: {why}")]
    Identity {
        /// The identity that it claims.
        id: String,
        /// What it has proven instead.
        why: String,
    },
    /// One resource cannot be used: it alone is rejected.
    #[error("{0}")]
    Resource(#[from] Malformed),
    /// An address of a control plane cannot be used: the settings must be corrected.
    #[error("control plane address {address:?} cannot be used: {why}")]
    Address {
        /// The address as written.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// A snapshot cannot be used: the proxy must wait for the control plane.
    #[error("snapshot {path:?}: {why}")]
    Snapshot {
        /// The file; empty if it was decoded from memory.
        path: std::path::PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A server cannot listen or accept any more.
    #[error("xds server: {0}")]
    Listen(#[from] std::io::Error),
}

/// Why one resource cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("resource {name}: {at}: {why}")]
pub struct Malformed {
    /// The resource's name.
    pub name: String,
    /// The part that is wrong, such as `virtual_service.http[2].route`.
    pub at: String,
    /// What is wrong with it.
    pub why: String,
}
