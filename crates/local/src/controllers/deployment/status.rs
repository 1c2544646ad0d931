//! The status of a Deployment: counts and conditions, as `kubectl rollout status` reads them.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::plan::is_complete;
use super::revision::{Sets, replicas, set_available, set_replicas};
use super::rolling::Bounds;
use crate::controllers::clock;
use crate::controllers::meta;
use crate::controllers::queue::Again;

/// What was just done.
#[derive(Debug, Default)]
pub(super) struct Step<'a> {
    /// The set that was made.
    pub(super) created: Option<&'a str>,
    /// Why it was not.
    pub(super) failure: Option<String>,
}

/// What the Deployment reports, and when that may change by time alone.
pub(super) fn status(
    deployment: &Deployment,
    sets: &[Arc<ReplicaSet>],
    step: &Step<'_>,
    now: Timestamp,
) -> (DeploymentStatus, Again) {
    let sets = Sets::of(deployment, sets);
    let mut status = counts(deployment, &sets);
    let before = deployment.status.clone().unwrap_or_default();
    let mut conditions = Conditions {
        list: before.conditions.clone().unwrap_or_default(),
        now,
    };
    conditions.set(available(deployment, &status));
    if let Some(progress) = progress(deployment, &sets, &before, &status, step, now) {
        conditions.set(progress);
    }
    match replica_failure(&sets) {
        Some(failure) => conditions.set(failure),
        None => conditions
            .list
            .retain(|condition| condition.type_ != "ReplicaFailure"),
    }
    let again = deadline(deployment, &conditions, now);
    status.conditions = Some(conditions.list);
    (status, again)
}

fn counts(deployment: &Deployment, sets: &Sets<'_>) -> DeploymentStatus {
    let count = |set: &ReplicaSet| set.status.as_ref().map_or(0, |status| status.replicas);
    let ready = |set: &ReplicaSet| set.status.as_ref().and_then(|status| status.ready_replicas);
    let available: i32 = sets.all().map(|set| set_available(set)).sum();
    let total: i32 = sets.all().map(|set| set_replicas(set)).sum();
    // Kubernetes leaves out what is zero, and clients print it so.
    let some = |count: i32| Some(count).filter(|count| *count != 0);
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(sets.all().map(|set| count(set)).sum()),
        updated_replicas: some(sets.new.map_or(0, |set| count(set))),
        ready_replicas: some(sets.all().filter_map(|set| ready(set)).sum()),
        available_replicas: some(available),
        unavailable_replicas: some((total - available).max(0)),
        collision_count: deployment
            .status
            .as_ref()
            .and_then(|status| status.collision_count),
        ..DeploymentStatus::default()
    }
}

fn available(deployment: &Deployment, status: &DeploymentStatus) -> DeploymentCondition {
    let needed = replicas(deployment) - Bounds::of(deployment).unavailable;
    if status.available_replicas.unwrap_or(0) >= needed {
        let message = "Deployment has minimum availability.";
        condition("Available", "True", "MinimumReplicasAvailable", message)
    } else {
        let message = "Deployment does not have minimum availability.";
        condition("Available", "False", "MinimumReplicasUnavailable", message)
    }
}

/// How the rollout goes; nothing if that stays as it was.
fn progress(
    deployment: &Deployment,
    sets: &Sets<'_>,
    before: &DeploymentStatus,
    status: &DeploymentStatus,
    step: &Step<'_>,
    now: Timestamp,
) -> Option<DeploymentCondition> {
    progress_seconds(deployment)?;
    let conditions = before.conditions.as_deref().unwrap_or_default();
    let known = find(conditions, "Progressing");
    let reason = known
        .and_then(|known| known.reason.as_deref())
        .unwrap_or_default();
    if let Some(failure) = &step.failure {
        return Some(progressing("False", "ReplicaSetCreateError", failure));
    }
    if let Some(created) = step.created {
        let message = format!("Created new replica set {created:?}");
        return Some(progressing("True", "NewReplicaSetCreated", &message));
    }
    let spec = deployment.spec.as_ref();
    match (spec.and_then(|spec| spec.paused), reason) {
        (Some(true), "DeploymentPaused") => return None,
        (Some(true), _) => {
            return Some(progressing(
                "Unknown",
                "DeploymentPaused",
                "Deployment is paused",
            ));
        }
        (_, "DeploymentPaused") => {
            return Some(progressing(
                "Unknown",
                "DeploymentResumed",
                "Deployment is resumed",
            ));
        }
        _ => {}
    }
    let subject = match sets.new {
        Some(set) => format!("ReplicaSet {:?}", meta::name(set.as_ref())),
        None => format!("Deployment {:?}", meta::name(deployment)),
    };
    let is_settled =
        reason == "NewReplicaSetAvailable" && status.replicas == status.updated_replicas;
    let (value, reason, how) = if is_complete(deployment, sets) {
        (
            "True",
            "NewReplicaSetAvailable",
            "has successfully progressed",
        )
    } else if is_settled {
        // A pod that fails later does not make a rollout of it.
        return None;
    } else if has_moved(before, status) || known.is_none() || is_retry(reason) {
        ("True", "ReplicaSetUpdated", "is progressing")
    } else if is_late(deployment, known, now) {
        (
            "False",
            "ProgressDeadlineExceeded",
            "has timed out progressing",
        )
    } else {
        return None;
    };
    Some(progressing(value, reason, &format!("{subject} {how}.")))
}

fn progressing(status: &str, reason: &str, message: &str) -> DeploymentCondition {
    condition("Progressing", status, reason, message)
}

/// A rollout that begins again, after one that was done or could not begin.
fn is_retry(reason: &str) -> bool {
    matches!(reason, "NewReplicaSetAvailable" | "ReplicaSetCreateError")
}

fn has_moved(before: &DeploymentStatus, status: &DeploymentStatus) -> bool {
    let n = |count: Option<i32>| count.unwrap_or(0);
    let old = |status: &DeploymentStatus| n(status.replicas) - n(status.updated_replicas);
    n(status.updated_replicas) > n(before.updated_replicas)
        || old(status) < old(before)
        || n(status.ready_replicas) > n(before.ready_replicas)
        || n(status.available_replicas) > n(before.available_replicas)
}

fn is_late(deployment: &Deployment, known: Option<&DeploymentCondition>, now: Timestamp) -> bool {
    let seconds = progress_seconds(deployment);
    let since = known.and_then(|known| known.last_update_time.as_ref());
    seconds
        .zip(since)
        .is_some_and(|(seconds, since)| clock::remaining(since, seconds, now).is_none())
}

/// When a rollout that makes no progress is late.
fn deadline(deployment: &Deployment, conditions: &Conditions, now: Timestamp) -> Again {
    let Some(known) = find(&conditions.list, "Progressing") else {
        return Again::Never;
    };
    let reason = known.reason.as_deref().unwrap_or_default();
    if matches!(
        reason,
        "NewReplicaSetAvailable" | "ProgressDeadlineExceeded" | "DeploymentPaused"
    ) {
        return Again::Never;
    }
    let left = progress_seconds(deployment)
        .zip(known.last_update_time.as_ref())
        .and_then(|(seconds, since)| clock::remaining(since, seconds, now));
    left.map_or(Again::Never, Again::After)
}

/// How long a rollout may make no progress.
fn progress_seconds(deployment: &Deployment) -> Option<i64> {
    let spec = deployment.spec.as_ref()?;
    let seconds = spec.progress_deadline_seconds.unwrap_or(600);
    // The largest number stands for no deadline.
    (seconds != i32::MAX).then(|| seconds.into())
}

fn replica_failure(sets: &Sets<'_>) -> Option<DeploymentCondition> {
    let of = |set: &Arc<ReplicaSet>| {
        let conditions = set.status.as_ref()?.conditions.as_ref()?;
        let failure = conditions
            .iter()
            .find(|condition| condition.type_ == "ReplicaFailure")?;
        let reason = failure.reason.as_deref().unwrap_or_default();
        let message = failure.message.as_deref().unwrap_or_default();
        Some(condition(
            "ReplicaFailure",
            &failure.status,
            reason,
            message,
        ))
    };
    let old = || sets.old.iter().find_map(|set| of(set));
    sets.new.and_then(of).or_else(old)
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> DeploymentCondition {
    DeploymentCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        ..DeploymentCondition::default()
    }
}

fn find<'a>(conditions: &'a [DeploymentCondition], kind: &str) -> Option<&'a DeploymentCondition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

struct Conditions {
    list: Vec<DeploymentCondition>,
    now: Timestamp,
}

// === impl Conditions ===

impl Conditions {
    /// Sets a condition. The time of its last transition is that of its last change of status.
    fn set(&mut self, mut condition: DeploymentCondition) {
        let now = Some(Time(self.now));
        let known = self
            .list
            .iter_mut()
            .find(|known| known.type_ == condition.type_);
        condition.last_update_time.clone_from(&now);
        condition.last_transition_time = now;
        let Some(known) = known else {
            self.list.push(condition);
            return;
        };
        if known.status == condition.status {
            condition
                .last_transition_time
                .clone_from(&known.last_transition_time);
            // "Still progressing" is news: the deadline counts from it.
            let is_same = known.reason == condition.reason && known.message == condition.message;
            if is_same && condition.reason.as_deref() != Some("ReplicaSetUpdated") {
                return;
            }
        }
        *known = condition;
    }
}

#[cfg(test)]
mod tests;
