//! What the supervisor tells a container's process about what it is to become.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::capabilities::Capabilities;
use crate::publisher::channel;

/// Where mapped programs are found inside of a container; `/usr` is read-only and not ours.
pub(crate) const PROGRAMS: &str = "/opt/lateen/bin";
/// The `PATH` of a container that sets none.
pub(crate) const PATH: &str =
    "/opt/lateen/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A container to start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The root to build.
    pub(crate) root: Root,
    /// The program to run on it.
    pub(crate) program: Program,
}

/// A program to run: a container's own, a probe's or a hook's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Program {
    /// The program and its arguments; never empty.
    pub(crate) arguments: Vec<String>,
    /// Its whole environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Where it starts.
    pub(crate) directory: PathBuf,
    /// Who it is; `None` stays root of the user namespace.
    pub(crate) user: Option<User>,
    /// What it may do.
    pub(crate) capabilities: Capabilities,
}

/// A user that is not root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    /// The user.
    pub(crate) uid: u32,
    /// The primary group.
    pub(crate) gid: u32,
    /// Further groups.
    pub(crate) groups: Vec<u32>,
}

/// A container's file tree.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Root {
    /// A directory to build it on; the mount that covers it is the container's own.
    pub(crate) scratch: PathBuf,
    /// Programs of this machine to bind into [`PROGRAMS`], with their names there.
    pub(crate) programs: Vec<(PathBuf, String)>,
    /// Files to write, below `/etc`.
    pub(crate) files: Vec<(PathBuf, String)>,
    /// Volumes, in the order in which they are to be mounted.
    pub(crate) mounts: Vec<Mount>,
    /// Whether nothing but volumes may be written to.
    pub(crate) is_read_only: bool,
}

/// A volume, or a part of one, at a path of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mount {
    /// The volume's directory.
    pub(crate) volume: PathBuf,
    /// What of it; empty is all. It never leads out of the volume.
    pub(crate) part: PathBuf,
    /// Where in the container.
    pub(crate) target: PathBuf,
    /// Whether the container may only read it.
    pub(crate) is_read_only: bool,
}

/// Sends a specification, and descriptors after it.
pub(super) fn send(
    to: &OwnedFd,
    spec: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    // A file in memory: an environment from a ConfigMap is larger than a message may be.
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut document = File::from(rustix::fs::memfd_create("lateen-container", flags)?);
    document.write_all(&serde_json::to_vec(spec)?)?;
    let mut all = vec![document.as_fd()];
    all.extend(descriptors);
    channel::send(to.as_fd(), b"spec", &all)
}

/// Receives what [`send`] sent.
pub(super) fn receive<T: DeserializeOwned>(from: &OwnedFd) -> io::Result<(T, Vec<OwnedFd>)> {
    let parcel = channel::receive(from.as_fd())?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut descriptors = parcel.descriptors;
    if descriptors.is_empty() {
        return Err(io::Error::other("no specification came"));
    }
    let mut document = File::from(descriptors.remove(0));
    document.rewind()?;
    let mut text = Vec::new();
    document.read_to_end(&mut text)?;
    Ok((serde_json::from_slice(&text)?, descriptors))
}
