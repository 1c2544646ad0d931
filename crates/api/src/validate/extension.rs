//! Rules of the kinds of telemetry and extensions.

use std::collections::BTreeSet;

use super::names;
use super::policy::target;
use crate::object::Object;
use crate::problem::{Path, Report};
use crate::spec::envoy_filter::{ApplyTo, ConfigPatch, EnvoyFilter, PatchOperation};
use crate::spec::extension::{EnvVar, TrafficExtension, ValueFrom, VmConfig, WasmPlugin};
use crate::spec::telemetry::{CustomTag, MetricsOverride, TagOperation, Telemetry};

/// Checks a Telemetry.
pub(super) fn check_telemetry(spec: &Telemetry, _: Object<'_>, report: &mut Report) {
    target(
        spec.selector.as_ref(),
        spec.target_ref.as_ref(),
        &spec.target_refs,
        report,
    );
    let root = Path::Root("spec");
    let tracing = root.field("tracing");
    if spec.tracing.len() > 1 {
        report.warn(&tracing, "only one entry per mode is used");
    }
    for (index, entry) in spec.tracing.iter().enumerate() {
        let path = tracing.index(index);
        if entry.providers.len() > 1 {
            report.warn(&path.field("providers"), "only the first provider is used");
        }
        let tags = path.field("customTags");
        for (name, tag) in &entry.custom_tags {
            custom_tag(name, tag, &tags.key(name), report);
        }
    }
    let metrics = root.field("metrics");
    for (index, entry) in spec.metrics.iter().enumerate() {
        let path = metrics.index(index);
        let interval = entry.reporting_interval.as_ref();
        names::optional_duration(interval, &path.field("reportingInterval"), report);
        let overrides = path.field("overrides");
        for (index, entry) in entry.overrides.iter().enumerate() {
            metrics_override(entry, &overrides.index(index), report);
        }
    }
}

fn custom_tag(name: &str, tag: &CustomTag, path: &Path<'_>, report: &mut Report) {
    if name.is_empty() {
        report.error(path, "the name of a tag must not be empty");
    }
    let set = [
        tag.literal.is_some(),
        tag.environment.is_some(),
        tag.header.is_some(),
        tag.formatter.is_some(),
    ];
    if set.into_iter().filter(|is_set| *is_set).count() != 1 {
        report.error(
            path,
            "needs exactly one of literal, environment, header and formatter",
        );
    }
}

fn metrics_override(entry: &MetricsOverride, path: &Path<'_>, report: &mut Report) {
    if let Some(selector) = &entry.matches
        && selector.metric.is_some()
        && selector.custom_metric.is_some()
    {
        report.error(
            &path.field("match"),
            "set only one of metric and customMetric",
        );
    }
    let tags = path.field("tagOverrides");
    for (name, tag) in &entry.tag_overrides {
        let path = tags.key(name);
        let is_removed = tag.operation == Some(TagOperation::Remove);
        if is_removed && !tag.value.is_empty() {
            report.error(
                &path.field("value"),
                "must not be set where the tag is removed",
            );
        } else if !is_removed && tag.value.is_empty() {
            report.error(&path.field("value"), "is required");
        }
    }
}

/// Checks a WasmPlugin.
pub(super) fn check_wasm_plugin(spec: &WasmPlugin, _: Object<'_>, report: &mut Report) {
    target(
        spec.selector.as_ref(),
        spec.target_ref.as_ref(),
        &spec.target_refs,
        report,
    );
    let root = Path::Root("spec");
    module(&spec.url, spec.vm_config.as_ref(), &root, report);
}

/// Checks a TrafficExtension.
pub(super) fn check_traffic_extension(spec: &TrafficExtension, _: Object<'_>, report: &mut Report) {
    target(spec.selector.as_ref(), None, &spec.target_refs, report);
    let root = Path::Root("spec");
    if spec.wasm.is_some() == spec.lua.is_some() {
        report.error(&root, "needs exactly one of wasm and lua");
    }
    if let Some(wasm) = &spec.wasm {
        module(
            &wasm.url,
            wasm.vm_config.as_ref(),
            &root.field("wasm"),
            report,
        );
    }
}

fn module(url: &str, vm: Option<&VmConfig>, path: &Path<'_>, report: &mut Report) {
    if let Some((scheme, _)) = url.split_once("://")
        && !matches!(scheme, "oci" | "http" | "https" | "file")
    {
        report.error(
            &path.field("url"),
            format!("{scheme:?} is not one of oci, http, https, file"),
        );
    }
    let Some(vm) = vm else { return };
    let vm_config = path.field("vmConfig");
    let list = vm_config.field("env");
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, variable) in vm.env.iter().enumerate() {
        let EnvVar {
            name,
            value_from,
            value,
        } = variable;
        let path = list.index(index);
        if !seen.insert(name) {
            report.error(&path.field("name"), format!("{name:?} is set twice"));
        }
        if *value_from == Some(ValueFrom::Host) && !value.is_empty() {
            report.error(
                &path.field("value"),
                "must not be set where it comes from the host",
            );
        }
    }
}

/// Checks an EnvoyFilter.
pub(super) fn check_envoy_filter(spec: &EnvoyFilter, _: Object<'_>, report: &mut Report) {
    target(None, None, &spec.target_refs, report);
    let root = Path::Root("spec");
    if let Some(selector) = &spec.workload_selector {
        let path = root.field("workloadSelector.labels");
        names::selector(&selector.labels, &path, report);
    }
    let patches = root.field("configPatches");
    for (index, patch) in spec.config_patches.iter().enumerate() {
        envoy_patch(patch, &patches.index(index), report);
    }
}

fn envoy_patch(entry: &ConfigPatch, path: &Path<'_>, report: &mut Report) {
    if matches!(entry.apply_to, None | Some(ApplyTo::Invalid)) {
        report.error(&path.field("applyTo"), "is required");
    }
    let Some(patch) = &entry.patch else {
        return report.error(&path.field("patch"), "is required");
    };
    let path_of_patch = path.field("patch");
    if matches!(patch.operation, None | Some(PatchOperation::Invalid)) {
        report.error(&path_of_patch.field("operation"), "is required");
    }
    if patch.operation != Some(PatchOperation::Remove) && patch.value.is_empty() {
        report.error(&path_of_patch.field("value"), "is required");
    }
    let Some(proxy) = entry
        .matches
        .as_ref()
        .and_then(|matches| matches.proxy.as_ref())
    else {
        return;
    };
    if !proxy.proxy_version.is_empty() {
        let matches = path.field("match");
        let proxy_path = matches.field("proxy");
        report.check(
            &proxy_path.field("proxyVersion"),
            names::regex(&proxy.proxy_version),
        );
    }
}
