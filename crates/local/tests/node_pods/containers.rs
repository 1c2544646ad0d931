//! Containers: what they run, in which order, and how they end.

use serde_json::json;

use crate::cluster::{Place, container, script_pod};

pub(crate) async fn a_pod_runs_once_and_its_output_is_in_its_log(place: Place) {
    let log = place
        .sh("hello", "echo hello; echo error >&2; id -u; hostname")
        .await;
    let mut lines: Vec<_> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0", "error", "hello", "hello"]);
}

pub(crate) async fn a_failure_is_reported_with_its_code_and_last_words(place: Place) {
    let mut spec = script_pod("echo trying; printf 'disk on fire' > /dev/termination-log; exit 3");
    place.pod("written", spec.clone()).await;
    spec["containers"][0]["command"][2] = json!("echo only in the log; exit 4");
    spec["containers"][0]["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    place.pod("printed", spec).await;
    for (pod, code, message) in [
        ("written", 3, "disk on fire"),
        ("printed", 4, "only in the log"),
    ] {
        let status = place.wait_phase(pod, "Failed").await;
        let state = status.container_statuses.unwrap()[0].state.clone().unwrap();
        let ended = state.terminated.unwrap();
        assert_eq!(
            (ended.exit_code, ended.reason.as_deref()),
            (code, Some("Error"))
        );
        assert_eq!(ended.message.as_deref(), Some(message));
    }
}

pub(crate) async fn init_containers_run_in_order_and_a_sidecar_outlives_the_main_container(
    place: Place,
) {
    let share = json!([{ "name": "share", "mountPath": "/share" }]);
    let step = |name: &str, script: &str| {
        let mut container = container(name, script);
        container["volumeMounts"] = share.clone();
        container
    };
    let mut sidecar = step(
        "sidecar",
        "trap 'echo sidecar ends >> /share/log; exit 0' TERM; echo sidecar >> /share/log; \
         touch /share/up; while :; do sleep 0.05; done",
    );
    sidecar["restartPolicy"] = json!("Always");
    sidecar["startupProbe"] = json!({ "exec": { "command": ["test", "-e", "/share/up"] },
        "periodSeconds": 1, "failureThreshold": 60 });
    let path = json!({ "path": "/share", "type": "DirectoryOrCreate" });
    place
        .pod(
            "ordered",
            json!({
                "restartPolicy": "Never",
                "initContainers": [step("one", "echo one >> /share/log"), sidecar,
                                   step("two", "echo two >> /share/log")],
                "containers": [step("main", "echo main >> /share/log")],
                "volumes": [{ "name": "share", "hostPath": path }],
            }),
        )
        .await;
    let status = place.wait_phase("ordered", "Succeeded").await;
    let init = status.init_container_statuses.unwrap();
    assert!(
        init.iter()
            .all(|init| init.state.as_ref().unwrap().terminated.is_some())
    );
    // The node's own tree is shared by its pods.
    let mut reader = script_pod("cat /share/log");
    reader["containers"][0]["volumeMounts"] = share.clone();
    reader["volumes"] = json!([{ "name": "share", "hostPath": { "path": "/share" } }]);
    place.pod("reader", reader).await;
    place.wait_phase("reader", "Succeeded").await;
    let log = place.log("reader", "main").await;
    assert_eq!(
        log.lines().collect::<Vec<_>>(),
        ["one", "sidecar", "two", "main", "sidecar ends"]
    );
}

pub(crate) async fn a_container_that_fails_is_restarted_and_then_backed_off(place: Place) {
    place
        .pod(
            "crash",
            json!({ "containers": [container("main", "echo again; exit 1")] }),
        )
        .await;
    let status = place
        .wait("crash", "in a crash loop", |status| {
            let state = status
                .container_statuses
                .as_ref()
                .and_then(|list| list[0].state.clone());
            let waiting = state.and_then(|state| state.waiting);
            waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"))
        })
        .await;
    let main = &status.container_statuses.unwrap()[0];
    assert_eq!(main.restart_count, 1);
    assert_eq!(
        main.last_state
            .as_ref()
            .unwrap()
            .terminated
            .as_ref()
            .unwrap()
            .exit_code,
        1
    );
    assert_eq!(status.phase.as_deref(), Some("Running"));
    place
        .wait_event(
            "crash",
            "BackOff: Back-off restarting failed container main",
        )
        .await;
}

pub(crate) async fn an_unknown_image_says_how_to_map_it(place: Place) {
    let main = json!({ "name": "main", "image": "quay.io/some/thing:1" });
    place.pod("unknown", json!({ "containers": [main] })).await;
    place
        .wait_event("unknown", "--image quay.io/some/thing:1=/path/to/program")
        .await;
    let events = place.events("unknown").await;
    assert!(
        events.iter().all(|event| !event.starts_with("Pulled")),
        "{events:?}"
    );
    let status = place.wait_phase("unknown", "Pending").await;
    let state = status.container_statuses.unwrap()[0].state.clone().unwrap();
    assert_eq!(
        state.waiting.unwrap().reason.as_deref(),
        Some("ErrImageNeverPull")
    );
    place.delete("unknown").await;
    place.wait_gone("unknown").await;
}

pub(crate) async fn a_program_that_does_not_exist_is_a_start_error(place: Place) {
    let main = json!({ "name": "main", "image": "busybox", "command": ["no-such-program"] });
    place
        .pod(
            "missing",
            json!({ "restartPolicy": "Never", "containers": [main] }),
        )
        .await;
    let status = place.wait_phase("missing", "Failed").await;
    let state = status.container_statuses.unwrap()[0].state.clone().unwrap();
    let ended = state.terminated.unwrap();
    assert_eq!(
        (ended.exit_code, ended.reason.as_deref()),
        (128, Some("StartError"))
    );
    assert!(
        ended
            .message
            .unwrap()
            .contains("executable file not found in $PATH")
    );
}

pub(crate) async fn a_deleted_pod_gets_its_hook_sigterm_and_its_grace(place: Place) {
    let share = json!([{ "name": "share", "mountPath": "/share" }]);
    let mut main = container(
        "main",
        "trap 'echo term >> /share/end; exit 0' TERM; touch /share/up; while :; do sleep 0.05; done",
    );
    main["volumeMounts"] = share.clone();
    main["lifecycle"] = json!({
        "postStart": { "exec": { "command": ["sh", "-c", "echo post > /share/end"] } },
        "preStop": { "exec": { "command": ["sh", "-c", "echo hook $POD >> /share/end"] } },
    });
    main["env"] =
        json!([{ "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }]);
    main["readinessProbe"] =
        json!({ "exec": { "command": ["test", "-e", "/share/up"] }, "periodSeconds": 1 });
    let volume = json!([{ "name": "share", "hostPath": { "path": "/ends" } }]);
    place
        .pod("ends", json!({ "containers": [main], "volumes": volume }))
        .await;
    place.wait_ready("ends").await;
    place.delete("ends").await;
    place.wait_gone("ends").await;
    let mut reader = script_pod("cat /share/end");
    reader["containers"][0]["volumeMounts"] = share;
    reader["volumes"] = volume;
    place.pod("reader", reader).await;
    place.wait_phase("reader", "Succeeded").await;
    let log = place.log("reader", "main").await;
    assert_eq!(
        log.lines().collect::<Vec<_>>(),
        ["post", "hook ends", "term"]
    );
}

pub(crate) async fn a_pod_that_ignores_sigterm_is_killed_after_its_grace(place: Place) {
    let main = container("main", "trap '' TERM; echo up; while :; do sleep 1; done");
    place
        .pod(
            "deaf",
            json!({ "terminationGracePeriodSeconds": 1, "containers": [main] }),
        )
        .await;
    place.wait_ready("deaf").await;
    let start = std::time::Instant::now();
    place.delete("deaf").await;
    place.wait_gone("deaf").await;
    assert!(
        start.elapsed() < std::time::Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}

pub(crate) async fn what_a_container_has_started_ends_with_it(place: Place) {
    // The second pod sees the node's process table through nothing: a lock tells instead.
    let share = json!([{ "name": "share", "mountPath": "/share" }]);
    let volume = json!([{ "name": "share", "hostPath": { "path": "/orphans" } }]);
    let mut main = container(
        "main",
        "(trap '' TERM HUP; exec 9>/share/lock; flock 9; touch /share/locked; sleep 1000) & \
         while ! test -e /share/locked; do sleep 0.02; done",
    );
    main["volumeMounts"] = share.clone();
    place
        .pod(
            "parent",
            json!({ "restartPolicy": "Never", "containers": [main], "volumes": volume }),
        )
        .await;
    place.wait_phase("parent", "Succeeded").await;
    let mut other = script_pod("flock -w 30 /share/lock echo free");
    other["containers"][0]["volumeMounts"] = share;
    other["volumes"] = volume;
    place.pod("other", other).await;
    place.wait_phase("other", "Succeeded").await;
    assert_eq!(place.log("other", "main").await, "free\n");
}

pub(crate) async fn capabilities_are_none_but_those_asked_for(place: Place) {
    let show = "grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status | tr -s '\\t' ' '";
    let log = place.sh("none", show).await;
    let none = "CapEff: 0000000000000000\nCapBnd: 0000000000000000\nNoNewPrivs: 1\n";
    assert_eq!(log, none);
    let mut spec = script_pod(show);
    spec["containers"][0]["securityContext"] =
        json!({ "capabilities": { "add": ["NET_ADMIN", "SYS_ADMIN"], "drop": ["ALL"] } });
    place.pod("some", spec).await;
    place.wait_phase("some", "Succeeded").await;
    let log = place.log("some", "main").await;
    assert!(
        log.starts_with("CapEff: 0000000000001000\nCapBnd: 0000000000001000\n"),
        "{log}"
    );
}

pub(crate) async fn a_root_shows_programs_of_the_machine_and_nothing_of_its_people(place: Place) {
    let script = "ls -A /home /root /tmp /mnt /srv | tr '\\n' ' '; echo; \
        for path in /usr/x /bin/x /opt/x; do touch $path 2>/dev/null && echo wrote $path; done; \
        touch /tmp/a /var/tmp/b /run/c && echo can write; \
        test -c /dev/null && test -w /dev/shm && echo devices; \
        ls /proc/self/fd | tr '\\n' ' '; echo; \
        touch /proc/sys/kernel/core_pattern 2>/dev/null; \
        (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null || echo no sysctl; \
        ls -d /proc/[0-9]* | wc -l | (read n; test $n -lt 8 && echo few processes)";
    let log = place.sh("root", script).await;
    assert_eq!(
        log,
        "/home:  /mnt:  /root:  /srv:  /tmp: \nwrote /opt/x\ncan write\ndevices\n0 1 2 3 \nno sysctl\nfew processes\n"
    );
    let mut spec = script_pod(
        "(touch /x || touch /var/x) 2>/dev/null || echo nowhere; touch /scratch/x && echo here",
    );
    spec["containers"][0]["securityContext"] = json!({ "readOnlyRootFilesystem": true });
    spec["containers"][0]["volumeMounts"] = json!([{ "name": "scratch", "mountPath": "/scratch" }]);
    spec["volumes"] = json!([{ "name": "scratch", "emptyDir": {} }]);
    place.pod("sealed", spec).await;
    place.wait_phase("sealed", "Succeeded").await;
    let log = place.log("sealed", "main").await;
    assert_eq!(log, "nowhere\nhere\n");
}

pub(crate) async fn a_pod_that_fits_nowhere_stays_pending_and_says_why(place: Place) {
    let mut spec = script_pod("true");
    spec["nodeSelector"] = json!({ "disk": "ssd" });
    place.pod("picky", spec).await;
    place
        .wait_event(
            "picky",
            "FailedScheduling: 0/1 nodes are available: 1 node(s) didn't match",
        )
        .await;
    let status = place.wait_phase("picky", "Pending").await;
    let conditions = status.conditions.unwrap();
    let scheduled = conditions
        .iter()
        .find(|it| it.type_ == "PodScheduled")
        .unwrap();
    assert_eq!(scheduled.reason.as_deref(), Some("Unschedulable"));
}

pub(crate) async fn a_pod_that_is_active_for_too_long_fails(place: Place) {
    let mut spec = script_pod("sleep 1000");
    spec["activeDeadlineSeconds"] = json!(1);
    place.pod("late", spec).await;
    let status = place.wait_phase("late", "Failed").await;
    assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));
}
