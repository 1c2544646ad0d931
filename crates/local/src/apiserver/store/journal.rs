//! The file that keeps the objects: one line of JSON per change, the last one of a key counts.
//!
//! A line is written before its change is answered, so a killed server loses nothing; a thread
//! flushes to the disk, so a power cut loses at most the last moments. A torn last line (the
//! machine died while writing) is dropped. The file is rewritten when most of it is out of date.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Error, ErrorKind, Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Key;

/// A file below this size is never worth a rewrite.
const SMALL: u64 = 4 * 1024 * 1024;

/// An open journal.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    /// The length after the last rewrite.
    compact_length: u64,
    flusher: Flusher,
}

/// Flushes the file to the disk in a thread of its own.
struct Flusher {
    sender: Option<SyncSender<File>>,
    thread: Option<JoinHandle<()>>,
}

/// What a journal holds.
#[derive(Default)]
pub(super) struct Loaded {
    pub(super) revision: u64,
    pub(super) objects: BTreeMap<(String, Key), Value>,
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    revision: u64,
    #[serde(borrow)]
    table: std::borrow::Cow<'a, str>,
    namespace: std::borrow::Cow<'a, str>,
    name: std::borrow::Cow<'a, str>,
    object: Option<std::borrow::Cow<'a, Value>>,
}

// === impl Journal ===

impl Journal {
    /// Opens the file, makes it if needed, and reads it.
    pub(super) fn open(path: &Path) -> Result<(Self, Loaded)> {
        let file = private(OpenOptions::new().read(true).append(true)).open(path)?;
        lock(&file)?;
        let (loaded, whole) = read(&file)?;
        file.set_len(whole)?;
        let mut journal = Self {
            path: path.to_owned(),
            file,
            length: whole,
            compact_length: 0,
            flusher: Flusher::start()?,
        };
        let objects = loaded.objects.iter();
        journal.compact(
            loaded.revision,
            objects.map(|((table, key), object)| (table.as_str(), key, object)),
        )?;
        Ok((journal, loaded))
    }

    /// Writes one change; `object` is nothing for a deletion.
    pub(super) fn append(
        &mut self,
        table: &str,
        key: &Key,
        revision: u64,
        object: Option<&Value>,
    ) -> Result<()> {
        let line = encode(table, key, revision, object)?;
        if let Err(error) = self.file.write_all(&line) {
            // Half a line must not stay in front of the next one.
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += line.len() as u64;
        self.flusher.flush(&self.file);
        Ok(())
    }

    /// Whether most of the file is out of date.
    pub(super) fn is_wasteful(&self) -> bool {
        self.length > SMALL && self.length > 4 * self.compact_length
    }

    /// Rewrites the file with the current objects only.
    pub(super) fn compact<'a>(
        &mut self,
        revision: u64,
        objects: impl Iterator<Item = (&'a str, &'a Key, &'a Value)>,
    ) -> Result<()> {
        let temporary = with_suffix(&self.path, ".new");
        let file = private(OpenOptions::new().append(true)).open(&temporary)?;
        file.set_len(0)?;
        lock(&file)?;
        let mut writer = BufWriter::new(file);
        let none = Key::new("", "");
        // The revision must not fall back when the newest change was a deletion.
        let mut length = 0;
        let mut put = |line: Vec<u8>| {
            length += line.len() as u64;
            writer.write_all(&line)
        };
        put(encode("", &none, revision, None)?)?;
        for (table, key, object) in objects {
            let revision = super::super::object::revision(object);
            put(encode(table, key, revision, Some(object))?)?;
        }
        let file = writer
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)?;
        file.sync_data()?;
        std::fs::rename(&temporary, &self.path)?;
        self.file = file;
        self.length = length;
        self.compact_length = length;
        Ok(())
    }
}

fn encode(table: &str, key: &Key, revision: u64, object: Option<&Value>) -> Result<Vec<u8>> {
    let line = Line {
        revision,
        table: table.into(),
        namespace: key.namespace.as_str().into(),
        name: key.name.as_str().into(),
        object: object.map(std::borrow::Cow::Borrowed),
    };
    let mut bytes = serde_json::to_vec(&line)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads every whole line; returns the length of the file up to the end of the last one.
fn read(file: &File) -> Result<(Loaded, u64)> {
    let mut loaded = Loaded::default();
    let mut reader = BufReader::new(file);
    let (mut bytes, mut whole, mut number) = (Vec::new(), 0, 0);
    loop {
        bytes.clear();
        let length = reader.read_until(b'\n', &mut bytes)?;
        number += 1;
        if bytes.last() != Some(&b'\n') {
            return Ok((loaded, whole));
        }
        let line: Line<'_> = serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(
                ErrorKind::InvalidData,
                format!("line {number} is damaged: {error}"),
            )
        })?;
        whole += length as u64;
        loaded.revision = loaded.revision.max(line.revision);
        let key = (
            line.table.into_owned(),
            Key::new(&line.namespace, &line.name),
        );
        match line.object {
            Some(object) => loaded.objects.insert(key, object.into_owned()),
            None => loaded.objects.remove(&key),
        };
    }
}

/// Another server must not use the same file. The lock lives as long as the open file.
fn lock(file: &File) -> Result<()> {
    file.try_lock()
        .map_err(|error| Error::new(ErrorKind::ResourceBusy, format!("is in use: {error}")))
}

/// The file holds Secrets and keys: its owner alone may read it.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.create(true).mode(0o600)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

// === impl Flusher ===

impl Flusher {
    fn start() -> Result<Self> {
        let (sender, receiver) = sync_channel::<File>(1);
        let thread = std::thread::Builder::new()
            .name("apiserver-flush".into())
            .spawn(move || {
                for file in receiver {
                    if let Err(error) = file.sync_data() {
                        tracing::warn!(%error, "the API server's data file cannot be flushed");
                    }
                }
            })?;
        Ok(Self {
            sender: Some(sender),
            thread: Some(thread),
        })
    }

    fn flush(&self, file: &File) {
        // A full queue means that a flush is already on its way.
        if let (Some(sender), Ok(file)) = (&self.sender, file.try_clone()) {
            let _ = sender.try_send(file);
        }
    }
}

impl Drop for Flusher {
    /// Waits for the last flush: until then the file, and the lock on it, stay open.
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing more to flush.
            let _ = thread.join();
        }
    }
}
