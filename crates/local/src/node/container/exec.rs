//! A further program in a running container: a probe's, a hook's, a user's.

use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::init;
use super::spec::{self, Program};

/// Enters the container's mounts and becomes the program.
///
/// The other namespaces are entered before this process exists: a thread can enter them, while
/// mounts are shared by all threads of a process.
pub(crate) fn main() -> ExitCode {
    init::report(|supervisor| {
        let (program, descriptors) = spec::receive::<Program>(supervisor)?;
        let mounts = descriptors
            .first()
            .ok_or_else(|| io::Error::other("the container's mounts did not come"))?;
        move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
        let never: Infallible = init::become_program(&program)?;
        match never {}
    })
}
