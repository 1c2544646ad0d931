//! Keeps the last good configuration on disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lateen_xds::client::Versions;
use lateen_xds::snapshot::{self, Snapshot};

use super::inventory::Inventory;

/// The name of the file in its directory.
const FILE: &str = "lateen-snapshot";

/// Writes snapshots, at most one at a time and off the main thread.
#[derive(Debug)]
pub struct Persister {
    path: PathBuf,
    is_changed: bool,
    is_writing: Arc<AtomicBool>,
    has_failed: Arc<AtomicBool>,
}

// === impl Persister ===

impl Persister {
    /// A persister for a directory, which need not exist.
    pub fn new(directory: &Path) -> Self {
        Self {
            path: directory.join(FILE),
            is_changed: false,
            is_writing: Arc::default(),
            has_failed: Arc::default(),
        }
    }

    /// Reads what an earlier process saved. A file that cannot be used is as good as none.
    pub fn load(&self) -> Option<Snapshot> {
        match snapshot::load(&self.path) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "cannot use the saved configuration; waiting for the control plane");
                None
            }
        }
    }

    /// Notes that there is something to save.
    pub fn changed(&mut self) {
        self.is_changed = true;
    }

    /// Saves what changed, unless the last save still runs.
    pub fn save(&mut self, inventory: &Inventory, versions: &Versions) {
        // What could not be saved is tried again.
        let is_due = self.is_changed || self.has_failed.load(Ordering::Acquire);
        if !is_due || self.is_writing.swap(true, Ordering::AcqRel) {
            return;
        }
        self.is_changed = false;
        let file = inventory.encode(versions);
        let path = self.path.clone();
        let is_writing = Arc::clone(&self.is_writing);
        let has_failed = Arc::clone(&self.has_failed);
        tokio::task::spawn_blocking(move || {
            if let Some(directory) = path.parent() {
                // If it cannot be made, saving says so.
                let _ = std::fs::create_dir_all(directory);
            }
            let saved = snapshot::save(&path, &file);
            let failed_before = has_failed.swap(saved.is_err(), Ordering::AcqRel);
            if let (Err(error), false) = (saved, failed_before) {
                tracing::warn!(%error,
                    "cannot save the configuration; without the control plane a restart would find none");
            }
            is_writing.store(false, Ordering::Release);
        });
    }
}
