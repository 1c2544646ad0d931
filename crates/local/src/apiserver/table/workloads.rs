//! Rows of workloads.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::{Head, age, labels, number, or_none};
use crate::apiserver::object::{at, items, name, text};

pub(super) const DEPLOYMENT: &[Head] = &[
    ("Name", "string", false),
    ("Ready", "string", false),
    ("Up-to-date", "integer", false),
    ("Available", "integer", false),
    ("Age", "string", false),
    ("Containers", "string", true),
    ("Images", "string", true),
    ("Selector", "string", true),
];

pub(super) const REPLICA_SET: &[Head] = &[
    ("Name", "string", false),
    ("Desired", "integer", false),
    ("Current", "integer", false),
    ("Ready", "integer", false),
    ("Age", "string", false),
    ("Containers", "string", true),
    ("Images", "string", true),
    ("Selector", "string", true),
];

pub(super) const STATEFUL_SET: &[Head] = &[
    ("Name", "string", false),
    ("Ready", "string", false),
    ("Age", "string", false),
    ("Containers", "string", true),
    ("Images", "string", true),
];

pub(super) const DAEMON_SET: &[Head] = &[
    ("Name", "string", false),
    ("Desired", "integer", false),
    ("Current", "integer", false),
    ("Ready", "integer", false),
    ("Up-to-date", "integer", false),
    ("Available", "integer", false),
    ("Node Selector", "string", false),
    ("Age", "string", false),
    ("Containers", "string", true),
    ("Images", "string", true),
    ("Selector", "string", true),
];

pub(super) const REVISION: &[Head] = &[
    ("Name", "string", false),
    ("Controller", "string", false),
    ("Revision", "integer", false),
    ("Age", "string", false),
];

pub(super) const JOB: &[Head] = &[
    ("Name", "string", false),
    ("Status", "string", false),
    ("Completions", "string", false),
    ("Duration", "string", false),
    ("Age", "string", false),
    ("Containers", "string", true),
    ("Images", "string", true),
    ("Selector", "string", true),
];

pub(super) const CRON_JOB: &[Head] = &[
    ("Name", "string", false),
    ("Schedule", "string", false),
    ("Timezone", "string", false),
    ("Suspend", "boolean", false),
    ("Active", "integer", false),
    ("Last Schedule", "string", false),
    ("Age", "string", false),
];

pub(super) const AUTOSCALER: &[Head] = &[
    ("Name", "string", false),
    ("Reference", "string", false),
    ("Targets", "string", false),
    ("MinPods", "string", false),
    ("MaxPods", "string", false),
    ("Replicas", "integer", false),
    ("Age", "string", false),
];

pub(super) const BUDGET: &[Head] = &[
    ("Name", "string", false),
    ("Min Available", "string", false),
    ("Max Unavailable", "string", false),
    ("Allowed Disruptions", "integer", false),
    ("Age", "string", false),
];

pub(super) fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let status = |key| number(object, &["status", key]);
    let mut cells = vec![
        name(object).into(),
        format!(
            "{}/{}",
            status("readyReplicas"),
            number(object, &["spec", "replicas"])
        )
        .into(),
        status("updatedReplicas").into(),
        status("availableReplicas").into(),
        age::since_created(object, now),
    ];
    cells.extend(template(object));
    cells.push(selector(object));
    cells
}

pub(super) fn replica_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = vec![
        name(object).into(),
        number(object, &["spec", "replicas"]).into(),
        number(object, &["status", "replicas"]).into(),
        number(object, &["status", "readyReplicas"]).into(),
        age::since_created(object, now),
    ];
    cells.extend(template(object));
    cells.push(selector(object));
    cells
}

pub(super) fn stateful_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let (ready, wanted) = (["status", "readyReplicas"], ["spec", "replicas"]);
    let mut cells = vec![
        name(object).into(),
        format!("{}/{}", number(object, &ready), number(object, &wanted)).into(),
        age::since_created(object, now),
    ];
    cells.extend(template(object));
    cells
}

pub(super) fn daemon_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let status = |key| Value::from(number(object, &["status", key]));
    let mut cells = vec![
        name(object).into(),
        status("desiredNumberScheduled"),
        status("currentNumberScheduled"),
        status("numberReady"),
        status("updatedNumberScheduled"),
        status("numberAvailable"),
        labels(at(object, &["spec", "template", "spec", "nodeSelector"])),
        age::since_created(object, now),
    ];
    cells.extend(template(object));
    cells.push(selector(object));
    cells
}

pub(super) fn revision(object: &Value, now: Timestamp) -> Vec<Value> {
    let owners = items(object, &["metadata", "ownerReferences"]);
    let owner = owners.iter().find(|owner| owner["controller"] == true);
    let owner = owner.map_or(String::new(), |owner| {
        let version = text(owner, &["apiVersion"]);
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let kind = text(owner, &["kind"]).to_ascii_lowercase();
        format!("{kind}.{group}/{}", text(owner, &["name"]))
    });
    vec![
        name(object).into(),
        or_none(&owner),
        number(object, &["revision"]).into(),
        age::since_created(object, now),
    ]
}

pub(super) fn job(object: &Value, now: Timestamp) -> Vec<Value> {
    let succeeded = number(object, &["status", "succeeded"]);
    let parallelism = number(object, &["spec", "parallelism"]);
    let completions = match at(object, &["spec", "completions"]).and_then(Value::as_i64) {
        Some(wanted) => format!("{succeeded}/{wanted}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    };
    let time = |key: &str| text(object, &["status", key]).parse::<Timestamp>().ok();
    let duration = time("startTime").map_or(String::new(), |start| {
        let end = time("completionTime").unwrap_or(now);
        age::human(end.as_second() - start.as_second())
    });
    let mut cells = vec![
        name(object).into(),
        job_status(object).into(),
        completions.into(),
        duration.into(),
        age::since_created(object, now),
    ];
    cells.extend(template(object));
    cells.push(selector(object));
    cells
}

fn job_status(object: &Value) -> &'static str {
    let conditions = items(object, &["status", "conditions"]);
    let has = |kind: &str| {
        conditions
            .iter()
            .any(|one| one["type"] == kind && one["status"] == "True")
    };
    if has("Complete") {
        "Complete"
    } else if has("Failed") {
        "Failed"
    } else if !text(object, &["metadata", "deletionTimestamp"]).is_empty() {
        "Terminating"
    } else if has("Suspended") {
        "Suspended"
    } else if has("FailureTarget") {
        "FailureTarget"
    } else if has("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

pub(super) fn cron_job(object: &Value, now: Timestamp) -> Vec<Value> {
    let last = text(object, &["status", "lastScheduleTime"]);
    vec![
        name(object).into(),
        text(object, &["spec", "schedule"]).into(),
        or_none(text(object, &["spec", "timeZone"])),
        if object["spec"]["suspend"] == true {
            "True"
        } else {
            "False"
        }
        .into(),
        items(object, &["status", "active"]).len().into(),
        if last.is_empty() {
            "<none>".into()
        } else {
            age::since(last, now).into()
        },
        age::since_created(object, now),
    ]
}

pub(super) fn autoscaler(object: &Value, now: Timestamp) -> Vec<Value> {
    let target = |key| text(object, &["spec", "scaleTargetRef", key]);
    vec![
        name(object).into(),
        format!("{}/{}", target("kind"), target("name")).into(),
        "<none>".into(),
        number(object, &["spec", "minReplicas"]).to_string().into(),
        number(object, &["spec", "maxReplicas"]).to_string().into(),
        number(object, &["status", "currentReplicas"]).into(),
        age::since_created(object, now),
    ]
}

pub(super) fn budget(object: &Value, now: Timestamp) -> Vec<Value> {
    let limit = |key| match at(object, &["spec", key]) {
        Some(Value::String(text)) => text.as_str().into(),
        Some(number @ Value::Number(_)) => number.to_string().into(),
        _ => Value::from("N/A"),
    };
    vec![
        name(object).into(),
        limit("minAvailable"),
        limit("maxUnavailable"),
        number(object, &["status", "disruptionsAllowed"]).into(),
        age::since_created(object, now),
    ]
}

/// The names and images of the template's containers.
fn template(object: &Value) -> [Value; 2] {
    let containers = items(object, &["spec", "template", "spec", "containers"]);
    let joined = |key| {
        let list: Vec<&str> = containers.iter().map(|one| text(one, &[key])).collect();
        Value::from(list.join(","))
    };
    [joined("name"), joined("image")]
}

fn selector(object: &Value) -> Value {
    let selector = at(object, &["spec", "selector"]);
    labels(
        selector
            .and_then(|selector| selector.get("matchLabels"))
            .or(selector),
    )
}
