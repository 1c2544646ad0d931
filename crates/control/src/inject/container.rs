//! The two containers of injection and their volumes.

use serde_json::{Map, Value, json};

use super::annotations::Settings;
use super::metadata::Identity;
use super::{INIT, PROXY, Template};

/// The user that the proxy runs as, by which capture tells its traffic where users can be told.
const PROXY_USER: u32 = 1337;

/// The init container that has the pod's traffic captured.
pub(super) fn init(template: &Template, settings: &Settings) -> Value {
    let user = PROXY_USER.to_string();
    let mut args = vec!["capture"];
    let flags = [
        ("--inbound-ports", settings.include_inbound_ports.as_str()),
        ("--exclude-inbound-ports", &settings.exclude_inbound_ports),
        ("--outbound-ip-ranges", &settings.include_outbound_ranges),
        (
            "--exclude-outbound-ip-ranges",
            &settings.exclude_outbound_ranges,
        ),
        ("--include-outbound-ports", &settings.include_outbound_ports),
        ("--exclude-outbound-ports", &settings.exclude_outbound_ports),
        ("--proxy-uid", &user),
        ("--proxy-gid", &user),
    ];
    for (name, value) in flags {
        args.extend([name, value]);
    }
    json!({
        "name": INIT,
        "image": image(template, settings),
        "imagePullPolicy": "IfNotPresent",
        "args": args,
        "resources": settings.resources,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"] },
            "privileged": false,
            "readOnlyRootFilesystem": false,
            "runAsGroup": 0,
            "runAsNonRoot": false,
            "runAsUser": 0
        }
    })
}

/// The proxy, as a native sidecar.
pub(super) fn proxy(
    pod: &Value,
    template: &Template,
    settings: &Settings,
    identity: &Identity,
    probers: &Map<String, Value>,
) -> Value {
    let mut args = vec!["sidecar".to_owned()];
    if let Some(level) = &settings.log_level {
        args.push(format!("--log-level={level}"));
    }
    let [delay, period, failures] = settings.readiness;
    json!({
        "name": PROXY,
        "image": image(template, settings),
        "imagePullPolicy": "IfNotPresent",
        "restartPolicy": "Always",
        "args": args,
        "env": environment(pod, template, settings, identity, probers),
        "lifecycle": { "preStop": { "exec": { "command": ["lateen-proxy", "drain"] } } },
        "ports": [{ "name": "http-envoy-prom", "containerPort": 15090, "protocol": "TCP" }],
        "startupProbe": {
            "httpGet": { "path": "/healthz/ready", "port": 15021 },
            "failureThreshold": 600,
            "periodSeconds": 1,
            "timeoutSeconds": 3
        },
        "readinessProbe": {
            "httpGet": { "path": "/healthz/ready", "port": 15021 },
            "failureThreshold": failures,
            "initialDelaySeconds": delay,
            "periodSeconds": period,
            "timeoutSeconds": 3
        },
        "resources": settings.resources,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            // For SO_MARK, by which capture tells the proxy's own traffic where it has no user.
            "capabilities": { "add": ["NET_ADMIN"], "drop": ["ALL"] },
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "runAsGroup": PROXY_USER,
            "runAsNonRoot": true,
            "runAsUser": PROXY_USER
        },
        "volumeMounts": [
            { "name": "istio-data", "mountPath": "/var/lib/istio/data" },
            { "name": "istio-envoy", "mountPath": "/etc/istio/proxy" },
            { "name": "istio-podinfo", "mountPath": "/etc/istio/pod" },
            { "name": "istio-token", "mountPath": "/var/run/secrets/tokens" }
        ]
    })
}

/// The volumes that the proxy mounts.
pub(super) fn volumes() -> Vec<Value> {
    let field = |path: &str| json!({ "path": path, "fieldRef": { "fieldPath": format!("metadata.{path}") } });
    vec![
        json!({ "name": "istio-envoy", "emptyDir": { "medium": "Memory" } }),
        // The last configuration outlives the proxy, not the pod.
        json!({ "name": "istio-data", "emptyDir": {} }),
        json!({
            "name": "istio-podinfo",
            "downwardAPI": { "items": [field("labels"), field("annotations")] }
        }),
        json!({
            "name": "istio-token",
            "projected": { "sources": [{
                "serviceAccountToken": { "audience": "istio-ca", "expirationSeconds": 43200, "path": "istio-token" }
            }] }
        }),
    ]
}

fn image(template: &Template, settings: &Settings) -> String {
    settings
        .image
        .clone()
        .unwrap_or_else(|| template.proxy_image.clone())
}

fn environment(
    pod: &Value,
    template: &Template,
    settings: &Settings,
    identity: &Identity,
    probers: &Map<String, Value>,
) -> Vec<Value> {
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let text = |name: &str, value: &str| json!({ "name": name, "value": value });
    let mut config = settings.config.clone();
    config
        .entry("discoveryAddress")
        .or_insert_with(|| template.discovery_address.clone().into());
    let containers = pod["spec"]["containers"].as_array();
    let names: Vec<&str> = containers
        .into_iter()
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect();
    let ports: Vec<&Value> = containers
        .into_iter()
        .flatten()
        .filter_map(|container| container["ports"].as_array())
        .flatten()
        .collect();
    let mut list = vec![
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("INSTANCE_IP", "status.podIP"),
        field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        field("HOST_IP", "status.hostIP"),
        field("ISTIO_META_NODE_NAME", "spec.nodeName"),
        text("PROXY_CONFIG", &Value::Object(config.clone()).to_string()),
        text("ISTIO_META_POD_PORTS", &json!(ports).to_string()),
        text("ISTIO_META_APP_CONTAINERS", &names.join(",")),
        text("ISTIO_META_CLUSTER_ID", &template.cluster),
        text("ISTIO_META_INTERCEPTION_MODE", "REDIRECT"),
        text("ISTIO_META_WORKLOAD_NAME", &identity.workload),
        text("ISTIO_META_OWNER", &identity.owner),
        text("ISTIO_META_MESH_ID", &template.trust_domain),
        text("TRUST_DOMAIN", &template.trust_domain),
    ];
    if settings.resources["limits"]["cpu"].is_string() {
        list.push(json!({
            "name": "ISTIO_CPU_LIMIT",
            "valueFrom": { "resourceFieldRef": { "containerName": PROXY, "resource": "limits.cpu" } }
        }));
    }
    if !probers.is_empty() {
        list.push(text(
            "ISTIO_KUBE_APP_PROBERS",
            &Value::Object(probers.clone()).to_string(),
        ));
    }
    if let Some(scraped) = scraped_application(pod, template, settings) {
        list.push(text("ISTIO_PROMETHEUS_ANNOTATIONS", &scraped));
    }
    for (name, value) in config
        .get("proxyMetadata")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        list.push(text(name, &value));
    }
    list
}

/// Where the application serves its own metrics, if it does and they are to be merged.
fn scraped_application(pod: &Value, template: &Template, settings: &Settings) -> Option<String> {
    let annotations = &pod["metadata"]["annotations"];
    let value = |name: &str| {
        annotations[format!("prometheus.io/{name}")]
            .as_str()
            .unwrap_or_default()
    };
    if !template.is_prometheus_merged || !settings.merges_metrics || value("scrape") != "true" {
        return None;
    }
    Some(json!({ "scrape": "true", "port": value("port"), "path": value("path") }).to_string())
}
