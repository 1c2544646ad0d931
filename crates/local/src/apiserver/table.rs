//! Tables: how `kubectl get` shows objects. Columns are Kubernetes' own; custom types bring theirs
//! with their definitions.

mod age;
mod cluster;
mod events;
mod jsonpath;
mod network;
mod pods;
mod workloads;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::call::Call;
use super::object;
use super::registry::Column;

/// A column: its name, the type of its cells, and whether only `-o wide` shows it.
type Head = (&'static str, &'static str, bool);

/// The columns of a built-in type, and how a row is made of an object.
type Layout = (&'static [Head], fn(&Value, Timestamp) -> Vec<Value>);

const PLAIN: &[Head] = &[("Name", "string", false), ("Age", "string", false)];

/// The table of some objects.
pub(super) fn render(call: &Call, version: &str, objects: &[Value], metadata: &Value) -> Value {
    let now = Timestamp::now();
    let (definitions, rows): (Vec<Value>, Vec<Value>) = if call.resource.is_custom {
        let columns = &call.version().columns;
        let rows = objects
            .iter()
            .map(|one| row(call, one, &custom_cells(columns, one, now)));
        (custom_heads(columns), rows.collect())
    } else {
        let (heads, cells) = layout(&call.resource.group, &call.resource.plural);
        let rows = objects.iter().map(|one| row(call, one, &cells(one, now)));
        (heads.iter().map(head).collect(), rows.collect())
    };
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    })
}

fn row(call: &Call, object: &Value, cells: &[Value]) -> Value {
    let shown = match call.query.get("includeObject") {
        "None" => Value::Null,
        "Object" => object.clone(),
        _ => super::rest::partial(object),
    };
    let mut row = json!({"cells": cells, "object": shown});
    if call.resource.is("", "pods") {
        let phase = object::text(object, &["status", "phase"]);
        if matches!(phase, "Succeeded" | "Failed") {
            let reason = object::text(object, &["status", "reason"]);
            row["conditions"] = json!([{"type": "Completed", "status": "True",
                "reason": if reason.is_empty() { phase } else { reason },
                "message": format!("The pod has completed {}.",
                    if phase == "Failed" { "with a failure" } else { "successfully" })}]);
        }
    }
    row
}

fn head((name, kind, is_wide): &Head) -> Value {
    json!({
        "name": name,
        "type": kind,
        "format": if *name == "Name" { "name" } else { "" },
        "description": "",
        "priority": i32::from(*is_wide),
    })
}

fn custom_heads(columns: &[Column]) -> Vec<Value> {
    let name = head(&PLAIN[0]);
    let age = Column {
        name: "Age".into(),
        kind: "date".into(),
        format: String::new(),
        description: String::new(),
        priority: 0,
        path: ".metadata.creationTimestamp".into(),
    };
    let columns = if columns.is_empty() {
        std::slice::from_ref(&age)
    } else {
        columns
    };
    std::iter::once(name)
        .chain(columns.iter().map(|column| {
            json!({
                "name": column.name,
                "type": column.kind,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            })
        }))
        .collect()
}

fn custom_cells(columns: &[Column], object: &Value, now: Timestamp) -> Vec<Value> {
    let name = Value::from(object::name(object));
    if columns.is_empty() {
        return vec![name, age::since_created(object, now)];
    }
    let cells = columns.iter().map(|column| {
        let found = jsonpath::first(object, &column.path);
        match (column.kind.as_str(), found) {
            (_, None | Some(Value::Null)) => Value::Null,
            ("date", Some(value)) => age::since(value.as_str().unwrap_or_default(), now).into(),
            ("string", Some(Value::String(text))) => text.as_str().into(),
            ("string", Some(value)) => value.to_string().into(),
            (_, Some(value)) => value.clone(),
        }
    });
    std::iter::once(name).chain(cells).collect()
}

/// The columns of a built-in type.
fn layout(group: &str, plural: &str) -> Layout {
    match (group, plural) {
        ("", "pods") => (pods::HEADS, pods::cells),
        ("apps", "deployments") => (workloads::DEPLOYMENT, workloads::deployment),
        ("apps", "replicasets") | ("", "replicationcontrollers") => {
            (workloads::REPLICA_SET, workloads::replica_set)
        }
        ("apps", "statefulsets") => (workloads::STATEFUL_SET, workloads::stateful_set),
        ("apps", "daemonsets") => (workloads::DAEMON_SET, workloads::daemon_set),
        ("apps", "controllerrevisions") => (workloads::REVISION, workloads::revision),
        ("batch", "jobs") => (workloads::JOB, workloads::job),
        ("batch", "cronjobs") => (workloads::CRON_JOB, workloads::cron_job),
        ("autoscaling", _) => (workloads::AUTOSCALER, workloads::autoscaler),
        ("policy", _) => (workloads::BUDGET, workloads::budget),
        ("", "services") => (network::SERVICE, network::service),
        ("", "endpoints") => (network::ENDPOINTS, network::endpoints),
        ("discovery.k8s.io", _) => (network::SLICE, network::slice),
        ("networking.k8s.io", "ingresses") => (network::INGRESS, network::ingress),
        ("networking.k8s.io", "ingressclasses") => (network::CLASS, network::class),
        ("networking.k8s.io", "networkpolicies") => (network::POLICY, network::policy),
        ("", "namespaces") => (cluster::NAMESPACE, cluster::namespace),
        ("", "nodes") => (cluster::NODE, cluster::node),
        ("", "events") => (events::HEADS, events::core),
        ("events.k8s.io", "events") => (events::HEADS, events::new),
        ("", "configmaps") => (cluster::CONFIG_MAP, cluster::config_map),
        ("", "secrets") => (cluster::SECRET, cluster::secret),
        ("", "serviceaccounts") => (cluster::ACCOUNT, cluster::account),
        ("", "persistentvolumes") => (cluster::VOLUME, cluster::volume),
        ("", "persistentvolumeclaims") => (cluster::CLAIM, cluster::claim),
        ("", "limitranges")
        | ("rbac.authorization.k8s.io", "roles" | "clusterroles")
        | ("apiextensions.k8s.io", _) => (cluster::CREATED, cluster::created),
        ("rbac.authorization.k8s.io", _) => (cluster::BINDING, cluster::binding),
        ("admissionregistration.k8s.io", _) => (cluster::WEBHOOKS, cluster::webhooks),
        ("scheduling.k8s.io", _) => (cluster::PRIORITY, cluster::priority),
        ("storage.k8s.io", _) => (cluster::STORAGE, cluster::storage),
        ("coordination.k8s.io", _) => (cluster::LEASE, cluster::lease),
        _ => (PLAIN, plain),
    }
}

fn plain(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![object::name(object).into(), age::since_created(object, now)]
}

/// A text, or `<none>`.
fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>" } else { text }.into()
}

/// A number at a path, 0 if there is none.
fn number(object: &Value, path: &[&str]) -> i64 {
    object::at(object, path)
        .and_then(Value::as_i64)
        .unwrap_or(0)
}

/// Labels as `a=b,c=d`, or `<none>`.
fn labels(value: Option<&Value>) -> Value {
    let map = value.and_then(Value::as_object).into_iter().flatten();
    let list: Vec<String> = map
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    or_none(&list.join(","))
}
