//! ReplicaSets: as many pods of a template as are wished.

mod plan;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::objects::{Change, Key};
use super::queue::{self, Adder, Again};
use super::selector::Selector;
use super::{Context, Error, clock, meta, pods};

const COMPONENT: &str = "replicaset-controller";

/// Keeps all ReplicaSets, for ever.
pub(super) async fn run(context: Context) {
    let (adder, queue) = queue::queue::<Key>("replica_set");
    listen(&context, &adder);
    context.replica_sets.synced().await;
    context.pods.synced().await;
    queue.run(move |key| reconcile(context.clone(), key)).await;
}

fn listen(context: &Context, adder: &Adder<Key>) {
    let sets = adder.clone();
    context.replica_sets.listen(move |change| {
        if let Some(set) = &change.new {
            sets.add(Key::of(set.as_ref()));
        }
    });
    let (pods, context_of) = (adder.clone(), context.clone());
    context
        .pods
        .listen(move |change| owners_of(&context_of, change, "ReplicaSet", &pods));
}

/// Adds the controllers, of a kind, of a pod that changed; of one without a controller all that
/// may want to adopt it.
pub(super) fn owners_of(
    context: &Context,
    change: &Change<k8s_openapi::api::core::v1::Pod>,
    kind: &str,
    adder: &Adder<Key>,
) {
    for pod in change.both() {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        if let Some(owner) = meta::controller_of(&pod.metadata) {
            if owner.kind == kind {
                adder.add(Key::new(namespace, owner.name.clone()));
            }
        } else if kind == "ReplicaSet" && change.new.is_some() {
            let labels = pod.metadata.labels.as_ref();
            for set in context.replica_sets.within(&namespace) {
                let selector = set
                    .spec
                    .as_ref()
                    .map(|spec| Selector::parse(&spec.selector));
                if matches!(selector, Some(Ok(selector)) if selector.matches(labels)) {
                    adder.add(Key::of(set.as_ref()));
                }
            }
        }
    }
}

async fn reconcile(context: Context, key: Key) -> Result<Again, Error> {
    let Some(set) = context.replica_sets.get(&key) else {
        return Ok(Again::Never);
    };
    let spec = set.spec.clone().unwrap_or_default();
    let selector = Selector::parse(&spec.selector).map_err(|why| invalid(&key, why))?;
    if selector.is_empty() {
        return Err(invalid(
            &key,
            "its selector is empty and would select every pod".into(),
        ));
    }
    let owned = pods::claim(&context.pods, set.as_ref(), &selector).await?;
    let written = if meta::is_terminating(set.as_ref()) {
        Ok(())
    } else {
        manage(&context, &set, &owned).await
    };
    // After writing more is known than `owned` has.
    let owned: Vec<_> = context.pods.within(&key.namespace);
    let owned = owned
        .into_iter()
        .filter(|pod| meta::is_controlled_by(&pod.metadata, set.as_ref()));
    let owned: Vec<_> = owned.collect();
    let now = clock::now();
    let (mut status, again) = plan::status(&set, &owned, now);
    status.conditions = conditions(&set, written.as_ref().err());
    write_status(&context, &set, status).await?;
    written.map(|()| again)
}

async fn manage(
    context: &Context,
    set: &ReplicaSet,
    owned: &[std::sync::Arc<k8s_openapi::api::core::v1::Pod>],
) -> Result<(), Error> {
    match plan::plan(set, owned, clock::now()) {
        plan::Plan::Nothing => Ok(()),
        plan::Plan::Create(count) => {
            let template = set.spec.as_ref().and_then(|spec| spec.template.clone());
            let template = template.unwrap_or_default();
            let namespace = set.metadata.namespace.clone().unwrap_or_default();
            let owner = meta::controller_reference(set);
            let pod = pods::from_template(&template, owner, &namespace);
            pods::create(context, COMPONENT, set, vec![pod; count]).await
        }
        plan::Plan::Delete(victims) => pods::delete(context, COMPONENT, set, &victims).await,
    }
}

/// The conditions: whether pods cannot be made.
fn conditions(set: &ReplicaSet, failure: Option<&Error>) -> Option<Vec<ReplicaSetCondition>> {
    const KIND: &str = "ReplicaFailure";
    let before = set
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone());
    let mut conditions = before.unwrap_or_default();
    let known = conditions
        .iter()
        .position(|condition| condition.type_ == KIND);
    match (failure, known) {
        (None, Some(index)) => {
            conditions.remove(index);
        }
        (Some(failure), None) => conditions.push(ReplicaSetCondition {
            type_: KIND.into(),
            status: "True".into(),
            reason: Some("FailedCreate".into()),
            message: Some(failure.message()),
            last_transition_time: Some(Time(clock::now())),
        }),
        (Some(failure), Some(index)) => conditions[index].message = Some(failure.message()),
        (None, None) => {}
    }
    Some(conditions).filter(|conditions| !conditions.is_empty())
}

async fn write_status(
    context: &Context,
    set: &ReplicaSet,
    status: ReplicaSetStatus,
) -> Result<(), Error> {
    if set.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let mut updated = set.clone();
    updated.status = Some(status);
    match context.replica_sets.replace_status(&updated).await {
        Err(error) if error.is_not_found() => Ok(()),
        result => result.map(drop),
    }
}

fn invalid(key: &Key, why: String) -> Error {
    Error::Invalid {
        what: format!("ReplicaSet {key}"),
        why,
    }
}
