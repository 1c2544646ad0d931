//! A sidecar behind the real capture, in real network namespaces, as an ordinary user.
//!
//! The process enters a user namespace of its own before any thread starts, hence no libtest.

#![allow(
    clippy::unwrap_used,
    reason = "tests; without libtest clippy does not see that"
)]

#[path = "namespaced/cases.rs"]
mod cases;
#[path = "support/resources.rs"]
#[allow(dead_code, reason = "shared with other tests, which need the rest")]
mod resources;
#[path = "namespaced/world.rs"]
mod world;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    if !arguments.list {
        world::program();
        lateen_capture::sandbox::enter().expect("an ordinary user can make namespaces");
    }
    let trial = |(name, case): &(&str, fn())| {
        let case = *case;
        Trial::test(*name, move || {
            case();
            Ok(())
        })
    };
    libtest_mimic::run(&arguments, cases::CASES.iter().map(trial).collect()).exit();
}
