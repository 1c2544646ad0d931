//! Everything known of one kind: watched, read and written in one place.
//!
//! A write takes the server's answer into what is known at once, so that a plan made afterwards
//! sees it. An event that is older than what is known (by resourceVersion, which our server counts
//! upwards as Kubernetes' does) is ignored; so is one about an object that is known to be gone.

use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Debug};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use futures::{Stream, StreamExt as _};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::Error;
use super::retry::Retry;

/// A kind that can be watched.
pub(super) trait Watched:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

/// Where an object is: its namespace (empty if it has none) and its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// A change of an object: what it was and what it is; one of both is missing when it is new or
/// gone.
pub(super) struct Change<K> {
    pub(super) old: Option<Arc<K>>,
    pub(super) new: Option<Arc<K>>,
}

/// All objects of a kind; clones share them.
pub(super) struct Objects<K> {
    client: Client,
    known: Arc<RwLock<Known<K>>>,
    listeners: Arc<RwLock<Vec<Listener<K>>>>,
    is_synced: watch::Receiver<bool>,
}

type Listener<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

struct Known<K> {
    objects: BTreeMap<Key, Arc<K>>,
    /// Objects that are gone although their deletion has not been seen by the watch yet.
    gone: HashSet<String>,
}

// === impl Key ===

impl Key {
    /// The key of an object.
    pub(super) fn of<K: Resource>(object: &K) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }

    /// A key.
    pub(super) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

// === impl Change ===

impl<K> Change<K> {
    /// What it is, or was before it went.
    pub(super) fn latest(&self) -> Option<&Arc<K>> {
        self.new.as_ref().or(self.old.as_ref())
    }

    /// What it was and what it is, as far as there is either.
    pub(super) fn both(&self) -> impl Iterator<Item = &Arc<K>> {
        self.old.iter().chain(&self.new)
    }
}

// === impl Objects ===

impl<K> Clone for Objects<K> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            known: self.known.clone(),
            listeners: self.listeners.clone(),
            is_synced: self.is_synced.clone(),
        }
    }
}

impl<K: Watched> Objects<K> {
    /// The objects of all namespaces, and the future that watches them, to be run for ever.
    pub(super) fn watch(
        client: Client,
        config: watcher::Config,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let events = watcher(Api::<K>::all(client.clone()), config).backoff(Retry::default());
        let (synced, is_synced) = watch::channel(false);
        let objects = Self {
            client,
            known: Arc::default(),
            listeners: Arc::default(),
            is_synced,
        };
        (objects.clone(), objects.follow(events, synced))
    }

    async fn follow(
        self,
        events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
        synced: watch::Sender<bool>,
    ) {
        let mut events = std::pin::pin!(events);
        let mut list = Vec::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Apply(object)) => self.observe(object),
                Ok(watcher::Event::Delete(object)) => self.observe_end(&object),
                Ok(watcher::Event::Init) => list.clear(),
                Ok(watcher::Event::InitApply(object)) => list.push(object),
                Ok(watcher::Event::InitDone) => {
                    self.observe_all(std::mem::take(&mut list));
                    synced.send_replace(true);
                }
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&()), %error, "watching; trying again");
                }
            }
        }
    }

    /// Waits until every object that existed at the start is known.
    pub(super) async fn synced(&self) {
        let mut is_synced = self.is_synced.clone();
        // The sender is dropped only with the watch, that is at the end of everything.
        let _ = is_synced.wait_for(|synced| *synced).await;
    }

    /// Has `listener` called with every change from now on, and with every object known already.
    /// It must be quick and may not write.
    pub(super) fn listen(&self, listener: impl Fn(&Change<K>) + Send + Sync + 'static) {
        // While this is held no change is told, so none falls between what is known and what comes.
        let mut listeners = self
            .listeners
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for object in self.all() {
            listener(&Change {
                old: None,
                new: Some(object),
            });
        }
        listeners.push(Box::new(listener));
    }

    /// An object.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.read(|known| known.objects.get(key).cloned())
    }

    /// All objects, in order of namespace and name.
    pub(super) fn all(&self) -> Vec<Arc<K>> {
        self.read(|known| known.objects.values().cloned().collect())
    }

    /// The objects of a namespace, in order of name.
    pub(super) fn within(&self, namespace: &str) -> Vec<Arc<K>> {
        let from = Bound::Included(Key::new(namespace, ""));
        self.read(|known| {
            let objects = known.objects.range((from, Bound::Unbounded));
            let objects = objects.take_while(|(key, _)| key.namespace == namespace);
            objects.map(|(_, object)| object.clone()).collect()
        })
    }

    fn read<T>(&self, read: impl FnOnce(&Known<K>) -> T) -> T {
        read(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes an object into what is known, unless something newer is known of it.
    fn observe(&self, object: K) {
        let key = Key::of(&object);
        let change = {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            if object.uid().is_some_and(|uid| known.gone.contains(&uid)) {
                return;
            }
            let old = known.objects.get(&key).cloned();
            if old
                .as_ref()
                .is_some_and(|old| !is_newer(&object, old.as_ref()))
            {
                return;
            }
            let new = Arc::new(object);
            known.objects.insert(key, new.clone());
            Change {
                old,
                new: Some(new),
            }
        };
        self.tell(&change);
    }

    /// The watch saw the end of an object.
    fn observe_end(&self, object: &K) {
        let old = {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(uid) = object.uid() {
                known.gone.remove(&uid);
            }
            known.remove(object)
        };
        if old.is_some() {
            self.tell(&Change { old, new: None });
        }
    }

    /// A write of ours ended an object; the watch will see it later.
    fn observe_own_end(&self, object: &K) {
        let old = {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            let old = known.remove(object);
            // If the watch was first the object is not known any more, and nothing is awaited.
            if let Some(uid) = old.as_ref().and_then(|old| old.uid()) {
                known.gone.insert(uid);
            }
            old
        };
        if old.is_some() {
            self.tell(&Change { old, new: None });
        }
    }

    /// Takes a complete list into what is known: what is not in it is gone.
    fn observe_all(&self, list: Vec<K>) {
        let listed: HashSet<String> = list.iter().filter_map(K::uid).collect();
        let missing: Vec<_> = self.read(|known| {
            let objects = known.objects.values();
            let missing =
                objects.filter(|known| known.uid().is_none_or(|uid| !listed.contains(&uid)));
            missing.cloned().collect()
        });
        for object in missing {
            self.observe_end(&object);
        }
        {
            // A list is newer than every deletion that it does not show.
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.gone.retain(|uid| listed.contains(uid));
        }
        for object in list {
            self.observe(object);
        }
    }

    fn tell(&self, change: &Change<K>) {
        let listeners = self
            .listeners
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        for listener in listeners.iter() {
            listener(change);
        }
    }
}

// === impl Objects: writing ===

impl<K: Watched + Resource<Scope = NamespaceResourceScope>> Objects<K> {
    /// Creates an object; a `generateName` is completed by the server.
    pub(super) async fn create(&self, object: &K) -> Result<K, Error> {
        let what = format!("create {}", named(object));
        let api = self.api(object);
        let created = api.create(&PostParams::default(), object).await;
        created
            .map_err(Error::api(what))
            .map(|object| self.keep(object))
    }

    /// Replaces an object, if nobody changed it meanwhile.
    pub(super) async fn replace(&self, object: &K) -> Result<K, Error> {
        let what = format!("update {}", named(object));
        let (api, parameters) = (self.api(object), PostParams::default());
        let replaced = api.replace(&object.name_any(), &parameters, object).await;
        replaced
            .map_err(Error::api(what))
            .map(|object| self.keep(object))
    }

    /// Replaces the status of an object, if nobody changed the object meanwhile.
    pub(super) async fn replace_status(&self, object: &K) -> Result<K, Error> {
        let what = format!("update the status of {}", named(object));
        let (api, parameters) = (self.api(object), PostParams::default());
        let replaced = api
            .replace_status(&object.name_any(), &parameters, object)
            .await;
        replaced
            .map_err(Error::api(what))
            .map(|object| self.keep(object))
    }

    /// Changes an object by a JSON merge patch.
    pub(super) async fn patch(&self, object: &K, patch: serde_json::Value) -> Result<K, Error> {
        let what = format!("patch {}", named(object));
        let (api, parameters) = (self.api(object), PatchParams::default());
        let patched = api
            .patch(&object.name_any(), &parameters, &Patch::Merge(patch))
            .await;
        patched
            .map_err(Error::api(what))
            .map(|object| self.keep(object))
    }

    /// Deletes exactly this object, not another of its name. One that is gone already is deleted.
    pub(super) async fn delete(&self, object: &K, mut how: DeleteParams) -> Result<(), Error> {
        how.preconditions = Some(Preconditions {
            uid: object.uid(),
            resource_version: None,
        });
        match self.api(object).delete(&object.name_any(), &how).await {
            // An object in the answer is marked only, and its end is yet to come.
            Ok(answer) => match answer.left() {
                Some(marked) if marked.meta().deletion_timestamp.is_some() => {
                    self.observe(marked);
                    Ok(())
                }
                _ => {
                    self.observe_own_end(object);
                    Ok(())
                }
            },
            Err(source) => {
                let error = Error::api(format!("delete {}", named(object)))(source);
                // A conflict here is the precondition: another object has the name now.
                if error.is_not_found() || error.is_conflict() {
                    Ok(())
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Takes the server's answer into what is known.
    fn keep(&self, object: K) -> K {
        self.observe(object.clone());
        object
    }

    fn api(&self, object: &K) -> Api<K> {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }
}

// === impl Known ===

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            gone: HashSet::new(),
        }
    }
}

impl<K: Resource> Known<K> {
    /// Removes exactly this object.
    fn remove(&mut self, object: &K) -> Option<Arc<K>> {
        let key = Key::of(object);
        let known = self.objects.get(&key)?;
        if known.uid() != object.uid() {
            return None;
        }
        self.objects.remove(&key)
    }
}

/// Answers whether `a` is a later state than `b`: another object, or a higher version. Versions
/// that are no numbers cannot be compared, and then what arrives counts.
fn is_newer<K: Resource>(a: &K, b: &K) -> bool {
    let version = |object: &K| object.resource_version()?.parse::<u64>().ok();
    a.uid() != b.uid() || version(a).zip(version(b)).is_none_or(|(a, b)| a > b)
}

fn named<K: Resource<DynamicType = ()>>(object: &K) -> String {
    let generated = object.meta().generate_name.as_deref().unwrap_or_default();
    let name = object.meta().name.as_deref().unwrap_or(generated);
    let namespace = object.namespace().unwrap_or_default();
    format!("{} {namespace}/{name}", K::kind(&()))
}

#[cfg(test)]
mod tests;
