//! The state directory: lock, record of the running cluster, log, the API's data.
//!
//! It is `$XDG_STATE_HOME/lateen/<name>`, else `~/.local/state/lateen/<name>`; a user without a
//! home directory gets one of their own below `/tmp`, which is checked to be nobody else's.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::FlockOperation;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::options::{self, Published};
use super::{Error, kubeconfig};

/// A cluster's state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    directory: PathBuf,
}

/// The held lock of a cluster: while any process has it open, the cluster runs.
#[derive(Debug)]
pub(crate) struct Lock(pub(crate) File);

/// What a running cluster says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The process outside.
    pub publisher: Process,
    /// The process that is the cluster, as the host numbers it.
    pub supervisor: Process,
    /// When it was started.
    pub started: Timestamp,
    /// Where the API server listens.
    pub api: SocketAddr,
    /// The host ports, as they were really opened: purpose and address.
    pub ports: Vec<(String, SocketAddr)>,
    /// The kubeconfig with this cluster's context; `None` if there was nowhere to write it.
    pub kubeconfig: Option<PathBuf>,
}

/// A process such that its number cannot mean another one later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// When it started, in clock ticks since the machine did.
    pub start_time: u64,
}

// === impl Home ===

impl Home {
    /// Finds the state directory of the cluster `name` and makes it if it is missing.
    pub fn open(name: &str, root: Option<&Path>) -> Result<Self, Error> {
        options::check_name(name)?;
        let directory = match root {
            Some(root) => own_directory(root)?.join(name),
            None => find_root()?.join(name),
        };
        let home = Self { directory };
        for directory in [home.directory.clone(), home.runtime(), home.pod_logs()] {
            make_private(&directory).map_err(Error::file("make", directory))?;
        }
        Ok(home)
    }

    /// Finds the state directory of the cluster `name` if there is one; makes nothing.
    pub fn find(name: &str, root: Option<&Path>) -> Result<Option<Self>, Error> {
        options::check_name(name)?;
        let directory = existing_root(root)?.map(|root| root.join(name));
        let directory = directory.filter(|directory| directory.is_dir());
        Ok(directory.map(|directory| Self { directory }))
    }

    /// The state directories of all clusters of this user, with their names.
    pub(crate) fn all(root: Option<&Path>) -> Result<Vec<(String, Self)>, Error> {
        let Some(root) = existing_root(root)? else {
            return Ok(Vec::new());
        };
        let entries = fs::read_dir(&root).map_err(Error::file("list", &root))?;
        let mut homes = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::file("list", &root))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // What has another name was put there by somebody else.
            if options::check_name(&name).is_ok() && entry.path().is_dir() {
                let directory = entry.path();
                homes.push((name, Self { directory }));
            }
        }
        homes.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(homes)
    }

    /// Removes everything that is kept of the cluster, whose lock the caller holds.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        fs::remove_dir_all(&self.directory).map_err(Error::file("remove", &self.directory))?;
        // The directory of all clusters goes with the last one.
        if let Some(root) = self.directory.parent() {
            let _ = fs::remove_dir(root);
        }
        Ok(())
    }

    /// The directory itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The log of publisher and supervisor.
    pub fn log(&self) -> PathBuf {
        self.directory.join("cluster.log")
    }

    /// The API server's objects.
    pub fn data(&self) -> PathBuf {
        self.directory.join("objects")
    }

    /// A kubeconfig with nothing but this cluster.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig")
    }

    /// The mapping of images that the cluster was started with.
    pub(crate) fn images(&self) -> PathBuf {
        self.directory.join("images.json")
    }

    /// The logs of containers.
    pub fn pod_logs(&self) -> PathBuf {
        self.directory.join("pods")
    }

    /// Where the supervisor mounts a tmpfs that nobody outside sees.
    pub fn runtime(&self) -> PathBuf {
        self.directory.join("run")
    }

    /// The context that was selected before this cluster's.
    pub(crate) fn previous_context(&self) -> PathBuf {
        self.directory.join("previous-context")
    }

    fn record_path(&self) -> PathBuf {
        self.directory.join("cluster.json")
    }

    /// Takes the lock, or finds that the cluster runs.
    pub(crate) fn lock(&self) -> Result<Option<Lock>, Error> {
        let path = self.directory.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::file("open", &path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(Error::file("lock", path)(error)),
        }
    }

    /// What the running cluster says of itself; `None` while it has not yet said anything.
    pub(crate) fn record(&self) -> Result<Option<Record>, Error> {
        let path = self.record_path();
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(Error::file("read", path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("read", path)(error)),
        }
    }

    /// Writes the record.
    pub(crate) fn write_record(&self, record: &Record) -> Result<(), Error> {
        let path = self.record_path();
        let text = serde_json::to_vec_pretty(record).map_err(Error::file("write", &path))?;
        kubeconfig::replace(&path, &text).map_err(Error::file("write", path))
    }

    /// Forgets the record of a cluster that has ended.
    pub(crate) fn remove_record(&self) -> Result<(), Error> {
        let path = self.record_path();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::file("remove", path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Opens a new log; the last one is kept beside it.
    pub(crate) fn open_log(&self) -> Result<File, Error> {
        let path = self.log();
        let kept = path.with_extension("log.1");
        if let Err(error) = fs::rename(&path, &kept)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(Error::file("rename", path)(error));
        }
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::file("open", path))
    }

    /// The last lines of the log, for an error message.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let start = lines.len().saturating_sub(3);
        lines[start..].join("\n")
    }
}

// === impl Record ===

impl Record {
    /// What this cluster publishes, as it was really opened.
    pub(crate) fn ports_of(published: &[Published]) -> Vec<(String, SocketAddr)> {
        published
            .iter()
            .map(|published| (published.purpose.clone(), published.address))
            .collect()
    }
}

// === impl Process ===

impl Process {
    /// Describes a process that runs.
    pub(crate) fn of(pid: Pid) -> io::Result<Self> {
        let pid = pid.as_raw_nonzero().get();
        Ok(Self {
            pid,
            start_time: start_time(pid)?,
        })
    }

    /// Opens it, if it still is the same one.
    pub(crate) fn open(self) -> Option<std::os::fd::OwnedFd> {
        let pid = Pid::from_raw(self.pid)?;
        let descriptor =
            rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()?;
        // Read after opening: the descriptor's process cannot be replaced any more.
        (start_time(self.pid).ok()? == self.start_time).then_some(descriptor)
    }
}

/// The 22nd field of `/proc/<pid>/stat`; the second may hold spaces and ends with the last `)`.
fn start_time(pid: i32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    text.rsplit_once(')')
        .and_then(|(_, fields)| fields.split_ascii_whitespace().nth(19))
        .and_then(|field| field.parse().ok())
        .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat cannot be read")))
}

/// Where the directory of all clusters of this user may be, the best place first.
fn places() -> Vec<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    if let Some(state) = absolute("XDG_STATE_HOME") {
        return vec![state.join("lateen")];
    }
    let user = rustix::process::geteuid().as_raw();
    // An account without a home often has one by name that does not exist, or is not its own.
    let home = absolute("HOME").filter(|home| home.is_dir());
    let mut places: Vec<PathBuf> = home
        .map(|home| home.join(".local/state/lateen"))
        .into_iter()
        .collect();
    places.push(Path::new("/tmp").join(format!("lateen-{user}")));
    places
}

/// Makes the directory of all clusters of this user, unless it is there.
fn find_root() -> Result<PathBuf, Error> {
    let places = places();
    let (last, better) = places.split_last().expect("there is always a place");
    let found = better.iter().find_map(|place| own_directory(place).ok());
    found.map_or_else(|| own_directory(last), Ok)
}

/// The directory of all clusters if it is there and nobody else's.
fn existing_root(given: Option<&Path>) -> Result<Option<PathBuf>, Error> {
    let places = match given {
        Some(root) => vec![root.to_owned()],
        None => places(),
    };
    let mut unsafe_place = None;
    for place in places {
        // One that cannot even be looked at is not where a cluster of this user is.
        if fs::symlink_metadata(&place).is_ok() {
            match check_own(&place) {
                Ok(root) => return Ok(Some(root)),
                Err(error) => unsafe_place = Some(error),
            }
        }
    }
    unsafe_place.map_or(Ok(None), Err)
}

/// Makes a directory that only this user can use, or checks that it is one.
fn own_directory(path: &Path) -> Result<PathBuf, Error> {
    make_private(path).map_err(Error::file("make", path))?;
    check_own(path)
}

fn check_own(path: &Path) -> Result<PathBuf, Error> {
    // Not through a symbolic link: in /tmp anybody can put one where we look.
    let metadata = fs::symlink_metadata(path).map_err(Error::file("look at", path))?;
    let why = if !metadata.is_dir() {
        "it is no directory".to_owned()
    } else if metadata.uid() != rustix::process::geteuid().as_raw() {
        format!("it belongs to user {}", metadata.uid())
    } else if metadata.mode() & 0o022 != 0 {
        format!(
            "others may write to it (mode {:o})",
            metadata.mode() & 0o777
        )
    } else {
        return Ok(path.into());
    };
    Err(Error::Unsafe {
        path: path.into(),
        why,
    })
}

fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("lateen-state-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn a_second_lock_is_refused_until_the_first_is_gone() {
        let root = scratch("lock");
        let home = Home::open("lateen", Some(&root)).unwrap();
        let lock = home.lock().unwrap().expect("nobody has it");
        assert!(home.lock().unwrap().is_none());
        drop(lock);
        assert!(home.lock().unwrap().is_some());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn looking_for_a_cluster_makes_nothing_and_removing_it_leaves_nothing() {
        let root = scratch("find");
        assert_eq!(Home::find("lateen", Some(&root)).unwrap(), None);
        assert!(Home::all(Some(&root)).unwrap().is_empty());
        assert!(!root.exists());
        let home = Home::open("two", Some(&root)).unwrap();
        let _lock = home.lock().unwrap();
        assert_eq!(
            Home::find("two", Some(&root)).unwrap().as_ref(),
            Some(&home)
        );
        assert_eq!(Home::find("one", Some(&root)).unwrap(), None);
        assert_eq!(
            Home::all(Some(&root)).unwrap(),
            [("two".to_owned(), home.clone())]
        );
        home.remove().unwrap();
        assert!(!root.exists());
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        let root = scratch("open");
        fs::create_dir_all(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
        let error = Home::open("lateen", Some(&root)).unwrap_err();
        assert!(error.to_string().contains("others may write"), "{error}");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_symbolic_link_is_not_followed() {
        let (root, target) = (scratch("link"), scratch("target"));
        fs::create_dir_all(&target).unwrap();
        std::os::unix::fs::symlink(&target, &root).unwrap();
        let error = Home::open("lateen", Some(&root)).unwrap_err();
        assert!(error.to_string().contains("no directory"), "{error}");
        fs::remove_file(root).unwrap();
        fs::remove_dir_all(target).unwrap();
    }

    #[test]
    fn a_process_is_known_by_more_than_its_number() {
        let me = Process::of(rustix::process::getpid()).unwrap();
        assert!(me.open().is_some());
        let another = Process {
            start_time: me.start_time + 1,
            ..me
        };
        assert!(another.open().is_none());
    }
}
