use super::*;

#[test]
fn the_kind_and_its_version_must_be_known() {
    let of = |version: &str, kind: &str| {
        let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}});
        validate(&object).to_string()
    };
    assert!(
        of("networking.istio.io/v2", "VirtualService").contains("networking.istio.io/v1alpha3")
    );
    assert!(of("networking.istio.io/v1", "VirtualServise").contains("\"VirtualService\""));
    assert!(of("networking.istio.io/v1", "VirtualService").contains("at least one rule"));
    // A policy without a spec denies everything, and a PeerAuthentication says nothing.
    assert_eq!(of("security.istio.io/v1", "AuthorizationPolicy"), "");
    assert_eq!(of("security.istio.io/v1beta1", "PeerAuthentication"), "");
}

#[test]
fn every_unknown_field_and_wrong_type_is_reported_at_once() {
    let report = report(
        "VirtualService",
        "$",
        "{hosts: a, http: [{route: [{destination: {hots: a}, weight: '5'}]}], tpc: []}",
    );
    let texts: Vec<String> = report.errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "spec.hosts: must be a list, but is a string",
            "spec.http[0].route[0].destination.host: is required",
            "spec.http[0].route[0].destination.hots: unknown field; did you mean \"host\"?",
            "spec.http[0].route[0].weight: must be a whole number, but is a string",
            "spec.tpc: unknown field; did you mean \"tcp\"?",
        ]
    );
}

#[test]
fn unknown_fields_beside_the_spec_are_refused_too() {
    let object = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
        "metadata": {"name": "x"}, "spec": {}, "specs": {},
    });
    assert!(validate(&object).errors.iter().any(|p| p.path == "specs"));
}

#[test]
fn null_is_not_a_value() {
    let text =
        "{hosts: [a], http: [{match: [{headers: {x: null}}], route: [{destination: {host: a}}]}]}";
    let report = report("VirtualService", "$", text);
    assert_eq!(report.errors[0].path, "spec.http[0].match[0].headers[x]");
    assert!(report.errors[0].reason.contains("null"));
}

#[test]
fn the_annotation_for_a_dry_run_is_for_allow_and_deny_only() {
    let of = |group: &str, kind: &str, value: &str, spec: Value| {
        let object = json!({
            "apiVersion": format!("{group}/v1"), "kind": kind,
            "metadata": {"name": "x", "annotations": {"istio.io/dry-run": value}}, "spec": spec,
        });
        validate(&object).to_string()
    };
    let policy = |value, spec| of("security.istio.io", "AuthorizationPolicy", value, spec);
    assert_eq!(policy("true", json!({"action": "DENY", "rules": [{}]})), "");
    assert!(policy("maybe", json!({})).contains("neither true nor false"));
    assert!(policy("true", json!({"action": "AUDIT"})).contains("not AUDIT"));
    let gateway = of("networking.istio.io", "Gateway", "true", json!({}));
    assert!(gateway.contains("only for AuthorizationPolicies"));
}

#[test]
fn annotations_of_the_control_plane_are_reserved() {
    let object = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Sidecar",
        "metadata": {"name": "x", "annotations": {"internal.istio.io/parents": "a"}},
        "spec": {"egress": [{"hosts": ["./*"]}]},
    });
    assert!(validate(&object).to_string().contains("reserved"));
}

#[test]
fn what_is_not_in_effect_is_warned_of() {
    let text =
        "{hosts: [a], http: [{match: [{statPrefix: x}], route: [{destination: {host: a}}]}]}";
    let report = report("VirtualService", "$", text);
    assert!(report.is_valid());
    assert_eq!(
        report.warnings[0].to_string(),
        "spec.http[0].match[0].statPrefix: is accepted, but not in effect in this version"
    );
}
