//! The objects, their revisions and the recent history of each type.
//!
//! Everything is in memory behind one lock that is held for a look-up or a single change, never
//! across I/O other than the journal's append. A watcher is a cursor into the history of a table,
//! so a slow one costs nothing but an `Expired` when the history has moved past it.

mod journal;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

use self::journal::Journal;
use super::object;

/// Where an object is in its table: namespace (empty for objects of the cluster) and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// One change of one object.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    /// The object after the change; for a deletion its last state with the revision of its end.
    pub(crate) object: Arc<Value>,
    /// The object before the change.
    pub(crate) before: Option<Arc<Value>>,
    pub(crate) is_deletion: bool,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the object exists")]
    Exists,
    #[error("the object is not there")]
    Missing,
    #[error("the object has changed meanwhile")]
    Changed,
    #[error("the data file cannot be written: {0}")]
    Journal(std::io::Error),
}

/// The history does not reach back to the revision that was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expired {
    pub(crate) asked: u64,
    pub(crate) oldest: u64,
}

/// The store.
pub(crate) struct Store {
    state: Mutex<State>,
    history: usize,
}

struct State {
    revision: u64,
    /// The revision at which this process began: a table that appears later has forgotten nothing.
    opened: u64,
    tables: HashMap<String, Table>,
    journal: Option<Journal>,
}

struct Table {
    objects: BTreeMap<Key, Arc<Value>>,
    history: VecDeque<Change>,
    /// The revision of the newest change that the history has forgotten.
    floor: u64,
    newest: watch::Sender<u64>,
}

// === impl Key ===

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    pub(crate) fn of(object: &Value) -> Self {
        Self::new(object::namespace(object), object::name(object))
    }
}

// === impl Store ===

impl Store {
    /// Opens a store, with what the file at `path` holds if there is one.
    pub(crate) fn open(path: Option<&Path>, history: usize) -> std::io::Result<Self> {
        let mut state = State {
            revision: 1,
            opened: 1,
            tables: HashMap::new(),
            journal: None,
        };
        if let Some(path) = path {
            let (journal, loaded) = Journal::open(path)?;
            state.revision = state.revision.max(loaded.revision);
            for ((table, key), object) in loaded.objects {
                let floor = state.revision;
                let table = state
                    .tables
                    .entry(table)
                    .or_insert_with(|| Table::new(floor));
                table.objects.insert(key, Arc::new(object));
            }
            state.opened = state.revision;
            state.journal = Some(journal);
        }
        Ok(Self {
            state: Mutex::new(state),
            history: history.max(1),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held can only come from a bug between two changes: every
        // change is made by one insertion, so what the lock guards is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The revision of the newest change of all.
    pub(crate) fn revision(&self) -> u64 {
        self.lock().revision
    }

    pub(crate) fn get(&self, table: &str, key: &Key) -> Option<Arc<Value>> {
        self.lock().tables.get(table)?.objects.get(key).cloned()
    }

    /// The objects of a table (of one namespace, unless it is empty) that come after a key, with
    /// the revision that they are the state of.
    pub(crate) fn list(
        &self,
        table: &str,
        namespace: &str,
        after: Option<&Key>,
    ) -> (Vec<Arc<Value>>, u64) {
        let state = self.lock();
        let first = Key::new(namespace, "");
        let start = match after {
            Some(key) if *key >= first => Bound::Excluded(key.clone()),
            _ => Bound::Included(first),
        };
        let objects = state.tables.get(table).map_or_else(Vec::new, |table| {
            table
                .objects
                .range((start, Bound::Unbounded))
                .take_while(|(key, _)| namespace.is_empty() || key.namespace == namespace)
                .map(|(_, object)| object.clone())
                .collect()
        });
        (objects, state.revision)
    }

    /// Adds an object.
    pub(crate) fn insert(&self, table: &str, object: Value) -> Result<Arc<Value>, Refusal> {
        let key = Key::of(&object);
        let mut state = self.lock();
        if state.current(table, &key).is_some() {
            return Err(Refusal::Exists);
        }
        state.change(table, key, object, false, self.history)
    }

    /// Replaces an object, if its revision still is `expected`.
    pub(crate) fn replace(
        &self,
        table: &str,
        expected: u64,
        object: Value,
    ) -> Result<Arc<Value>, Refusal> {
        let key = Key::of(&object);
        let mut state = self.lock();
        let current = state.current(table, &key).ok_or(Refusal::Missing)?;
        if object::revision(&current) != expected {
            return Err(Refusal::Changed);
        }
        state.change(table, key, object, false, self.history)
    }

    /// Removes an object, if its revision still is `expected`; returns its last state.
    pub(crate) fn remove(
        &self,
        table: &str,
        key: &Key,
        expected: u64,
    ) -> Result<Arc<Value>, Refusal> {
        let mut state = self.lock();
        let current = state.current(table, key).ok_or(Refusal::Missing)?;
        if object::revision(&current) != expected {
            return Err(Refusal::Changed);
        }
        let last = Value::clone(&current);
        state.change(table, key.clone(), last, true, self.history)
    }

    /// The changes of a table after a revision, and the revision up to which they are complete.
    pub(crate) fn changes(&self, table: &str, after: u64) -> Result<(Vec<Change>, u64), Expired> {
        let state = self.lock();
        let Some(table) = state.tables.get(table) else {
            return Ok((Vec::new(), state.revision));
        };
        if after < table.floor {
            return Err(Expired {
                asked: after,
                oldest: table.floor,
            });
        }
        let start = table
            .history
            .partition_point(|change| change.revision <= after);
        Ok((
            table.history.range(start..).cloned().collect(),
            state.revision,
        ))
    }

    /// Tells whenever a table changes.
    pub(crate) fn subscribe(&self, table: &str) -> watch::Receiver<u64> {
        let mut state = self.lock();
        let floor = state.opened;
        state
            .tables
            .entry(table.to_owned())
            .or_insert_with(|| Table::new(floor))
            .newest
            .subscribe()
    }
}

// === impl State ===

impl State {
    fn current(&self, table: &str, key: &Key) -> Option<Arc<Value>> {
        self.tables.get(table)?.objects.get(key).cloned()
    }

    /// Makes a change: first in the journal, so that what was answered is kept, then in memory.
    fn change(
        &mut self,
        name: &str,
        key: Key,
        mut object: Value,
        is_deletion: bool,
        limit: usize,
    ) -> Result<Arc<Value>, Refusal> {
        let revision = self.revision + 1;
        object::metadata(&mut object).insert("resourceVersion".into(), revision.to_string().into());
        if let Some(journal) = &mut self.journal {
            let kept = (!is_deletion).then_some(&object);
            journal
                .append(name, &key, revision, kept)
                .map_err(Refusal::Journal)?;
        }
        let floor = self.opened;
        self.revision = revision;
        let table = self
            .tables
            .entry(name.to_owned())
            .or_insert_with(|| Table::new(floor));
        let object = Arc::new(object);
        let before = if is_deletion {
            table.objects.remove(&key)
        } else {
            table.objects.insert(key, object.clone())
        };
        table.history.push_back(Change {
            revision,
            object: object.clone(),
            before,
            is_deletion,
        });
        if table.history.len() > limit
            && let Some(oldest) = table.history.pop_front()
        {
            table.floor = oldest.revision;
        }
        table.newest.send_replace(revision);
        self.compact_if_worth_it();
        Ok(object)
    }

    fn compact_if_worth_it(&mut self) {
        let Some(journal) = self
            .journal
            .as_mut()
            .filter(|journal| journal.is_wasteful())
        else {
            return;
        };
        let objects = self.tables.iter().flat_map(|(name, table)| {
            let objects = table.objects.iter();
            objects.map(move |(key, object)| (name.as_str(), key, object.as_ref()))
        });
        if let Err(error) = journal.compact(self.revision, objects) {
            // The long file stays in use: nothing is lost, it only keeps growing.
            tracing::warn!(%error, "the API server's data file cannot be compacted");
        }
    }
}

// === impl Table ===

impl Table {
    fn new(floor: u64) -> Self {
        Self {
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            floor,
            newest: watch::Sender::new(floor),
        }
    }
}

#[cfg(test)]
mod tests;
