//! Rules of DestinationRules.

use std::collections::BTreeSet;

use super::{connection_pool, load_balancer, names, tls};
use crate::object::Object;
use crate::problem::{Path, Report};
use crate::spec::destination_rule::DestinationRule;
use crate::spec::traffic_policy::{OutlierDetection, PortSettings, TrafficPolicy, Tunnel};

/// Checks a DestinationRule.
pub(super) fn check(spec: &DestinationRule, object: Object<'_>, report: &mut Report) {
    let root = Path::Root("spec");
    let namespace = object.namespace();
    report.check(&root.field("host"), names::wildcard_host_or_ip(&spec.host));
    if let Some(policy) = &spec.traffic_policy {
        traffic_policy(policy, namespace, &root.field("trafficPolicy"), report);
    }
    let subsets = root.field("subsets");
    let mut subset_names = BTreeSet::new();
    for (index, subset) in spec.subsets.iter().enumerate() {
        let path = subsets.index(index);
        report.check(&path.field("name"), names::dns_label(&subset.name));
        if !subset_names.insert(&subset.name) {
            let name = &subset.name;
            report.error(
                &path.field("name"),
                format!("the subset {name:?} is defined twice"),
            );
        }
        names::labels(&subset.labels, &path.field("labels"), report);
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy(policy, namespace, &path.field("trafficPolicy"), report);
        }
    }
    let export_to = root.field("exportTo");
    names::export_to(&spec.export_to, namespace, false, &export_to, report);
    if let Some(selector) = &spec.workload_selector {
        let path = root.field("workloadSelector.matchLabels");
        names::selector(&selector.match_labels, &path, report);
        let leaves = spec
            .export_to
            .iter()
            .any(|entry| entry != "." && entry != namespace);
        if leaves {
            report.error(
                &export_to,
                "a rule with workloadSelector is for its own namespace only; use \".\"",
            );
        }
    }
}

fn traffic_policy(policy: &TrafficPolicy, namespace: &str, path: &Path<'_>, report: &mut Report) {
    if *policy == TrafficPolicy::default() {
        report.error(path, "must not be empty");
    }
    if policy.tunnel.is_some() && policy.proxy_protocol.is_some() {
        report.error(path, "set only one of tunnel and proxyProtocol");
    }
    blocks(
        &PortSettings {
            port: None,
            load_balancer: policy.load_balancer.clone(),
            connection_pool: policy.connection_pool.clone(),
            outlier_detection: policy.outlier_detection.clone(),
            tls: policy.tls.clone(),
        },
        namespace,
        path,
        report,
    );
    if let Some(value) = &policy.tunnel {
        tunnel(value, &path.field("tunnel"), report);
    }
    let ports = path.field("portLevelSettings");
    for (index, settings) in policy.port_level_settings.iter().enumerate() {
        let path = ports.index(index);
        match settings.port {
            None => report.error(&path.field("port"), "is required"),
            Some(port) => {
                report.check(
                    &path.field("port").field("number"),
                    names::port(port.number),
                );
            }
        }
        let is_empty = settings.load_balancer.is_none()
            && settings.connection_pool.is_none()
            && settings.outlier_detection.is_none()
            && settings.tls.is_none();
        if is_empty {
            report.error(
                &path,
                "sets nothing; needs loadBalancer, connectionPool, outlierDetection or tls",
            );
        }
        blocks(settings, namespace, &path, report);
    }
}

/// The blocks that a destination and a port have in common.
fn blocks(settings: &PortSettings, namespace: &str, path: &Path<'_>, report: &mut Report) {
    if let Some(value) = &settings.load_balancer {
        let has_outlier_detection = settings.outlier_detection.is_some();
        load_balancer::check(
            value,
            has_outlier_detection,
            &path.field("loadBalancer"),
            report,
        );
    }
    if let Some(value) = &settings.connection_pool {
        connection_pool::check(value, &path.field("connectionPool"), report);
    }
    if let Some(value) = &settings.outlier_detection {
        outlier_detection(value, &path.field("outlierDetection"), report);
    }
    if let Some(value) = &settings.tls {
        tls::client(value, namespace, &path.field("tls"), report);
    }
}

fn outlier_detection(outlier: &OutlierDetection, path: &Path<'_>, report: &mut Report) {
    if outlier.consecutive_errors.is_some() {
        report.warn(
            &path.field("consecutiveErrors"),
            "is deprecated and ignored; use consecutive5xxErrors or consecutiveGatewayErrors",
        );
    }
    let base = outlier.base_ejection_time.as_ref();
    names::optional_duration(base, &path.field("baseEjectionTime"), report);
    names::optional_duration(outlier.interval.as_ref(), &path.field("interval"), report);
    let shares = [
        ("maxEjectionPercent", outlier.max_ejection_percent),
        ("minHealthPercent", outlier.min_health_percent),
    ];
    for (field, share) in shares {
        if let Some(share) = share.filter(|share| !(0..=100).contains(share)) {
            report.error(
                &path.field(field),
                format!("{share} is not between 0 and 100"),
            );
        }
    }
    let codes = path.field("outlierDetectionHttpErrorCodes");
    for (index, text) in outlier
        .outlier_detection_http_error_codes
        .iter()
        .enumerate()
    {
        report.check(&codes.index(index), status_range(text));
    }
    let has_local = outlier
        .consecutive_local_origin_failures
        .is_some_and(|n| n > 0);
    if has_local && !outlier.split_external_local_origin_errors {
        report.error(
            &path.field("consecutiveLocalOriginFailures"),
            "needs splitExternalLocalOriginErrors: true",
        );
    }
}

/// Reads `503`, `5xx` or `500-599`; both ends belong to it.
pub(crate) fn status_range(text: &str) -> Result<(u16, u16), String> {
    let wrong = || format!("{text:?} is not a status; write 503, 5xx or 500-599");
    let status = |text: &str| {
        let status = text.trim().parse().map_err(|_| wrong())?;
        if (100..=599).contains(&status) {
            Ok(status)
        } else {
            Err(wrong())
        }
    };
    if let Some(class) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
        let first = status(&format!("{class}00"))?;
        return Ok((first, first + 99));
    }
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (status(first)?, status(last)?),
        None => (status(text)?, status(text)?),
    };
    if first > last {
        return Err(wrong());
    }
    Ok((first, last))
}

fn tunnel(tunnel: &Tunnel, path: &Path<'_>, report: &mut Report) {
    if !matches!(tunnel.protocol.as_str(), "" | "CONNECT" | "POST") {
        report.error(
            &path.field("protocol"),
            format!("{:?} is neither CONNECT nor POST", tunnel.protocol),
        );
    }
    if tunnel.target_host.parse::<std::net::IpAddr>().is_err() {
        report.check(&path.field("targetHost"), names::fqdn(&tunnel.target_host));
    }
    report.check(&path.field("targetPort"), names::port(tunnel.target_port));
}
