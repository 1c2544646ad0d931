//! The pieces of an HTTP/1.1 engine: heads as ranges over the caller's buffer, framing of bodies,
//! and the heads that are sent on.
//!
//! Not here: when to read, write, wait or close; that is the proxy's exchange.
//!
//! # What is stricter than usual, and what is not
//!
//! A proxy stands between two parsers, so whatever two of them may read differently is refused
//! (400 for requests, 502 for responses) and the connection closed: see [`framing`], [`target`]
//! and [`chunked`] for the rules with their reasons. What is valid by the grammar is served,
//! however odd it looks: empty field values, tabs around values, unusual methods and field names,
//! `Transfer-Encoding: CHUNKED`, chunk extensions, absolute-form targets.
//!
//! # No allocation in steady state
//!
//! Heads are [`field::Span`]s over the caller's buffer; their tables are reused for the life of a
//! connection. Writers append to a buffer that the caller reuses.

pub mod chunked;
pub mod field;
pub mod framing;
pub mod head;
pub mod local;
pub mod request;
pub mod response;
pub mod target;
pub mod write;

mod connection;
mod scan;
