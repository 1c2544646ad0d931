//! What single types do differently when they are created, changed and removed.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::call::Call;
use super::registry::Resource;
use super::server::Core;
use super::{crd, defaults, events, object};

/// The finalizer that a namespace's spec begins its life with.
const NAMESPACE_FINALIZER: &str = "kubernetes";

/// Writes what the type itself decides about a new object.
pub(crate) fn prepare_create(call: &Call, value: &mut Value) {
    let resource = &call.resource;
    let map = object::map(value);
    match (resource.group.as_str(), resource.plural.as_str()) {
        // A kubelet registers its node with the status it has.
        ("", "nodes") => {}
        ("", "pods") => {
            let class = quality(map.get("spec").unwrap_or(&Value::Null));
            let status = json!({"phase": "Pending", "qosClass": class});
            map.insert("status".into(), status);
        }
        ("", "namespaces") => {
            let spec = object::map(map.entry("spec").or_insert(Value::Null));
            spec.insert("finalizers".into(), json!([NAMESPACE_FINALIZER]));
            map.insert("status".into(), json!({"phase": "Active"}));
        }
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            map.remove("status");
            defaults::apply(resource, value);
            crd::write_status(&call.types, value);
        }
        ("batch", "jobs") => {
            map.remove("status");
            select_own_pods(value);
        }
        _ if call.version().has("status") => {
            map.remove("status");
        }
        _ => {}
    }
}

/// The quality of service that a pod's resources amount to.
fn quality(spec: &Value) -> &'static str {
    let containers = ["initContainers", "containers"]
        .into_iter()
        .flat_map(|list| object::items(spec, &[list]));
    let (mut any, mut all) = (false, true);
    for container in containers {
        let get = |kind: &str, name: &str| object::at(container, &["resources", kind, name]);
        for name in ["cpu", "memory"] {
            let (limit, request) = (get("limits", name), get("requests", name));
            any |= limit.is_some() || request.is_some();
            all &= limit.is_some() && request.is_none_or(|request| Some(request) == limit);
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// A job that names no selector gets one that only its own pods have.
fn select_own_pods(value: &mut Value) {
    let (uid, name) = (
        object::uid(value).to_owned(),
        object::name(value).to_owned(),
    );
    let spec = object::map(object::map(value).entry("spec").or_insert(Value::Null));
    if spec.get("manualSelector") == Some(&Value::Bool(true)) {
        return;
    }
    let template = object::map(spec.entry("template").or_insert(Value::Null));
    let metadata = object::map(template.entry("metadata").or_insert(Value::Null));
    let labels = object::map(metadata.entry("labels").or_insert(Value::Null));
    for (key, text) in [("controller-uid", &uid), ("job-name", &name)] {
        labels.insert(key.into(), text.as_str().into());
        labels.insert(format!("batch.kubernetes.io/{key}"), text.as_str().into());
    }
    let selector = object::map(spec.entry("selector").or_insert(Value::Null));
    let labels = object::map(selector.entry("matchLabels").or_insert(Value::Null));
    labels.insert("batch.kubernetes.io/controller-uid".into(), uid.into());
}

/// Restricts a change to what the call's subresource may change.
pub(crate) fn prepare_update(call: &Call, new: &mut Value, old: &Value) {
    match call.subresource.as_str() {
        "status" => *new = only_status(call, std::mem::take(new), old),
        // The request is the server's own: it names the node and says so in the status.
        "binding" => {}
        "finalize" => {
            let finalizers = object::at(new, &["spec", "finalizers"]).cloned();
            *new = old.clone();
            let spec = object::map(object::map(new).entry("spec").or_insert(Value::Null));
            spec.insert("finalizers".into(), finalizers.unwrap_or(json!([])));
        }
        _ => {
            let map = object::map(new);
            if call.version().has("status") {
                copy(map, old, "status");
            }
            if call.resource.is("", "namespaces") {
                copy(map, old, "spec");
            }
            if call
                .resource
                .is("apiextensions.k8s.io", "customresourcedefinitions")
            {
                crd::write_status(&call.types, new);
            }
        }
    }
}

fn only_status(call: &Call, mut new: Value, old: &Value) -> Value {
    let mut result = old.clone();
    let map = object::map(&mut result);
    copy(map, &new, "status");
    if !call.resource.is_custom {
        // Labels, annotations and finalizers of built-in types may change along.
        let owners = object::at(old, &["metadata", "ownerReferences"]).cloned();
        let mut metadata = std::mem::take(object::metadata(&mut new));
        match owners {
            Some(owners) => metadata.insert("ownerReferences".into(), owners),
            None => metadata.remove("ownerReferences"),
        };
        map.insert("metadata".into(), Value::Object(metadata));
    }
    result
}

fn copy(map: &mut Map<String, Value>, from: &Value, key: &str) {
    match from.get(key) {
        Some(value) => map.insert(key.into(), value.clone()),
        None => map.remove(key),
    };
}

/// Counts a change of what the user wants (and not of metadata or status).
pub(crate) fn count_generation(call: &Call, new: &mut Value, old: &Value) {
    if !call.resource.has_generation {
        return;
    }
    let is_status_apart = call.version().has("status") || !call.resource.is_custom;
    let is_wish = |key: &str| match key {
        "metadata" | "apiVersion" | "kind" => false,
        "status" => !is_status_apart,
        _ => true,
    };
    let wishes = |value: &Value| -> Vec<(String, Value)> {
        let map = value.as_object().into_iter().flatten();
        map.filter(|(key, _)| is_wish(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    if wishes(new) != wishes(old) {
        raise_generation(new);
    }
}

/// Adds one to the generation.
pub(crate) fn raise_generation(value: &mut Value) {
    let metadata = object::metadata(value);
    let generation = metadata.get("generation").and_then(Value::as_i64);
    metadata.insert("generation".into(), (generation.unwrap_or(0) + 1).into());
}

/// Whether nothing holds an object any more that is being deleted.
pub(crate) fn is_gone(resource: &Resource, value: &Value) -> bool {
    let grace = object::at(value, &["metadata", "deletionGracePeriodSeconds"]);
    let is_held = object::finalizers(value).next().is_some()
        || grace.and_then(Value::as_i64).unwrap_or(0) > 0
        || resource.is("", "namespaces")
            && !object::items(value, &["spec", "finalizers"]).is_empty();
    object::is_terminating(value) && !is_held
}

/// Does what follows from a change that was stored.
pub(crate) fn after_write(core: &Arc<Core>, resource: &Resource, stored: &Value) {
    if resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
        crd::follow(core, object::name(stored));
    } else if resource.is_custom {
        crd::finish(core, &resource.table);
    } else if resource.table == "events" {
        events::expire(core);
    }
}
