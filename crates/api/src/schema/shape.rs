//! Checks the shape of a value against a structural schema: unknown fields, types, required
//! fields, enums, ranges and lengths. What a value means is checked elsewhere.

use regex::Regex;
use serde_json::{Map, Value};

use crate::problem::{Path, Report, closest};

/// Reports everything in `value` that `schema` does not allow.
pub(crate) fn check(value: &Value, schema: &Value, path: &Path<'_>, report: &mut Report) {
    let expected = schema["type"].as_str().unwrap_or("object");
    if !has_type(value, expected) {
        let found = name_of(value);
        return report.error(
            path,
            format!("must be {}, but is {found}", article(expected)),
        );
    }
    match value {
        Value::Object(map) => object(map, schema, path, report),
        Value::Array(list) => array(list, schema, path, report),
        Value::String(text) => string(text, schema, path, report),
        Value::Number(number) => {
            range(number.as_f64().unwrap_or(f64::NAN), schema, path, report);
        }
        Value::Bool(_) | Value::Null => {}
    }
}

fn has_type(value: &Value, expected: &str) -> bool {
    match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        // JSON does not tell 1.0 from 1; neither does Kubernetes.
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|f| f.fract() == 0.0)
        }
        _ => false,
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn article(expected: &str) -> &'static str {
    match expected {
        "object" => "an object",
        "array" => "a list",
        "string" => "a string (quote it if it looks like a number or a boolean)",
        "boolean" => "true or false",
        "integer" => "a whole number",
        _ => "a number",
    }
}

fn object(map: &Map<String, Value>, schema: &Value, path: &Path<'_>, report: &mut Report) {
    count(
        map.len(),
        schema,
        ["minProperties", "maxProperties"],
        "entries",
        path,
        report,
    );
    if let Some(required) = schema["required"].as_array() {
        for name in required.iter().filter_map(Value::as_str) {
            if !map.contains_key(name) {
                report.error(&path.field(name), "is required");
            }
        }
    }
    if let Some(values) = schema.get("additionalProperties") {
        for (key, value) in map {
            check(value, values, &path.key(key), report);
        }
        return;
    }
    let properties = schema["properties"].as_object();
    for (name, value) in map {
        match properties.and_then(|p| p.get(name)) {
            Some(field) => check(value, field, &path.field(name), report),
            None if schema["x-kubernetes-preserve-unknown-fields"] == true => {}
            None => {
                let known = properties
                    .into_iter()
                    .flat_map(Map::keys)
                    .map(String::as_str);
                report.error(&path.field(name), unknown_field(name, known));
            }
        }
    }
}

/// The complaint about a field that does not exist.
pub(crate) fn unknown_field<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    match closest(name, known) {
        Some(meant) => format!("unknown field; did you mean {meant:?}?"),
        None => "unknown field; check its spelling and indentation".into(),
    }
}

fn array(list: &[Value], schema: &Value, path: &Path<'_>, report: &mut Report) {
    count(
        list.len(),
        schema,
        ["minItems", "maxItems"],
        "elements",
        path,
        report,
    );
    for (index, value) in list.iter().enumerate() {
        check(value, &schema["items"], &path.index(index), report);
    }
}

fn string(text: &str, schema: &Value, path: &Path<'_>, report: &mut Report) {
    let length = text.chars().count();
    count(
        length,
        schema,
        ["minLength", "maxLength"],
        "characters",
        path,
        report,
    );
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.iter().any(|v| v == text)
    {
        let names: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        let hint = closest(text, names.iter().copied())
            .map(|meant| format!("; did you mean {meant}?"))
            .unwrap_or_default();
        let list = names.join(", ");
        report.error(path, format!("{text:?} is not one of {list}{hint}"));
    }
    // The patterns are ours; one that does not compile would be found by the tests of the schemas.
    if let Some(pattern) = schema["pattern"].as_str()
        && Regex::new(pattern).is_ok_and(|regex| !regex.is_match(text))
    {
        report.error(path, format!("{text:?} must match the pattern {pattern}"));
    }
}

fn range(number: f64, schema: &Value, path: &Path<'_>, report: &mut Report) {
    // The range that the format of an integer implies.
    let (low, high) = match schema["format"].as_str() {
        Some("int32") => (Some(f64::from(i32::MIN)), Some(f64::from(i32::MAX))),
        _ => (None, None),
    };
    if let Some(minimum) = schema["minimum"].as_f64().or(low)
        && number < minimum
    {
        report.error(path, format!("{number} is less than {minimum}"));
    }
    if let Some(maximum) = schema["maximum"].as_f64().or(high)
        && number > maximum
    {
        report.error(path, format!("{number} is greater than {maximum}"));
    }
}

fn count(
    number: usize,
    schema: &Value,
    [low, high]: [&str; 2],
    unit: &str,
    path: &Path<'_>,
    report: &mut Report,
) {
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    if let Some(minimum) = schema[low].as_u64().filter(|m| number < *m) {
        let reason = if number == 0 {
            "must not be empty".to_owned()
        } else {
            format!("has {number} {unit}, needs at least {minimum}")
        };
        report.error(path, reason);
    }
    if let Some(maximum) = schema[high].as_u64().filter(|m| number > *m) {
        report.error(
            path,
            format!("has {number} {unit}, at most {maximum} are allowed"),
        );
    }
}
