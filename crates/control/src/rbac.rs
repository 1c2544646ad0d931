//! What the control plane needs to be allowed, so that the manifests say exactly that.

use serde_json::{Value, json};

/// The rules of its ClusterRole.
pub fn rules() -> Value {
    let watch = ["get", "list", "watch"];
    json!([
        {
            "apiGroups": [""],
            "resources": ["services", "pods", "nodes", "namespaces"],
            "verbs": watch
        },
        {
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": watch
        },
        {
            "apiGroups": [
                "networking.istio.io", "security.istio.io", "telemetry.istio.io",
                "extensions.istio.io"
            ],
            "resources": ["*"],
            "verbs": watch
        },
        // Only `status`: what users wrote is theirs.
        {
            "apiGroups": [
                "networking.istio.io", "security.istio.io", "telemetry.istio.io",
                "extensions.istio.io"
            ],
            "resources": ["*/status"],
            "verbs": ["patch"]
        },
        // Who a proxy is, and whether it may have Secrets.
        {
            "apiGroups": ["authentication.k8s.io"],
            "resources": ["tokenreviews"],
            "verbs": ["create"]
        },
        {
            "apiGroups": ["authorization.k8s.io"],
            "resources": ["subjectaccessreviews"],
            "verbs": ["create"]
        },
        // Certificates of gateways, in any namespace; only those that are asked for are read.
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "verbs": watch
        },
        // The root certificate in every namespace. A name cannot limit `create`.
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "verbs": ["create"]
        },
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": [crate::ROOT_CONFIG_MAP],
            "verbs": ["get", "list", "watch", "patch"]
        },
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
            "verbs": ["get", "list", "watch", "patch"]
        }
    ])
}

/// The rules of its Role in its own namespace.
pub fn namespaced_rules() -> Value {
    json!([
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "verbs": ["get", "list", "watch"]
        },
        // The certificate authority. A name cannot limit `create`.
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "verbs": ["create"]
        },
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": [crate::CA_SECRET],
            "verbs": ["get", "list", "watch", "update"]
        }
    ])
}
