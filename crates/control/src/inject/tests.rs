//! Pods as their authors wrote them, and what becomes of them.

use serde_json::{Map, Value, json};

use super::{INIT, PROXY, STATUS, Template, Verdict, inject, patch, wanted};

fn template() -> Template {
    Template {
        proxy_image: "docker.io/lateen/lateen-proxy:1".into(),
        revision: "default".into(),
        cluster: "Kubernetes".into(),
        discovery_address: "istiod.istio-system.svc:15010".into(),
        trust_domain: "cluster.local".into(),
        default_config: json!({ "concurrency": 2, "proxyMetadata": { "A": "1" } })
            .as_object()
            .unwrap()
            .clone(),
        is_prometheus_merged: true,
    }
}

fn pod() -> Value {
    json!({
        "metadata": {
            "generateName": "reviews-v1-7d4f9c-",
            "labels": { "app": "reviews", "version": "v1", "pod-template-hash": "7d4f9c" },
            "annotations": {},
            "ownerReferences": [
                { "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "reviews-v1-7d4f9c", "controller": true }
            ]
        },
        "spec": {
            "initContainers": [{ "name": "migrate", "image": "m" }],
            "containers": [{
                "name": "reviews",
                "image": "r",
                "ports": [{ "name": "http", "containerPort": 9080 }],
                "livenessProbe": { "exec": { "command": ["true"] } },
                "readinessProbe": { "httpGet": { "path": "/health", "port": "http" }, "timeoutSeconds": 2, "periodSeconds": 7 },
                "startupProbe": { "tcpSocket": { "port": 9080 } }
            }]
        }
    })
}

fn with_annotation(key: &str, value: &str) -> Value {
    let mut pod = pod();
    pod["metadata"]["annotations"][key] = value.into();
    pod
}

fn injected(pod: &Value) -> Value {
    inject(pod, "default", &template()).expect("the pod is fine")
}

fn container<'a>(pod: &'a Value, list: &str, name: &str) -> &'a Value {
    pod["spec"][list]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == name)
        .unwrap()
}

fn variable(pod: &Value, name: &str) -> Value {
    let env = container(pod, "initContainers", PROXY)["env"]
        .as_array()
        .unwrap();
    env.iter()
        .find(|one| one["name"] == name)
        .map_or(Value::Null, |one| one["value"].clone())
}

fn capture_flag(pod: &Value, name: &str) -> String {
    let args = container(pod, "initContainers", INIT)["args"]
        .as_array()
        .unwrap();
    let at = args.iter().position(|one| one == name).unwrap();
    args[at + 1].as_str().unwrap().to_owned()
}

#[test]
fn capture_and_proxy_come_before_the_pods_own_init_containers() {
    let pod = injected(&pod());
    let names: Vec<_> = pod["spec"]["initContainers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, [INIT, PROXY, "migrate"]);
    let proxy = container(&pod, "initContainers", PROXY);
    assert_eq!(proxy["restartPolicy"], "Always");
    assert_eq!(proxy["args"], json!(["sidecar"]));
    assert_eq!(proxy["securityContext"]["runAsUser"], 1337);
    assert_eq!(pod["spec"]["containers"].as_array().unwrap().len(), 1);
}

#[test]
fn every_mount_of_the_proxy_has_its_volume() {
    let pod = injected(&pod());
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    for mount in container(&pod, "initContainers", PROXY)["volumeMounts"]
        .as_array()
        .unwrap()
    {
        assert!(
            volumes.iter().any(|volume| volume["name"] == mount["name"]),
            "{mount}"
        );
    }
}

#[test]
fn probes_lead_through_the_proxy_except_those_inside_the_container() {
    let pod = injected(&pod());
    let app = container(&pod, "containers", "reviews");
    let readiness = json!({
        "httpGet": { "path": "/app-health/reviews/readyz", "port": 15020 }, "timeoutSeconds": 2, "periodSeconds": 7
    });
    assert_eq!(app["readinessProbe"], readiness);
    assert_eq!(
        app["livenessProbe"],
        json!({ "exec": { "command": ["true"] } })
    );
    let probers: Value =
        serde_json::from_str(variable(&pod, "ISTIO_KUBE_APP_PROBERS").as_str().unwrap()).unwrap();
    let expected = json!({
        "/app-health/reviews/readyz": { "httpGet": { "path": "/health", "port": 9080 }, "timeoutSeconds": 2 },
        "/app-health/reviews/startupz": { "tcpSocket": { "port": 9080 } }
    });
    assert_eq!(probers, expected);
}

#[test]
fn probes_stay_as_they_are_if_the_pod_asks_for_it() {
    let asked = with_annotation("sidecar.istio.io/rewriteAppHTTPProbers", "false");
    let pod = injected(&asked);
    assert_eq!(pod["spec"]["containers"], asked["spec"]["containers"]);
    assert_eq!(variable(&pod, "ISTIO_KUBE_APP_PROBERS"), Value::Null);
}

#[test]
fn annotations_steer_the_capture() {
    let mut asked = with_annotation("traffic.sidecar.istio.io/excludeInboundPorts", "9000, 9001");
    asked["metadata"]["annotations"]["traffic.sidecar.istio.io/includeOutboundIPRanges"] =
        "10.0.0.0/8".into();
    let pod = injected(&asked);
    assert_eq!(
        capture_flag(&pod, "--exclude-inbound-ports"),
        "15090,15021,15020,9000,9001"
    );
    assert_eq!(capture_flag(&pod, "--outbound-ip-ranges"), "10.0.0.0/8");
    assert_eq!(capture_flag(&pod, "--inbound-ports"), "*");
}

#[test]
fn a_wrong_annotation_refuses_the_pod_and_is_named() {
    for (key, value) in [
        ("traffic.sidecar.istio.io/excludeOutboundPorts", "80,http"),
        ("traffic.sidecar.istio.io/excludeOutboundPorts", "*"),
        (
            "traffic.sidecar.istio.io/excludeOutboundIPRanges",
            "10.0.0.0/40",
        ),
        ("sidecar.istio.io/proxyCPU", "much"),
        ("sidecar.istio.io/rewriteAppHTTPProbers", "maybe"),
        ("readiness.status.sidecar.istio.io/periodSeconds", "-1"),
        ("proxy.istio.io/config", "concurrency: many"),
        ("proxy.istio.io/config", "[1]"),
    ] {
        let error = inject(&with_annotation(key, value), "default", &template()).expect_err(value);
        assert_eq!(error.key, key);
    }
}

#[test]
fn the_proxy_config_is_merged_field_by_field_and_its_metadata_key_by_key() {
    let pod = injected(&with_annotation(
        "proxy.istio.io/config",
        "proxyMetadata: {B: '2'}\nterminationDrainDuration: 9s\n",
    ));
    let config: Value =
        serde_json::from_str(variable(&pod, "PROXY_CONFIG").as_str().unwrap()).unwrap();
    let expected = json!({
        "concurrency": 2,
        "discoveryAddress": "istiod.istio-system.svc:15010",
        "proxyMetadata": { "A": "1", "B": "2" },
        "terminationDrainDuration": "9s"
    });
    assert_eq!(config, expected);
    assert_eq!([variable(&pod, "A"), variable(&pod, "B")], ["1", "2"]);
}

#[test]
fn one_resource_annotation_drops_the_defaults() {
    let pod = injected(&with_annotation(
        "sidecar.istio.io/proxyMemoryLimit",
        "64Mi",
    ));
    let resources = &container(&pod, "initContainers", PROXY)["resources"];
    assert_eq!(resources, &json!({ "limits": { "memory": "64Mi" } }));
}

#[test]
fn the_pod_tells_who_it_is_and_that_it_was_injected() {
    let pod = injected(&pod());
    let labels = &pod["metadata"]["labels"];
    assert_eq!(labels["service.istio.io/canonical-name"], "reviews");
    assert_eq!(labels["service.istio.io/canonical-revision"], "v1");
    assert_eq!(labels["security.istio.io/tlsMode"], "istio");
    assert_eq!(variable(&pod, "ISTIO_META_WORKLOAD_NAME"), "reviews-v1");
    let owner = "kubernetes://apis/apps/v1/namespaces/default/deployments/reviews-v1";
    assert_eq!(variable(&pod, "ISTIO_META_OWNER"), owner);
    let annotations = &pod["metadata"]["annotations"];
    assert!(annotations[STATUS].as_str().unwrap().contains(PROXY));
    assert_eq!(annotations["prometheus.io/port"], "15020");
    assert_eq!(
        annotations["kubectl.kubernetes.io/default-container"],
        "reviews"
    );
}

#[test]
fn a_pod_is_not_injected_twice_nor_where_it_cannot_be() {
    assert_eq!(wanted(&pod(), "default"), Verdict::Inject);
    assert!(matches!(
        wanted(&injected(&pod()), "default"),
        Verdict::Skip(_)
    ));
    assert!(matches!(wanted(&pod(), "kube-system"), Verdict::Skip(_)));
    let mut host = pod();
    host["spec"]["hostNetwork"] = true.into();
    assert!(matches!(wanted(&host, "default"), Verdict::Skip(_)));
    let mut asked = pod();
    asked["metadata"]["labels"]["sidecar.istio.io/inject"] = "false".into();
    assert!(matches!(wanted(&asked, "default"), Verdict::Skip(_)));
}

#[test]
fn fields_of_an_own_proxy_container_win() {
    let mut asked = pod();
    let own = json!({
        "name": PROXY, "image": "auto", "resources": { "requests": { "cpu": "1" } },
        "env": [{ "name": "TRUST_DOMAIN", "value": "mine" }, { "name": "NEW", "value": "x" }]
    });
    asked["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(own);
    let pod = injected(&asked);
    let proxy = container(&pod, "initContainers", PROXY);
    assert_eq!(proxy["image"], "docker.io/lateen/lateen-proxy:1");
    assert_eq!(
        proxy["resources"]["requests"],
        json!({ "cpu": "1", "memory": "16Mi" })
    );
    assert_eq!(
        [variable(&pod, "TRUST_DOMAIN"), variable(&pod, "NEW")],
        ["mine", "x"]
    );
    assert_eq!(pod["spec"]["containers"].as_array().unwrap().len(), 1);
}

#[test]
fn the_patch_makes_the_pod_what_it_should_be() {
    let before = pod();
    let after = injected(&before);
    let mut patched = before.clone();
    json_patch::patch(&mut patched, &patch(&before, &after)).unwrap();
    assert_eq!(patched, after);
    let bare = json!({ "metadata": {}, "spec": { "containers": [{ "name": "a" }] } });
    let after = inject(
        &bare,
        "default",
        &Template {
            default_config: Map::new(),
            ..template()
        },
    )
    .unwrap();
    let mut patched = bare.clone();
    json_patch::patch(&mut patched, &patch(&bare, &after)).unwrap();
    assert_eq!(patched, after);
}
