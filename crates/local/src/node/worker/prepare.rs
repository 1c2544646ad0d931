//! What a pod needs before its first container: namespaces and volumes; and keeping volumes fresh.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::fields::Facts;
use super::super::lifecycle::Slot;
use super::super::naming;
use super::super::sandbox::Sandbox;
use super::super::volumes::Volumes;
use super::Worker;
use crate::events::Kind as EventKind;

/// How soon a failure is tried again; a change of an object comes sooner.
const RETRY: Duration = Duration::from_secs(2);
/// Copies of objects are looked at again after this at the latest.
const REFRESH: Duration = Duration::from_secs(60);
/// Changes of objects that come together are looked at once.
const SETTLE: Duration = Duration::from_millis(100);

impl Worker {
    /// Makes what is missing; what has been made stays. Sets when to come again.
    pub(super) async fn prepare(&mut self) {
        if self.sandbox.is_none() {
            match self.make_sandbox().await {
                Ok(sandbox) => {
                    let sandbox = Arc::new(sandbox);
                    let uid = self.pod.metadata.uid.as_deref().unwrap_or_default();
                    self.context.sandboxes.add(uid, &sandbox);
                    self.sandbox = Some(sandbox);
                }
                Err(error) => {
                    let message = format!("Failed to create pod sandbox: {error}");
                    self.event(None, EventKind::Warning, "FailedCreatePodSandBox", message);
                    self.refresh = Some(Instant::now() + RETRY);
                    return;
                }
            }
        }
        let uid = self.pod.metadata.uid.as_deref().unwrap_or_default();
        let volumes = self.volumes.clone().unwrap_or_else(|| {
            let client = self.context.client.clone();
            Arc::new(Volumes::new(&self.context.runtime, uid, client))
        });
        let Some(sandbox) = &self.sandbox else { return };
        let facts = Facts {
            pod: &self.pod,
            address: sandbox.address(),
            node_address: self.context.links.node(),
            allocatable: &self.context.allocatable,
        };
        let now = Instant::now();
        match volumes.sync(&facts, &self.context.objects).await {
            Ok(again) => {
                self.volumes = Some(volumes);
                let later = now + REFRESH;
                self.refresh = Some(again.map_or(later, |again| again.min(later)));
            }
            Err(why) => {
                self.event(None, EventKind::Warning, "FailedMount", why);
                self.refresh = Some(now + RETRY);
            }
        }
    }

    async fn make_sandbox(&self) -> std::io::Result<Sandbox> {
        let hostname = naming::hostname(&self.pod);
        let links = self.context.links.clone();
        let spec = self.pod.spec.as_ref();
        let on_host = spec.and_then(|spec| spec.host_network).unwrap_or(false);
        let made = tokio::task::spawn_blocking(move || {
            if on_host {
                Sandbox::on_host_network(&hostname, links.node())
            } else {
                Sandbox::create(&hostname, &links)
            }
        });
        made.await.map_err(std::io::Error::other)?
    }

    /// Whether changes of ConfigMaps and Secrets may concern the pod.
    pub(super) fn copies_objects(&self) -> bool {
        if self.stopping.is_some() || self.finish.is_some() {
            return false;
        }
        // Until everything has been made, anything may be what is missing.
        let spec = self.pod.spec.as_ref();
        let volumes = spec
            .and_then(|spec| spec.volumes.as_deref())
            .unwrap_or_default();
        let is_copy = volumes.iter().any(|volume| {
            volume.config_map.is_some() || volume.secret.is_some() || volume.projected.is_some()
        });
        is_copy || self.lifecycle.slots.iter().any(Slot::is_held)
    }

    pub(super) fn objects_changed(&mut self) {
        let now = Instant::now();
        // What could not be made is tried at once: a pod that waits for a ConfigMap starts with it.
        let soon = if self.volumes.is_none() {
            now
        } else {
            now + SETTLE
        };
        self.refresh = Some(self.refresh.map_or(soon, |refresh| refresh.min(soon)));
        for slot in &mut self.lifecycle.slots {
            slot.try_again(now);
        }
    }
}
