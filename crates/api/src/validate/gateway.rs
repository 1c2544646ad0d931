//! Rules of Gateways.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lateen_model::Protocol;
use lateen_model::address::socket_path;

use super::{names, tls};
use crate::object::Object;
use crate::problem::{Path, Report};
use crate::spec::gateway::{Gateway, Server};
use crate::spec::tls::{ServerTls, ServerTlsMode};

/// The most bytes that the path of a socket may have.
const LONGEST_PATH: usize = 107;

/// Checks a Gateway.
pub(super) fn check(spec: &Gateway, object: Object<'_>, report: &mut Report) {
    let root = Path::Root("spec");
    // A Gateway's name becomes part of names that proxies use.
    report.check(
        &Path::Root("metadata.name"),
        names::dns_label(object.name()),
    );
    let servers = root.field("servers");
    if spec.servers.is_empty() {
        report.error(&servers, "needs at least one server");
    }
    let mut port_names = BTreeSet::new();
    for (index, entry) in spec.servers.iter().enumerate() {
        let path = servers.index(index);
        server(entry, &path, report);
        let name = &entry.port.name;
        if !port_names.insert(name) && !name.is_empty() {
            report.error(
                &path.field("port").field("name"),
                format!("{name:?} is the name of another server's port"),
            );
        }
    }
    names::labels(&spec.selector, &root.field("selector"), report);
}

fn server(server: &Server, path: &Path<'_>, report: &mut Report) {
    let hosts = path.field("hosts");
    if server.hosts.is_empty() {
        report.error(&hosts, "needs at least one host; \"*\" is every host");
    }
    for (index, text) in server.hosts.iter().enumerate() {
        host(text, &hosts.index(index), report);
    }
    let protocol = port(server, path, report);
    if !server.bind.is_empty() {
        report.check(&path.field("bind"), bind(&server.bind));
    }
    if let Some(protocol) = protocol {
        server_tls(server.tls.as_ref(), protocol, &path.field("tls"), report);
    }
}

fn host(text: &str, path: &Path<'_>, report: &mut Report) {
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text),
    };
    if let Some(namespace) = namespace.filter(|ns| !matches!(*ns, "*" | "."))
        && let Err(reason) = names::dns_label(namespace)
    {
        report.error(path, format!("the namespace of {text:?}: {reason}"));
    }
    if name == "*" {
        return;
    }
    let is_partial = name.starts_with('*') && !name.starts_with("*.");
    if is_partial {
        report.error(
            path,
            format!("{name:?}: a wildcard must be the whole first label, as in *.example.com"),
        );
    } else if let Err(reason) = names::wildcard_host_or_ip(name) {
        report.error(path, reason);
    } else if !name.contains('.') && name.parse::<IpAddr>().is_err() {
        report.error(
            path,
            format!("{name:?} is a short name; a gateway's clients use full names"),
        );
    }
}

fn port(server: &Server, path: &Path<'_>, report: &mut Report) -> Option<Protocol> {
    let path = path.field("port");
    let is_socket = socket_path(&server.bind).is_some();
    if is_socket {
        if server.port.number != 0 {
            report.error(
                &path.field("number"),
                "must be 0 where bind is a socket of the file system",
            );
        }
    } else {
        report.check(&path.field("number"), names::port(server.port.number));
    }
    if server.port.target_port.is_some_and(|port| port != 0) {
        report.error(&path.field("targetPort"), "is not supported for gateways");
    }
    if server.port.name.is_empty() {
        report.error(&path.field("name"), "is required");
    }
    report.check(
        &path.field("protocol"),
        names::protocol(&server.port.protocol),
    )
}

/// An address to listen on, or a socket of the file system.
pub(super) fn bind(text: &str) -> Result<(), String> {
    if let Some(socket) = socket_path(text) {
        unix_path(socket)
    } else if text.parse::<IpAddr>().is_err() {
        Err(format!(
            "{text:?} is neither an IP address nor unix:// with a path"
        ))
    } else {
        Ok(())
    }
}

/// The path of a socket: absolute, or abstract with `@`, and no longer than the kernel takes
/// (unix(7): 108 bytes with the zero at its end).
pub(super) fn unix_path(path: &str) -> Result<(), String> {
    if path.len() > LONGEST_PATH {
        let length = path.len();
        return Err(format!(
            "{path:?} has {length} bytes; the path of a socket has at most {LONGEST_PATH}"
        ));
    }
    let is_file = path.starts_with('/') && !path.ends_with('/');
    let is_abstract = path.len() > 1 && path.starts_with('@');
    if is_file || is_abstract {
        Ok(())
    } else {
        Err(format!(
            "{path:?} is not the path of a socket: absolute, not a directory, or @name"
        ))
    }
}

fn server_tls(tls: Option<&ServerTls>, protocol: Protocol, path: &Path<'_>, report: &mut Report) {
    let needs_tls = matches!(protocol, Protocol::Https | Protocol::Tls);
    let Some(settings) = tls else {
        if needs_tls {
            report.error(
                path,
                format!("a port of protocol {} needs tls", protocol.as_str()),
            );
        }
        return;
    };
    if !needs_tls {
        let without_redirect = ServerTls {
            https_redirect: false,
            ..settings.clone()
        };
        let is_plain = without_redirect == ServerTls::default();
        if !is_plain {
            report.error(
                path,
                format!(
                    "a port of protocol {} takes no TLS (httpsRedirect apart); use HTTPS or TLS",
                    protocol.as_str()
                ),
            );
        }
        if settings.https_redirect && !protocol.is_http() {
            report.warn(
                &path.field("httpsRedirect"),
                "does nothing on a port that is not HTTP",
            );
        }
        return;
    }
    if settings.https_redirect {
        report.warn(
            &path.field("httpsRedirect"),
            "does nothing on a port that is not plain HTTP",
        );
    }
    if protocol == Protocol::Https && settings.mode == Some(ServerTlsMode::AutoPassthrough) {
        report.warn(
            &path.field("mode"),
            "AUTO_PASSTHROUGH is for ports of protocol TLS",
        );
    }
    tls::server(settings, path, report);
}
