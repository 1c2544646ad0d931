//! The engine: takes what happens in the cluster, keeps the index, and publishes what changed.
//!
//! Nothing is published before every watch has listed its objects once: a part of the mesh would
//! make proxies that know the whole forget the rest.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use lateen_api::mesh_config::MeshConfig;
use lateen_model::ObjectRef;
use lateen_xds::server::Publisher;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::index::{Index, Place};
use crate::secrets::credential::Problem;
use crate::watch::{Event, Watches};
use crate::{Error, Settings};

/// How long it must be quiet before changes are published: one `kubectl apply` of several objects
/// becomes one push.
const QUIET: Duration = Duration::from_millis(10);

/// How long a change waits at most while others keep coming.
const PATIENCE: Duration = Duration::from_millis(100);

/// Events that are taken at once.
const BATCH: usize = 256;

/// What the parts of the control plane share.
#[derive(Debug)]
pub(crate) struct State {
    index: RwLock<Index>,
    /// Where proxies are told.
    pub(crate) publisher: Publisher,
    /// Everything has been listed and published once.
    synced: watch::Sender<bool>,
    /// Counts changes of the index, for who follows it.
    settled: watch::Sender<u64>,
    /// What is wrong with Secrets that gateways ask for, by `namespace/name`.
    credential_problems: watch::Sender<BTreeMap<String, Problem>>,
    /// The webhooks are being served.
    pub(crate) is_webhook_ready: AtomicBool,
    /// Events of the cluster by their fate, for metrics.
    pub(crate) events: Events,
}

/// Counters of what came from the cluster.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Objects that were new or changed.
    pub(crate) applied: AtomicU64,
    /// Objects that went.
    pub(crate) deleted: AtomicU64,
    /// Watches that failed.
    pub(crate) failed: AtomicU64,
    /// Batches that changed something.
    pub(crate) pushes: AtomicU64,
}

// === impl State ===

impl State {
    /// The state before anything is known.
    pub(crate) fn new(settings: &Settings) -> Self {
        let place = Place {
            cluster: settings.cluster.clone(),
            revision: settings.revision.clone(),
            mesh_source: ObjectRef {
                kind: "ConfigMap".into(),
                namespace: settings.namespace.clone(),
                name: settings.mesh_config_map.clone(),
            },
        };
        Self {
            index: RwLock::new(Index::new(place, default_mesh(settings))),
            publisher: Publisher::new(),
            synced: watch::Sender::new(false),
            settled: watch::Sender::new(0),
            credential_problems: watch::Sender::default(),
            is_webhook_ready: AtomicBool::new(false),
            events: Events::default(),
        }
    }

    /// The index, to look at.
    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Becomes true when everything has been listed and published once.
    pub(crate) fn synced(&self) -> watch::Receiver<bool> {
        self.synced.subscribe()
    }

    /// Changes whenever the index has.
    pub(crate) fn settled(&self) -> watch::Receiver<u64> {
        self.settled.subscribe()
    }

    /// What is wrong with Secrets that gateways ask for, by `namespace/name`.
    pub(crate) fn credential_problems(&self) -> watch::Receiver<BTreeMap<String, Problem>> {
        self.credential_problems.subscribe()
    }

    /// Tells what is wrong with Secrets now.
    pub(crate) fn set_credential_problems(&self, problems: BTreeMap<String, Problem>) {
        self.credential_problems.send_if_modified(|known| {
            for (name, problem) in &problems {
                if known.get(name) != Some(problem) {
                    tracing::warn!(secret = %name, %problem, "a gateway asks for a Secret that it cannot have");
                }
            }
            let is_news = *known != problems;
            *known = problems;
            is_news
        });
    }

    /// Answers whether proxies and the API server may be sent here.
    pub(crate) fn is_ready(&self) -> bool {
        *self.synced.borrow() && self.is_webhook_ready.load(Ordering::Relaxed)
    }
}

fn default_mesh(settings: &Settings) -> MeshConfig {
    MeshConfig::new(&settings.cluster_domain, &settings.namespace)
}

/// Follows the watches until they end.
///
/// # Errors
/// When a watch ends, which none does: the program has to start again.
pub(crate) async fn run(
    state: Arc<State>,
    settings: Settings,
    mut watches: Watches,
) -> Result<(), Error> {
    let mut missing = watches.count;
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        if watches.events.recv_many(&mut batch, BATCH).await == 0 || watches.is_broken() {
            return Err(Error::Watch);
        }
        let start = Instant::now();
        loop {
            missing -= take(&state, &settings, &mut batch).min(missing);
            let left = PATIENCE.saturating_sub(start.elapsed());
            let more = watches.events.recv_many(&mut batch, BATCH);
            match tokio::time::timeout(QUIET.min(left), more).await {
                Ok(0) => return Err(Error::Watch),
                Ok(_) if start.elapsed() < PATIENCE => {}
                // What came last waits for the next round, which begins at once.
                Ok(_) => {
                    missing -= take(&state, &settings, &mut batch).min(missing);
                    break;
                }
                Err(_) => break,
            }
        }
        if missing == 0 {
            publish(&state);
        }
    }
}

/// Applies a batch; answers how many watches have listed everything.
fn take(state: &State, settings: &Settings, batch: &mut Vec<Event>) -> usize {
    let mut synced = 0;
    let mut index = state.index_mut();
    let count = |counter: &AtomicU64, n: usize| counter.fetch_add(n as u64, Ordering::Relaxed);
    for event in batch.drain(..) {
        match event {
            Event::Apply(input) => {
                index.apply(*input);
                count(&state.events.applied, 1);
            }
            Event::Delete(kind, key) => {
                index.delete(kind, key);
                count(&state.events.deleted, 1);
            }
            Event::Listed(kind, listed) => {
                let known = index.keys(kind);
                let gone: Vec<_> = known.difference(&listed).cloned().collect();
                count(&state.events.deleted, gone.len());
                for key in gone {
                    index.delete(kind, key);
                }
            }
            Event::MeshConfig(text) => {
                match default_mesh(settings).read(text.as_deref().unwrap_or_default()) {
                    Ok(mesh) => {
                        for problem in &mesh.warnings {
                            tracing::warn!(config_map = %settings.mesh_config_map, %problem,
                                "part of MeshConfig is not in effect");
                        }
                        index.set_mesh(mesh);
                    }
                    Err(error) => tracing::error!(
                        config_map = %settings.mesh_config_map, %error,
                        "MeshConfig is invalid; the last good one stays in effect"
                    ),
                }
            }
            Event::Synced => synced += 1,
            Event::Failed => {
                count(&state.events.failed, 1);
            }
        }
    }
    synced
}

fn publish(state: &State) {
    let changes = state.index_mut().settle();
    let changed = state.publisher.apply(changes);
    if changed > 0 {
        state.events.pushes.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(changed, version = state.publisher.version(), "published");
    }
    state.settled.send_modify(|n| *n += 1);
    if !*state.synced.borrow() {
        tracing::info!(
            version = state.publisher.version(),
            "the cluster is known; serving"
        );
        state.synced.send_replace(true);
    }
}

#[cfg(test)]
mod tests;
