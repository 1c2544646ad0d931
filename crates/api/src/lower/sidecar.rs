//! Lowers a Sidecar: not to a resource, but to what decides which resources a proxy is told.

use std::net::{Ipv4Addr, SocketAddr};

use lateen_model::mesh::OutboundPolicy;
use lateen_model::pool::ConnectionPool;
use lateen_model::{Host, HostPattern, Labels, Protocol, SocketAddress};

use super::connection_pool::connection_pool;
use super::{Lowered, port};
use crate::spec::sidecar as spec;

/// What a Sidecar says about the proxies that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    /// Only for workloads of its namespace with these labels; for all of it (and for all
    /// namespaces without one of their own, if it is in the root namespace) if unset.
    pub selector: Option<Labels>,
    /// Hosts that are imported.
    pub imports: Vec<ImportedHost>,
    /// Hosts that are not, in spite of `imports`.
    pub exclusions: Vec<ImportedHost>,
    /// What happens to traffic to unknown destinations; as the mesh says if unset.
    pub outbound_policy: Option<OutboundPolicy>,
    /// The ports on which its workloads serve; those of their services if empty.
    pub ingress: Vec<Ingress>,
    /// Limits of what its workloads take, in place of those of their services' rules.
    pub inbound_pool: Option<ConnectionPool>,
}

/// A port on which a workload serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingress {
    /// The port that clients dial.
    pub port: u16,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where the workload listens, if not there; an unspecified address is that of the workload.
    pub endpoint: Option<SocketAddress>,
    /// Limits of this port, in place of those of the Sidecar.
    pub pool: Option<ConnectionPool>,
}

/// Hosts of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedHost {
    /// The namespace.
    pub from: ImportedFrom,
    /// The hosts; short names are not expanded, as with Istio.
    pub host: HostPattern,
}

/// The namespace that hosts are imported from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportedFrom {
    /// Any: `*`.
    Any,
    /// That of the proxy: `.`.
    Own,
    /// This.
    Namespace(String),
}

/// Lowers a spec that was checked.
pub(super) fn lower(spec: &spec::Sidecar) -> Lowered {
    let ingress = spec.ingress.iter().map(|listener| Ingress {
        port: port(listener.port.number),
        protocol: Protocol::from_name(&listener.port.protocol).unwrap_or(Protocol::Tcp),
        endpoint: endpoint(&listener.default_endpoint),
        pool: listener.connection_pool.as_ref().map(connection_pool),
    });
    let ingress: Vec<Ingress> = ingress.collect();
    let hosts = spec.egress.iter().flat_map(|listener| &listener.hosts);
    let mut sidecar = Sidecar {
        selector: spec.workload_selector.as_ref().map(|s| s.labels.clone()),
        imports: Vec::new(),
        exclusions: Vec::new(),
        ingress,
        inbound_pool: spec.inbound_connection_pool.as_ref().map(connection_pool),
        outbound_policy: spec
            .outbound_traffic_policy
            .as_ref()
            .map(|policy| match policy.mode {
                // The zero value of Istio's enum.
                None | Some(spec::OutboundMode::RegistryOnly) => OutboundPolicy::RegistryOnly,
                Some(spec::OutboundMode::AllowAny) => OutboundPolicy::AllowAny,
            }),
    };
    for text in hosts {
        let Some((namespace, host)) = text.split_once('/') else {
            continue; // It was refused.
        };
        // `~/*`, nothing at all, is the exclusion of everything.
        match namespace.strip_prefix('~') {
            Some(namespace) => sidecar.exclusions.push(imported(namespace, host)),
            None => sidecar.imports.push(imported(namespace, host)),
        }
    }
    if spec.egress.is_empty() {
        sidecar.imports.push(imported("*", "*"));
    }
    Lowered {
        sidecar: Some(sidecar),
        ..Lowered::default()
    }
}

/// Reads where a workload listens; a port alone is one of its own address.
fn endpoint(text: &str) -> Option<SocketAddress> {
    match text.strip_prefix(':') {
        Some(port) => {
            let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port.parse().ok()?);
            Some(any.into())
        }
        None => text.parse().ok(),
    }
}

fn imported(namespace: &str, host: &str) -> ImportedHost {
    ImportedHost {
        from: match namespace {
            "" | "*" => ImportedFrom::Any,
            "." => ImportedFrom::Own,
            name => ImportedFrom::Namespace(name.to_owned()),
        },
        host: match host.strip_prefix('*') {
            Some("") => HostPattern::Any,
            Some(suffix) => HostPattern::Suffix(Host::new(suffix).as_str().to_owned()),
            None => HostPattern::Exact(Host::new(host)),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::lower::{self, Settings};
    use crate::yaml;

    fn lowered(spec: &str) -> Lowered {
        let object = json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "Sidecar",
            "metadata": {"name": "x", "namespace": "shop"},
            "spec": yaml::value(spec).unwrap(),
        });
        lower::lower(&object, &Settings::default()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn sidecar(spec: &str) -> Sidecar {
        let lowered = lowered(spec);
        assert_eq!(lowered.unsupported, [""; 0]);
        lowered.sidecar.unwrap()
    }

    #[test]
    fn hosts_of_every_listener_are_imported_or_excluded() {
        let sidecar = sidecar(
            "egress: [{hosts: [./*, '*/Foo.com', a/*.bar.com, ~b/*, '~/baz.com']}]\n\
             workloadSelector: {labels: {app: web}}",
        );
        assert_eq!(sidecar.selector.unwrap()["app"], "web");
        let text = |list: &[ImportedHost]| -> Vec<String> {
            let one = |import: &ImportedHost| match &import.from {
                ImportedFrom::Any => format!("*/{}", import.host),
                ImportedFrom::Own => format!("./{}", import.host),
                ImportedFrom::Namespace(name) => format!("{name}/{}", import.host),
            };
            list.iter().map(one).collect()
        };
        assert_eq!(text(&sidecar.imports), ["./*", "*/foo.com", "a/*.bar.com"]);
        assert_eq!(text(&sidecar.exclusions), ["b/*", "*/baz.com"]);
    }

    #[test]
    fn without_egress_everything_is_imported() {
        let sidecar = sidecar("outboundTrafficPolicy: {mode: ALLOW_ANY}");
        assert_eq!(sidecar.imports, [imported("*", "*")]);
        assert_eq!(sidecar.selector, None);
    }

    #[test]
    fn an_outbound_policy_without_a_mode_is_registry_only() {
        let policy = |text: &str| {
            let text = format!("egress: [{{hosts: [./*]}}]\n{text}");
            sidecar(&text).outbound_policy
        };
        assert_eq!(policy(""), None);
        assert_eq!(
            policy("outboundTrafficPolicy: {}"),
            Some(OutboundPolicy::RegistryOnly)
        );
        assert_eq!(
            policy("outboundTrafficPolicy: {mode: ALLOW_ANY}"),
            Some(OutboundPolicy::AllowAny)
        );
    }

    #[test]
    fn ports_that_a_workload_serves_may_lead_elsewhere() {
        let sidecar = sidecar(
            "
ingress:
- {port: {number: 80, protocol: HTTP, name: a}}
- {port: {number: 81, protocol: TCP, name: b}, defaultEndpoint: '127.0.0.1:8081'}
- {port: {number: 82, protocol: GRPC, name: c}, defaultEndpoint: '[::1]:8082'}
- {port: {number: 83, protocol: HTTP2, name: d}, defaultEndpoint: ':8083'}
- {port: {number: 84, protocol: HTTP, name: e}, defaultEndpoint: 'unix:///run/app.sock'}
",
        );
        let inet = |text: &str| text.parse().ok().map(SocketAddress::Inet);
        let socket = Some(SocketAddress::Unix("/run/app.sock".into()));
        let ingress = |port, protocol, endpoint| Ingress {
            port,
            protocol,
            endpoint,
            pool: None,
        };
        assert_eq!(
            sidecar.ingress,
            [
                ingress(80, Protocol::Http, None),
                ingress(81, Protocol::Tcp, inet("127.0.0.1:8081")),
                ingress(82, Protocol::Grpc, inet("[::1]:8082")),
                ingress(83, Protocol::Http2, inet("0.0.0.0:8083")),
                ingress(84, Protocol::Http, socket),
            ]
        );
    }

    #[test]
    fn a_workload_has_limits_of_its_own_and_its_ports_others() {
        let sidecar = sidecar(
            "
inboundConnectionPool: {tcp: {maxConnections: 9}}
ingress:
- {port: {number: 80, protocol: HTTP, name: a}}
- {port: {number: 81, protocol: HTTP, name: b}, connectionPool: {http: {http2MaxRequests: 3}}}
",
        );
        let pool = sidecar.inbound_pool.unwrap();
        assert_eq!(pool.tcp.max_connections, Some(9));
        assert_eq!(sidecar.ingress[0].pool, None);
        let pool = sidecar.ingress[1].pool.as_ref().unwrap();
        assert_eq!(pool.http.max_requests, Some(3));
        assert_eq!(pool.tcp.max_connections, None);
    }

    #[test]
    fn what_of_a_sidecar_is_not_in_effect_is_listed() {
        let lowered = lowered(
            "
egress:
- {port: {number: 80, protocol: HTTP, name: http}, bind: 127.0.0.1, captureMode: NONE, hosts: ['*/*']}
- {captureMode: IPTABLES, hosts: [./*]}
ingress:
- {port: {number: 81, protocol: HTTP, name: http}, bind: 127.0.0.1, captureMode: NONE}
- {port: {number: 82, protocol: TLS, name: c}, tls: {mode: SIMPLE, serverCertificate: a, privateKey: b}}
outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.com, port: {number: 80}}}
",
        );
        assert_eq!(
            lowered.unsupported,
            [
                "spec.egress[0].bind",
                "spec.egress[0].captureMode",
                "spec.egress[0].port",
                "spec.ingress[0].bind",
                "spec.ingress[0].captureMode",
                "spec.ingress[1].tls",
                "spec.outboundTrafficPolicy.egressProxy",
            ]
        );
    }
}
