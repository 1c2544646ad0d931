//! An ordinary user's own user and network namespace, for tests of everything that this crate
//! does: they need neither root nor a container, and cannot harm the machine.
//!
//! Only a process of one thread may enter, so a test binary does it first in `main`
//! (`harness = false`), then runs its cases in threads, each in a namespace of its own.

use std::fs;

use crate::{Error, sys};

/// Nobody: what root becomes first, so that tests run as an ordinary user in any case.
const NOBODY: u32 = 65534;

/// Moves this process for good into a new user and network namespace in which it is root; from
/// root it becomes an ordinary user before.
pub fn enter() -> Result<(), Error> {
    let (uid, gid) = match sys::identity() {
        (0, _) => {
            sys::become_user(NOBODY, NOBODY)
                .map_err(|cause| Error::system("become an ordinary user", cause))?;
            (NOBODY, NOBODY)
        }
        identity => identity,
    };
    sys::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET).map_err(|cause| {
        Error::system(
            "make a user namespace (see kernel.apparmor_restrict_unprivileged_userns and \
             user.max_user_namespaces)",
            cause,
        )
    })?;
    // The kernel allows a map of groups only once setgroups is given up (CVE-2014-8989).
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {uid} 1")),
        ("gid_map", format!("0 {gid} 1")),
    ] {
        fs::write(format!("/proc/self/{file}"), text)
            .map_err(|cause| Error::system(format!("write /proc/self/{file}"), cause))?;
    }
    Ok(())
}
