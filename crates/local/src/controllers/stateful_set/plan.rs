//! What a StatefulSet does about its pods, and what it reports: values in, values out.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use crate::controllers::meta;
use crate::controllers::pods::{self, Availability};
use crate::controllers::queue::Again;

/// Tells pods of the template's revisions apart.
pub(super) const HASH_LABEL: &str = "controller-revision-hash";

/// What is to be done.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Ordinals of pods to make.
    pub(super) create: Vec<i32>,
    pub(super) delete: Vec<Arc<Pod>>,
}

/// The name of the template's revision.
pub(super) fn revision(set: &StatefulSet) -> String {
    let template = set.spec.as_ref().map(|spec| &spec.template);
    format!("{}-{}", meta::name(set), meta::hash(&template, 0))
}

/// The name of a pod.
pub(super) fn pod_name(set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{ordinal}", meta::name(set))
}

/// Decides the next step: in order, one pod at a time; or all at once, if the set says so.
pub(super) fn plan(set: &StatefulSet, owned: &[Arc<Pod>], now: Timestamp) -> Plan {
    let by_ordinal = by_ordinal(set, owned);
    let wished = ordinals(set);
    let is_parallel = set
        .spec
        .as_ref()
        .and_then(|spec| spec.pod_management_policy.as_deref())
        == Some("Parallel");
    let mut plan = Plan::default();
    for ordinal in wished.clone() {
        let Some(pod) = by_ordinal.get(&ordinal) else {
            plan.create.push(ordinal);
            if is_parallel {
                continue;
            }
            return plan;
        };
        if pods::is_finished(pod) && !meta::is_terminating(pod.as_ref()) {
            plan.delete.push(Arc::clone(pod));
        }
        // The next one begins when this one works.
        if !is_parallel && !is_healthy(set, pod, now) {
            return plan;
        }
    }
    if !plan.create.is_empty() || !plan.delete.is_empty() {
        return plan;
    }
    let surplus = by_ordinal
        .iter()
        .rev()
        .filter(|(ordinal, _)| !wished.contains(ordinal));
    for (_, pod) in surplus {
        if !meta::is_terminating(pod.as_ref()) {
            plan.delete.push(Arc::clone(pod));
        }
        if !is_parallel {
            return plan;
        }
    }
    if plan.delete.is_empty() {
        plan.delete.extend(outdated(set, &by_ordinal, now));
    }
    plan
}

/// The next pod to replace by one of the current template: the highest, once those above work.
fn outdated(
    set: &StatefulSet,
    by_ordinal: &BTreeMap<i32, &Arc<Pod>>,
    now: Timestamp,
) -> Option<Arc<Pod>> {
    let strategy = set
        .spec
        .as_ref()
        .and_then(|spec| spec.update_strategy.as_ref());
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
        return None;
    }
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let partition = rolling.and_then(|rolling| rolling.partition).unwrap_or(0);
    let revision = revision(set);
    for ordinal in ordinals(set).rev().filter(|ordinal| *ordinal >= partition) {
        let pod = by_ordinal.get(&ordinal)?;
        if meta::is_terminating(pod.as_ref()) {
            return None;
        }
        if !has_revision(pod, &revision) {
            return Some(Arc::clone(pod));
        }
        if !is_healthy(set, pod, now) {
            return None;
        }
    }
    None
}

/// What the set reports, and when that may change by time alone.
pub(super) fn status(
    set: &StatefulSet,
    owned: &[Arc<Pod>],
    now: Timestamp,
) -> (StatefulSetStatus, Again) {
    let update = revision(set);
    let before = set
        .status
        .as_ref()
        .and_then(|status| status.current_revision.clone());
    let mut status = StatefulSetStatus {
        observed_generation: set.metadata.generation,
        update_revision: Some(update.clone()),
        collision_count: Some(0),
        ..StatefulSetStatus::default()
    };
    let (mut ready, mut available, mut updated, mut again) = (0, 0, 0, Again::Never);
    for pod in owned.iter().filter(|pod| pods::is_active(pod)) {
        status.replicas += 1;
        ready += i32::from(pods::is_ready(pod));
        updated += i32::from(has_revision(pod, &update));
        match pods::availability(pod, min_ready(set), now) {
            Availability::Available => available += 1,
            Availability::After(left) => again = again.sooner(Again::After(left)),
            Availability::Unready => {}
        }
    }
    let wished = i32::try_from(ordinals(set).len()).unwrap_or(i32::MAX);
    let is_complete = updated == wished && ready == wished && status.replicas == wished;
    // The current revision is the old one until every pod is of the new one.
    let current = if is_complete {
        update.clone()
    } else {
        before.unwrap_or_else(|| update.clone())
    };
    let of_current = if current == update {
        updated
    } else {
        status.replicas - updated
    };
    status.current_replicas = Some(of_current);
    status.current_revision = Some(current);
    status.ready_replicas = Some(ready);
    status.available_replicas = Some(available);
    status.updated_replicas = Some(updated);
    (status, again)
}

fn ordinals(set: &StatefulSet) -> Range<i32> {
    let spec = set.spec.as_ref();
    let start = spec
        .and_then(|spec| spec.ordinals.as_ref()?.start)
        .unwrap_or(0);
    let replicas = spec.and_then(|spec| spec.replicas).unwrap_or(1).max(0);
    start..start.saturating_add(replicas)
}

fn by_ordinal<'a>(set: &StatefulSet, owned: &'a [Arc<Pod>]) -> BTreeMap<i32, &'a Arc<Pod>> {
    let prefix = format!("{}-", meta::name(set));
    let ordinal = |pod: &Pod| meta::name(pod).strip_prefix(&prefix)?.parse().ok();
    let pairs = owned.iter().filter_map(|pod| Some((ordinal(pod)?, pod)));
    pairs.collect()
}

fn is_healthy(set: &StatefulSet, pod: &Pod, now: Timestamp) -> bool {
    pods::is_active(pod) && pods::availability(pod, min_ready(set), now) == Availability::Available
}

fn min_ready(set: &StatefulSet) -> i32 {
    let spec = set.spec.as_ref();
    spec.and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
}

fn has_revision(pod: &Pod, revision: &str) -> bool {
    let labels = pod.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(HASH_LABEL))
        .is_some_and(|own| own == revision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::pods::testing::{at, pod};

    fn set(replicas: i32) -> StatefulSet {
        let mut set = StatefulSet::default();
        set.metadata.name = Some("db".into());
        set.spec.get_or_insert_default().replicas = Some(replicas);
        set
    }

    fn of(set: &StatefulSet, ordinal: i32, ready: Option<i64>) -> Arc<Pod> {
        let mut pod = pod(&pod_name(set, ordinal), ready);
        pod.metadata.labels = Some([(HASH_LABEL.to_owned(), revision(set))].into());
        Arc::new(pod)
    }

    #[test]
    fn the_next_pod_begins_when_the_one_before_works() {
        let set = set(3);
        assert_eq!(plan(&set, &[], at(9)).create, [0]);
        assert_eq!(plan(&set, &[of(&set, 0, None)], at(9)), Plan::default());
        assert_eq!(plan(&set, &[of(&set, 0, Some(1))], at(9)).create, [1]);
        let mut parallel = set.clone();
        parallel.spec.get_or_insert_default().pod_management_policy = Some("Parallel".into());
        assert_eq!(plan(&parallel, &[], at(9)).create, [0, 1, 2]);
    }

    #[test]
    fn the_highest_ends_first_and_alone() {
        let pods = [0, 1, 2].map(|ordinal| of(&set(3), ordinal, Some(1)));
        assert_eq!(plan(&set(1), &pods, at(9)).delete, [pods[2].clone()]);
    }

    #[test]
    fn an_update_goes_from_the_highest_to_the_partition() {
        let mut updated = set(3);
        let spec = updated.spec.get_or_insert_default();
        spec.template.spec.get_or_insert_default().subdomain = Some("new".into());
        let old = [0, 1, 2].map(|ordinal| of(&set(3), ordinal, Some(1)));
        assert_eq!(plan(&updated, &old, at(9)).delete, [old[2].clone()]);
        let half = [old[0].clone(), old[1].clone(), of(&updated, 2, Some(1))];
        assert_eq!(plan(&updated, &half, at(9)).delete, [old[1].clone()]);
        let strategy = updated
            .spec
            .get_or_insert_default()
            .update_strategy
            .get_or_insert_default();
        strategy.rolling_update.get_or_insert_default().partition = Some(2);
        assert_eq!(plan(&updated, &half, at(9)), Plan::default());
        let (status, _) = status(&updated, &half, at(9));
        assert_eq!((status.replicas, status.updated_replicas), (3, Some(1)));
    }
}
