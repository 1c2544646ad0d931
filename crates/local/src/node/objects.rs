//! What pods refer to, kept in view: ConfigMaps, Secrets, Services.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// All objects that volumes and environments are made from.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    /// ConfigMaps.
    pub(crate) config_maps: Kept<ConfigMap>,
    /// Secrets.
    pub(crate) secrets: Kept<Secret>,
    /// Services.
    pub(crate) services: Kept<Service>,
    /// Counts up with every change of any of them.
    changes: watch::Receiver<u64>,
}

/// Objects by namespace and name.
type Known<K> = BTreeMap<(String, String), Arc<K>>;

/// All objects of one kind; clones share them.
#[derive(Debug)]
pub(crate) struct Kept<K> {
    known: Arc<RwLock<Known<K>>>,
    is_synced: watch::Receiver<bool>,
}

// === impl Objects ===

impl Objects {
    /// Starts to watch; the future does it, for ever.
    pub(crate) fn watch(client: &Client) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (tell, changes) = watch::channel(0);
        let (config_maps, keep_maps) = Kept::watch(client.clone(), tell.clone());
        let (secrets, keep_secrets) = Kept::watch(client.clone(), tell.clone());
        let (services, keep_services) = Kept::watch(client.clone(), tell);
        let objects = Self {
            config_maps,
            secrets,
            services,
            changes,
        };
        let keep = async move {
            tokio::join!(keep_maps, keep_secrets, keep_services);
        };
        (objects, keep)
    }

    /// Waits until everything that existed when the watch began is known.
    pub(crate) async fn synced(&self) {
        let maps = self.config_maps.synced();
        tokio::join!(maps, self.secrets.synced(), self.services.synced());
    }

    /// Tells of changes from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        let mut changes = self.changes.clone();
        changes.mark_unchanged();
        changes
    }

    /// These objects and no others, for tests of what is made from them.
    #[cfg(test)]
    pub(crate) fn fixed(
        config_maps: Vec<ConfigMap>,
        secrets: Vec<Secret>,
        services: Vec<Service>,
    ) -> Self {
        Self {
            config_maps: Kept::fixed(config_maps),
            secrets: Kept::fixed(secrets),
            services: Kept::fixed(services),
            changes: watch::channel(0).1,
        }
    }
}

// === impl Kept ===

impl<K> Kept<K>
where
    K: Resource<DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    fn watch(
        client: Client,
        changes: watch::Sender<u64>,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (tell_synced, is_synced) = watch::channel(false);
        let kept = Self {
            known: Arc::default(),
            is_synced,
        };
        let keeping = kept.clone();
        let keep = async move {
            let events = watcher(Api::<K>::all(client), watcher::Config::default());
            let mut events = std::pin::pin!(events.default_backoff());
            let mut fresh = BTreeMap::new();
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => keeping.take(event, &mut fresh, &tell_synced),
                    Err(error) => {
                        let kind = K::plural(&());
                        tracing::warn!(%error, %kind, "the node cannot watch objects");
                        continue;
                    }
                }
                changes.send_modify(|count| *count += 1);
            }
        };
        (kept, keep)
    }

    fn take(&self, event: watcher::Event<K>, fresh: &mut Known<K>, synced: &watch::Sender<bool>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            watcher::Event::Apply(object) => {
                known.insert(key(&object), Arc::new(object));
            }
            watcher::Event::Delete(object) => {
                known.remove(&key(&object));
            }
            watcher::Event::Init => fresh.clear(),
            watcher::Event::InitApply(object) => {
                fresh.insert(key(&object), Arc::new(object));
            }
            watcher::Event::InitDone => {
                *known = std::mem::take(fresh);
                synced.send_replace(true);
            }
        }
    }

    /// One by name.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// All of them, in order of namespace and name.
    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.values().cloned().collect()
    }

    async fn synced(&self) {
        let mut is_synced = self.is_synced.clone();
        // An error means that the watch has ended, with the node.
        let _ = is_synced.wait_for(|is_synced| *is_synced).await;
    }

    #[cfg(test)]
    fn fixed(objects: Vec<K>) -> Self {
        let known = objects
            .into_iter()
            .map(|object| (key(&object), Arc::new(object)));
        Self {
            known: Arc::new(RwLock::new(known.collect())),
            is_synced: watch::channel(true).1,
        }
    }
}

impl<K> Clone for Kept<K> {
    fn clone(&self) -> Self {
        Self {
            known: Arc::clone(&self.known),
            is_synced: self.is_synced.clone(),
        }
    }
}

fn key<K: Resource>(object: &K) -> (String, String) {
    let metadata = object.meta();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    (text(&metadata.namespace), text(&metadata.name))
}
