//! The ingress gateway: Deployment and Service `istio-ingressgateway`.

use serde_json::{Value, json};

use super::{ROOT_NAMESPACE, Values};

const NAME: &str = "istio-ingressgateway";

pub(super) fn objects(values: &Values) -> Vec<Value> {
    vec![service(), deployment(values)]
}

fn service() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": NAME,
            "namespace": ROOT_NAMESPACE,
            "labels": { "app": NAME, "istio": "ingressgateway", "istio.io/rev": "default" }
        },
        "spec": {
            "type": "LoadBalancer",
            "selector": { "app": NAME, "istio": "ingressgateway" },
            "ports": [
                { "name": "status-port", "port": 15021, "targetPort": 15021, "protocol": "TCP" },
                { "name": "http2", "port": 80, "targetPort": 8080, "protocol": "TCP" },
                { "name": "https", "port": 443, "targetPort": 8443, "protocol": "TCP" }
            ]
        }
    })
}

fn deployment(values: &Values) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": NAME,
            "namespace": ROOT_NAMESPACE,
            "labels": { "app": NAME, "istio": "ingressgateway", "istio.io/rev": "default" }
        },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": NAME, "istio": "ingressgateway" } },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "100%", "maxUnavailable": "25%" } },
            "template": {
                "metadata": {
                    "labels": {
                        "app": NAME,
                        "istio": "ingressgateway",
                        "istio.io/rev": "default",
                        "service.istio.io/canonical-name": NAME,
                        "service.istio.io/canonical-revision": "latest",
                        "sidecar.istio.io/inject": "false"
                    },
                    "annotations": {
                        "prometheus.io/path": "/stats/prometheus",
                        "prometheus.io/port": "15020",
                        "prometheus.io/scrape": "true"
                    }
                },
                "spec": {
                    "serviceAccountName": "istio-ingressgateway-service-account",
                    "containers": [container(values)],
                    "volumes": volumes()
                }
            }
        }
    })
}

fn container(values: &Values) -> Value {
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    json!({
        "name": "istio-proxy",
        "image": values.image("lateen-proxy"),
        "imagePullPolicy": "IfNotPresent",
        "args": ["gateway"],
        "env": [
            field("POD_NAME", "metadata.name"),
            field("POD_NAMESPACE", "metadata.namespace"),
            field("INSTANCE_IP", "status.podIP"),
            field("HOST_IP", "status.hostIP"),
            field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
            field("ISTIO_META_NODE_NAME", "spec.nodeName"),
            { "name": "ISTIO_META_WORKLOAD_NAME", "value": NAME },
            { "name": "ISTIO_META_CLUSTER_ID", "value": "Kubernetes" }
        ],
        "ports": [
            { "name": "status-port", "containerPort": 15021 },
            { "name": "http", "containerPort": 8080 },
            { "name": "https", "containerPort": 8443 },
            { "name": "http-envoy-prom", "containerPort": 15090 }
        ],
        "startupProbe": {
            "httpGet": { "path": "/healthz/ready", "port": 15021 },
            "failureThreshold": 600,
            "periodSeconds": 1,
            "timeoutSeconds": 1
        },
        "readinessProbe": {
            "httpGet": { "path": "/healthz/ready", "port": 15021 },
            "failureThreshold": 4,
            "periodSeconds": 15,
            "timeoutSeconds": 3
        },
        "lifecycle": { "preStop": { "exec": { "command": ["lateen-proxy", "drain"] } } },
        "resources": { "requests": { "cpu": "100m", "memory": "32Mi" } },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "runAsUser": 1337,
            "runAsGroup": 1337
        },
        "volumeMounts": [
            { "name": "istio-data", "mountPath": "/var/lib/istio/data" },
            { "name": "istio-token", "mountPath": "/var/run/secrets/tokens", "readOnly": true },
            { "name": "istiod-ca-cert", "mountPath": "/var/run/secrets/istio" }
        ]
    })
}

/// What the proxy has of its own, and what it needs to know the control plane and to be known.
fn volumes() -> Value {
    let token =
        json!({ "path": "istio-token", "audience": "istio-ca", "expirationSeconds": 43200 });
    json!([
        { "name": "istio-data", "emptyDir": {} },
        { "name": "istio-token", "projected": { "sources": [{ "serviceAccountToken": token }] } },
        { "name": "istiod-ca-cert", "configMap": { "name": lateen_control::ROOT_CONFIG_MAP } }
    ])
}
