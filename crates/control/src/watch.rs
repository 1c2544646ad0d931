//! Watches of the cluster: every kind of object that the index understands, as one stream of
//! events.
//!
//! Each kind has a task of its own, which lists, watches, and lists again when the API server says
//! that its place in history is gone, or came back after it was away. A relist ends with the keys
//! that it found, so that what was deleted meanwhile goes. While the API server is away nothing is
//! sent, and everything stays as it was.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::WatchStreamExt;
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

/// Events that may wait for the index; the watches wait beyond.
const QUEUE: usize = 1024;

/// How long to wait before a kind that the cluster does not have is looked for again.
const ABSENT: Duration = Duration::from_secs(10);

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

/// The sender of one watch, with what it needs of its kind.
struct Watch {
    kind: InputKind,
    name: String,
    events: mpsc::Sender<Event>,
    has_synced: bool,
    is_failing: bool,
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
    let watch = |kind, name| Watch::new(kind, name, &sender);
    let services = watch(InputKind::Service, "services");
    tasks.spawn(services.run(Api::<Service>::all(client.clone()), |object| {
        Some(Input::Service(
            Key::of(&object.metadata),
            input::Service::read(object),
        ))
    }));
    let slices = watch(InputKind::Slice, "endpointslices");
    tasks.spawn(
        slices.run(Api::<EndpointSlice>::all(client.clone()), |object| {
            Some(Input::Slice(
                Key::of(&object.metadata),
                input::Slice::read(object)?,
            ))
        }),
    );
    let pods = watch(InputKind::Pod, "pods");
    tasks.spawn(pods.run(Api::<Pod>::all(client.clone()), |object| {
        Some(Input::Pod(
            Key::of(&object.metadata),
            input::Pod::read(object),
        ))
    }));
    let nodes = watch(InputKind::Node, "nodes");
    tasks.spawn(nodes.run(Api::<Node>::all(client.clone()), |object| {
        let labels = object.metadata.labels.clone().unwrap_or_default();
        Some(Input::Node(
            Key::of(&object.metadata).name,
            node_locality(&labels),
        ))
    }));
    let namespaces = watch(InputKind::Namespace, "namespaces");
    tasks.spawn(
        namespaces.run(Api::<Namespace>::all(client.clone()), |object| {
            let labels = object.metadata.labels.clone().unwrap_or_default();
            Some(Input::Namespace(Key::of(&object.metadata).name, labels))
        }),
    );
    for kind in &KINDS {
        let watch = watch(InputKind::Istio(kind), kind.plural);
        tasks.spawn(watch.run_istio(client.clone(), kind));
    }
    tasks.spawn(watch_mesh_config(
        client.clone(),
        settings.clone(),
        sender.clone(),
    ));
    Watches {
        events,
        count: tasks.len(),
        tasks,
    }
}

impl Watches {
    /// Answers whether a watch has ended, which none does while the program runs.
    pub(crate) fn is_broken(&mut self) -> bool {
        self.tasks.try_join_next().is_some()
    }
}

// === impl Watch ===

impl Watch {
    fn new(kind: InputKind, name: &str, events: &mpsc::Sender<Event>) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            events: events.clone(),
            has_synced: false,
            is_failing: false,
        }
    }

    /// Watches a kind that every cluster has.
    async fn run<K>(mut self, api: Api<K>, read: fn(&K) -> Option<Input>)
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let key = |object: &K| Key::of(object.meta());
        loop {
            let stream = watcher(api.clone(), watcher::Config::default()).default_backoff();
            match self.follow(stream, key, |object| read(&object)).await {
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
                let stream = watcher(api, watcher::Config::default()).default_backoff();
                let key = |object: &DynamicObject| Key::of(&object.metadata);
                let end = self.follow(stream, key, |object| read_istio(object, kind, version));
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
                let none = Event::Listed(self.kind, BTreeSet::new());
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
        stream: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>>,
        key: impl Fn(&K) -> Key,
        read: impl Fn(K) -> Option<Input>,
    ) -> End {
        let mut stream = std::pin::pin!(stream);
        let mut listed = BTreeSet::new();
        let mut had_listed = false;
        while let Some(event) = stream.next().await {
            let sent = match event {
                Ok(watcher::Event::Init) => {
                    listed.clear();
                    Ok(())
                }
                Ok(watcher::Event::InitApply(object)) => {
                    listed.insert(key(&object));
                    self.apply(key(&object), read(object)).await
                }
                Ok(watcher::Event::InitDone) => {
                    self.recovered();
                    had_listed = true;
                    let all = Event::Listed(self.kind, std::mem::take(&mut listed));
                    match self.send(all).await {
                        Ok(()) => self.synced().await,
                        Err(closed) => Err(closed),
                    }
                }
                Ok(watcher::Event::Apply(object)) => {
                    self.recovered();
                    self.apply(key(&object), read(object)).await
                }
                Ok(watcher::Event::Delete(object)) => {
                    self.send(Event::Delete(self.kind, key(&object))).await
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

    /// An object that the index has no use for is as good as deleted.
    async fn apply(&mut self, key: Key, input: Option<Input>) -> Result<(), Closed> {
        match input {
            Some(input) => self.send(Event::Apply(Box::new(input))).await,
            None => self.send(Event::Delete(self.kind, key)).await,
        }
    }

    async fn synced(&mut self) -> Result<(), Closed> {
        if std::mem::replace(&mut self.has_synced, true) {
            return Ok(());
        }
        self.send(Event::Synced).await
    }

    async fn failed(&mut self, error: &watcher::Error) -> Result<(), Closed> {
        if std::mem::replace(&mut self.is_failing, true) {
            tracing::debug!(kind = %self.name, %error, "watch failed again");
        } else {
            tracing::warn!(kind = %self.name, %error,
                "cannot watch; serving what is known, and trying again");
        }
        self.send(Event::Failed).await
    }

    fn recovered(&mut self) {
        if std::mem::replace(&mut self.is_failing, false) {
            tracing::info!(kind = %self.name, "watching again");
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

/// Answers whether the API server does not know the kind. One that is starting may say so too,
/// until it has read its CRDs; it is asked again soon.
fn is_absent(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(kube::Error::Api(status))
    | watcher::Error::WatchStartFailed(kube::Error::Api(status))
    | watcher::Error::WatchFailed(kube::Error::Api(status))
    | watcher::Error::WatchError(status)) = error
    else {
        return false;
    };
    status.code == 404
}

async fn watch_mesh_config(client: Client, settings: Settings, events: mpsc::Sender<Event>) {
    let api = Api::<ConfigMap>::namespaced(client, &settings.namespace);
    let config = format!("metadata.name={}", settings.mesh_config_map);
    let config = watcher::Config::default().fields(&config);
    let mut stream = std::pin::pin!(watcher(api, config).default_backoff());
    let (mut listed, mut has_synced) = (None, false);
    while let Some(event) = stream.next().await {
        let text = |map: ConfigMap| map.data.and_then(|mut data| data.remove("mesh"));
        let event = match event {
            Ok(watcher::Event::Init) => {
                listed = None;
                continue;
            }
            Ok(watcher::Event::InitApply(map)) => {
                listed = text(map);
                continue;
            }
            Ok(watcher::Event::InitDone) => Event::MeshConfig(listed.take()),
            Ok(watcher::Event::Apply(map)) => Event::MeshConfig(text(map)),
            Ok(watcher::Event::Delete(_)) => Event::MeshConfig(None),
            Err(error) => {
                tracing::warn!(kind = "configmaps", %error, "cannot watch; trying again");
                Event::Failed
            }
        };
        let is_first = !has_synced && matches!(event, Event::MeshConfig(_));
        has_synced |= is_first;
        if events.send(event).await.is_err() {
            return;
        }
        if is_first && events.send(Event::Synced).await.is_err() {
            return;
        }
    }
}
