//! Traffic capture and the network plumbing it stands on: nftables rules, network namespaces,
//! links, addresses and routes, all over netlink, so that no `ip`, `nft` or shell is needed.
//!
//! It is not a general netlink library and knows nothing of Kubernetes or of proxies: it can do
//! what a pod's capture, a cluster's network and its services need, and reads back what it wrote.
//!
//! ```text
//! rules (Settings -> Table)   link (veth, addresses, routes)     netns (create, enter, run)
//!        │                         │
//!       nft (Table -> one atomic batch; dump)                     sysctl (/proc/sys)
//!        └────────── netlink (messages, attributes, acknowledged requests)
//!                         └── sys (the system calls; the only `unsafe`)
//! ```
//!
//! # Why an encoder of our own
//!
//! What is needed of netlink is about a dozen messages and fifteen nftables expressions, whose
//! numbers are kernel ABI and therefore never change. The crates that offer both routes and
//! nftables were weighed: `nlink` (280,000 lines, asynchronous on tokio, 33 breaking releases by
//! one author) and `netlink-bindings` (240,000 generated lines, no ruleset model); `rtnetlink` is
//! healthy but asynchronous and has no nftables. The init container that runs `lateen-proxy
//! capture` starts, sends one batch and ends: blocking sockets and `libc` suffice.
//!
//! # Threads
//!
//! A netlink socket belongs to the network namespace in which it was opened, whichever thread
//! uses it later. So [`nft::Connection`] and [`link::Connection`] are opened by a thread that has
//! entered the namespace (see [`netns::Netns::run`]) and may be used from any other.

pub mod dns;
pub mod error;
pub mod flags;
pub mod link;
mod netlink;
pub mod netns;
pub mod nft;
pub mod rules;
pub mod sandbox;
mod sys;
pub mod sysctl;

pub use error::Error;
pub use rules::{Settings, install, remove};
