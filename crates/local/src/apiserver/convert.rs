//! Versions of a type: what is stored is shown as any version that is served.
//!
//! Custom types convert with the strategy `None`: only `apiVersion` differs. Of the built-in types
//! only events have two shapes, those of the core group and of `events.k8s.io`.

use serde_json::{Map, Value};

use super::call::api_version;
use super::object;
use super::registry::Resource;

/// Names of fields of an event: in the core group (stored), in `events.k8s.io`.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// A stored object in a version that is served.
pub(crate) fn to_version(resource: &Resource, version: &str, stored: &Value) -> Value {
    let mut object = stored.clone();
    if resource.is("events.k8s.io", "events") {
        rename(object::map(&mut object), |(stored, shown)| (stored, shown));
    }
    stamp(resource, version, &mut object);
    object
}

/// An object of a version that is served, as it is stored.
pub(crate) fn to_storage(resource: &Resource, mut value: Value) -> Value {
    if resource.is("events.k8s.io", "events") {
        rename(object::map(&mut value), |(stored, shown)| (shown, stored));
        let map = object::map(&mut value);
        map.insert("apiVersion".into(), "v1".into());
        map.insert("kind".into(), "Event".into());
        return value;
    }
    stamp(resource, &resource.storage_version, &mut value);
    value
}

/// Writes `apiVersion` and `kind`.
fn stamp(resource: &Resource, version: &str, value: &mut Value) {
    let map = object::map(value);
    map.insert(
        "apiVersion".into(),
        api_version(&resource.group, version).into(),
    );
    map.insert("kind".into(), resource.kind.as_str().into());
}

fn rename(
    map: &mut Map<String, Value>,
    direction: fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    for pair in EVENT_FIELDS {
        let (from, to) = direction(pair);
        if let Some(value) = map.remove(from) {
            map.insert(to.into(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::registry::Registry;

    #[test]
    fn an_event_has_two_shapes() {
        let types = Registry::new().types();
        let new = types.get("events.k8s.io", "events").unwrap();
        let shown = json!({"note": "hello", "regarding": {"name": "a"}, "metadata": {}});
        let stored = to_storage(new, shown.clone());
        assert_eq!(stored["message"], "hello");
        assert_eq!(stored["apiVersion"], "v1");
        let again = to_version(new, "v1", &stored);
        assert_eq!(again["note"], "hello");
        assert_eq!(again["apiVersion"], "events.k8s.io/v1");
        let core = types.get("", "events").unwrap();
        assert_eq!(
            to_version(core, "v1", &stored)["involvedObject"]["name"],
            "a"
        );
    }
}
