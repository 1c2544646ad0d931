//! EnvoyFilters: operations that depend on others, or do nothing.

use super::set::{Parsed, Set};
use super::{Code, Findings, code};
use crate::kinds::NETWORKING;
use crate::spec::envoy_filter::{ApplyTo, EnvoyFilter, PatchOperation};

/// Analyses every EnvoyFilter.
pub(super) fn analyze(set: &Set<'_>, findings: &mut Findings) {
    let filters: Vec<Parsed<'_, EnvoyFilter>> = set.parsed(NETWORKING, "EnvoyFilter");
    for filter in &filters {
        for (index, entry) in filter.spec.config_patches.iter().enumerate() {
            let Some(operation) = entry.patch.as_ref().and_then(|patch| patch.operation) else {
                continue;
            };
            let field = format!("spec.configPatches[{index}].patch.operation");
            if let Some((code, text)) = judge(operation, entry.apply_to, filter.spec.priority) {
                findings.add(code, filter.subject, &field, text);
            }
        }
    }
}

fn judge(
    operation: PatchOperation,
    apply_to: Option<ApplyTo>,
    priority: i32,
) -> Option<(&'static Code, &'static str)> {
    use PatchOperation::{Add, InsertAfter, InsertBefore, Remove, Replace};
    let is_filter = matches!(apply_to, Some(ApplyTo::HttpFilter | ApplyTo::NetworkFilter));
    let is_route = matches!(
        apply_to,
        Some(ApplyTo::RouteConfiguration | ApplyTo::HttpRoute)
    );
    match operation {
        Replace if !is_filter => Some((
            &code::REPLACE_OPERATION,
            "REPLACE is for HTTP_FILTER and NETWORK_FILTER only",
        )),
        Add if is_route => Some((&code::ADD_OPERATION, "ADD is ignored for routes")),
        Remove if is_route => Some((&code::REMOVE_OPERATION, "REMOVE is ignored for routes")),
        InsertBefore | InsertAfter | Replace | Remove if priority == 0 => Some((
            &code::RELATIVE_OPERATION,
            "depends on what other filters did before; set spec.priority, or use INSERT_FIRST or ADD",
        )),
        _ => None,
    }
}
