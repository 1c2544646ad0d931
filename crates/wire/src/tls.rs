//! TLS that ends here: settings from PEM, who may come in, and the bytes of a connection.
//!
//! It is sans-io like the rest of the crate: a [`Session`] takes the bytes that came and says which
//! ones are to be sent; sockets, files and Secrets are somebody else's. The protocol and its
//! cryptography are rustls over aws-lc-rs.
//!
//! ```text
//! PEM, names, limits ─► server::Settings::build ─► Server ─ accept ─► Session
//!                                                                       │ receive: bytes ─► plaintext
//!                                                                       └ send: plaintext ─► bytes
//! ```
//!
//! Versions older than 1.2, renegotiation, compression and early data are not spoken.

pub mod certificate;
pub mod error;
#[cfg(test)]
mod fixture;
pub mod server;
pub mod session;
mod suites;
mod verify;

pub use certificate::Certificate;
pub use error::Error;
pub use server::{Clients, Pair, Server, Settings, Version, Versions};
pub use session::{Fate, Output, Session};
