//! The container's process before it is the container's program.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::process::{Gid, Uid};

use super::root;
use super::spec::{self, Program, Spec};
use crate::publisher::channel;

/// Docker's and Kubernetes' code of a container that could not be started.
pub(super) const NOT_STARTED: u8 = 128;

/// Becomes the container, or tells the supervisor why not.
pub(crate) fn main() -> ExitCode {
    report(|supervisor| {
        let (spec, _) = spec::receive::<Spec>(supervisor)?;
        root::enter(&spec.root)?;
        // For programs that are run in this container later; the process may be gone by then.
        let mounts = File::open("/proc/self/ns/mnt")?;
        channel::send(supervisor.as_fd(), b"mounts", &[mounts.as_fd()])?;
        become_program(&spec.program)
    })
}

/// Runs `work` with the channel to the supervisor; only an error comes back from it.
pub(super) fn report(work: impl FnOnce(&OwnedFd) -> io::Result<Infallible>) -> ExitCode {
    let Ok(supervisor) = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3) else {
        return NOT_STARTED.into();
    };
    let Err(error) = work(&supervisor);
    let text = error.to_string();
    // If it cannot be told, it has gone, and this process with it.
    let _ = channel::send(supervisor.as_fd(), text.as_bytes(), &[]);
    NOT_STARTED.into()
}

/// Gives up what the program may not have and becomes it.
pub(super) fn become_program(program: &Program) -> io::Result<Infallible> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // Its own session: a signal to a group never reaches another container.
    rustix::process::setsid()?;
    let null = File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    let (name, arguments) = program
        .arguments
        .split_first()
        .ok_or_else(|| io::Error::other("no command specified"))?;
    if !program.directory.exists() {
        // As container runtimes do; on a read-only root it stays missing, and that is said below.
        let _ = fs::create_dir_all(&program.directory);
    }
    std::env::set_current_dir(&program.directory).map_err(|error| {
        let directory = program.directory.display();
        io::Error::new(
            error.kind(),
            format!("working directory {directory}: {error}"),
        )
    })?;
    give_up_privileges(program)?;
    let error = Command::new(name)
        .args(arguments)
        .env_clear()
        .envs(
            program
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .exec();
    let why = match error.kind() {
        io::ErrorKind::NotFound if !name.contains('/') => {
            "executable file not found in $PATH".to_owned()
        }
        _ => error.to_string(),
    };
    Err(io::Error::new(
        error.kind(),
        format!("exec {name:?}: {why}"),
    ))
}

/// The order is the kernel's: bounding takes root, the change of user takes root, and what is kept
/// must be kept through it.
fn give_up_privileges(program: &Program) -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    program.capabilities.bound()?;
    if let Some(user) = &program.user {
        rustix::thread::set_keep_capabilities(true)?;
        let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
        rustix::thread::set_thread_groups(&groups)?;
        rustix::thread::set_thread_gid(Gid::from_raw(user.gid))?;
        rustix::thread::set_thread_uid(Uid::from_raw(user.uid))?;
    }
    Ok(program.capabilities.keep()?)
}
