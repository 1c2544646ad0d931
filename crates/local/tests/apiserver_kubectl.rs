//! The real kubectl against the API server. `KUBECTL` names another one than that of `PATH`.

#![allow(
    clippy::unwrap_used,
    clippy::large_futures,
    reason = "these are tests, also outside of test functions"
)]

#[path = "support/apiserver.rs"]
mod support;

#[path = "apiserver/custom.rs"]
mod custom;
#[path = "apiserver/mesh.rs"]
mod mesh;
#[path = "apiserver/objects.rs"]
mod objects;
#[path = "apiserver/running.rs"]
mod running;
