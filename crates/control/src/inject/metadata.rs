//! What injection says in a pod's labels and annotations, and what it takes from them.

use lateen_api::workload::{self, Owner, Pod};
use lateen_model::Labels;
use serde_json::{Map, Value, json};

use super::annotations::Settings;
use super::{INIT, PROXY, STATUS, Template};

/// Who the pod's workload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// The namespace.
    pub(super) namespace: String,
    /// The name of the workload above the pod.
    pub(super) workload: String,
    /// Istio's reference to that workload.
    pub(super) owner: String,
    /// The canonical service.
    pub(super) canonical_name: String,
    /// The canonical revision.
    pub(super) canonical_revision: String,
}

// === impl Identity ===

impl Identity {
    /// Reads a pod, which has no name yet if a controller made it.
    pub(super) fn of(pod: &Value, namespace: &str) -> Self {
        let metadata = &pod["metadata"];
        let labels = metadata["labels"].as_object().into_iter().flatten();
        let labels: Labels = labels
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect();
        let owners = metadata["ownerReferences"].as_array();
        let controller =
            owners.and_then(|owners| owners.iter().find(|owner| owner["controller"] == true));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut name = text(&metadata["name"]);
        if name.is_empty() {
            text(&metadata["generateName"])
                .trim_end_matches('-')
                .clone_into(&mut name);
        }
        let described = Pod {
            name,
            namespace: namespace.to_owned(),
            labels: labels.clone(),
            controller: controller.map(|owner| Owner {
                kind: text(&owner["kind"]),
                name: text(&owner["name"]),
            }),
            ..Pod::default()
        };
        let workload = workload::name(&described);
        let (api, kind) = match controller {
            Some(owner) if owner["kind"] == "ReplicaSet" => {
                ("apis/apps/v1".to_owned(), "deployments".to_owned())
            }
            Some(owner) => (
                api_path(&owner["apiVersion"]),
                format!("{}s", text(&owner["kind"]).to_lowercase()),
            ),
            None => ("api/v1".to_owned(), "pods".to_owned()),
        };
        Self {
            owner: format!("kubernetes://{api}/namespaces/{namespace}/{kind}/{workload}"),
            canonical_name: workload::canonical_name(&labels, &workload),
            canonical_revision: workload::canonical_revision(&labels),
            namespace: namespace.to_owned(),
            workload,
        }
    }
}

fn api_path(api_version: &Value) -> String {
    match api_version.as_str().unwrap_or("v1") {
        core if !core.contains('/') => format!("api/{core}"),
        group => format!("apis/{group}"),
    }
}

/// Marks a pod as injected.
pub(super) fn mark(pod: &mut Value, template: &Template, settings: &Settings, identity: &Identity) {
    let container = pod["spec"]["containers"][0]["name"].clone();
    let labels = entries(pod, "labels");
    let mut default = |key: &str, value: &str| {
        labels.entry(key).or_insert_with(|| value.into());
    };
    default("security.istio.io/tlsMode", "istio");
    default("service.istio.io/canonical-name", &identity.canonical_name);
    default(
        "service.istio.io/canonical-revision",
        &identity.canonical_revision,
    );
    let annotations = entries(pod, "annotations");
    if template.is_prometheus_merged && settings.merges_metrics {
        // What the application had goes to the proxy, which serves both (see `container::proxy`).
        annotations.insert("prometheus.io/scrape".into(), "true".into());
        annotations.insert(
            "prometheus.io/port".into(),
            settings.status_port.to_string().into(),
        );
        annotations.insert("prometheus.io/path".into(), "/stats/prometheus".into());
    }
    for key in [
        "kubectl.kubernetes.io/default-container",
        "kubectl.kubernetes.io/default-logs-container",
    ] {
        if !annotations.contains_key(key) && container.is_string() {
            annotations.insert(key.into(), container.clone());
        }
    }
    annotations.insert("istio.io/rev".into(), template.revision.clone().into());
    let volumes: Vec<Value> = super::container::volumes()
        .iter()
        .map(|volume| volume["name"].clone())
        .collect();
    let status = json!({
        "initContainers": [INIT, PROXY],
        "containers": null,
        "volumes": volumes,
        "imagePullSecrets": null,
        "revision": template.revision
    });
    annotations.insert(STATUS.into(), status.to_string().into());
}

fn entries<'a>(pod: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    let entry = &mut pod["metadata"][field];
    if !entry.is_object() {
        *entry = json!({});
    }
    entry
        .as_object_mut()
        .expect("it was made an object just now")
}
