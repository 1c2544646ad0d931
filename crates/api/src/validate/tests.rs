//! The rules are tables in `tests/cases`: below a kind and a template (`== Kind template`, in which
//! `$` stands for the text of the case) each rule has a text that keeps it (`good`), one that
//! breaks it (`bad`), and the path and reason that are expected then (`at`); or a text that is
//! accepted with a warning (`warn`).

mod gateway;
mod object;
mod virtual_service;

use serde_json::json;

use super::*;
use crate::yaml;

/// The report about an object of `kind` whose spec is `template` with `$` replaced.
fn report(kind: &str, template: &str, text: &str) -> Report {
    let spec =
        yaml::value(&template.replace('$', text)).unwrap_or_else(|error| panic!("{text}: {error}"));
    let kind = KINDS.iter().find(|k| k.kind == kind).unwrap();
    validate(&json!({
        "apiVersion": format!("{}/{}", kind.group, kind.versions[0]),
        "kind": kind.kind,
        "metadata": {"name": "test", "namespace": "default"},
        "spec": spec,
    }))
}

/// Runs every case of a table and complains about all that fail.
fn run(table: &str) {
    let (mut kind, mut template, mut rule) = ("", "", "");
    let (mut good, mut bad, mut warn) = (None, None, None);
    let mut failures = Vec::new();
    for line in table.lines().filter(|line| !line.is_empty()) {
        if let Some(head) = line.strip_prefix("== ") {
            (kind, template) = head.split_once(' ').unwrap();
        } else if let Some(text) = line.strip_prefix("  good") {
            good = Some(text);
        } else if let Some(text) = line.strip_prefix("  bad") {
            bad = Some(text);
        } else if let Some(text) = line.strip_prefix("  warn") {
            warn = Some(text);
        } else if let Some(expected) = line.strip_prefix("  at   ") {
            let (path, reason) = expected.split_once(": ").unwrap();
            let is_expected = |p: &crate::Problem| p.path == path && p.reason.contains(reason);
            if let Some(text) = good.take() {
                let report = report(kind, template, text);
                if !report.is_valid() {
                    failures.push(format!("{rule}: refused{text}: {report}"));
                }
            }
            if let Some(text) = bad.take() {
                let report = report(kind, template, text);
                if !report.errors.iter().any(is_expected) {
                    failures.push(format!("{rule}:{text} gave: {report}"));
                }
            }
            if let Some(text) = warn.take() {
                let report = report(kind, template, text);
                if !report.is_valid() || !report.warnings.iter().any(is_expected) {
                    failures.push(format!("{text} gave: {report} {:?}", report.warnings));
                }
            }
        } else {
            rule = line;
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_rule_of_virtual_services_accepts_and_refuses() {
    run(include_str!("tests/cases/virtual_service.txt"));
}

#[test]
fn every_rule_of_destination_rules_accepts_and_refuses() {
    run(include_str!("tests/cases/destination_rule.txt"));
}

#[test]
fn every_rule_of_gateways_accepts_and_refuses() {
    run(include_str!("tests/cases/gateway.txt"));
}

#[test]
fn every_rule_of_service_entries_and_workloads_accepts_and_refuses() {
    run(include_str!("tests/cases/service_entry.txt"));
}

#[test]
fn every_rule_of_sidecars_accepts_and_refuses() {
    run(include_str!("tests/cases/sidecar.txt"));
}

#[test]
fn every_rule_of_policies_accepts_and_refuses() {
    run(include_str!("tests/cases/policy.txt"));
}
