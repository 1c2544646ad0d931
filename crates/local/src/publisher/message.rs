//! What supervisor and publisher say to each other.

use std::io;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// A wish of the supervisor; the answer carries the same number.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Request {
    /// Chosen by the supervisor, unique among those unanswered.
    pub(crate) id: u64,
    /// What is wished.
    pub(crate) wish: Wish,
}

/// What the publisher can do.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Wish {
    /// Connect to an address outside; the answer carries the socket.
    Dial(SocketAddr),
    /// Listen on an address of the host; the answer carries the listener.
    Listen(SocketAddr),
    /// Ask the host's resolver; the answer carries its message.
    Resolve(Bytes),
}

/// The publisher's answer.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The request's number.
    pub(crate) id: u64,
    /// How it went.
    pub(crate) outcome: Outcome,
}

/// How a request went.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Outcome {
    /// The descriptor is with this message.
    Descriptor,
    /// The resolver's message.
    Resolved(Bytes),
    /// It failed.
    Failed(Failure),
}

/// An error of the outside, such that its number survives the way in.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Failure {
    errno: Option<i32>,
    text: String,
}

/// Bytes that travel as base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

// === impl Bytes ===

impl TryFrom<String> for Bytes {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        STANDARD.decode(text).map(Self)
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        STANDARD.encode(bytes.0)
    }
}

// === impl Failure ===

impl From<&io::Error> for Failure {
    fn from(error: &io::Error) -> Self {
        Self {
            errno: error.raw_os_error(),
            text: error.to_string(),
        }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure.errno {
            Some(number) => Self::from_raw_os_error(number),
            None => Self::other(failure.text),
        }
    }
}
