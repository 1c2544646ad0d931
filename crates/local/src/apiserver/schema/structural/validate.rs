//! What a structural schema refuses, in the words of Kubernetes.

use regex::Regex;
use serde_json::{Map, Value};

use super::{INT_OR_STRING, is_nullable, is_set};
use crate::apiserver::validate::FieldError;

/// Validates a whole object of a custom type.
pub(crate) fn validate(value: &Value, schema: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(value, schema, "", &mut errors);
    errors
}

fn walk(value: &Value, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if value.is_null() && is_nullable(schema) {
        return;
    }
    if !check_type(value, schema, path, errors) {
        return;
    }
    check_enum(value, schema, path, errors);
    match value {
        Value::Object(map) => walk_object(map, schema, path, errors),
        Value::Array(items) => walk_array(items, schema, path, errors),
        Value::String(text) => check_text(text, schema, path, errors),
        Value::Number(_) => check_number(value, schema, path, errors),
        Value::Null | Value::Bool(_) => {}
    }
    check_combinations(value, schema, path, errors);
}

/// Refuses a value of a wrong type; answers whether the rest of the schema makes sense for it.
fn check_type(value: &Value, schema: &Value, path: &str, errors: &mut Vec<FieldError>) -> bool {
    if is_set(schema, INT_OR_STRING) {
        let fits = value.is_string() || is_whole(value);
        if !fits {
            errors.push(wrong_type(value, "integer,string", path));
        }
        return fits;
    }
    let Some(wanted) = schema.get("type").and_then(Value::as_str) else {
        return true;
    };
    let fits = match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => is_whole(value),
        "number" => value.is_number(),
        _ => true,
    };
    if !fits {
        errors.push(wrong_type(value, wanted, path));
    }
    fits
}

fn is_whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|float| float.fract() == 0.0)
}

fn wrong_type(value: &Value, wanted: &str, path: &str) -> FieldError {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_whole(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let detail = format!("{path} in body must be of type {wanted}: \"{found}\"");
    FieldError::wrong_type(path, found, &detail)
}

fn check_enum(value: &Value, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        errors.push(FieldError::not_supported(path, value, allowed));
    }
}

fn walk_object(map: &Map<String, Value>, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let child = |key: &str| match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    };
    let required = schema.get("required").and_then(Value::as_array);
    for key in required.into_iter().flatten().filter_map(Value::as_str) {
        if !map.contains_key(key) {
            errors.push(FieldError::required(&child(key), ""));
        }
    }
    for (bound, is_least) in [("minProperties", true), ("maxProperties", false)] {
        check_count(
            map.len(),
            schema,
            bound,
            is_least,
            "properties",
            path,
            errors,
        );
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let others = schema
        .get("additionalProperties")
        .filter(|one| one.is_object());
    for (key, value) in map {
        if path.is_empty() && key == "metadata" {
            continue;
        }
        let own = properties.and_then(|properties| properties.get(key));
        if let Some(schema) = own.or(others) {
            walk(value, schema, &child(key), errors);
        }
    }
}

fn walk_array(items: &[Value], schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (bound, is_least) in [("minItems", true), ("maxItems", false)] {
        check_count(items.len(), schema, bound, is_least, "items", path, errors);
    }
    check_duplicates(items, schema, path, errors);
    if let Some(schema) = schema.get("items") {
        for (index, item) in items.iter().enumerate() {
            walk(item, schema, &format!("{path}[{index}]"), errors);
        }
    }
}

fn check_count(
    count: usize,
    schema: &Value,
    bound: &str,
    is_least: bool,
    what: &str,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let Some(limit) = schema.get(bound).and_then(Value::as_u64) else {
        return;
    };
    let found = count as u64;
    if is_least && found < limit {
        let detail = format!("{path} in body should have at least {limit} {what}");
        errors.push(FieldError::invalid(path, &found.into(), &detail));
    } else if !is_least && found > limit {
        errors.push(FieldError::too_many(path, found, limit));
    }
}

/// Lists that are sets or maps hold nothing twice.
fn check_duplicates(items: &[Value], schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let kind = schema.get("x-kubernetes-list-type").and_then(Value::as_str);
    let keys: Vec<&str> = schema
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let id = |item: &Value| -> Option<Value> {
        match kind {
            Some("set") => Some(item.clone()),
            Some("map") => {
                let parts = keys
                    .iter()
                    .filter_map(|key| Some(((*key).to_owned(), item.get(key)?.clone())));
                Some(Value::Object(parts.collect()))
            }
            _ => is_set(schema, "uniqueItems").then(|| item.clone()),
        }
    };
    let mut seen: Vec<Value> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some(id) = id(item) else {
            return;
        };
        if seen.contains(&id) {
            errors.push(FieldError::duplicate(&format!("{path}[{index}]"), &id));
        } else {
            seen.push(id);
        }
    }
}

fn check_text(text: &str, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let value = Value::from(text);
    let length = text.chars().count() as u64;
    if let Some(least) = schema.get("minLength").and_then(Value::as_u64)
        && length < least
    {
        let detail = format!("{path} in body should be at least {least} chars long");
        errors.push(FieldError::invalid(path, &value, &detail));
    }
    if let Some(most) = schema.get("maxLength").and_then(Value::as_u64)
        && length > most
    {
        errors.push(FieldError::too_long(path, most));
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        // A pattern that cannot be compiled is refused with its definition.
        if Regex::new(pattern).is_ok_and(|regex| !regex.is_match(text)) {
            let detail = format!("{path} in body should match '{pattern}'");
            errors.push(FieldError::invalid(path, &value, &detail));
        }
    }
    let format = schema.get("format").and_then(Value::as_str).unwrap_or("");
    if !has_format(text, format) {
        let detail = format!("{path} in body must be of type {format}: {value}");
        errors.push(FieldError::invalid(path, &value, &detail));
    }
}

fn has_format(text: &str, format: &str) -> bool {
    use base64::Engine;
    use k8s_openapi::jiff;
    match format {
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok(),
        "byte" => base64::engine::general_purpose::STANDARD
            .decode(text)
            .is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        _ => true,
    }
}

fn check_number(value: &Value, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let number = value.as_f64().unwrap_or_default();
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    if let Some(least) = bound("minimum") {
        let is_strict = is_set(schema, "exclusiveMinimum");
        if number < least || (is_strict && number <= least) {
            let words = if is_strict {
                "greater than"
            } else {
                "greater than or equal to"
            };
            let detail = format!("{path} in body should be {words} {least}");
            errors.push(FieldError::invalid(path, value, &detail));
        }
    }
    if let Some(most) = bound("maximum") {
        let is_strict = is_set(schema, "exclusiveMaximum");
        if number > most || (is_strict && number >= most) {
            let words = if is_strict {
                "less than"
            } else {
                "less than or equal to"
            };
            let detail = format!("{path} in body should be {words} {most}");
            errors.push(FieldError::invalid(path, value, &detail));
        }
    }
    if let Some(step) = bound("multipleOf").filter(|step| *step > 0.0) {
        let quotient = number / step;
        if (quotient - quotient.round()).abs() > 1e-9 {
            let detail = format!("{path} in body should be a multiple of {step}");
            errors.push(FieldError::invalid(path, value, &detail));
        }
    }
    let format = schema.get("format").and_then(Value::as_str);
    if format == Some("int32") && !(-2_147_483_648.0..=2_147_483_647.0).contains(&number) {
        let detail = format!("{path} in body must be of type int32: \"{value}\"");
        errors.push(FieldError::invalid(path, value, &detail));
    }
}

fn check_combinations(value: &Value, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let list = |key: &str| schema.get(key).and_then(Value::as_array);
    let passes = |schema: &Value| {
        let mut found = Vec::new();
        walk(value, schema, path, &mut found);
        found.is_empty()
    };
    for schema in list("allOf").into_iter().flatten() {
        walk(value, schema, path, errors);
    }
    let mut refuse = |words: &str| {
        let detail = format!("\"{path}\" must {words}");
        errors.push(FieldError::invalid(path, &"".into(), &detail));
    };
    if list("anyOf").is_some_and(|schemas| !schemas.iter().any(passes)) {
        refuse("validate at least one schema (anyOf)");
    }
    if let Some(schemas) = list("oneOf") {
        match schemas.iter().filter(|schema| passes(schema)).count() {
            1 => {}
            0 => refuse("validate one and only one schema (oneOf). Found none valid"),
            count => refuse(&format!(
                "validate one and only one schema (oneOf). Found {count} valid alternatives"
            )),
        }
    }
    if schema.get("not").is_some_and(passes) {
        refuse("not validate the schema (not)");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn messages(schema: &Value, value: &Value) -> Vec<String> {
        let schema = json!({"type": "object", "properties": {"spec": schema}});
        let errors = validate(&json!({"spec": value}), &schema);
        errors
            .into_iter()
            .map(|error| {
                let (_, message, field) = error.into_cause();
                format!("{field}: {message}")
            })
            .collect()
    }

    #[test]
    fn errors_are_worded_as_in_kubernetes() {
        for (schema, value, message) in [
            (
                json!({"type": "integer"}),
                json!("x"),
                "spec: Invalid value: \"string\": spec in body must be of type integer: \"string\"",
            ),
            (
                json!({"type": "object", "required": ["host"]}),
                json!({}),
                "spec.host: Required value",
            ),
            (
                json!({"type": "string", "enum": ["A", "B"]}),
                json!("C"),
                "spec: Unsupported value: \"C\": supported values: \"A\", \"B\"",
            ),
            (
                json!({"type": "string", "pattern": "^a+$"}),
                json!("b"),
                "spec: Invalid value: \"b\": spec in body should match '^a+$'",
            ),
            (
                json!({"type": "integer", "minimum": 1}),
                json!(0),
                "spec: Invalid value: 0: spec in body should be greater than or equal to 1",
            ),
            (
                json!({"type": "array", "minItems": 1}),
                json!([]),
                "spec: Invalid value: 0: spec in body should have at least 1 items",
            ),
            (
                json!({"type": "array", "x-kubernetes-list-type": "set"}),
                json!(["a", "a"]),
                "spec[1]: Duplicate value: \"a\"",
            ),
        ] {
            assert_eq!(messages(&schema, &value), [message]);
        }
    }

    #[test]
    fn one_of_wants_exactly_one() {
        let schema = json!({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
        assert!(messages(&schema, &json!({"a": 1})).is_empty());
        assert_eq!(messages(&schema, &json!({"a": 1, "b": 1})).len(), 1);
        assert_eq!(messages(&schema, &json!({})).len(), 1);
    }

    #[test]
    fn null_is_allowed_where_it_is_nullable() {
        assert!(messages(&json!({"type": "string", "nullable": true}), &json!(null)).is_empty());
        assert_eq!(messages(&json!({"type": "string"}), &json!(null)).len(), 1);
    }
}
