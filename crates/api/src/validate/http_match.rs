//! Conditions of routes: strings, headers, ports and callers.

use std::collections::BTreeMap;

use super::{header, names};
use crate::problem::{Path, Report};
use crate::spec::common::StringMatch;
use crate::spec::virtual_service::HttpMatch;

/// Checks one block of `match`. `is_mesh` says that the block applies to sidecars.
pub(super) fn check(block: &HttpMatch, is_mesh: bool, path: &Path<'_>, report: &mut Report) {
    if let Some(uri) = &block.uri {
        condition(uri, false, &path.field("uri"), report);
    }
    let others = [
        ("scheme", &block.scheme),
        ("method", &block.method),
        ("authority", &block.authority),
    ];
    for (field, value) in others {
        if let Some(value) = value {
            condition(value, true, &path.field(field), report);
        }
    }
    headers(&block.headers, is_mesh, &path.field("headers"), report);
    headers(
        &block.without_headers,
        is_mesh,
        &path.field("withoutHeaders"),
        report,
    );
    let params = path.field("queryParams");
    for (key, value) in &block.query_params {
        let path = params.key(key);
        if key.is_empty() {
            report.error(&path, "the name of a query parameter must not be empty");
        }
        presence_or_condition(value, &path, report);
    }
    if let Some(port) = block.port {
        report.check(&path.field("port"), names::port(port));
    }
    names::labels(&block.source_labels, &path.field("sourceLabels"), report);
    if !block.source_namespace.is_empty() {
        report.check(
            &path.field("sourceNamespace"),
            names::dns_label(&block.source_namespace),
        );
    }
    names::gateways(&block.gateways, &path.field("gateways"), report);
}

fn headers(
    conditions: &BTreeMap<String, StringMatch>,
    is_mesh: bool,
    path: &Path<'_>,
    report: &mut Report,
) {
    for (name, value) in conditions {
        let path = path.key(name);
        report.check(&path, header::match_name(name));
        if is_mesh && name.starts_with('@') {
            report.error(
                &path,
                "claims of tokens can be matched at gateways only; set gateways",
            );
        }
        presence_or_condition(value, &path, report);
    }
}

/// A condition that asks for presence when it is empty, or a regex `*`.
fn presence_or_condition(value: &StringMatch, path: &Path<'_>, report: &mut Report) {
    if value.regex.as_deref() == Some("*") {
        names::one_condition(value, path, report);
    } else {
        condition(value, true, path, report);
    }
}

/// A condition on a string.
pub(super) fn condition(
    value: &StringMatch,
    needs_prefix: bool,
    path: &Path<'_>,
    report: &mut Report,
) {
    names::one_condition(value, path, report);
    if needs_prefix && value.prefix.as_deref() == Some("") {
        report.error(&path.field("prefix"), "must not be empty");
    }
    if let Some(regex) = &value.regex {
        report.check(&path.field("regex"), names::regex(regex));
    }
}
