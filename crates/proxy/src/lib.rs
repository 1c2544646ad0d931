//! The data plane: sidecars and gateways.
//!
//! It is not where rules are made (`lateen-decide` compiles them, `lateen-control` collects them),
//! nor where HTTP is parsed (`lateen-wire`): here bytes move.
//!
//! ```text
//! main thread     process ─ control (xDS ─► Plan) ─ admin, status, metrics ─ drain
//!                    │ one ordered queue per worker
//! worker threads  worker ─ accept ─► connection::serve ─┬─► http::serve ─► exchange::run
//!                                                       │        ▲ one per stream
//!                                                       ├─► h2::serve
//!                                                       ├─► secure ─► tls ─► any of these
//!                                                       └─► tcp::serve ──► relay
//! ```
//!
//! Invariants:
//! - Nothing of a request crosses a thread. Workers share nothing but relaxed counters.
//! - A plan changes between two requests, never within one.
//! - What a connection reads is bounded by what its peer takes: no queue grows.

pub mod activity;
pub mod admin;
pub mod buffer;
pub mod clock;
pub mod connection;
pub mod control;
pub mod deadline;
pub mod dns;
pub mod h2;
pub mod http;
pub mod lifecycle;
pub mod names;
pub mod observe;
pub mod process;
pub mod published;
pub mod random;
pub mod settings;
pub mod side;
pub mod sys;
pub mod tcp;
pub mod tls;
pub mod transport;
pub mod tunables;
pub mod upstream;
pub mod worker;
