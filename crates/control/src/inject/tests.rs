//! Pods as their authors write them in, pods as they run out.

use lateen_api::mesh_config::MeshConfig;
use serde_json::Value;

use super::*;

fn template() -> Template {
    Template {
        image: "docker.io/lateen/lateen-proxy:1".into(),
        revision: "default".into(),
        cluster: "Kubernetes".into(),
        trust_domain: "cluster.local".into(),
        cluster_domain: "cluster.local".into(),
        discovery_address: "istiod.istio-system.svc:15012".into(),
        default_config: ProxyConfig::default(),
        is_prometheus_merged: true,
    }
}

fn reviews() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "reviews-v1-6f8d9c7b5-",
            "labels": { "app": "reviews", "version": "v1", "pod-template-hash": "6f8d9c7b5" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "u",
                                  "name": "reviews-v1-6f8d9c7b5", "controller": true }],
        },
        "spec": {
            "serviceAccountName": "bookinfo-reviews",
            "containers": [{
                "name": "reviews",
                "image": "docker.io/istio/examples-bookinfo-reviews-v1:1.20.3",
                "ports": [{ "name": "web", "containerPort": 9080 }],
                "livenessProbe": { "httpGet": { "path": "/health", "port": "web" },
                                   "timeoutSeconds": 3, "periodSeconds": 7 },
                "readinessProbe": { "tcpSocket": { "port": 9080 } },
                "startupProbe": { "exec": { "command": ["true"] } },
            }],
            "initContainers": [{ "name": "prepare", "image": "busybox" }],
            "volumes": [{ "name": "tmp", "emptyDir": {} }],
        },
    })
}

fn annotated(pairs: &[(&str, &str)]) -> Value {
    let mut pod = reviews();
    for (key, value) in pairs {
        pod["metadata"]["annotations"][*key] = (*value).into();
    }
    pod
}

fn injected(pod: &Value) -> (Value, Vec<String>) {
    match inject(pod, "default", &template()).unwrap() {
        Outcome::Injected { pod, warnings } => (pod, warnings),
        Outcome::Skipped(reason) => panic!("skipped: {reason}"),
    }
}

fn container<'a>(pod: &'a Value, list: &str, name: &str) -> Option<&'a Value> {
    let containers = pod["spec"][list].as_array()?;
    containers
        .iter()
        .find(|container| container["name"] == name)
}

fn proxy(pod: &Value) -> &Value {
    container(pod, "initContainers", PROXY).unwrap()
}

fn env<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let list = container["env"].as_array()?;
    list.iter().find(|entry| entry["name"] == name)?["value"].as_str()
}

fn args(pod: &Value) -> Vec<&str> {
    let list = container(pod, "initContainers", INIT).unwrap()["args"]
        .as_array()
        .unwrap();
    list.iter().filter_map(Value::as_str).collect()
}

#[test]
fn the_proxy_starts_before_everything_else_and_the_capture_before_it() {
    let (pod, warnings) = injected(&reviews());
    assert!(warnings.is_empty());
    let names: Vec<_> = pod["spec"]["initContainers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|container| container["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, [INIT, PROXY, "prepare"]);
    let proxy = proxy(&pod);
    assert_eq!(proxy["restartPolicy"], "Always");
    assert_eq!(proxy["args"], json!(["sidecar"]));
    assert_eq!(proxy["image"], "docker.io/lateen/lateen-proxy:1");
    assert_eq!(proxy["ports"][0]["name"], "http-envoy-prom");
    assert_eq!(proxy["startupProbe"]["failureThreshold"], 600);
    assert_eq!(proxy["lifecycle"]["preStop"]["exec"]["command"][1], "drain");
    assert_eq!(proxy["securityContext"]["runAsUser"], 1337);
    assert_eq!(proxy["securityContext"]["readOnlyRootFilesystem"], true);
    let init = container(&pod, "initContainers", INIT).unwrap();
    assert_eq!(init["securityContext"]["runAsUser"], 0);
    assert_eq!(
        init["securityContext"]["capabilities"]["add"],
        json!(["NET_ADMIN", "NET_RAW"])
    );
}

#[test]
fn the_capture_takes_everything_but_the_proxys_own_ports() {
    let (pod, _) = injected(&reviews());
    assert_eq!(
        args(&pod),
        [
            "capture",
            "--inbound-ports=*",
            "--exclude-inbound-ports=15090,15021,15020",
            "--outbound-ip-ranges=*",
            "--exclude-outbound-ip-ranges=",
            "--include-outbound-ports=",
            "--exclude-outbound-ports=",
        ]
    );
}

#[test]
fn dns_is_captured_where_the_proxys_metadata_say_so() {
    let dns = "--redirect-dns=true";
    let own = "proxyMetadata: {ISTIO_META_DNS_CAPTURE: \"true\"}";
    let (pod, warnings) = injected(&annotated(&[("proxy.istio.io/config", own)]));
    assert!(args(&pod).contains(&dns));
    assert_eq!(env(proxy(&pod), "ISTIO_META_DNS_CAPTURE"), Some("true"));
    assert_eq!(warnings, [""; 0]);
    let not = own.replace("true", "false");
    let (pod, _) = injected(&annotated(&[("proxy.istio.io/config", &not)]));
    assert!(!args(&pod).contains(&dns));
}

#[test]
fn annotations_limit_the_capture() {
    let (pod, _) = injected(&annotated(&[
        ("traffic.sidecar.istio.io/includeInboundPorts", "8080,9090"),
        ("traffic.sidecar.istio.io/excludeInboundPorts", "22"),
        (
            "traffic.sidecar.istio.io/includeOutboundIPRanges",
            "10.0.0.0/8",
        ),
        (
            "traffic.sidecar.istio.io/excludeOutboundIPRanges",
            "10.1.0.0/16, fd00::/8",
        ),
        ("traffic.sidecar.istio.io/excludeOutboundPorts", "3306"),
    ]));
    let args = args(&pod);
    assert!(args.contains(&"--inbound-ports=8080,9090"));
    assert!(args.contains(&"--exclude-inbound-ports=15090,15021,15020,22"));
    assert!(args.contains(&"--outbound-ip-ranges=10.0.0.0/8"));
    assert!(args.contains(&"--exclude-outbound-ip-ranges=10.1.0.0/16,fd00::/8"));
    assert!(args.contains(&"--exclude-outbound-ports=3306"));
}

#[test]
fn an_annotation_that_cannot_be_followed_refuses_the_pod_and_says_why() {
    for (key, value, part) in [
        (
            "traffic.sidecar.istio.io/excludeOutboundPorts",
            "80,http",
            "\"http\" is not a port",
        ),
        (
            "traffic.sidecar.istio.io/includeInboundPorts",
            "70000",
            "is not a port",
        ),
        (
            "traffic.sidecar.istio.io/excludeOutboundIPRanges",
            "*",
            "is not a CIDR",
        ),
        (
            "sidecar.istio.io/interceptionMode",
            "MAGIC",
            "REDIRECT or NONE",
        ),
        ("proxy.istio.io/config", "concurrency: many", "whole number"),
        ("proxy.istio.io/config", "- a", "must be a map"),
        ("proxy.istio.io/config", "drainDuration: soon", "a duration"),
        (
            "readiness.status.sidecar.istio.io/periodSeconds",
            "x",
            "not a number",
        ),
        ("inject.istio.io/templates", "gateway", "not available"),
        ("sidecar.istio.io/proxyCPU", "much", "not a quantity"),
        ("status.sidecar.istio.io/port", "0", "not a port"),
    ] {
        let error = inject(&annotated(&[(key, value)]), "default", &template());
        let error = error.expect_err(key).to_string();
        assert!(error.contains(key) && error.contains(part), "{error}");
    }
}

#[test]
fn probes_go_through_the_proxy_which_knows_the_originals() {
    let (pod, _) = injected(&reviews());
    let app = container(&pod, "containers", "reviews").unwrap();
    let live = json!({
        "httpGet": { "path": "/app-health/reviews/livez", "port": 15020, "scheme": "HTTP" },
        "timeoutSeconds": 3, "periodSeconds": 7,
    });
    assert_eq!(app["livenessProbe"], live);
    assert_eq!(
        app["readinessProbe"]["httpGet"]["path"],
        "/app-health/reviews/readyz"
    );
    assert_eq!(app["readinessProbe"].get("tcpSocket"), None);
    assert_eq!(
        app["startupProbe"],
        json!({ "exec": { "command": ["true"] } })
    );
    let probers: Value =
        serde_json::from_str(env(proxy(&pod), "ISTIO_KUBE_APP_PROBERS").unwrap()).unwrap();
    let expected = json!({
        "/app-health/reviews/livez": {
            "httpGet": { "path": "/health", "port": 9080 }, "timeoutSeconds": 3,
        },
        "/app-health/reviews/readyz": { "tcpSocket": { "port": 9080 } },
    });
    assert_eq!(probers, expected);
}

#[test]
fn another_status_port_is_used_everywhere() {
    let (pod, _) = injected(&annotated(&[("status.sidecar.istio.io/port", "16020")]));
    assert_eq!(
        proxy(&pod)["args"],
        json!(["sidecar", "--status-port=16020"])
    );
    let app = container(&pod, "containers", "reviews").unwrap();
    assert_eq!(app["livenessProbe"]["httpGet"]["port"], 16020);
    assert_eq!(
        pod["metadata"]["annotations"]["prometheus.io/port"],
        "16020"
    );
    assert!(args(&pod).contains(&"--exclude-inbound-ports=15090,15021,16020"));
}

#[test]
fn probes_stay_where_an_annotation_says_so() {
    let (pod, _) = injected(&annotated(&[(
        "sidecar.istio.io/rewriteAppHTTPProbers",
        "false",
    )]));
    let app = container(&pod, "containers", "reviews").unwrap();
    assert_eq!(app["livenessProbe"]["httpGet"]["path"], "/health");
    assert_eq!(env(proxy(&pod), "ISTIO_KUBE_APP_PROBERS"), None);
}

#[test]
fn labels_and_annotations_are_those_that_tools_look_for() {
    let (pod, _) = injected(&reviews());
    let (labels, annotations) = (&pod["metadata"]["labels"], &pod["metadata"]["annotations"]);
    assert_eq!(labels["service.istio.io/canonical-name"], "reviews");
    assert_eq!(labels["service.istio.io/canonical-revision"], "v1");
    assert_eq!(labels["security.istio.io/tlsMode"], "istio");
    assert_eq!(annotations["prometheus.io/port"], "15020");
    assert_eq!(annotations["prometheus.io/path"], "/stats/prometheus");
    assert_eq!(
        annotations["kubectl.kubernetes.io/default-container"],
        "reviews"
    );
    let status: Value =
        serde_json::from_str(annotations["sidecar.istio.io/status"].as_str().unwrap()).unwrap();
    assert_eq!(status["initContainers"], json!([INIT, PROXY]));
    assert_eq!(status["revision"], "default");
}

#[test]
fn scraping_of_the_application_goes_on_through_the_proxy() {
    let (pod, _) = injected(&annotated(&[
        ("prometheus.io/scrape", "true"),
        ("prometheus.io/port", "9080"),
        ("prometheus.io/path", "/metrics"),
    ]));
    let scrape = env(proxy(&pod), "ISTIO_PROMETHEUS_ANNOTATIONS").unwrap();
    let scrape: Value = serde_json::from_str(scrape).unwrap();
    assert_eq!(
        scrape,
        json!({ "scrape": "true", "port": "9080", "path": "/metrics" })
    );
    let (pod, _) = injected(&annotated(&[("prometheus.io/scrape", "false")]));
    assert_eq!(
        pod["metadata"]["annotations"]["prometheus.io/scrape"],
        "false"
    );
    assert_eq!(
        pod["metadata"]["annotations"].get("prometheus.io/port"),
        None
    );
}

#[test]
fn settings_of_the_pod_lie_over_those_of_the_mesh() {
    let mut template = template();
    let mesh = MeshConfig::default();
    let mesh = mesh.read("defaultConfig: {concurrency: 2, proxyMetadata: {A: 1, B: 1}}");
    template.default_config = mesh.unwrap().default_config;
    let pod = annotated(&[(
        "proxy.istio.io/config",
        "concurrency: 4\nproxyMetadata: {B: \"2\"}",
    )]);
    let Outcome::Injected { pod, .. } = inject(&pod, "default", &template).unwrap() else {
        panic!("it is injected");
    };
    let config: Value = serde_json::from_str(env(proxy(&pod), "PROXY_CONFIG").unwrap()).unwrap();
    let expected = json!({ "concurrency": 4, "discoveryAddress": "istiod.istio-system.svc:15012" });
    assert_eq!(config, expected);
    assert_eq!(env(proxy(&pod), "A"), Some("1"));
    assert_eq!(env(proxy(&pod), "B"), Some("2"));
    assert_eq!(
        env(proxy(&pod), "ISTIO_META_WORKLOAD_NAME"),
        Some("reviews-v1")
    );
    let owner = "kubernetes://apis/apps/v1/namespaces/default/deployments/reviews-v1";
    assert_eq!(env(proxy(&pod), "ISTIO_META_OWNER"), Some(owner));
}

#[test]
fn one_resource_annotation_replaces_all_defaults() {
    let (pod, _) = injected(&reviews());
    assert_eq!(
        proxy(&pod)["resources"],
        json!({ "requests": { "cpu": "10m", "memory": "16Mi" } })
    );
    let (pod, _) = injected(&annotated(&[("sidecar.istio.io/proxyMemory", "64Mi")]));
    assert_eq!(
        proxy(&pod)["resources"],
        json!({ "requests": { "memory": "64Mi" } })
    );
}

#[test]
fn volumes_are_added_to_those_of_the_pod() {
    let (pod, _) = injected(&reviews());
    let names: Vec<_> = pod["spec"]["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| volume["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "tmp",
            "istio-envoy",
            "istio-data",
            "istio-podinfo",
            "istio-token",
            "istiod-ca-cert"
        ]
    );
    let volume = |name: &str| {
        let mut volumes = pod["spec"]["volumes"].as_array().unwrap().iter();
        volumes.find(|volume| volume["name"] == name).unwrap()
    };
    let token = &volume("istio-token")["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(
        *token,
        json!({ "path": "istio-token", "audience": "istio-ca", "expirationSeconds": 43200 })
    );
    assert_eq!(
        volume("istiod-ca-cert")["configMap"]["name"],
        "istio-ca-root-cert"
    );
    let mounts = proxy(&pod)["volumeMounts"].as_array().unwrap();
    for (name, path) in [
        ("istio-token", "/var/run/secrets/tokens"),
        ("istiod-ca-cert", "/var/run/secrets/istio"),
    ] {
        let mount = mounts.iter().find(|mount| mount["name"] == name).unwrap();
        assert_eq!(mount["mountPath"], path);
    }
    assert!(
        mounts
            .iter()
            .all(|mount| names.contains(&mount["name"].as_str().unwrap()))
    );
}

#[test]
fn injecting_again_changes_nothing() {
    let (pod, _) = injected(&reviews());
    let again = inject(&pod, "default", &template()).unwrap();
    assert_eq!(again, Outcome::Skipped("it has joined already"));
}

#[test]
fn pods_that_must_not_or_do_not_want_to_join_are_left_alone() {
    let mut host = reviews();
    host["spec"]["hostNetwork"] = true.into();
    let mut label = reviews();
    label["metadata"]["labels"]["sidecar.istio.io/inject"] = "false".into();
    let annotation = annotated(&[("sidecar.istio.io/inject", "false")]);
    for (pod, namespace) in [
        (&host, "default"),
        (&label, "default"),
        (&annotation, "default"),
        (&reviews(), "kube-system"),
    ] {
        let outcome = inject(pod, namespace, &template()).unwrap();
        assert!(matches!(outcome, Outcome::Skipped(_)), "{outcome:?}");
    }
    // The label wins over the annotation.
    let mut both = annotation;
    both["metadata"]["labels"]["sidecar.istio.io/inject"] = "true".into();
    injected(&both);
}

#[test]
fn a_pod_without_capture_has_no_init_container() {
    let (pod, _) = injected(&annotated(&[("sidecar.istio.io/interceptionMode", "NONE")]));
    assert!(container(&pod, "initContainers", INIT).is_none());
    let (_, warnings) = injected(&annotated(&[(
        "sidecar.istio.io/interceptionMode",
        "TPROXY",
    )]));
    assert!(
        warnings[0].contains("TPROXY is not available"),
        "{warnings:?}"
    );
}

#[test]
fn the_authors_own_proxy_container_lies_over_ours() {
    let mut pod = reviews();
    let own = json!({
        "name": PROXY, "image": "auto",
        "env": [{ "name": "EXTRA", "value": "1" }, { "name": "TRUST_DOMAIN", "value": "td" }],
        "resources": { "limits": { "cpu": "4" } },
        "volumeMounts": [{ "name": "tmp", "mountPath": "/tmp" }],
    });
    pod["spec"]["containers"].as_array_mut().unwrap().push(own);
    let (pod, _) = injected(&pod);
    assert!(container(&pod, "containers", PROXY).is_none());
    let proxy = proxy(&pod);
    assert_eq!(proxy["image"], "docker.io/lateen/lateen-proxy:1");
    assert_eq!(env(proxy, "EXTRA"), Some("1"));
    assert_eq!(env(proxy, "TRUST_DOMAIN"), Some("td"));
    assert_eq!(proxy["resources"]["limits"]["cpu"], "4");
    assert_eq!(proxy["resources"]["requests"]["cpu"], "10m");
    assert_eq!(proxy["volumeMounts"].as_array().unwrap().len(), 6);
}

#[test]
fn a_pod_that_says_almost_nothing_is_injected_too() {
    let pod = json!({ "metadata": { "name": "a" }, "spec": { "containers": [{ "name": "c" }] } });
    let (pod, _) = injected(&pod);
    assert_eq!(
        pod["metadata"]["labels"]["service.istio.io/canonical-name"],
        "a"
    );
    assert_eq!(
        pod["metadata"]["labels"]["service.istio.io/canonical-revision"],
        "latest"
    );
}

#[test]
fn applications_sleep_before_they_end_if_their_pod_asks_for_it() {
    let asks = |text: &str| {
        let mut pod = reviews();
        pod["metadata"]["annotations"]["lateen.io/pre-stop-sleep"] = text.into();
        pod
    };
    let (pod, warnings) = injected(&asks("5s"));
    assert!(warnings.is_empty());
    let containers = pod["spec"]["containers"].as_array().unwrap();
    for container in containers {
        let sleep = &container["lifecycle"]["preStop"]["sleep"]["seconds"];
        assert_eq!(sleep, 5, "{}", container["name"]);
    }
    assert_eq!(
        proxy(&pod)["lifecycle"]["preStop"]["exec"]["command"][1],
        "drain"
    );
    for (text, why) in [
        ("soon", "whole seconds"),
        ("0", "whole seconds"),
        ("30s", "terminationGracePeriodSeconds (30)"),
    ] {
        let refused = inject(&asks(text), "default", &template()).unwrap_err();
        assert!(
            refused.at.contains("lateen.io/pre-stop-sleep"),
            "{}",
            refused.at
        );
        assert!(refused.why.contains(why), "{}", refused.why);
    }
    let mut own = asks("5s");
    own["spec"]["containers"][0]["lifecycle"] =
        json!({ "preStop": { "exec": { "command": ["true"] } } });
    let (pod, _) = injected(&own);
    let kept = &pod["spec"]["containers"][0]["lifecycle"]["preStop"];
    assert_eq!(kept["exec"]["command"][0], "true");
    assert!(kept["sleep"].is_null());
}

/// Every place in a value, as a JSON pointer.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let key = key.replace('~', "~0").replace('/', "~1");
                places(value, &format!("{at}/{key}"), found);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                places(value, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn whatever_is_sent_in_place_of_a_pod_is_answered() {
    let mut pod = annotated(&[
        ("lateen.io/pre-stop-sleep", "5s"),
        ("prometheus.io/scrape", "true"),
        ("sidecar.istio.io/status", "{}"),
    ]);
    pod["spec"]["containers"][0]["lifecycle"] = json!({ "preStop": null });
    let own = json!({ "name": "istio-proxy", "image": "auto", "env": [{ "name": "A" }] });
    pod["spec"]["initContainers"][0] = own;
    let mut all = Vec::new();
    places(&pod, "", &mut all);
    let strange = [
        json!(null),
        json!("x"),
        json!(-1),
        json!([]),
        json!({}),
        json!(["x"]),
        json!({ "x": 1 }),
    ];
    for place in all {
        for strange in &strange {
            let mut pod = pod.clone();
            *pod.pointer_mut(&place).unwrap() = strange.clone();
            // Any answer will do.
            drop(inject(&pod, "default", &template()));
        }
    }
}
