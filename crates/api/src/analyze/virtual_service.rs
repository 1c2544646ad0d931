//! VirtualServices: whether what they refer to exists, and whether they are in each other's way.

use std::collections::BTreeMap;

use lateen_model::{Host, HostPattern, selects};

use super::set::{Audience, Parsed, Service, Services, Set, audience, is_seen_together};
use super::{Findings, code};
use crate::kinds::SECURITY;
use crate::problem::{Path, closest};
use crate::spec::destination_rule::DestinationRule;
use crate::spec::gateway::Gateway;
use crate::spec::security::RequestAuthentication;
use crate::spec::virtual_service::{Destination, VirtualService};
use crate::validate::gateway_name;

/// What VirtualServices refer to.
struct Context<'a> {
    set: &'a Set<'a>,
    services: Services,
    rules: Vec<Parsed<'a, DestinationRule>>,
    gateways: Vec<Parsed<'a, Gateway>>,
}

/// Analyses every VirtualService.
pub(super) fn analyze(set: &Set<'_>, findings: &mut Findings) {
    let context = Context {
        set,
        services: set.services(),
        rules: set.destination_rules(),
        gateways: set.gateways(),
    };
    let all = set.virtual_services();
    for routes in &all {
        destinations(routes, &context, findings);
        gateways(routes, &context, findings);
        delegates(routes, &all, findings);
        claims(routes, &context, findings);
    }
    conflicts(&all, set, findings);
}

/// Visits every destination with its path; the flag says that a port may be needed.
fn visit(spec: &VirtualService, mut visit: impl FnMut(&Destination, &Path<'_>)) {
    let root = Path::Root("spec");
    let http = root.field("http");
    for (index, rule) in spec.http.iter().enumerate() {
        let rule_path = http.index(index);
        let route = rule_path.field("route");
        for (index, entry) in rule.route.iter().enumerate() {
            visit(&entry.destination, &route.index(index).field("destination"));
        }
        if let Some(mirror) = &rule.mirror {
            visit(mirror, &rule_path.field("mirror"));
        }
        let mirrors = rule_path.field("mirrors");
        for (index, mirror) in rule.mirrors.iter().enumerate() {
            visit(
                &mirror.destination,
                &mirrors.index(index).field("destination"),
            );
        }
    }
    let lists = [
        (
            "tls",
            spec.tls.iter().map(|rule| &rule.route).collect::<Vec<_>>(),
        ),
        ("tcp", spec.tcp.iter().map(|rule| &rule.route).collect()),
    ];
    for (field, routes) in lists {
        let list = root.field(field);
        for (index, route) in routes.into_iter().enumerate() {
            let rule_path = list.index(index);
            let path = rule_path.field("route");
            for (index, entry) in route.iter().enumerate() {
                visit(&entry.destination, &path.index(index).field("destination"));
            }
        }
    }
}

fn destinations(
    routes: &Parsed<'_, VirtualService>,
    context: &Context<'_>,
    findings: &mut Findings,
) {
    let namespace = routes.subject.namespace;
    visit(&routes.spec, |destination, path| {
        // That it is missing is validation's to say, once.
        if destination.host.is_empty() {
            return;
        }
        let host = context.set.host(&destination.host, namespace);
        let services = context.services.find(&host);
        if services.is_empty() {
            let text = missing_host(&destination.host, &host, context);
            findings.add(
                &code::REFERENCE,
                routes.subject,
                &path.field("host").to_string(),
                text,
            );
            return;
        }
        port(destination, &services, routes, path, findings);
        if !destination.subset.is_empty() {
            subset(destination, &host, routes, context, path, findings);
        }
    });
}

fn missing_host(written: &str, host: &Host, context: &Context<'_>) -> String {
    let similar = context.services.similar(host);
    let hint = similar
        .map(|meant| format!("; did you mean {meant}?"))
        .unwrap_or_default();
    if written == host.as_str() {
        format!("the host {written:?} does not exist{hint}")
    } else {
        format!("the host {written:?} ({host}) does not exist{hint}")
    }
}

fn port(
    destination: &Destination,
    services: &[&Service],
    routes: &Parsed<'_, VirtualService>,
    path: &Path<'_>,
    findings: &mut Findings,
) {
    let ports: Vec<u16> = services
        .iter()
        .flat_map(|s| s.ports.iter().copied())
        .collect();
    let list = || {
        ports
            .iter()
            .map(u16::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    match destination.port {
        Some(port) => {
            let is_known = ports.iter().any(|known| u32::from(*known) == port.number);
            if !is_known && !ports.is_empty() {
                findings.add(
                    &code::REFERENCE,
                    routes.subject,
                    &path.field("port.number").to_string(),
                    format!(
                        "the service {:?} has no port {}; it has {}",
                        destination.host,
                        port.number,
                        list()
                    ),
                );
            }
        }
        None if services.iter().all(|service| service.ports.len() > 1) => {
            findings.add(
                &code::PORT_REQUIRED,
                routes.subject,
                &path.to_string(),
                format!(
                    "the service {:?} has several ports ({}); set port.number to one of them",
                    destination.host,
                    list()
                ),
            );
        }
        None => {}
    }
}

fn subset(
    destination: &Destination,
    host: &Host,
    routes: &Parsed<'_, VirtualService>,
    context: &Context<'_>,
    path: &Path<'_>,
    findings: &mut Findings,
) {
    let name = &destination.subset;
    let rules: Vec<&Parsed<'_, DestinationRule>> = context
        .rules
        .iter()
        .filter(|rule| {
            context
                .set
                .pattern(&rule.spec.host, rule.subject.namespace)
                .matches(host.as_str())
        })
        .collect();
    let subsets = || {
        rules
            .iter()
            .flat_map(|rule| &rule.spec.subsets)
            .map(|s| s.name.as_str())
    };
    if subsets().any(|known| known == name) {
        return;
    }
    let hint = if rules.is_empty() {
        format!("; no DestinationRule is for {host}")
    } else {
        closest(name, subsets()).map_or_else(
            || format!("; there are {}", subsets().collect::<Vec<_>>().join(", ")),
            |meant| format!("; did you mean {meant:?}?"),
        )
    };
    findings.add(
        &code::REFERENCE,
        routes.subject,
        &path.field("subset").to_string(),
        format!(
            "the subset {name:?} of {:?} does not exist{hint}",
            destination.host
        ),
    );
}

fn gateways(routes: &Parsed<'_, VirtualService>, context: &Context<'_>, findings: &mut Findings) {
    let root = Path::Root("spec");
    let list = root.field("gateways");
    for (index, name) in routes.spec.gateways.iter().enumerate() {
        gateway(name, &list.index(index), true, routes, context, findings);
    }
    let http = root.field("http");
    for (index, rule) in routes.spec.http.iter().enumerate() {
        let rule_path = http.index(index);
        let matches = rule_path.field("match");
        for (index, block) in rule.matches.iter().enumerate() {
            let block_path = matches.index(index);
            let list = block_path.field("gateways");
            for (index, name) in block.gateways.iter().enumerate() {
                gateway(name, &list.index(index), false, routes, context, findings);
            }
        }
    }
}

fn gateway(
    name: &str,
    path: &Path<'_>,
    has_hosts: bool,
    routes: &Parsed<'_, VirtualService>,
    context: &Context<'_>,
    findings: &mut Findings,
) {
    if name == "mesh" {
        return;
    }
    let own = routes.subject.namespace;
    let (namespace, short) = gateway_name(name, own);
    let found = context
        .gateways
        .iter()
        .find(|gw| gw.subject.namespace == namespace && gw.subject.object.name() == short);
    let Some(found) = found else {
        let mut others = context.set.of("gateway.networking.k8s.io", "Gateway");
        if others.any(|gw| gw.namespace == namespace && gw.object.name() == short) {
            return;
        }
        let hint = closest(
            short,
            context.gateways.iter().map(|gw| gw.subject.object.name()),
        )
        .filter(|meant| *meant != short)
        .map(|meant| format!("; did you mean {meant:?}?"))
        .unwrap_or_default();
        let text = format!("the gateway {namespace}/{short} does not exist{hint}");
        return findings.add(&code::REFERENCE, routes.subject, &path.to_string(), text);
    };
    let hosts = &routes.spec.hosts;
    if has_hosts && !hosts.is_empty() && !serves_any(found, hosts, own, context.set) {
        findings.add(
            &code::HOST_NOT_IN_GATEWAY,
            routes.subject,
            "spec.hosts",
            format!(
                "none of the hosts {} is served by the gateway {namespace}/{short}",
                hosts.join(", ")
            ),
        );
    }
}

/// Answers whether a server of the gateway has one of the hosts, for objects of `namespace`.
fn serves_any(
    gateway: &Parsed<'_, Gateway>,
    hosts: &[String],
    namespace: &str,
    set: &Set<'_>,
) -> bool {
    let own = gateway.subject.namespace;
    let served = gateway.spec.servers.iter().flat_map(|server| &server.hosts);
    let patterns: Vec<HostPattern> = served
        .filter_map(|host| {
            let (ns, name) = host.split_once('/').unwrap_or(("*", host));
            let is_for = ns == "*" || ns == namespace || (ns == "." && own == namespace);
            is_for.then(|| set.pattern(name, own))
        })
        .collect();
    hosts.iter().any(|host| {
        let host = set.pattern(host, namespace);
        patterns
            .iter()
            .any(|pattern| pattern.intersect(&host).is_some())
    })
}

fn delegates(
    routes: &Parsed<'_, VirtualService>,
    all: &[Parsed<'_, VirtualService>],
    findings: &mut Findings,
) {
    for (index, rule) in routes.spec.http.iter().enumerate() {
        let Some(delegate) = &rule.delegate else {
            continue;
        };
        let namespace = match delegate.namespace.as_str() {
            "" => routes.subject.namespace,
            given => given,
        };
        let exists = all.iter().any(|other| {
            other.subject.namespace == namespace && other.subject.object.name() == delegate.name
        });
        if !exists {
            let text = format!(
                "the VirtualService {namespace}/{} does not exist",
                delegate.name
            );
            let field = format!("spec.http[{index}].delegate");
            findings.add(&code::REFERENCE, routes.subject, &field, text);
        }
    }
}

/// Routes by claims need somebody who checks tokens at the gateway.
fn claims(routes: &Parsed<'_, VirtualService>, context: &Context<'_>, findings: &mut Findings) {
    let place = routes.spec.http.iter().enumerate().find_map(|(i, rule)| {
        rule.matches.iter().enumerate().find_map(|(j, block)| {
            let mut keys = block.headers.keys().chain(block.without_headers.keys());
            keys.any(|key| key.starts_with("@request.auth.claims"))
                .then(|| format!("spec.http[{i}].match[{j}]"))
        })
    });
    let Some(place) = place else { return };
    let policies: Vec<Parsed<'_, RequestAuthentication>> =
        context.set.parsed(SECURITY, "RequestAuthentication");
    let workloads = context.set.workloads();
    let is_checked = |gateway: &&Parsed<'_, Gateway>| {
        policies.iter().any(|policy| {
            let Some(selector) = &policy.spec.selector else {
                return true;
            };
            workloads.iter().any(|workload| {
                selects(&gateway.spec.selector, &workload.labels)
                    && selects(&selector.match_labels, &workload.labels)
            })
        })
    };
    let mut own = routes
        .spec
        .gateways
        .iter()
        .filter(|name| *name != "mesh")
        .filter_map(|name| {
            let (namespace, short) = gateway_name(name, routes.subject.namespace);
            context
                .gateways
                .iter()
                .find(|gw| gw.subject.namespace == namespace && gw.subject.object.name() == short)
        });
    if own.any(|gateway| !is_checked(&gateway)) {
        let text =
            "routes by claims of tokens, but no RequestAuthentication checks tokens at the gateway";
        findings.add(
            &code::CLAIMS_WITHOUT_AUTHENTICATION,
            routes.subject,
            &place,
            text,
        );
    }
}

/// A VirtualService of sidecars that routes a host: its index, that of the host, and who sees it.
type Claim = (usize, usize, Audience);

/// A sidecar takes only the oldest of several VirtualServices for a host.
fn conflicts(all: &[Parsed<'_, VirtualService>], set: &Set<'_>, findings: &mut Findings) {
    let mut claims: BTreeMap<HostPattern, Vec<Claim>> = BTreeMap::new();
    for (index, routes) in all.iter().enumerate() {
        let gateways = &routes.spec.gateways;
        if !gateways.is_empty() && !gateways.iter().any(|name| name == "mesh") {
            continue;
        }
        let namespace = routes.subject.namespace;
        for (position, host) in routes.spec.hosts.iter().enumerate() {
            let claim = (index, position, audience(&routes.spec.export_to, namespace));
            claims
                .entry(set.pattern(host, namespace))
                .or_default()
                .push(claim);
        }
    }
    for (pattern, claims) in claims.iter().filter(|(_, claims)| claims.len() > 1) {
        for (index, position, seen_by) in claims {
            let others: Vec<String> = claims
                .iter()
                .filter(|(other, _, audience)| {
                    other != index && is_seen_together(seen_by.as_ref(), audience.as_ref())
                })
                .map(|(other, ..)| all[*other].subject)
                .map(|other| format!("{}/{}", other.namespace, other.object.name()))
                .collect();
            if !others.is_empty() {
                let text = format!(
                    "sidecars use only the oldest VirtualService of a host, and {pattern} is also \
                     routed by {}; merge them",
                    others.join(", ")
                );
                let field = format!("spec.hosts[{position}]");
                findings.add(
                    &code::CONFLICTING_MESH_HOSTS,
                    all[*index].subject,
                    &field,
                    text,
                );
            }
        }
    }
}
