//! Probes: when a pod is ready, and when a container is restarted.

use serde_json::json;

use crate::cluster::{Place, container, is_ready};

pub(crate) async fn a_pod_is_ready_when_its_probe_says_so_and_no_longer(place: Place) {
    let mut main = container(
        "main",
        "while ! test -e /go; do sleep 0.02; done; touch /ready; sleep 4; rm /ready; sleep 1000",
    );
    main["readinessProbe"] = json!({ "exec": { "command": ["test", "-e", "/ready"] },
        "periodSeconds": 1, "failureThreshold": 1 });
    main["lifecycle"] = json!({ "postStart": { "exec": { "command": ["touch", "/go"] } } });
    place
        .pod(
            "probed",
            json!({ "terminationGracePeriodSeconds": 1, "containers": [main] }),
        )
        .await;
    place.wait_ready("probed").await;
    let after = place
        .wait("probed", "unready again", |status| !is_ready(status))
        .await;
    assert_eq!(after.container_statuses.unwrap()[0].restart_count, 0);
    place
        .wait_event(
            "probed",
            "Unhealthy: Readiness probe failed: command exited with 1",
        )
        .await;
}

pub(crate) async fn an_unhealthy_container_is_restarted(place: Place) {
    let mut main = container(
        "main",
        "trap 'exit 0' TERM; touch /alive; while :; do sleep 0.05; done",
    );
    // Alive the first time, and never again: the file system is new after a restart.
    main["livenessProbe"] = json!({ "exec": { "command": ["test", "-e", "/never"] },
        "periodSeconds": 1, "failureThreshold": 2 });
    place.pod("sick", json!({ "containers": [main] })).await;
    place
        .wait("sick", "restarted", |status| {
            status
                .container_statuses
                .as_ref()
                .is_some_and(|list| list[0].restart_count > 0)
        })
        .await;
    place
        .wait_event(
            "sick",
            "Killing: Container main failed liveness probe, will be restarted",
        )
        .await;
}

pub(crate) async fn servers_are_asked_over_tcp_and_http_by_the_name_of_their_port(place: Place) {
    let main = json!({
        "name": "main", "image": "tester", "args": ["serve", "8080"],
        "ports": [{ "name": "web", "containerPort": 8080 }],
        "startupProbe": { "tcpSocket": { "port": "web" }, "periodSeconds": 1, "failureThreshold": 60 },
        "readinessProbe": { "httpGet": { "path": "/ok", "port": "web" }, "periodSeconds": 1 },
        "livenessProbe": { "httpGet": { "path": "/ok", "port": 8080 } },
    });
    let mut bad = main.clone();
    bad["name"] = json!("bad");
    bad["args"] = json!(["serve", "8081"]);
    bad["ports"] = json!([{ "name": "web2", "containerPort": 8081 }]);
    bad["startupProbe"] = json!(null);
    bad["livenessProbe"] = json!(null);
    bad["readinessProbe"] =
        json!({ "httpGet": { "path": "/missing", "port": "web2" }, "periodSeconds": 1 });
    place
        .pod("server", json!({ "containers": [main, bad] }))
        .await;
    place
        .wait("server", "half ready", |status| {
            let ready: Vec<_> = status
                .container_statuses
                .iter()
                .flatten()
                .map(|one| one.ready)
                .collect();
            ready == [true, false]
        })
        .await;
    place
        .wait_event(
            "server",
            "Readiness probe failed: HTTP probe failed with statuscode: 404",
        )
        .await;
}
