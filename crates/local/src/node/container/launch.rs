//! Starts containers, and programs in them, from the supervisor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use rustix::thread::{ThreadNameSpaceType, UnshareFlags};

use super::process::Process;
use super::spec::{self, Program, Spec};
use crate::cluster::THIS_PROGRAM;
use crate::node::sandbox::Namespaces;
use crate::node::{CONTAINER, EXEC};
use crate::publisher::channel;
use crate::sys;

/// Where a program's output goes.
#[derive(Debug)]
pub(crate) struct Output {
    /// Its standard output.
    pub(crate) out: OwnedFd,
    /// Its standard error.
    pub(crate) error: OwnedFd,
}

/// What has been started, before a runtime holds it.
struct Started {
    descriptor: OwnedFd,
    /// A container's own; a further program has none.
    mounts: Option<OwnedFd>,
}

/// Starts a container in a pod's namespaces.
///
/// # Errors
/// What the container's process said: a volume that cannot be mounted, a program that does not
/// exist.
pub(crate) async fn container(
    namespaces: &Namespaces,
    spec: Spec,
    output: Output,
) -> io::Result<Process> {
    let namespaces = namespaces.try_clone()?;
    let started = on_thread(move || {
        namespaces.enter()?;
        sys::unshare(UnshareFlags::NEWPID)?;
        spawn(CONTAINER, output, |to| spec::send(to, &spec, &[]))
    })
    .await?;
    let mounts = started
        .mounts
        .ok_or_else(|| io::Error::other("the container did not say what its mounts are"))?;
    Process::hold(started.descriptor, mounts)
}

/// Starts a further program in a container.
pub(crate) async fn program(
    container: &Process,
    program: Program,
    output: Output,
) -> io::Result<Process> {
    let descriptor = container.descriptor().try_clone()?;
    let mounts = container.mounts().try_clone()?;
    let kept = mounts.try_clone()?;
    let started = on_thread(move || {
        let namespaces = ThreadNameSpaceType::PROCESS_ID
            | ThreadNameSpaceType::NETWORK
            | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
            | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION;
        rustix::thread::move_into_thread_name_spaces(descriptor.as_fd(), namespaces)?;
        spawn(EXEC, output, |to| {
            spec::send(to, &program, &[mounts.as_fd()])
        })
    })
    .await?;
    Process::hold(started.descriptor, kept)
}

/// Spawns this program in a role and waits until it has become another program.
fn spawn(
    role: &str,
    output: Output,
    send: impl FnOnce(&OwnedFd) -> io::Result<()>,
) -> io::Result<Started> {
    let (ours, theirs) = channel::pair()?;
    let child = Command::new(THIS_PROGRAM)
        .arg0("lateen")
        .arg(role)
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(output.out)
        .stderr(output.error)
        .spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("a process without a number"))?;
    // The child is ours and unwaited for, so that its number is still its own.
    let descriptor = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let error = match send(&ours).and_then(|()| hear(&ours)) {
        Ok(mounts) => return Ok(Started { descriptor, mounts }),
        Err(error) => error,
    };
    end(&descriptor)?;
    Err(error)
}

/// Waits until a process has become its program; returns the mounts that it has sent before.
///
/// Its end of the channel closes with `exec`, or because it was killed before: then the end of the
/// process says so.
fn hear(from: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    let mut mounts = None;
    while let Some(parcel) = channel::receive(from.as_fd())? {
        if parcel.descriptors.is_empty() {
            let text = String::from_utf8_lossy(&parcel.bytes).into_owned();
            return Err(io::Error::other(text));
        }
        mounts = parcel.descriptors.into_iter().next();
    }
    Ok(mounts)
}

/// Runs `work` on a thread that ends with it: it may enter namespaces and never comes back.
async fn on_thread(
    work: impl FnOnce() -> io::Result<Started> + Send + 'static,
) -> io::Result<Started> {
    let (tell, told) = tokio::sync::oneshot::channel();
    thread::Builder::new()
        .name("lateen-launch".into())
        .spawn(move || {
            // Whoever wanted it has given up, a probe by its timeout: nobody else would end it.
            if let Err(Ok(started)) = tell.send(work())
                && let Err(error) = end(&started.descriptor)
            {
                tracing::warn!(%error, "a process that nobody wants any more is left");
            }
        })?;
    told.await
        .map_err(|_| io::Error::other("the thread that starts a container has panicked"))?
}

/// Kills a child and takes leave of it.
fn end(child: &OwnedFd) -> io::Result<()> {
    match rustix::process::pidfd_send_signal(child, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => return Err(error.into()),
    }
    rustix::process::waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED)?;
    Ok(())
}
