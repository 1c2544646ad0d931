//! Network namespaces: made, opened, entered.
//!
//! A namespace is a property of a *thread*. [`Netns::run`] therefore runs its closure on a thread
//! of its own, which is the only way that leaves no other thread in the wrong place.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::{io, thread};

use crate::{Error, sys};

/// An open network namespace: it lives as long as this value or any process in it.
#[derive(Debug)]
pub struct Netns {
    fd: OwnedFd,
}

// === impl Netns ===

impl Netns {
    /// The calling thread's namespace.
    pub fn current() -> Result<Self, Error> {
        // `/proc/self` is the process's first thread, which may be elsewhere.
        Self::open("/proc/thread-self/ns/net")
    }

    /// The namespace of a process.
    pub fn of_process(pid: u32) -> Result<Self, Error> {
        Self::open(format!("/proc/{pid}/ns/net"))
    }

    /// The namespace that a file names.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|cause| {
            Error::system(
                format!("open the network namespace {}", path.display()),
                cause,
            )
        })?;
        Ok(Self { fd: file.into() })
    }

    /// Makes a new namespace, owned by the current user namespace; its `lo` is down.
    pub fn create() -> Result<Self, Error> {
        on_thread("lateen-netns", || {
            sys::unshare(libc::CLONE_NEWNET)
                .map_err(|cause| Error::system("make a network namespace", cause))?;
            Self::current()
        })
    }

    /// Moves the calling thread into this namespace.
    pub fn enter(&self) -> Result<(), Error> {
        sys::setns(self.fd.as_fd(), libc::CLONE_NEWNET)
            .map_err(|cause| Error::system("enter a network namespace", cause))
    }

    /// Runs `work` in this namespace, on a thread of its own, and waits for it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        on_thread("lateen-netns", || {
            self.enter()?;
            Ok(work())
        })
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for Netns {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

/// Runs `work` on a thread that ends with it, and passes a panic on.
fn on_thread<T: Send>(
    name: &str,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    thread::scope(|scope| {
        let spawned = thread::Builder::new()
            .name(name.into())
            .spawn_scoped(scope, work)
            .map_err(|cause: io::Error| Error::system("start a thread", cause))?;
        spawned
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
