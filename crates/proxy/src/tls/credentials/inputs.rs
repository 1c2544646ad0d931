//! Secrets and files: what has come of them, and when it changed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use lateen_model::gateway::{Certificate, ClientCa, ServerTls};
use lateen_model::secret::{self, AUTHORITIES_ENDING, Secret};

use super::Interest;

/// The most that is read of a file: a bundle of all the world's authorities is a quarter of it.
const MOST_BYTES: u64 = 1 << 20;

/// Secrets and files by name.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    secrets: BTreeMap<String, Known>,
    files: BTreeMap<String, File>,
    /// Counts changes; never zero for one.
    revision: u64,
}

/// What is known of a Secret that was asked for.
#[derive(Debug)]
struct Known {
    revision: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing has come yet.
    Asked,
    /// There is none, or not for this proxy.
    Absent,
    Here(Secret),
}

/// A file as it was read last.
#[derive(Debug)]
struct File {
    revision: u64,
    stamp: Option<Stamp>,
    content: Result<Vec<u8>, String>,
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    seconds: i64,
    nanoseconds: i64,
}

/// What a server shows.
pub(super) struct Shown<'a> {
    pub(super) what: String,
    pub(super) chain: &'a [u8],
    pub(super) key: &'a [u8],
    pub(super) ocsp: &'a [u8],
}

/// Who signs clients.
pub(super) struct Authorities<'a> {
    pub(super) what: String,
    pub(super) signers: &'a [u8],
    pub(super) revoked: Cow<'a, [u8]>,
}

// === impl Inputs ===

impl Inputs {
    pub(super) fn put(&mut self, secret: Secret) {
        let name = secret.key();
        let known = self.secrets.get(&name);
        if known.is_some_and(|known| matches!(&known.state, State::Here(last) if *last == secret)) {
            return;
        }
        self.set(name, State::Here(secret));
    }

    pub(super) fn absent(&mut self, name: &str) {
        let known = self.secrets.get(name);
        if known.is_some_and(|known| matches!(known.state, State::Absent)) {
            return;
        }
        self.set(name.to_owned(), State::Absent);
    }

    fn set(&mut self, name: String, state: State) {
        self.revision += 1;
        let revision = self.revision;
        self.secrets.insert(name, Known { revision, state });
    }

    /// Holds what servers name, and nothing else.
    pub(super) fn want<'t>(
        &mut self,
        namespace: &str,
        servers: impl Iterator<Item = &'t ServerTls>,
    ) -> Interest {
        let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
        for tls in servers {
            names.extend(secrets(namespace, tls));
            paths.extend(files(tls).map(str::to_owned));
        }
        let mut interest = Interest::default();
        self.secrets.retain(|name, _| {
            let stays = names.contains(name);
            if !stays {
                interest.forget.push(name.clone());
            }
            stays
        });
        for name in names {
            if !self.secrets.contains_key(&name) {
                interest.watch.push(name.clone());
                self.set(name, State::Asked);
            }
        }
        self.files.retain(|path, _| paths.contains(path));
        for path in paths {
            if !self.files.contains_key(&path) {
                self.revision += 1;
                let file = File::read(&path, self.revision);
                self.files.insert(path, file);
            }
        }
        interest
    }

    pub(super) fn refresh_files(&mut self) -> bool {
        let mut is_changed = false;
        for (path, file) in &mut self.files {
            if file.stamp.is_some() && file.stamp == stamp(path).ok() {
                continue;
            }
            let fresh = File::read(path, self.revision + 1);
            if fresh.content == file.content {
                file.stamp = fresh.stamp;
            } else {
                self.revision += 1;
                is_changed = true;
                *file = fresh;
            }
        }
        is_changed
    }

    /// The revisions of everything that a server names.
    pub(super) fn recipe(&self, namespace: &str, tls: &ServerTls) -> Vec<u64> {
        let names = secrets(namespace, tls);
        let of_secrets = names.map(|name| self.secrets.get(&name).map_or(0, |one| one.revision));
        let of_files = files(tls).map(|path| self.files.get(path).map_or(0, |one| one.revision));
        of_secrets.chain(of_files).collect()
    }

    /// What a server shows.
    pub(super) fn shown(
        &self,
        namespace: &str,
        certificate: &Certificate,
    ) -> Result<Shown<'_>, String> {
        match certificate {
            Certificate::Secret(name) => {
                let secret = self.secret(namespace, name)?;
                Ok(Shown {
                    what: format!("Secret {namespace}/{name}"),
                    chain: &secret.chain,
                    key: &secret.private_key,
                    ocsp: &secret.ocsp_staple,
                })
            }
            Certificate::Files { chain, private_key } => Ok(Shown {
                what: format!("files {chain} and {private_key}"),
                chain: self.file(chain)?,
                key: self.file(private_key)?,
                ocsp: &[],
            }),
        }
    }

    /// Who signs a server's clients.
    pub(super) fn authorities(
        &self,
        namespace: &str,
        tls: &ServerTls,
    ) -> Result<Authorities<'_>, String> {
        let mut found = match &tls.client_ca {
            None if tls.insecure_skip_verify => Authorities {
                what: "no authorities".into(),
                signers: &[],
                revoked: Cow::Borrowed(&[]),
            },
            None => return Err("it names no authorities by which clients are checked".into()),
            Some(ClientCa::File(path)) => Authorities {
                what: format!("file {path}"),
                signers: self.file(path)?,
                revoked: Cow::Borrowed(&[]),
            },
            Some(ClientCa::Secret(name)) => {
                let name = self.stands_for(namespace, name);
                let secret = self.secret(namespace, name)?;
                if secret.authorities.is_empty() {
                    return Err(format!(
                        "Secret {namespace}/{name} has no authorities (ca.crt) by which clients \
                         are checked; add them, or a Secret {name}{AUTHORITIES_ENDING}"
                    ));
                }
                Authorities {
                    what: format!("Secret {namespace}/{name}"),
                    signers: &secret.authorities,
                    revoked: Cow::Borrowed(&secret.revoked),
                }
            }
        };
        if !tls.ca_crl.is_empty() {
            let more = self.file(&tls.ca_crl)?;
            found.revoked = [&found.revoked, &b"\n"[..], more].concat().into();
        }
        Ok(found)
    }

    /// The Secret behind a name: one that ends in `-cacert` and that nobody has stands for the one
    /// without the ending.
    fn stands_for<'n>(&self, namespace: &str, name: &'n str) -> &'n str {
        let known = self.secrets.get(&secret::key(namespace, name));
        let is_absent = known.is_some_and(|known| matches!(known.state, State::Absent));
        let base = secret::base(name);
        base.filter(|_| is_absent).unwrap_or(name)
    }

    fn secret(&self, namespace: &str, name: &str) -> Result<&Secret, String> {
        let known = self.secrets.get(&secret::key(namespace, name));
        match known.map(|known| &known.state) {
            Some(State::Here(secret)) => Ok(secret),
            Some(State::Absent) => Err(format!(
                "there is no Secret {namespace}/{name}, or this proxy may not have it; it has to \
                 be in the namespace of the gateway's pods"
            )),
            Some(State::Asked) | None => Err(format!(
                "the Secret {namespace}/{name} has not come from the control plane yet"
            )),
        }
    }

    fn file(&self, path: &str) -> Result<&[u8], String> {
        match self.files.get(path).map(|file| &file.content) {
            Some(Ok(content)) => Ok(content),
            Some(Err(why)) => Err(why.clone()),
            None => Err(format!("the file {path} was not read")),
        }
    }
}

// === impl File ===

impl File {
    fn read(path: &str, revision: u64) -> Self {
        let content = read(path).map_err(|error| format!("cannot read the file {path}: {error}"));
        Self {
            revision,
            stamp: stamp(path).ok(),
            content,
        }
    }
}

fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    fs::File::open(path)?
        .take(MOST_BYTES + 1)
        .read_to_end(&mut content)?;
    if content.len() as u64 > MOST_BYTES {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    Ok(content)
}

fn stamp(path: &str) -> io::Result<Stamp> {
    let found = fs::metadata(path)?;
    Ok(Stamp {
        inode: found.ino(),
        length: found.len(),
        seconds: found.mtime(),
        nanoseconds: found.mtime_nsec(),
    })
}

/// The names of the Secrets that a server may need, as `namespace/name`.
pub(super) fn secrets(namespace: &str, tls: &ServerTls) -> impl Iterator<Item = String> {
    let shown = tls.certificates.iter().filter_map(|one| match one {
        Certificate::Secret(name) => Some(name.as_str()),
        Certificate::Files { .. } => None,
    });
    let signing = match &tls.client_ca {
        Some(ClientCa::Secret(name)) => Some(name.as_str()),
        Some(ClientCa::File(_)) | None => None,
    };
    let base = signing.and_then(secret::base);
    shown
        .chain(signing)
        .chain(base)
        .map(move |name| secret::key(namespace, name))
}

/// The files that a server needs.
fn files(tls: &ServerTls) -> impl Iterator<Item = &str> {
    let shown = tls.certificates.iter().flat_map(|one| match one {
        Certificate::Files { chain, private_key } => [chain.as_str(), private_key.as_str()],
        Certificate::Secret(_) => [""; 2],
    });
    let signing = match &tls.client_ca {
        Some(ClientCa::File(path)) => path.as_str(),
        Some(ClientCa::Secret(_)) | None => "",
    };
    let all = shown.chain([signing, tls.ca_crl.as_str()]);
    all.filter(|path| !path.is_empty())
}
