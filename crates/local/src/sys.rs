//! The system calls that neither std nor rustix offers safely: the only `unsafe` of this crate,
//! each a few lines with its reason.

#![allow(
    unsafe_code,
    reason = "namespaces of a new process, recursive mount attributes: no safe interface exists"
)]

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::Pid;
use rustix::thread::UnshareFlags;
use tokio::io::unix::AsyncFd;

/// Who returns from [`clone_process`].
#[derive(Debug)]
pub(crate) enum Cloned {
    /// The caller, with the new process's number in its own namespace and a descriptor of it.
    Parent {
        /// The new process.
        pid: Pid,
        /// Becomes readable when it ends.
        pidfd: OwnedFd,
    },
    /// The new process.
    Child,
}

/// Copies the calling process, as `fork` does, into new namespaces.
///
/// Call it from a process of one thread only: the copy has no other thread, so that a lock which
/// one of them held (the allocator's, say) would stay held for ever.
pub(crate) fn clone_process(namespaces: UnshareFlags) -> io::Result<Cloned> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all-zero is a valid `clone_args`: no stack, no TLS, no set of ids.
    let mut arguments: libc::clone_args = unsafe { mem::zeroed() };
    arguments.flags = u64::from(namespaces.bits()) | libc::CLONE_PIDFD as u64;
    arguments.pidfd = (&raw mut pidfd) as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM and with no stack given this is `fork`: the child continues on a
    // copy of this stack. The kernel writes the descriptor to a live integer.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut arguments,
            size_of::<libc::clone_args>(),
        )
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        pid => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or_else(|| io::Error::other("clone3 answered no process number"))?;
            // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent { pid, pidfd })
        }
    }
}

/// Gives the calling thread namespaces of its own.
///
/// Its children, not the thread itself, are in a new PID namespace.
pub(crate) fn unshare(namespaces: UnshareFlags) -> io::Result<()> {
    debug_assert!(
        !namespaces.contains(UnshareFlags::FILES),
        "descriptors stay shared"
    );
    // SAFETY: the danger of `unshare` is a thread with a table of descriptors of its own
    // (CLONE_FILES), which no caller asks for.
    unsafe { rustix::thread::unshare_unsafe(namespaces) }.map_err(io::Error::from)
}

/// What a mount allows, beyond what its file system does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MountScope {
    /// The mount alone.
    Single,
    /// The mount and every mount below it.
    Recursive,
}

/// Makes a mount read-only, without devices and without set-user-id programs, whatever else it is.
///
/// A bind mount's flags cannot be set by `mount` recursively, and what another user namespace
/// has locked must not be lost: `mount_setattr` (Linux 5.12) only adds.
pub(crate) fn make_read_only(path: &Path, scope: MountScope) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let flags = match scope {
        MountScope::Single => 0,
        MountScope::Recursive => libc::AT_RECURSIVE,
    };
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is a live C string and the attributes a live structure of the size given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENOSYS) {
        return Err(io::Error::other(
            "the kernel has no mount_setattr; the node needs Linux 5.12 or newer",
        ));
    }
    Err(error)
}

/// Registers a descriptor with the runtime of the caller.
pub(crate) fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` answers with the same descriptor always, and is closed only when the
    // `AsyncFd`, which owns it and gives out no exclusive reference here, is dropped.
    unsafe { AsyncFd::register(descriptor) }.map_err(io::Error::from)
}

/// Closes every descriptor but the standard streams: those that whoever started this process has
/// left open, such as the pipe of a build that waits for its end.
///
/// Call it first in `main`: a descriptor that something in this process owns would be closed, too.
pub(crate) fn close_inherited() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: no pointers. As the contract says, nothing has been opened yet, so that no owner of a
    // descriptor is left with a closed one.
    match unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
