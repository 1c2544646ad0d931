//! HTTP/2 on both sides of a worker: streams in memory, paused time.
//!
//! Clients and upstreams are the `h2` crate's, or HTTP/1.1 by hand, or frames by hand where a rule
//! is to be broken.

mod abort;
mod conformance;
mod drain;
mod floods;
mod flow;
mod grpc;
mod malformed;
mod noise;
mod peers;
#[path = "../support/resources.rs"]
#[allow(dead_code, reason = "shared with other tests, which need the rest")]
mod resources;
mod translate;
mod upstreams;
mod websocket;
#[path = "../scenarios/world.rs"]
#[allow(dead_code, reason = "shared with other tests, which need the rest")]
mod world;
