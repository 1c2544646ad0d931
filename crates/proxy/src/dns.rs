//! DNS: names that the proxy looks up, and the questions of its application that it answers.
//!
//! It runs on the main thread, and none of it is on the way of a request. Everything that it sends
//! carries the mark of the outbound side, so that the capture leaves it alone.
//!
//! ```text
//! application ─► server (15053) ─► names of the mesh ─► answer
//!                    └─ unknown ─► upstream ─► the servers of resolv.conf
//! services by DNS ─► control::dns ─► lookup (hosts file, search domains, aliases) ─► upstream
//! ```

#[cfg(test)]
mod fixture;
pub mod lookup;
pub mod server;
pub mod system;
pub mod upstream;
