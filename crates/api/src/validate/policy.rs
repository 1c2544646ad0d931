//! Rules of the kinds of security: who may call whom, and how that is known.

use super::{header, names};
use crate::object::Object;
use crate::problem::{Path, Report};
use crate::spec::common::{MatchLabels, TargetRef};
use crate::spec::security::{
    AuthorizationAction, AuthorizationPolicy, AuthorizationRule, AuthorizationSource, Condition,
    JwtRule, PeerAuthentication, RequestAuthentication,
};

/// What a policy may be attached to.
const TARGETS: [(&str, &str); 4] = [
    ("", "Service"),
    ("networking.istio.io", "ServiceEntry"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
];

/// Attributes that conditions may ask for; those that end in `[` take a key.
const CONDITION_KEYS: [&str; 16] = [
    "request.headers[",
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.principal",
    "source.serviceAccount",
    "source.trustDomain",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "request.auth.claims[",
    "destination.ip",
    "destination.port",
    "connection.sni",
    "experimental.envoy.filters.",
    "filter_state[",
];

/// Checks what a policy is for: a selector, or objects that it is attached to.
pub(super) fn target(
    selector: Option<&MatchLabels>,
    single: Option<&TargetRef>,
    list: &[TargetRef],
    report: &mut Report,
) {
    let root = Path::Root("spec");
    let set = [selector.is_some(), single.is_some(), !list.is_empty()];
    if set.into_iter().filter(|is_set| *is_set).count() > 1 {
        report.error(&root, "set only one of selector, targetRef and targetRefs");
    }
    if let Some(selector) = selector {
        let path = root.field("selector.matchLabels");
        names::selector(&selector.match_labels, &path, report);
    }
    if let Some(single) = single {
        target_ref(single, &root.field("targetRef"), report);
    }
    let path = root.field("targetRefs");
    for (index, entry) in list.iter().enumerate() {
        target_ref(entry, &path.index(index), report);
    }
}

fn target_ref(target: &TargetRef, path: &Path<'_>, report: &mut Report) {
    if !target.namespace.is_empty() {
        report.error(
            &path.field("namespace"),
            "objects of other namespaces cannot be attached to",
        );
    }
    let group = if target.group == "core" {
        ""
    } else {
        target.group.as_str()
    };
    if !TARGETS.contains(&(group, target.kind.as_str())) {
        report.error(
            &path.field("kind"),
            format!(
                "{:?} of group {group:?} cannot be attached to; use Service, ServiceEntry, Gateway or GatewayClass",
                target.kind
            ),
        );
    }
}

/// Checks a PeerAuthentication.
pub(super) fn check_peer_authentication(
    spec: &PeerAuthentication,
    _: Object<'_>,
    report: &mut Report,
) {
    target(spec.selector.as_ref(), None, &[], report);
    let root = Path::Root("spec");
    let ports = root.field("portLevelMtls");
    let has_labels = spec
        .selector
        .as_ref()
        .is_some_and(|s| !s.match_labels.is_empty());
    if !spec.port_level_mtls.is_empty() && !has_labels {
        report.error(&ports, "needs a selector: ports are those of workloads");
    }
    for key in spec.port_level_mtls.keys() {
        let number = key
            .parse()
            .map_err(|_| format!("{key:?} is not the number of a port"));
        report.check(&ports.key(key), number.and_then(names::port));
    }
}

/// Checks a RequestAuthentication.
pub(super) fn check_request_authentication(
    spec: &RequestAuthentication,
    _: Object<'_>,
    report: &mut Report,
) {
    target(
        spec.selector.as_ref(),
        spec.target_ref.as_ref(),
        &spec.target_refs,
        report,
    );
    let root = Path::Root("spec");
    let rules = root.field("jwtRules");
    for (index, rule) in spec.jwt_rules.iter().enumerate() {
        jwt_rule(rule, &rules.index(index), report);
    }
}

fn jwt_rule(rule: &JwtRule, path: &Path<'_>, report: &mut Report) {
    let uri = rule.jwks_uri.as_deref().or(rule.jwks_uri_snake.as_deref());
    let has_issuer = rule
        .issuer
        .as_deref()
        .is_some_and(|issuer| !issuer.is_empty());
    if !has_issuer && uri.is_none() && rule.jwks.is_empty() {
        report.error(path, "needs issuer, jwksUri or jwks");
    }
    if let Some(uri) = uri
        && !uri.starts_with("https://")
        && !uri.starts_with("http://")
    {
        report.error(
            &path.field("jwksUri"),
            format!("{uri:?} must start with https:// or http://"),
        );
    }
    if !rule.jwks.is_empty() {
        jwks(&rule.jwks, &path.field("jwks"), report);
    }
    let lists = [
        ("audiences", &rule.audiences),
        ("fromParams", &rule.from_params),
        ("fromCookies", &rule.from_cookies),
        ("spaceDelimitedClaims", &rule.space_delimited_claims),
    ];
    for (field, list) in lists {
        no_empty(list, &path.field(field), report);
    }
    let headers = path.field("fromHeaders");
    for (index, entry) in rule.from_headers.iter().enumerate() {
        report.check(
            &headers.index(index).field("name"),
            header::name(&entry.name),
        );
    }
    let outputs = path.field("outputClaimToHeaders");
    for (index, entry) in rule.output_claim_to_headers.iter().enumerate() {
        let path = outputs.index(index);
        report.check(&path.field("header"), header::name(&entry.header));
        if entry.claim.is_empty() {
            report.error(&path.field("claim"), "must not be empty");
        }
    }
    names::optional_duration(rule.timeout.as_ref(), &path.field("timeout"), report);
}

/// A set of keys: JSON with a list `keys`, none of which is private.
fn jwks(text: &str, path: &Path<'_>, report: &mut Report) {
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(text);
    let keys = parsed.as_ref().ok().and_then(|set| set["keys"].as_array());
    let Some(keys) = keys else {
        return report.error(path, "is not a set of keys: JSON with a list named keys");
    };
    for (index, key) in keys.iter().enumerate() {
        if key["kty"].as_str().is_none() {
            report.error(path, format!("keys[{index}] has no kty"));
        } else if !key["d"].is_null() || key["kty"] == "oct" {
            report.warn(
                path,
                format!("keys[{index}] is a private key; publish public ones only"),
            );
        }
    }
}

fn no_empty(list: &[String], path: &Path<'_>, report: &mut Report) {
    for (index, _) in list.iter().enumerate().filter(|(_, text)| text.is_empty()) {
        report.error(&path.index(index), "must not be empty");
    }
}

/// Checks an AuthorizationPolicy.
pub(super) fn check_authorization(spec: &AuthorizationPolicy, _: Object<'_>, report: &mut Report) {
    target(
        spec.selector.as_ref(),
        spec.target_ref.as_ref(),
        &spec.target_refs,
        report,
    );
    let root = Path::Root("spec");
    let is_custom = spec.action == Some(AuthorizationAction::Custom);
    let has_provider = spec.provider.as_ref().is_some_and(|p| !p.name.is_empty());
    if is_custom && !has_provider {
        report.error(
            &root.field("provider").field("name"),
            "is required for action CUSTOM",
        );
    }
    if !is_custom && spec.provider.is_some() {
        report.error(&root.field("provider"), "is only for action CUSTOM");
    }
    let needs_rules = matches!(
        spec.action,
        Some(AuthorizationAction::Custom | AuthorizationAction::Deny)
    );
    if needs_rules && spec.rules.is_empty() {
        report.error(
            &root.field("rules"),
            "is required for actions CUSTOM and DENY",
        );
    }
    let rules = root.field("rules");
    for (index, rule) in spec.rules.iter().enumerate() {
        authorization_rule(rule, is_custom, &rules.index(index), report);
    }
}

fn authorization_rule(
    rule: &AuthorizationRule,
    is_custom: bool,
    path: &Path<'_>,
    report: &mut Report,
) {
    let from = path.field("from");
    for (index, entry) in rule.from.iter().enumerate() {
        let path = from.index(index);
        match &entry.source {
            Some(source) => caller(source, is_custom, &path.field("source"), report),
            None => report.error(&path.field("source"), "is required"),
        }
    }
    let to = path.field("to");
    for (index, entry) in rule.to.iter().enumerate() {
        let path = to.index(index);
        match &entry.operation {
            Some(operation) => request(operation, &path.field("operation"), report),
            None => report.error(&path.field("operation"), "is required"),
        }
    }
    let when = path.field("when");
    for (index, entry) in rule.when.iter().enumerate() {
        condition(entry, is_custom, &when.index(index), report);
    }
}

fn caller(source: &AuthorizationSource, is_custom: bool, path: &Path<'_>, report: &mut Report) {
    if *source == AuthorizationSource::default() {
        report.error(path, "must not be empty");
    }
    let has = |a: &Vec<String>, b: &Vec<String>| !a.is_empty() || !b.is_empty();
    let accounts = has(&source.service_accounts, &source.not_service_accounts);
    let principals = has(&source.principals, &source.not_principals);
    let namespaces = has(&source.namespaces, &source.not_namespaces);
    if accounts && (principals || namespaces) {
        report.error(
            &path.field("serviceAccounts"),
            "must not be set beside principals or namespaces",
        );
    }
    let lists = [
        ("principals", &source.principals, true),
        ("notPrincipals", &source.not_principals, true),
        ("requestPrincipals", &source.request_principals, true),
        ("notRequestPrincipals", &source.not_request_principals, true),
        ("namespaces", &source.namespaces, true),
        ("notNamespaces", &source.not_namespaces, true),
        ("serviceAccounts", &source.service_accounts, true),
        ("notServiceAccounts", &source.not_service_accounts, true),
        ("trustDomains", &source.trust_domains, true),
        ("notTrustDomains", &source.not_trust_domains, true),
        ("ipBlocks", &source.ip_blocks, false),
        ("notIpBlocks", &source.not_ip_blocks, false),
        ("remoteIpBlocks", &source.remote_ip_blocks, false),
        ("notRemoteIpBlocks", &source.not_remote_ip_blocks, false),
    ];
    for (field, list, is_identity) in lists {
        let path = path.field(field);
        no_empty(list, &path, report);
        if is_custom && is_identity && !list.is_empty() {
            report.error(&path, "cannot be used with action CUSTOM");
        }
        if field.ends_with("pBlocks") {
            for (index, text) in list.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
                report.check(&path.index(index), names::subnet(text));
            }
        }
    }
    for (field, list) in [
        ("serviceAccounts", &source.service_accounts),
        ("notServiceAccounts", &source.not_service_accounts),
    ] {
        service_accounts(list, &path.field(field), report);
    }
}

fn service_accounts(list: &[String], path: &Path<'_>, report: &mut Report) {
    for (index, text) in list.iter().enumerate() {
        let path = path.index(index);
        let parts: Vec<&str> = text.split('/').collect();
        if text.contains('*') {
            report.error(&path, "wildcards are not supported in service accounts");
        } else if parts.len() > 2 || parts.iter().any(|part| part.is_empty()) || text.len() > 320 {
            report.error(
                &path,
                format!("{text:?} is not a service account: [namespace/]name"),
            );
        }
    }
}

fn request(operation: &crate::spec::security::Operation, path: &Path<'_>, report: &mut Report) {
    let lists = [
        ("hosts", &operation.hosts),
        ("notHosts", &operation.not_hosts),
        ("ports", &operation.ports),
        ("notPorts", &operation.not_ports),
        ("methods", &operation.methods),
        ("notMethods", &operation.not_methods),
        ("paths", &operation.paths),
        ("notPaths", &operation.not_paths),
    ];
    if lists.iter().all(|(_, list)| list.is_empty()) {
        report.error(path, "must not be empty");
    }
    for (field, list) in lists {
        let path = path.field(field);
        no_empty(list, &path, report);
        if field.ends_with("orts") {
            for (index, text) in list.iter().enumerate() {
                let number = text
                    .parse()
                    .map_err(|_| format!("{text:?} is not the number of a port"));
                report.check(&path.index(index), number.and_then(names::port));
            }
        }
    }
}

fn condition(condition: &Condition, is_custom: bool, path: &Path<'_>, report: &mut Report) {
    let key = condition.key.as_str();
    let key_path = path.field("key");
    let known = CONDITION_KEYS
        .iter()
        .find(|known| match known.strip_suffix('[') {
            Some(_) => key.starts_with(**known) && key.ends_with(']'),
            None if known.ends_with('.') => key.starts_with(**known),
            None => key == **known,
        });
    if key.is_empty() {
        report.error(&key_path, "must not be empty");
    } else if known.is_none() {
        report.error(
            &key_path,
            format!("{key:?} is not an attribute that a condition can ask for"),
        );
    } else if is_custom
        && (key.starts_with("request.auth.")
            || matches!(
                key,
                "source.namespace"
                    | "source.serviceAccount"
                    | "source.trustDomain"
                    | "source.principal"
            ))
    {
        report.error(
            &key_path,
            format!("{key} cannot be used with action CUSTOM"),
        );
    }
    if condition.values.is_empty() && condition.not_values.is_empty() {
        report.error(path, "needs values or notValues");
    }
    for (field, list) in [
        ("values", &condition.values),
        ("notValues", &condition.not_values),
    ] {
        let path = path.field(field);
        for (index, text) in list.iter().enumerate() {
            let path = path.index(index);
            let result = match key {
                _ if text.is_empty() => Err("must not be empty".into()),
                "source.ip" | "remote.ip" | "destination.ip" => names::subnet(text).map(|_| ()),
                "destination.port" => text
                    .parse()
                    .map_err(|_| format!("{text:?} is not the number of a port"))
                    .and_then(names::port),
                _ => Ok(()),
            };
            report.check(&path, result);
        }
    }
}
