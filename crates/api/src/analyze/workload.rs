//! Namespaces and pods: whether they are part of the mesh.

use super::set::{Set, Subject, Workload};
use super::{Findings, code};

/// The user of the proxy; what it does is not captured.
const PROXY_UID: u64 = 1337;
/// The label, and the older annotation, by which a pod asks for or refuses a proxy.
const INJECT: &str = "sidecar.istio.io/inject";

/// Analyses namespaces and pods.
pub(super) fn analyze(set: &Set<'_>, findings: &mut Findings) {
    for namespace in set.of("", "Namespace") {
        if !set.is_system(namespace.object.name()) {
            injection_of_namespace(namespace, findings);
        }
    }
    for workload in &set.workloads() {
        if workload.is_pod() && !set.is_system(workload.subject.namespace) {
            missing_proxy(workload, set, findings);
        }
    }
    for workload in &set.written_workloads() {
        // Where it cannot be known, as in a file without its namespace, a proxy is likely.
        let is_meshed = has_proxy(workload)
            || !set.is_system(workload.subject.namespace)
                && is_to_be_injected(workload, set).unwrap_or(true);
        if is_meshed {
            application_uid(workload, findings);
        }
    }
}

fn injection_of_namespace(namespace: &Subject<'_>, findings: &mut Findings) {
    let name = namespace.object.name();
    let label = namespace.object.label("istio-injection");
    let revision = namespace.object.label("istio.io/rev");
    match (label, revision) {
        (Some(_), Some(_)) => {
            let text = "has the labels istio-injection and istio.io/rev; istio-injection decides, remove one of them";
            findings.add(
                &code::MULTIPLE_INJECTION_LABELS,
                namespace,
                "metadata.labels",
                text,
            );
        }
        (None, None) => {
            let mode = namespace.object.label("istio.io/dataplane-mode");
            if mode != Some("ambient") {
                let text = format!(
                    "pods here get no proxy; run `kubectl label namespace {name} istio-injection=enabled` to have them injected, or set the label to disabled to say that they should not be"
                );
                findings.add(&code::NAMESPACE_NOT_INJECTED, namespace, "metadata", text);
            }
        }
        _ => {}
    }
}

/// A pod that was made before its namespace was labelled, or while the injector was away.
fn missing_proxy(pod: &Workload<'_>, set: &Set<'_>, findings: &mut Findings) {
    let phase = pod.subject.object.0["status"]["phase"].as_str();
    let is_over = matches!(phase, Some("Succeeded" | "Failed"));
    if is_to_be_injected(pod, set) == Some(true) && !has_proxy(pod) && !is_over {
        let text = "has no proxy although its namespace is injected; restart it, for example by `kubectl rollout restart` of its deployment";
        findings.add(&code::POD_MISSING_PROXY, pod.subject, "", text);
    }
}

/// Answers whether pods of a workload get a proxy; `None` if their namespace is not known.
fn is_to_be_injected(workload: &Workload<'_>, set: &Set<'_>) -> Option<bool> {
    let labels = set.namespace_labels(workload.subject.namespace)?;
    let is_injected_namespace = match labels.get("istio-injection").map(String::as_str) {
        Some(value) => value == "enabled",
        None => labels.contains_key("istio.io/rev"),
    };
    let own = workload
        .labels
        .get(INJECT)
        .or_else(|| workload.annotations.get(INJECT));
    let is_wanted = own.map_or(is_injected_namespace, |value| value == "true");
    Some(is_wanted && workload.pod["hostNetwork"] != true)
}

fn has_proxy(workload: &Workload<'_>) -> bool {
    workload
        .containers()
        .any(|(_, _, container)| container["name"] == "istio-proxy")
}

fn application_uid(workload: &Workload<'_>, findings: &mut Findings) {
    let is_proxy_user = |context: &serde_json::Value| context["runAsUser"] == PROXY_UID;
    let prefix = match workload.metadata_path.strip_suffix("metadata") {
        Some(prefix) => format!("{prefix}spec"),
        None => "spec".to_owned(),
    };
    let text =
        format!("user {PROXY_UID} is the proxy's, whose traffic is not captured; use another one");
    if is_proxy_user(&workload.pod["securityContext"]) {
        let field = format!("{prefix}.securityContext.runAsUser");
        findings.add(&code::APPLICATION_UID, workload.subject, &field, text);
        return;
    }
    for (list, index, container) in workload.containers() {
        let name = container["name"].as_str().unwrap_or("");
        let is_own = matches!(name, "istio-proxy" | "istio-init" | "istio-validation");
        if !is_own && is_proxy_user(&container["securityContext"]) {
            let field = format!("{prefix}.{list}[{index}].securityContext.runAsUser");
            return findings.add(&code::APPLICATION_UID, workload.subject, &field, text);
        }
    }
}
