//! What stays outside of the namespaces: opens host ports, dials out and asks the host's resolver
//! for a cluster that has no way out of its own.
//!
//! It runs no pods, holds no objects and copies no bytes of a connection: it hands connected
//! sockets and listeners over as descriptors, and the supervisor inside does the rest.
//!
//! ```text
//!  outside: publisher  ◄── Request ──  supervisor: inside, its own network namespace
//!           dial, bind, ask  ── Reply + descriptor (SCM_RIGHTS) ──►  relay, accept, answer
//! ```
//!
//! Each end goes when the other does: the publisher watches the supervisor's process, the kernel
//! kills the supervisor when the publisher dies, and a closed channel means the same.

pub(crate) mod channel;
pub(crate) mod client;
pub(crate) mod message;
pub(crate) mod resolver;
pub(crate) mod server;

pub use client::Client;
