//! The API server: what kubectl and kube clients talk to.
//!
//! It is a Kubernetes API for one machine: the types, verbs, words and limits are Kubernetes' own,
//! the store is memory with a journal in one file. It is not a proxy to anything, runs no pods and
//! no controllers: those are clients of it, like everybody else (see [`ApiServer::client`]).
//!
//! ```text
//! socket ─► transport (TLS, HTTP) ─► authenticate ─┐
//! ApiServer::client (in process) ──────────────────┴► dispatch ─► rest::{get, create, …}
//!                                                                    │ registry: what types exist
//!                                                                    │ schema, defaults, validate, admission
//!                                                                    ▼
//!                                                                  store ─► watchers, journal
//! ```
//!
//! `portforward` becomes a WebSocket over whose channels bytes go to and from a pod, through a
//! [`PodDialer`] that whoever runs the pods gives.
//!
//! What is deliberately absent: authorization (who is authenticated may do everything; RBAC kinds
//! are stored only), server-side apply, protobuf answers, CEL rules, conversion webhooks,
//! aggregated API servers. A request for one of them gets an error that says so.

mod admission;
mod allocate;
mod auth;
mod body;
mod bootstrap;
mod call;
mod convert;
mod crd;
mod defaults;
mod discovery;
mod documents;
mod events;
mod object;
mod openapi;
mod patch;
mod pod_dialer;
mod protobuf;
mod rbac;
mod registry;
mod rest;
mod schema;
mod selector;
mod server;
mod spdy;
mod status;
mod store;
mod strategy;
mod table;
mod transport;
mod validate;
mod websocket;

pub use auth::{ClientCertificate, User};
pub use pod_dialer::PodDialer;
pub use server::{ApiServer, Error, Options};
