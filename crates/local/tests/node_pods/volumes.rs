//! Volumes and environments: what objects become inside of a pod.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{Place, container, eventually, script_pod};

fn mounting(script: &str, volumes: &Value) -> Value {
    let mut spec = script_pod(script);
    let mounts = volumes.as_array().unwrap().iter().map(|volume| {
        let name = volume["name"].as_str().unwrap();
        json!({ "name": name, "mountPath": format!("/mnt/{name}") })
    });
    spec["containers"][0]["volumeMounts"] = mounts.collect();
    spec["volumes"] = volumes.clone();
    spec
}

pub(crate) async fn objects_become_files_and_variables(place: Place) {
    let _: ConfigMap = place
        .create(
            json!({ "metadata": { "name": "settings" }, "data": { "color": "red", "size": "9" } }),
        )
        .await;
    let _: Secret = place
        .create(json!({ "metadata": { "name": "login" }, "stringData": { "password": "hush" } }))
        .await;
    let volumes = json!([
        { "name": "settings", "configMap": { "name": "settings",
            "items": [{ "key": "color", "path": "deep/colour", "mode": 0o600 }] } },
        { "name": "login", "secret": { "secretName": "login", "defaultMode": 0o400 } },
        { "name": "maybe", "configMap": { "name": "none", "optional": true } },
        { "name": "podinfo", "downwardAPI": { "items": [
            { "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } },
            { "path": "cpu", "resourceFieldRef": { "containerName": "main",
                "resource": "limits.cpu", "divisor": "1m" } } ] } },
        { "name": "all", "projected": { "sources": [
            { "configMap": { "name": "settings" } },
            { "secret": { "name": "login" } },
            { "serviceAccountToken": { "path": "token", "audience": "istio-ca" } } ] } }
    ]);
    let script = "cd /mnt; cat settings/deep/colour; stat -L -c ' %a' settings/deep/colour; \
        cat login/password; stat -L -c ' %a' login/password; ls maybe | wc -l; cat podinfo/labels; \
        echo; cat podinfo/cpu; echo; ls all | tr '\\n' ' '; cut -d. -f1 all/token | wc -c; \
        echo $SIZE $PASSWORD $NAME $ALL $KUBERNETES_SERVICE_HOST; touch all/x 2>&1 | wc -l; \
        ls /var/run/secrets/kubernetes.io/serviceaccount | tr '\\n' ' '";
    let mut spec = mounting(script, &volumes);
    spec["containers"][0]["resources"] = json!({ "limits": { "cpu": "250m" } });
    spec["containers"][0]["envFrom"] =
        json!([{ "prefix": "C_", "configMapRef": { "name": "settings" } }]);
    spec["containers"][0]["env"] = json!([
        { "name": "SIZE", "valueFrom": { "configMapKeyRef": { "name": "settings", "key": "size" } } },
        { "name": "PASSWORD", "valueFrom": { "secretKeyRef": { "name": "login", "key": "password" } } },
        { "name": "NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
        { "name": "ALL", "value": "$(NAME)/$(C_color)/$(NONE)" }
    ]);
    place.pod("reader", spec).await;
    place.wait_phase("reader", "Succeeded").await;
    let log = place.log("reader", "main").await;
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(
        &lines[..6],
        [
            "red 600",
            "hush 400",
            "0",
            "app=\"reader\"",
            "250",
            lines[5]
        ]
    );
    let (files, token) = lines[5].rsplit_once(' ').unwrap();
    assert_eq!(files, "color password size token");
    assert!(token.parse::<usize>().unwrap() > 10, "{log}");
    assert_eq!(lines[6], "9 hush reader reader/red/$(NONE) 10.96.0.1");
    assert_eq!(lines[7], "1", "projected volumes are read-only");
    assert_eq!(lines[8], "ca.crt namespace token ");
}

pub(crate) async fn a_pod_waits_for_what_it_refers_to(place: Place) {
    let volumes = json!([{ "name": "late", "configMap": { "name": "late" } }]);
    place
        .pod("mounts", mounting("cat /mnt/late/key", &volumes))
        .await;
    let mut spec = script_pod("echo $KEY");
    spec["containers"][0]["env"] = json!([{ "name": "KEY", "valueFrom": { "configMapKeyRef": { "name": "late", "key": "key" } } }]);
    place.pod("reads", spec).await;
    place.wait_event("mounts", "FailedMount").await;
    place
        .wait("reads", "held", |status| {
            let state = status
                .container_statuses
                .as_ref()
                .and_then(|list| list[0].state.clone());
            let waiting = state.and_then(|state| state.waiting);
            waiting.is_some_and(|it| it.reason.as_deref() == Some("CreateContainerConfigError"))
        })
        .await;
    let _: ConfigMap = place
        .create(json!({ "metadata": { "name": "late" }, "data": { "key": "come" } }))
        .await;
    for pod in ["mounts", "reads"] {
        place.wait_phase(pod, "Succeeded").await;
        assert_eq!(place.log(pod, "main").await.trim(), "come");
    }
}

pub(crate) async fn a_changed_object_changes_the_files_of_running_pods(place: Place) {
    let _: ConfigMap = place
        .create(json!({ "metadata": { "name": "live" }, "data": { "key": "old" } }))
        .await;
    let mut main = container(
        "main",
        "while ! grep -q new /live/key; do sleep 0.05; done; cat /live/key",
    );
    main["volumeMounts"] = json!([{ "name": "live", "mountPath": "/live" }]);
    let mut spec = script_pod("true");
    spec["containers"] = json!([main]);
    spec["volumes"] = json!([{ "name": "live", "configMap": { "name": "live" } }]);
    place.pod("watcher", spec).await;
    place.wait_phase("watcher", "Running").await;
    let maps: Api<ConfigMap> = Api::namespaced(place.client.clone(), &place.name);
    let patch = Patch::Merge(json!({ "data": { "key": "new" } }));
    maps.patch("live", &PatchParams::default(), &patch)
        .await
        .unwrap();
    place.wait_phase("watcher", "Succeeded").await;
    assert_eq!(place.log("watcher", "main").await, "new");
}

pub(crate) async fn volumes_are_mounted_anywhere_in_whole_or_in_part(place: Place) {
    let _: ConfigMap = place
        .create(
            json!({ "metadata": { "name": "page" }, "data": { "index.html": "<p>", "b": "B" } }),
        )
        .await;
    let mut spec = script_pod(
        "cat /usr/share/nginx/html/index.html /etc/b.conf; ls /usr/share | grep -c .; ls /etc/passwd; \
         cat /data/deep/er/x; touch /data/ro/x 2>/dev/null || echo read-only; cat /sub/x",
    );
    spec["initContainers"] = json!([{ "name": "fill", "image": "busybox",
        "command": ["sh", "-c", "mkdir -p /data/pod; echo filled > /data/x; cp /data/x /data/pod/x"],
        "volumeMounts": [{ "name": "data", "mountPath": "/data" }] }]);
    spec["containers"][0]["env"] = json!([{ "name": "PART", "value": "pod" }]);
    spec["containers"][0]["volumeMounts"] = json!([
        { "name": "page", "mountPath": "/usr/share/nginx/html" },
        { "name": "page", "mountPath": "/etc/b.conf", "subPath": "b" },
        { "name": "data", "mountPath": "/data/deep/er" },
        { "name": "data", "mountPath": "/data/ro", "readOnly": true },
        { "name": "data", "mountPath": "/sub", "subPathExpr": "$(PART)" }
    ]);
    spec["volumes"] = json!([
        { "name": "page", "configMap": { "name": "page" } },
        { "name": "data", "emptyDir": { "medium": "Memory" } }
    ]);
    place.pod("mounts", spec).await;
    place.wait_phase("mounts", "Succeeded").await;
    let log = place.log("mounts", "main").await;
    let lines: Vec<_> = log.lines().collect();
    assert!(lines[0].starts_with("<p>B"), "{log}");
    assert!(
        lines[0][4..].parse::<u32>().unwrap() > 3,
        "what was there before still is: {log}"
    );
    assert_eq!(
        &lines[1..],
        ["/etc/passwd", "filled", "read-only", "filled"]
    );
}

pub(crate) async fn a_volumes_content_cannot_lead_out_of_it(place: Place) {
    let mut spec = script_pod("ls /out; cat /out/shadow /out/passwd 2>/dev/null; true");
    spec["initContainers"] = json!([{ "name": "trap", "image": "busybox",
        "command": ["sh", "-c", "ln -s /etc /data/part; ln -s ../../../../etc /data/up; mkdir /data/etc"],
        "volumeMounts": [{ "name": "data", "mountPath": "/data" }] }]);
    spec["containers"][0]["volumeMounts"] =
        json!([{ "name": "data", "mountPath": "/out", "subPath": "part" }]);
    spec["volumes"] = json!([{ "name": "data", "emptyDir": {} }]);
    place.pod("trapped", spec).await;
    place.wait_phase("trapped", "Succeeded").await;
    assert_eq!(
        place.log("trapped", "main").await,
        "",
        "the volume's own /etc is empty"
    );
}

pub(crate) async fn labels_change_under_a_running_pod(place: Place) {
    let mut main = container(
        "main",
        "while ! grep -q blue /info/labels; do sleep 0.05; done; cat /info/labels",
    );
    main["volumeMounts"] = json!([{ "name": "info", "mountPath": "/info" }]);
    let mut spec = script_pod("true");
    spec["containers"] = json!([main]);
    spec["volumes"] = json!([{ "name": "info", "downwardAPI": { "items": [
        { "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } }] } }]);
    place.pod("painted", spec).await;
    place.wait_phase("painted", "Running").await;
    let patch = Patch::Merge(json!({ "metadata": { "labels": { "color": "blue" } } }));
    place
        .pods()
        .patch("painted", &PatchParams::default(), &patch)
        .await
        .unwrap();
    place.wait_phase("painted", "Succeeded").await;
    let found = async || {
        let log = place.log("painted", "main").await;
        log.contains("color=\"blue\"").then_some(())
    };
    eventually("the new label", async || found().await).await;
}
