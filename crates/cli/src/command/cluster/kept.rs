//! The pods that a cluster was started with again: waited for, within reason.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::Client;

use crate::command::install::{full_name, is_pod_ready, present};
use crate::progress::Step;

/// No longer than this: what is wrong with somebody's pod is not wrong with the mesh.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// States of containers that do not change by waiting.
const STUCK: [&str; 3] = [
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CrashLoopBackOff",
];

/// Waits until every pod is ready, or those that are not will not be soon; returns these. The
/// cluster runs since `started`, in seconds: what pods said before is of an earlier one.
pub(super) async fn wait(
    client: &Client,
    started: i64,
    timeout: Duration,
) -> kube::Result<Vec<String>> {
    let mut waiting = open(client, started).await?;
    if waiting.is_empty() {
        return Ok(Vec::new());
    }
    let end = Instant::now() + timeout.min(PATIENCE);
    let step = Step::begin("Waiting for pods");
    while !waiting.iter().all(is_stuck) && Instant::now() < end {
        step.note(format!("Waiting for {}", names(&waiting).join(", ")));
        tokio::time::sleep(LOOK_AGAIN).await;
        waiting = open(client, started).await?;
    }
    if waiting.is_empty() {
        step.done("Every pod is ready");
    } else {
        step.failed(format!("Not ready: {}", names(&waiting).join(", ")));
    }
    Ok(names(&waiting))
}

async fn open(client: &Client, started: i64) -> kube::Result<Vec<Pod>> {
    let mut pods = present(client).await?;
    pods.retain(|pod| !is_pod_ready(pod) || is_of_before(pod, started));
    Ok(pods)
}

/// Answers whether a container of the pod is said to run since before the cluster does.
fn is_of_before(pod: &Pod, started: i64) -> bool {
    let statuses = pod
        .status
        .iter()
        .flat_map(|status| &status.container_statuses);
    let mut since = statuses.flatten().filter_map(|container| {
        let running = container.state.as_ref()?.running.as_ref()?;
        Some(running.started_at.as_ref()?.0.as_second())
    });
    since.any(|second| second < started)
}

fn names(pods: &[Pod]) -> Vec<String> {
    pods.iter().map(full_name).collect()
}

fn is_stuck(pod: &Pod) -> bool {
    let Some(status) = &pod.status else {
        return false;
    };
    let containers = status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
        .flatten();
    let mut reasons = containers.filter_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        waiting.reason.as_deref()
    });
    reasons.any(|reason| STUCK.contains(&reason))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_pod_said_before_the_cluster_was_started_does_not_count() {
        let running = json!({ "name": "a", "image": "", "imageID": "", "ready": true,
            "restartCount": 0, "state": { "running": { "startedAt": "1970-01-01T00:01:40Z" } } });
        let pod: Pod =
            serde_json::from_value(json!({ "status": { "containerStatuses": [running] } }))
                .unwrap();
        assert!(is_of_before(&pod, 101));
        assert!(!is_of_before(&pod, 100));
    }

    #[test]
    fn a_pod_without_its_program_is_not_waited_for() {
        let pod = |reason: &str| -> Pod {
            let waiting = json!({ "name": "a", "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "state": { "waiting": { "reason": reason } } });
            serde_json::from_value(json!({ "status": { "containerStatuses": [waiting] } })).unwrap()
        };
        assert!(is_stuck(&pod("ErrImageNeverPull")));
        assert!(!is_stuck(&pod("ContainerCreating")));
        assert!(!is_stuck(&Pod::default()));
    }
}
