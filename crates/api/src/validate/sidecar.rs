//! Rules of Sidecars.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lateen_model::Protocol;
use lateen_model::address::socket_path;

use super::{connection_pool, gateway, names, tls, virtual_service};
use crate::object::Object;
use crate::problem::{Path, Report};
use crate::spec::common::Port;
use crate::spec::sidecar::{
    CaptureMode, EgressListener, IngressListener, OutboundMode, OutboundTrafficPolicy, Sidecar,
};
use crate::spec::tls::{ServerTls, ServerTlsMode};

/// Checks a Sidecar.
pub(super) fn check(spec: &Sidecar, _: Object<'_>, report: &mut Report) {
    let root = Path::Root("spec");
    if *spec == Sidecar::default() {
        report.error(
            &root,
            "must not be empty; set egress, ingress or outboundTrafficPolicy",
        );
    }
    if let Some(selector) = &spec.workload_selector {
        let path = root.field("workloadSelector.labels");
        names::selector(&selector.labels, &path, report);
    }
    let list = root.field("ingress");
    let mut numbers = BTreeSet::new();
    for (index, listener) in spec.ingress.iter().enumerate() {
        let path = list.index(index);
        ingress(listener, &path, report);
        let number = listener.port.number;
        if !numbers.insert(number) {
            report.error(
                &path.field("port").field("number"),
                format!("{number} is used twice"),
            );
        }
    }
    let list = root.field("egress");
    let mut places = BTreeSet::new();
    for (index, listener) in spec.egress.iter().enumerate() {
        let path = list.index(index);
        let is_last = index + 1 == spec.egress.len();
        egress(listener, is_last, &path, report);
        if let Some(port) = &listener.port
            && !places.insert((&listener.bind, port.number))
        {
            report.error(&path.field("port"), "another entry listens here");
        }
    }
    if let Some(policy) = &spec.outbound_traffic_policy {
        outbound_policy(policy, &root.field("outboundTrafficPolicy"), report);
    }
    if let Some(pool) = &spec.inbound_connection_pool {
        connection_pool::check(pool, &root.field("inboundConnectionPool"), report);
    }
}

fn ingress(listener: &IngressListener, path: &Path<'_>, report: &mut Report) {
    let protocol = port(&listener.port, false, &path.field("port"), report);
    if !listener.bind.is_empty() {
        report.check(&path.field("bind"), gateway::bind(&listener.bind));
    }
    if !listener.default_endpoint.is_empty() {
        report.check(
            &path.field("defaultEndpoint"),
            endpoint(&listener.default_endpoint),
        );
    }
    if let Some(settings) = &listener.tls {
        ingress_tls(settings, protocol, &path.field("tls"), report);
    }
    if let Some(pool) = &listener.connection_pool {
        let path = path.field("connectionPool");
        connection_pool::check(pool, &path, report);
        if pool.http.is_some() && protocol.is_some_and(|protocol| !protocol.is_http()) {
            report.warn(
                &path.field("http"),
                "does nothing on a port that is not HTTP",
            );
        }
    }
}

fn port(port: &Port, may_be_zero: bool, path: &Path<'_>, report: &mut Report) -> Option<Protocol> {
    if !(may_be_zero && port.number == 0) {
        report.check(&path.field("number"), names::port(port.number));
    }
    if port.target_port.is_some_and(|target| target != 0) {
        report.error(&path.field("targetPort"), "is not supported for sidecars");
    }
    if !port.name.is_empty() {
        report.check(&path.field("name"), names::port_name(&port.name));
    }
    report.check(&path.field("protocol"), names::protocol(&port.protocol))
}

/// Where a workload listens: loopback or its own address with a port, or a socket.
fn endpoint(text: &str) -> Result<(), String> {
    if let Some(socket) = socket_path(text) {
        return gateway::unix_path(socket);
    }
    let wrong = || {
        format!(
            "{text:?} is not where a workload listens: 127.0.0.1, [::1], 0.0.0.0 or [::] with a \
             port, or unix:// with a path"
        )
    };
    let (host, number) = text.rsplit_once(':').ok_or_else(wrong)?;
    if !matches!(host, "" | "127.0.0.1" | "0.0.0.0" | "[::1]" | "[::]") {
        return Err(wrong());
    }
    names::port(number.parse().map_err(|_| wrong())?)
}

fn ingress_tls(
    settings: &ServerTls,
    protocol: Option<Protocol>,
    path: &Path<'_>,
    report: &mut Report,
) {
    let fields = [
        ("httpsRedirect", settings.https_redirect),
        ("subjectAltNames", !settings.subject_alt_names.is_empty()),
        ("credentialName", !settings.credential_name.is_empty()),
        ("credentialNames", !settings.credential_names.is_empty()),
        ("tlsCertificates", !settings.tls_certificates.is_empty()),
    ];
    for (field, _) in fields.into_iter().filter(|(_, is_set)| *is_set) {
        report.error(&path.field(field), "is not supported for sidecars");
    }
    if matches!(
        settings.mode,
        Some(ServerTlsMode::IstioMutual | ServerTlsMode::AutoPassthrough)
    ) {
        report.error(&path.field("mode"), "is not supported for sidecars");
    }
    if protocol.is_some_and(|p| !matches!(p, Protocol::Https | Protocol::Tls)) {
        report.error(path, "needs a port of protocol HTTPS or TLS");
    }
    tls::server(settings, path, report);
}

fn egress(listener: &EgressListener, is_last: bool, path: &Path<'_>, report: &mut Report) {
    let is_socket = socket_path(&listener.bind).is_some();
    match &listener.port {
        None if !is_last => {
            report.error(
                path,
                "an entry without port is for all other ports, so it must be the last",
            );
        }
        None if !listener.bind.is_empty() => {
            report.error(&path.field("bind"), "needs a port");
        }
        None => {}
        Some(value) => {
            port(value, is_socket, &path.field("port"), report);
            if is_socket && value.number != 0 {
                report.error(
                    &path.field("port").field("number"),
                    "must be 0 where bind is a socket of the file system",
                );
            }
        }
    }
    if !listener.bind.is_empty() {
        report.check(&path.field("bind"), gateway::bind(&listener.bind));
    }
    if is_socket && listener.capture_mode == Some(CaptureMode::Iptables) {
        report.error(
            &path.field("captureMode"),
            "connections to a socket cannot be captured",
        );
    }
    hosts(&listener.hosts, &path.field("hosts"), report);
}

fn hosts(list: &[String], path: &Path<'_>, report: &mut Report) {
    if list.is_empty() {
        report.error(
            path,
            "needs at least one host, such as ./* or istio-system/*",
        );
    }
    let mut seen = BTreeSet::new();
    for (index, text) in list.iter().enumerate() {
        let path = path.index(index);
        let Some((namespace, name)) = text.split_once('/') else {
            report.error(
                &path,
                format!("{text:?} has no namespace; write namespace/name"),
            );
            continue;
        };
        let named = namespace.strip_prefix('~').unwrap_or(namespace);
        if !matches!(named, "*" | "." | "") {
            report.check(&path, names::dns_label(named));
        } else if namespace.is_empty() {
            report.error(
                &path,
                format!("{text:?} has no namespace; write namespace/name"),
            );
        }
        if name.parse::<IpAddr>().is_err() {
            report.check(&path, names::wildcard_host(name));
        }
        if !seen.insert(text) {
            report.warn(&path, format!("{text:?} is listed twice"));
        }
    }
    if list.len() > 1 && list.iter().any(|host| host == "*/*") {
        report.warn(path, "*/* is every service; the other entries say nothing");
    }
}

fn outbound_policy(policy: &OutboundTrafficPolicy, path: &Path<'_>, report: &mut Report) {
    let Some(proxy) = &policy.egress_proxy else {
        return;
    };
    let path_of_proxy = path.field("egressProxy");
    if policy.mode != Some(OutboundMode::AllowAny) {
        report.error(&path_of_proxy, "needs mode: ALLOW_ANY");
    }
    if proxy.port.is_none() {
        report.error(&path_of_proxy.field("port"), "is required");
    }
    virtual_service::destination(proxy, &path_of_proxy, report);
}
