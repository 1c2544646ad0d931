//! Rows of events, in both of their shapes.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::{Head, age, number};
use crate::apiserver::object::{name, text};

pub(super) const HEADS: &[Head] = &[
    ("Last Seen", "string", false),
    ("Type", "string", false),
    ("Reason", "string", false),
    ("Object", "string", false),
    ("Subobject", "string", true),
    ("Source", "string", true),
    ("Message", "string", false),
    ("First Seen", "string", true),
    ("Count", "integer", true),
    ("Name", "string", true),
];

/// An event of the core group.
pub(super) fn core(object: &Value, now: Timestamp) -> Vec<Value> {
    let about = &object["involvedObject"];
    let source = &object["source"];
    let stamps = ("firstTimestamp", "lastTimestamp");
    cells(object, about, source, "message", stamps, "count", now)
}

/// An event of `events.k8s.io`.
pub(super) fn new(object: &Value, now: Timestamp) -> Vec<Value> {
    let about = &object["regarding"];
    let source = &object["deprecatedSource"];
    let stamps = ("deprecatedFirstTimestamp", "deprecatedLastTimestamp");
    cells(
        object,
        about,
        source,
        "note",
        stamps,
        "deprecatedCount",
        now,
    )
}

fn cells(
    object: &Value,
    about: &Value,
    source: &Value,
    message: &str,
    stamps: (&str, &str),
    count: &str,
    now: Timestamp,
) -> Vec<Value> {
    let time = |key: &str| {
        let own = match text(object, &[key]) {
            "" => text(object, &["eventTime"]),
            own => own,
        };
        age::since(own, now)
    };
    let series = text(object, &["series", "lastObservedTime"]);
    let times = number(object, &["series", "count"])
        .max(number(object, &[count]))
        .max(1);
    let last = match series {
        "" => time(stamps.1),
        series => age::since(series, now),
    };
    let last = if times > 1 {
        format!("{last} (x{times} over {})", time(stamps.0))
    } else {
        last
    };
    let kind = text(about, &["kind"]).to_ascii_lowercase();
    let who = match (text(source, &["component"]), text(source, &["host"])) {
        ("", _) => text(object, &["reportingComponent"]).to_owned(),
        (component, "") => component.to_owned(),
        (component, host) => format!("{component}, {host}"),
    };
    vec![
        last.into(),
        text(object, &["type"]).into(),
        text(object, &["reason"]).into(),
        format!("{kind}/{}", text(about, &["name"])).into(),
        text(about, &["fieldPath"]).into(),
        who.into(),
        text(object, &[message]).trim().into(),
        time(stamps.0).into(),
        times.into(),
        name(object).into(),
    ]
}
