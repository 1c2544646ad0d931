//! Pods and what watches them: tables, logs, waiting, rollouts.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::Served;

/// Writes the status of an object, as a node or a controller does.
fn write_status<K>(served: &Served, name: &str, status: &Value)
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let patch = Patch::Merge(json!({"status": status}));
    runtime.block_on(async {
        let api: Api<K> = Api::default_namespaced(served.client());
        api.patch_status(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    });
}

fn with_pod() -> Served {
    let served = Served::start();
    served.kubectl("run a --image=busybox --restart=Never -- sleep 10");
    served
}

#[test]
fn a_pod_gets_its_account_its_token_and_its_tolerations() {
    let served = with_pod();
    let yaml = served.kubectl("get pod a -o yaml");
    for line in [
        "serviceAccountName: default",
        "mountPath: /var/run/secrets/kubernetes.io/serviceaccount",
        "expirationSeconds: 3607",
        "name: kube-root-ca.crt",
        "key: node.kubernetes.io/not-ready",
        "priority: 0",
        "enableServiceLinks: true",
        "qosClass: BestEffort",
        "phase: Pending",
    ] {
        assert!(yaml.contains(line), "{line} is not in\n{yaml}");
    }
    let described = served.kubectl("describe pod a");
    assert!(
        described.contains("QoS Class:") && described.contains("BestEffort"),
        "{described}"
    );
}

#[test]
fn a_running_pod_is_shown_ready_and_can_be_waited_for() {
    let served = with_pod();
    assert!(served.kubectl("get pods").contains("0/1     Pending"));
    write_status::<Pod>(
        &served,
        "a",
        &json!({"phase": "Running", "podIP": "10.244.0.5",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "a", "ready": true, "restartCount": 0, "image": "i",
                "imageID": "", "state": {"running": {}}}]}),
    );
    let table = served.kubectl("get pods -o wide");
    assert!(table.contains("1/1     Running"), "{table}");
    assert!(table.contains("10.244.0.5"), "{table}");
    served.kubectl("wait --for=condition=Ready pod/a --timeout=5s");
    assert_eq!(
        served.kubectl("get pods --field-selector status.phase=Running -o name"),
        "pod/a\n"
    );
    assert_eq!(
        served.kubectl("get pods --field-selector status.phase=Pending -o name"),
        ""
    );
}

#[test]
fn logs_are_read_from_the_files_of_the_node() {
    let served = with_pod();
    let error = served.fails("logs a", "");
    assert!(
        error.contains("is waiting to start: ContainerCreating"),
        "{error}"
    );
    let uid = served.kubectl("get pod a -o jsonpath={.metadata.uid}");
    let directory = served.directory.join(format!("logs/default_a_{uid}/a"));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(
        directory.join("0.log"),
        "2024-01-01T00:00:01.5Z stdout F one\n\
         2024-01-01T00:00:02.5Z stderr P tw\n\
         2024-01-01T00:00:02.6Z stderr F o\n\
         2024-01-01T00:00:03.5Z stdout F three\n",
    )
    .unwrap();
    assert_eq!(served.kubectl("logs a"), "one\ntwo\nthree\n");
    assert_eq!(served.kubectl("logs a -f"), "one\ntwo\nthree\n");
    assert_eq!(served.kubectl("logs a --tail=1 -c a"), "three\n");
    let timed = served.kubectl("logs a --timestamps --since-time=2024-01-01T00:00:03Z");
    assert_eq!(timed, "2024-01-01T00:00:03.5Z three\n");
    assert!(
        served
            .fails("logs a -c b", "")
            .contains("container b is not valid for pod a")
    );
    assert!(
        served
            .fails("logs a -p", "")
            .contains("previous terminated container")
    );
    assert!(
        served
            .fails("logs nobody", "")
            .contains("pods \"nobody\" not found")
    );
}

#[test]
fn a_pod_on_a_node_ends_gracefully() {
    let served = with_pod();
    let binding = r#"{"apiVersion":"v1","kind":"Binding","metadata":{"name":"a"},"target":{"kind":"Node","name":"n"}}"#;
    served.with_input(
        "create --raw /api/v1/namespaces/default/pods/a/binding -f -",
        binding,
    );
    served.kubectl("delete pod a --wait=false --grace-period=20");
    let table = served.kubectl("get pods -o wide");
    assert!(table.contains("Terminating"), "{table}");
    let grace = served.kubectl("get pod a -o jsonpath={.metadata.deletionGracePeriodSeconds}");
    assert_eq!(grace, "20");
    served.kubectl("delete pod a --grace-period=0 --force");
    assert_eq!(served.kubectl("get pods -o name"), "");
}

#[test]
fn what_a_pod_is_may_not_change() {
    let served = with_pod();
    let error = served.fails(
        r#"patch pod a -p '{"spec":{"restartPolicy":"Always"}}'"#,
        "",
    );
    assert!(
        error.contains("pod updates may not change fields other than"),
        "{error}"
    );
    served.kubectl(r#"patch pod a -p '{"spec":{"containers":[{"name":"a","image":"other"}]}}'"#);
}

#[test]
fn a_rollout_is_done_when_the_status_says_so() {
    let served = Served::start();
    served.kubectl("create deployment web --image=web:1");
    let error = served.fails("rollout status deploy web --timeout=1s", "");
    assert!(error.contains("timed out"), "{error}");
    write_status::<Deployment>(
        &served,
        "web",
        &json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1,
            "availableReplicas": 1, "readyReplicas": 1}),
    );
    let said = served.kubectl("rollout status deploy web --timeout=5s");
    assert!(said.contains("successfully rolled out"), "{said}");
    assert!(served.kubectl("get deploy web").contains("1/1"));
}

#[test]
fn what_needs_a_node_says_so_clearly() {
    let served = with_pod();
    let error = served.fails("exec a -- ls", "");
    assert!(
        error.contains("not supported by this API server yet"),
        "{error}"
    );
    // kubectl itself refuses to forward ports of a pod that does not run.
    write_status::<Pod>(&served, "a", &json!({"phase": "Running"}));
    let error = served.fails("port-forward a :80", "");
    assert!(
        error.contains("pod a does not have a host assigned"),
        "{error}"
    );
}
