//! Pods that nobody would end: those of nodes that are gone.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use tokio::sync::watch;

use super::objects::Key;
use super::queue::{self, Again};
use super::{Context, Error, pods};

/// How long a node may be missing: at the start it has not registered itself yet, and a node that
/// is made anew is deleted first.
const QUARANTINE: Duration = Duration::from_secs(40);

/// Ends them, for ever.
pub(super) async fn run(context: Context) {
    let (adder, queue) = queue::queue::<Key>("pod_garbage");
    context.nodes.synced().await;
    context.pods.synced().await;
    // Pods are judged when the node that they are on has been missing for a while.
    let (missing, confirmed) = watch::channel(HashSet::<String>::new());
    let missing = Arc::new(missing);
    let nodes = adder.clone();
    context.nodes.listen(move |change| {
        if let Some(node) = change.latest() {
            nodes.add(Key::new("", node.name_any()));
        }
    });
    context.pods.listen(move |change| {
        let node = change.new.as_ref().map(|pod| node_of(pod).to_owned());
        if let Some(node) = node.filter(|node| !node.is_empty()) {
            adder.add(Key::new("", node));
        }
    });
    queue
        .run(move |key| reconcile(context.clone(), missing.clone(), confirmed.clone(), key))
        .await;
}

async fn reconcile(
    context: Context,
    missing: Arc<watch::Sender<HashSet<String>>>,
    confirmed: watch::Receiver<HashSet<String>>,
    node: Key,
) -> Result<Again, Error> {
    if context.nodes.get(&node).is_some() {
        missing.send_if_modified(|missing| missing.remove(&node.name));
        return Ok(Again::Never);
    }
    let on_node = |pod: &Arc<Pod>| node_of(pod) == node.name;
    let orphans: Vec<_> = context.pods.all().into_iter().filter(on_node).collect();
    if orphans.is_empty() {
        return Ok(Again::Never);
    }
    if !confirmed.borrow().contains(&node.name) {
        tokio::time::sleep(QUARANTINE).await;
        let is_missing = context.nodes.get(&node).is_none();
        if is_missing {
            missing.send_if_modified(|missing| missing.insert(node.name.clone()));
        }
        return Ok(Again::After(Duration::ZERO));
    }
    for pod in orphans {
        fail(&context, &pod).await?;
        let now = DeleteParams {
            grace_period_seconds: Some(0),
            ..DeleteParams::default()
        };
        context.pods.delete(pod.as_ref(), now).await?;
    }
    Ok(Again::Never)
}

/// Says what became of the pod: whoever owns it must not count it as running.
async fn fail(context: &Context, pod: &Pod) -> Result<(), Error> {
    if pods::is_finished(pod) {
        return Ok(());
    }
    let mut failed = pod.clone();
    let status = failed.status.get_or_insert_default();
    status.phase = Some("Failed".into());
    status.reason = Some("NodeLost".into());
    status.message = Some("The node that ran the pod does not exist any more.".into());
    match context.pods.replace_status(&failed).await {
        Err(error) if error.is_not_found() => Ok(()),
        result => result.map(drop),
    }
}

fn node_of(pod: &Pod) -> &str {
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.node_name.as_deref())
        .unwrap_or_default()
}
