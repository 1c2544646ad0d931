//! The control plane: ConfigMap `istio`, Deployment and Service `istiod`.

use serde_json::{Value, json};

use super::{ROOT_NAMESPACE, Values};

pub(super) fn objects(values: &Values) -> Vec<Value> {
    vec![
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": "istio", "namespace": ROOT_NAMESPACE, "labels": { "istio.io/rev": "default" } },
            "data": { "mesh": values.mesh_config, "meshNetworks": "networks: {}" }
        }),
        service(),
        deployment(values),
    ]
}

fn service() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "istiod",
            "namespace": ROOT_NAMESPACE,
            "labels": { "app": "istiod", "istio": "pilot", "istio.io/rev": "default" }
        },
        "spec": {
            "selector": { "app": "istiod", "istio": "pilot" },
            "ports": [
                { "name": "grpc-xds", "port": 15010, "protocol": "TCP" },
                { "name": "https-dns", "port": 15012, "protocol": "TCP" },
                { "name": "https-webhook", "port": 443, "targetPort": 15017, "protocol": "TCP" },
                { "name": "http-debug", "port": 8080, "protocol": "TCP" },
                { "name": "http-monitoring", "port": 15014, "protocol": "TCP" }
            ]
        }
    })
}

fn deployment(values: &Values) -> Value {
    let labels = json!({
        "app": "istiod",
        "istio": "pilot",
        "istio.io/rev": "default",
        "sidecar.istio.io/inject": "false"
    });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "istiod",
            "namespace": ROOT_NAMESPACE,
            "labels": { "app": "istiod", "istio": "pilot", "istio.io/rev": "default" }
        },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": "istiod", "istio": "pilot" } },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "100%", "maxUnavailable": "25%" } },
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": { "prometheus.io/port": "15014", "prometheus.io/scrape": "true" }
                },
                "spec": { "serviceAccountName": "istiod", "containers": [container(values)] }
            }
        }
    })
}

fn container(values: &Values) -> Value {
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    json!({
        "name": "discovery",
        "image": values.image("lateen"),
        "imagePullPolicy": "IfNotPresent",
        "args": ["control", "--proxy-image", values.image("lateen-proxy")],
        "env": [
            field("POD_NAME", "metadata.name"),
            field("POD_NAMESPACE", "metadata.namespace"),
            field("SERVICE_ACCOUNT", "spec.serviceAccountName")
        ],
        "ports": [
            { "name": "http-debug", "containerPort": 8080 },
            { "name": "grpc-xds", "containerPort": 15010 },
            { "name": "tls-xds", "containerPort": 15012 },
            { "name": "monitoring", "containerPort": 15014 },
            { "name": "webhook", "containerPort": 15017 }
        ],
        "readinessProbe": {
            "httpGet": { "path": "/ready", "port": 8080 },
            "periodSeconds": 1,
            "timeoutSeconds": 5
        },
        "resources": { "requests": { "cpu": "100m", "memory": "64Mi" } },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "runAsUser": 1337,
            "runAsGroup": 1337
        }
    })
}
