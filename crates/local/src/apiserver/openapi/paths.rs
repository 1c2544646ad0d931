//! The paths of the documents: as much of the operations as clients look for, which are the kinds
//! that they are about and the parameters that they take.

use serde_json::{Map, Value, json};

use crate::apiserver::call::api_version;
use crate::apiserver::registry::{Resource, Version};
use crate::apiserver::schema::kind_reference;

/// Which version of OpenAPI is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    V2,
    V3,
}

/// Parameters of every change.
const WRITE_PARAMETERS: [&str; 3] = ["dryRun", "fieldManager", "fieldValidation"];

/// Adds the paths of a type in one version.
pub(super) fn add(
    paths: &mut Map<String, Value>,
    resource: &Resource,
    version: &Version,
    form: Form,
) {
    let root = if resource.group.is_empty() {
        "api"
    } else {
        "apis"
    };
    let scope = if resource.namespaced {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    let group_version = api_version(&resource.group, &version.name);
    let collection = format!("/{root}/{group_version}{scope}/{}", resource.plural);
    let kind = kind_reference(&resource.group, &version.name, &resource.kind);
    let operation = |action: &str, writes: bool| {
        let names = WRITE_PARAMETERS.iter().filter(|_| writes);
        json!({
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": kind,
            "parameters": names.map(|name| parameter(name, form)).collect::<Vec<_>>(),
            "responses": {"200": {"description": "OK"}},
        })
    };
    let mut many = json!({"post": operation("post", true)});
    if resource.verbs.len() > 1 {
        many["get"] = operation("list", false);
        many["delete"] = operation("deletecollection", false);
        let one = json!({
            "get": operation("get", false),
            "put": operation("put", true),
            "patch": operation("patch", true),
            "delete": operation("delete", false),
        });
        paths.insert(format!("{collection}/{{name}}"), one);
    }
    paths.insert(collection, many);
}

fn parameter(name: &str, form: Form) -> Value {
    match form {
        Form::V2 => json!({"name": name, "in": "query", "type": "string", "uniqueItems": true}),
        Form::V3 => json!({"name": name, "in": "query",
            "schema": {"type": "string", "uniqueItems": true}}),
    }
}
