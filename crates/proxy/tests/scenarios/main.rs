//! Scenarios through a whole worker: real connections in memory, real plans, paused time.
//!
//! Each test reads as what a client and an upstream say to each other.

mod corpus;
mod drain;
mod exchange;
mod failures;
#[path = "../support/resources.rs"]
mod resources;
mod tcp;
mod world;
