//! Places in a root under construction: found or made, never outside of it.
//!
//! Every path is looked up by the kernel with the new root as its root (`RESOLVE_IN_ROOT`), so
//! that a symbolic link, which a volume's content may be, leads nowhere else. A place below
//! something read-only is made as well: the directory that lacks it is replaced by a tmpfs that
//! has all of the old entries bound in.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;

/// A root under construction.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
}

/// What is to be at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

// === impl Tree ===

impl Tree {
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        Ok(Self { root: open(root)? })
    }

    /// Opens what is at `path`, following links within the root.
    pub(super) fn find(&self, path: &Path) -> io::Result<OwnedFd> {
        Ok(find_in(self.root.as_fd(), path)?)
    }

    /// Opens what is at `path`; makes it, and every directory above it, if it is missing.
    pub(super) fn find_or_make(&self, path: &Path, kind: Kind) -> io::Result<OwnedFd> {
        let components: Vec<_> = path
            .components()
            .filter_map(|component| match component {
                Component::Normal(name) => Some(Ok(name)),
                Component::RootDir | Component::CurDir => None,
                Component::ParentDir | Component::Prefix(_) => Some(Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("{} must not contain '..'", path.display()),
                ))),
            })
            .collect::<Result<_, _>>()?;
        let mut done = PathBuf::new();
        for (index, name) in components.iter().enumerate() {
            let parent = done.clone();
            done.push(name);
            match find_in(self.root.as_fd(), &done) {
                Ok(_) => continue,
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            let is_last = index + 1 == components.len();
            let kind = if is_last { kind } else { Kind::Directory };
            self.make(&parent, Path::new(name), kind)?;
        }
        self.find(&done)
    }

    fn make(&self, parent: &Path, name: &Path, kind: Kind) -> io::Result<()> {
        match make_in(&self.find(parent)?, name, kind) {
            Err(Errno::ROFS | Errno::ACCESS) => {
                self.make_writable(parent)?;
                Ok(make_in(&self.find(parent)?, name, kind)?)
            }
            other => Ok(other?),
        }
    }

    /// Covers a directory with a tmpfs that shows the same.
    fn make_writable(&self, directory: &Path) -> io::Result<()> {
        let old = self.find(directory)?;
        let names = names_in(&old)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        rustix::mount::mount("tmpfs", via(&old), "tmpfs", flags, Some(c"mode=0755"))?;
        let new = self.find(directory)?;
        for name in names {
            let entry = rustix::fs::openat(
                &old,
                &name,
                OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            let status = rustix::fs::fstat(&entry)?;
            match FileType::from_raw_mode(status.st_mode) {
                FileType::Symlink => {
                    let target = rustix::fs::readlinkat(&entry, "", Vec::new())?;
                    rustix::fs::symlinkat(target.as_c_str(), &new, &name)?;
                    continue;
                }
                FileType::Directory => make_in(&new, &name, Kind::Directory)?,
                _ => make_in(&new, &name, Kind::File)?,
            }
            let place = rustix::fs::openat(
                &new,
                &name,
                OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            rustix::mount::mount_bind_recursive(via(&entry), via(&place))?;
        }
        Ok(())
    }
}

/// Opens a path of this machine, to be bound elsewhere.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// A path that the kernel resolves to an open descriptor, for calls that take paths only.
pub(super) fn via(descriptor: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
}

/// What an open descriptor is.
pub(super) fn kind_of(descriptor: &OwnedFd) -> io::Result<Kind> {
    let status = rustix::fs::fstat(descriptor)?;
    Ok(match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => Kind::Directory,
        _ => Kind::File,
    })
}

fn find_in(root: std::os::fd::BorrowedFd<'_>, path: &Path) -> rustix::io::Result<OwnedFd> {
    let path = path.strip_prefix("/").unwrap_or(path);
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    rustix::fs::openat2(
        root,
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
}

fn make_in(parent: &OwnedFd, name: &Path, kind: Kind) -> rustix::io::Result<()> {
    match kind {
        Kind::Directory => rustix::fs::mkdirat(parent, name, DIRECTORY_MODE),
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    }
}

fn names_in(directory: &OwnedFd) -> io::Result<Vec<PathBuf>> {
    // A descriptor opened for its path cannot be read from.
    std::fs::read_dir(via(directory))?
        .map(|entry| Ok(entry?.file_name().into()))
        .collect()
}

/// Answers whether anything is at a path of this machine.
pub(super) fn exists(path: &Path) -> bool {
    rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}
