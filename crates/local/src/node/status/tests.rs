#![allow(
    clippy::needless_pass_by_value,
    reason = "values are written in place with json!"
)]

use serde_json::{Value, json};

use super::super::lifecycle::Running;
use super::*;

struct Case {
    pod: Pod,
    lifecycle: Lifecycle,
    finish: Option<Finish>,
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn case(spec: Value, status: Value) -> Case {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": "web", "namespace": "shop" }, "spec": spec, "status": status
    }))
    .unwrap();
    Case {
        lifecycle: Lifecycle::new(pod.spec.as_ref().unwrap()),
        pod,
        finish: None,
    }
}

fn simple() -> Case {
    case(
        json!({ "containers": [{ "name": "app", "image": "busybox" }] }),
        json!({}),
    )
}

fn run(case: &mut Case, index: usize, is_ready: bool) {
    case.lifecycle.slots[index].starting();
    case.lifecycle.slots[index].running(Running {
        id: "lateen://1".into(),
        since: time(5),
        is_started: true,
        is_ready,
    });
}

fn end(case: &mut Case, index: usize, code: i32) {
    let ended = Ended {
        id: "lateen://1".into(),
        code,
        signal: None,
        reason: "Error",
        message: String::new(),
        started: Some(time(5)),
        finished: time(6),
    };
    case.lifecycle.slots[index].ended(ended, Instant::now());
}

fn status(case: &Case) -> PodStatus {
    View {
        pod: &case.pod,
        sent: None,
        lifecycle: &case.lifecycle,
        address: Some(Ipv4Addr::new(10, 244, 0, 2)),
        node_address: Ipv4Addr::new(10, 244, 0, 1),
        started: time(1),
        finish: case.finish,
        failure: None,
        now: time(100),
        instant: Instant::now(),
    }
    .status()
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> &'a PodCondition {
    let conditions = status.conditions.as_ref().unwrap();
    conditions
        .iter()
        .find(|condition| condition.type_ == kind)
        .unwrap()
}

fn reason(status: &PodStatus) -> String {
    let first = &status.container_statuses.as_ref().unwrap()[0];
    let waiting = first.state.as_ref().unwrap().waiting.as_ref();
    waiting
        .and_then(|waiting| waiting.reason.clone())
        .unwrap_or_default()
}

#[test]
fn a_pod_is_pending_until_all_of_its_containers_have_run() {
    let mut case = simple();
    let before = status(&case);
    assert_eq!(before.phase.as_deref(), Some("Pending"));
    assert_eq!(reason(&before), "ContainerCreating");
    case.lifecycle.next(Instant::now());
    run(&mut case, 0, false);
    let after = status(&case);
    assert_eq!(after.phase.as_deref(), Some("Running"));
    let ready = condition(&after, "Ready");
    assert_eq!(ready.status, "False");
    assert_eq!(
        ready.message.as_deref(),
        Some("containers with unready status: [app]")
    );
    run(&mut case, 0, true);
    assert_eq!(condition(&status(&case), "Ready").status, "True");
}

#[test]
fn a_condition_keeps_the_time_of_its_last_change() {
    let known = json!({ "conditions": [
        { "type": "Initialized", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" },
        { "type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z" },
        { "type": "example.com/mine", "status": "True" }
    ] });
    let mut case = case(json!({ "containers": [{ "name": "app" }] }), known);
    case.lifecycle.next(Instant::now());
    run(&mut case, 0, true);
    let status = status(&case);
    let at = |kind| {
        condition(&status, kind)
            .last_transition_time
            .clone()
            .unwrap()
            .0
    };
    assert_eq!(at("Initialized").to_string(), "2026-01-01T00:00:00Z");
    assert_eq!(at("Ready"), time(100));
    assert_eq!(condition(&status, "example.com/mine").status, "True");
}

#[test]
fn readiness_waits_for_its_gates() {
    let spec = json!({ "containers": [{ "name": "app" }],
        "readinessGates": [{ "conditionType": "example.com/mine" }] });
    let mut case = case(spec, json!({}));
    case.lifecycle.next(Instant::now());
    run(&mut case, 0, true);
    let status = status(&case);
    assert_eq!(condition(&status, "ContainersReady").status, "True");
    let ready = condition(&status, "Ready");
    assert_eq!(ready.reason.as_deref(), Some("ReadinessGatesNotReady"));
}

#[test]
fn a_container_that_fails_again_and_again_is_in_a_crash_loop() {
    let mut case = simple();
    case.lifecycle.next(Instant::now());
    run(&mut case, 0, true);
    end(&mut case, 0, 1);
    assert_eq!(reason(&status(&case)), "", "the first restart is at once");
    run(&mut case, 0, true);
    end(&mut case, 0, 1);
    let status = status(&case);
    assert_eq!(reason(&status), "CrashLoopBackOff");
    let app = &status.container_statuses.as_ref().unwrap()[0];
    assert_eq!(app.restart_count, 1);
    let last = app
        .last_state
        .as_ref()
        .unwrap()
        .terminated
        .as_ref()
        .unwrap();
    assert_eq!(last.exit_code, 1);
    let message = app
        .state
        .as_ref()
        .unwrap()
        .waiting
        .as_ref()
        .unwrap()
        .message
        .as_ref()
        .unwrap();
    assert_eq!(
        message,
        "back-off 10s restarting failed container=app pod=web_shop"
    );
    assert_eq!(status.phase.as_deref(), Some("Running"));
}

#[test]
fn init_containers_count_as_ready_once_they_have_ended_well() {
    let spec = json!({ "containers": [{ "name": "app" }], "initContainers": [{ "name": "init" }] });
    let mut case = case(spec, json!({}));
    let before = status(&case);
    assert_eq!(reason(&before), "PodInitializing");
    let initialized = condition(&before, "Initialized");
    assert_eq!(
        initialized.message.as_deref(),
        Some("containers with incomplete status: [init]")
    );
    run(&mut case, 0, false);
    end(&mut case, 0, 0);
    case.lifecycle.next(Instant::now());
    let after = status(&case);
    assert_eq!(condition(&after, "Initialized").status, "True");
    assert!(after.init_container_statuses.unwrap()[0].ready);
}

#[test]
fn a_finished_pod_is_not_ready_for_a_reason() {
    let mut case = simple();
    run(&mut case, 0, true);
    end(&mut case, 0, 0);
    case.finish = Some(Finish::Succeeded);
    let status = status(&case);
    assert_eq!(status.phase.as_deref(), Some("Succeeded"));
    assert_eq!(
        condition(&status, "Ready").reason.as_deref(),
        Some("PodCompleted")
    );
}
