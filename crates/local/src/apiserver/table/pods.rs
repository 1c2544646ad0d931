//! Rows of pods.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::{Head, age, or_none};
use crate::apiserver::object::{at, is_terminating, items, name, text};

pub(super) const HEADS: &[Head] = &[
    ("Name", "string", false),
    ("Ready", "string", false),
    ("Status", "string", false),
    ("Restarts", "string", false),
    ("Age", "string", false),
    ("IP", "string", true),
    ("Node", "string", true),
    ("Nominated Node", "string", true),
    ("Readiness Gates", "string", true),
];

/// What the containers of a pod amount to.
#[derive(Default)]
struct Summary {
    reason: String,
    ready: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
    is_initializing: bool,
}

pub(super) fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = summarize(pod);
    let sidecars = items(pod, &["spec", "initContainers"])
        .iter()
        .filter(|one| is_sidecar(one));
    let total = items(pod, &["spec", "containers"]).len() + sidecars.count();
    let restarts = match summary.last_restart.filter(|_| summary.restarts > 0) {
        Some(last) => {
            let ago = age::human(now.as_second() - last.as_second());
            format!("{} ({ago} ago)", summary.restarts)
        }
        None => summary.restarts.to_string(),
    };
    vec![
        name(pod).into(),
        format!("{}/{total}", summary.ready).into(),
        summary.reason.into(),
        restarts.into(),
        age::since_created(pod, now),
        or_none(text(pod, &["status", "podIP"])),
        or_none(text(pod, &["spec", "nodeName"])),
        or_none(text(pod, &["status", "nominatedNodeName"])),
        readiness_gates(pod),
    ]
}

/// An init container that keeps running beside the others.
fn is_sidecar(container: &Value) -> bool {
    text(container, &["restartPolicy"]) == "Always"
}

fn summarize(pod: &Value) -> Summary {
    let phase = text(pod, &["status", "phase"]);
    let own = text(pod, &["status", "reason"]);
    let mut summary = Summary {
        reason: if own.is_empty() { phase } else { own }.to_owned(),
        ..Summary::default()
    };
    let sidecars = init_containers(pod, &mut summary);
    if !summary.is_initializing || has_condition(pod, "Initialized") {
        (summary.restarts, summary.last_restart) = sidecars;
        containers(pod, &mut summary);
    }
    if is_terminating(pod) {
        if own == "NodeLost" {
            summary.reason = "Unknown".into();
        } else if !matches!(phase, "Succeeded" | "Failed") {
            summary.reason = "Terminating".into();
        }
    }
    summary
}

/// Looks at the init containers up to the one that is not done; answers the restarts of sidecars.
fn init_containers(pod: &Value, summary: &mut Summary) -> (i64, Option<Timestamp>) {
    let specs = items(pod, &["spec", "initContainers"]);
    let mut sidecars = (0, None);
    for (index, status) in items(pod, &["status", "initContainerStatuses"])
        .iter()
        .enumerate()
    {
        let spec = specs.iter().find(|spec| name_of(spec) == name_of(status));
        let is_sidecar = spec.is_some_and(is_sidecar);
        let restarts = status["restartCount"].as_i64().unwrap_or(0);
        let last = last_restart(status);
        summary.restarts += restarts;
        summary.last_restart = summary.last_restart.max(last);
        if is_sidecar {
            sidecars = (sidecars.0 + restarts, sidecars.1.max(last));
        }
        let state = &status["state"];
        if let Some(ended) = state.get("terminated") {
            if ended["exitCode"] == 0 {
                continue;
            }
            summary.reason = format!("Init:{}", ending(ended));
        } else if is_sidecar && status["started"] == true {
            summary.ready += usize::from(status["ready"] == true);
            continue;
        } else {
            summary.reason = match text(state, &["waiting", "reason"]) {
                "" | "PodInitializing" => format!("Init:{index}/{}", specs.len()),
                reason => format!("Init:{reason}"),
            };
        }
        summary.is_initializing = true;
        break;
    }
    sidecars
}

fn containers(pod: &Value, summary: &mut Summary) {
    let mut has_running = false;
    for status in items(pod, &["status", "containerStatuses"]).iter().rev() {
        summary.restarts += status["restartCount"].as_i64().unwrap_or(0);
        summary.last_restart = summary.last_restart.max(last_restart(status));
        let state = &status["state"];
        let waiting = text(state, &["waiting", "reason"]);
        if !waiting.is_empty() {
            waiting.clone_into(&mut summary.reason);
        } else if let Some(ended) = state.get("terminated") {
            summary.reason = ending(ended);
        } else if status["ready"] == true && state.get("running").is_some() {
            has_running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" && has_running {
        let is_ready = has_condition(pod, "Ready");
        summary.reason = (if is_ready { "Running" } else { "NotReady" }).into();
    }
}

fn name_of(value: &Value) -> &str {
    text(value, &["name"])
}

fn ending(ended: &Value) -> String {
    let reason = text(ended, &["reason"]);
    match (reason, ended["signal"].as_i64().unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", ended["exitCode"].as_i64().unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn last_restart(status: &Value) -> Option<Timestamp> {
    text(status, &["lastState", "terminated", "finishedAt"])
        .parse()
        .ok()
}

fn has_condition(pod: &Value, kind: &str) -> bool {
    let mut conditions = items(pod, &["status", "conditions"]).iter();
    conditions.any(|one| one["type"] == kind && one["status"] == "True")
}

fn readiness_gates(pod: &Value) -> Value {
    let gates = items(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return "<none>".into();
    }
    let passed = gates.iter().filter(|gate| {
        at(gate, &["conditionType"])
            .and_then(Value::as_str)
            .is_some_and(|kind| has_condition(pod, kind))
    });
    format!("{}/{}", passed.count(), gates.len()).into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(pod: &Value) -> (String, String, String) {
        let now: Timestamp = "2024-01-01T00:01:00Z".parse().unwrap();
        let cells = cells(pod, now);
        let text = |index: usize| cells[index].as_str().unwrap().to_owned();
        (text(1), text(2), text(3))
    }

    fn pod(spec: &Value, status: &Value) -> Value {
        json!({"metadata": {"name": "a"}, "spec": spec, "status": status})
    }

    #[test]
    fn a_pod_that_initializes_says_how_far_it_is() {
        let two = json!({"initContainers": [{"name": "i"}, {"name": "j"}],
            "containers": [{"name": "a"}]});
        let status = json!({"phase": "Pending", "initContainerStatuses": [
            {"name": "i", "state": {"terminated": {"exitCode": 0}}},
            {"name": "j", "state": {"running": {}}}]});
        assert_eq!(shown(&pod(&two, &status)).1, "Init:1/2");
        let status = json!({"phase": "Pending", "initContainerStatuses": [
            {"name": "i", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
        assert_eq!(shown(&pod(&two, &status)).1, "Init:CrashLoopBackOff");
    }

    #[test]
    fn a_native_sidecar_counts_as_a_container() {
        let spec = json!({"initContainers": [{"name": "p", "restartPolicy": "Always"}],
            "containers": [{"name": "a"}]});
        let status = json!({"phase": "Running", "initContainerStatuses": [
            {"name": "p", "started": true, "ready": true, "state": {"running": {}}}],
            "containerStatuses": [{"name": "a", "ready": true, "state": {"running": {}}}]});
        assert_eq!(
            shown(&pod(&spec, &status)),
            ("2/2".into(), "Running".into(), "0".into())
        );
    }

    #[test]
    fn restarts_tell_when_the_last_one_was() {
        let status = json!({"phase": "Running", "containerStatuses": [{"name": "a",
            "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"finishedAt": "2024-01-01T00:00:55Z"}}}]});
        assert_eq!(
            shown(&pod(&json!({"containers": [{"name": "a"}]}), &status)),
            ("0/1".into(), "CrashLoopBackOff".into(), "3 (5s ago)".into())
        );
    }

    #[test]
    fn a_pod_that_is_deleted_terminates() {
        let mut going = pod(&json!({"containers": [{}]}), &json!({"phase": "Running"}));
        going["metadata"]["deletionTimestamp"] = "2024-01-01T00:00:00Z".into();
        assert_eq!(shown(&going).1, "Terminating");
        let done = pod(
            &json!({"containers": [{}]}),
            &json!({"phase": "Succeeded",
            "containerStatuses": [{"state": {"terminated": {"reason": "Completed"}}}]}),
        );
        assert_eq!(shown(&done).1, "Completed");
    }
}
