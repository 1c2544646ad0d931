//! A process that runs in a container, as the supervisor holds it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{Signal, WaitId, WaitIdOptions};
use tokio::io::unix::AsyncFd;

use crate::sys;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By itself, with a code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

/// A child of the supervisor; it must be waited for, or it stays a zombie.
#[derive(Debug)]
pub(crate) struct Process {
    descriptor: AsyncFd<OwnedFd>,
    /// The mounts that it had when it became its program.
    mounts: OwnedFd,
}

// === impl Process ===

impl Process {
    /// Holds a child; called inside of a runtime.
    pub(super) fn hold(descriptor: OwnedFd, mounts: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            descriptor: sys::watch(descriptor)?,
            mounts,
        })
    }

    /// Sends a signal; without effect on a process that has ended.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(self.descriptor.get_ref(), signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for its end. Only the first of several calls that complete learns how it ended.
    pub(crate) async fn wait(&self) -> io::Result<Exit> {
        // Readable means ended, for ever: the readiness is never cleared.
        self.descriptor.readable().await?.retain_ready();
        let id = WaitId::PidFd(self.descriptor.get_ref().as_fd());
        let status = rustix::process::waitid(id, WaitIdOptions::EXITED)?
            .ok_or_else(|| io::Error::other("a process that has ended has no status"))?;
        status
            .exit_status()
            .map(Exit::Code)
            .or_else(|| status.terminating_signal().map(Exit::Signal))
            .ok_or_else(|| io::Error::other("a process ended neither by itself nor by a signal"))
    }

    pub(super) fn descriptor(&self) -> &OwnedFd {
        self.descriptor.get_ref()
    }

    pub(super) fn mounts(&self) -> &OwnedFd {
        &self.mounts
    }
}

// === impl Exit ===

impl Exit {
    /// The code that shells and Kubernetes report.
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}
