//! Capture and network plumbing in real namespaces, as an ordinary user.
//!
//! The process enters a user namespace of its own before any thread starts, hence no libtest.

#![allow(
    clippy::unwrap_used,
    reason = "tests; without libtest clippy does not see that"
)]

#[path = "namespaced/capture.rs"]
mod capture;
#[path = "namespaced/plumbing.rs"]
mod plumbing;
#[path = "namespaced/services.rs"]
mod services;
#[path = "namespaced/world.rs"]
mod world;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    if !arguments.list {
        lateen_capture::sandbox::enter().expect("an ordinary user can make namespaces");
    }
    let cases = [capture::CASES, services::CASES, plumbing::CASES].concat();
    let trial = |(name, case): &(&str, fn())| {
        let case = *case;
        Trial::test(*name, move || {
            case();
            Ok(())
        })
    };
    libtest_mimic::run(&arguments, cases.iter().map(trial).collect()).exit();
}
