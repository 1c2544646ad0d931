//! Structural schemas: made from the Rust types of [`crate::spec`], and used to check the shape of
//! an object before it is deserialised, so that every unknown field and wrong type is reported at
//! once, with its path.
//!
//! Kubernetes demands of a CRD's schema that it has no `$ref`, one type per node, and no unknown
//! keywords; [`of`] brings what schemars makes into that form.

mod shape;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

pub(crate) use shape::{check, unknown_field};

/// How a type marks a field that must be given: every type has defaults for all of its fields, so
/// that reading never fails after the shape was checked, and schemars takes those for optional.
const REQUIRED: &str = "x-required";

/// The structural schema of a type.
pub(crate) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|s| {
        s.inline_subschemas = true;
        s.meta_schema = None;
    });
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    structural(&mut schema);
    schema
}

/// Brings a node and everything below it into structural form.
fn structural(node: &mut Value) {
    let Value::Object(map) = node else { return };
    flatten_option(map);
    flatten_enum(map);
    for keyword in ["$schema", "title", "default", "oneOf", "anyOf", "allOf"] {
        map.remove(keyword);
    }
    integer_ranges(map);
    for child in ["items", "additionalProperties"] {
        match map.get_mut(child) {
            // `false` would say "no other fields", which Kubernetes says by `properties` alone.
            Some(Value::Bool(_)) => {
                map.remove(child);
            }
            Some(value) => structural(value),
            None => {}
        }
    }
    let mut required = Vec::new();
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        for (name, property) in properties.iter_mut() {
            structural(property);
            let mark = property.as_object_mut().and_then(|p| p.remove(REQUIRED));
            required.extend(mark.map(|_| json!(name)));
        }
    }
    if !required.is_empty() {
        map.insert("required".into(), Value::Array(required));
    }
}

/// `Option<T>` is a field that may be absent, not one that may be null.
fn flatten_option(map: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|t| t != "null");
        if let Some(only) = types.pop() {
            map.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(values)) = map.get_mut("enum") {
        values.retain(|v| !v.is_null());
    }
    let Some(Value::Array(alternatives)) = map.get("anyOf") else {
        return;
    };
    let inner = alternatives.iter().find(|a| a["type"] != "null").cloned();
    if let Some(Value::Object(inner)) = inner {
        for (key, value) in inner {
            // The field's own description says more than that of its type.
            map.entry(key).or_insert(value);
        }
    }
}

/// Documented variants become alternatives of one value each; Kubernetes wants a plain list.
fn flatten_enum(map: &mut Map<String, Value>) {
    let Some(Value::Array(alternatives)) = map.get("oneOf") else {
        return;
    };
    let mut values = Vec::new();
    for alternative in alternatives {
        match (&alternative["const"], &alternative["enum"]) {
            (Value::String(_), _) => values.push(alternative["const"].clone()),
            (_, Value::Array(list)) => values.extend(list.iter().cloned()),
            _ => {}
        }
    }
    map.insert("type".into(), json!("string"));
    map.insert("enum".into(), Value::Array(values));
}

/// Unsigned formats are unknown to Kubernetes: a range says the same.
fn integer_ranges(map: &mut Map<String, Value>) {
    let maximum = match map.get("format").and_then(Value::as_str) {
        Some("uint16") => Some(json!(u16::MAX)),
        Some("uint32") => Some(json!(u32::MAX)),
        Some("uint64" | "uint") => None,
        _ => return,
    };
    map.remove("format");
    map.entry("minimum").or_insert(json!(0));
    if let Some(maximum) = maximum {
        map.entry("maximum").or_insert(maximum);
    }
}
