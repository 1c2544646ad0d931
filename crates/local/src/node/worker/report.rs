//! Writing a pod's status, and its end.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::super::logs;
use super::super::status::View;
use super::Worker;

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Writes the latest status in the background; what was overtaken is never written.
#[derive(Debug)]
pub(super) struct Writer {
    latest: watch::Sender<Option<PodStatus>>,
    task: JoinHandle<()>,
}

// === impl Writer ===

impl Writer {
    /// Starts the writer of a pod's status.
    pub(super) fn start(client: Client, pod: &Pod) -> Self {
        let (latest, mut statuses) = watch::channel(None::<PodStatus>);
        let pod = Target::of(client, pod);
        let task = tokio::spawn(async move {
            while statuses.changed().await.is_ok() {
                let mut retry = FIRST_RETRY;
                loop {
                    let Some(status) = statuses.borrow_and_update().clone() else {
                        break;
                    };
                    match pod.write(&status).await {
                        Written::Yes => break,
                        Written::Gone => return,
                        Written::NotYet => {}
                    }
                    sleep(retry).await;
                    retry = (retry * 2).min(LAST_RETRY);
                }
            }
        });
        Self { latest, task }
    }

    fn write(&self, status: PodStatus) {
        self.latest.send_replace(Some(status));
    }

    /// Waits until the last status has been written.
    async fn finish(self) {
        drop(self.latest);
        // It ends with its channel; a panic in it has been reported.
        let _ = self.task.await;
    }
}

/// A pod in the API; another one of the same name is not meant.
struct Target {
    pods: Api<Pod>,
    name: String,
    uid: String,
}

enum Written {
    Yes,
    NotYet,
    Gone,
}

impl Target {
    fn of(client: Client, pod: &Pod) -> Self {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Self {
            pods: Api::namespaced(client, &text(&pod.metadata.namespace)),
            name: text(&pod.metadata.name),
            uid: text(&pod.metadata.uid),
        }
    }

    async fn write(&self, status: &PodStatus) -> Written {
        let patch = json!({ "metadata": { "uid": self.uid }, "status": status });
        let patched = self
            .pods
            .patch_status(&self.name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        match patched {
            Ok(_) => Written::Yes,
            // Not found, or the name is another pod's now.
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => Written::Gone,
            Err(error) => {
                tracing::warn!(%error, pod = self.name, "the status of a pod cannot be written");
                Written::NotYet
            }
        }
    }

    /// Removes the pod from the API: its containers are gone.
    async fn remove(&self) {
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: Some(self.uid.clone()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let mut retry = FIRST_RETRY;
        loop {
            match self.pods.delete(&self.name, &parameters).await {
                Ok(_) => return,
                Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => return,
                Err(error) => {
                    tracing::warn!(%error, pod = self.name, "a pod cannot be removed");
                }
            }
            sleep(retry).await;
            retry = (retry * 2).min(LAST_RETRY);
        }
    }
}

impl Worker {
    /// Writes the status if it has changed.
    pub(super) fn write_status(&mut self) {
        if self.is_gone || self.is_history {
            return;
        }
        let status = View {
            pod: &self.pod,
            sent: self.sent.as_ref(),
            lifecycle: &self.lifecycle,
            address: self.sandbox.as_ref().map(|sandbox| sandbox.address()),
            node_address: self.context.links.node(),
            started: self.started,
            finish: self.finish.filter(|_| self.runs.is_empty()),
            failure: self.failure.as_ref(),
            now: Timestamp::now(),
            instant: Instant::now(),
        }
        .status();
        if self.sent.as_ref() == Some(&status) {
            return;
        }
        self.sent = Some(status.clone());
        self.writer.write(status);
    }

    /// Removes the pod from the API, and its logs from the disk.
    pub(super) async fn remove(mut self) {
        self.write_status();
        let target = Target::of(self.context.client.clone(), &self.pod);
        let is_gone = self.is_gone;
        self.writer.finish().await;
        if !is_gone {
            target.remove().await;
        }
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
        let directory =
            logs::pod_directory(&self.context.logs, namespace, &target.name, &target.uid);
        let removed = tokio::fs::remove_dir_all(&directory).await;
        if let Err(error) = removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %directory.display(), "logs stay behind");
        }
    }
}
