//! CustomResourceDefinitions of every kind, generated from the types of [`crate::spec`].

use serde_json::{Value, json};

use crate::kinds::{KINDS, Kind};

/// The CRDs (`apiextensions.k8s.io/v1`) of every kind of Istio's API, ready to be applied.
pub fn crds() -> Vec<Value> {
    KINDS.iter().map(crd).collect()
}

/// The CRD of one kind.
pub fn crd(kind: &'static Kind) -> Value {
    let versions: Vec<Value> = kind
        .versions
        .iter()
        .map(|name| version(kind, name))
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": kind.crd_name(),
            "labels": {"app": "istio-pilot", "istio": kind.group_label()},
        },
        "spec": {
            "group": kind.group,
            "names": {
                "categories": kind.categories(),
                "kind": kind.kind,
                "listKind": format!("{}List", kind.kind),
                "plural": kind.plural,
                "shortNames": kind.short_names,
                "singular": kind.singular,
            },
            "scope": "Namespaced",
            "versions": versions,
        },
    })
}

fn version(kind: &'static Kind, name: &str) -> Value {
    let columns: Vec<Value> = kind
        .columns
        .iter()
        .map(|column| {
            json!({
                "name": column.name,
                "type": column.kind,
                "jsonPath": column.json_path,
                "description": column.description,
            })
        })
        .collect();
    json!({
        "name": name,
        "served": true,
        "storage": name == kind.storage_version(),
        "additionalPrinterColumns": columns,
        "subresources": {"status": {}},
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "properties": {
                    "spec": kind.spec_schema(),
                    "status": status(kind),
                },
            },
        },
    })
}

/// The schema of `status`, the same for every kind but for a ServiceEntry's addresses.
fn status(kind: &Kind) -> Value {
    let text = json!({"type": "string"});
    let time = json!({"type": "string", "format": "date-time"});
    let generation = json!({"type": "integer", "format": "int64"});
    let mut status = json!({
        "type": "object",
        "description": "What the control plane says about the object.",
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "conditions": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "type": text, "status": text, "reason": text, "message": text,
                        "lastProbeTime": time, "lastTransitionTime": time,
                        "observedGeneration": generation,
                    },
                },
            },
            "validationMessages": {
                "type": "array",
                "items": {
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {
                        "documentationUrl": text,
                        "level": {"type": "string", "enum": ["UNKNOWN", "ERROR", "WARNING", "INFO"]},
                        "type": {"type": "object", "properties": {"code": text, "name": text}},
                    },
                },
            },
            "observedGeneration": generation,
        },
    });
    if kind.kind == "ServiceEntry" {
        status["properties"]["addresses"] = json!({
            "type": "array",
            "items": {"type": "object", "properties": {"value": text, "host": text}},
        });
    }
    status
}

#[cfg(test)]
mod tests;
