//! Defaults of the built-in types, as Kubernetes sets them.

mod pods;
mod workloads;

use base64::Engine;
use serde_json::{Map, Value, json};

use super::object::{self, default, map};
use super::registry::Resource;

type Fields = Map<String, Value>;

/// Writes the defaults of a built-in type where there is nothing.
pub(crate) fn apply(resource: &Resource, value: &mut Value) {
    let root = map(value);
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => pods::pod(root),
        ("", "podtemplates") => pods::template(root),
        ("", "services") => service(root),
        ("", "endpoints") => endpoints(root),
        ("", "secrets") => secret(root),
        ("", "namespaces") => namespace(root),
        ("", "persistentvolumes") => {
            let spec = field(root, "spec");
            default(spec, "persistentVolumeReclaimPolicy", "Retain");
            default(spec, "volumeMode", "Filesystem");
        }
        ("", "persistentvolumeclaims") => {
            default(field(root, "spec"), "volumeMode", "Filesystem");
        }
        ("discovery.k8s.io", "endpointslices") => {
            for port in list(root, "ports") {
                default(port, "name", "");
                default(port, "protocol", "TCP");
            }
        }
        ("apps" | "batch", _) | ("", "replicationcontrollers") => {
            workloads::apply(&resource.plural, root);
        }
        ("autoscaling", _) => {
            default(field(root, "spec"), "minReplicas", 1);
        }
        ("networking.k8s.io", "networkpolicies") => network_policy(root),
        ("rbac.authorization.k8s.io", _) => bindings(root),
        ("admissionregistration.k8s.io", plural) => webhooks(root, plural),
        ("apiextensions.k8s.io", _) => definition(root),
        ("scheduling.k8s.io", _) => {
            default(root, "preemptionPolicy", "PreemptLowerPriority");
        }
        ("storage.k8s.io", _) => {
            default(root, "reclaimPolicy", "Delete");
            default(root, "volumeBindingMode", "Immediate");
        }
        _ => {}
    }
}

/// An object inside of another, made if it is not there.
fn field<'a>(parent: &'a mut Fields, key: &str) -> &'a mut Fields {
    map(parent.entry(key).or_insert(Value::Null))
}

/// The objects of a list.
fn list<'a>(parent: &'a mut Fields, key: &str) -> impl Iterator<Item = &'a mut Fields> {
    parent
        .get_mut(key)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

fn service(root: &mut Fields) {
    let spec = field(root, "spec");
    default(spec, "sessionAffinity", "None");
    default(spec, "type", "ClusterIP");
    if spec["sessionAffinity"] == "ClientIP" {
        let client = field(field(spec, "sessionAffinityConfig"), "clientIP");
        default(client, "timeoutSeconds", 10800);
    }
    for port in list(spec, "ports") {
        default(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or_default();
        let target = port.entry("targetPort").or_insert(Value::Null);
        if target.is_null() || *target == "" || *target == 0 {
            *target = number;
        }
    }
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    if kind != "ExternalName" {
        default(spec, "internalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        default(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", true);
    }
    // Kubernetes always shows the status of the balancer, be there one or not.
    field(field(root, "status"), "loadBalancer");
}

fn endpoints(root: &mut Fields) {
    for subset in list(root, "subsets") {
        for port in list(subset, "ports") {
            default(port, "protocol", "TCP");
        }
    }
}

/// Plain text of `stringData` becomes data.
fn secret(root: &mut Fields) {
    default(root, "type", "Opaque");
    let Some(Value::Object(texts)) = root.remove("stringData") else {
        return;
    };
    let data = field(root, "data");
    for (key, text) in texts {
        let bytes = text.as_str().unwrap_or_default();
        let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
        data.insert(key, encoded.into());
    }
}

/// A namespace carries its name as a label, so that selectors can name it.
fn namespace(root: &mut Fields) {
    let metadata = field(root, "metadata");
    let name = metadata.get("name").cloned().unwrap_or_default();
    field(metadata, "labels").insert("kubernetes.io/metadata.name".into(), name);
}

fn network_policy(root: &mut Fields) {
    let spec = field(root, "spec");
    let mut types = vec!["Ingress"];
    if spec
        .get("egress")
        .and_then(Value::as_array)
        .is_some_and(|rules| !rules.is_empty())
    {
        types.push("Egress");
    }
    default(spec, "policyTypes", json!(types));
}

fn bindings(root: &mut Fields) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    if root.contains_key("roleRef") {
        default(field(root, "roleRef"), "apiGroup", GROUP);
    }
    for subject in list(root, "subjects") {
        if matches!(
            subject.get("kind").and_then(Value::as_str),
            Some("User" | "Group")
        ) {
            default(subject, "apiGroup", GROUP);
        }
    }
}

fn webhooks(root: &mut Fields, plural: &str) {
    for webhook in list(root, "webhooks") {
        default(webhook, "failurePolicy", "Fail");
        default(webhook, "matchPolicy", "Equivalent");
        default(webhook, "namespaceSelector", json!({}));
        default(webhook, "objectSelector", json!({}));
        default(webhook, "timeoutSeconds", 10);
        if plural == "mutatingwebhookconfigurations" {
            default(webhook, "reinvocationPolicy", "Never");
        }
        for rule in list(webhook, "rules") {
            default(rule, "scope", "*");
        }
        if let Some(service) = webhook
            .get_mut("clientConfig")
            .and_then(|config| config.get_mut("service"))
            .and_then(Value::as_object_mut)
        {
            default(service, "port", 443);
        }
    }
}

fn definition(root: &mut Fields) {
    let spec = field(root, "spec");
    let names = field(spec, "names");
    let kind = object::text(&Value::Object(names.clone()), &["kind"]).to_owned();
    default(names, "singular", kind.to_ascii_lowercase());
    default(names, "listKind", format!("{kind}List"));
    default(field(spec, "conversion"), "strategy", "None");
}
