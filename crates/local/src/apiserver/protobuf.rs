//! Bodies in Kubernetes' protobuf, which current Go clients send for built-in types.
//!
//! Types come from the schemas; the numbers of the fields, which schemas do not have, from a
//! table (`fields.txt`). Answers are always JSON, which every such client accepts.

mod wire;

use std::collections::HashMap;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use self::wire::{Field, fields};
use super::object::text;
use super::schema::{definitions, resolve};

/// The content type.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// Every body begins with these bytes.
const MAGIC: &[u8] = b"k8s\0";

/// How deep messages may lie in each other.
const MAX_DEPTH: usize = 64;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
const EXTENSIONS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.";

/// What a number stands for in a message.
#[derive(Debug)]
enum Member {
    /// A field of this name; whether zero is a value, or means that it is absent.
    Named(&'static str, bool),
    /// A message whose fields are its owner's in JSON.
    Inline(&'static str),
}

type Messages = HashMap<&'static str, HashMap<u64, Member>>;

/// Decodes a body into the JSON that it stands for.
pub(crate) fn decode(body: &[u8]) -> Result<Value, String> {
    let envelope = body
        .strip_prefix(MAGIC)
        .ok_or("it does not begin with k8s")?;
    let (mut version, mut kind, mut raw): (&str, &str, &[u8]) = ("", "", &[]);
    for field in fields(envelope) {
        let field = field?;
        match field.number {
            1 => {
                for part in fields(field.bytes()?) {
                    let part = part?;
                    match part.number {
                        1 => version = part.text()?,
                        2 => kind = part.text()?,
                        _ => {}
                    }
                }
            }
            2 => raw = field.bytes()?,
            _ => {}
        }
    }
    let name = definition(version, kind)
        .ok_or_else(|| format!("{version}, Kind={kind} is not known in this format"))?;
    let schema = definitions().get(name).unwrap_or(&Value::Null);
    let mut value = Map::new();
    message(raw, name, schema, &mut value, 0)?;
    value.insert("apiVersion".into(), version.into());
    value.insert("kind".into(), kind.into());
    Ok(Value::Object(value))
}

/// The definition of a kind.
fn definition(api_version: &str, kind: &str) -> Option<&'static str> {
    static KINDS: OnceLock<HashMap<(String, String), &'static str>> = OnceLock::new();
    // Options of deletions belong to every group.
    if kind == "DeleteOptions" {
        return definitions()
            .keys()
            .map(String::as_str)
            .find(|name| name.ends_with(".DeleteOptions"));
    }
    let kinds = KINDS.get_or_init(|| {
        let mut kinds = HashMap::new();
        for (name, schema) in definitions() {
            for one in super::object::items(schema, &["x-kubernetes-group-version-kind"]) {
                let version =
                    super::call::api_version(text(one, &["group"]), text(one, &["version"]));
                kinds.insert((version, text(one, &["kind"]).to_owned()), name.as_str());
            }
        }
        kinds
    });
    kinds
        .get(&(api_version.to_owned(), kind.to_owned()))
        .copied()
}

/// The table of field numbers.
fn messages() -> &'static Messages {
    static MESSAGES: OnceLock<Messages> = OnceLock::new();
    MESSAGES.get_or_init(|| {
        let lines = include_str!("protobuf/fields.txt").lines();
        let lines = lines.filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| line.split_once(' '))
            .map(|(name, list)| (name, members(list)))
            .collect()
    })
}

fn members(list: &'static str) -> HashMap<u64, Member> {
    let member = |entry: &'static str| -> Option<(u64, Member)> {
        if let Some((number, inline)) = entry.split_once('>') {
            return Some((number.parse().ok()?, Member::Inline(inline)));
        }
        let (number, name) = entry.split_once('=')?;
        let bare = name.strip_suffix('!');
        let member = Member::Named(bare.unwrap_or(name), bare.is_some());
        Some((number.parse().ok()?, member))
    };
    list.split(' ').filter_map(member).collect()
}

/// Decodes a message into the fields of an object. What the table or the schema does not know is
/// skipped, as Go's decoder does with what is newer than itself.
fn message(
    bytes: &[u8],
    name: &str,
    schema: &Value,
    into: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err("its messages lie too deep in each other".into());
    }
    let short = name.strip_prefix("io.k8s.").unwrap_or(name);
    let Some(members) = messages().get(short) else {
        return Ok(());
    };
    for field in fields(bytes) {
        let field = field?;
        match members.get(&field.number) {
            Some(Member::Inline(inner)) => {
                message(field.bytes()?, inner, schema, into, depth + 1)?;
            }
            Some(Member::Named(key, keeps_zero)) => {
                let Some(schema) = super::object::at(schema, &["properties", key]) else {
                    continue;
                };
                let wrong = |error: String| format!("{key}: {error}");
                member(&field, key, *keeps_zero, schema, into, depth).map_err(wrong)?;
            }
            None => {}
        }
    }
    Ok(())
}

fn member(
    field: &Field<'_>,
    key: &str,
    keeps_zero: bool,
    schema: &Value,
    into: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), String> {
    if let Some(values) = schema.get("additionalProperties") {
        let (key_of_entry, value) = entry(field, values, depth)?;
        let map = into.entry(key).or_insert_with(|| json!({}));
        super::object::map(map).insert(key_of_entry, value);
        return Ok(());
    }
    if schema.get("type").is_some_and(|kind| kind == "array") {
        let items = schema.get("items").unwrap_or(&Value::Null);
        let value = single(field, items, depth)?;
        if let Value::Array(list) = into.entry(key).or_insert_with(|| json!([])) {
            list.push(value);
        }
        return Ok(());
    }
    let value = single(field, schema, depth)?;
    if value.is_null() || (!keeps_zero && is_zero(&value)) {
        return Ok(());
    }
    into.insert(key.to_owned(), value);
    Ok(())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// An entry of a map.
fn entry(field: &Field<'_>, schema: &Value, depth: usize) -> Result<(String, Value), String> {
    let (mut key, mut value) = (String::new(), None);
    for part in fields(field.bytes()?) {
        let part = part?;
        match part.number {
            1 => part.text()?.clone_into(&mut key),
            // A list as a value is a message of its own.
            2 if schema.get("type").is_some_and(|kind| kind == "array") => {
                let items = schema.get("items").unwrap_or(&Value::Null);
                let list: Result<Vec<Value>, String> = fields(part.bytes()?)
                    .map(|item| single(&item?, items, depth + 1))
                    .collect();
                value = Some(Value::Array(list?));
            }
            2 => value = Some(single(&part, schema, depth + 1)?),
            _ => {}
        }
    }
    Ok((key, value.unwrap_or_else(|| "".into())))
}

/// A value that is no list and no map.
fn single(field: &Field<'_>, schema: &Value, depth: usize) -> Result<Value, String> {
    let (schema, name) = resolve(schema, "", definitions());
    if let Some(short) = name.strip_prefix(META) {
        match short {
            "Time" | "MicroTime" => return time(field.bytes()?, short == "MicroTime"),
            "FieldsV1" => return raw_json(field.bytes()?),
            _ => {}
        }
    }
    if let Some(short) = name.strip_prefix(EXTENSIONS) {
        match short {
            "JSON" => return raw_json(field.bytes()?),
            "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" => {
                return schema_or_other(field.bytes()?, short, depth);
            }
            _ => {}
        }
    }
    match name {
        "io.k8s.apimachinery.pkg.api.resource.Quantity" => {
            let part = fields(field.bytes()?).next().transpose()?;
            return Ok(part
                .map(|part| part.text().map(Value::from))
                .transpose()?
                .unwrap_or_default());
        }
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => return int_or_string(field.bytes()?),
        "io.k8s.apimachinery.pkg.runtime.RawExtension" => return raw_json(field.bytes()?),
        _ => {}
    }
    match (text(schema, &["type"]), text(schema, &["format"])) {
        ("string", "byte") => Ok(STANDARD.encode(field.bytes()?).into()),
        ("string", "date-time") => time(field.bytes()?, false),
        ("string", _) => Ok(field.text()?.into()),
        ("integer", _) => Ok(field.integer()?.into()),
        ("boolean", _) => Ok((field.integer()? != 0).into()),
        ("number", _) => Ok(field.double()?.into()),
        ("object", _) => {
            let mut map = Map::new();
            message(field.bytes()?, name, schema, &mut map, depth + 1)?;
            Ok(Value::Object(map))
        }
        // Any JSON.
        _ => raw_json(field.bytes()?),
    }
}

/// A time: seconds and nanoseconds; an empty one is absent.
fn time(bytes: &[u8], is_micro: bool) -> Result<Value, String> {
    let (mut seconds, mut nanos) = (0, 0);
    for part in fields(bytes) {
        let part = part?;
        match part.number {
            1 => seconds = part.integer()?,
            2 => nanos = part.integer()?,
            _ => {}
        }
    }
    if bytes.is_empty() || (seconds, nanos) == (0, 0) {
        return Ok(Value::Null);
    }
    let nanos = i32::try_from(nanos).map_err(|error| error.to_string())?;
    let time = Timestamp::new(seconds, nanos).map_err(|error| error.to_string())?;
    Ok(if is_micro {
        super::object::micros(time).into()
    } else {
        super::object::seconds(time).into()
    })
}

fn int_or_string(bytes: &[u8]) -> Result<Value, String> {
    let (mut is_text, mut number, mut word) = (false, 0, "");
    for part in fields(bytes) {
        let part = part?;
        match part.number {
            1 => is_text = part.integer()? == 1,
            2 => number = part.integer()?,
            3 => word = part.text()?,
            _ => {}
        }
    }
    Ok(if is_text { word.into() } else { number.into() })
}

/// A message that holds JSON in its first field.
fn raw_json(bytes: &[u8]) -> Result<Value, String> {
    for part in fields(bytes) {
        let part = part?;
        if part.number == 1 {
            return serde_json::from_slice(part.bytes()?).map_err(|error| error.to_string());
        }
    }
    Ok(Value::Null)
}

/// A schema, or a list of schemas, or a flag.
fn schema_or_other(bytes: &[u8], kind: &str, depth: usize) -> Result<Value, String> {
    let name = format!("{EXTENSIONS}JSONSchemaProps");
    let own = definitions().get(&name).unwrap_or(&Value::Null);
    let read = |part: &Field<'_>| -> Result<Value, String> {
        let mut map = Map::new();
        message(part.bytes()?, &name, own, &mut map, depth + 1)?;
        Ok(Value::Object(map))
    };
    let (mut schema, mut list, mut flag) = (None, Vec::new(), true);
    for part in fields(bytes) {
        let part = part?;
        match (kind, part.number) {
            ("JSONSchemaPropsOrBool", 1) => flag = part.integer()? != 0,
            ("JSONSchemaPropsOrBool", 2) | (_, 1) => schema = Some(read(&part)?),
            (_, 2) => list.push(read(&part)?),
            _ => {}
        }
    }
    Ok(match schema {
        Some(schema) => schema,
        None if kind == "JSONSchemaPropsOrBool" => flag.into(),
        None => Value::Array(list),
    })
}

#[cfg(test)]
mod tests;
