//! How lists of built-in types merge in a strategic merge patch. The generated schemas lack these
//! facts; clients read them from the OpenAPI documents, the server from the same place.

use serde_json::{Map, Value};

/// Definition, field, merge key (empty for lists of plain values), whether keys that a patch does
/// not retain are dropped.
type Row = (&'static str, &'static str, &'static str, bool);

const CORE: &str = "io.k8s.api.core.v1.";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

#[rustfmt::skip]
const CORE_ROWS: &[Row] = &[
    ("Container", "env", "name", false),
    ("Container", "ports", "containerPort", false),
    ("Container", "volumeDevices", "devicePath", false),
    ("Container", "volumeMounts", "mountPath", false),
    ("EphemeralContainer", "env", "name", false),
    ("EphemeralContainer", "ports", "containerPort", false),
    ("EphemeralContainer", "volumeDevices", "devicePath", false),
    ("EphemeralContainer", "volumeMounts", "mountPath", false),
    ("NamespaceStatus", "conditions", "type", false),
    ("NodeSpec", "podCIDRs", "", false),
    ("NodeStatus", "addresses", "type", false),
    ("NodeStatus", "conditions", "type", false),
    ("PersistentVolumeClaimStatus", "conditions", "type", false),
    ("PodSpec", "containers", "name", false),
    ("PodSpec", "ephemeralContainers", "name", false),
    ("PodSpec", "hostAliases", "ip", false),
    ("PodSpec", "imagePullSecrets", "name", false),
    ("PodSpec", "initContainers", "name", false),
    ("PodSpec", "resourceClaims", "name", true),
    ("PodSpec", "schedulingGates", "name", false),
    ("PodSpec", "topologySpreadConstraints", "topologyKey", false),
    ("PodSpec", "volumes", "name", true),
    ("PodStatus", "conditions", "type", false),
    ("PodStatus", "hostIPs", "ip", false),
    ("PodStatus", "podIPs", "ip", false),
    ("PodStatus", "resourceClaimStatuses", "name", true),
    ("ReplicationControllerStatus", "conditions", "type", false),
    ("ServiceAccount", "secrets", "name", false),
    ("ServiceSpec", "ports", "port", false),
    ("ServiceStatus", "conditions", "type", false),
];

#[rustfmt::skip]
const META_ROWS: &[Row] = &[
    ("ObjectMeta", "finalizers", "", false),
    ("ObjectMeta", "ownerReferences", "uid", false),
];

#[rustfmt::skip]
const OTHER_ROWS: &[Row] = &[
    ("io.k8s.api.admissionregistration.v1.MutatingWebhook", "matchConditions", "name", false),
    ("io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration", "webhooks", "name", false),
    ("io.k8s.api.admissionregistration.v1.ValidatingWebhook", "matchConditions", "name", false),
    ("io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration", "webhooks", "name", false),
    ("io.k8s.api.apps.v1.DaemonSetStatus", "conditions", "type", false),
    ("io.k8s.api.apps.v1.DeploymentStatus", "conditions", "type", false),
    ("io.k8s.api.apps.v1.ReplicaSetStatus", "conditions", "type", false),
    ("io.k8s.api.apps.v1.StatefulSetStatus", "conditions", "type", false),
    ("io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerStatus", "conditions", "type", false),
    ("io.k8s.api.batch.v1.JobStatus", "conditions", "type", false),
    ("io.k8s.api.policy.v1.PodDisruptionBudgetStatus", "conditions", "type", false),
];

/// Objects whose keys a patch may ask to retain: definition and field.
const RETAINED_OBJECTS: &[(&str, &str)] = &[("io.k8s.api.apps.v1.DeploymentSpec", "strategy")];

/// Writes the facts into the definitions.
pub(super) fn annotate(definitions: &mut Map<String, Value>) {
    for (prefix, rows) in [(CORE, CORE_ROWS), (META, META_ROWS), ("", OTHER_ROWS)] {
        for (definition, field, key, retains) in rows {
            let Some(schema) = property(definitions, &format!("{prefix}{definition}"), field)
            else {
                continue;
            };
            if !key.is_empty() {
                schema.insert("x-kubernetes-patch-merge-key".into(), (*key).into());
            }
            let strategy = if *retains {
                "merge,retainKeys"
            } else {
                "merge"
            };
            schema.insert("x-kubernetes-patch-strategy".into(), strategy.into());
        }
    }
    for (definition, field) in RETAINED_OBJECTS {
        if let Some(schema) = property(definitions, definition, field) {
            schema.insert("x-kubernetes-patch-strategy".into(), "retainKeys".into());
        }
    }
}

fn property<'a>(
    definitions: &'a mut Map<String, Value>,
    definition: &str,
    field: &str,
) -> Option<&'a mut Map<String, Value>> {
    definitions
        .get_mut(definition)?
        .get_mut("properties")?
        .get_mut(field)?
        .as_object_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_names_a_field_that_exists() {
        let definitions = super::super::definitions();
        for (prefix, rows) in [(CORE, CORE_ROWS), (META, META_ROWS), ("", OTHER_ROWS)] {
            for (definition, field, ..) in rows {
                let name = format!("{prefix}{definition}");
                assert!(
                    definitions[&name]["properties"][*field]["x-kubernetes-patch-strategy"]
                        .is_string(),
                    "{name}.{field}"
                );
            }
        }
    }
}
