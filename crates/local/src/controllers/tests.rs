//! All controllers together against the API server, with a stand-in for the node: it binds pods,
//! reports them running and ready (or succeeded, if they are not to be restarted), and ends those
//! that are being deleted.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Binding, Event, ObjectReference, PodCondition, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{NamespaceResourceScope, Resource};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};

use super::objects::Watched;
use super::*;
use crate::apiserver::{self, ApiServer, User};

mod lifecycle;
mod rollout;

/// Far more than anything here takes; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster without real pods.
pub(super) struct Cluster {
    pub(super) client: Client,
    pub(super) publisher: load_balancer::Publisher,
    _tasks: JoinSet<()>,
}

impl Cluster {
    pub(super) async fn start() -> Self {
        let server = ApiServer::open(apiserver::Options::default()).expect("it opens");
        let (load_balancer, publisher) = load_balancer::channel();
        let options = Options {
            ca: "the authority".into(),
            load_balancer: Some(load_balancer),
        };
        let mut tasks = JoinSet::new();
        let controllers = server.client(User::controllers());
        tasks.spawn(async move {
            let ended = run(controllers, options, std::future::pending()).await;
            panic!("the controllers ended: {ended:?}");
        });
        tasks.spawn(play_node(server.client(User::admin())));
        let client = server.client(User::admin());
        let node = json!({"metadata": {"name": "node"}});
        let cluster = Self {
            client,
            publisher,
            _tasks: tasks,
        };
        let nodes = Api::<Node>::all(cluster.client.clone());
        nodes
            .create(&PostParams::default(), &from(node))
            .await
            .expect("it is created");
        cluster
    }

    pub(super) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(super) async fn create<K>(&self, object: Value) -> K
    where
        K: Watched + Resource<Scope = NamespaceResourceScope>,
    {
        let object: K = from(object);
        let namespace = object.namespace().unwrap_or_else(|| "default".into());
        let created = self
            .api(&namespace)
            .create(&PostParams::default(), &object)
            .await;
        created.expect("it is created")
    }

    pub(super) async fn patch<K>(&self, name: &str, patch: Value) -> K
    where
        K: Watched + Resource<Scope = NamespaceResourceScope>,
    {
        let (api, patch) = (self.api::<K>("default"), Patch::Merge(patch));
        let patched = api.patch(name, &PatchParams::default(), &patch).await;
        patched.expect("it is patched")
    }

    pub(super) async fn delete<K>(&self, name: &str, how: DeleteParams)
    where
        K: Watched + Resource<Scope = NamespaceResourceScope>,
    {
        self.api::<K>("default")
            .delete(name, &how)
            .await
            .expect("it is deleted");
    }

    /// Waits until an object is as wished.
    pub(super) async fn until<K>(&self, name: &str, is: impl Fn(&K) -> bool) -> K
    where
        K: Watched + Resource<Scope = NamespaceResourceScope> + Unpin,
    {
        let api = self.api::<K>("default");
        let wait = await_condition(api.clone(), name, move |object: Option<&K>| {
            object.is_some_and(&is)
        });
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(object) => object.expect("the watch works").expect("it exists"),
            Err(elapsed) => panic!(
                "{name} does not get there: {elapsed}: {:#?}",
                api.get_opt(name).await
            ),
        }
    }

    /// Waits until the objects of a namespace are as wished.
    pub(super) async fn until_all<K>(
        &self,
        namespace: &str,
        mut are: impl FnMut(&[K]) -> bool,
    ) -> Vec<K>
    where
        K: Watched + Resource<Scope = NamespaceResourceScope>,
    {
        let api = self.api::<K>(namespace);
        let wait = async {
            loop {
                let list = api
                    .list(&ListParams::default())
                    .await
                    .expect("they are listed");
                if are(&list.items) {
                    return list.items;
                }
                // Until something changes, whatever it is.
                let parameters = kube::api::WatchParams::default();
                let version = list.metadata.resource_version.unwrap_or_default();
                let changes = api
                    .watch(&parameters, &version)
                    .await
                    .expect("they are watched");
                std::pin::pin!(changes).next().await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(items) => items,
            Err(elapsed) => panic!(
                "they do not get there: {elapsed}: {:#?}",
                api.list(&ListParams::default()).await
            ),
        }
    }

    pub(super) async fn reasons(&self) -> Vec<String> {
        let events = self
            .api::<Event>("default")
            .list(&ListParams::default())
            .await;
        let events = events.expect("they are listed").items.into_iter();
        events.filter_map(|event| event.reason).collect()
    }
}

/// An object from JSON.
pub(super) fn from<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("the test's objects are right")
}

/// A Deployment of pods with the label `app: <name>`.
pub(super) fn deployment(name: &str, replicas: i32) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "one"}]},
            },
        },
    })
}

/// Plays the node, for ever.
async fn play_node(client: Client) {
    let pods = Api::<Pod>::all(client.clone());
    let events = watcher(pods, watcher::Config::default());
    let mut events = std::pin::pin!(events);
    let mut last = 0_u8;
    while let Some(event) = events.next().await {
        if let Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) = event {
            play_pod(&client, &pod, &mut last).await;
        }
    }
}

async fn play_pod(client: &Client, pod: &Pod, last: &mut u8) {
    let api = Api::<Pod>::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let name = pod.name_any();
    let spec = pod.spec.clone().unwrap_or_default();
    if meta::is_terminating(pod) {
        let now = DeleteParams {
            grace_period_seconds: Some(0),
            ..DeleteParams::default()
        };
        drop(api.delete(&name, &now).await);
    } else if spec.node_name.is_none() {
        let mut binding = Binding {
            target: ObjectReference {
                kind: Some("Node".into()),
                name: Some("node".into()),
                ..ObjectReference::default()
            },
            ..Binding::default()
        };
        binding.metadata.name = Some(name.clone());
        let bound: Result<Value, _> = api
            .create_subresource("binding", &name, &PostParams::default(), &binding)
            .await;
        assert!(
            bound.is_ok() || api.get_opt(&name).await.is_ok_and(|pod| pod.is_none()),
            "{bound:?}"
        );
    } else if pods::phase(pod) == "Pending" {
        *last += 1;
        let ip = format!("10.244.0.{last}");
        let is_job = spec.restart_policy.as_deref() == Some("Never");
        let status = PodStatus {
            phase: Some(if is_job { "Succeeded" } else { "Running" }.into()),
            pod_ip: Some(ip.clone()),
            pod_ips: Some(vec![PodIP { ip }]),
            conditions: Some(vec![PodCondition {
                type_: "Ready".into(),
                status: if is_job { "False" } else { "True" }.into(),
                last_transition_time: Some(Time(clock::now())),
                ..PodCondition::default()
            }]),
            ..PodStatus::default()
        };
        let patch = Patch::Merge(json!({"status": status}));
        drop(
            api.patch_status(&name, &PatchParams::default(), &patch)
                .await,
        );
    }
}

/// A value that a condition of a status has.
pub(super) fn has<T: Debug + serde::Serialize>(
    object: &T,
    pointer: &str,
    expected: &Value,
) -> bool {
    let value = serde_json::to_value(object).expect("it is plain data");
    value.pointer(pointer) == Some(expected)
}

/// Custom objects of a type.
pub(super) fn custom(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let resource = kube::core::ApiResource {
        group: "example.dev".into(),
        version: "v1".into(),
        api_version: "example.dev/v1".into(),
        kind: "Widget".into(),
        plural: "widgets".into(),
    };
    Api::namespaced_with(client.clone(), namespace, &resource)
}
