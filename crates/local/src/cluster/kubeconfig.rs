//! The user's kubeconfig: this cluster's context goes in and comes out, everything else stays.
//!
//! The file is the user's. It is edited as text, so that comments and layout survive, and the
//! result is read back and compared with what was meant before it replaces the file; a layout
//! that the editor does not know (flow style, aliases) is written anew instead.

mod text;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::Error;

/// How a client reaches the API server and who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Such as `https://127.0.0.1:6443`.
    pub server: String,
    /// The certificate authority of the server, PEM.
    pub authority: String,
    /// The client's certificate, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
}

/// The three lists of a kubeconfig.
const LISTS: [&str; 3] = ["clusters", "users", "contexts"];
const CURRENT: &str = "current-context";

/// The file to write to: as given, else the first of `$KUBECONFIG`, else `~/.kube/config`.
pub(crate) fn path(given: Option<&Path>) -> Option<PathBuf> {
    if let Some(given) = given {
        return Some(given.into());
    }
    if let Some(list) = std::env::var_os("KUBECONFIG")
        && let Some(first) = std::env::split_paths(&list).find(|path| !path.as_os_str().is_empty())
    {
        // kubectl, too, takes the current context from the first file that has one.
        return Some(first);
    }
    let home = PathBuf::from(std::env::var_os("HOME")?);
    (home.is_absolute() && home.is_dir()).then(|| home.join(".kube/config"))
}

/// Adds a context and selects it; returns the one that was selected before.
pub(crate) fn add(path: &Path, name: &str, access: &Access) -> Result<Option<String>, Error> {
    let before = read(path)?;
    let (after, previous) = added(&before, name, access).map_err(wrong(path))?;
    write(path, &after)?;
    Ok(previous)
}

/// Removes a context; if it is still the selected one, selects `previous`.
pub(crate) fn remove(path: &Path, name: &str, previous: Option<&str>) -> Result<(), Error> {
    let before = read(path)?;
    let after = removed(&before, name, previous).map_err(wrong(path))?;
    if after == before {
        return Ok(());
    }
    write(path, &after)
}

/// Replaces a file in one step, readable by its owner only.
pub(crate) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    // A link stays a link: what it points to is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&new, &path)
    };
    let result = write();
    if result.is_err() {
        let _ = fs::remove_file(&new);
    }
    result
}

// === impl Access ===

impl Access {
    /// A kubeconfig with nothing else in it.
    pub(crate) fn document(&self, name: &str) -> String {
        let (document, _) =
            added("", name, self).expect("an empty kubeconfig can always be added to");
        document
    }

    /// Reads the access back from a kubeconfig that [`Access::document`] wrote.
    pub(crate) fn load(path: &Path) -> Result<Self, Error> {
        let text = read(path)?;
        let document = parse(&text).map_err(wrong(path))?;
        let field = |list: &str, kind: &str, key: &str| {
            document[list][0][kind][key]
                .as_str()
                .map(ToOwned::to_owned)
                .ok_or_else(|| wrong(path)(format!("it has no {list}[0].{kind}.{key}")))
        };
        let pem = |list: &str, kind: &str, key: &str| {
            let encoded = field(list, kind, key)?;
            let bytes = STANDARD
                .decode(encoded)
                .map_err(|error| wrong(path)(error.to_string()))?;
            String::from_utf8(bytes).map_err(|error| wrong(path)(error.to_string()))
        };
        Ok(Self {
            server: field("clusters", "cluster", "server")?,
            authority: pem("clusters", "cluster", "certificate-authority-data")?,
            certificate: pem("users", "user", "client-certificate-data")?,
            key: pem("users", "user", "client-key-data")?,
        })
    }

    fn entry(&self, list: &str, name: &str) -> Value {
        match list {
            "clusters" => json!({ "name": name, "cluster": {
                "server": self.server,
                "certificate-authority-data": STANDARD.encode(&self.authority),
            } }),
            "users" => json!({ "name": name, "user": {
                "client-certificate-data": STANDARD.encode(&self.certificate),
                "client-key-data": STANDARD.encode(&self.key),
            } }),
            _ => json!({ "name": name, "context": { "cluster": name, "user": name } }),
        }
    }
}

fn added(before: &str, name: &str, access: &Access) -> Result<(String, Option<String>), String> {
    let mut document = parse(before)?;
    let previous = current(&document);
    for (key, value) in [("apiVersion", "v1"), ("kind", "Config")] {
        document.entry(key).or_insert_with(|| value.into());
    }
    let mut edit = text::Edit::new(before);
    for key in ["apiVersion", "kind"] {
        edit.set_if_missing(key, &document[key]);
    }
    for list in LISTS {
        let entry = access.entry(list, name);
        let entries = entries(&mut document, list)?;
        entries.retain(|known| known["name"] != name);
        entries.push(entry.clone());
        edit.remove(list, name);
        edit.push(list, &entry);
    }
    document.insert(CURRENT.into(), name.into());
    edit.set(CURRENT, &name.into());
    Ok((finish(edit, &document)?, previous))
}

fn removed(before: &str, name: &str, previous: Option<&str>) -> Result<String, String> {
    let mut document = parse(before)?;
    let mut edit = text::Edit::new(before);
    let unchanged = document.clone();
    for list in LISTS {
        if document.get(list).is_some_and(|entries| !entries.is_null()) {
            let entries = entries(&mut document, list)?;
            entries.retain(|known| known["name"] != name);
            // An empty list and none are the same, to this program as to kubectl.
            if entries.is_empty() {
                document.remove(list);
            }
            edit.remove(list, name);
        }
    }
    if current(&document).as_deref() == Some(name) {
        let known = document.get("contexts").and_then(Value::as_array);
        let known = known.cloned().unwrap_or_default();
        let previous = previous.filter(|wanted| known.iter().any(|known| known["name"] == *wanted));
        let previous = Value::from(previous.unwrap_or_default());
        document.insert(CURRENT.into(), previous.clone());
        edit.set(CURRENT, &previous);
    }
    if document == unchanged {
        return Ok(before.into());
    }
    finish(edit, &document)
}

/// The edited text if it means `wanted`, else `wanted` in our own layout.
fn finish(edit: text::Edit, wanted: &Map<String, Value>) -> Result<String, String> {
    let edited = edit.into_text();
    if parse(&edited).as_ref() == Ok(wanted) {
        return Ok(edited);
    }
    let written = serde_saphyr::to_string(wanted).map_err(|error| error.to_string())?;
    match parse(&written) {
        Ok(meant) if meant == *wanted => Ok(written),
        _ => Err("it holds something that cannot be written back as it was read".into()),
    }
}

fn parse(text: &str) -> Result<Map<String, Value>, String> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    let value: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    match value {
        // An absent list is often written as `clusters: null`.
        Value::Object(mut document) => {
            document.retain(|key, value| !(value.is_null() && LISTS.contains(&key.as_str())));
            for list in LISTS {
                if document.get(list).is_some_and(|value| value == &json!([])) {
                    document.remove(list);
                }
            }
            Ok(document)
        }
        Value::Null => Ok(Map::new()),
        _ => Err("it is no kubeconfig: its top level is not a mapping".into()),
    }
}

fn entries<'a>(
    document: &'a mut Map<String, Value>,
    list: &str,
) -> Result<&'a mut Vec<Value>, String> {
    document
        .entry(list)
        .or_insert_with(|| json!([]))
        .as_array_mut()
        .ok_or_else(|| format!("its {list} is not a list"))
}

fn current(document: &Map<String, Value>) -> Option<String> {
    let name = document.get(CURRENT)?.as_str()?;
    (!name.is_empty()).then(|| name.to_owned())
}

fn read(path: &Path) -> Result<String, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(wrong(path)(error.to_string())),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(|error| wrong(path)(error.to_string()))?;
    }
    replace(path, text.as_bytes()).map_err(|error| wrong(path)(error.to_string()))
}

fn wrong(path: &Path) -> impl FnOnce(String) -> Error {
    move |why| Error::Kubeconfig {
        path: path.into(),
        why,
    }
}

#[cfg(test)]
mod tests;
