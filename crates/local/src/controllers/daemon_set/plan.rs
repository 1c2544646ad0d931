//! What a DaemonSet does about its pods, and what it reports: values in, values out.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;

use crate::controllers::meta;
use crate::controllers::pods::{self, Availability};
use crate::controllers::queue::Again;
use crate::controllers::selector::{Labels, carries};

/// Tells pods of the template's revisions apart.
pub(super) const HASH_LABEL: &str = "controller-revision-hash";

/// What is to be done.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Nodes that lack a pod.
    pub(super) create: Vec<String>,
    pub(super) delete: Vec<Arc<Pod>>,
}

/// The revision of the set's template.
pub(super) fn hash(set: &DaemonSet) -> String {
    let template = set.spec.as_ref().map(|spec| &spec.template);
    meta::hash(&template, 0)
}

/// Compares the pods with the nodes.
pub(super) fn plan(
    set: &DaemonSet,
    nodes: &[Arc<Node>],
    owned: &[Arc<Pod>],
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    let (mut outdated, mut unavailable) = (Vec::new(), 0);
    let hash = hash(set);
    for node in nodes.iter().filter(|node| wants(set, node)) {
        let mut here: Vec<_> = owned
            .iter()
            .filter(|pod| node_of(pod) == meta::name(node.as_ref()))
            .collect();
        // Those that ended by themselves are replaced.
        plan.delete.extend(
            here.iter()
                .filter(|pod| pods::is_finished(pod) && !meta::is_terminating(pod.as_ref()))
                .map(|pod| Arc::clone(pod)),
        );
        let is_ending = here.iter().any(|pod| meta::is_terminating(pod.as_ref()));
        here.retain(|pod| pods::is_active(pod));
        here.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
        match here.split_first() {
            // A node never has two: the new one waits for the end of the old one.
            None if is_ending => unavailable += 1,
            None => {
                plan.create.push(meta::name(node.as_ref()).into());
                unavailable += 1;
            }
            Some((pod, surplus)) => {
                plan.delete
                    .extend(surplus.iter().map(|pod| Arc::clone(pod)));
                let is_available = is_available(set, pod, now);
                unavailable += usize::from(!is_available);
                if !has_hash(pod, &hash) {
                    outdated.push((is_available, Arc::clone(pod)));
                }
            }
        }
    }
    let misplaced = owned
        .iter()
        .filter(|pod| pods::is_active(pod) && is_misplaced(set, nodes, pod));
    plan.delete.extend(misplaced.cloned());
    plan.delete
        .extend(replaced(set, nodes, outdated, unavailable));
    plan
}

/// The outdated pods that may go now: those that do not work, and as many others as may be missing.
fn replaced(
    set: &DaemonSet,
    nodes: &[Arc<Node>],
    outdated: Vec<(bool, Arc<Pod>)>,
    unavailable: usize,
) -> Vec<Arc<Pod>> {
    let strategy = set
        .spec
        .as_ref()
        .and_then(|spec| spec.update_strategy.as_ref());
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
        return Vec::new();
    }
    let wanted = nodes.iter().filter(|node| wants(set, node)).count();
    let limit = strategy
        .and_then(|strategy| strategy.rolling_update.as_ref())
        .and_then(|rolling| rolling.max_unavailable.clone())
        .unwrap_or(IntOrString::Int(1));
    let limit = match limit {
        IntOrString::Int(count) => usize::try_from(count).unwrap_or(0),
        IntOrString::String(text) => {
            let percent = text.trim_end_matches('%').parse::<usize>().unwrap_or(0);
            (percent * wanted).div_ceil(100)
        }
    };
    let mut room = limit.max(1).saturating_sub(unavailable);
    let mut going = Vec::new();
    for (is_available, pod) in outdated {
        if is_available && room == 0 {
            continue;
        }
        room = room.saturating_sub(usize::from(is_available));
        going.push(pod);
    }
    going
}

/// What the set reports, and when that may change by time alone.
pub(super) fn status(
    set: &DaemonSet,
    nodes: &[Arc<Node>],
    owned: &[Arc<Pod>],
    now: Timestamp,
) -> (DaemonSetStatus, Again) {
    let mut status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        ..DaemonSetStatus::default()
    };
    let (hash, min_ready) = (hash(set), min_ready(set));
    let (mut updated, mut available, mut again) = (0, 0, Again::Never);
    for node in nodes.iter().filter(|node| wants(set, node)) {
        status.desired_number_scheduled += 1;
        let mut active = owned.iter().filter(|pod| pods::is_active(pod));
        let Some(pod) = active.find(|pod| node_of(pod) == meta::name(node.as_ref())) else {
            continue;
        };
        status.current_number_scheduled += 1;
        status.number_ready += i32::from(pods::is_ready(pod));
        updated += i32::from(has_hash(pod, &hash));
        match pods::availability(pod, min_ready, now) {
            Availability::Available => available += 1,
            Availability::After(left) => again = again.sooner(Again::After(left)),
            Availability::Unready => {}
        }
    }
    let misplaced = owned
        .iter()
        .filter(|pod| pods::is_active(pod) && is_misplaced(set, nodes, pod));
    status.number_misscheduled = i32::try_from(misplaced.count()).unwrap_or(i32::MAX);
    let some = |count: i32| Some(count).filter(|count| *count > 0);
    status.updated_number_scheduled = some(updated);
    status.number_available = some(available);
    status.number_unavailable = some(status.desired_number_scheduled - available);
    (status, again)
}

/// Answers whether a node is to have a pod.
fn wants(set: &DaemonSet, node: &Node) -> bool {
    let template = set
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    let selector: Option<&Labels> = template.and_then(|spec| spec.node_selector.as_ref());
    let name = template.and_then(|spec| spec.node_name.as_deref());
    !meta::is_terminating(node)
        && name.is_none_or(|name| name == meta::name(node))
        && selector.is_none_or(|selector| carries(node.metadata.labels.as_ref(), selector))
}

/// Answers whether a pod is on a node that is not to have one (any more).
fn is_misplaced(set: &DaemonSet, nodes: &[Arc<Node>], pod: &Pod) -> bool {
    let node = nodes
        .iter()
        .find(|node| meta::name(node.as_ref()) == node_of(pod));
    node.is_some_and(|node| !wants(set, node))
}

fn is_available(set: &DaemonSet, pod: &Pod, now: Timestamp) -> bool {
    pods::availability(pod, min_ready(set), now) == Availability::Available
}

fn min_ready(set: &DaemonSet) -> i32 {
    let spec = set.spec.as_ref();
    spec.and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
}

fn has_hash(pod: &Pod, hash: &str) -> bool {
    let labels = pod.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(HASH_LABEL))
        .is_some_and(|own| own == hash)
}

fn node_of(pod: &Pod) -> &str {
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.node_name.as_deref())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::pods::testing::{at, in_phase, pod};

    fn node(name: &str, labels: &[(&str, &str)]) -> Arc<Node> {
        let mut node = Node::default();
        node.metadata.name = Some(name.into());
        let labels = labels
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()));
        node.metadata.labels = Some(labels.collect());
        Arc::new(node)
    }

    fn on(set: &DaemonSet, node: &str, ready: Option<i64>) -> Arc<Pod> {
        let mut pod = pod(&format!("on-{node}"), ready);
        pod.spec.get_or_insert_default().node_name = Some(node.into());
        pod.metadata.labels = Some([(HASH_LABEL.to_owned(), hash(set))].into());
        Arc::new(pod)
    }

    #[test]
    fn every_node_that_is_selected_has_one() {
        let mut set = DaemonSet::default();
        let template = &mut set.spec.get_or_insert_default().template;
        template.spec.get_or_insert_default().node_selector =
            Some([("disk".to_owned(), "ssd".to_owned())].into());
        let nodes = [
            node("a", &[("disk", "ssd")]),
            node("b", &[]),
            node("c", &[("disk", "ssd")]),
        ];
        let misplaced = on(&set, "b", Some(1));
        let owned = [on(&set, "a", Some(1)), misplaced.clone()];
        let plan = plan(&set, &nodes, &owned, at(9));
        assert_eq!(
            plan,
            Plan {
                create: vec!["c".into()],
                delete: vec![misplaced]
            }
        );
        let (status, _) = status(&set, &nodes, &owned, at(9));
        assert_eq!(
            (
                status.desired_number_scheduled,
                status.current_number_scheduled,
                status.number_misscheduled
            ),
            (2, 1, 1)
        );
        assert_eq!(
            (status.number_available, status.number_unavailable),
            (Some(1), Some(1))
        );
    }

    #[test]
    fn an_update_takes_one_node_after_the_other() {
        let old = DaemonSet::default();
        let mut set = DaemonSet::default();
        let template = &mut set.spec.get_or_insert_default().template;
        template.spec.get_or_insert_default().hostname = Some("new".into());
        let nodes = ["a", "b", "c"].map(|name| node(name, &[]));
        let owned = ["a", "b", "c"].map(|node| on(&old, node, Some(1)));
        assert_eq!(plan(&set, &nodes, &owned, at(9)).delete, [owned[0].clone()]);
        // While one is not available no further one goes.
        let owned = [on(&set, "a", None), owned[1].clone(), owned[2].clone()];
        assert_eq!(plan(&set, &nodes, &owned, at(9)), Plan::default());
    }

    #[test]
    fn a_pod_that_ended_is_deleted_and_made_anew() {
        let set = DaemonSet::default();
        let failed = Arc::new(in_phase(Pod::clone(&on(&set, "a", None)), "Failed"));
        let plan = plan(
            &set,
            &[node("a", &[])],
            std::slice::from_ref(&failed),
            at(9),
        );
        assert_eq!(
            plan,
            Plan {
                create: vec!["a".into()],
                delete: vec![failed]
            }
        );
    }
}
