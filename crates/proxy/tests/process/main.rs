//! The whole program: `lateen-proxy` as a process between real sockets and a real control plane.

mod control;
mod lifecycle;
mod pages;
mod proxy;
#[path = "../support/resources.rs"]
#[allow(dead_code, reason = "shared with other tests, which need the rest")]
mod resources;
mod serving;
