//! What the end-to-end tests stand on: a mesh of its own for each test, started as the user that
//! the test names, steered by the real `kubectl`, and loaded over real sockets.

#![allow(
    clippy::print_stdout,
    reason = "a scenario tells what it does, as the person at the keyboard would see it"
)]

pub mod echo;
pub mod load;
pub mod mesh;
pub mod process;

pub use load::{Load, Page, Tally};
pub use mesh::{Mesh, User};
