//! Defaults of workloads.

use serde_json::{Value, json};

use super::{Fields, field, pods};
use crate::apiserver::object::{default, map};

pub(super) fn apply(plural: &str, root: &mut Fields) {
    if plural == "controllerrevisions" {
        return;
    }
    let spec = field(root, "spec");
    match plural {
        "deployments" => deployment(spec),
        "replicasets" => {
            default(spec, "replicas", 1);
            pods::template(spec);
        }
        "statefulsets" => stateful_set(spec),
        "daemonsets" => daemon_set(spec),
        "jobs" => job(spec),
        "cronjobs" => {
            default(spec, "concurrencyPolicy", "Allow");
            default(spec, "suspend", false);
            default(spec, "successfulJobsHistoryLimit", 3);
            default(spec, "failedJobsHistoryLimit", 1);
            // The job itself is defaulted when it is created, its template already now.
            pods::template(field(field(spec, "jobTemplate"), "spec"));
        }
        "replicationcontrollers" => replication_controller(root),
        _ => {}
    }
}

fn deployment(spec: &mut Fields) {
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "progressDeadlineSeconds", 600);
    let strategy = field(spec, "strategy");
    default(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        let rolling = field(strategy, "rollingUpdate");
        default(rolling, "maxUnavailable", "25%");
        default(rolling, "maxSurge", "25%");
    }
    pods::template(spec);
}

fn stateful_set(spec: &mut Fields) {
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "podManagementPolicy", "OrderedReady");
    default(spec, "serviceName", "");
    let strategy = field(spec, "updateStrategy");
    default(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        default(field(strategy, "rollingUpdate"), "partition", 0);
    }
    let retention = field(spec, "persistentVolumeClaimRetentionPolicy");
    default(retention, "whenDeleted", "Retain");
    default(retention, "whenScaled", "Retain");
    pods::template(spec);
}

fn daemon_set(spec: &mut Fields) {
    default(spec, "revisionHistoryLimit", 10);
    let strategy = field(spec, "updateStrategy");
    default(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        let rolling = field(strategy, "rollingUpdate");
        default(rolling, "maxUnavailable", 1);
        default(rolling, "maxSurge", 0);
    }
    pods::template(spec);
}

fn job(spec: &mut Fields) {
    let absent = |spec: &Fields, key: &str| spec.get(key).is_none_or(Value::is_null);
    if absent(spec, "completions") && absent(spec, "parallelism") {
        spec.insert("completions".into(), 1.into());
    }
    default(spec, "parallelism", 1);
    default(spec, "backoffLimit", 6);
    default(spec, "completionMode", "NonIndexed");
    default(spec, "suspend", false);
    default(spec, "podReplacementPolicy", "TerminatingOrFailed");
    pods::template(spec);
}

fn replication_controller(root: &mut Fields) {
    let spec = field(root, "spec");
    default(spec, "replicas", 1);
    pods::template(spec);
    let labels = field(field(spec, "template"), "metadata")
        .get("labels")
        .cloned();
    if let Some(labels) = labels {
        if spec
            .get("selector")
            .is_none_or(|selector| *selector == json!({}))
        {
            spec.insert("selector".into(), labels.clone());
        }
        let metadata = map(root.entry("metadata").or_insert(Value::Null));
        default(metadata, "labels", labels);
    }
}
