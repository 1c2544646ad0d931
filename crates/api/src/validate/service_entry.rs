//! Rules of ServiceEntries, WorkloadEntries and WorkloadGroups.

use std::net::IpAddr;

use lateen_model::Protocol;
use lateen_model::address::socket_path;
use serde::Deserialize;

use super::gateway::unix_path;
use super::{header, names};
use crate::object::Object;
use crate::problem::{Path, Problem, Report};
use crate::spec::service_entry::{Resolution, ServiceEntry, ServicePort};
use crate::spec::workload::{Probe, WorkloadEntry, WorkloadGroup};

/// Checks a ServiceEntry.
pub(super) fn check(spec: &ServiceEntry, object: Object<'_>, report: &mut Report) {
    let root = Path::Root("spec");
    let resolution = spec.resolution.unwrap_or_default();
    if let Some(selector) = &spec.workload_selector {
        let path = root.field("workloadSelector");
        names::selector(&selector.labels, &path.field("labels"), report);
        if !spec.endpoints.is_empty() {
            report.error(&path, "set only one of workloadSelector and endpoints");
        }
        if resolution == Resolution::None {
            report.warn(&path, "does nothing with resolution NONE");
        }
    }
    hosts(spec, &root.field("hosts"), report);
    addresses(spec, resolution, &root.field("addresses"), report);
    let ports = root.field("ports");
    for (index, entry) in spec.ports.iter().enumerate() {
        port(entry, &spec.ports[..index], &ports.index(index), report);
    }
    let path = root.field("endpoints");
    match resolution {
        Resolution::None => none(spec, &path, report),
        Resolution::Static => fixed(spec, &path, report),
        Resolution::Dns | Resolution::DnsRoundRobin => dns(spec, resolution, &root, report),
        Resolution::DynamicDns => dynamic(spec, &root, report),
    }
    tcp(spec, resolution, &root, report);
    names::export_to(
        &spec.export_to,
        object.namespace(),
        true,
        &root.field("exportTo"),
        report,
    );
}

fn hosts(spec: &ServiceEntry, path: &Path<'_>, report: &mut Report) {
    if spec.hosts.is_empty() {
        report.error(path, "needs at least one host");
    }
    for (index, host) in spec.hosts.iter().enumerate() {
        let path = path.index(index);
        if host == "*" {
            report.error(
                &path,
                "\"*\" is not a service; name a host or a domain such as *.example.com",
            );
            continue;
        }
        if host.parse::<IpAddr>().is_ok() {
            report.error(
                &path,
                format!("{host:?} is an address; put it into addresses, and a name here"),
            );
            continue;
        }
        report.check(&path, names::wildcard_host(host));
        if host.starts_with('*') && !host.starts_with("*.") {
            report.warn(
                &path,
                format!("{host:?} matches less than it seems; use *. and a domain"),
            );
        }
    }
}

fn addresses(spec: &ServiceEntry, resolution: Resolution, path: &Path<'_>, report: &mut Report) {
    for (index, text) in spec.addresses.iter().enumerate() {
        let path = path.index(index);
        report.check(&path, names::subnet(text));
        if text.contains('/') && !matches!(resolution, Resolution::None | Resolution::Static) {
            report.error(
                &path,
                "a range of addresses needs resolution NONE or STATIC",
            );
        }
    }
}

fn port(entry: &ServicePort, earlier: &[ServicePort], path: &Path<'_>, report: &mut Report) {
    report.check(&path.field("number"), names::port(entry.number));
    report.check(&path.field("name"), names::port_name(&entry.name));
    if !entry.protocol.is_empty() {
        report.check(&path.field("protocol"), names::protocol(&entry.protocol));
    }
    if let Some(target) = entry.target_port.filter(|target| *target != 0) {
        report.check(&path.field("targetPort"), names::port(target));
    }
    if earlier.iter().any(|other| other.name == entry.name) {
        report.error(
            &path.field("name"),
            format!("{:?} is the name of another port", entry.name),
        );
    }
    if earlier.iter().any(|other| other.number == entry.number) {
        report.error(
            &path.field("number"),
            format!("{} is the number of another port", entry.number),
        );
    }
}

fn none(spec: &ServiceEntry, path: &Path<'_>, report: &mut Report) {
    if !spec.endpoints.is_empty() {
        report.error(
            path,
            "resolution NONE uses the address that the caller dialled; leave endpoints out or use STATIC or DNS",
        );
    }
}

fn fixed(spec: &ServiceEntry, path: &Path<'_>, report: &mut Report) {
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        let path = path.index(index);
        let address = &endpoint.address;
        if socket_path(address).is_some() {
            socket(spec, endpoint, &path, report);
        } else if address.parse::<IpAddr>().is_err() && !is_behind_gateway(endpoint) {
            report.error(
                &path.field("address"),
                format!("{address:?} is not an IP address; names need resolution DNS"),
            );
        }
        workload(endpoint, &path, report);
        defined_ports(spec, endpoint, &path, report);
    }
}

/// Answers whether an entry is reached through the gateway of its network, without an address.
fn is_behind_gateway(endpoint: &WorkloadEntry) -> bool {
    endpoint.address.is_empty() && !endpoint.network.is_empty()
}

/// A socket serves one port.
fn socket(spec: &ServiceEntry, endpoint: &WorkloadEntry, path: &Path<'_>, report: &mut Report) {
    if spec.ports.len() != 1 {
        report.error(
            &path.field("address"),
            "a socket of the file system serves exactly one port",
        );
    }
    if !endpoint.ports.is_empty() {
        report.error(
            &path.field("ports"),
            "must not be set for a socket of the file system",
        );
    }
}

fn defined_ports(
    spec: &ServiceEntry,
    endpoint: &WorkloadEntry,
    path: &Path<'_>,
    report: &mut Report,
) {
    let path = path.field("ports");
    for name in endpoint.ports.keys() {
        if !spec.ports.iter().any(|port| port.name == *name) {
            report.error(
                &path.key(name),
                format!("{name:?} is not the name of a port of the service"),
            );
        }
    }
}

fn dns(spec: &ServiceEntry, resolution: Resolution, root: &Path<'_>, report: &mut Report) {
    let path = root.field("endpoints");
    if spec.endpoints.is_empty() && spec.workload_selector.is_none() {
        let hosts = root.field("hosts");
        for (index, host) in spec
            .hosts
            .iter()
            .enumerate()
            .filter(|(_, h)| h.starts_with('*'))
        {
            report.error(
                &hosts.index(index),
                format!("{host:?} cannot be looked up; give endpoints, or use resolution NONE or DYNAMIC_DNS"),
            );
        }
    }
    if resolution == Resolution::DnsRoundRobin && spec.endpoints.len() > 1 {
        report.error(&path, "DNS_ROUND_ROBIN takes one endpoint at most; use DNS");
    }
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        let path = path.index(index);
        let address = &endpoint.address;
        if socket_path(address).is_some() {
            report.error(
                &path.field("address"),
                "a socket of the file system needs resolution STATIC",
            );
        } else if address.parse::<IpAddr>().is_err() && !is_behind_gateway(endpoint) {
            report.check(&path.field("address"), names::fqdn(address));
        }
        workload(endpoint, &path, report);
        defined_ports(spec, endpoint, &path, report);
    }
}

fn dynamic(spec: &ServiceEntry, root: &Path<'_>, report: &mut Report) {
    let hosts = root.field("hosts");
    for (index, host) in spec
        .hosts
        .iter()
        .enumerate()
        .filter(|(_, h)| !h.starts_with('*'))
    {
        report.error(
            &hosts.index(index),
            format!("DYNAMIC_DNS is for wildcard hosts; {host:?} is none"),
        );
    }
    if !spec.addresses.is_empty() {
        report.error(
            &root.field("addresses"),
            "must not be set with resolution DYNAMIC_DNS",
        );
    }
    if !spec.endpoints.is_empty() {
        report.error(
            &root.field("endpoints"),
            "must not be set with resolution DYNAMIC_DNS",
        );
    }
    let ports = root.field("ports");
    for (index, port) in spec.ports.iter().enumerate() {
        let protocol = Protocol::from_name(&port.protocol);
        let is_known = matches!(
            protocol,
            Some(Protocol::Http | Protocol::Http2 | Protocol::Grpc | Protocol::Tls)
        );
        if !is_known {
            report.error(
                &ports.index(index).field("protocol"),
                "DYNAMIC_DNS needs HTTP, HTTP2, GRPC or TLS, which name the host",
            );
        }
    }
}

/// What a connection without a name can be told by.
fn tcp(spec: &ServiceEntry, resolution: Resolution, root: &Path<'_>, report: &mut Report) {
    let is_tcp = |port: &&ServicePort| Protocol::from_name(&port.protocol) == Some(Protocol::Tcp);
    let Some(port) = spec.ports.iter().find(is_tcp) else {
        return;
    };
    let number = port.number;
    let hosts = root.field("hosts");
    if spec.hosts.len() > 1 && resolution != Resolution::None {
        report.error(
            &hosts,
            format!("port {number} is TCP, where hosts cannot be told apart; use one ServiceEntry per host"),
        );
    } else if spec.hosts.len() > 1 && !spec.addresses.is_empty() {
        report.warn(
            &hosts,
            format!(
                "port {number} is TCP, where hosts with the same addresses cannot be told apart"
            ),
        );
    }
}

/// A port of a ServiceEntry that takes every connection because no address tells its own apart.
pub(crate) fn address_missing(object: Object<'_>) -> Option<Problem> {
    if object.istio_kind()?.kind != "ServiceEntry" {
        return None;
    }
    let spec = ServiceEntry::deserialize(object.spec()).ok()?;
    let allocated = object.0["status"]["addresses"].as_array();
    if !spec.addresses.is_empty() || allocated.is_some_and(|list| !list.is_empty()) {
        return None;
    }
    let protocol = |port: &ServicePort| {
        let number = u16::try_from(port.number).unwrap_or(0);
        Protocol::from_name(&port.protocol)
            .unwrap_or_else(|| Protocol::select(number, &port.name, None))
    };
    let is_opaque =
        |port: &&ServicePort| matches!(protocol(port), Protocol::Tcp | Protocol::Unknown);
    let number = spec.ports.iter().find(is_opaque)?.number;
    Some(Path::Root("spec.addresses").problem(format!(
        "are needed for TCP: without one the service takes every connection to port {number}"
    )))
}

/// Checks a WorkloadEntry.
pub(super) fn check_workload_entry(spec: &WorkloadEntry, _: Object<'_>, report: &mut Report) {
    let root = Path::Root("spec");
    let address = root.field("address");
    let text = &spec.address;
    if text.is_empty() {
        if spec.network.is_empty() {
            report.error(
                &address,
                "is required (or network, for a workload behind a gateway)",
            );
        } else {
            report.warn(
                &address,
                "is missing: the workload is reached through the gateway of its network",
            );
        }
    } else if socket_path(text).is_some() {
        if !spec.ports.is_empty() {
            report.error(
                &root.field("ports"),
                "must not be set for a socket of the file system",
            );
        }
    } else if text.parse::<IpAddr>().is_err()
        && let Err(reason) = names::fqdn(text)
    {
        report.error(
            &address,
            format!("neither an IP address, nor unix:// with a path, nor a host name: {reason}"),
        );
    }
    workload(spec, &root, report);
}

/// What every entry must keep, wherever it stands.
fn workload(entry: &WorkloadEntry, path: &Path<'_>, report: &mut Report) {
    if let Some(socket) = socket_path(&entry.address) {
        report.check(&path.field("address"), unix_path(socket));
    }
    let ports = path.field("ports");
    for (name, number) in &entry.ports {
        report.check(&ports.key(name), names::port_name(name));
        report.check(&ports.key(name), names::port(*number));
    }
    names::labels(&entry.labels, &path.field("labels"), report);
}

/// Checks a WorkloadGroup.
pub(super) fn check_workload_group(spec: &WorkloadGroup, _: Object<'_>, report: &mut Report) {
    let root = Path::Root("spec");
    if let Some(metadata) = &spec.metadata {
        names::labels(
            &metadata.labels,
            &root.field("metadata").field("labels"),
            report,
        );
    }
    let template = root.field("template");
    names::labels(&spec.template.labels, &template.field("labels"), report);
    let ports = template.field("ports");
    for (name, number) in &spec.template.ports {
        report.check(&ports.key(name), names::port_name(name));
        report.check(&ports.key(name), names::port(*number));
    }
    if socket_path(&spec.template.address).is_some() && !spec.template.ports.is_empty() {
        report.error(&ports, "must not be set for a socket of the file system");
    }
    if let Some(value) = &spec.probe {
        probe(value, &root.field("probe"), report);
    }
}

fn probe(probe: &Probe, path: &Path<'_>, report: &mut Report) {
    let methods = [
        probe.http_get.is_some(),
        probe.tcp_socket.is_some(),
        probe.exec.is_some(),
        probe.grpc.is_some(),
    ];
    if methods.into_iter().filter(|is_set| *is_set).count() != 1 {
        report.error(path, "needs exactly one of httpGet, tcpSocket and exec");
    }
    if let Some(get) = &probe.http_get {
        let path = path.field("httpGet");
        report.check(&path.field("port"), names::port(get.port));
        if !matches!(get.scheme.as_str(), "" | "HTTP" | "HTTPS") {
            report.error(
                &path.field("scheme"),
                format!("{:?} is neither HTTP nor HTTPS", get.scheme),
            );
        }
        let headers = path.field("httpHeaders");
        for (index, entry) in get.http_headers.iter().enumerate() {
            report.check(
                &headers.index(index).field("name"),
                header::name(&entry.name),
            );
        }
    }
    if let Some(socket) = &probe.tcp_socket {
        report.check(
            &path.field("tcpSocket").field("port"),
            names::port(socket.port),
        );
    }
    if probe
        .exec
        .as_ref()
        .is_some_and(|exec| exec.command.is_empty())
    {
        report.error(&path.field("exec").field("command"), "must not be empty");
    }
    if probe.grpc.is_some() {
        report.error(
            &path.field("grpc"),
            "is not supported; use httpGet, tcpSocket or exec",
        );
    }
}
