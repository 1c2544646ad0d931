//! What users may write but this version does not do yet, as data: a path per row, `[]` for every
//! element of a list and `{}` for every value of a map.
//!
//! Work on a field ends with removing its row here.

use serde_json::Value;

use crate::kinds::Kind;

/// Fields of routes.
const VIRTUAL_SERVICE: &[&str] = &[
    "spec.http[].redirect",
    "spec.http[].directResponse",
    "spec.http[].delegate",
    "spec.http[].rewrite",
    "spec.http[].timeout",
    "spec.http[].retries",
    "spec.http[].fault",
    "spec.http[].mirror",
    "spec.http[].mirrors",
    "spec.http[].corsPolicy",
    "spec.http[].headers",
    "spec.http[].route[].headers",
    "spec.http[].match[].statPrefix",
];

/// Fields of a policy, wherever one stands.
const POLICY: &[&str] = &[
    "connectionPool",
    "outlierDetection",
    "tls",
    "tunnel",
    "proxyProtocol",
    "retryBudget",
    "loadBalancer.consistentHash",
    "loadBalancer.localityLbSetting",
    "loadBalancer.zoneAwareLbSetting",
    "loadBalancer.warmup",
    "loadBalancer.warmupDurationSecs",
    "loadBalancer.backendUtilization",
];

/// Where policies stand.
const POLICY_PLACES: &[&str] = &[
    "spec.trafficPolicy",
    "spec.trafficPolicy.portLevelSettings[]",
    "spec.subsets[].trafficPolicy",
    "spec.subsets[].trafficPolicy.portLevelSettings[]",
];

const SERVICE_ENTRY: &[&str] = &["spec.subjectAltNames", "spec.endpoints[].network"];

/// The fields of `object` that are set, but not in effect in this version.
pub(crate) fn fields(kind: &Kind, object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match kind.kind {
        "VirtualService" => {
            for row in VIRTUAL_SERVICE {
                collect(object, row, String::new(), &mut found);
            }
            claims(object, &mut found);
        }
        "DestinationRule" => {
            for place in POLICY_PLACES {
                for field in POLICY {
                    collect(
                        object,
                        &format!("{place}.{field}"),
                        String::new(),
                        &mut found,
                    );
                }
            }
        }
        // What a server's TLS does is decided where the server is lowered.
        "Gateway" => {}
        "ServiceEntry" => {
            for row in SERVICE_ENTRY {
                collect(object, row, String::new(), &mut found);
            }
            if object["spec"]["resolution"] == "DYNAMIC_DNS" {
                found.push("spec.resolution".into());
            }
        }
        // A WorkloadEntry is in effect through the ServiceEntries that select it.
        "WorkloadEntry" => collect(object, "spec.network", String::new(), &mut found),
        _ => found.push("spec".into()),
    }
    found
}

/// Adds the paths of everything in `value` that `pattern` names.
fn collect(value: &Value, pattern: &str, path: String, found: &mut Vec<String>) {
    if pattern.is_empty() {
        // Zero values are what is in effect anyway.
        let is_set = match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            _ => true,
        };
        if is_set {
            found.push(path);
        }
        return;
    }
    if let Some(rest) = pattern.strip_prefix("[]") {
        for (index, element) in value.as_array().into_iter().flatten().enumerate() {
            collect(element, rest, format!("{path}[{index}]"), found);
        }
        return;
    }
    let pattern = pattern.strip_prefix('.').unwrap_or(pattern);
    let end = pattern.find(['.', '[']).unwrap_or(pattern.len());
    let (field, rest) = pattern.split_at(end);
    if let Some(child) = value.get(field) {
        let dot = if path.is_empty() { "" } else { "." };
        collect(child, rest, format!("{path}{dot}{field}"), found);
    }
}

/// Conditions on claims of a token, which are written as headers.
fn claims(object: &Value, found: &mut Vec<String>) {
    for (i, rule) in object["spec"]["http"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        for (j, block) in rule["match"].as_array().into_iter().flatten().enumerate() {
            for field in ["headers", "withoutHeaders"] {
                let keys = block[field]
                    .as_object()
                    .into_iter()
                    .flat_map(|map| map.keys());
                for key in keys.filter(|key| key.starts_with('@')) {
                    found.push(format!("spec.http[{i}].match[{j}].{field}[{key}]"));
                }
            }
        }
    }
}
