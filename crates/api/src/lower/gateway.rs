//! Lowers a Gateway.

use lateen_model::gateway::{Gateway, Server, ServerHost};
use lateen_model::{Body, HostPattern, Protocol};

use super::{Context, Lowered, port};
use crate::spec::gateway as spec;
use crate::spec::tls::{ServerTls, ServerTlsMode};

/// Lowers a spec that was checked.
pub(super) fn lower(spec: &spec::Gateway, context: &Context<'_>) -> Lowered {
    let mut lowered = Lowered::default();
    let mut servers = Vec::new();
    for (index, entry) in spec.servers.iter().enumerate() {
        // A server whose TLS cannot be ended must not be opened as plaintext instead.
        if ends_tls(entry) {
            lowered
                .unsupported
                .push(format!("spec.servers[{index}].tls"));
        } else {
            servers.push(server(entry, context));
        }
    }
    let body = Gateway {
        namespace: context.namespace.to_owned(),
        name: context.source.object.name.clone(),
        selector: spec.selector.clone(),
        servers,
    };
    lowered
        .resources
        .push(context.resource(Body::Gateway(body)));
    lowered
}

fn ends_tls(server: &spec::Server) -> bool {
    let protocol = Protocol::from_name(&server.port.protocol);
    let is_tls = matches!(protocol, Some(Protocol::Https | Protocol::Tls));
    is_tls && mode(server.tls.as_ref()) != ServerTlsMode::Passthrough
}

fn mode(tls: Option<&ServerTls>) -> ServerTlsMode {
    tls.and_then(|tls| tls.mode).unwrap_or_default()
}

fn server(server: &spec::Server, context: &Context<'_>) -> Server {
    let hosts = server.hosts.iter().map(|host| {
        let (namespace, host) = match host.split_once('/') {
            None | Some(("*", _)) => (None, host.trim_start_matches("*/")),
            Some((".", host)) => (Some(context.namespace.to_owned()), host),
            Some((namespace, host)) => (Some(namespace.to_owned()), host),
        };
        let domain = &context.settings.cluster_domain;
        ServerHost {
            namespace,
            host: HostPattern::resolve(host, context.namespace, domain),
        }
    });
    Server {
        name: server.name.clone(),
        port: port(server.port.number),
        port_name: server.port.name.clone(),
        protocol: Protocol::from_name(&server.port.protocol).unwrap_or(Protocol::Tcp),
        bind: server.bind.clone(),
        hosts: hosts.collect(),
        https_redirect: server.tls.as_ref().is_some_and(|tls| tls.https_redirect),
    }
}
