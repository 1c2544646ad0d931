//! Selectors: of kinds of which one object may apply to a workload, and of policies.

use std::collections::BTreeMap;

use lateen_model::{Labels, selects};

use super::set::{Set, Subject, Workload};
use super::{Code, Findings, code};
use crate::kinds::{NETWORKING, SECURITY, TELEMETRY};
use crate::object::string_map;

/// Analyses selectors.
pub(super) fn analyze(set: &Set<'_>, findings: &mut Findings) {
    let workloads = set.workloads();
    let sidecars: Vec<&Subject<'_>> = set.of(NETWORKING, "Sidecar").collect();
    one_per_workload(
        &sidecars,
        &workloads,
        (&code::CONFLICTING_SIDECARS, &code::MULTIPLE_SIDECARS),
        findings,
    );
    for sidecar in sidecars {
        if !is_matched(sidecar, set, &workloads) {
            let text = "no pod of the namespace has these labels";
            findings.add(
                &code::REFERENCE,
                sidecar,
                "spec.workloadSelector.labels",
                text,
            );
        }
    }
    let telemetries: Vec<&Subject<'_>> = set.of(TELEMETRY, "Telemetry").collect();
    one_per_workload(
        &telemetries,
        &workloads,
        (&code::CONFLICTING_TELEMETRIES, &code::MULTIPLE_TELEMETRIES),
        findings,
    );
    for telemetry in telemetries {
        providers(telemetry, findings);
    }
    for kind in [
        "AuthorizationPolicy",
        "RequestAuthentication",
        "PeerAuthentication",
    ] {
        for policy in set.of(SECURITY, kind) {
            if !is_matched(policy, set, &workloads) {
                let text =
                    "no pod that the policy may apply to has these labels, so it does nothing";
                findings.add(
                    &code::NO_MATCHING_WORKLOADS,
                    policy,
                    "spec.selector.matchLabels",
                    text,
                );
            }
        }
    }
}

/// The labels that an object selects; nothing if it has no selector.
fn selector(subject: &Subject<'_>) -> Option<Labels> {
    let spec = subject.object.spec();
    let labels = spec["workloadSelector"]["labels"]
        .as_object()
        .or_else(|| spec["selector"]["matchLabels"].as_object());
    labels
        .map(|labels| string_map(Some(labels)))
        .filter(|labels| !labels.is_empty())
}

/// Answers whether some workload is selected; also if that cannot be known.
fn is_matched(subject: &Subject<'_>, set: &Set<'_>, workloads: &[Workload<'_>]) -> bool {
    let Some(labels) = selector(subject) else {
        return true;
    };
    let is_everywhere =
        subject.namespace == set.options.root_namespace && subject.object.kind() != "Sidecar";
    let mut candidates = workloads
        .iter()
        .filter(|w| is_everywhere || w.subject.namespace == subject.namespace)
        .peekable();
    // Where no workload is among the objects, nothing is known about them.
    candidates.peek().is_none() || candidates.any(|workload| selects(&labels, &workload.labels))
}

/// Kinds of which the oldest object that selects a workload applies, and the others do not.
fn one_per_workload(
    subjects: &[&Subject<'_>],
    workloads: &[Workload<'_>],
    (conflicting, multiple): (&'static Code, &'static Code),
    findings: &mut Findings,
) {
    let mut without: BTreeMap<&str, Vec<&Subject<'_>>> = BTreeMap::new();
    for subject in subjects {
        // Those that are attached to objects select no workloads.
        let spec = subject.object.spec();
        let is_attached = !spec["targetRef"].is_null() || !spec["targetRefs"].is_null();
        let Some(labels) = selector(subject) else {
            if !is_attached {
                without.entry(subject.namespace).or_default().push(subject);
            }
            continue;
        };
        let selected: Vec<&Workload<'_>> = workloads
            .iter()
            .filter(|w| w.subject.namespace == subject.namespace && selects(&labels, &w.labels))
            .collect();
        let others: Vec<&str> = subjects
            .iter()
            .filter(|other| {
                !std::ptr::eq(**other, *subject) && other.namespace == subject.namespace
            })
            .filter(|other| {
                selector(other)
                    .is_some_and(|other| selected.iter().any(|w| selects(&other, &w.labels)))
            })
            .map(|other| other.object.name())
            .collect();
        if !others.is_empty() {
            let text = format!(
                "workloads that it selects are also selected by {}; only the oldest applies",
                others.join(", ")
            );
            findings.add(conflicting, subject, "spec", text);
        }
    }
    for (namespace, list) in without.into_iter().filter(|(_, list)| list.len() > 1) {
        let names: Vec<&str> = list.iter().map(|subject| subject.object.name()).collect();
        for subject in list {
            let text = format!(
                "several objects of the namespace {namespace} have no selector ({}); only the oldest applies",
                names.join(", ")
            );
            findings.add(multiple, subject, "spec", text);
        }
    }
}

fn providers(telemetry: &Subject<'_>, findings: &mut Findings) {
    for (index, entry) in telemetry.object.spec()["accessLogging"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let is_empty = entry["providers"].as_array().is_none_or(Vec::is_empty);
        if is_empty && entry["disabled"] != true && entry["filter"].is_null() {
            let text = "names no provider, so it does nothing unless the mesh has a default one";
            let field = format!("spec.accessLogging[{index}]");
            findings.add(&code::TELEMETRY_PROVIDER, telemetry, &field, text);
        }
    }
}
