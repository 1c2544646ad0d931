//! The system calls: the only `unsafe` of this crate, each a few lines with its reason.

#![allow(
    unsafe_code,
    reason = "netlink sockets, namespaces and identities have no safe interface in std"
)]

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Opens a netlink socket of the calling thread's network namespace.
pub(crate) fn netlink_socket(protocol: c_int) -> io::Result<OwnedFd> {
    // SAFETY: `socket` takes no pointers; the result is checked before it is owned.
    let fd = unsafe {
        libc::socket(
            libc::AF_NETLINK,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            protocol,
        )
    };
    check(fd)?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets an integer option of a socket.
pub(crate) fn set_option(
    fd: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    value: c_int,
) -> io::Result<()> {
    let length = socket_length(size_of::<c_int>());
    // SAFETY: the pointer is to a live integer of the length given.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast::<c_void>(),
            length,
        )
    };
    check(result).map(drop)
}

/// Bounds the time for which a receive waits.
pub(crate) fn set_receive_timeout(fd: BorrowedFd<'_>, seconds: i64) -> io::Result<()> {
    let value = libc::timeval {
        tv_sec: seconds,
        tv_usec: 0,
    };
    let length = socket_length(size_of::<libc::timeval>());
    // SAFETY: the pointer is to a live `timeval` of the length given.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            (&raw const value).cast::<c_void>(),
            length,
        )
    };
    check(result).map(drop)
}

/// Sends one datagram; for a netlink socket without destination, to the kernel.
pub(crate) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    loop {
        // SAFETY: pointer and length are those of one live slice.
        let sent = unsafe {
            libc::send(
                fd.as_raw_fd(),
                bytes.as_ptr().cast::<c_void>(),
                bytes.len(),
                0,
            )
        };
        match usize::try_from(sent) {
            Ok(count) if count == bytes.len() => return Ok(()),
            Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Receives one whole datagram into `buffer`; fails rather than cutting it short.
pub(crate) fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        // SAFETY: pointer and length are those of one live, writable slice.
        let received = unsafe {
            libc::recv(
                fd.as_raw_fd(),
                buffer.as_mut_ptr().cast::<c_void>(),
                buffer.len(),
                libc::MSG_TRUNC,
            )
        };
        match usize::try_from(received) {
            Ok(count) if count <= buffer.len() => return Ok(count),
            // With MSG_TRUNC the kernel tells the datagram's length, not what fitted.
            Ok(_) => return Err(io::Error::from_raw_os_error(libc::EMSGSIZE)),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Gives the calling thread (or, for a user namespace, the whole single-threaded process) new
/// namespaces.
pub(crate) fn unshare(flags: c_int) -> io::Result<()> {
    // SAFETY: no pointers; what changes is the calling thread's view of the system only.
    check(unsafe { libc::unshare(flags) }).map(drop)
}

/// Moves the calling thread into a namespace.
pub(crate) fn setns(fd: BorrowedFd<'_>, kind: c_int) -> io::Result<()> {
    // SAFETY: no pointers; the descriptor is borrowed, hence open.
    check(unsafe { libc::setns(fd.as_raw_fd(), kind) }).map(drop)
}

/// The effective user and group of this process.
pub(crate) fn identity() -> (u32, u32) {
    // SAFETY: neither call can fail or touches memory.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// Gives up every privilege of root by becoming an ordinary user, for good.
pub(crate) fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: an empty list needs no memory; the others take no pointers. The order matters:
    // groups can be dropped only while still root.
    unsafe {
        check(libc::setgroups(0, std::ptr::null()))?;
        check(libc::setresgid(gid, gid, gid))?;
        check(libc::setresuid(uid, uid, uid))?;
        // A process that changed its user owns nothing below /proc/self until it is dumpable
        // again, and the maps of its user namespace are there.
        check(libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0))?;
    }
    Ok(())
}

fn socket_length(size: usize) -> libc::socklen_t {
    libc::socklen_t::try_from(size).expect("sizes of kernel structures fit in 32 bits")
}

fn check(result: RawFd) -> io::Result<RawFd> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
