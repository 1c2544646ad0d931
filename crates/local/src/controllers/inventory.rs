//! Every object of every type, as far as its metadata: what the garbage collector and the end of a
//! namespace need. Custom types come and go with their definitions.
//!
//! Events are left out: they are many, own nothing and are owned by nothing.

mod kinds;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::DynamicObject;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

pub(super) use self::kinds::Kind;
use super::retry::Retry;

/// The metadata of an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) kind: Arc<Kind>,
    pub(super) uid: String,
    /// Empty if it has none.
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) resource_version: String,
    pub(super) owners: Vec<OwnerReference>,
    pub(super) finalizers: Vec<String>,
    pub(super) is_terminating: bool,
}

/// A change of an item: what it was and what it is.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) old: Option<Arc<Item>>,
    pub(super) new: Option<Arc<Item>>,
}

/// All items; clones share them.
#[derive(Clone)]
pub(super) struct Inventory {
    client: Client,
    known: Arc<RwLock<Known>>,
    is_synced: watch::Receiver<bool>,
}

#[derive(Default)]
struct Known {
    items: HashMap<String, Arc<Item>>,
    /// Types that are watched.
    kinds: HashMap<Arc<Kind>, Watching>,
    listeners: Vec<mpsc::UnboundedSender<Change>>,
}

struct Watching {
    task: AbortHandle,
    is_synced: bool,
}

// === impl Inventory ===

impl Inventory {
    /// Starts watching everything.
    pub(super) fn start(client: Client, tasks: &mut JoinSet<()>) -> Self {
        let (synced, is_synced) = watch::channel(false);
        let inventory = Self {
            client,
            known: Arc::default(),
            is_synced,
        };
        tasks.spawn(inventory.clone().run(synced));
        inventory
    }

    /// Waits until every object that existed at the start is known.
    pub(super) async fn synced(&self) {
        let mut is_synced = self.is_synced.clone();
        // The sender is dropped only at the end of everything.
        let _ = is_synced.wait_for(|synced| *synced).await;
    }

    /// Every change from now on, and every item known already.
    pub(super) fn changes(&self) -> mpsc::UnboundedReceiver<Change> {
        let (sender, changes) = mpsc::unbounded_channel();
        let mut known = self.write();
        for item in known.items.values() {
            let change = Change {
                old: None,
                new: Some(item.clone()),
            };
            // The receiver is right here.
            let _ = sender.send(change);
        }
        known.listeners.push(sender);
        changes
    }

    /// An item by uid.
    pub(super) fn get(&self, uid: &str) -> Option<Arc<Item>> {
        self.read().items.get(uid).cloned()
    }

    /// The items of a namespace.
    pub(super) fn within(&self, namespace: &str) -> Vec<Arc<Item>> {
        let known = self.read();
        let items = known
            .items
            .values()
            .filter(|item| item.namespace == namespace);
        items.cloned().collect()
    }

    /// The items that have an owner.
    pub(super) fn dependents(&self, owner: &str) -> Vec<Arc<Item>> {
        let known = self.read();
        let items = known.items.values();
        let items = items.filter(|item| item.owners.iter().any(|reference| reference.uid == owner));
        items.cloned().collect()
    }

    /// A watched type, by what an owner reference says of it.
    pub(super) fn kind(&self, api_version: &str, kind: &str) -> Option<Arc<Kind>> {
        let known = self.read();
        let mut kinds = known.kinds.keys();
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        kinds
            .find(|known| known.resource.group == group && known.resource.kind == kind)
            .cloned()
    }

    /// The types whose objects are in namespaces.
    pub(super) fn namespaced_kinds(&self) -> Vec<Arc<Kind>> {
        let known = self.read();
        known
            .kinds
            .keys()
            .filter(|kind| kind.is_namespaced)
            .cloned()
            .collect()
    }

    /// The client for objects of an item's type and place.
    pub(super) fn api(&self, kind: &Kind, namespace: &str) -> Api<DynamicObject> {
        if namespace.is_empty() {
            Api::all_with(self.client.clone(), &kind.resource)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, &kind.resource)
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Inventory: watching ===

impl Inventory {
    /// Watches the built-in types, and the custom ones while they are defined.
    async fn run(self, synced: watch::Sender<bool>) {
        let mut watches = JoinSet::new();
        let (done, mut listed) = mpsc::unbounded_channel();
        let built_in = kinds::discover(&self.client).await;
        let mut definitions = std::pin::pin!(kinds::definitions(self.client.clone()));
        let mut has_definitions = false;
        for kind in &built_in {
            self.follow(kind.clone(), &mut watches, &done);
        }
        loop {
            tokio::select! {
                Some(custom) = definitions.next() => {
                    has_definitions = true;
                    self.keep_only(&built_in, &custom);
                    for kind in custom {
                        self.follow(kind, &mut watches, &done);
                    }
                }
                Some(kind) = listed.recv() => {
                    if let Some(watching) = self.write().kinds.get_mut(&kind) {
                        watching.is_synced = true;
                    }
                }
                // Watches end only when they are aborted.
                Some(_) = watches.join_next() => {}
            }
            let are_synced = self
                .read()
                .kinds
                .values()
                .all(|watching| watching.is_synced);
            if has_definitions && are_synced {
                synced.send_replace(true);
            }
        }
    }

    /// Stops watching custom types that are not defined any more: their objects are gone.
    fn keep_only(&self, built_in: &HashSet<Arc<Kind>>, custom: &HashSet<Arc<Kind>>) {
        let mut known = self.write();
        let gone: Vec<_> = known
            .kinds
            .keys()
            .filter(|kind| !built_in.contains(*kind) && !custom.contains(*kind))
            .cloned()
            .collect();
        for kind in gone {
            if let Some(watching) = known.kinds.remove(&kind) {
                watching.task.abort();
            }
            let items: Vec<_> = known
                .items
                .values()
                .filter(|item| item.kind == kind)
                .map(|item| item.uid.clone())
                .collect();
            for uid in items {
                known.remove(&uid);
            }
        }
    }

    fn follow(
        &self,
        kind: Arc<Kind>,
        watches: &mut JoinSet<()>,
        done: &mpsc::UnboundedSender<Arc<Kind>>,
    ) {
        if self.read().kinds.contains_key(&kind) {
            return;
        }
        let task = watches.spawn(self.clone().watch(kind.clone(), done.clone()));
        let watching = Watching {
            task,
            is_synced: false,
        };
        self.write().kinds.insert(kind, watching);
    }

    async fn watch(self, kind: Arc<Kind>, done: mpsc::UnboundedSender<Arc<Kind>>) {
        let api = self.api(&kind, "");
        let events = watcher(api, watcher::Config::default()).backoff(Retry::default());
        let mut events = std::pin::pin!(events);
        let mut listed = HashSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Apply(object)) => self.write().observe(Item::of(&kind, &object)),
                Ok(watcher::Event::Delete(object)) => {
                    self.write().remove(&object.uid().unwrap_or_default());
                }
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(object)) => {
                    let item = Item::of(&kind, &object);
                    listed.insert(item.uid.clone());
                    self.write().observe(item);
                }
                Ok(watcher::Event::InitDone) => {
                    self.write().remove_unlisted(&kind, &listed);
                    // Nobody waits only when everything ends.
                    let _ = done.send(kind.clone());
                }
                Err(error) => {
                    tracing::debug!(kind = %kind.resource.kind, %error, "watching; trying again");
                }
            }
        }
    }
}

// === impl Known ===

impl Known {
    fn observe(&mut self, item: Item) {
        let version = |item: &Item| item.resource_version.parse::<u64>().ok();
        let old = self.items.get(&item.uid).cloned();
        let is_older = old.as_ref().is_some_and(|old| {
            let versions = version(&item).zip(version(old));
            versions.is_some_and(|(new, old)| new <= old)
        });
        if is_older {
            return;
        }
        let new = Arc::new(item);
        self.items.insert(new.uid.clone(), new.clone());
        self.tell(&Change {
            old,
            new: Some(new),
        });
    }

    fn remove(&mut self, uid: &str) {
        if let Some(old) = self.items.remove(uid) {
            self.tell(&Change {
                old: Some(old),
                new: None,
            });
        }
    }

    fn remove_unlisted(&mut self, kind: &Kind, listed: &HashSet<String>) {
        let gone = self.items.values();
        let gone = gone.filter(|item| *item.kind == *kind && !listed.contains(&item.uid));
        let gone: Vec<_> = gone.map(|item| item.uid.clone()).collect();
        for uid in gone {
            self.remove(&uid);
        }
    }

    fn tell(&mut self, change: &Change) {
        self.listeners
            .retain(|listener| listener.send(change.clone()).is_ok());
    }
}

// === impl Item ===

impl Item {
    fn of(kind: &Arc<Kind>, object: &DynamicObject) -> Self {
        Self {
            kind: kind.clone(),
            uid: object.uid().unwrap_or_default(),
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            resource_version: object.resource_version().unwrap_or_default(),
            owners: object.owner_references().to_vec(),
            finalizers: object.finalizers().to_vec(),
            is_terminating: object.metadata.deletion_timestamp.is_some(),
        }
    }

    /// Answers whether something waits before the object ends.
    pub(super) fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == name)
    }
}

impl std::fmt::Display for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {}/{}",
            self.kind.resource.kind, self.namespace, self.name
        )
    }
}
