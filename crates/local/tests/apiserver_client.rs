//! Clients of the API server that are programs: watches, concurrency, deletion, admission, identity.

#![allow(
    clippy::unwrap_used,
    clippy::large_futures,
    reason = "these are tests, also outside of test functions"
)]

#[path = "support/apiserver.rs"]
mod support;

#[path = "apiserver/admission.rs"]
mod admission;
#[path = "apiserver/deletion.rs"]
mod deletion;
#[path = "apiserver/forwarding.rs"]
mod forwarding;
#[path = "apiserver/identity.rs"]
mod identity;
#[path = "apiserver/watching.rs"]
mod watching;
