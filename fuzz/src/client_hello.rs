//! The server name of a ClientHello: the answer never changes with more bytes, and what is
//! answered is in the input.

use lateen_wire::server_name::{ServerName, server_name};
use lateen_wire::sniff::{Verdict, sniff};

/// Checks one input.
///
/// # Panics
/// If a property does not hold.
pub fn run(input: &[u8]) {
    let last = server_name(input);
    for end in 0..input.len() {
        let answer = server_name(&input[..end]);
        if answer != ServerName::NeedMore {
            assert_eq!(answer, last, "the answer after {end} bytes changed");
        }
    }
    if let ServerName::Name(name) = last {
        assert!(!name.is_empty() && name.len() < input.len());
        assert_eq!(sniff(input), Verdict::Tls, "a name without a ClientHello");
    }
}
