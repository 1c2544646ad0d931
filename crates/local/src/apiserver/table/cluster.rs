//! Rows of everything else: what a cluster is made of.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::{Head, age, number, or_none};
use crate::apiserver::object::{at, is_terminating, items, name, text};

pub(super) const NAMESPACE: &[Head] = &[
    ("Name", "string", false),
    ("Status", "string", false),
    ("Age", "string", false),
];

pub(super) const NODE: &[Head] = &[
    ("Name", "string", false),
    ("Status", "string", false),
    ("Roles", "string", false),
    ("Age", "string", false),
    ("Version", "string", false),
    ("Internal-IP", "string", true),
    ("External-IP", "string", true),
    ("OS-Image", "string", true),
    ("Kernel-Version", "string", true),
    ("Container-Runtime", "string", true),
];

pub(super) const CONFIG_MAP: &[Head] = &[
    ("Name", "string", false),
    ("Data", "integer", false),
    ("Age", "string", false),
];

pub(super) const SECRET: &[Head] = &[
    ("Name", "string", false),
    ("Type", "string", false),
    ("Data", "integer", false),
    ("Age", "string", false),
];

pub(super) const ACCOUNT: &[Head] = &[
    ("Name", "string", false),
    ("Secrets", "integer", false),
    ("Age", "string", false),
];

pub(super) const VOLUME: &[Head] = &[
    ("Name", "string", false),
    ("Capacity", "string", false),
    ("Access Modes", "string", false),
    ("Reclaim Policy", "string", false),
    ("Status", "string", false),
    ("Claim", "string", false),
    ("StorageClass", "string", false),
    ("Reason", "string", false),
    ("Age", "string", false),
    ("VolumeMode", "string", true),
];

pub(super) const CLAIM: &[Head] = &[
    ("Name", "string", false),
    ("Status", "string", false),
    ("Volume", "string", false),
    ("Capacity", "string", false),
    ("Access Modes", "string", false),
    ("StorageClass", "string", false),
    ("Age", "string", false),
    ("VolumeMode", "string", true),
];

pub(super) const CREATED: &[Head] = &[("Name", "string", false), ("Created At", "date", false)];

pub(super) const BINDING: &[Head] = &[
    ("Name", "string", false),
    ("Role", "string", false),
    ("Age", "string", false),
    ("Users", "string", true),
    ("Groups", "string", true),
    ("ServiceAccounts", "string", true),
];

pub(super) const WEBHOOKS: &[Head] = &[
    ("Name", "string", false),
    ("Webhooks", "integer", false),
    ("Age", "string", false),
];

pub(super) const PRIORITY: &[Head] = &[
    ("Name", "string", false),
    ("Value", "integer", false),
    ("Global-Default", "boolean", false),
    ("Age", "string", false),
    ("PreemptionPolicy", "string", true),
];

pub(super) const STORAGE: &[Head] = &[
    ("Name", "string", false),
    ("Provisioner", "string", false),
    ("ReclaimPolicy", "string", false),
    ("VolumeBindingMode", "string", false),
    ("AllowVolumeExpansion", "boolean", false),
    ("Age", "string", false),
];

pub(super) const LEASE: &[Head] = &[
    ("Name", "string", false),
    ("Holder", "string", false),
    ("Age", "string", false),
];

pub(super) fn namespace(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(object).into(),
        text(object, &["status", "phase"]).into(),
        age::since_created(object, now),
    ]
}

pub(super) fn node(object: &Value, now: Timestamp) -> Vec<Value> {
    let ready = items(object, &["status", "conditions"])
        .iter()
        .find(|one| one["type"] == "Ready");
    let mut status = match ready.map(|one| text(one, &["status"])) {
        Some("True") => "Ready",
        Some("False") => "NotReady",
        _ => "Unknown",
    }
    .to_owned();
    if object["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    let labels = at(object, &["metadata", "labels"]).and_then(Value::as_object);
    let roles: Vec<&str> = labels
        .into_iter()
        .flat_map(|labels| labels.keys())
        .filter_map(|key| key.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    let address = |kind: &str| {
        let addresses = items(object, &["status", "addresses"]);
        let found = addresses.iter().find(|one| one["type"] == kind);
        or_none(found.map_or("", |one| text(one, &["address"])))
    };
    let about = |key| Value::from(text(object, &["status", "nodeInfo", key]));
    vec![
        name(object).into(),
        status.into(),
        or_none(&roles.join(",")),
        age::since_created(object, now),
        about("kubeletVersion"),
        address("InternalIP"),
        address("ExternalIP"),
        about("osImage"),
        about("kernelVersion"),
        about("containerRuntimeVersion"),
    ]
}

pub(super) fn config_map(object: &Value, now: Timestamp) -> Vec<Value> {
    let count = size(object, "data") + size(object, "binaryData");
    vec![
        name(object).into(),
        count.into(),
        age::since_created(object, now),
    ]
}

pub(super) fn secret(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(object).into(),
        text(object, &["type"]).into(),
        size(object, "data").into(),
        age::since_created(object, now),
    ]
}

pub(super) fn account(object: &Value, now: Timestamp) -> Vec<Value> {
    let secrets = items(object, &["secrets"]).len();
    vec![
        name(object).into(),
        secrets.into(),
        age::since_created(object, now),
    ]
}

fn size(object: &Value, key: &str) -> usize {
    object
        .get(key)
        .and_then(Value::as_object)
        .map_or(0, serde_json::Map::len)
}

pub(super) fn volume(object: &Value, now: Timestamp) -> Vec<Value> {
    let claim = |key| text(object, &["spec", "claimRef", key]);
    let claim = match claim("name") {
        "" => String::new(),
        name => format!("{}/{name}", claim("namespace")),
    };
    vec![
        name(object).into(),
        text(object, &["spec", "capacity", "storage"]).into(),
        access_modes(items(object, &["spec", "accessModes"])),
        text(object, &["spec", "persistentVolumeReclaimPolicy"]).into(),
        phase(object),
        claim.into(),
        text(object, &["spec", "storageClassName"]).into(),
        text(object, &["status", "reason"]).into(),
        age::since_created(object, now),
        text(object, &["spec", "volumeMode"]).into(),
    ]
}

pub(super) fn claim(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(object).into(),
        phase(object),
        text(object, &["spec", "volumeName"]).into(),
        text(object, &["status", "capacity", "storage"]).into(),
        access_modes(items(object, &["status", "accessModes"])),
        text(object, &["spec", "storageClassName"]).into(),
        age::since_created(object, now),
        text(object, &["spec", "volumeMode"]).into(),
    ]
}

fn phase(object: &Value) -> Value {
    if is_terminating(object) {
        return "Terminating".into();
    }
    match text(object, &["status", "phase"]) {
        "" => "Pending",
        phase => phase,
    }
    .into()
}

fn access_modes(modes: &[Value]) -> Value {
    let short = modes.iter().filter_map(|mode| {
        Some(match mode.as_str()? {
            "ReadWriteOnce" => "RWO",
            "ReadOnlyMany" => "ROX",
            "ReadWriteMany" => "RWX",
            "ReadWriteOncePod" => "RWOP",
            _ => return None,
        })
    });
    short.collect::<Vec<_>>().join(",").into()
}

pub(super) fn created(object: &Value, _now: Timestamp) -> Vec<Value> {
    vec![
        name(object).into(),
        text(object, &["metadata", "creationTimestamp"]).into(),
    ]
}

pub(super) fn binding(object: &Value, now: Timestamp) -> Vec<Value> {
    let subjects = |kind: &str| -> Value {
        let list = items(object, &["subjects"])
            .iter()
            .filter(|one| one["kind"] == kind);
        let names: Vec<String> = list
            .map(|one| match text(one, &["namespace"]) {
                "" => text(one, &["name"]).to_owned(),
                namespace => format!("{namespace}/{}", text(one, &["name"])),
            })
            .collect();
        names.join(", ").into()
    };
    let role = |key| text(object, &["roleRef", key]);
    vec![
        name(object).into(),
        format!("{}/{}", role("kind"), role("name")).into(),
        age::since_created(object, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

pub(super) fn webhooks(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(object).into(),
        items(object, &["webhooks"]).len().into(),
        age::since_created(object, now),
    ]
}

pub(super) fn priority(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(object).into(),
        number(object, &["value"]).into(),
        (object["globalDefault"] == true).into(),
        age::since_created(object, now),
        text(object, &["preemptionPolicy"]).into(),
    ]
}

pub(super) fn storage(object: &Value, now: Timestamp) -> Vec<Value> {
    let annotation = "storageclass.kubernetes.io/is-default-class";
    let is_default = text(object, &["metadata", "annotations", annotation]) == "true";
    let suffix = if is_default { " (default)" } else { "" };
    vec![
        format!("{}{suffix}", name(object)).into(),
        text(object, &["provisioner"]).into(),
        text(object, &["reclaimPolicy"]).into(),
        text(object, &["volumeBindingMode"]).into(),
        (object["allowVolumeExpansion"] == true).into(),
        age::since_created(object, now),
    ]
}

pub(super) fn lease(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(object).into(),
        text(object, &["spec", "holderIdentity"]).into(),
        age::since_created(object, now),
    ]
}
