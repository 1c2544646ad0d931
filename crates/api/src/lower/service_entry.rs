//! Lowers a ServiceEntry: a service per host, and the endpoints of those that are STATIC.

use ipnet::IpNet;
use lateen_model::endpoint::{Endpoint, Endpoints};
use lateen_model::service::{DnsEndpoint, Registry, Resolution, Service, ServiceKey, ServicePort};
use lateen_model::{Body, Host, Protocol, Resource, ResourceName};
use serde_json::Value;

use super::{Context, Lowered, Workload, export_to, port};
use crate::object::Object;
use crate::spec::service_entry as spec;
use crate::validate::subnet;

/// The label by which a ServiceEntry refuses addresses.
const AUTO_ALLOCATE: &str = "networking.istio.io/enable-autoallocate-ip";

/// The hosts of a ServiceEntry that an address is to be allocated for, as Istio does: those of one
/// that has none, unless clients look them up themselves. A wildcard has an address only where the
/// proxy looks its hosts up one by one.
pub fn hosts_without_address(object: &Value) -> Vec<String> {
    let spec = &object["spec"];
    let has_addresses = spec["addresses"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    let resolution = spec["resolution"].as_str().unwrap_or("NONE");
    let is_refused = Object(object).label(AUTO_ALLOCATE) == Some("false");
    if has_addresses || is_refused || resolution == "NONE" {
        return Vec::new();
    }
    let hosts = spec["hosts"].as_array().into_iter().flatten();
    let hosts = hosts.filter_map(Value::as_str);
    hosts
        .filter(|host| host.starts_with('*') == (resolution == "DYNAMIC_DNS"))
        .map(str::to_owned)
        .collect()
}

/// Lowers a spec that was checked. `workloads` are those that its selector selects.
pub(super) fn lower(
    spec: &spec::ServiceEntry,
    object: Object<'_>,
    context: &Context<'_>,
    workloads: &[Workload],
) -> Lowered {
    let mut lowered = Lowered {
        selector: spec.workload_selector.as_ref().map(|s| s.labels.clone()),
        ..Lowered::default()
    };
    let inline: Vec<Workload> = spec.endpoints.iter().map(Workload::of_entry).collect();
    let workloads = if lowered.selector.is_some() {
        workloads
    } else {
        &inline
    };
    for host in &spec.hosts {
        let key = ServiceKey {
            namespace: context.namespace.to_owned(),
            host: Host::new(host),
        };
        let service = service(spec, object, key.clone(), context, workloads);
        if service.resolution == Resolution::Endpoints {
            lowered
                .endpoints
                .push(endpoints(spec, key.clone(), workloads));
        }
        lowered.resources.push(Resource {
            name: ResourceName(format!("Service/{key}")),
            source: context.source.clone(),
            body: Body::Service(service),
        });
    }
    lowered
}

fn service(
    spec: &spec::ServiceEntry,
    object: Object<'_>,
    key: ServiceKey,
    context: &Context<'_>,
    workloads: &[Workload],
) -> Service {
    let all_ports = spec.ports.iter().map(|entry| ServicePort {
        number: port(entry.number),
        name: entry.name.clone(),
        protocol: protocol(entry),
    });
    let resolution = match spec.resolution.unwrap_or_default() {
        spec::Resolution::None => Resolution::OriginalDst,
        spec::Resolution::DynamicDns => Resolution::DynamicDns(ports(spec, &Workload::default())),
        spec::Resolution::Static => Resolution::Endpoints,
        spec::Resolution::Dns => Resolution::Dns(names(spec, &key, workloads)),
        spec::Resolution::DnsRoundRobin => Resolution::DnsRoundRobin(names(spec, &key, workloads)),
    };
    Service {
        registry: Registry::ServiceEntry,
        addresses: addresses(spec),
        allocated: allocated(spec, object, &key),
        ports: all_ports.collect(),
        resolution,
        is_external: spec.location.unwrap_or_default() == spec::Location::MeshExternal,
        export_to: export_to(
            &spec.export_to,
            &context.settings.default_service_export_to,
            context.namespace,
        ),
        key,
    }
}

/// The declared protocol; if none is, that of the port's name, as for a Service.
fn protocol(entry: &spec::ServicePort) -> Protocol {
    Protocol::from_name(&entry.protocol)
        .unwrap_or_else(|| Protocol::select(port(entry.number), &entry.name, None))
}

/// The virtual addresses that the user wrote.
fn addresses(spec: &spec::ServiceEntry) -> Vec<IpNet> {
    let texts = spec.addresses.iter();
    texts.filter_map(|text| subnet(text).ok()).collect()
}

/// The addresses of a host that were allocated (in `status`). They are for proxies that answer
/// DNS: an application that looks the host up elsewhere dials other addresses, and must be met
/// there.
fn allocated(spec: &spec::ServiceEntry, object: Object<'_>, key: &ServiceKey) -> Vec<IpNet> {
    if !spec.addresses.is_empty() {
        return Vec::new();
    }
    let allocated = object.0["status"]["addresses"].as_array();
    let is_for_host = |host: &str| host.is_empty() || Host::new(host) == key.host;
    allocated
        .into_iter()
        .flatten()
        .filter(|entry| is_for_host(entry["host"].as_str().unwrap_or("")))
        .filter_map(|entry| subnet(entry["value"].as_str()?).ok())
        .collect()
}

/// Pairs of service port and the port of a workload: its own number for the port's name, else the
/// target port, else the same.
fn ports(spec: &spec::ServiceEntry, workload: &Workload) -> Vec<(u16, u16)> {
    let target = |entry: &spec::ServicePort| {
        let own = workload.ports.get(&entry.name).copied();
        own.or_else(|| entry.target_port.filter(|p| *p != 0).map(port))
            .unwrap_or_else(|| port(entry.number))
    };
    spec.ports
        .iter()
        .map(|entry| (port(entry.number), target(entry)))
        .collect()
}

/// Names to look up; without endpoints that is the host itself.
fn names(spec: &spec::ServiceEntry, key: &ServiceKey, workloads: &[Workload]) -> Vec<DnsEndpoint> {
    if workloads.is_empty() && spec.workload_selector.is_none() {
        let itself = Workload {
            address: key.host.as_str().to_owned(),
            ..Workload::default()
        };
        return vec![name(spec, &itself)];
    }
    let reachable = workloads.iter().filter(|w| w.is_ready && w.has_name());
    reachable.map(|workload| name(spec, workload)).collect()
}

fn name(spec: &spec::ServiceEntry, workload: &Workload) -> DnsEndpoint {
    DnsEndpoint {
        name: workload.address.clone(),
        ports: ports(spec, workload),
        labels: workload.labels.clone(),
        weight: workload.weight.max(1),
        locality: workload.locality.clone(),
    }
}

fn endpoints(spec: &spec::ServiceEntry, key: ServiceKey, workloads: &[Workload]) -> Endpoints {
    let is_internal = spec.location == Some(spec::Location::MeshInternal);
    let mut endpoints: Vec<Endpoint> = workloads
        .iter()
        .filter_map(|workload| {
            Some(Endpoint {
                address: workload.address.parse().ok()?,
                ports: ports(spec, workload),
                labels: workload.labels.clone(),
                weight: workload.weight.max(1),
                health: workload.health(),
                locality: workload.locality.clone(),
                is_meshed: is_internal && workload.is_meshed,
                service_account: workload.service_account.clone(),
                hostname: String::new(),
            })
        })
        .collect();
    endpoints.sort_by(|a, b| (&a.address, &a.ports).cmp(&(&b.address, &b.ports)));
    Endpoints {
        service: key,
        endpoints,
    }
}
