//! Why a request gets what it gets: the decision of a proxy, with its trace, without the proxy.
//!
//! Objects of a cluster (or of files) go in, the answer for one request comes out. It has no rules
//! of its own: the objects go through the control plane's index and publisher, the resources that
//! the caller's proxy would be sent go through its store and compiler, and the trace is that of the
//! compiled tables. So it cannot differ from what a proxy does, but in what only a proxy knows:
//! which endpoints are ejected, how an upstream answers, what the dice say.
//!
//! ```text
//! objects ─► assume (files only) ─► World: Index ─► Publisher ─► Store ─► Plan
//!                                                                     │
//! Question { url, method, headers } ─► destination ─► listener ─► RouteTable::explain ─► Answer
//! ```
//!
//! It does no I/O: reading a cluster or files, and printing, is the command's.

pub mod answer;
pub mod assume;
mod endpoints;
mod explain;
pub mod question;
pub mod text;
pub mod world;

pub use answer::{Answer, Outcome, Server};
pub use explain::explain;
pub use question::Question;
pub use world::{Caller, Configuration, World};

/// Why a question cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The URL is none.
    #[error("{url:?} is no URL of a request: {why}; an example is http://reviews:9080/reviews/0")]
    Url {
        /// As it was typed.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// An object cannot be read.
    #[error("{object}: {why}")]
    Object {
        /// `Kind/namespace/name`.
        object: String,
        /// What is wrong with it.
        why: String,
    },
    /// The caller is not known.
    #[error("{0}")]
    Caller(String),
}
