//! The control plane's side: publishes resources to every proxy that may see them.
//!
//! ```text
//! Publisher::apply(changes) ──► Cache (one lock, bytes encoded once) ──► log of changed names
//!                                                                          │ wakes
//! Service (gRPC) ── session ── Connection (sans-io: what this proxy has, wants, refused) ◄──┘
//! ```
//!
//! On the plaintext port nobody has an identity. On the secured one a stream begins with a token,
//! and only such a connection is ever given a Secret (`secrets`).
//!
//! A connection reads the log from where it stood and keeps the changed names as a set until the
//! proxy has acknowledged the last response of the type. When the log no longer reaches back far
//! enough, the connection compares everything once instead.

mod accept;
mod cache;
mod connection;
mod handshakes;
mod identity;
mod publisher;
mod scope;
mod secrets;
mod service;
mod stats;

pub use accept::{Door, serve, serve_secured};
pub use cache::{Audience, Change, View};
pub use connection::{Refusal, SubscriptionStatus};
pub use identity::{Account, Authenticate, Identity, Proving, Unproven};
pub use publisher::{ConnectionStatus, Publisher};
pub use scope::{Import, Scope, Subject};
pub use secrets::{Denial, SecretChange};
pub use service::Service;
pub use stats::{Histogram, Stats};
