//! StatefulSets: pods with names of their own, made and ended in order.
//!
//! There are no ControllerRevisions: every new pod is of the current template, also below a
//! partition, and `kubectl rollout undo` has nothing to go back to. `volumeClaimTemplates` are
//! refused, since the local cluster has no persistent volumes.

mod plan;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::objects::Key;
use super::queue::{self, Again};
use super::selector::Selector;
use super::{Context, Error, clock, meta, pods, replica_set};

const COMPONENT: &str = "statefulset-controller";

/// Keeps all StatefulSets, for ever.
pub(super) async fn run(context: Context) {
    let (adder, queue) = queue::queue::<Key>("stateful_set");
    let sets = adder.clone();
    context.stateful_sets.listen(move |change| {
        if let Some(set) = &change.new {
            sets.add(Key::of(set.as_ref()));
        }
    });
    let (owned, context_of) = (adder, context.clone());
    context
        .pods
        .listen(move |change| replica_set::owners_of(&context_of, change, "StatefulSet", &owned));
    context.stateful_sets.synced().await;
    context.pods.synced().await;
    queue.run(move |key| reconcile(context.clone(), key)).await;
}

async fn reconcile(context: Context, key: Key) -> Result<Again, Error> {
    let Some(set) = context.stateful_sets.get(&key) else {
        return Ok(Again::Never);
    };
    let invalid = |why| Error::Invalid {
        what: format!("StatefulSet {key}"),
        why,
    };
    let spec = set.spec.clone().unwrap_or_default();
    let selector = Selector::parse(&spec.selector).map_err(invalid)?;
    if selector.is_empty() {
        return Err(invalid(
            "its selector is empty and would select every pod".into(),
        ));
    }
    if spec
        .volume_claim_templates
        .is_some_and(|claims| !claims.is_empty())
    {
        let message = "volumeClaimTemplates are not supported: this cluster has no persistent \
                       volumes; use an emptyDir volume of the template";
        context
            .recorder
            .warning(COMPONENT, set.as_ref(), "FailedCreate", message);
        // Nothing changes until somebody changes the set.
        return Ok(Again::Never);
    }
    let owned = pods::claim(&context.pods, set.as_ref(), &selector).await?;
    let mut written = Ok(());
    if !meta::is_terminating(set.as_ref()) {
        let plan = plan::plan(&set, &owned, clock::now());
        written = pods::delete(&context, COMPONENT, set.as_ref(), &plan.delete).await;
        if written.is_ok() {
            let create = plan.create.iter().map(|ordinal| new_pod(&set, *ordinal));
            written = pods::create(&context, COMPONENT, set.as_ref(), create.collect()).await;
        }
    }
    let all = context.pods.within(&key.namespace).into_iter();
    let owned: Vec<_> = all
        .filter(|pod| meta::is_controlled_by(&pod.metadata, set.as_ref()))
        .collect();
    let (status, again) = plan::status(&set, &owned, clock::now());
    write_status(&context, &set, status).await?;
    written.map(|()| again)
}

fn new_pod(set: &StatefulSet, ordinal: i32) -> Pod {
    let spec = set.spec.clone().unwrap_or_default();
    let namespace = set.namespace().unwrap_or_default();
    let owner = meta::controller_reference(set);
    let mut pod = pods::from_template(&spec.template, owner, &namespace);
    let name = plan::pod_name(set, ordinal);
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(name.clone());
    let labels = pod.metadata.labels.get_or_insert_default();
    for (key, value) in [
        (plan::HASH_LABEL, plan::revision(set)),
        ("statefulset.kubernetes.io/pod-name", name.clone()),
        ("apps.kubernetes.io/pod-index", ordinal.to_string()),
    ] {
        labels.insert(key.into(), value);
    }
    let pod_spec = pod.spec.get_or_insert_default();
    pod_spec.hostname = Some(name);
    pod_spec.subdomain = spec.service_name.filter(|name| !name.is_empty());
    pod
}

async fn write_status(
    context: &Context,
    set: &StatefulSet,
    status: StatefulSetStatus,
) -> Result<(), Error> {
    if set.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let mut updated = set.clone();
    updated.status = Some(status);
    match context.stateful_sets.replace_status(&updated).await {
        Err(error) if error.is_not_found() => Ok(()),
        result => result.map(drop),
    }
}
