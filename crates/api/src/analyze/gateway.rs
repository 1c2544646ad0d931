//! Gateways: whether they select proxies, whether their ports are exposed, their credentials, and
//! conflicts.

use lateen_model::selects;
use serde_json::Value;

use super::credential::{Judge, Secrets};
use super::set::{Parsed, Set, Workload};
use super::{Findings, code, credential};
use crate::object::string_map;
use crate::spec::gateway::{Gateway, Server};

/// Analyses every Gateway.
pub(super) fn analyze(set: &Set<'_>, judge: Judge<'_>, findings: &mut Findings) {
    let secrets = Secrets::of(set);
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
        credential::analyze(gateway, &selected, &secrets, judge, findings);
    }
    conflicts(&gateways, findings);
    duplicates(&gateways, findings);
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
                .map(full_name)
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

/// The same certificate in several Gateways of the same proxies: a client whose connection of HTTP/2
/// was made for the hosts of one may ask there for those of the other, which that one does not serve.
fn duplicates(gateways: &[Parsed<'_, Gateway>], findings: &mut Findings) {
    for gateway in gateways {
        let same_proxies: Vec<&Parsed<'_, Gateway>> = gateways
            .iter()
            .filter(|other| !std::ptr::eq(*other, gateway))
            .filter(|other| selects(&gateway.spec.selector, &other.spec.selector))
            .collect();
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let own = certificates(server);
            let shows_one = |other: &Server| certificates(other).iter().any(|c| own.contains(c));
            let others: Vec<String> = same_proxies
                .iter()
                .filter(|other| other.spec.servers.iter().any(shows_one))
                .map(|other| full_name(other))
                .collect();
            if !others.is_empty() {
                let text = format!(
                    "its certificate is also shown by {}: a client that reuses a connection of \
                     HTTP/2 for hosts of both gets 404; put the hosts into one Gateway",
                    others.join(", ")
                );
                let field = format!("spec.servers[{index}].tls");
                findings.add(&code::DUPLICATE_CERTIFICATE, gateway.subject, &field, text);
            }
        }
    }
}

/// What a server shows: names of Secrets, and paths of files in pairs.
fn certificates(server: &Server) -> Vec<(&str, &str)> {
    let Some(tls) = &server.tls else {
        return Vec::new();
    };
    let names = std::iter::once(&tls.credential_name).chain(&tls.credential_names);
    let secrets = names.map(|name| (name.as_str(), ""));
    let file = (tls.server_certificate.as_str(), tls.private_key.as_str());
    let more = tls.tls_certificates.iter();
    let more = more.map(|pair| (pair.server_certificate.as_str(), pair.private_key.as_str()));
    let all = secrets.chain([file]).chain(more);
    all.filter(|(first, _)| !first.is_empty()).collect()
}

fn full_name(gateway: &Parsed<'_, Gateway>) -> String {
    let subject = gateway.subject;
    format!("{}/{}", subject.namespace, subject.object.name())
}
