//! Pods, as every controller of pods sees them: their state, adoption, creation and deletion.

use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::api::DeleteParams;
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt as _};
use serde_json::json;

use super::objects::{Objects, Watched};
use super::selector::Selector;
use super::{Context, Error, clock, meta};

/// The phase of a pod; empty before there is one.
pub(super) fn phase(pod: &Pod) -> &str {
    let status = pod.status.as_ref();
    status
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

/// Answers whether a pod has ended by itself.
pub(super) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Answers whether a pod counts: it has not ended and is not being deleted.
pub(super) fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !meta::is_terminating(pod)
}

/// A condition of a pod.
pub(super) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Answers whether a pod is ready.
pub(super) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Since when a pod is ready.
pub(super) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|ready| ready.status == "True")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

/// Answers whether a pod has been ready for `seconds`, or says how long it still must be.
pub(super) fn availability(pod: &Pod, seconds: i32, now: Timestamp) -> Availability {
    let Some(ready) = condition(pod, "Ready").filter(|ready| ready.status == "True") else {
        return Availability::Unready;
    };
    if seconds <= 0 {
        return Availability::Available;
    }
    match &ready.last_transition_time {
        None => Availability::Unready,
        Some(since) => match clock::remaining(since, seconds.into(), now) {
            None => Availability::Available,
            Some(left) => Availability::After(left),
        },
    }
}

/// Whether a pod is available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Availability {
    Unready,
    /// It is ready, and available after this time.
    After(std::time::Duration),
    Available,
}

/// A pod made of a template, owned by `owner`; its name is completed by the server.
pub(super) fn from_template(
    template: &PodTemplateSpec,
    owner: OwnerReference,
    namespace: &str,
) -> Pod {
    let from = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            namespace: Some(namespace.into()),
            generate_name: Some(format!("{}-", owner.name)),
            labels: from.labels,
            annotations: from.annotations,
            finalizers: from.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// The objects that `owner` controls, after taking those that its selector matches and nobody
/// controls, and releasing those that it no longer matches.
pub(super) async fn claim<K, O>(
    objects: &Objects<K>,
    owner: &O,
    selector: &Selector,
) -> Result<Vec<Arc<K>>, Error>
where
    K: Watched + Resource<Scope = NamespaceResourceScope>,
    O: Resource<DynamicType = ()>,
{
    let namespace = owner.meta().namespace.clone().unwrap_or_default();
    let mut claimed = Vec::new();
    for object in objects.within(&namespace) {
        let matches = selector.matches(object.meta().labels.as_ref());
        match meta::controller_of(object.meta()) {
            Some(controller) if controller.uid != meta::uid(owner) => {}
            Some(_) if matches => claimed.push(object),
            Some(_) if meta::is_terminating(owner) => {}
            Some(_) => release(objects, object.as_ref(), owner).await?,
            None if matches
                && !meta::is_terminating(owner)
                && !meta::is_terminating(object.as_ref()) =>
            {
                if let Some(adopted) = adopt(objects, object.as_ref(), owner).await? {
                    claimed.push(Arc::new(adopted));
                }
            }
            None => {}
        }
    }
    Ok(claimed)
}

async fn adopt<K, O>(objects: &Objects<K>, object: &K, owner: &O) -> Result<Option<K>, Error>
where
    K: Watched + Resource<Scope = NamespaceResourceScope>,
    O: Resource<DynamicType = ()>,
{
    let mut owners = object.owner_references().to_vec();
    owners.push(meta::controller_reference(owner));
    change_owners(objects, object, &owners).await
}

async fn release<K, O>(objects: &Objects<K>, object: &K, owner: &O) -> Result<(), Error>
where
    K: Watched + Resource<Scope = NamespaceResourceScope>,
    O: Resource<DynamicType = ()>,
{
    let mut owners = object.owner_references().to_vec();
    owners.retain(|reference| reference.uid != meta::uid(owner));
    change_owners(objects, object, &owners).await.map(drop)
}

/// Changes the owners of exactly this object; nothing if it is gone.
async fn change_owners<K>(
    objects: &Objects<K>,
    object: &K,
    owners: &[OwnerReference],
) -> Result<Option<K>, Error>
where
    K: Watched + Resource<Scope = NamespaceResourceScope>,
{
    let patch = json!({"metadata": {
        "uid": object.uid(),
        "resourceVersion": object.resource_version(),
        "ownerReferences": owners,
    }});
    match objects.patch(object, patch).await {
        Ok(changed) => Ok(Some(changed)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates pods, one first, then twice as many at once each time: if none can be created (a
/// webhook is down, the template is wrong) the server is asked only a few times.
pub(super) async fn create<O: Resource<DynamicType = ()>>(
    context: &Context,
    component: &'static str,
    owner: &O,
    pods: Vec<Pod>,
) -> Result<(), Error> {
    let mut pods = pods.as_slice();
    let mut at_once = 1;
    while !pods.is_empty() {
        let (batch, rest) = pods.split_at(at_once.min(pods.len()));
        let created = join_all(batch.iter().map(|pod| context.pods.create(pod))).await;
        for result in created {
            match result {
                Ok(pod) => {
                    let message = format!("Created pod: {}", pod.name_any());
                    context
                        .recorder
                        .normal(component, owner, "SuccessfulCreate", message);
                }
                // Whoever owned the pod is going as well.
                Err(error) if error.is_namespace_terminating() => return Ok(()),
                Err(error) => {
                    let message = format!("Error creating: {}", error.message());
                    context
                        .recorder
                        .warning(component, owner, "FailedCreate", message);
                    return Err(error);
                }
            }
        }
        pods = rest;
        at_once *= 2;
    }
    Ok(())
}

/// Deletes pods, all at once.
pub(super) async fn delete<O: Resource<DynamicType = ()>>(
    context: &Context,
    component: &'static str,
    owner: &O,
    pods: &[Arc<Pod>],
) -> Result<(), Error> {
    let deletions = pods.iter().map(|pod| async move {
        let deleted = context
            .pods
            .delete(pod.as_ref(), DeleteParams::default())
            .await;
        (pod, deleted)
    });
    for (pod, deleted) in join_all(deletions).await {
        match deleted {
            Ok(()) => {
                let message = format!("Deleted pod: {}", pod.name_any());
                context
                    .recorder
                    .normal(component, owner, "SuccessfulDelete", message);
            }
            Err(error) => {
                let message = format!("Error deleting: {}", error.message());
                context
                    .recorder
                    .warning(component, owner, "FailedDelete", message);
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Pods as tests write them.
#[cfg(test)]
pub(super) mod testing {
    use k8s_openapi::api::core::v1::{Pod, PodCondition, PodSpec, PodStatus};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    /// A point in time.
    pub(crate) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    /// A running pod that became ready at a time, or is not ready.
    pub(crate) fn pod(name: &str, ready_since: Option<i64>) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.namespace = Some("default".into());
        pod.metadata.name = Some(name.into());
        pod.metadata.uid = Some(format!("uid-{name}"));
        pod.metadata.creation_timestamp = Some(Time(at(0)));
        pod.spec = Some(PodSpec::default());
        let ready = PodCondition {
            type_: "Ready".into(),
            status: if ready_since.is_some() {
                "True"
            } else {
                "False"
            }
            .into(),
            last_transition_time: Some(Time(at(ready_since.unwrap_or(0)))),
            ..PodCondition::default()
        };
        pod.status = Some(PodStatus {
            phase: Some("Running".into()),
            conditions: Some(vec![ready]),
            ..PodStatus::default()
        });
        pod
    }

    /// The pod in another phase.
    pub(crate) fn in_phase(mut pod: Pod, phase: &str) -> Pod {
        pod.status.get_or_insert_default().phase = Some(phase.into());
        pod
    }
}
