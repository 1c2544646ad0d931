//! Watches pods: hands those of this node to their workers, and finds a node for the others.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use tokio::sync::mpsc;

use super::Context;
use super::schedule::Scheduler;
use super::worker::{self, News};

/// How often pods are looked at again that did not fit; a change comes sooner.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The pods of the cluster, and who works on those of this node.
struct Agent {
    context: Arc<Context>,
    /// All pods by uid.
    pods: BTreeMap<String, Arc<Pod>>,
    workers: HashMap<String, mpsc::UnboundedSender<News>>,
    scheduler: Scheduler,
}

/// Runs all pods of the node, for ever.
pub(super) async fn run(context: &Arc<Context>) {
    let mut agent = Agent {
        scheduler: Scheduler::new(context),
        context: Arc::clone(context),
        pods: BTreeMap::new(),
        workers: HashMap::new(),
    };
    let client = &context.client;
    let pods = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default());
    let mut pods = std::pin::pin!(pods.default_backoff());
    let own = watcher::Config::default().fields(&format!("metadata.name={}", context.name));
    let node = watcher(Api::<Node>::all(client.clone()), own);
    let mut node = std::pin::pin!(node.default_backoff().applied_objects());
    let mut again = tokio::time::interval(LOOK_AGAIN);
    let mut listed = HashSet::new();
    loop {
        tokio::select! {
            Some(event) = pods.next() => match event {
                Ok(event) => agent.hear(event, &mut listed),
                Err(error) => {
                    tracing::warn!(%error, "the node cannot watch pods");
                    continue;
                }
            },
            Some(node) = node.next() => match node {
                Ok(node) => agent.scheduler.see_node(node),
                Err(error) => {
                    tracing::warn!(%error, "the node cannot watch itself");
                    continue;
                }
            },
            _ = again.tick() => {}
        }
        agent.scheduler.schedule(&agent.pods);
    }
}

// === impl Agent ===

impl Agent {
    fn hear(&mut self, event: watcher::Event<Pod>, listed: &mut HashSet<String>) {
        match event {
            watcher::Event::Apply(pod) => self.apply(pod),
            watcher::Event::Delete(pod) => self.delete(&pod.uid().unwrap_or_default()),
            watcher::Event::Init => listed.clear(),
            watcher::Event::InitApply(pod) => {
                listed.extend(pod.uid());
                self.apply(pod);
            }
            watcher::Event::InitDone => {
                let known = self.pods.keys();
                let gone: Vec<_> = known
                    .filter(|uid| !listed.contains(*uid))
                    .cloned()
                    .collect();
                for uid in gone {
                    self.delete(&uid);
                }
            }
        }
    }

    fn apply(&mut self, pod: Pod) {
        let Some(uid) = pod.uid() else { return };
        let pod = Arc::new(pod);
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        if node == Some(self.context.name.as_str()) {
            self.give(&uid, &pod);
        }
        self.pods.insert(uid, pod);
    }

    /// Hands a pod to its worker, which is begun with the first news of it.
    fn give(&mut self, uid: &str, pod: &Arc<Pod>) {
        if let Some(worker) = self.workers.get(uid) {
            // A worker that has ended waits for the pod to go from the API.
            let _ = worker.send(News::Pod(Arc::clone(pod)));
            return;
        }
        let (tell, news) = mpsc::unbounded_channel();
        tokio::spawn(worker::run(
            Arc::clone(&self.context),
            Arc::clone(pod),
            news,
        ));
        self.workers.insert(uid.to_owned(), tell);
    }

    fn delete(&mut self, uid: &str) {
        self.pods.remove(uid);
        self.scheduler.forget(uid);
        if let Some(worker) = self.workers.remove(uid) {
            let _ = worker.send(News::Gone);
        }
    }
}
