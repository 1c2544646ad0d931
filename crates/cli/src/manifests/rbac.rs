//! What the control plane and the gateway may do in the Kubernetes API.

use serde_json::{Value, json};

use super::ROOT_NAMESPACE;

/// The Role by which the gateway may have Secrets; Istio's name.
const GATEWAY_ROLE: &str = "istio-ingressgateway-sds";

pub(super) fn objects() -> Vec<Value> {
    vec![
        service_account("istiod"),
        service_account("istio-ingressgateway-service-account"),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": { "name": "istiod-clusterrole-istio-system", "labels": { "app": "istiod" } },
            "rules": lateen_control::rbac::rules()
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": "istiod-clusterrole-istio-system", "labels": { "app": "istiod" } },
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "istiod-clusterrole-istio-system"
            },
            "subjects": [{ "kind": "ServiceAccount", "name": "istiod", "namespace": ROOT_NAMESPACE }]
        }),
        // The key of the mesh's authority lives in a Secret beside the control plane only.
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": { "name": "istiod", "namespace": ROOT_NAMESPACE, "labels": { "app": "istiod" } },
            "rules": lateen_control::rbac::namespaced_rules()
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": { "name": "istiod", "namespace": ROOT_NAMESPACE, "labels": { "app": "istiod" } },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "istiod" },
            "subjects": [{ "kind": "ServiceAccount", "name": "istiod", "namespace": ROOT_NAMESPACE }]
        }),
        // The gateway is given certificates only if it might read them itself.
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": { "name": GATEWAY_ROLE, "namespace": ROOT_NAMESPACE },
            "rules": [
                { "apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "watch", "list"] }
            ]
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": { "name": GATEWAY_ROLE, "namespace": ROOT_NAMESPACE },
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": GATEWAY_ROLE
            },
            "subjects": [{
                "kind": "ServiceAccount",
                "name": "istio-ingressgateway-service-account",
                "namespace": ROOT_NAMESPACE
            }]
        }),
    ]
}

fn service_account(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": name, "namespace": ROOT_NAMESPACE }
    })
}
