//! What a ReplicaSet does about its pods, and what it reports: values in, values out.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use crate::controllers::pods::{self, Availability};
use crate::controllers::queue::Again;
use crate::controllers::{meta, selector};

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Plan {
    Nothing,
    /// So many pods are missing.
    Create(usize),
    /// These are too many.
    Delete(Vec<Arc<Pod>>),
}

/// Compares the pods that count with the number that is wished.
pub(super) fn plan(set: &ReplicaSet, owned: &[Arc<Pod>], now: Timestamp) -> Plan {
    let active: Vec<_> = owned.iter().filter(|pod| pods::is_active(pod)).collect();
    let wished = replicas(set);
    if active.len() < wished {
        return Plan::Create(wished - active.len());
    }
    if active.len() == wished {
        return Plan::Nothing;
    }
    Plan::Delete(victims(&active, active.len() - wished, now))
}

/// How many pods are wished.
fn replicas(set: &ReplicaSet) -> usize {
    let wished = set
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    usize::try_from(wished).unwrap_or(0)
}

/// The pods that are missed least: Kubernetes' order.
fn victims(active: &[&Arc<Pod>], count: usize, now: Timestamp) -> Vec<Arc<Pod>> {
    let mut per_node: HashMap<&str, usize> = HashMap::new();
    for pod in active {
        *per_node.entry(node(pod)).or_default() += 1;
    }
    let mut ranked: Vec<_> = active
        .iter()
        .map(|pod| (rank(pod, &per_node, now), *pod))
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    let victims = ranked.into_iter().take(count);
    victims.map(|(_, pod)| pod.clone()).collect()
}

/// The order in which pods go; the lowest first.
type Rank = (
    bool,
    u8,
    bool,
    i32,
    Reverse<usize>,
    i8,
    Reverse<i32>,
    Reverse<i64>,
);

fn rank(pod: &Pod, per_node: &HashMap<&str, usize>, now: Timestamp) -> Rank {
    let is_assigned = !node(pod).is_empty();
    let phase = match pods::phase(pod) {
        "Pending" | "" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = meta::annotation(&pod.metadata, "controller.kubernetes.io/pod-deletion-cost");
    let cost = cost.and_then(|cost| cost.parse().ok()).unwrap_or(0);
    let neighbours = per_node.get(node(pod)).copied().unwrap_or(0);
    let created = pod.metadata.creation_timestamp.as_ref();
    let restarts = pod
        .status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten());
    let restarts = restarts.map(|container| container.restart_count).max();
    (
        is_assigned,
        phase,
        pods::is_ready(pod),
        cost,
        Reverse(neighbours),
        // Those that were ready for long are kept; the scale is logarithmic, as Kubernetes' is,
        // so that pods of about the same age are not told apart by it.
        age_class(pods::ready_since(pod), now),
        Reverse(restarts.unwrap_or(0)),
        Reverse(created.map_or(0, |time| time.0.as_second())),
    )
}

/// The binary logarithm of how long ago something was, in seconds.
fn age_class(since: Option<Timestamp>, now: Timestamp) -> i8 {
    let seconds = since.map_or(0, |since| now.as_second() - since.as_second());
    let class = seconds.max(1).ilog2();
    i8::try_from(class).unwrap_or(i8::MAX)
}

fn node(pod: &Pod) -> &str {
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.node_name.as_deref())
        .unwrap_or_default()
}

/// What the set reports of its pods, and when that may change by time alone.
pub(super) fn status(
    set: &ReplicaSet,
    owned: &[Arc<Pod>],
    now: Timestamp,
) -> (ReplicaSetStatus, Again) {
    let spec = set.spec.as_ref();
    let labels = spec.and_then(|spec| spec.template.as_ref()?.metadata.as_ref()?.labels.clone());
    let labels = labels.unwrap_or_default();
    let min_ready = spec.and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let mut status = ReplicaSetStatus {
        observed_generation: set.metadata.generation,
        ..ReplicaSetStatus::default()
    };
    let (mut labelled, mut ready, mut available) = (0, 0, 0);
    let mut again = Again::Never;
    for pod in owned.iter().filter(|pod| pods::is_active(pod)) {
        status.replicas += 1;
        labelled += i32::from(selector::carries(pod.metadata.labels.as_ref(), &labels));
        match pods::availability(pod, min_ready, now) {
            Availability::Unready => continue,
            Availability::Available => available += 1,
            Availability::After(left) => again = again.sooner(Again::After(left)),
        }
        ready += 1;
    }
    status.fully_labeled_replicas = Some(labelled);
    status.ready_replicas = Some(ready);
    status.available_replicas = Some(available);
    (status, again)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::api::apps::v1::ReplicaSetSpec;

    use super::*;
    use crate::controllers::pods::testing::{at, in_phase, pod};

    fn set(replicas: i32, min_ready: i32) -> ReplicaSet {
        ReplicaSet {
            spec: Some(ReplicaSetSpec {
                replicas: Some(replicas),
                min_ready_seconds: Some(min_ready),
                ..ReplicaSetSpec::default()
            }),
            ..ReplicaSet::default()
        }
    }

    fn on_node(mut pod: Pod, node: &str) -> Pod {
        pod.spec.get_or_insert_default().node_name = Some(node.into());
        pod
    }

    fn deleted(set: &ReplicaSet, pods: &[Arc<Pod>]) -> Vec<String> {
        let Plan::Delete(victims) = plan(set, pods, at(1000)) else {
            panic!("nothing is deleted");
        };
        victims
            .iter()
            .filter_map(|pod| pod.metadata.name.clone())
            .collect()
    }

    #[test]
    fn pods_that_ended_or_are_ending_are_replaced() {
        let mut ending = pod("b", Some(1));
        ending.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(5)));
        let pods = [
            pod("a", Some(1)),
            ending,
            in_phase(pod("c", None), "Failed"),
        ]
        .map(Arc::new);
        assert_eq!(plan(&set(3, 0), &pods, at(10)), Plan::Create(2));
        assert_eq!(plan(&set(1, 0), &pods, at(10)), Plan::Nothing);
    }

    #[test]
    fn those_that_are_missed_least_go_first() {
        let mut cheap = on_node(pod("cheap", Some(1)), "n");
        cheap.metadata.annotations = Some(
            [(
                "controller.kubernetes.io/pod-deletion-cost".to_owned(),
                "-5".to_owned(),
            )]
            .into(),
        );
        let mut young = on_node(pod("young", Some(1)), "n");
        young.metadata.creation_timestamp = Some(
            k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(500)),
        );
        let pods = [
            on_node(pod("old", Some(1)), "n"),
            young,
            on_node(pod("fresh", Some(990)), "n"),
            cheap,
            on_node(pod("unready", None), "n"),
            on_node(in_phase(pod("pending", None), "Pending"), "n"),
            in_phase(pod("unassigned", None), "Pending"),
        ]
        .map(Arc::new);
        assert_eq!(
            deleted(&set(0, 0), &pods),
            [
                "unassigned",
                "pending",
                "unready",
                "cheap",
                "fresh",
                "young",
                "old"
            ]
        );
    }

    #[test]
    fn a_pod_is_available_only_after_its_time() {
        let pods = [pod("a", Some(100)), pod("b", Some(50)), pod("c", None)].map(Arc::new);
        let (status, again) = status(&set(3, 30), &pods, at(105));
        assert_eq!(
            (
                status.replicas,
                status.ready_replicas,
                status.available_replicas
            ),
            (3, Some(2), Some(1))
        );
        assert_eq!(again, Again::After(Duration::from_secs(26)));
    }
}
