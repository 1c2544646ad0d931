#![allow(
    clippy::needless_pass_by_value,
    reason = "values are written in place with json!"
)]

use serde_json::{Value, json};

use super::*;

fn pod(policy: &str, init: Value, main: &[&str]) -> Lifecycle {
    let main: Vec<_> = main.iter().map(|name| json!({ "name": name })).collect();
    let spec = json!({ "restartPolicy": policy, "initContainers": init, "containers": main });
    Lifecycle::new(&serde_json::from_value(spec).unwrap())
}

fn running(is_started: bool) -> Running {
    Running {
        id: "x".into(),
        since: Timestamp::UNIX_EPOCH,
        is_started,
        is_ready: false,
    }
}

fn ended(code: i32, seconds: i64) -> Ended {
    Ended {
        id: "x".into(),
        code,
        signal: None,
        reason: "Completed",
        message: String::new(),
        started: Some(Timestamp::UNIX_EPOCH),
        finished: Timestamp::from_second(seconds).unwrap(),
    }
}

/// Starts what is to be started and returns the names.
fn step(pod: &mut Lifecycle, now: Instant) -> Vec<String> {
    let step = pod.next(now);
    step.start
        .into_iter()
        .map(|index| {
            pod.slots[index].starting();
            pod.slots[index].running(running(true));
            pod.slots[index].spec.name.clone()
        })
        .collect()
}

fn end(pod: &mut Lifecycle, name: &str, code: i32, now: Instant) {
    let index = pod.find(name).unwrap();
    pod.slots[index].ended(ended(code, 1), now);
}

#[test]
fn init_containers_run_in_order_and_sidecars_go_on() {
    let now = Instant::now();
    let init = json!([
        { "name": "init" }, { "name": "proxy", "restartPolicy": "Always" }, { "name": "late" }
    ]);
    let mut pod = pod("Always", init, &["a", "b"]);
    assert_eq!(step(&mut pod, now), ["init"]);
    assert!(step(&mut pod, now).is_empty());
    end(&mut pod, "init", 0, now);
    assert_eq!(step(&mut pod, now), ["proxy"]);
    assert_eq!(step(&mut pod, now), ["late"]);
    end(&mut pod, "late", 0, now);
    assert_eq!(step(&mut pod, now), ["a", "b"]);
    assert!(pod.is_initialized);
}

#[test]
fn a_sidecar_that_has_not_started_up_holds_the_others() {
    let now = Instant::now();
    let init = json!([{ "name": "proxy", "restartPolicy": "Always" }]);
    let mut pod = pod("Always", init, &["app"]);
    assert_eq!(pod.next(now).start, [0]);
    pod.slots[0].running(running(false));
    assert_eq!(pod.next(now), Step::default());
    pod.slots[0].running(running(true));
    assert_eq!(pod.next(now).start, [1]);
}

#[test]
fn restarts_are_at_once_then_after_ever_longer_pauses() {
    let start = Instant::now();
    let mut pod = pod("Always", json!(null), &["app"]);
    assert_eq!(step(&mut pod, start), ["app"]);
    let mut pauses = Vec::new();
    let mut now = start;
    for _ in 0..8 {
        end(&mut pod, "app", 1, now);
        let next = pod.next(now);
        let pause = next.wake.map_or(Duration::ZERO, |wake| wake - now);
        pauses.push(pause.as_secs());
        now += pause;
        assert_eq!(step(&mut pod, now), ["app"]);
    }
    assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 300, 300]);
    assert_eq!(pod.slots[0].restarts, 8);
    // After ten good minutes everything is forgiven.
    pod.slots[0].ended(ended(1, 700), now);
    assert_eq!(pod.next(now).start, [0]);
}

#[test]
fn the_pods_policy_decides_about_its_main_containers() {
    let now = Instant::now();
    for (policy, code, finish) in [
        ("Never", 0, Some(Finish::Succeeded)),
        ("Never", 3, Some(Finish::Failed)),
        ("OnFailure", 0, Some(Finish::Succeeded)),
        ("OnFailure", 3, None),
        ("Always", 0, None),
    ] {
        let mut pod = pod(policy, json!(null), &["app"]);
        step(&mut pod, now);
        end(&mut pod, "app", code, now);
        assert_eq!(pod.next(now).finish, finish, "{policy} {code}");
    }
}

#[test]
fn a_pod_finishes_when_its_main_containers_have_whatever_its_sidecars_do() {
    let now = Instant::now();
    let init = json!([{ "name": "proxy", "restartPolicy": "Always" }]);
    let mut pod = pod("Never", init, &["a", "b"]);
    step(&mut pod, now);
    step(&mut pod, now);
    end(&mut pod, "a", 0, now);
    assert_eq!(pod.next(now).finish, None);
    end(&mut pod, "proxy", 1, now);
    assert_eq!(step(&mut pod, now), ["proxy"]);
    end(&mut pod, "b", 0, now);
    assert_eq!(pod.next(now).finish, Some(Finish::Succeeded));
}

#[test]
fn a_failed_init_container_fails_a_pod_that_is_never_restarted() {
    let now = Instant::now();
    let init = json!([{ "name": "init" }]);
    let mut once = pod("Never", init.clone(), &["app"]);
    step(&mut once, now);
    end(&mut once, "init", 1, now);
    assert_eq!(once.next(now).finish, Some(Finish::Failed));
    let mut again = pod("OnFailure", init, &["app"]);
    step(&mut again, now);
    end(&mut again, "init", 1, now);
    assert_eq!(step(&mut again, now), ["init"]);
}

#[test]
fn what_another_object_may_repair_is_tried_again_soon() {
    let now = Instant::now();
    let mut pod = pod("Never", json!(null), &["app"]);
    pod.next(now);
    pod.slots[0].starting();
    pod.slots[0].held("CreateContainerConfigError", "no such secret".into(), now);
    let step = pod.next(now);
    assert_eq!((step.start.len(), step.finish), (0, None));
    assert_eq!(pod.next(step.wake.unwrap()).start, [0]);
    assert_eq!(pod.slots[0].restarts, 0);
}

#[test]
fn after_the_end_of_a_node_pods_go_on_where_their_policy_allows() {
    let status = serde_json::from_value(json!({
        "initContainerStatuses": [{ "name": "init", "image": "", "imageID": "", "ready": true,
            "restartCount": 0, "containerID": "lateen://i",
            "state": { "terminated": { "exitCode": 0 } } }],
        "containerStatuses": [{ "name": "app", "image": "", "imageID": "", "ready": true,
            "restartCount": 2, "containerID": "lateen://a", "state": { "running": {} } }]
    }))
    .unwrap();
    let now = Instant::now();
    let mut always = pod("Always", json!([{ "name": "init" }]), &["app"]);
    always.resume(&status);
    assert_eq!(step(&mut always, now), ["init"]);
    end(&mut always, "init", 0, now);
    assert_eq!(step(&mut always, now), ["app"]);
    assert_eq!(always.slots[1].restarts, 3);
    let mut never = pod("Never", json!([{ "name": "init" }]), &["app"]);
    never.resume(&status);
    assert_eq!(step(&mut never, now), ["init"]);
    end(&mut never, "init", 0, now);
    assert_eq!(never.next(now).finish, Some(Finish::Failed));
}
