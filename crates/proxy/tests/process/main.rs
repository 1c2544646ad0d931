//! The whole program: `lateen-proxy` as a process between real sockets and a real control plane.

mod control;
mod lifecycle;
mod pages;
mod proxy;
#[path = "../support/resources.rs"]
mod resources;
mod serving;
