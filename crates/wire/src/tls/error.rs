//! Why settings of TLS cannot be used, or why a connection of TLS ended.

/// What is wrong with what, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something that was given is not what it has to be.
    #[error("{what}: {problem}")]
    Unusable {
        /// The Secret or the file.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The limits leave nothing to speak.
    #[error("{0}")]
    Limits(String),
    /// The peer broke a rule, or was not let in.
    #[error("{0}")]
    Peer(String),
    /// A handshake is longer than any that makes sense.
    #[error("the handshake is longer than {0} bytes")]
    LongHandshake(usize),
}

// === impl Error ===

impl Error {
    pub(super) fn unusable(what: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Unusable {
            what: what.into(),
            problem: problem.into(),
        }
    }
}

impl From<rustls::Error> for Error {
    fn from(error: rustls::Error) -> Self {
        Self::Peer(error.to_string())
    }
}
