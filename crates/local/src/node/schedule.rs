//! Finds out whether a pod may run here, and binds it.
//!
//! There is one node, so there is nothing to choose: a pod goes here unless its own constraints
//! forbid it. Requests are compared with what the machine has, one pod at a time, and not added up:
//! the node gives no shares of anything, so that a sum would keep out pods that run well.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Binding, Node, NodeSelectorRequirement, NodeSelectorTerm, ObjectReference, Pod,
    PodAffinityTerm, PodSpec, Taint, Toleration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::Context;
use super::quantity::Milli;

/// Kubernetes' own scheduler, whose work this is.
const NAME: &str = "default-scheduler";

/// Schedules pods.
pub(super) struct Scheduler {
    context: Arc<Context>,
    node: Option<Node>,
    /// What was last said about a pod that waits, by uid; empty for one that is being bound.
    said: HashMap<String, String>,
}

// === impl Scheduler ===

impl Scheduler {
    pub(super) fn new(context: &Arc<Context>) -> Self {
        Self {
            context: Arc::clone(context),
            node: None,
            said: HashMap::new(),
        }
    }

    pub(super) fn see_node(&mut self, node: Node) {
        self.node = Some(node);
    }

    pub(super) fn forget(&mut self, uid: &str) {
        self.said.remove(uid);
    }

    /// Binds every pod that may run here, and says of the others why not.
    pub(super) fn schedule(&mut self, pods: &BTreeMap<String, Arc<Pod>>) {
        let Some(node) = self.node.clone() else {
            return;
        };
        let mut waiting: Vec<_> = pods.iter().filter(|(_, pod)| is_waiting(pod)).collect();
        // Whoever came first goes first.
        waiting.sort_by_key(|(_, pod)| pod.metadata.creation_timestamp.clone());
        for (uid, pod) in waiting {
            match fits(pod, &node, pods) {
                Ok(()) => {
                    let is_new =
                        self.said.insert(uid.clone(), String::new()) != Some(String::new());
                    if is_new {
                        self.bind(pod);
                    }
                }
                Err(why) => {
                    if self.said.get(uid) != Some(&why) {
                        self.refuse(pod, &why);
                        self.said.insert(uid.clone(), why);
                    }
                }
            }
        }
    }

    fn bind(&self, pod: &Arc<Pod>) {
        let (context, pod) = (Arc::clone(&self.context), Arc::clone(pod));
        tokio::spawn(async move {
            let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
            match bind(&context, &pod).await {
                Ok(()) => {
                    let message = format!(
                        "Successfully assigned {namespace}/{name} to {}",
                        context.name
                    );
                    context.events.normal(NAME, &*pod, "Scheduled", message);
                }
                // It has gone, or was bound by somebody else.
                Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => {}
                Err(error) => tracing::warn!(%error, namespace, name, "a pod cannot be bound"),
            }
        });
    }

    fn refuse(&self, pod: &Arc<Pod>, why: &str) {
        let message = format!("0/1 nodes are available: 1 {why}.");
        let events = &self.context.events;
        events.warning(NAME, &**pod, "FailedScheduling", message.clone());
        let pods: Api<Pod> = Api::namespaced(
            self.context.client.clone(),
            &pod.namespace().unwrap_or_default(),
        );
        let (name, uid) = (pod.name_any(), pod.uid());
        let patch = json!({ "metadata": { "uid": uid }, "status": { "conditions": [
            { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message }
        ] } });
        tokio::spawn(async move {
            let patched = pods
                .patch_status(&name, &PatchParams::default(), &Patch::Merge(patch))
                .await;
            if let Err(error) = patched {
                tracing::debug!(%error, name, "a pod cannot be told why it waits");
            }
        });
    }
}

async fn bind(context: &Context, pod: &Pod) -> kube::Result<()> {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace),
            uid: pod.uid(),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            name: Some(context.name.clone()),
            ..ObjectReference::default()
        },
    };
    // The answer is a Status, which carries nothing.
    let _: serde_json::Value = pods
        .create_subresource("binding", &name, &PostParams::default(), &binding)
        .await?;
    Ok(())
}

/// Whether a pod waits for a node, and for us to find one.
fn is_waiting(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let scheduler = spec.scheduler_name.as_deref().unwrap_or(NAME);
    let has_gates = spec
        .scheduling_gates
        .as_ref()
        .is_some_and(|gates| !gates.is_empty());
    spec.node_name.is_none()
        && pod.metadata.deletion_timestamp.is_none()
        && scheduler == NAME
        && !has_gates
}

/// Whether a pod may run on the node.
fn fits(pod: &Pod, node: &Node, pods: &BTreeMap<String, Arc<Pod>>) -> Result<(), String> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    let labels = node.labels();
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let node_spec = node.spec.clone().unwrap_or_default();
    if node_spec.unschedulable == Some(true) {
        let taint = Taint {
            key: "node.kubernetes.io/unschedulable".into(),
            effect: "NoSchedule".into(),
            ..Taint::default()
        };
        if !tolerations
            .iter()
            .any(|toleration| tolerates(toleration, &taint))
        {
            return Err("node(s) were unschedulable".into());
        }
    }
    let stays = |taint: &&Taint| {
        taint.effect != "PreferNoSchedule"
            && !tolerations
                .iter()
                .any(|toleration| tolerates(toleration, taint))
    };
    if let Some(taint) = node_spec.taints.iter().flatten().find(stays) {
        let value = taint.value.as_deref().unwrap_or_default();
        return Err(format!(
            "node(s) had untolerated taint {{{}: {value}}}",
            taint.key
        ));
    }
    if !is_selected(spec, &node.name_any(), labels) {
        return Err("node(s) didn't match Pod's node affinity/selector".into());
    }
    has_room(spec, node)?;
    gets_along(pod, spec, labels, pods)
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    if toleration.operator.as_deref() == Some("Exists") {
        return key.is_empty() || key == taint.key;
    }
    let value = toleration.value.as_deref().unwrap_or_default();
    key == taint.key && value == taint.value.as_deref().unwrap_or_default()
}

fn is_selected(spec: &PodSpec, node: &str, labels: &BTreeMap<String, String>) -> bool {
    let has = |(key, value): (&String, &String)| labels.get(key) == Some(value);
    if !spec.node_selector.iter().flatten().all(has) {
        return false;
    }
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|node| {
            node.required_during_scheduling_ignored_during_execution
                .as_ref()
        });
    let term_holds = |term: &NodeSelectorTerm| {
        let fields = BTreeMap::from([("metadata.name".to_owned(), node.to_owned())]);
        let is_empty = term.match_expressions.is_none() && term.match_fields.is_none();
        !is_empty
            && term
                .match_expressions
                .iter()
                .flatten()
                .all(|it| requirement_holds(it, labels))
            && term
                .match_fields
                .iter()
                .flatten()
                .all(|it| requirement_holds(it, &fields))
    };
    required.is_none_or(|required| required.node_selector_terms.iter().any(term_holds))
}

fn requirement_holds(it: &NodeSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&it.key);
    let values = it.values.as_deref().unwrap_or_default();
    let number = |text: &String| text.parse::<i64>().ok();
    let bound = values.first().and_then(number);
    match it.operator.as_str() {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => value
            .and_then(number)
            .zip(bound)
            .is_some_and(|(value, bound)| value > bound),
        "Lt" => value
            .and_then(number)
            .zip(bound)
            .is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

/// Whether the machine has what the pod asks for.
fn has_room(spec: &PodSpec, node: &Node) -> Result<(), String> {
    let allocatable = node
        .status
        .as_ref()
        .and_then(|status| status.allocatable.as_ref());
    let mut wanted: BTreeMap<&str, i128> = BTreeMap::new();
    for container in &spec.containers {
        let requests = container
            .resources
            .as_ref()
            .and_then(|it| it.requests.as_ref());
        for (name, quantity) in requests.into_iter().flatten() {
            *wanted.entry(name).or_default() += Milli::parse(&quantity.0).map_or(0, |it| it.0);
        }
    }
    for (name, wanted) in wanted {
        let has = allocatable
            .and_then(|it| it.get(name))
            .and_then(|it| Milli::parse(&it.0));
        // Storage is not measured here; anything else that is unknown is not there.
        let is_unmeasured = name == "ephemeral-storage";
        if !is_unmeasured && wanted > has.map_or(0, |has| has.0) {
            return Err(format!("Insufficient {name}"));
        }
    }
    Ok(())
}

/// Whether the pod's wishes about others hold, and theirs about it. On one node every topology is
/// the same one, if the node has its label at all.
fn gets_along(
    pod: &Pod,
    spec: &PodSpec,
    node: &BTreeMap<String, String>,
    pods: &BTreeMap<String, Arc<Pod>>,
) -> Result<(), String> {
    let here = || {
        pods.values().filter(|other| {
            let phase = other
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref());
            let is_bound = other
                .spec
                .as_ref()
                .is_some_and(|spec| spec.node_name.is_some());
            is_bound && !matches!(phase, Some("Succeeded" | "Failed"))
        })
    };
    let namespace = pod.namespace().unwrap_or_default();
    for term in affinity(spec) {
        let is_there = here().any(|other| term_selects(term, &namespace, other));
        // The first pod of a group that wants to be together may be alone.
        let is_first = term_selects(term, &namespace, pod);
        if !node.contains_key(&term.topology_key) || !(is_there || is_first) {
            return Err("node(s) didn't match pod affinity rules".into());
        }
    }
    let is_apart = |term: &PodAffinityTerm, namespace: &str, other: &Pod| {
        node.contains_key(&term.topology_key) && term_selects(term, namespace, other)
    };
    for other in here() {
        if anti_affinity(spec).any(|term| is_apart(term, &namespace, other)) {
            return Err("node(s) didn't match pod anti-affinity rules".into());
        }
        let (theirs, spec) = (other.namespace().unwrap_or_default(), other.spec.as_ref());
        if spec.is_some_and(|spec| anti_affinity(spec).any(|term| is_apart(term, &theirs, pod))) {
            return Err("node(s) didn't satisfy existing pods anti-affinity rules".into());
        }
    }
    Ok(())
}

fn affinity(spec: &PodSpec) -> impl Iterator<Item = &PodAffinityTerm> {
    let affinity = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.pod_affinity.as_ref());
    affinity
        .and_then(|it| {
            it.required_during_scheduling_ignored_during_execution
                .as_ref()
        })
        .into_iter()
        .flatten()
}

fn anti_affinity(spec: &PodSpec) -> impl Iterator<Item = &PodAffinityTerm> {
    let affinity = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    affinity
        .and_then(|it| {
            it.required_during_scheduling_ignored_during_execution
                .as_ref()
        })
        .into_iter()
        .flatten()
}

fn term_selects(term: &PodAffinityTerm, namespace: &str, other: &Pod) -> bool {
    let theirs = other.namespace().unwrap_or_default();
    let in_scope = match (&term.namespaces, &term.namespace_selector) {
        (Some(names), _) if !names.is_empty() => names.contains(&theirs),
        // A selector of namespaces, which are not looked at here, counts as all of them.
        (_, Some(_)) => true,
        _ => theirs == namespace,
    };
    let selector = term.label_selector.as_ref();
    in_scope && selector.is_some_and(|selector| selects(selector, other.labels()))
}

fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let has = |(key, value): (&String, &String)| labels.get(key) == Some(value);
    selector.match_labels.iter().flatten().all(has)
        && selector.match_expressions.iter().flatten().all(|it| {
            let requirement = NodeSelectorRequirement {
                key: it.key.clone(),
                operator: it.operator.clone(),
                values: it.values.clone(),
            };
            requirement_holds(&requirement, labels)
        })
}

#[cfg(test)]
mod tests;
