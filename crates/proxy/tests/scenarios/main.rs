//! Scenarios through a whole worker: real connections in memory, real plans, paused time.
//!
//! Each test reads as what a client and an upstream say to each other.

mod answers;
mod balancing;
mod calls;
mod certificates;
mod conditions;
mod corpus;
mod cross_origin;
mod drain;
mod endpoints;
mod entries;
mod exchange;
mod failures;
mod faults;
mod limits;
mod lookups;
mod mirrors;
#[path = "../support/resources.rs"]
mod resources;
mod retries;
mod rewrites;
mod tcp;
mod timeouts;
mod tls;
mod workload;
mod world;
