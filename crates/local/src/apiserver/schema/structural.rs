//! Structural schemas of custom types: what they prune, default and refuse.
//!
//! CEL rules (`x-kubernetes-validations`) are stored with the definition but not evaluated.

mod validate;

pub(crate) use validate::validate;

use serde_json::{Map, Value};

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";

/// Removes fields that the schema does not know; names them. `value` is a whole object.
pub(crate) fn prune(value: &mut Value, schema: &Value) -> Vec<String> {
    let mut pruned = Vec::new();
    walk_prune(value, schema, "", true, &mut pruned);
    pruned
}

/// Writes the schema's defaults where there is nothing.
pub(crate) fn set_defaults(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (key, schema) in properties.into_iter().flatten() {
                if let Some(default) = schema.get("default")
                    && !default.is_null()
                    && map
                        .get(key)
                        .is_none_or(|value| value.is_null() && !is_nullable(schema))
                {
                    map.insert(key.clone(), default.clone());
                }
                if let Some(value) = map.get_mut(key) {
                    set_defaults(value, schema);
                }
            }
            if let Some(others) = schema
                .get("additionalProperties")
                .filter(|one| one.is_object())
            {
                let is_known = |key: &str| properties.is_some_and(|known| known.contains_key(key));
                for (_, value) in map.iter_mut().filter(|(key, _)| !is_known(key)) {
                    set_defaults(value, others);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    set_defaults(item, schema);
                }
            }
        }
        _ => {}
    }
}

fn is_nullable(schema: &Value) -> bool {
    is_set(schema, "nullable")
}

fn is_set(schema: &Value, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn walk_prune(
    value: &mut Value,
    schema: &Value,
    path: &str,
    is_resource: bool,
    pruned: &mut Vec<String>,
) {
    match value {
        Value::Object(map) => prune_object(map, schema, path, is_resource, pruned),
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter_mut().enumerate() {
                    let is_resource = is_set(schema, EMBEDDED);
                    walk_prune(
                        item,
                        schema,
                        &format!("{path}[{index}]"),
                        is_resource,
                        pruned,
                    );
                }
            }
        }
        _ => {}
    }
}

fn prune_object(
    map: &mut Map<String, Value>,
    schema: &Value,
    path: &str,
    is_resource: bool,
    pruned: &mut Vec<String>,
) {
    let properties = schema.get("properties").and_then(Value::as_object);
    let others = schema.get("additionalProperties");
    let keeps_all = is_set(schema, PRESERVE) || others == Some(&Value::Bool(true));
    let mut strangers = Vec::new();
    for (key, value) in &mut *map {
        if is_resource && matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        let own = properties.and_then(|properties| properties.get(key));
        match own.or_else(|| others.filter(|schema| schema.is_object())) {
            Some(schema) => walk_prune(value, schema, &path, is_set(schema, EMBEDDED), pruned),
            None if keeps_all => {}
            None => strangers.push((key.clone(), path)),
        }
    }
    for (key, path) in strangers {
        map.remove(&key);
        pruned.push(path);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "size": {"type": "integer", "default": 3},
            "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {
                "a": {"type": "string", "default": "x"}}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {
                "b": {"type": "string"}}}},
        }}}})
    }

    #[test]
    fn unknown_fields_are_pruned_and_named() {
        let mut value = json!({"kind": "Foo", "metadata": {"name": "a"}, "what": 1, "spec": {
            "size": 1, "sise": 2, "any": {"x": 1}, "map": {"k": {"a": "1", "c": 2}},
            "list": [{"b": "1"}, {"d": 1}]}});
        let mut pruned = prune(&mut value, &schema());
        pruned.sort();
        assert_eq!(
            pruned,
            ["spec.list[1].d", "spec.map.k.c", "spec.sise", "what"]
        );
        assert_eq!(value["spec"]["any"], json!({"x": 1}));
        assert_eq!(value["metadata"]["name"], "a");
    }

    #[test]
    fn defaults_fill_gaps_at_every_depth() {
        let mut value = json!({"spec": {"size": null, "map": {"k": {}}}});
        set_defaults(&mut value, &schema());
        assert_eq!(
            value,
            json!({"spec": {"size": 3, "map": {"k": {"a": "x"}}}})
        );
    }
}
