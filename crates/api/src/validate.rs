//! Validation: whether an object means something, with every reason why not.
//!
//! Two passes: its shape against the schema of its kind (unknown fields, types, enums), then, if
//! that holds, the rules of its kind over the typed spec. The webhook refuses what has errors,
//! `lower` refuses it again, and `analyze` prints the same texts.

mod connection_pool;
mod destination_rule;
mod extension;
mod gateway;
mod header;
mod http_action;
mod http_match;
mod load_balancer;
mod names;
mod overlap;
mod policy;
mod service_entry;
mod sidecar;
mod tls;
mod unreachable;
mod virtual_service;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::kinds::{KINDS, Kind};
use crate::lower::unsupported;
use crate::object::Object;
use crate::problem::{Path, Report, closest};
use crate::{schema, spec};

pub(crate) use destination_rule::status_range;
pub(crate) use http_action::{GRPC_STATUS, retries};
pub(crate) use load_balancer::{MAX_RING, locality_setting};
pub(crate) use names::{gateway_name, subnet};
pub(crate) use service_entry::address_missing;
pub(crate) use unreachable::unreachable;

/// Checks an object of Istio's API as the webhook does: errors refuse it, warnings say what is
/// accepted but unreachable, deprecated, or not in effect in this version.
pub fn validate(object: &Value) -> Report {
    let object = Object(object);
    let mut report = check(object);
    let Some(kind) = object.istio_kind() else {
        return report;
    };
    if report.is_valid() {
        report.warnings.extend(
            unreachable(object)
                .into_iter()
                .map(|finding| finding.problem),
        );
        report.warnings.extend(address_missing(object));
        for path in unsupported::fields(kind, object.0) {
            report.warn(&Path::Root(&path), NOT_IN_EFFECT);
        }
    }
    report
}

/// What is said of a field that is accepted, but does nothing yet.
pub(crate) const NOT_IN_EFFECT: &str = "is accepted, but not in effect in this version";

/// Checks an object, without the warnings that have codes of their own.
pub(crate) fn check(object: Object<'_>) -> Report {
    let mut report = Report::default();
    let Some(kind) = known_kind(object, &mut report) else {
        return report;
    };
    annotations(object, kind, &mut report);
    let spec = object.spec();
    top_level_fields(object, &mut report);
    schema::check(spec, kind.spec_schema(), &Path::Root("spec"), &mut report);
    if report.is_valid() {
        meaning(object, kind, &mut report);
    }
    report
}

/// The kind of the object, or an error that says which kinds there are.
fn known_kind(object: Object<'_>, report: &mut Report) -> Option<&'static Kind> {
    if let Some(kind) = object.istio_kind() {
        return Some(kind);
    }
    let (version, name) = (object.api_version(), object.kind());
    if let Some(kind) = KINDS.iter().find(|kind| kind.kind == name) {
        let list: Vec<String> = kind
            .versions
            .iter()
            .map(|v| format!("{}/{v}", kind.group))
            .collect();
        let list = list.join(", ");
        report.error(
            &Path::Root("apiVersion"),
            format!("{version:?} is not a version of {name}; use one of {list}"),
        );
    } else {
        let hint = closest(name, KINDS.iter().map(|kind| kind.kind))
            .map(|meant| format!("; did you mean {meant:?}?"))
            .unwrap_or_default();
        report.error(
            &Path::Root("kind"),
            format!("{name:?} of {version:?} is not a kind of the mesh{hint}"),
        );
    }
    None
}

fn top_level_fields(object: Object<'_>, report: &mut Report) {
    const KNOWN: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    for name in object.0.as_object().into_iter().flat_map(|map| map.keys()) {
        if !KNOWN.contains(&name.as_str()) {
            report.error(
                &Path::Root(name),
                schema::unknown_field(name, KNOWN.into_iter()),
            );
        }
    }
}

/// Annotations that only some kinds may carry, or none.
fn annotations(object: Object<'_>, kind: &Kind, report: &mut Report) {
    let metadata = Path::Root("metadata");
    let annotations = metadata.field("annotations");
    for key in object.annotations().keys() {
        if key.starts_with("internal.istio.io/") {
            report.error(&annotations.key(key), "is reserved for the control plane");
        }
    }
    let Some(value) = object.annotation("istio.io/dry-run") else {
        return;
    };
    let path = annotations.key("istio.io/dry-run");
    let action = object.spec()["action"].as_str().unwrap_or("ALLOW");
    if kind.kind != "AuthorizationPolicy" {
        report.error(&path, "is only for AuthorizationPolicies");
    } else if !matches!(action, "ALLOW" | "DENY") {
        report.error(
            &path,
            format!("is only for the actions ALLOW and DENY, not {action}"),
        );
    }
    if !matches!(
        value,
        "1" | "t" | "T" | "TRUE" | "true" | "True" | "0" | "f" | "F" | "FALSE" | "false" | "False"
    ) {
        report.error(&path, format!("{value:?} is neither true nor false"));
    }
}

/// The rules of the object's kind.
fn meaning(object: Object<'_>, kind: &Kind, report: &mut Report) {
    match kind.kind {
        "VirtualService" => with(object, report, virtual_service::check),
        "DestinationRule" => with(object, report, destination_rule::check),
        "Gateway" => with(object, report, gateway::check),
        "ServiceEntry" => with(object, report, service_entry::check),
        "WorkloadEntry" => with(object, report, service_entry::check_workload_entry),
        "WorkloadGroup" => with(object, report, service_entry::check_workload_group),
        "Sidecar" => with(object, report, sidecar::check),
        "AuthorizationPolicy" => with(object, report, policy::check_authorization),
        "PeerAuthentication" => with(object, report, policy::check_peer_authentication),
        "RequestAuthentication" => with(object, report, policy::check_request_authentication),
        "Telemetry" => with(object, report, extension::check_telemetry),
        "WasmPlugin" => with(object, report, extension::check_wasm_plugin),
        "TrafficExtension" => with(object, report, extension::check_traffic_extension),
        "EnvoyFilter" => with(object, report, extension::check_envoy_filter),
        // Its schema says everything.
        _ => with(
            object,
            report,
            |_: &spec::proxy_config::ProxyConfig, _, _| {},
        ),
    }
}

/// Reads the typed spec and applies the rules to it.
fn with<T: DeserializeOwned>(
    object: Object<'_>,
    report: &mut Report,
    rules: impl FnOnce(&T, Object<'_>, &mut Report),
) {
    match T::deserialize(object.spec()) {
        Ok(spec) => rules(&spec, object, report),
        Err(error) => report.error(&Path::Root("spec"), error.to_string()),
    }
}

#[cfg(test)]
mod tests;
