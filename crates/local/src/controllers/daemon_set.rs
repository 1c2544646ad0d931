//! DaemonSets: one pod of a template on every node.
//!
//! Pods are bound to their node at once; tolerations and affinities are not looked at, since the
//! local cluster's node has no taints.

mod plan;

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::objects::Key;
use super::queue::{self, Again};
use super::selector::Selector;
use super::{Context, Error, clock, meta, pods, replica_set};

const COMPONENT: &str = "daemonset-controller";

/// Keeps all DaemonSets, for ever.
pub(super) async fn run(context: Context) {
    let (adder, queue) = queue::queue::<Key>("daemon_set");
    let sets = adder.clone();
    context.daemon_sets.listen(move |change| {
        if let Some(set) = &change.new {
            sets.add(Key::of(set.as_ref()));
        }
    });
    let (nodes, all) = (adder.clone(), context.daemon_sets.clone());
    context.nodes.listen(move |change| {
        let labels = |node: &Arc<k8s_openapi::api::core::v1::Node>| node.metadata.labels.clone();
        if change.old.as_ref().map(labels) != change.new.as_ref().map(labels) {
            for set in all.all() {
                nodes.add(Key::of(set.as_ref()));
            }
        }
    });
    let (owned, context_of) = (adder, context.clone());
    context
        .pods
        .listen(move |change| replica_set::owners_of(&context_of, change, "DaemonSet", &owned));
    context.daemon_sets.synced().await;
    context.nodes.synced().await;
    context.pods.synced().await;
    queue.run(move |key| reconcile(context.clone(), key)).await;
}

async fn reconcile(context: Context, key: Key) -> Result<Again, Error> {
    let Some(set) = context.daemon_sets.get(&key) else {
        return Ok(Again::Never);
    };
    let invalid = |why| Error::Invalid {
        what: format!("DaemonSet {key}"),
        why,
    };
    let spec = set.spec.clone().unwrap_or_default();
    let selector = Selector::parse(&spec.selector).map_err(invalid)?;
    if selector.is_empty() {
        return Err(invalid(
            "its selector is empty and would select every pod".into(),
        ));
    }
    let owned = pods::claim(&context.pods, set.as_ref(), &selector).await?;
    let nodes = context.nodes.all();
    let mut written = Ok(());
    if !meta::is_terminating(set.as_ref()) {
        let plan = plan::plan(&set, &nodes, &owned, clock::now());
        written = pods::delete(&context, COMPONENT, set.as_ref(), &plan.delete).await;
        if written.is_ok() {
            let create = plan.create.iter().map(|node| new_pod(&set, node));
            written = pods::create(&context, COMPONENT, set.as_ref(), create.collect()).await;
        }
    }
    let all = context.pods.within(&key.namespace).into_iter();
    let owned: Vec<_> = all
        .filter(|pod| meta::is_controlled_by(&pod.metadata, set.as_ref()))
        .collect();
    let (status, again) = plan::status(&set, &nodes, &owned, clock::now());
    write_status(&context, &set, status).await?;
    written.map(|()| again)
}

fn new_pod(set: &DaemonSet, node: &str) -> Pod {
    let template = set
        .spec
        .as_ref()
        .map(|spec| spec.template.clone())
        .unwrap_or_default();
    let namespace = set.namespace().unwrap_or_default();
    let mut pod = pods::from_template(&template, meta::controller_reference(set), &namespace);
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(plan::HASH_LABEL.into(), plan::hash(set));
    pod.spec.get_or_insert_default().node_name = Some(node.into());
    pod
}

async fn write_status(
    context: &Context,
    set: &DaemonSet,
    status: DaemonSetStatus,
) -> Result<(), Error> {
    if set.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let mut updated = set.clone();
    updated.status = Some(status);
    match context.daemon_sets.replace_status(&updated).await {
        Err(error) if error.is_not_found() => Ok(()),
        result => result.map(drop),
    }
}
