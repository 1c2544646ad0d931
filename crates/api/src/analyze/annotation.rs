//! Istio's annotations: unknown ones, misplaced ones, and values that mean nothing.

use std::net::IpAddr;

use lateen_model::Labels;

use super::set::{Set, Subject};
use super::{Findings, code};
use crate::problem::closest;
use crate::validate::subnet;

/// What may be written as a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    Any,
    Boolean,
    Number,
    Ports,
    Ranges,
    Interception,
    ExportTo,
}

/// How settled an annotation is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Stable,
    Alpha,
    Deprecated,
}

/// An annotation: its name, the kinds that may carry it (none means any), its value, its status.
struct Annotation(&'static str, &'static [&'static str], Value, Status);

const POD: &[&str] = &["Pod"];
const SERVICE: &[&str] = &["Service"];
const ANY: &[&str] = &[];

use Status::{Alpha, Deprecated, Stable};

/// Every annotation that Istio knows.
const ANNOTATIONS: &[Annotation] = &[
    Annotation("sidecar.istio.io/inject", POD, Value::Boolean, Deprecated),
    Annotation("sidecar.istio.io/proxyCPU", POD, Value::Any, Stable),
    Annotation("sidecar.istio.io/proxyCPULimit", POD, Value::Any, Stable),
    Annotation("sidecar.istio.io/proxyMemory", POD, Value::Any, Stable),
    Annotation("sidecar.istio.io/proxyMemoryLimit", POD, Value::Any, Stable),
    Annotation("sidecar.istio.io/proxyImage", POD, Value::Any, Stable),
    Annotation("sidecar.istio.io/proxyImageType", POD, Value::Any, Stable),
    Annotation("sidecar.istio.io/logLevel", POD, Value::Any, Stable),
    Annotation(
        "sidecar.istio.io/componentLogLevel",
        POD,
        Value::Any,
        Stable,
    ),
    Annotation("sidecar.istio.io/agentLogLevel", POD, Value::Any, Stable),
    Annotation(
        "sidecar.istio.io/interceptionMode",
        POD,
        Value::Interception,
        Stable,
    ),
    Annotation(
        "sidecar.istio.io/rewriteAppHTTPProbers",
        POD,
        Value::Boolean,
        Stable,
    ),
    Annotation(
        "sidecar.istio.io/bootstrapOverride",
        POD,
        Value::Any,
        Stable,
    ),
    Annotation("sidecar.istio.io/userVolume", POD, Value::Any, Stable),
    Annotation("sidecar.istio.io/userVolumeMount", POD, Value::Any, Stable),
    Annotation(
        "sidecar.istio.io/nativeSidecar",
        POD,
        Value::Boolean,
        Stable,
    ),
    Annotation(
        "sidecar.istio.io/statsInclusionPrefixes",
        POD,
        Value::Any,
        Deprecated,
    ),
    Annotation(
        "sidecar.istio.io/statsInclusionSuffixes",
        POD,
        Value::Any,
        Deprecated,
    ),
    Annotation(
        "sidecar.istio.io/statsInclusionRegexps",
        POD,
        Value::Any,
        Deprecated,
    ),
    Annotation(
        "sidecar.istio.io/statsHistogramBuckets",
        POD,
        Value::Any,
        Stable,
    ),
    Annotation(
        "sidecar.istio.io/statsHistogramBins",
        POD,
        Value::Any,
        Stable,
    ),
    Annotation(
        "sidecar.istio.io/statsFlushInterval",
        POD,
        Value::Any,
        Stable,
    ),
    Annotation(
        "sidecar.istio.io/statsEvictionInterval",
        POD,
        Value::Any,
        Stable,
    ),
    Annotation(
        "sidecar.istio.io/extraStatTags",
        POD,
        Value::Any,
        Deprecated,
    ),
    Annotation(
        "sidecar.istio.io/statsCompression",
        POD,
        Value::Boolean,
        Deprecated,
    ),
    Annotation(
        "sidecar.istio.io/discoveryAddress",
        POD,
        Value::Any,
        Deprecated,
    ),
    Annotation(
        "sidecar.istio.io/capNetBindService",
        POD,
        Value::Boolean,
        Stable,
    ),
    Annotation("sidecar.istio.io/status", POD, Value::Any, Stable),
    Annotation("status.sidecar.istio.io/port", POD, Value::Number, Stable),
    Annotation(
        "readiness.status.sidecar.istio.io/initialDelaySeconds",
        POD,
        Value::Number,
        Stable,
    ),
    Annotation(
        "readiness.status.sidecar.istio.io/periodSeconds",
        POD,
        Value::Number,
        Stable,
    ),
    Annotation(
        "readiness.status.sidecar.istio.io/failureThreshold",
        POD,
        Value::Number,
        Stable,
    ),
    Annotation(
        "readiness.status.sidecar.istio.io/applicationPorts",
        POD,
        Value::Any,
        Stable,
    ),
    Annotation(
        "traffic.sidecar.istio.io/includeOutboundIPRanges",
        POD,
        Value::Ranges,
        Stable,
    ),
    Annotation(
        "traffic.sidecar.istio.io/excludeOutboundIPRanges",
        POD,
        Value::Ranges,
        Stable,
    ),
    Annotation(
        "traffic.sidecar.istio.io/includeInboundPorts",
        POD,
        Value::Ports,
        Stable,
    ),
    Annotation(
        "traffic.sidecar.istio.io/excludeInboundPorts",
        POD,
        Value::Ports,
        Stable,
    ),
    Annotation(
        "traffic.sidecar.istio.io/includeOutboundPorts",
        POD,
        Value::Ports,
        Stable,
    ),
    Annotation(
        "traffic.sidecar.istio.io/excludeOutboundPorts",
        POD,
        Value::Ports,
        Stable,
    ),
    Annotation(
        "traffic.sidecar.istio.io/excludeInterfaces",
        POD,
        Value::Any,
        Stable,
    ),
    Annotation(
        "traffic.sidecar.istio.io/kubevirtInterfaces",
        POD,
        Value::Any,
        Deprecated,
    ),
    Annotation(
        "istio.io/reroute-virtual-interfaces",
        POD,
        Value::Any,
        Stable,
    ),
    Annotation("proxy.istio.io/config", POD, Value::Any, Stable),
    Annotation("proxy.istio.io/overrides", POD, Value::Any, Alpha),
    Annotation("inject.istio.io/templates", POD, Value::Any, Alpha),
    Annotation("istio.io/rev", ANY, Value::Any, Stable),
    Annotation(
        "prometheus.istio.io/merge-metrics",
        POD,
        Value::Boolean,
        Alpha,
    ),
    Annotation("ambient.istio.io/redirection", POD, Value::Any, Stable),
    Annotation(
        "ambient.istio.io/bypass-inbound-capture",
        POD,
        Value::Boolean,
        Alpha,
    ),
    Annotation("ambient.istio.io/dns-capture", POD, Value::Boolean, Alpha),
    Annotation(
        "ambient.istio.io/waypoint-inbound-binding",
        &["Gateway", "GatewayClass"],
        Value::Any,
        Alpha,
    ),
    Annotation(
        "networking.istio.io/exportTo",
        SERVICE,
        Value::ExportTo,
        Stable,
    ),
    Annotation(
        "networking.istio.io/traffic-distribution",
        &["Service", "ServiceEntry", "Namespace"],
        Value::Any,
        Alpha,
    ),
    Annotation(
        "networking.istio.io/service-type",
        &["Gateway"],
        Value::Any,
        Alpha,
    ),
    Annotation(
        "istio.io/use-waypoint-canary-weight",
        &["Service", "ServiceEntry", "Namespace"],
        Value::Number,
        Alpha,
    ),
    Annotation("traffic.istio.io/nodeSelector", SERVICE, Value::Any, Stable),
    Annotation(
        "alpha.istio.io/kubernetes-serviceaccounts",
        SERVICE,
        Value::Any,
        Deprecated,
    ),
    Annotation(
        "alpha.istio.io/canonical-serviceaccounts",
        SERVICE,
        Value::Any,
        Deprecated,
    ),
    Annotation("galley.istio.io/analyze-suppress", ANY, Value::Any, Stable),
    Annotation(
        "istio.io/dry-run",
        &["AuthorizationPolicy"],
        Value::Boolean,
        Alpha,
    ),
    Annotation(
        "topology.istio.io/controlPlaneClusters",
        &["Namespace"],
        Value::Any,
        Alpha,
    ),
    Annotation(
        "gateway.istio.io/name-override",
        &["Gateway"],
        Value::Any,
        Alpha,
    ),
    Annotation(
        "gateway.istio.io/service-account",
        &["Gateway"],
        Value::Any,
        Alpha,
    ),
    Annotation(
        "gateway.istio.io/controller-version",
        &["Gateway"],
        Value::Any,
        Alpha,
    ),
    Annotation(
        "istio.io/autoRegistrationGroup",
        &["WorkloadEntry"],
        Value::Any,
        Alpha,
    ),
    Annotation(
        "istio.io/workloadController",
        &["WorkloadEntry"],
        Value::Any,
        Alpha,
    ),
    Annotation(
        "istio.io/connectedAt",
        &["WorkloadEntry"],
        Value::Any,
        Alpha,
    ),
    Annotation(
        "istio.io/disconnectedAt",
        &["WorkloadEntry"],
        Value::Any,
        Alpha,
    ),
];

/// Analyses the annotations of every object and of the templates of pods.
pub(super) fn analyze(set: &Set<'_>, findings: &mut Findings) {
    for subject in set.subjects() {
        let kind = subject.object.kind();
        check(
            subject,
            kind,
            "metadata",
            &subject.object.annotations(),
            findings,
        );
    }
    for workload in set
        .written_workloads()
        .iter()
        .filter(|workload| !workload.is_pod())
    {
        let path = workload.metadata_path;
        check(
            workload.subject,
            "Pod",
            path,
            &workload.annotations,
            findings,
        );
    }
}

fn check(
    subject: &Subject<'_>,
    kind: &str,
    path: &str,
    annotations: &Labels,
    findings: &mut Findings,
) {
    for (name, value) in annotations.iter().filter(|(name, _)| is_of_istio(name)) {
        let field = format!("{path}.annotations[{name}]");
        let Some(Annotation(_, kinds, form, status)) = ANNOTATIONS.iter().find(|a| a.0 == name)
        else {
            let hint = closest(name, ANNOTATIONS.iter().map(|a| a.0))
                .map(|meant| format!("; did you mean {meant}?"))
                .unwrap_or_default();
            let text = format!("the annotation {name} is unknown{hint}");
            findings.add(&code::UNKNOWN_ANNOTATION, subject, &field, text);
            continue;
        };
        if !kinds.is_empty() && !kinds.contains(&kind) {
            let text = format!(
                "the annotation {name} does nothing on a {kind}; it belongs on a {}",
                kinds.join(" or ")
            );
            findings.add(&code::MISPLACED_ANNOTATION, subject, &field, text);
        }
        if let Err(expected) = form.check(value) {
            let text = format!("the annotation {name} is {value:?}, but takes {expected}");
            findings.add(&code::INVALID_ANNOTATION, subject, &field, text);
        }
        // What the injector wrote itself is nobody's mistake.
        let is_written_by_mesh = name.ends_with("/status") || name.ends_with("/overrides");
        match status {
            Deprecated => {
                let text = format!("the annotation {name} is deprecated{}", successor(name));
                findings.add(&code::DEPRECATED_ANNOTATION, subject, &field, text);
            }
            Alpha if !is_written_by_mesh => {
                let text = format!("the annotation {name} is not yet stable");
                findings.add(&code::ALPHA_ANNOTATION, subject, &field, text);
            }
            Alpha | Stable => {}
        }
    }
}

fn is_of_istio(name: &str) -> bool {
    let domain = name.split('/').next().unwrap_or("");
    (domain == "istio.io" || domain.ends_with(".istio.io"))
        && !domain.starts_with("internal.")
        && !domain.starts_with("install.")
        && !domain.starts_with("operator.")
}

fn successor(name: &str) -> &'static str {
    match name {
        "sidecar.istio.io/inject" => "; use the label of the same name",
        "traffic.sidecar.istio.io/kubevirtInterfaces" => {
            "; use istio.io/reroute-virtual-interfaces"
        }
        "sidecar.istio.io/discoveryAddress" => "; use discoveryAddress in proxy.istio.io/config",
        _ => "",
    }
}

// === impl Value ===

impl Value {
    /// Checks a value; the error says what is taken.
    fn check(self, text: &str) -> Result<(), &'static str> {
        let entries = || {
            text.split(',')
                .map(str::trim)
                .filter(|entry| !entry.is_empty())
        };
        let (is_valid, expected) = match self {
            Self::Any => (true, ""),
            Self::Boolean => (matches!(text, "true" | "false"), "true or false"),
            Self::Number => (text.parse::<u32>().is_ok(), "a number"),
            Self::Ports => (
                text == "*" || entries().all(|entry| entry.parse::<u16>().is_ok()),
                "numbers of ports separated by commas, or *",
            ),
            Self::Ranges => (
                text == "*" || entries().all(|e| subnet(e).is_ok() && e.parse::<IpAddr>().is_err()),
                "ranges such as 10.0.0.0/8 separated by commas, or *",
            ),
            Self::Interception => (
                matches!(text, "REDIRECT" | "TPROXY" | "NONE"),
                "REDIRECT, TPROXY or NONE",
            ),
            Self::ExportTo => (
                entries().all(|entry| !entry.contains([' ', '/'])),
                "namespaces separated by commas, or one of . * ~",
            ),
        };
        if is_valid { Ok(()) } else { Err(expected) }
    }
}
