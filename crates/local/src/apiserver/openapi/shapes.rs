//! Schemas as the two versions of OpenAPI write them.

use serde_json::{Map, Value, json};

use crate::apiserver::registry::{Resource, Version};
use crate::apiserver::schema::{OBJECT_META, Schema, definitions, kind_reference, reference};

const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const GVK: &str = "x-kubernetes-group-version-kind";

/// How a version of OpenAPI differs.
pub(super) struct Form {
    /// Where definitions are.
    prefix: &'static str,
    /// Whether a reference may stand beside other keywords only inside of `allOf`, and whether
    /// the richer keywords of structural schemas are understood.
    is_three: bool,
}

pub(super) const V2: Form = Form {
    prefix: "#/definitions/",
    is_three: false,
};

pub(super) const V3: Form = Form {
    prefix: "#/components/schemas/",
    is_three: true,
};

/// The definitions of all built-in types.
pub(super) fn built_in_v2() -> Map<String, Value> {
    definitions()
        .iter()
        .map(|(name, schema)| (name.clone(), built_in(name, schema, &V2)))
        .collect()
}

/// Adds the definition of a built-in type with all that it refers to.
pub(super) fn add_built_in_v3(schemas: &mut Map<String, Value>, version: &Version) {
    if let Schema::Builtin(name) = version.schema {
        add_with_references(schemas, name);
        if version.has("scale") {
            add_with_references(schemas, "io.k8s.api.autoscaling.v1.Scale");
        }
    }
}

fn add_with_references(schemas: &mut Map<String, Value>, name: &str) {
    if schemas.contains_key(name) {
        return;
    }
    let Some(schema) = definitions().get(name) else {
        return;
    };
    schemas.insert(name.to_owned(), built_in(name, schema, &V3));
    let mut found = Vec::new();
    collect_references(schema, &mut found);
    for name in found {
        add_with_references(schemas, name);
    }
}

fn collect_references<'a>(schema: &'a Value, found: &mut Vec<&'a str>) {
    found.extend(reference(schema));
    match schema {
        Value::Object(map) => map
            .values()
            .for_each(|value| collect_references(value, found)),
        Value::Array(items) => items
            .iter()
            .for_each(|value| collect_references(value, found)),
        _ => {}
    }
}

fn built_in(name: &str, schema: &Value, form: &Form) -> Value {
    let description = schema.get("description").cloned().unwrap_or_default();
    match name {
        INT_OR_STRING if form.is_three => {
            json!({"description": description, "format": "int-or-string",
                "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        INT_OR_STRING => {
            json!({"description": description, "type": "string", "format": "int-or-string"})
        }
        QUANTITY if form.is_three => {
            json!({"description": description,
                "oneOf": [{"type": "string"}, {"type": "number"}]})
        }
        QUANTITY => json!({"description": description, "type": "string"}),
        _ => rewrite(schema, form),
    }
}

/// Points references to where this version of OpenAPI has its definitions.
fn rewrite(schema: &Value, form: &Form) -> Value {
    match schema {
        Value::Object(map) => {
            let mut result: Map<String, Value> = map
                .iter()
                .filter(|(key, _)| *key != "$ref")
                .map(|(key, value)| (key.clone(), rewrite(value, form)))
                .collect();
            if let Some(name) = reference(schema) {
                let target = json!(format!("{}{name}", form.prefix));
                if form.is_three && !result.is_empty() {
                    result.insert("allOf".into(), json!([{"$ref": target}]));
                    result.insert("default".into(), json!({}));
                } else {
                    result.insert("$ref".into(), target);
                }
            }
            Value::Object(result)
        }
        Value::Array(items) => items.iter().map(|item| rewrite(item, form)).collect(),
        plain => plain.clone(),
    }
}

/// Adds the definition of a custom type, under a name made of its group turned around.
pub(super) fn add_custom(
    schemas: &mut Map<String, Value>,
    resource: &Resource,
    version: &Version,
    form: &Form,
) {
    let Schema::Structural(schema) = &version.schema else {
        return;
    };
    let mut reversed: Vec<&str> = resource.group.split('.').collect();
    reversed.reverse();
    let name = format!("{}.{}.{}", reversed.join("."), version.name, resource.kind);
    let mut shape = if form.is_three {
        Value::clone(schema)
    } else {
        simple(schema)
    };
    if !shape.is_object() {
        shape = json!({});
    }
    if let Some(properties) = shape.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("apiVersion".into(), json!({"type": "string",
            "description": "APIVersion defines the versioned schema of this representation of an object."}));
        properties.insert("kind".into(), json!({"type": "string",
            "description": "Kind is a string value representing the REST resource this object represents."}));
        let target = json!({"$ref": format!("{}{OBJECT_META}", form.prefix)});
        let metadata = if form.is_three {
            json!({"allOf": [target]})
        } else {
            target
        };
        properties.insert("metadata".into(), metadata);
    }
    let kind = kind_reference(&resource.group, &version.name, &resource.kind);
    shape[GVK] = json!([kind]);
    schemas.insert(name, shape);
    if form.is_three {
        add_with_references(schemas, OBJECT_META);
    }
}

/// What version 2 can say of a structural schema: where it cannot say it, it says nothing, so that
/// clients that validate by it refuse nothing that the server takes.
fn simple(schema: &Value) -> Value {
    let is_set = |key: &str| schema.get(key) == Some(&Value::Bool(true));
    let mut result = Map::new();
    if let Some(description) = schema.get("description") {
        result.insert("description".into(), description.clone());
    }
    let is_open = is_set("nullable")
        || is_set("x-kubernetes-int-or-string")
        || is_set("x-kubernetes-preserve-unknown-fields")
        || schema.get("type").is_none();
    if is_open {
        return Value::Object(result);
    }
    for key in ["type", "format", "required", "enum"] {
        if let Some(value) = schema.get(key) {
            result.insert(key.into(), value.clone());
        }
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let properties: Map<String, Value> = properties
            .iter()
            .map(|(key, schema)| (key.clone(), simple(schema)))
            .collect();
        result.insert("properties".into(), Value::Object(properties));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(schema) = schema.get(key).filter(|schema| schema.is_object()) {
            result.insert(key.into(), simple(schema));
        }
    }
    Value::Object(result)
}
