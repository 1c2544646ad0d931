//! The control plane's side: publishes resources to every proxy that may see them.
//!
//! ```text
//! Publisher::apply(changes) ──► Cache (one lock, bytes encoded once) ──► log of changed names
//!                                                                          │ wakes
//! Service (gRPC) ── session ── Connection (sans-io: what this proxy has, wants, refused) ◄──┘
//! ```
//!
//! A connection reads the log from where it stood and keeps the changed names as a set until the
//! proxy has acknowledged the last response of the type. When the log no longer reaches back far
//! enough, the connection compares everything once instead.

mod cache;
mod connection;
mod publisher;
mod scope;
mod service;
mod stats;

pub use cache::{Audience, Change, View};
pub use connection::{Refusal, SubscriptionStatus};
pub use publisher::{ConnectionStatus, Publisher};
pub use scope::{Import, Scope, Subject};
pub use service::{Service, serve};
pub use stats::{Histogram, Stats};
