//! Gateways: whether they select proxies, whether their ports are exposed, and conflicts.

use lateen_model::selects;
use serde_json::Value;

use super::set::{Parsed, Set, Workload};
use super::{Findings, code};
use crate::object::string_map;
use crate::spec::gateway::{Gateway, Server};

/// Analyses every Gateway.
pub(super) fn analyze(set: &Set<'_>, findings: &mut Findings) {
    let gateways = set.gateways();
    let workloads = set.workloads();
    for gateway in &gateways {
        let selected: Vec<&Workload<'_>> = workloads
            .iter()
            .filter(|w| selects(&gateway.spec.selector, &w.labels))
            .collect();
        if selected.is_empty() && !gateway.spec.selector.is_empty() {
            let pairs: Vec<String> = gateway
                .spec
                .selector
                .iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect();
            let text = format!("no pod has the labels {}", pairs.join(","));
            findings.add(&code::REFERENCE, gateway.subject, "spec.selector", text);
        }
        exposed_ports(gateway, &selected, set, findings);
        credentials(gateway, &selected, set, findings);
    }
    conflicts(&gateways, findings);
}

/// A Secret that is named must be beside the pods of the gateway. Where the Secrets of the cluster
/// are not known, nothing can be said.
fn credentials(
    gateway: &Parsed<'_, Gateway>,
    selected: &[&Workload<'_>],
    set: &Set<'_>,
    findings: &mut Findings,
) {
    let secrets: Vec<_> = set.of("", "Secret").collect();
    if !secrets.iter().any(|secret| secret.is_of_cluster()) {
        return;
    }
    let mut namespaces: Vec<&str> = selected.iter().map(|w| w.subject.namespace).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    let has = |namespace: &str, name: &str| {
        let mut all = secrets.iter();
        all.any(|secret| secret.namespace == namespace && secret.object.name() == name)
    };
    for (index, server) in gateway.spec.servers.iter().enumerate() {
        let Some(tls) = &server.tls else { continue };
        let single = [
            ("credentialName".to_owned(), &tls.credential_name),
            (
                "caCertCredentialName".to_owned(),
                &tls.ca_cert_credential_name,
            ),
        ];
        let several = tls.credential_names.iter().enumerate();
        let several = several.map(|(i, name)| (format!("credentialNames[{i}]"), name));
        for (field, name) in single.into_iter().chain(several) {
            let name = name.strip_prefix("kubernetes://").unwrap_or(name);
            // Other schemes are other sources.
            if name.is_empty() || name.contains("://") {
                continue;
            }
            for namespace in namespaces.iter().filter(|namespace| !has(namespace, name)) {
                let text = format!(
                    "the Secret {namespace}/{name} does not exist; it must be in the namespace of \
                     the gateway's pods"
                );
                let field = format!("spec.servers[{index}].tls.{field}");
                findings.add(&code::REFERENCE, gateway.subject, &field, text);
            }
        }
    }
}

/// A number that no Service of the gateway exposes is listened to, but nobody reaches it from
/// outside.
fn exposed_ports(
    gateway: &Parsed<'_, Gateway>,
    selected: &[&Workload<'_>],
    set: &Set<'_>,
    findings: &mut Findings,
) {
    let exposed: Vec<u64> = set
        .of("", "Service")
        .filter(|service| {
            let selector = string_map(service.object.spec()["selector"].as_object());
            let is_behind = |w: &&Workload<'_>| {
                w.subject.namespace == service.namespace && selects(&selector, &w.labels)
            };
            !selector.is_empty() && selected.iter().any(is_behind)
        })
        .flat_map(|service| {
            service.object.spec()["ports"]
                .as_array()
                .into_iter()
                .flatten()
        })
        .filter_map(|port: &Value| port["port"].as_u64())
        .collect();
    if exposed.is_empty() {
        return;
    }
    for (index, server) in gateway.spec.servers.iter().enumerate() {
        let number = server.port.number;
        if number != 0 && !exposed.contains(&u64::from(number)) {
            let list: Vec<String> = exposed.iter().map(u64::to_string).collect();
            let text = format!(
                "no Service of the gateway exposes port {number}; exposed are {}",
                list.join(", ")
            );
            let field = format!("spec.servers[{index}].port.number");
            findings.add(&code::GATEWAY_PORT, gateway.subject, &field, text);
        }
    }
}

/// Servers of different Gateways that cannot be told apart.
fn conflicts(gateways: &[Parsed<'_, Gateway>], findings: &mut Findings) {
    for gateway in gateways {
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let others: Vec<String> = gateways
                .iter()
                .filter(|other| {
                    !std::ptr::eq(*other, gateway) && other.spec.selector == gateway.spec.selector
                })
                .filter(|other| other.spec.servers.iter().any(|s| is_same(server, s)))
                .map(|other| {
                    format!(
                        "{}/{}",
                        other.subject.namespace,
                        other.subject.object.name()
                    )
                })
                .collect();
            if !others.is_empty() {
                let text = format!(
                    "port {} with the same hosts is also served by {}",
                    server.port.number,
                    others.join(", ")
                );
                let field = format!("spec.servers[{index}]");
                findings.add(&code::CONFLICTING_GATEWAYS, gateway.subject, &field, text);
            }
        }
    }
}

fn is_same(a: &Server, b: &Server) -> bool {
    a.port.number == b.port.number
        && a.bind == b.bind
        && a.hosts.iter().any(|host| b.hosts.contains(host))
}
