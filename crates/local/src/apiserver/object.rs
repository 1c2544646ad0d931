//! Objects as JSON values: how to reach their metadata, make names, times and uids.

use k8s_openapi::jiff::{Timestamp, fmt::strtime, tz::TimeZone};
use serde_json::{Map, Value};

/// Reads a text at a path of keys; empty if it is not there.
pub(crate) fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or("")
}

/// Reads what is at a path of keys.
pub(crate) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

pub(crate) fn name(object: &Value) -> &str {
    text(object, &["metadata", "name"])
}

pub(crate) fn namespace(object: &Value) -> &str {
    text(object, &["metadata", "namespace"])
}

pub(crate) fn uid(object: &Value) -> &str {
    text(object, &["metadata", "uid"])
}

/// The revision of the object's last change; 0 if it has none.
pub(crate) fn revision(object: &Value) -> u64 {
    text(object, &["metadata", "resourceVersion"])
        .parse()
        .unwrap_or(0)
}

/// The labels.
pub(crate) fn labels(object: &Value) -> Option<&Map<String, Value>> {
    at(object, &["metadata", "labels"])?.as_object()
}

pub(crate) fn is_terminating(object: &Value) -> bool {
    !text(object, &["metadata", "deletionTimestamp"]).is_empty()
}

/// The items of an array at a path; nothing if it is not there.
pub(crate) fn items<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The finalizers.
pub(crate) fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    items(object, &["metadata", "finalizers"])
        .iter()
        .filter_map(Value::as_str)
}

/// The value as an object that can be changed; whatever else was there is replaced by one.
pub(crate) fn map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("was made an object above"),
    }
}

/// The metadata, made if there is none.
pub(crate) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    map(map(object).entry("metadata").or_insert(Value::Null))
}

/// Sets a key to a default if it is absent or null; returns its place.
pub(crate) fn default<'a>(
    map: &'a mut Map<String, Value>,
    key: &str,
    value: impl Into<Value>,
) -> &'a mut Value {
    let entry = map.entry(key).or_insert(Value::Null);
    if entry.is_null() {
        *entry = value.into();
    }
    entry
}

/// Now, as `metadata.creationTimestamp` writes it: whole seconds.
pub(crate) fn now() -> String {
    seconds(Timestamp::now())
}

/// A time in whole seconds.
pub(crate) fn seconds(time: Timestamp) -> String {
    format_time("%Y-%m-%dT%H:%M:%SZ", time)
}

/// A time in microseconds.
pub(crate) fn micros(time: Timestamp) -> String {
    format_time("%Y-%m-%dT%H:%M:%S.%6fZ", time)
}

fn format_time(format: &str, time: Timestamp) -> String {
    // The formats above are right, and every timestamp has all of their fields in UTC.
    strtime::format(format, &time.to_zoned(TimeZone::UTC)).unwrap_or_else(|_| time.to_string())
}

/// Random bytes.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // The only failure of the operating system's generator is at boot, before any of this runs;
    // what is drawn here are names, not keys.
    aws_lc_rs::rand::fill(&mut bytes).unwrap_or_default();
    bytes
}

/// A new identifier (a random UUID, version 4).
pub(crate) fn new_uid() -> String {
    let mut bytes = random::<16>();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    parts.join("-")
}

/// Completes a `generateName`: five characters that spell no words, as Kubernetes does.
pub(crate) fn generate_name(base: &str) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let suffix: String = random::<5>()
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]))
        .collect();
    // A name has at most 63 characters where it becomes a label.
    let mut end = base.len().min(58);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", &base[..end])
}
