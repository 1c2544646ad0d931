//! Rows of services and what belongs to them.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::{Head, age, labels, or_none};
use crate::apiserver::object::{at, items, name, text};

/// More endpoints than these are only counted.
const SHOWN: usize = 3;

pub(super) const SERVICE: &[Head] = &[
    ("Name", "string", false),
    ("Type", "string", false),
    ("Cluster-IP", "string", false),
    ("External-IP", "string", false),
    ("Port(s)", "string", false),
    ("Age", "string", false),
    ("Selector", "string", true),
];

pub(super) const ENDPOINTS: &[Head] = &[
    ("Name", "string", false),
    ("Endpoints", "string", false),
    ("Age", "string", false),
];

pub(super) const SLICE: &[Head] = &[
    ("Name", "string", false),
    ("AddressType", "string", false),
    ("Ports", "string", false),
    ("Endpoints", "string", false),
    ("Age", "string", false),
];

pub(super) const INGRESS: &[Head] = &[
    ("Name", "string", false),
    ("Class", "string", false),
    ("Hosts", "string", false),
    ("Address", "string", false),
    ("Ports", "string", false),
    ("Age", "string", false),
];

pub(super) const CLASS: &[Head] = &[
    ("Name", "string", false),
    ("Controller", "string", false),
    ("Parameters", "string", false),
    ("Age", "string", false),
];

pub(super) const POLICY: &[Head] = &[
    ("Name", "string", false),
    ("Pod-Selector", "string", false),
    ("Age", "string", false),
];

pub(super) fn service(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(object).into(),
        text(object, &["spec", "type"]).into(),
        or_none(text(object, &["spec", "clusterIP"])),
        external_addresses(object).into(),
        service_ports(object).into(),
        age::since_created(object, now),
        labels(at(object, &["spec", "selector"])),
    ]
}

fn external_addresses(object: &Value) -> String {
    let own: Vec<&str> = items(object, &["spec", "externalIPs"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    match text(object, &["spec", "type"]) {
        "ExternalName" => text(object, &["spec", "externalName"]).to_owned(),
        "LoadBalancer" => {
            let ingress = items(object, &["status", "loadBalancer", "ingress"]).iter();
            let found: Vec<&str> = ingress
                .map(|one| match text(one, &["ip"]) {
                    "" => text(one, &["hostname"]),
                    address => address,
                })
                .chain(own)
                .collect();
            if found.is_empty() {
                "<pending>".into()
            } else {
                found.join(",")
            }
        }
        _ if own.is_empty() => "<none>".into(),
        _ => own.join(","),
    }
}

fn service_ports(object: &Value) -> String {
    let ports: Vec<String> = items(object, &["spec", "ports"])
        .iter()
        .map(|port| {
            let protocol = text(port, &["protocol"]);
            match port["nodePort"].as_u64() {
                Some(node) => format!("{}:{node}/{protocol}", port["port"]),
                None => format!("{}/{protocol}", port["port"]),
            }
        })
        .collect();
    if ports.is_empty() {
        "<none>".into()
    } else {
        ports.join(",")
    }
}

pub(super) fn endpoints(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut found = Vec::new();
    for subset in items(object, &["subsets"]) {
        for address in items(subset, &["addresses"]) {
            let address = text(address, &["ip"]);
            let ports = items(subset, &["ports"]);
            if ports.is_empty() {
                found.push(address.to_owned());
            }
            found.extend(
                ports
                    .iter()
                    .map(|port| format!("{address}:{}", port["port"])),
            );
        }
    }
    vec![
        name(object).into(),
        shortened(&found).into(),
        age::since_created(object, now),
    ]
}

pub(super) fn slice(object: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = items(object, &["ports"])
        .iter()
        .map(|port| {
            port["port"]
                .as_u64()
                .map_or("*".into(), |number| number.to_string())
        })
        .collect();
    let addresses: Vec<String> = items(object, &["endpoints"])
        .iter()
        .flat_map(|endpoint| items(endpoint, &["addresses"]))
        .filter_map(|address| address.as_str().map(str::to_owned))
        .collect();
    let or_unset = |list: &[String]| {
        if list.is_empty() {
            "<unset>".to_owned()
        } else {
            shortened(list)
        }
    };
    vec![
        name(object).into(),
        text(object, &["addressType"]).into(),
        or_unset(&ports).into(),
        or_unset(&addresses).into(),
        age::since_created(object, now),
    ]
}

/// The first few of a list, and how many more there are.
fn shortened(list: &[String]) -> String {
    match list.len() {
        0 => "<none>".into(),
        count if count > SHOWN => {
            format!("{} + {} more...", list[..SHOWN].join(","), count - SHOWN)
        }
        _ => list.join(","),
    }
}

pub(super) fn ingress(object: &Value, now: Timestamp) -> Vec<Value> {
    let rules = items(object, &["spec", "rules"]).iter();
    let hosts: Vec<&str> = rules
        .map(|rule| text(rule, &["host"]))
        .filter(|host| !host.is_empty())
        .collect();
    let addresses: Vec<&str> = items(object, &["status", "loadBalancer", "ingress"])
        .iter()
        .map(|one| match text(one, &["ip"]) {
            "" => text(one, &["hostname"]),
            address => address,
        })
        .collect();
    let has_tls = !items(object, &["spec", "tls"]).is_empty();
    vec![
        name(object).into(),
        or_none(text(object, &["spec", "ingressClassName"])),
        if hosts.is_empty() {
            "*".into()
        } else {
            hosts.join(",").into()
        },
        addresses.join(",").into(),
        if has_tls { "80, 443" } else { "80" }.into(),
        age::since_created(object, now),
    ]
}

pub(super) fn class(object: &Value, now: Timestamp) -> Vec<Value> {
    let parameter = |key| text(object, &["spec", "parameters", key]);
    let parameters = match parameter("kind") {
        "" => "<none>".to_owned(),
        kind => format!("{kind}/{}", parameter("name")),
    };
    vec![
        name(object).into(),
        text(object, &["spec", "controller"]).into(),
        parameters.into(),
        age::since_created(object, now),
    ]
}

pub(super) fn policy(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(object).into(),
        labels(at(object, &["spec", "podSelector", "matchLabels"])),
        age::since_created(object, now),
    ]
}
