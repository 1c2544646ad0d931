//! Sniffing: a verdict never changes with more bytes, always comes, and never lets a request that
//! the head parser would serve pass as TCP.

use lateen_wire::h1::head::{Limits, Progress};
use lateen_wire::h1::request::Head;
use lateen_wire::sniff::{MAX_LINE, Verdict, sniff};

/// Checks one input.
///
/// # Panics
/// If a property does not hold.
pub fn run(input: &[u8]) {
    let last = sniff(input);
    for end in 0..input.len() {
        let verdict = sniff(&input[..end]);
        if verdict != Verdict::NeedMore {
            assert_eq!(verdict, last, "the verdict after {end} bytes changed");
        }
    }
    // The empty lines before a request line come on top.
    if input.len() >= MAX_LINE + 8 {
        assert_ne!(last, Verdict::NeedMore);
    }
    let mut head = Head::default();
    if head.parse(input, &Limits::default()) == Ok(Progress::Complete) {
        assert_eq!(last, Verdict::Http1);
    }
}
