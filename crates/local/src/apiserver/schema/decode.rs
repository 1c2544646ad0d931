//! Decodes objects of built-in types as Kubernetes' Go types would: null is absent, unknown fields
//! are dropped (and reported), values of a wrong type are refused.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value};

use super::{quantity, resolve};

/// The fields that a schema does not know, as `spec.template.foo`.
pub(crate) type Unknown = Vec<String>;

const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";

/// Decodes `value` in place by a definition.
pub(crate) fn decode(
    value: &mut Value,
    definition: &str,
    definitions: &Map<String, Value>,
) -> Result<Unknown, String> {
    let mut decoder = Decoder {
        definitions,
        unknown: Vec::new(),
    };
    if let Some(schema) = definitions.get(definition) {
        decoder.walk(value, schema, definition, "")?;
    }
    Ok(decoder.unknown)
}

/// Decodes only the metadata, which custom types share.
pub(crate) fn decode_metadata(object: &mut Value) -> Result<Unknown, String> {
    let definitions = super::definitions();
    let mut decoder = Decoder {
        definitions,
        unknown: Vec::new(),
    };
    if let (Some(metadata), Some(schema)) = (
        object.get_mut("metadata"),
        definitions.get(super::OBJECT_META),
    ) {
        if metadata.is_null() {
            *metadata = Value::Object(Map::new());
        }
        decoder.walk(metadata, schema, super::OBJECT_META, "metadata")?;
    }
    Ok(decoder.unknown)
}

struct Decoder<'a> {
    definitions: &'a Map<String, Value>,
    unknown: Unknown,
}

// === impl Decoder ===

impl Decoder<'_> {
    fn walk(
        &mut self,
        value: &mut Value,
        schema: &Value,
        owner: &str,
        path: &str,
    ) -> Result<(), String> {
        let (schema, name) = resolve(schema, owner, self.definitions);
        if schema.get(INT_OR_STRING).is_some() {
            return int_or_string(value, name, path);
        }
        // Alternatives differ in their JSON type: a schema, or a list or flag in its place.
        if let Some([first, second]) = schema
            .get("oneOf")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
        {
            let chosen = if value.is_object() { first } else { second };
            return self.walk(value, chosen, name, path);
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("object") => self.walk_object(value, schema, name, path),
            Some("array") => self.walk_array(value, schema, name, path),
            Some("string") if value.is_string() => check_format(value, schema, name, path),
            Some("integer") => integer(value, schema, name, path),
            Some("number") if value.is_number() => Ok(()),
            Some("boolean") if value.is_boolean() => Ok(()),
            Some(wanted @ ("string" | "number" | "boolean")) => {
                let go = match wanted {
                    "number" => "float64",
                    "boolean" => "bool",
                    other => other,
                };
                Err(mismatch(value, name, path, go))
            }
            _ => Ok(()),
        }
    }

    fn walk_object(
        &mut self,
        value: &mut Value,
        schema: &Value,
        name: &str,
        path: &str,
    ) -> Result<(), String> {
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties");
        let short = name.rsplit('.').next().unwrap_or(name).to_owned();
        let Value::Object(map) = value else {
            return Err(mismatch(value, name, path, &short));
        };
        let Some(properties) = properties else {
            return match others {
                Some(schema) => self.walk_map(map, schema, name, path),
                None => Ok(()),
            };
        };
        map.retain(|_, value| !value.is_null());
        let mut strangers = Vec::new();
        for (key, value) in &mut *map {
            let path = child(path, key);
            match properties.get(key) {
                Some(schema) => self.walk(value, schema, name, &path)?,
                None => strangers.push((key.clone(), path)),
            }
        }
        for (key, path) in strangers {
            map.remove(&key);
            self.unknown.push(path);
        }
        Ok(())
    }

    fn walk_map(
        &mut self,
        map: &mut Map<String, Value>,
        schema: &Value,
        name: &str,
        path: &str,
    ) -> Result<(), String> {
        for (key, value) in map {
            if value.is_null() && schema.get("type").is_some_and(|kind| kind == "string") {
                *value = "".into();
            }
            self.walk(value, schema, name, &child(path, key))?;
        }
        Ok(())
    }

    fn walk_array(
        &mut self,
        value: &mut Value,
        schema: &Value,
        name: &str,
        path: &str,
    ) -> Result<(), String> {
        let Value::Array(items) = value else {
            return Err(mismatch(value, name, path, "[]"));
        };
        let Some(schema) = schema.get("items") else {
            return Ok(());
        };
        for (index, item) in items.iter_mut().enumerate() {
            if item.is_null() && super::reference(schema).is_some() {
                *item = Value::Object(Map::new());
            }
            self.walk(item, schema, name, &format!("{path}[{index}]"))?;
        }
        Ok(())
    }
}

fn child(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Go's words for a value of a wrong type, which users know from Kubernetes.
fn mismatch(value: &Value, name: &str, path: &str, wanted: &str) -> String {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let short = name.rsplit('.').next().unwrap_or(name);
    format!("json: cannot unmarshal {found} into Go struct field {short}.{path} of type {wanted}")
}

fn int_or_string(value: &mut Value, name: &str, path: &str) -> Result<(), String> {
    if name == QUANTITY {
        let text = match value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => std::mem::take(text),
            _ => return Err(mismatch(value, name, path, "resource.Quantity")),
        };
        *value = quantity::canonical(&text)
            .ok_or_else(|| {
                format!(
                    "quantities must match the regular expression \
                     '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$': {path}: {text:?}"
                )
            })?
            .into();
        return Ok(());
    }
    let is_int = value.as_i64().is_some_and(|int| i32::try_from(int).is_ok());
    if value.is_string() || is_int {
        Ok(())
    } else {
        Err(mismatch(value, name, path, "int32"))
    }
}

fn integer(value: &mut Value, schema: &Value, name: &str, path: &str) -> Result<(), String> {
    let wanted = schema
        .get("format")
        .and_then(Value::as_str)
        .unwrap_or("int64");
    // JSON does not tell 3 from 3.0; clients in JavaScript send the latter for large numbers.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "checked to be whole and in range"
    )]
    if let Some(float) = value.as_f64().filter(|_| value.is_f64())
        && float.fract() == 0.0
        && float.abs() < 9e15
    {
        *value = (float as i64).into();
    }
    let fits = value
        .as_i64()
        .is_some_and(|int| wanted != "int32" || i32::try_from(int).is_ok());
    if fits {
        Ok(())
    } else {
        Err(mismatch(value, name, path, wanted))
    }
}

fn check_format(value: &Value, schema: &Value, name: &str, path: &str) -> Result<(), String> {
    use base64::Engine;
    let text = value.as_str().unwrap_or_default();
    match schema.get("format").and_then(Value::as_str) {
        Some("byte") => base64::engine::general_purpose::STANDARD
            .decode(text.replace(['\n', '\r'], ""))
            .map(drop)
            .map_err(|error| format!("illegal base64 data in {path}: {error}")),
        Some("date-time") => text.parse::<Timestamp>().map(drop).map_err(|error| {
            let short = name.rsplit('.').next().unwrap_or(name);
            format!("parsing time {text:?} of {short}.{path}: {error}")
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::definitions;
    use super::*;

    fn deployment(value: Value) -> (Value, Result<Unknown, String>) {
        let mut value = value;
        let result = decode(&mut value, "io.k8s.api.apps.v1.Deployment", definitions());
        (value, result)
    }

    #[test]
    fn unknown_fields_are_dropped_and_named() {
        let (value, unknown) = deployment(json!({"spec": {"replicas": 1, "foo": 2, "template":
            {"spec": {"containers": [{"name": "a", "imagee": "b"}]}}}}));
        assert_eq!(
            unknown.unwrap(),
            ["spec.template.spec.containers[0].imagee", "spec.foo"]
        );
        assert_eq!(
            value,
            json!({"spec": {"replicas": 1, "template":
            {"spec": {"containers": [{"name": "a"}]}}}})
        );
    }

    #[test]
    fn null_is_absent_and_quantities_become_canonical_text() {
        let (value, result) = deployment(json!({"metadata": {"creationTimestamp": null,
            "labels": {"a": null}}, "spec": {"template": {"spec": {"containers": [
            {"name": "a", "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}}]}}}}));
        assert!(result.unwrap().is_empty());
        assert_eq!(value["metadata"], json!({"labels": {"a": ""}}));
        let limits = &value["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"];
        assert_eq!(*limits, json!({"cpu": "500m", "memory": "1Gi"}));
    }

    #[test]
    fn a_wrong_type_is_refused_in_the_words_of_kubernetes() {
        let (_, result) = deployment(json!({"spec": {"replicas": "three"}}));
        assert_eq!(
            result.unwrap_err(),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of \
             type int32"
        );
    }
}
