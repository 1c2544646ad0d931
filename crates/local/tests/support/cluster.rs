//! A cluster for the tests of one binary, and words to speak with it.

use std::fmt::Debug;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::{Namespace, Pod, PodStatus};
use kube::api::{
    DeleteParams, ListParams, LogParams, ObjectMeta, PostParams, WatchEvent, WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use lateen_local::cluster::{self, Options};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

/// Longer than anything takes here, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster that runs; dropping it ends it.
pub(crate) struct Cluster {
    directory: PathBuf,
    pub(crate) options: Options,
}

impl Cluster {
    /// Starts a cluster with a state directory of its own and ports that are free.
    pub(crate) fn start(change: impl FnOnce(&mut Options)) -> Self {
        let directory = scratch("cluster");
        let mut options = options(&directory);
        change(&mut options);
        let running = cluster::up(&options, |_| {}).unwrap_or_else(|error| panic!("{error}"));
        options.api = running.api;
        Self { directory, options }
    }

    /// A client of the administrator.
    pub(crate) async fn client(&self) -> Client {
        client(self.options.kubeconfig.as_deref().expect("it was set")).await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.directory.join("lateen/cluster.log");
            eprintln!("{}", std::fs::read_to_string(log).unwrap_or_default());
        }
        if let Err(error) = cluster::down(&self.options.name, self.options.state.as_deref()) {
            eprintln!("{error}");
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A directory of this process's own.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("lateen-test-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("the directory for temporary files can be written to");
    path
}

/// Options with everything below `directory` and every port free to choose.
pub(crate) fn options(directory: &Path) -> Options {
    let any = "127.0.0.1:0".parse().expect("an address");
    let mut options = Options {
        api: any,
        state: Some(directory.to_owned()),
        kubeconfig: Some(directory.join("kubeconfig")),
        ..Options::default()
    };
    for published in &mut options.published {
        published.address = any;
    }
    options
}

/// A client as kubectl would be one.
pub(crate) async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("up has written it");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("it names a cluster and a user");
    Client::try_from(config).expect("a client can be made of it")
}

/// A namespace for one test.
pub(crate) struct Place {
    pub(crate) client: Client,
    pub(crate) name: String,
}

impl Place {
    pub(crate) async fn make(client: Client, name: &str) -> Self {
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.into()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces
            .create(&PostParams::default(), &namespace)
            .await
            .expect("it is new");
        // As on any cluster: pods are refused until the default service account is there.
        let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
            Api::namespaced(client.clone(), name);
        let found = async || {
            accounts
                .get_opt("default")
                .await
                .expect("the server answers")
        };
        eventually("the default service account", async || found().await).await;
        Self {
            client,
            name: name.into(),
        }
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Makes an object of any kind that has a namespace.
    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + DeserializeOwned
            + serde::Serialize
            + Clone
            + Debug,
    {
        let object: K = serde_json::from_value(object).expect("the test writes it well");
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.name);
        api.create(&PostParams::default(), &object)
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes a pod of a spec.
    pub(crate) async fn pod(&self, name: &str, spec: Value) -> Pod {
        let labels = json!({ "app": name });
        self.create(json!({ "metadata": { "name": name, "labels": labels }, "spec": spec }))
            .await
    }

    /// Waits until a pod's status is as wished, and returns it.
    pub(crate) async fn wait(
        &self,
        name: &str,
        what: &str,
        is_so: impl Fn(&PodStatus) -> bool,
    ) -> PodStatus {
        let pods = self.pods();
        let fields = ListParams::default().fields(&format!("metadata.name={name}"));
        let mut last = PodStatus::default();
        let watching = async {
            let list = pods.list(&fields).await.expect("the server answers");
            let version = list.metadata.resource_version.unwrap_or_default();
            for pod in list.items {
                last = pod.status.unwrap_or_default();
                if is_so(&last) {
                    return;
                }
            }
            let parameters = WatchParams::default().fields(&format!("metadata.name={name}"));
            let events = pods
                .watch(&parameters, &version)
                .await
                .expect("the server answers");
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.try_next().await.expect("the watch goes on") {
                let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = event else {
                    continue;
                };
                last = pod.status.unwrap_or_default();
                if is_so(&last) {
                    return;
                }
            }
        };
        let waited = timeout(PATIENCE, watching).await;
        assert!(
            waited.is_ok(),
            "pod {name} never was {what}: {}\n{}",
            serde_json::to_string_pretty(&last).expect("it can be written"),
            self.events(name).await.join("\n"),
        );
        last
    }

    pub(crate) async fn wait_phase(&self, name: &str, phase: &str) -> PodStatus {
        self.wait(name, phase, |status| status.phase.as_deref() == Some(phase))
            .await
    }

    pub(crate) async fn wait_ready(&self, name: &str) -> PodStatus {
        self.wait(name, "ready", is_ready).await
    }

    /// Runs a shell script in a pod to its good end and returns what it printed.
    pub(crate) async fn sh(&self, name: &str, script: &str) -> String {
        self.pod(name, script_pod(script)).await;
        let status = self
            .wait(name, "finished", |status| {
                matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
            })
            .await;
        let log = self.log(name, "main").await;
        assert_eq!(status.phase.as_deref(), Some("Succeeded"), "{log}");
        log
    }

    pub(crate) async fn log(&self, name: &str, container: &str) -> String {
        let parameters = LogParams {
            container: Some(container.into()),
            ..LogParams::default()
        };
        self.pods()
            .logs(name, &parameters)
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The reasons and messages of a pod's events.
    pub(crate) async fn events(&self, name: &str) -> Vec<String> {
        let events: Api<k8s_openapi::api::core::v1::Event> =
            Api::namespaced(self.client.clone(), &self.name);
        let fields = ListParams::default().fields(&format!("involvedObject.name={name}"));
        let events = events
            .list(&fields)
            .await
            .expect("the server answers")
            .items;
        let text = |event: k8s_openapi::api::core::v1::Event| {
            format!(
                "{}: {}",
                event.reason.unwrap_or_default(),
                event.message.unwrap_or_default()
            )
        };
        events.into_iter().map(text).collect()
    }

    pub(crate) async fn wait_event(&self, name: &str, part: &str) {
        eventually(part, async || {
            self.events(name)
                .await
                .into_iter()
                .find(|event| event.contains(part))
        })
        .await;
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.pods()
            .delete(name, &DeleteParams::default())
            .await
            .expect("the pod is there");
    }

    pub(crate) async fn wait_gone(&self, name: &str) {
        let pods = self.pods();
        eventually("gone", async || {
            pods.get_opt(name)
                .await
                .expect("the server answers")
                .is_none()
                .then_some(())
        })
        .await;
    }
}

/// A pod that runs one script once.
pub(crate) fn script_pod(script: &str) -> Value {
    json!({ "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
        "containers": [container("main", script)] })
}

/// A container that runs a script.
pub(crate) fn container(name: &str, script: &str) -> Value {
    json!({ "name": name, "image": "busybox", "command": ["/bin/sh", "-c", script] })
}

pub(crate) fn is_ready(status: &PodStatus) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Asks again and again until there is an answer; the question is cheap, and its subject has no
/// event to wait for.
pub(crate) async fn eventually<T, F>(what: &str, question: impl Fn() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let asking = async {
        loop {
            if let Some(answer) = question().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| panic!("{what} never came"))
}
