//! The cluster's network: links of pods, service addresses by nftables, the way out.
//!
//! Everything here acts on the cluster's own network namespace, in which the supervisor lives.
//!
//! ```text
//! pod ── links ──► cluster ── services: an endpoint's address ──► links ──► pod
//!                     └────── egress: anywhere else ──► publisher, outside
//! ```

pub(crate) mod addresses;
pub(crate) mod balancers;
pub(crate) mod egress;
pub(crate) mod links;
pub(crate) mod services;
