//! Namespaces for the supervisor: made by a copy of the publisher, mapped from outside, entered.
//!
//! Why a copy and not `unshare`: a process that gives itself a PID namespace stays outside of it,
//! and only a process outside may map more than one user.

use std::convert::Infallible;
use std::fs;
use std::io::{self, Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

use super::{Error, SUPERVISOR};
use crate::sys::{self, Cloned};

/// The program that this process runs, even after its file was replaced.
pub(crate) const THIS_PROGRAM: &str = "/proc/self/exe";

/// A supervisor that has been started.
#[derive(Debug)]
pub(super) struct Started {
    /// Its number outside.
    pub(super) pid: Pid,
    /// Becomes readable when it ends.
    pub(super) pidfd: OwnedFd,
}

/// Every namespace of the cluster but the user namespace.
const NAMESPACES: UnshareFlags = UnshareFlags::NEWNS
    .union(UnshareFlags::NEWNET)
    .union(UnshareFlags::NEWPID)
    .union(UnshareFlags::NEWUTS)
    .union(UnshareFlags::NEWIPC);

/// Starts the supervisor in new namespaces, its standard input being `channel`.
pub(super) fn start(channel: &OwnedFd) -> Result<Started, Error> {
    let is_root = rustix::process::geteuid().is_root();
    match start_in(NAMESPACES | UnshareFlags::NEWUSER, channel) {
        // Root needs no user namespace to make the others.
        Err(Error::Namespaces { .. }) if is_root => start_in(NAMESPACES, channel),
        result => result,
    }
}

fn start_in(namespaces: UnshareFlags, channel: &OwnedFd) -> Result<Started, Error> {
    let (mut mapped, mut tell_mapped) = io::pipe().map_err(Error::system("make a pipe"))?;
    let cloned = sys::clone_process(namespaces).map_err(|cause| Error::Namespaces {
        advice: advice(&cause, |name| {
            fs::read_to_string(format!("/proc/sys/{name}")).ok()
        }),
        cause,
    })?;
    let Cloned::Parent { pid, pidfd } = cloned else {
        drop(tell_mapped);
        let Err(error) = become_supervisor(&mut mapped, channel);
        eprintln!("the supervisor cannot be started: {error}");
        std::process::exit(1);
    };
    drop(mapped);
    if namespaces.contains(UnshareFlags::NEWUSER) {
        map_users(pid)?;
    }
    tell_mapped
        .write_all(b"m")
        .map_err(Error::system("start the supervisor"))?;
    Ok(Started { pid, pidfd })
}

/// What the copy does: waits for its users, because a program started before has lost its
/// privileges, then becomes a program of its own.
fn become_supervisor(mapped: &mut impl Read, channel: &OwnedFd) -> io::Result<Infallible> {
    let mut byte = [0];
    mapped.read_exact(&mut byte)?;
    rustix::stdio::dup2_stdin(channel)?;
    Err(Command::new(THIS_PROGRAM)
        .arg0("lateen")
        .arg(SUPERVISOR)
        .exec())
}

/// Maps root inside to this user, or every user to itself if this is root.
fn map_users(pid: Pid) -> Result<(), Error> {
    let process = format!("/proc/{}", pid.as_raw_nonzero());
    let write = |file: &str, text: &str| {
        let path = format!("{process}/{file}");
        fs::write(&path, text).map_err(Error::file("write", path))
    };
    let user = rustix::process::geteuid();
    if user.is_root() {
        for file in ["uid_map", "gid_map"] {
            let path = format!("/proc/self/{file}");
            let own = fs::read_to_string(&path).map_err(Error::file("read", path))?;
            write(file, &identity(&own))?;
        }
        return Ok(());
    }
    // Without this a user could give up a group that denies access (CVE-2014-8989).
    write("setgroups", "deny")?;
    write("uid_map", &format!("0 {} 1", user.as_raw()))?;
    write(
        "gid_map",
        &format!("0 {} 1", rustix::process::getegid().as_raw()),
    )
}

/// The map of a new namespace in which everybody is who they are in this one.
fn identity(own: &str) -> String {
    own.lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (first, count) = (fields.next()?, fields.nth(1)?);
            Some(format!("{first} {first} {count}\n"))
        })
        .collect()
}

/// Which setting forbids the namespaces, and how to change it.
fn advice(cause: &io::Error, setting: impl Fn(&str) -> Option<String>) -> String {
    let is = |name: &str, value: &str| setting(name).is_some_and(|text| text.trim() == value);
    let sysctl = |name: &str, value: &str| {
        format!(
            "The setting {name} forbids it; allow it with `sudo sysctl -w {name}={value}`, and for \
             good with a line `{name}={value}` in /etc/sysctl.d/90-lateen.conf. Or run as root."
        )
    };
    if is("user/max_user_namespaces", "0") {
        return sysctl("user.max_user_namespaces", "15000");
    }
    if is("kernel/unprivileged_userns_clone", "0") {
        return sysctl("kernel.unprivileged_userns_clone", "1");
    }
    if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        return sysctl("kernel.apparmor_restrict_unprivileged_userns", "0");
    }
    for kind in ["net", "pid", "mnt", "uts", "ipc"] {
        if is(&format!("user/max_{kind}_namespaces"), "0") {
            return sysctl(&format!("user.max_{kind}_namespaces"), "15000");
        }
    }
    match cause.raw_os_error() {
        Some(libc::ENOSPC | libc::EUSERS) => "All namespaces that the limits \
            /proc/sys/user/max_*_namespaces allow are in use; raise the one that is reached with \
            `sudo sysctl -w`, or end what uses them."
            .into(),
        Some(libc::EINVAL | libc::ENOSYS) => {
            "The kernel is built without them (CONFIG_USER_NS, CONFIG_NET_NS, CONFIG_PID_NS), or \
             a container's runtime hides the system call clone3."
                .into()
        }
        _ => "No setting of the kernel forbids it; inside of a container its runtime may: allow \
            the system calls clone, unshare and mount (with Docker, `--privileged`, or \
            `--security-opt seccomp=unconfined --security-opt systempaths=unconfined`)."
            .into(),
    }
}

/// Makes the mounts of the supervisor its own: what it mounts is seen by its children only.
pub(super) fn separate_mounts(runtime: &Path) -> Result<(), Error> {
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(Error::system(
        "separate the cluster's mounts from the host's",
    ))?;
    let safe = MountFlags::NOSUID | MountFlags::NODEV;
    // Of this PID namespace: the host's would show the host's processes, and not these.
    rustix::mount::mount("proc", "/proc", "proc", safe | MountFlags::NOEXEC, None).map_err(
        Error::system(
            "mount /proc (a container hides parts of it, which forbids this: with Docker, \
             `--security-opt systempaths=unconfined`)",
        ),
    )?;
    rustix::mount::mount("tmpfs", runtime, "tmpfs", safe, Some(c"mode=0755"))
        .map_err(Error::file("mount a tmpfs on", runtime))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(settings: &[(&str, &str)], errno: i32) -> String {
        advice(&io::Error::from_raw_os_error(errno), |name| {
            let found = settings.iter().find(|(known, _)| *known == name)?;
            Some(format!("{}\n", found.1))
        })
    }

    #[test]
    fn the_setting_that_forbids_namespaces_is_named_with_its_remedy() {
        let cases = [
            (
                "user/max_user_namespaces",
                "0",
                libc::ENOSPC,
                "user.max_user_namespaces=15000",
            ),
            (
                "kernel/unprivileged_userns_clone",
                "0",
                libc::EPERM,
                "kernel.unprivileged_userns_clone=1",
            ),
            (
                "kernel/apparmor_restrict_unprivileged_userns",
                "1",
                libc::EACCES,
                "kernel.apparmor_restrict_unprivileged_userns=0",
            ),
        ];
        for (name, value, errno, remedy) in cases {
            let text = with(&[(name, value)], errno);
            assert!(text.contains(&format!("sysctl -w {remedy}")), "{text}");
        }
    }

    #[test]
    fn settings_that_allow_are_not_blamed() {
        let allowing = [
            ("user/max_user_namespaces", "15000"),
            ("kernel/apparmor_restrict_unprivileged_userns", "0"),
        ];
        assert!(with(&allowing, libc::EPERM).contains("container"));
        assert!(with(&allowing, libc::ENOSPC).contains("in use"));
    }

    #[test]
    fn everybody_stays_who_they_are() {
        let own = "         0     100000       1000\n      1000       1000      64536\n";
        assert_eq!(identity(own), "0 0 1000\n1000 1000 64536\n");
    }
}
