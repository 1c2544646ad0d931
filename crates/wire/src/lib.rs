//! Bytes on sockets: HTTP/1 heads and bodies, DNS messages, and what a connection speaks.
//!
//! It is not a proxy: no socket, no clock, no random and no configuration. Bytes go in, facts and
//! bytes come out, so that every rule of RFC 9112 can be tested without a network and fuzzed.
//!
//! ```text
//! first bytes ──► sniff::sniff ──► Http1 │ Http2 │ Tls │ Tcp │ NeedMore
//!                                                  └── server_name::server_name
//!
//! request head ──► h1::request::Head ──► view: target, authority, fields, framing::Body, …
//!                                           │ write::request(edits)
//!                                           ▼
//!                                  the head for the upstream
//! response head ─► h1::response::Head ──► view ── write::response(edits) ──► for the client
//! chunked body ──► h1::chunked::Decoder ──► data, or validated bytes to send on as they are
//! own answers ◄─── h1::local::write
//! DNS ─────────────► dns::Query, dns::Answer
//! TLS that ends here ─► tls::Session ──► plaintext, and records to send
//! HTTP/2 ──────────► h2::Observer (counts frames; the protocol itself is another crate's)
//! ```

#[cfg(feature = "corpus")]
pub mod corpus;
pub mod dns;
pub mod error;
pub mod h1;
pub mod h2;
pub mod server_name;
pub mod sniff;
pub mod tls;

pub use error::{Error, Fault};
