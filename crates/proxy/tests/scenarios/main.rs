//! Scenarios through a whole worker: real connections in memory, real plans, paused time.
//!
//! Each test reads as what a client and an upstream say to each other.

mod answers;
mod corpus;
mod cross_origin;
mod drain;
mod exchange;
mod failures;
mod faults;
#[path = "../support/resources.rs"]
mod resources;
mod retries;
mod rewrites;
mod tcp;
mod timeouts;
mod world;
