//! What every cluster has from its first moment: namespaces, its own service, priority classes.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::object;
use super::server::Core;
use super::store::{Key, Refusal};

/// Makes what is missing; what users have changed stays as it is.
pub(crate) fn run(core: &Core) -> Result<(), Refusal> {
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        ensure(
            core,
            "namespaces",
            json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            }),
        )?;
    }
    for (name, value) in [
        ("system-node-critical", 2_000_001_000),
        ("system-cluster-critical", 2_000_000_000),
    ] {
        ensure(
            core,
            "priorityclasses.scheduling.k8s.io",
            json!({
                "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
                "metadata": {"name": name, "generation": 1},
                "value": value,
                "preemptionPolicy": "PreemptLowerPriority",
            }),
        )?;
    }
    ensure(
        core,
        "clusterroles.rbac.authorization.k8s.io",
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "cluster-admin",
                "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
            "rules": [
                {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
                {"nonResourceURLs": ["*"], "verbs": ["*"]},
            ],
        }),
    )?;
    own_service(core)
}

/// The service by which pods reach this server.
fn own_service(core: &Core) -> Result<(), Refusal> {
    let first = Ipv4Addr::from(u32::from(core.options.service_range.0) | 1).to_string();
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let advertise = core.options.advertise;
    let metadata = json!({"name": "kubernetes", "namespace": "default", "labels": labels});
    ensure(
        core,
        "services",
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": metadata,
            "spec": {
                "clusterIP": first, "clusterIPs": [first],
                "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
                "internalTrafficPolicy": "Cluster", "sessionAffinity": "None", "type": "ClusterIP",
                "ports": [{"name": "https", "port": 443, "protocol": "TCP",
                    "targetPort": advertise.port()}],
            },
            "status": {"loadBalancer": {}},
        }),
    )?;
    // Where the server is may differ from the last time.
    let port = json!({"name": "https", "port": advertise.port(), "protocol": "TCP"});
    put(
        core,
        "endpoints",
        json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {"name": "kubernetes", "namespace": "default",
                "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
            "subsets": [{"addresses": [{"ip": advertise.ip()}], "ports": [port]}],
        }),
    )?;
    put(
        core,
        "endpointslices.discovery.k8s.io",
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "kubernetes", "namespace": "default", "generation": 1,
                "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": if advertise.is_ipv4() { "IPv4" } else { "IPv6" },
            "endpoints": [{"addresses": [advertise.ip()], "conditions": {"ready": true}}],
            "ports": [port],
        }),
    )
}

fn ensure(core: &Core, table: &str, mut value: Value) -> Result<(), Refusal> {
    let metadata = object::metadata(&mut value);
    metadata.insert("uid".into(), object::new_uid().into());
    metadata.insert("creationTimestamp".into(), object::now().into());
    match core.store.insert(table, value) {
        Ok(_) | Err(Refusal::Exists) => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

/// As [`ensure`], but what is there is replaced, under its old identity.
fn put(core: &Core, table: &str, mut value: Value) -> Result<(), Refusal> {
    let Some(stored) = core.store.get(table, &Key::of(&value)) else {
        return ensure(core, table, value);
    };
    value["metadata"] = stored["metadata"].clone();
    if value == *stored {
        return Ok(());
    }
    core.store
        .replace(table, object::revision(&stored), value)
        .map(drop)
}
