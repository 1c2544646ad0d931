//! The pods that a cluster was started with again: waited for, within reason.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::Client;

use crate::command::install::{full_name, unready};
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

/// Waits until every pod is ready, or those that are not will not be soon; returns these.
pub(super) async fn wait(client: &Client, timeout: Duration) -> kube::Result<Vec<String>> {
    let mut open = unready(client).await?;
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let end = Instant::now() + timeout.min(PATIENCE);
    let step = Step::begin("Waiting for pods");
    while !open.is_empty() && !open.iter().all(is_stuck) && Instant::now() < end {
        step.note(format!("Waiting for {}", names(&open).join(", ")));
        tokio::time::sleep(LOOK_AGAIN).await;
        open = unready(client).await?;
    }
    if open.is_empty() {
        step.done("Every pod is ready");
    } else {
        step.failed(format!("Not ready: {}", names(&open).join(", ")));
    }
    Ok(names(&open))
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
