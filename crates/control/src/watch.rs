//! Watches of the cluster: every kind of object that the index understands, as one stream of
//! events.
//!
//! Each kind has a task of its own, which lists, watches, and lists again when the API server says
//! that its place in history is gone, or came back after it was away. A relist ends with the keys
//! that it found, so that what was deleted meanwhile goes. While the API server is away nothing is
//! sent, and everything stays as it was.

mod failure;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use lateen_api::KINDS;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::Settings;
use crate::index::input::{self, node_locality};
use crate::index::{Input, InputKind, Key};

use failure::{Outage, is_absent};

pub(crate) use failure::{BACKOFF, is_expired, with_causes};

/// Events that may wait for the index; the watches wait beyond.
const QUEUE: usize = 1024;

/// How long to wait before a kind that the cluster does not have is looked for again.
const ABSENT: Duration = Duration::from_secs(10);

/// After how long without an event or an error a watch that failed works again; longer than
/// connecting may take.
const SILENCE: Duration = Duration::from_secs(60);

/// What happened in the cluster.
#[derive(Debug)]
pub(crate) enum Event {
    /// An object is new or changed.
    Apply(Box<Input>),
    /// An object is gone.
    Delete(InputKind, Key),
    /// A list is complete: what else is known of the kind is gone.
    Listed(InputKind, BTreeSet<Key>),
    /// The text of MeshConfig; nothing if there is no ConfigMap.
    MeshConfig(Option<String>),
    /// The first list of a watch is complete.
    Synced,
    /// A watch failed and will be tried again.
    Failed,
}

/// All watches; they end when it is dropped.
#[derive(Debug)]
pub(crate) struct Watches {
    /// What happens.
    pub(crate) events: mpsc::Receiver<Event>,
    /// The number of [`Event::Synced`] after which everything has been listed.
    pub(crate) count: usize,
    tasks: JoinSet<()>,
}

/// The sender of one watch, and how it fares.
struct Watch {
    name: String,
    events: mpsc::Sender<Event>,
    has_synced: bool,
    /// Failures in a row.
    failures: u32,
    outage: Arc<Outage>,
}

/// Why a watch ended.
enum End {
    /// Nobody listens any more.
    Closed,
    /// The cluster does not have the kind in this version.
    Absent {
        /// It had before.
        had_listed: bool,
    },
}

/// Starts every watch.
pub(crate) fn start(client: &Client, settings: &Settings) -> Watches {
    let (sender, events) = mpsc::channel(QUEUE);
    let mut tasks = JoinSet::new();
    let outage = Arc::new(Outage::default());
    let watch = |name| Watch::new(name, &sender, &outage);
    let services = Api::<Service>::all(client.clone());
    tasks.spawn(
        watch("services").run(InputKind::Service, services, |object| {
            Some(Input::Service(
                Key::of(&object.metadata),
                input::Service::read(object),
            ))
        }),
    );
    let slices = Api::<EndpointSlice>::all(client.clone());
    tasks.spawn(
        watch("endpointslices").run(InputKind::Slice, slices, |object| {
            Some(Input::Slice(
                Key::of(&object.metadata),
                input::Slice::read(object)?,
            ))
        }),
    );
    let pods = Api::<Pod>::all(client.clone());
    tasks.spawn(watch("pods").run(InputKind::Pod, pods, |object| {
        Some(Input::Pod(
            Key::of(&object.metadata),
            input::Pod::read(object),
        ))
    }));
    let nodes = Api::<Node>::all(client.clone());
    tasks.spawn(watch("nodes").run(InputKind::Node, nodes, |object| {
        let labels = object.metadata.labels.clone().unwrap_or_default();
        Some(Input::Node(
            Key::of(&object.metadata).name,
            node_locality(&labels),
        ))
    }));
    let namespaces = Api::<Namespace>::all(client.clone());
    tasks.spawn(
        watch("namespaces").run(InputKind::Namespace, namespaces, |object| {
            let labels = object.metadata.labels.clone().unwrap_or_default();
            Some(Input::Namespace(Key::of(&object.metadata).name, labels))
        }),
    );
    for kind in &KINDS {
        tasks.spawn(watch(kind.plural).run_istio(client.clone(), kind));
    }
    tasks.spawn(watch("configmaps").run_mesh_config(client.clone(), settings.clone()));
    Watches {
        events,
        count: tasks.len(),
        tasks,
    }
}

impl Watches {
    /// Watches of a cluster that is a channel.
    #[cfg(test)]
    pub(crate) fn of_channel(events: mpsc::Receiver<Event>, count: usize) -> Self {
        Self {
            events,
            count,
            tasks: JoinSet::new(),
        }
    }

    /// Answers whether a watch has ended, which none does while the program runs.
    pub(crate) fn is_broken(&mut self) -> bool {
        self.tasks.try_join_next().is_some()
    }
}

// === impl Watch ===

impl Watch {
    fn new(name: &str, events: &mpsc::Sender<Event>, outage: &Arc<Outage>) -> Self {
        Self {
            name: name.to_owned(),
            events: events.clone(),
            has_synced: false,
            failures: 0,
            outage: outage.clone(),
        }
    }

    /// Watches a kind that every cluster has.
    async fn run<K>(mut self, kind: InputKind, api: Api<K>, read: fn(&K) -> Option<Input>)
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let key = |object: &K| Key::of(object.meta());
        loop {
            let stream = watcher(api.clone(), watcher::Config::default());
            match self.follow(kind, stream, key, |object| read(&object)).await {
                End::Closed => return,
                End::Absent { .. } => {
                    tracing::error!(kind = %self.name, "the API server does not know the kind");
                    tokio::time::sleep(ABSENT).await;
                }
            }
        }
    }

    /// Watches a kind of Istio's API in the first of its versions that the cluster has.
    async fn run_istio(mut self, client: Client, kind: &'static lateen_api::Kind) {
        // All versions have the same meaning; `v1` is where Istio's own watches are.
        let mut versions = kind.versions.to_vec();
        versions.sort_by_key(|version| *version != "v1");
        let mut absences = 0;
        loop {
            for version in &versions {
                let resource = resource(kind, version);
                let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
                let stream = watcher(api, watcher::Config::default());
                let key = |object: &DynamicObject| Key::of(&object.metadata);
                let read = |object| read_istio(object, kind, version);
                let end = self.follow(InputKind::Istio(kind), stream, key, read);
                match Box::pin(end).await {
                    End::Closed => return,
                    End::Absent { had_listed: true } => absences = 0,
                    End::Absent { had_listed: false } => {}
                }
            }
            // No version: there are no such objects. That is no reason not to serve; but a kind
            // that was there must be absent for a while before its objects are taken for gone.
            absences += 1;
            if !self.has_synced || absences > 1 {
                let none = Event::Listed(InputKind::Istio(kind), BTreeSet::new());
                if self.send(none).await.is_err() || self.synced().await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(ABSENT).await;
        }
    }

    /// Follows one stream of a kind.
    async fn follow<K: Debug>(
        &mut self,
        kind: InputKind,
        stream: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>>,
        key: impl Fn(&K) -> Key,
        read: impl Fn(K) -> Option<Input>,
    ) -> End {
        let mut stream = std::pin::pin!(stream);
        let mut listed = BTreeSet::new();
        let mut had_listed = false;
        while let Some(event) = self.next(&mut stream).await {
            let sent = match event {
                Ok(watcher::Event::Init) => {
                    listed.clear();
                    Ok(())
                }
                Ok(watcher::Event::InitApply(object)) => {
                    listed.insert(key(&object));
                    self.apply(kind, key(&object), read(object)).await
                }
                Ok(watcher::Event::InitDone) => {
                    self.recovered();
                    had_listed = true;
                    let all = Event::Listed(kind, std::mem::take(&mut listed));
                    match self.send(all).await {
                        Ok(()) => self.synced().await,
                        Err(closed) => Err(closed),
                    }
                }
                Ok(watcher::Event::Apply(object)) => {
                    self.recovered();
                    self.apply(kind, key(&object), read(object)).await
                }
                Ok(watcher::Event::Delete(object)) => {
                    self.send(Event::Delete(kind, key(&object))).await
                }
                Err(error) if is_absent(&error) => return End::Absent { had_listed },
                Err(error) => self.failed(&error).await,
            };
            if sent.is_err() {
                return End::Closed;
            }
        }
        End::Closed
    }

    /// Watches the ConfigMap of MeshConfig.
    async fn run_mesh_config(mut self, client: Client, settings: Settings) {
        let api = Api::<ConfigMap>::namespaced(client, &settings.namespace);
        let config = format!("metadata.name={}", settings.mesh_config_map);
        let config = watcher::Config::default().fields(&config);
        let mut stream = std::pin::pin!(watcher(api, config));
        let mut listed = None;
        while let Some(event) = self.next(&mut stream).await {
            let text = |map: ConfigMap| map.data.and_then(|mut data| data.remove("mesh"));
            let text = match event {
                Ok(watcher::Event::Init) => {
                    listed = None;
                    continue;
                }
                Ok(watcher::Event::InitApply(map)) => {
                    listed = text(map);
                    continue;
                }
                Ok(watcher::Event::InitDone) => listed.take(),
                Ok(watcher::Event::Apply(map)) => text(map),
                Ok(watcher::Event::Delete(_)) => None,
                Err(error) => match self.failed(&error).await {
                    Ok(()) => continue,
                    Err(Closed) => return,
                },
            };
            self.recovered();
            let sent = self.send(Event::MeshConfig(text)).await;
            if sent.is_err() || self.synced().await.is_err() {
                return;
            }
        }
    }

    /// The next event. A watch that stays silent for long after a failure has succeeded: nothing
    /// happens, and nothing else would say so.
    async fn next<S: Stream + Unpin>(&mut self, stream: &mut S) -> Option<S::Item> {
        if self.failures > 0 {
            match tokio::time::timeout(SILENCE, stream.next()).await {
                Ok(event) => return event,
                Err(_) => self.recovered(),
            }
        }
        stream.next().await
    }

    /// An object that the index has no use for is as good as deleted.
    async fn apply(
        &mut self,
        kind: InputKind,
        key: Key,
        input: Option<Input>,
    ) -> Result<(), Closed> {
        match input {
            Some(input) => self.send(Event::Apply(Box::new(input))).await,
            None => self.send(Event::Delete(kind, key)).await,
        }
    }

    async fn synced(&mut self) -> Result<(), Closed> {
        if std::mem::replace(&mut self.has_synced, true) {
            return Ok(());
        }
        self.send(Event::Synced).await
    }

    /// Tells of a failure and waits before the next attempt.
    async fn failed(&mut self, error: &watcher::Error) -> Result<(), Closed> {
        if is_expired(error) && self.failures == 0 {
            // It is too late to go on from where the watch was: a new list makes up for it.
            tracing::debug!(kind = %self.name, error = with_causes(error), "listing again");
            return Ok(());
        }
        if self.failures == 0 {
            self.outage.began(&self.name, error);
        }
        self.send(Event::Failed).await?;
        tokio::time::sleep(BACKOFF.wait(self.failures)).await;
        self.failures = self.failures.saturating_add(1);
        Ok(())
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.failures) > 0 {
            self.outage.ended(&self.name);
        }
    }

    async fn send(&self, event: Event) -> Result<(), Closed> {
        self.events.send(event).await.map_err(|_| Closed)
    }
}

/// Nobody listens to the events any more.
struct Closed;

fn resource(kind: &lateen_api::Kind, version: &str) -> ApiResource {
    let gvk = GroupVersionKind::gvk(kind.group, version, kind.kind);
    ApiResource::from_gvk_with_plural(&gvk, kind.plural)
}

/// The resource by which an object of a kind is written: in the version that it was read in.
pub(crate) fn resource_of(object: &Value) -> Option<ApiResource> {
    let object = lateen_api::Object(object);
    let kind = object.istio_kind()?;
    let (_, version) = object.api_version().split_once('/')?;
    Some(resource(kind, version))
}

fn read_istio(object: DynamicObject, kind: &lateen_api::Kind, version: &str) -> Option<Input> {
    let mut object = object;
    // Bookkeeping of the API server, of the size of the object itself.
    object.metadata.managed_fields = None;
    let mut value = serde_json::to_value(object).ok()?;
    // Elements of a list have neither.
    value["apiVersion"] = format!("{}/{version}", kind.group).into();
    value["kind"] = kind.kind.into();
    Some(Input::Istio(value))
}
