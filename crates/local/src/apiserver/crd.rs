//! CustomResourceDefinitions: types that are added while the server runs.

mod definition;
mod rules;

pub(crate) use rules::validate;

use std::sync::Arc;

use serde_json::{Value, json};

use super::object;
use super::registry::Types;
use super::server::Core;
use super::store::Key;

/// The table of the definitions.
const TABLE: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// Holds a definition until its objects are gone.
const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Writes the status that a definition has: which names are accepted, whether it is served.
pub(crate) fn write_status(types: &Types, value: &mut Value) {
    let conflict = definition::name_conflict(types, value);
    let conditions = conditions(value, conflict.as_ref());
    let names = object::at(value, &["spec", "names"])
        .cloned()
        .unwrap_or_default();
    let accepted = if conflict.is_none() {
        names
    } else {
        json!({"plural": "", "kind": ""})
    };
    let storage = object::items(value, &["spec", "versions"])
        .iter()
        .filter(|version| version["storage"] == true)
        .map(|version| &version["name"]);
    let mut stored: Vec<Value> = Vec::new();
    for version in object::items(value, &["status", "storedVersions"])
        .iter()
        .chain(storage)
    {
        if !stored.contains(version) {
            stored.push(version.clone());
        }
    }
    let status = json!({"acceptedNames": accepted, "conditions": conditions,
        "storedVersions": stored});
    object::map(value).insert("status".into(), status);
    hold(value);
}

/// The conditions of a definition; one that has not changed keeps its time.
fn conditions(value: &Value, conflict: Option<&(String, String)>) -> [Value; 2] {
    let now = object::now();
    let condition = |kind: &str, reason: &str, message: &str| {
        let status = if conflict.is_none() { "True" } else { "False" };
        let before = object::items(value, &["status", "conditions"])
            .iter()
            .find(|one| one["type"] == kind && one["status"] == status);
        before.cloned().unwrap_or_else(|| {
            json!({"type": kind, "status": status, "reason": reason, "message": message,
                "lastTransitionTime": now})
        })
    };
    match conflict {
        None => [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition(
                "Established",
                "InitialNamesAccepted",
                "the initial names have been accepted",
            ),
        ],
        Some((reason, message)) => [
            condition("NamesAccepted", reason, message),
            condition("Established", "NotAccepted", "not all names are accepted"),
        ],
    }
}

/// Adds the finalizer, unless the definition is going already.
fn hold(value: &mut Value) {
    if object::is_terminating(value) || object::finalizers(value).any(|name| name == FINALIZER) {
        return;
    }
    let finalizers = object::metadata(value)
        .entry("finalizers")
        .or_insert(json!([]));
    if let Some(finalizers) = finalizers.as_array_mut() {
        finalizers.push(FINALIZER.into());
    }
}

/// Serves the types of all definitions of the store.
pub(crate) fn load(core: &Arc<Core>) {
    for definition in core.store.list(TABLE, "", None).0 {
        follow(core, object::name(&definition));
    }
}

/// Brings the served types in step with a definition that has changed, or is gone.
pub(crate) fn follow(core: &Arc<Core>, name: &str) {
    let Some((plural, group)) = name.split_once('.') else {
        return;
    };
    let Some(stored) = core.store.get(TABLE, &Key::new("", name)) else {
        core.registry.remove(group, plural);
        return;
    };
    let is_established = object::items(&stored, &["status", "conditions"])
        .iter()
        .any(|condition| condition["type"] == "Established" && condition["status"] == "True");
    if !is_established {
        return;
    }
    core.registry.put(definition::resource(&stored));
    if object::is_terminating(&stored) {
        delete_objects(core, name);
        finish(core, name);
    }
}

/// Deletes all objects of a type whose definition is going.
fn delete_objects(core: &Core, table: &str) {
    for stored in core.store.list(table, "", None).0 {
        let (key, revision) = (Key::of(&stored), object::revision(&stored));
        // An object that changes meanwhile is still there at the next look, which the change
        // itself brings about.
        if object::finalizers(&stored).next().is_none() {
            let _ = core.store.remove(table, &key, revision);
        } else if !object::is_terminating(&stored) {
            let mut marked = Value::clone(&stored);
            let metadata = object::metadata(&mut marked);
            metadata.insert("deletionTimestamp".into(), object::now().into());
            metadata.insert("deletionGracePeriodSeconds".into(), 0.into());
            let _ = core.store.replace(table, revision, marked);
        }
    }
}

/// Lets a definition go whose objects are gone.
pub(crate) fn finish(core: &Arc<Core>, name: &str) {
    let key = Key::new("", name);
    while let Some(stored) = core
        .store
        .get(TABLE, &key)
        .filter(|one| object::is_terminating(one))
    {
        if !core.store.list(name, "", None).0.is_empty() {
            return;
        }
        let mut released = Value::clone(&stored);
        let metadata = object::metadata(&mut released);
        if let Some(finalizers) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        let revision = object::revision(&stored);
        let is_free = object::finalizers(&released).next().is_none();
        let result = match is_free {
            true => core.store.remove(TABLE, &key, revision),
            false if released == *stored => return,
            false => core.store.replace(TABLE, revision, released),
        };
        if result.is_ok() && is_free {
            if let Some((plural, group)) = name.split_once('.') {
                core.registry.remove(group, plural);
            }
            return;
        }
    }
}
