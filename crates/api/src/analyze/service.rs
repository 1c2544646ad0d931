//! Kubernetes Services: names of ports, and several services in front of one workload.

use std::collections::BTreeMap;

use lateen_model::{Protocol, selects};
use serde_json::Value;

use super::set::{Set, Subject, Workload};
use super::{Findings, code};
use crate::object::string_map;

/// A port of a Service.
struct Port {
    number: u16,
    name: String,
    protocol: Protocol,
    /// The target, as it is written: a number or a name.
    target: String,
}

/// Analyses every Service.
pub(super) fn analyze(set: &Set<'_>, findings: &mut Findings) {
    for service in set
        .of("", "Service")
        .filter(|s| !set.is_system(s.namespace))
    {
        port_names(service, findings);
    }
    for workload in set
        .workloads()
        .iter()
        .filter(|w| w.subject.object.kind() == "Deployment")
    {
        deployment(workload, set, findings);
    }
}

fn ports(service: &Subject<'_>) -> Vec<(usize, Port)> {
    let list = service.object.spec()["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate();
    list.filter(|(_, port)| port["protocol"].as_str().unwrap_or("TCP") == "TCP")
        .filter_map(|(index, port)| {
            let number = u16::try_from(port["port"].as_u64()?).ok()?;
            let name = port["name"].as_str().unwrap_or("").to_owned();
            let target = match &port["targetPort"] {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => number.to_string(),
            };
            let protocol = Protocol::select(number, &name, port["appProtocol"].as_str());
            Some((
                index,
                Port {
                    number,
                    name,
                    protocol,
                    target,
                },
            ))
        })
        .collect()
}

fn port_names(service: &Subject<'_>, findings: &mut Findings) {
    let is_external = service.object.spec()["type"] == "ExternalName";
    for (index, port) in ports(service) {
        let field = format!("spec.ports[{index}].name");
        if is_external && matches!(port.protocol, Protocol::Unknown | Protocol::Tcp) {
            let text = format!(
                "port {} of an ExternalName service takes all traffic to that port; name its protocol, as in http-{}",
                port.number, port.number
            );
            findings.add(&code::EXTERNAL_NAME_PORT, service, &field, text);
        } else if port.protocol == Protocol::Unknown {
            let text = format!(
                "the name {:?} of port {} tells no protocol, so it is found out from the first bytes; name it as in http-web, or set appProtocol",
                port.name, port.number
            );
            findings.add(&code::PORT_NAME, service, &field, text);
        }
    }
}

/// The ports of every service in front of a deployment must agree.
fn deployment(workload: &Workload<'_>, set: &Set<'_>, findings: &mut Findings) {
    let subject = workload.subject;
    let in_front: Vec<&Subject<'_>> = set
        .of("", "Service")
        .filter(|service| {
            let selector = string_map(service.object.spec()["selector"].as_object());
            service.namespace == subject.namespace
                && !selector.is_empty()
                && selects(&selector, &workload.labels)
        })
        .collect();
    let mut by_number: BTreeMap<u16, Vec<(Protocol, &str)>> = BTreeMap::new();
    let mut by_target: BTreeMap<String, Vec<(u16, &str)>> = BTreeMap::new();
    for service in &in_front {
        for (_, port) in ports(service) {
            let name = service.object.name();
            by_number
                .entry(port.number)
                .or_default()
                .push((port.protocol, name));
            by_target
                .entry(port.target)
                .or_default()
                .push((port.number, name));
        }
    }
    for (number, users) in by_number {
        if users.iter().any(|(protocol, _)| *protocol != users[0].0) {
            let text = format!(
                "the services {} give port {number} different protocols",
                names(users.iter().map(|(_, name)| *name))
            );
            findings.add(&code::MULTIPLE_SERVICES, subject, "", text);
        }
    }
    for (target, users) in by_target {
        let is_same_service = users.iter().all(|(_, name)| *name == users[0].1);
        if !is_same_service && users.iter().any(|(number, _)| *number != users[0].0) {
            let text = format!(
                "the services {} reach the target port {target} by different ports",
                names(users.iter().map(|(_, name)| *name))
            );
            findings.add(&code::CONFLICTING_PORTS, subject, "", text);
        }
    }
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut list: Vec<&str> = names.collect();
    list.sort_unstable();
    list.dedup();
    list.join(", ")
}
