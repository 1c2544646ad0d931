//! Deployments: one ReplicaSet per revision of the template, and the way from one to the next.

mod plan;
mod revision;
mod rolling;
mod status;

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, PropagationPolicy};
use serde_json::json;

use self::plan::{Action, Observed};
use super::objects::Key;
use super::queue::{self, Adder, Again};
use super::selector::Selector;
use super::{Context, Error, clock, meta, pods};

const COMPONENT: &str = "deployment-controller";

/// Keeps all Deployments, for ever.
pub(super) async fn run(context: Context) {
    let (adder, queue) = queue::queue::<Key>("deployment");
    listen(&context, &adder);
    context.deployments.synced().await;
    context.replica_sets.synced().await;
    context.pods.synced().await;
    queue.run(move |key| reconcile(context.clone(), key)).await;
}

fn listen(context: &Context, adder: &Adder<Key>) {
    let deployments = adder.clone();
    context.deployments.listen(move |change| {
        if let Some(deployment) = &change.new {
            deployments.add(Key::of(deployment.as_ref()));
        }
    });
    let (sets, all) = (adder.clone(), context.deployments.clone());
    context.replica_sets.listen(move |change| {
        for set in change.both() {
            let namespace = set.namespace().unwrap_or_default();
            if let Some(owner) = meta::controller_of(&set.metadata) {
                sets.add(Key::new(namespace, owner.name.clone()));
            } else {
                // Whoever selects it may want to adopt it.
                for deployment in all.within(&namespace) {
                    sets.add(Key::of(deployment.as_ref()));
                }
            }
        }
    });
    // Only Recreate waits for pods: for the end of the last old one.
    let (ended, sets) = (adder.clone(), context.replica_sets.clone());
    context.pods.listen(move |change| {
        let (Some(old), None) = (&change.old, &change.new) else {
            return;
        };
        let namespace = old.namespace().unwrap_or_default();
        let set = meta::controller_of(&old.metadata)
            .and_then(|owner| sets.get(&Key::new(namespace.clone(), owner.name.clone())));
        let owner = set
            .as_ref()
            .and_then(|set| meta::controller_of(&set.metadata));
        if let Some(owner) = owner {
            ended.add(Key::new(namespace, owner.name.clone()));
        }
    });
}

async fn reconcile(context: Context, key: Key) -> Result<Again, Error> {
    let Some(deployment) = context.deployments.get(&key) else {
        return Ok(Again::Never);
    };
    let invalid = |why| Error::Invalid {
        what: format!("Deployment {key}"),
        why,
    };
    let spec = deployment.spec.clone().unwrap_or_default();
    let selector = Selector::parse(&spec.selector).map_err(invalid)?;
    if selector.is_empty() {
        return Err(invalid(
            "its selector is empty and would select every pod".into(),
        ));
    }
    let sets = pods::claim(&context.replica_sets, deployment.as_ref(), &selector).await?;
    let actions = plan::plan(&Observed {
        deployment: &deployment,
        sets: &sets,
        pods: &context.pods.within(&key.namespace),
    });
    let mut created = None;
    let mut failure = None;
    for action in actions {
        if let Action::Create(set) = &action {
            created = Some(set.name_any());
        }
        if let Err(error) = act(&context, &deployment, action).await {
            failure = Some(error);
            break;
        }
    }
    let again = report(&context, &key, created.as_deref(), failure.as_ref()).await?;
    failure.map_or(Ok(again), Err)
}

async fn act(context: &Context, deployment: &Deployment, action: Action) -> Result<(), Error> {
    match action {
        Action::Create(set) => create(context, deployment, &set).await,
        Action::Update {
            set,
            replicas,
            annotations,
        } => update(context, deployment, &set, replicas, annotations).await,
        Action::Delete(set) => {
            let how = DeleteParams {
                propagation_policy: Some(PropagationPolicy::Background),
                ..DeleteParams::default()
            };
            context.replica_sets.delete(set.as_ref(), how).await
        }
        Action::SetRevision(revision) => {
            let patch = json!({"metadata": {"annotations": {revision::REVISION: revision}}});
            context.deployments.patch(deployment, patch).await.map(drop)
        }
    }
}

async fn create(context: &Context, deployment: &Deployment, set: &ReplicaSet) -> Result<(), Error> {
    match context.replica_sets.create(set).await {
        Ok(created) => {
            let count = created
                .spec
                .as_ref()
                .and_then(|spec| spec.replicas)
                .unwrap_or(0);
            if count > 0 {
                scaled(context, deployment, &created, 0, count);
            }
            Ok(())
        }
        Err(error) if error.is_namespace_terminating() => Ok(()),
        Err(error) if error.is_existing() => {
            // Somebody else's set has the name: the next attempt makes another one.
            let mut counted = deployment.clone();
            let status = counted.status.get_or_insert_default();
            *status.collision_count.get_or_insert(0) += 1;
            context.deployments.replace_status(&counted).await?;
            Err(error)
        }
        Err(error) => {
            let message = format!(
                "Failed to create new replica set {:?}: {}",
                set.name_any(),
                error.message()
            );
            context
                .recorder
                .warning(COMPONENT, deployment, "ReplicaSetCreateError", message);
            Err(error)
        }
    }
}

async fn update(
    context: &Context,
    deployment: &Deployment,
    set: &Arc<ReplicaSet>,
    replicas: i32,
    annotations: std::collections::BTreeMap<String, String>,
) -> Result<(), Error> {
    let mut updated = ReplicaSet::clone(set);
    let spec = updated.spec.get_or_insert_default();
    let before = spec.replicas.unwrap_or(1);
    spec.replicas = Some(replicas);
    spec.min_ready_seconds = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.min_ready_seconds);
    updated.metadata.annotations = Some(annotations);
    let updated = context.replica_sets.replace(&updated).await?;
    if before != replicas {
        scaled(context, deployment, &updated, before, replicas);
    }
    Ok(())
}

fn scaled(context: &Context, deployment: &Deployment, set: &ReplicaSet, from: i32, to: i32) {
    let direction = if to > from { "up" } else { "down" };
    let name = set.name_any();
    let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
    context
        .recorder
        .normal(COMPONENT, deployment, "ScalingReplicaSet", message);
}

/// Writes the status, with everything that is known after acting.
async fn report(
    context: &Context,
    key: &Key,
    created: Option<&str>,
    failure: Option<&Error>,
) -> Result<Again, Error> {
    let Some(deployment) = context.deployments.get(key) else {
        return Ok(Again::Never);
    };
    let sets = context.replica_sets.within(&key.namespace);
    let sets: Vec<_> = sets
        .into_iter()
        .filter(|set| meta::is_controlled_by(&set.metadata, deployment.as_ref()))
        .collect();
    let step = status::Step {
        created,
        failure: failure.map(Error::message),
    };
    let (status, again) = status::status(&deployment, &sets, &step, clock::now());
    if deployment.status.as_ref() == Some(&status) {
        return Ok(again);
    }
    let mut updated = Deployment::clone(&deployment);
    updated.status = Some(status);
    match context.deployments.replace_status(&updated).await {
        Err(error) if error.is_not_found() => Ok(Again::Never),
        result => result.map(|_| again),
    }
}
