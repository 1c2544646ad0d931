//! What users may write but this version does not do yet, as data: a path per row, `[]` for every
//! element of a list and `{}` for every value of a map.
//!
//! Work on a field ends with removing its row here.

use serde_json::Value;

use crate::kinds::Kind;

/// Fields of routes.
const VIRTUAL_SERVICE: &[&str] = &["spec.http[].match[].statPrefix"];

/// Fields of a policy, wherever one stands.
const POLICY: &[&str] = &[
    "tunnel",
    "proxyProtocol",
    "retryBudget.budgetInterval",
    "loadBalancer.zoneAwareLbSetting",
    "loadBalancer.backendUtilization",
];

/// Where policies stand.
const POLICY_PLACES: &[&str] = &[
    "spec.trafficPolicy",
    "spec.trafficPolicy.portLevelSettings[]",
    "spec.subsets[].trafficPolicy",
    "spec.subsets[].trafficPolicy.portLevelSettings[]",
];

/// Fields of Sidecars. Hosts of an entry with a port are imported for every port.
const SIDECAR: &[&str] = &[
    "spec.egress[].port",
    "spec.egress[].bind",
    "spec.ingress[].bind",
    "spec.ingress[].tls",
    "spec.outboundTrafficPolicy.egressProxy",
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
                client_tls(object, place, &mut found);
            }
        }
        // What a server's TLS does is decided where the server is lowered.
        "Gateway" => {}
        "ServiceEntry" => {
            for row in SERVICE_ENTRY {
                collect(object, row, String::new(), &mut found);
            }
        }
        "Sidecar" => {
            for row in SIDECAR {
                collect(object, row, String::new(), &mut found);
            }
            for modes in ["spec.egress[].captureMode", "spec.ingress[].captureMode"] {
                visit(object, modes, String::new(), &mut |path, mode| {
                    if mode == "NONE" {
                        found.push(path);
                    }
                });
            }
        }
        // A WorkloadEntry is in effect through the ServiceEntries that select it.
        "WorkloadEntry" => collect(object, "spec.network", String::new(), &mut found),
        _ => found.push("spec".into()),
    }
    found
}

/// Adds the paths of everything in `value` that `pattern` names and that is set.
fn collect(value: &Value, pattern: &str, path: String, found: &mut Vec<String>) {
    visit(value, pattern, path, &mut |path, value| {
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
    });
}

/// Calls `each` with everything in `value` that `pattern` names, and its path.
fn visit(value: &Value, pattern: &str, path: String, each: &mut impl FnMut(String, &Value)) {
    if pattern.is_empty() {
        return each(path, value);
    }
    if let Some(rest) = pattern.strip_prefix("[]") {
        for (index, element) in value.as_array().into_iter().flatten().enumerate() {
            visit(element, rest, format!("{path}[{index}]"), each);
        }
        return;
    }
    let pattern = pattern.strip_prefix('.').unwrap_or(pattern);
    let end = pattern.find(['.', '[']).unwrap_or(pattern.len());
    let (field, rest) = pattern.split_at(end);
    if let Some(child) = value.get(field) {
        let dot = if path.is_empty() { "" } else { "." };
        visit(child, rest, format!("{path}{dot}{field}"), each);
    }
}

/// TLS towards a destination is not made yet; DISABLE is in effect.
fn client_tls(object: &Value, place: &str, found: &mut Vec<String>) {
    let pattern = format!("{place}.tls");
    visit(object, &pattern, String::new(), &mut |path, tls| {
        if tls["mode"].as_str().is_some_and(|mode| mode != "DISABLE") {
            found.push(path);
        }
    });
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
