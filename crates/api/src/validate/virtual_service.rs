//! Rules of VirtualServices.

use lateen_model::HostPattern;

use super::overlap::Hosts;
use super::{header, http_action, http_match, names};
use crate::object::Object;
use crate::problem::{Path, Report};
use crate::spec::virtual_service::{
    Destination, HttpRoute, RouteDestination, TcpRoute, TlsMatch, TlsRoute, VirtualService,
};

/// Checks a VirtualService.
pub(super) fn check(spec: &VirtualService, object: Object<'_>, report: &mut Report) {
    let root = Path::Root("spec");
    let is_delegate = spec.hosts.is_empty();
    if is_delegate {
        delegate(spec, &root, report);
    }
    if spec.http.is_empty() && spec.tls.is_empty() && spec.tcp.is_empty() {
        report.error(&root, "needs at least one rule in http, tls or tcp");
    }
    let is_mesh = !is_delegate && applies_to_sidecars(&spec.gateways);
    let is_gateway = spec.gateways.iter().any(|name| name != "mesh");
    names::gateways(&spec.gateways, &root.field("gateways"), report);
    hosts(spec, is_mesh, is_gateway, &root.field("hosts"), report);
    let namespace = object.namespace();
    names::export_to(
        &spec.export_to,
        namespace,
        false,
        &root.field("exportTo"),
        report,
    );
    let http = root.field("http");
    for (index, rule) in spec.http.iter().enumerate() {
        http_rule(rule, is_delegate, is_mesh, &http.index(index), report);
    }
    let tls = root.field("tls");
    let mut hosts = Hosts::default();
    for (index, host) in spec.hosts.iter().enumerate() {
        hosts.insert(&HostPattern::resolve(host, "", ""), index);
    }
    for (index, rule) in spec.tls.iter().enumerate() {
        tls_rule(rule, &hosts, &tls.index(index), report);
    }
    let tcp = root.field("tcp");
    for (index, rule) in spec.tcp.iter().enumerate() {
        tcp_rule(rule, &tcp.index(index), report);
    }
}

/// Answers whether sidecars are among these gateways; nothing means all sidecars.
pub(super) fn applies_to_sidecars(gateways: &[String]) -> bool {
    gateways.is_empty() || gateways.iter().any(|name| name == "mesh")
}

/// A VirtualService without hosts is one that others refer to.
fn delegate(spec: &VirtualService, root: &Path<'_>, report: &mut Report) {
    let forbidden = [
        ("gateways", !spec.gateways.is_empty()),
        ("tls", !spec.tls.is_empty()),
        ("tcp", !spec.tcp.is_empty()),
    ];
    for (field, _) in forbidden.into_iter().filter(|(_, is_set)| *is_set) {
        report.error(
            &root.field(field),
            "must not be set without hosts (a VirtualService without hosts is a delegate)",
        );
    }
}

fn hosts(
    spec: &VirtualService,
    is_mesh: bool,
    is_gateway: bool,
    path: &Path<'_>,
    report: &mut Report,
) {
    let mut seen = Hosts::default();
    for (index, host) in spec.hosts.iter().enumerate() {
        let path = path.index(index);
        if host == "*" && is_mesh {
            report.error(
                &path,
                "\"*\" is not allowed for sidecars; name the hosts, or list only gateways in spec.gateways",
            );
            continue;
        }
        if !(is_gateway && is_internal_sni(host))
            && let Err(reason) = names::wildcard_host_or_ip(host)
        {
            report.error(&path, reason);
            continue;
        }
        // Short names are compared as written: all of them belong to the same namespace.
        let pattern = HostPattern::resolve(host, "", "");
        if let Some(other) = seen.overlapping(&pattern) {
            let other = &spec.hosts[other];
            report.error(&path, format!("{host:?} overlaps with {other:?}"));
        }
        seen.insert(&pattern, index);
    }
}

/// The server names that proxies use among themselves: `outbound_.80_.subset_.host`.
fn is_internal_sni(host: &str) -> bool {
    let mut parts = host.splitn(4, "_.");
    let port = |part: &str| part.parse::<u16>().is_ok();
    parts.next() == Some("outbound")
        && parts.next().is_some_and(port)
        && parts.next().is_some()
        && parts.next().is_some_and(|rest| names::fqdn(rest).is_ok())
}

fn http_rule(
    rule: &HttpRoute,
    is_delegate: bool,
    is_mesh: bool,
    path: &Path<'_>,
    report: &mut Report,
) {
    let matches = path.field("match");
    for (index, block) in rule.matches.iter().enumerate() {
        let is_mesh = if block.gateways.is_empty() {
            is_mesh
        } else {
            applies_to_sidecars(&block.gateways)
        };
        http_match::check(block, is_mesh, &matches.index(index), report);
    }
    if rule.delegate.is_some() {
        delegating(rule, is_delegate, path, report);
    } else {
        http_action::check(rule, path, report);
    }
    http_action::common(rule, path, report);
    let route = path.field("route");
    for (index, entry) in rule.route.iter().enumerate() {
        let path = route.index(index);
        destination(&entry.destination, &path.field("destination"), report);
        if let Some(headers) = &entry.headers {
            header::operations(headers, &path.field("headers"), report);
        }
    }
    weights(rule.route.iter().map(|entry| entry.weight), &route, report);
}

/// A rule that hands over to another VirtualService does nothing itself.
fn delegating(rule: &HttpRoute, is_delegate: bool, path: &Path<'_>, report: &mut Report) {
    if is_delegate {
        report.error(
            &path.field("delegate"),
            "a delegate must not delegate again",
        );
    }
    let actions = [
        ("route", !rule.route.is_empty()),
        ("redirect", rule.redirect.is_some()),
        ("directResponse", rule.direct_response.is_some()),
    ];
    for (field, _) in actions.into_iter().filter(|(_, is_set)| *is_set) {
        report.error(&path.field(field), "must not be set beside delegate");
    }
    if let Some(target) = &rule.delegate {
        let path = path.field("delegate");
        if target.name.is_empty() {
            report.error(&path.field("name"), "is required");
        }
        if !target.namespace.is_empty() {
            report.check(
                &path.field("namespace"),
                names::dns_label(&target.namespace),
            );
        }
    }
}

/// A destination of requests, connections or copies.
pub(super) fn destination(destination: &Destination, path: &Path<'_>, report: &mut Report) {
    let host = path.field("host");
    match destination.host.as_str() {
        "" => report.error(&host, "is required"),
        "*" => report.error(&host, "a destination is one service; \"*\" is not allowed"),
        name => {
            report.check(&host, names::wildcard_host_or_ip(name));
        }
    }
    if !destination.subset.is_empty() {
        report.check(&path.field("subset"), names::dns_label(&destination.subset));
    }
    if let Some(port) = destination.port {
        report.check(
            &path.field("port").field("number"),
            names::port(port.number),
        );
    }
}

/// Weights of several destinations.
fn weights(weights: impl ExactSizeIterator<Item = i32>, path: &Path<'_>, report: &mut Report) {
    let count = weights.len();
    let mut sum: i64 = 0;
    for (index, weight) in weights.enumerate() {
        if weight < 0 {
            report.error(
                &path.index(index).field("weight"),
                format!("{weight} is negative"),
            );
        }
        sum += i64::from(weight.max(0));
    }
    if count > 1 && sum == 0 {
        report.error(
            path,
            "the weights are all 0, so nothing would be sent anywhere",
        );
    }
}

fn tls_rule(rule: &TlsRoute, hosts: &Hosts, path: &Path<'_>, report: &mut Report) {
    let matches = path.field("match");
    if rule.matches.is_empty() {
        report.error(&matches, "needs at least one entry with sniHosts");
    }
    for (index, block) in rule.matches.iter().enumerate() {
        tls_match(block, hosts, &matches.index(index), report);
    }
    l4_route(&rule.route, path, report);
}

fn tls_match(block: &TlsMatch, hosts: &Hosts, path: &Path<'_>, report: &mut Report) {
    let sni = path.field("sniHosts");
    if block.sni_hosts.is_empty() {
        report.error(&sni, "needs at least one name");
    }
    for (index, name) in block.sni_hosts.iter().enumerate() {
        let path = sni.index(index);
        if name.parse::<std::net::IpAddr>().is_ok() {
            report.warn(
                &path,
                format!("{name:?} is an address; clients never send one as SNI"),
            );
        } else if let Err(reason) = names::wildcard_host(name)
            && !is_internal_sni(name)
        {
            report.error(&path, reason);
            continue;
        }
        let pattern = HostPattern::resolve(name, "", "");
        if hosts.covering(&pattern).is_none() {
            report.error(
                &path,
                format!("{name:?} is not among the hosts of the VirtualService"),
            );
        }
    }
    subnets(&block.destination_subnets, path, report);
    l4_conditions(
        block.port,
        &block.source_labels,
        &block.source_namespace,
        &block.gateways,
        path,
        report,
    );
}

fn tcp_rule(rule: &TcpRoute, path: &Path<'_>, report: &mut Report) {
    let matches = path.field("match");
    for (index, block) in rule.matches.iter().enumerate() {
        let path = matches.index(index);
        subnets(&block.destination_subnets, &path, report);
        if !block.source_subnet.is_empty() {
            report.warn(&path.field("sourceSubnet"), "is ignored");
        }
        l4_conditions(
            block.port,
            &block.source_labels,
            &block.source_namespace,
            &block.gateways,
            &path,
            report,
        );
    }
    l4_route(&rule.route, path, report);
}

fn subnets(list: &[String], path: &Path<'_>, report: &mut Report) {
    let path = path.field("destinationSubnets");
    for (index, text) in list.iter().enumerate() {
        report.check(&path.index(index), names::subnet(text));
    }
}

fn l4_conditions(
    port: Option<u32>,
    labels: &std::collections::BTreeMap<String, String>,
    namespace: &str,
    gateways: &[String],
    path: &Path<'_>,
    report: &mut Report,
) {
    if let Some(port) = port {
        report.check(&path.field("port"), names::port(port));
    }
    names::labels(labels, &path.field("sourceLabels"), report);
    if !namespace.is_empty() {
        report.check(&path.field("sourceNamespace"), names::dns_label(namespace));
    }
    names::gateways(gateways, &path.field("gateways"), report);
}

fn l4_route(route: &[RouteDestination], path: &Path<'_>, report: &mut Report) {
    let path = path.field("route");
    if route.is_empty() {
        report.error(&path, "needs at least one destination");
    }
    for (index, entry) in route.iter().enumerate() {
        destination(
            &entry.destination,
            &path.index(index).field("destination"),
            report,
        );
    }
    weights(route.iter().map(|entry| entry.weight), &path, report);
}
