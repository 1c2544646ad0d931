//! The protocol between control plane and proxy: delta xDS over gRPC with Lateen's own resources.
//!
//! It is not what the resources mean (`lateen-model`), nor where they come from
//! (`lateen-control`), nor what a proxy makes of them (`lateen-proxy`).
//!
//! ```text
//! control: server::Publisher ── set/remove by name ──► server::Cache (bytes encoded once)
//!                                                            │ changed names only
//!          server::Service ── one state per connection ──────┤ visible to this proxy?
//!                                                            ▼
//!             DeltaDiscoveryResponse { resources, removed, nonce }   one in flight per type
//!                                                            │
//! proxy:   client::Client::next() ──► Update { added, removed, … } ── ack() or nack(names) ──►
//! ```
//!
//! Invariants:
//! - One response is one [`client::Update`]; a proxy makes one new plan of it.
//! - A bad resource is rejected alone: the NACK names it, the others of its response apply.
//! - A version is a hash of the resource's bytes. A control plane that restarts publishes the same
//!   versions, so a reconnecting proxy is sent nothing that it has.
//! - A connection holds at most one response per type without an ACK; what changes meanwhile is
//!   kept as a set of names.

pub mod client;
pub mod discovery;
mod error;
mod kind;
mod node;
pub mod proto;
pub mod server;
pub mod snapshot;
pub mod version;

pub use error::{Error, Malformed};
pub use kind::Kind;
pub use node::{Node, NodeId};
