//! The last configuration as one file, so that a proxy can start while the control plane is away.
//!
//! A file is `LATEEN\x00\x01`, the 16-byte hash of the rest, and a protobuf message with each
//! resource's name, version and bytes. It is written beside its place and renamed into it, so that
//! a reader sees the old one or the new one, never a part. A file that is damaged, cut or of
//! another format is refused as a whole: half a configuration routes traffic wrongly. A single
//! resource that this program cannot read (written by a newer one) is left out, and so is its
//! version, which makes the control plane send it again.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bytes::Bytes;
use lateen_model::endpoint::Endpoints;
use lateen_model::{Resource, ResourceName};
use prost::Message;

use crate::client::Versions;
use crate::version::Version;
use crate::{Error, Kind, Malformed, proto};

/// The format, and its version in the last byte.
const MAGIC: &[u8; 8] = b"LATEEN\x00\x01";

/// What stands before the message: the format and the hash.
const HEAD: usize = MAGIC.len() + 16;

/// The largest file that is read: as much as the largest response.
const MAX_SIZE: u64 = 256 << 20;

/// The last configuration of a proxy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// All configuration.
    pub resources: Vec<Resource>,
    /// All endpoints.
    pub endpoints: Vec<Endpoints>,
    /// The version of each, for [`crate::client::Client::resume`].
    pub versions: Versions,
    /// What could not be read, and is left out.
    pub malformed: Vec<Malformed>,
}

#[derive(Clone, PartialEq, Message)]
struct FileMessage {
    #[prost(message, repeated, tag = "1")]
    config: Vec<Entry>,
    #[prost(message, repeated, tag = "2")]
    endpoints: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(bytes = "bytes", tag = "3")]
    bytes: Bytes,
}

/// Encodes what a proxy has. `versions` are those of [`crate::client::Client::versions`].
pub fn encode<'a>(
    resources: impl IntoIterator<Item = &'a Resource>,
    endpoints: impl IntoIterator<Item = &'a Endpoints>,
    versions: &Versions,
) -> Vec<u8> {
    let version = |kind: Kind, name: &str| {
        let versions = versions.0.get(&kind);
        versions
            .and_then(|v| v.get(name))
            .cloned()
            .unwrap_or_default()
    };
    let config = resources.into_iter().map(|resource| {
        let ResourceName(name) = &resource.name;
        Entry {
            version: version(Kind::Config, name),
            name: name.clone(),
            bytes: proto::encode_resource(resource),
        }
    });
    let endpoints = endpoints.into_iter().map(|endpoints| {
        let name = endpoints.service.to_string();
        Entry {
            version: version(Kind::Endpoints, &name),
            name,
            bytes: proto::encode_endpoints(endpoints),
        }
    });
    let message = FileMessage {
        config: config.collect(),
        endpoints: endpoints.collect(),
    }
    .encode_to_vec();
    let mut file = Vec::with_capacity(HEAD + message.len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&Version::of(&message).to_bytes());
    file.extend_from_slice(&message);
    file
}

/// Decodes a snapshot.
///
/// # Errors
/// When it is damaged or of another format.
pub fn decode(file: &[u8]) -> Result<Snapshot, Error> {
    decode_file(file).map_err(|why| Error::Snapshot {
        path: std::path::PathBuf::new(),
        why,
    })
}

fn decode_file(file: &[u8]) -> Result<Snapshot, String> {
    let message = file
        .strip_prefix(MAGIC)
        .ok_or("is not a snapshot of this format; it will be replaced")?;
    let (hash, message) = message
        .split_at_checked(16)
        .ok_or("is cut off; it will be replaced")?;
    if Version::of(message).to_bytes() != hash {
        return Err("is damaged: its hash differs; it will be replaced".into());
    }
    let message = FileMessage::decode(message).map_err(|error| error.to_string())?;
    let mut snapshot = Snapshot::default();
    let mut versions = Versions::default();
    let Snapshot {
        resources,
        endpoints,
        malformed,
        ..
    } = &mut snapshot;
    let kinds = [
        (Kind::Config, message.config),
        (Kind::Endpoints, message.endpoints),
    ];
    for (kind, entries) in kinds {
        for entry in entries {
            let decoded = match kind {
                Kind::Config => proto::decode_resource(&entry.name, &entry.bytes)
                    .map(|resource| resources.push(resource)),
                Kind::Endpoints => proto::decode_endpoints(&entry.name, &entry.bytes)
                    .map(|service| endpoints.push(service)),
                // Asked for on demand, hence never kept.
                Kind::Workload | Kind::Secret => continue,
            };
            match decoded {
                Err(error) => malformed.push(error),
                Ok(()) if entry.version.is_empty() => {}
                Ok(()) => {
                    let known = versions.0.entry(kind).or_default();
                    known.insert(entry.name, entry.version);
                }
            }
        }
    }
    snapshot.versions = versions;
    Ok(snapshot)
}

/// Writes an encoded snapshot to its place, whole or not at all. Blocks on the disk.
///
/// # Errors
/// When the directory cannot be written to.
pub fn save(path: &Path, file: &[u8]) -> Result<(), Error> {
    let beside = path.with_extension("new");
    write(&beside, file)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|error| Error::Snapshot {
            path: path.to_owned(),
            why: format!("cannot be written: {error}"),
        })
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // Routes and addresses are nobody else's business.
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    // Without it, a crash of the machine can leave an empty file under the final name.
    file.sync_data()
}

/// Reads the snapshot at a path; nothing if there is none. Blocks on the disk.
///
/// # Errors
/// When it cannot be read, or as for [`decode`].
pub fn load(path: &Path) -> Result<Option<Snapshot>, Error> {
    let fail = |why: String| Error::Snapshot {
        path: path.to_owned(),
        why,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(format!("cannot be opened: {error}"))),
    };
    let mut bytes = Vec::new();
    file.take(MAX_SIZE)
        .read_to_end(&mut bytes)
        .map_err(|error| fail(format!("cannot be read: {error}")))?;
    decode_file(&bytes).map(Some).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lateen_model::Host;
    use lateen_model::service::ServiceKey;
    use lateen_model::{Body, Source, mesh::Mesh};

    fn resource() -> Resource {
        Resource {
            name: ResourceName("Mesh/istio-system/istio".into()),
            source: Source::default(),
            body: Body::Mesh(Mesh::default()),
        }
    }

    fn endpoints() -> Endpoints {
        Endpoints {
            service: ServiceKey {
                namespace: "default".into(),
                host: Host::new("a.default.svc.cluster.local"),
            },
            endpoints: Vec::new(),
        }
    }

    fn encoded() -> Vec<u8> {
        let mut versions = Versions::default();
        let known = versions.0.entry(Kind::Config).or_default();
        known.insert("Mesh/istio-system/istio".into(), "7".into());
        encode([&resource()], [&endpoints()], &versions)
    }

    #[test]
    fn a_snapshot_is_read_as_it_was_written() {
        let snapshot = decode(&encoded()).expect("it was just written");
        assert_eq!(snapshot.resources, [resource()]);
        assert_eq!(snapshot.endpoints, [endpoints()]);
        assert_eq!(
            snapshot.versions.0[&Kind::Config]["Mesh/istio-system/istio"],
            "7"
        );
        assert!(!snapshot.versions.0.contains_key(&Kind::Endpoints));
    }

    #[test]
    fn damage_of_any_byte_and_any_cut_are_detected() {
        let file = encoded();
        for i in 0..file.len() {
            let mut damaged = file.clone();
            damaged[i] ^= 0x20;
            assert!(decode(&damaged).is_err(), "byte {i}");
            assert!(decode(&file[..i]).is_err(), "cut at {i}");
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_a_missing_one_is_no_error() {
        let directory =
            std::env::temp_dir().join(format!("lateen-snapshot-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let path = directory.join("last");
        assert_eq!(load(&path).expect("no error"), None);
        save(&path, b"junk").expect("writable");
        assert!(load(&path).is_err());
        save(&path, &encoded()).expect("writable");
        assert!(load(&path).expect("valid").is_some());
        let left: Vec<_> = fs::read_dir(&directory).expect("readable").collect();
        assert_eq!(left.len(), 1);
        fs::remove_dir_all(&directory).expect("removable");
    }
}
