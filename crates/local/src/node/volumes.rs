//! Volumes of pods: directories below the supervisor's own tmpfs, which nobody outside sees.
//!
//! ```text
//! <run>/pods/<uid>/volumes/<name>/          an emptyDir, or what `payload` made, written by `writer`
//! <run>/pods/<uid>/messages/<container>     a container's termination message
//! <run>/host/…                              the node's own tree, which hostPath means
//! ```
//!
//! A `hostPath` is a path of the node, and the node's tree is not the machine's: it begins empty,
//! is shared by the pods of the cluster, and goes with it. What every container sees of the
//! machine anyway (`/usr` and the like) it sees there, too.

mod payload;
mod token;
mod writer;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use k8s_openapi::api::core::v1::{Container, HostPathVolumeSource, Volume, VolumeMount};
use kube::Client;

use super::container::root;
use super::container::spec::Mount;
use super::environment::{Variables, expand};
use super::fields::Facts;
use super::objects::Objects;
use payload::Payload;
use token::Tokens;

/// Where a container writes why it ended, unless it says otherwise.
const MESSAGE_PATH: &str = "/dev/termination-log";

/// The volumes of one pod; the directories go when it is dropped.
#[derive(Debug)]
pub(crate) struct Volumes {
    directory: PathBuf,
    host: PathBuf,
    tokens: Tokens,
}

// === impl Volumes ===

impl Volumes {
    /// The volumes of the pod `uid`, none of which exists yet.
    pub(crate) fn new(runtime: &Path, uid: &str, client: Client) -> Self {
        Self {
            directory: runtime.join("pods").join(uid),
            host: runtime.join("host"),
            tokens: Tokens::new(client),
        }
    }

    /// Makes what is missing and brings what has changed up to date; returns when it is to be
    /// done again, for tokens that expire.
    ///
    /// # Errors
    /// For the user: which volume cannot be made, and why. It may come later.
    pub(crate) async fn sync(
        &self,
        facts: &Facts<'_>,
        objects: &Objects,
    ) -> Result<Option<Instant>, String> {
        let spec = facts.pod.spec.as_ref();
        let volumes = spec
            .and_then(|spec| spec.volumes.as_deref())
            .unwrap_or_default();
        make(&self.directory.join("volumes"), 0o755)
            .and_then(|()| make(&self.directory.join("messages"), 0o755))
            .map_err(|error| error.to_string())?;
        let mut next: Option<Instant> = None;
        for volume in volumes {
            let again = self.sync_one(volume, facts, objects).await.map_err(|why| {
                format!(
                    "MountVolume.SetUp failed for volume {:?}: {why}",
                    volume.name
                )
            })?;
            next = match (next, again) {
                (Some(next), Some(again)) => Some(next.min(again)),
                (next, again) => next.or(again),
            };
        }
        Ok(next)
    }

    async fn sync_one(
        &self,
        volume: &Volume,
        facts: &Facts<'_>,
        objects: &Objects,
    ) -> Result<Option<Instant>, String> {
        if volume.empty_dir.is_some() {
            let path = self.path_of(volume)?;
            if !path.exists() {
                make(&path, 0o777).map_err(|error| error.to_string())?;
            }
            return Ok(None);
        }
        if let Some(source) = &volume.host_path {
            self.make_host_path(source)?;
            return Ok(None);
        }
        let (payload, next) = Payload::of(volume, facts, objects, &self.tokens).await?;
        let path = self.path_of(volume)?;
        writer::write(&path, &payload).map_err(|error| error.to_string())?;
        Ok(next)
    }

    /// Where a volume is on the node.
    fn path_of(&self, volume: &Volume) -> Result<PathBuf, String> {
        match &volume.host_path {
            Some(source) => Ok(self.host_path(&source.path)),
            // The name is a DNS label, which the API checks; it becomes a path here.
            None if volume.name.contains('/') || volume.name.starts_with('.') => {
                Err(format!("{:?} is no name for a volume", volume.name))
            }
            None => Ok(self.directory.join("volumes").join(&volume.name)),
        }
    }

    fn host_path(&self, path: &str) -> PathBuf {
        let real = Path::new(path);
        if root::SYSTEM.iter().any(|system| real.starts_with(system)) {
            return real.into();
        }
        let inside = real.components().filter_map(|component| match component {
            std::path::Component::Normal(name) => Some(name),
            _ => None,
        });
        inside.fold(self.host.clone(), |path, name| path.join(name))
    }

    fn make_host_path(&self, source: &HostPathVolumeSource) -> Result<(), String> {
        let path = self.host_path(&source.path);
        let wrong = |what: &str| {
            Err(format!(
                "hostPath type check failed: {} is not {what} (it is looked for on the node, whose \
                 file tree is the cluster's own)",
                source.path
            ))
        };
        let done = match source.type_.as_deref().unwrap_or_default() {
            "" | "DirectoryOrCreate" if !path.exists() => make(&path, 0o755),
            "FileOrCreate" if !path.exists() => path
                .parent()
                .map_or(Ok(()), |parent| make(parent, 0o755))
                .and_then(|()| fs::write(&path, "")),
            "Directory" | "DirectoryOrCreate" if !path.is_dir() => return wrong("a directory"),
            "File" | "FileOrCreate" if !path.is_file() => return wrong("a file"),
            "Socket" | "CharDevice" | "BlockDevice" => return wrong("one of this kind"),
            _ => Ok(()),
        };
        done.map_err(|error| error.to_string())
    }

    /// What is mounted into a container, outer places before those inside of them.
    ///
    /// # Errors
    /// For the user: which mount refers to no volume.
    pub(crate) fn mounts(
        &self,
        volumes: &[Volume],
        container: &Container,
        variables: &Variables,
    ) -> Result<Vec<Mount>, String> {
        let mut mounts = Vec::new();
        for mount in container.volume_mounts.iter().flatten() {
            let volume = volumes
                .iter()
                .find(|volume| volume.name == mount.name)
                .ok_or_else(|| format!("volumeMount {:?} refers to no volume", mount.name))?;
            mounts.push(Mount {
                volume: self.path_of(volume)?,
                part: part(mount, variables)?,
                target: PathBuf::from(&mount.mount_path),
                is_read_only: mount.read_only == Some(true) || is_always_read_only(volume),
            });
        }
        let message = self.message(&container.name);
        fs::write(&message, "").map_err(|error| error.to_string())?;
        fs::set_permissions(&message, fs::Permissions::from_mode(0o666))
            .map_err(|error| error.to_string())?;
        mounts.push(Mount {
            volume: self.directory.join("messages"),
            part: PathBuf::from(&container.name),
            target: container
                .termination_message_path
                .as_deref()
                .unwrap_or(MESSAGE_PATH)
                .into(),
            is_read_only: false,
        });
        mounts.sort_by_key(|mount| mount.target.components().count());
        Ok(mounts)
    }

    /// The file that holds a container's termination message.
    pub(crate) fn message(&self, container: &str) -> PathBuf {
        self.directory.join("messages").join(container)
    }
}

impl Drop for Volumes {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.directory.display(), %error, "volumes stay behind");
        }
    }
}

/// The part of a volume that is mounted.
fn part(mount: &VolumeMount, variables: &Variables) -> Result<PathBuf, String> {
    let path = match (&mount.sub_path, &mount.sub_path_expr) {
        (Some(path), _) if !path.is_empty() => path.clone(),
        (_, Some(expression)) => expand(expression, variables),
        _ => return Ok(PathBuf::new()),
    };
    let path = PathBuf::from(path);
    let is_inside = path
        .components()
        .all(|component| matches!(component, std::path::Component::Normal(_)));
    if !is_inside {
        return Err(format!(
            "subPath {} leads out of its volume",
            path.display()
        ));
    }
    Ok(path)
}

/// Volumes that hold copies: what a container wrote there would be lost unseen.
fn is_always_read_only(volume: &Volume) -> bool {
    let is_system = volume.host_path.as_ref().is_some_and(|source| {
        root::SYSTEM
            .iter()
            .any(|system| Path::new(&source.path).starts_with(system))
    });
    is_system
        || volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.projected.is_some()
        || volume.downward_api.is_some()
}

/// Makes a directory with exactly this mode, whatever the umask.
fn make(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
