//! The webhooks by which the API server asks the control plane: injection and validation.

use serde_json::{Value, json};

use super::ROOT_NAMESPACE;

pub(super) fn objects() -> Vec<Value> {
    vec![injector(), validator()]
}

/// The four webhooks of Istio's injector for one revision: by the namespace's revision, by the
/// namespace's `istio-injection`, and by the pod's own labels in unlabelled namespaces.
fn injector() -> Value {
    let not_excluded =
        json!([{ "key": "sidecar.istio.io/inject", "operator": "NotIn", "values": ["false"] }]);
    let unlabelled = json!([
        { "key": "istio-injection", "operator": "DoesNotExist" },
        { "key": "istio.io/rev", "operator": "DoesNotExist" }
    ]);
    let webhooks = [
        (
            "rev.namespace",
            json!([
                { "key": "istio.io/rev", "operator": "In", "values": ["default"] },
                { "key": "istio-injection", "operator": "DoesNotExist" }
            ]),
            not_excluded.clone(),
        ),
        (
            "namespace",
            json!([{ "key": "istio-injection", "operator": "In", "values": ["enabled"] }]),
            not_excluded.clone(),
        ),
        (
            "rev.object",
            unlabelled.clone(),
            json!([
                { "key": "sidecar.istio.io/inject", "operator": "NotIn", "values": ["false"] },
                { "key": "istio.io/rev", "operator": "In", "values": ["default"] }
            ]),
        ),
        (
            "object",
            unlabelled,
            json!([
                { "key": "sidecar.istio.io/inject", "operator": "In", "values": ["true"] },
                { "key": "istio.io/rev", "operator": "DoesNotExist" }
            ]),
        ),
    ];
    let webhooks: Vec<Value> = webhooks
        .into_iter()
        .map(|(name, namespaces, objects)| injecting(name, &namespaces, &objects))
        .collect();
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": "istio-sidecar-injector", "labels": { "app": "sidecar-injector", "istio.io/rev": "default" } },
        "webhooks": webhooks
    })
}

fn injecting(name: &str, namespaces: &Value, objects: &Value) -> Value {
    json!({
        "name": format!("{name}.sidecar-injector.istio.io"),
        "admissionReviewVersions": ["v1"],
        "clientConfig": { "service": { "name": "istiod", "namespace": ROOT_NAMESPACE, "path": "/inject", "port": 443 } },
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "reinvocationPolicy": "Never",
        "sideEffects": "None",
        "timeoutSeconds": 10,
        "namespaceSelector": { "matchExpressions": namespaces },
        "objectSelector": { "matchExpressions": objects },
        "rules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"], "scope": "*"
        }]
    })
}

fn validator() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": "istio-validator-istio-system", "labels": { "app": "istiod", "istio": "istiod", "istio.io/rev": "default" } },
        "webhooks": [{
            "name": "rev.validation.istio.io",
            "admissionReviewVersions": ["v1"],
            "clientConfig": { "service": { "name": "istiod", "namespace": ROOT_NAMESPACE, "path": "/validate", "port": 443 } },
            // Ignore until the control plane serves: it sets Fail once it can answer, as istiod does.
            "failurePolicy": "Ignore",
            "matchPolicy": "Equivalent",
            "sideEffects": "None",
            "timeoutSeconds": 10,
            "rules": [{
                "apiGroups": ["security.istio.io", "networking.istio.io", "telemetry.istio.io", "extensions.istio.io"],
                "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["*"], "scope": "*"
            }]
        }]
    })
}
