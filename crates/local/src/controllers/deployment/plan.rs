//! The next step of a Deployment: values in, actions out.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;

use super::revision::{self, Sets, replicas, set_replicas};
use super::rolling::{self, Bounds};
use crate::controllers::{meta, pods};

/// What is known.
pub(super) struct Observed<'a> {
    pub(super) deployment: &'a Deployment,
    /// Its sets.
    pub(super) sets: &'a [Arc<ReplicaSet>],
    /// The pods of its namespace.
    pub(super) pods: &'a [Arc<Pod>],
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    Create(Box<ReplicaSet>),
    Update {
        set: Arc<ReplicaSet>,
        replicas: i32,
        annotations: BTreeMap<String, String>,
    },
    Delete(Arc<ReplicaSet>),
    /// Writes the revision of the new set into the Deployment.
    SetRevision(String),
}

/// Decides the next step. What follows from it is decided when its effects are known.
pub(super) fn plan(observed: &Observed<'_>) -> Vec<Action> {
    let deployment = observed.deployment;
    if meta::is_terminating(deployment) {
        return Vec::new();
    }
    let sets = Sets::of(deployment, observed.sets);
    let is_paused = deployment
        .spec
        .as_ref()
        .is_some_and(|spec| spec.paused == Some(true));
    if is_paused || rolling::was_scaled(deployment, &sets) {
        let sizes = rolling::proportional(deployment, &sets);
        let mut actions = resize(deployment, sizes);
        if is_paused {
            actions.extend(cleanup(deployment, &sets));
        }
        return actions;
    }
    let mut actions = if rolling::is_recreate(deployment) {
        recreate(observed, &sets)
    } else {
        roll(deployment, &sets)
    };
    actions.extend(write_revision(deployment, &sets));
    if actions.is_empty() && is_complete(deployment, &sets) {
        actions = cleanup(deployment, &sets);
    }
    actions
}

fn roll(deployment: &Deployment, sets: &Sets<'_>) -> Vec<Action> {
    let current = sets.new.map_or(0, |set| set_replicas(set));
    let size = rolling::new_size(deployment, sets, current);
    if let Some(action) = new_set(deployment, sets, size) {
        return vec![action];
    }
    resize(deployment, rolling::old_sizes(deployment, sets))
}

fn recreate(observed: &Observed<'_>, sets: &Sets<'_>) -> Vec<Action> {
    let deployment = observed.deployment;
    let old = sets.old.iter().filter(|set| set_replicas(set) > 0);
    let down: Vec<_> = old.map(|set| (*set, 0)).collect();
    if !down.is_empty() {
        return resize(deployment, down);
    }
    let is_old = |pod: &Pod| {
        let mut old = sets.old.iter();
        old.any(|set| meta::is_controlled_by(&pod.metadata, set.as_ref()))
    };
    // Also those that are still ending: two revisions never run at once.
    let has_old_pods = observed
        .pods
        .iter()
        .any(|pod| is_old(pod) && !pods::is_finished(pod));
    if has_old_pods {
        return Vec::new();
    }
    new_set(deployment, sets, replicas(deployment))
        .into_iter()
        .collect()
}

/// Makes the new set, or gives it its size and annotations; nothing if it has them.
fn new_set(deployment: &Deployment, sets: &Sets<'_>, size: i32) -> Option<Action> {
    let maximum = replicas(deployment) + Bounds::of(deployment).surge;
    let next = sets.next_revision();
    let Some(set) = sets.new else {
        let set = revision::new_set(deployment, next, size, maximum);
        return Some(Action::Create(Box::new(set)));
    };
    let annotations = revision::annotations(
        deployment,
        Some(set),
        next.max(revision::revision(set)),
        maximum,
    );
    let min_ready = |seconds: Option<i32>| seconds.unwrap_or(0);
    let is_same = set_replicas(set) == size
        && set.metadata.annotations.as_ref() == Some(&annotations)
        && min_ready(set.spec.as_ref().and_then(|spec| spec.min_ready_seconds))
            == min_ready(
                deployment
                    .spec
                    .as_ref()
                    .and_then(|spec| spec.min_ready_seconds),
            );
    (!is_same).then(|| Action::Update {
        set: set.clone(),
        replicas: size,
        annotations,
    })
}

fn resize(deployment: &Deployment, sizes: Vec<rolling::Sizing<'_>>) -> Vec<Action> {
    let maximum = replicas(deployment) + Bounds::of(deployment).surge;
    let updates = sizes.into_iter().filter_map(|(set, size)| {
        let annotations = revision::sizes(deployment, set, maximum);
        let is_same =
            set_replicas(set) == size && set.metadata.annotations.as_ref() == Some(&annotations);
        (!is_same).then(|| Action::Update {
            set: set.clone(),
            replicas: size,
            annotations,
        })
    });
    updates.collect()
}

fn write_revision(deployment: &Deployment, sets: &Sets<'_>) -> Option<Action> {
    let revision = meta::annotation(&sets.new?.metadata, revision::REVISION)?;
    let known = meta::annotation(&deployment.metadata, revision::REVISION);
    (known != Some(revision)).then(|| Action::SetRevision(revision.into()))
}

/// Answers whether every pod is of the new set, and available.
pub(super) fn is_complete(deployment: &Deployment, sets: &Sets<'_>) -> bool {
    let wished = replicas(deployment);
    let count = |set: &ReplicaSet| set.status.as_ref().map_or(0, |status| status.replicas);
    sets.new
        .is_some_and(|new| count(new) == wished && revision::set_available(new) == wished)
        && sets
            .old
            .iter()
            .all(|set| count(set) == 0 && set_replicas(set) == 0)
}

/// Deletes the oldest of those sets that no pod is of any more.
fn cleanup(deployment: &Deployment, sets: &Sets<'_>) -> Vec<Action> {
    let limit = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.revision_history_limit);
    let limit = usize::try_from(limit.unwrap_or(10)).unwrap_or(0);
    let is_empty = |set: &&&Arc<ReplicaSet>| {
        let status = set.status.as_ref();
        set_replicas(set) == 0
            && status.is_none_or(|status| status.replicas == 0)
            && status.and_then(|status| status.observed_generation) >= set.metadata.generation
            && !meta::is_terminating(set.as_ref())
    };
    let mut empty: Vec<_> = sets.old.iter().filter(is_empty).collect();
    empty.sort_by_key(|set| revision::revision(set));
    let surplus = sets.old.len().saturating_sub(limit).min(empty.len());
    let surplus = empty.into_iter().take(surplus);
    surplus.map(|set| Action::Delete(Arc::clone(set))).collect()
}

#[cfg(test)]
pub(super) mod tests;
