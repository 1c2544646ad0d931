//! The EndpointSlices of a Service: values in, values out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::controllers::{meta, pods};

/// Names the Service of a slice.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
/// Tells clients that connect by name that there is no cluster address.
const HEADLESS: &str = "service.kubernetes.io/headless";
/// The most endpoints of a slice, as in Kubernetes.
const LARGEST_SLICE: usize = 100;

/// What is to be written.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    pub(super) create: Vec<EndpointSlice>,
    pub(super) update: Vec<EndpointSlice>,
    pub(super) delete: Vec<Arc<EndpointSlice>>,
}

/// A slice's address type and ports: endpoints that share them share slices.
type Group = (&'static str, Vec<EndpointPort>);

/// Answers whether we write a slice.
pub(super) fn is_ours(slice: &EndpointSlice) -> bool {
    label(slice, MANAGED_BY) == Some(MANAGER)
}

/// The Service of a slice.
pub(super) fn service_of(slice: &EndpointSlice) -> Option<&str> {
    label(slice, SERVICE_NAME)
}

fn label<'a>(slice: &'a EndpointSlice, key: &str) -> Option<&'a str> {
    slice.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

/// Answers whether a Service has endpoints that we write.
pub(super) fn has_endpoints(service: &Service) -> bool {
    let Some(spec) = &service.spec else {
        return false;
    };
    spec.type_.as_deref() != Some("ExternalName")
        && spec
            .selector
            .as_ref()
            .is_some_and(|selector| !selector.is_empty())
}

/// Answers whether a Service has no cluster address.
pub(super) fn is_headless(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    spec.and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// Compares the slices that are with those that ought to be.
pub(super) fn plan(
    service: &Service,
    selected: &[Arc<Pod>],
    known: &[Arc<EndpointSlice>],
) -> Changes {
    let mut changes = Changes::default();
    let mut unused: Vec<_> = known.to_vec();
    for (group, endpoints) in groups(service, selected) {
        let chunks: Vec<_> = if endpoints.is_empty() {
            vec![&endpoints[..]]
        } else {
            endpoints.chunks(LARGEST_SLICE).collect()
        };
        for chunk in chunks {
            let wished = slice(service, &group, chunk);
            let reusable = unused.iter().position(|known| {
                known.address_type == wished.address_type && known.ports == wished.ports
            });
            // A slice whose ports changed is still better changed than replaced.
            let reusable = reusable.or_else(|| {
                unused
                    .iter()
                    .position(|known| known.address_type == wished.address_type)
            });
            let Some(index) = reusable else {
                changes.create.push(wished);
                continue;
            };
            changes.update.extend(update(&unused.remove(index), wished));
        }
    }
    changes.delete = unused;
    changes
}

/// The known slice with what is wished; nothing if it is as wished.
fn update(known: &Arc<EndpointSlice>, wished: EndpointSlice) -> Option<EndpointSlice> {
    let is_same = known.endpoints == wished.endpoints
        && known.ports == wished.ports
        && known.metadata.labels == wished.metadata.labels;
    if is_same {
        return None;
    }
    let mut updated = EndpointSlice::clone(known);
    updated.endpoints = wished.endpoints;
    updated.ports = wished.ports;
    updated.metadata.labels = wished.metadata.labels;
    Some(updated)
}

/// The endpoints of a Service, by the ports that they have, in order of address. A Service without
/// any has one empty group, so that it is seen that it has none.
fn groups(service: &Service, selected: &[Arc<Pod>]) -> Vec<(Group, Vec<Endpoint>)> {
    let mut groups: BTreeMap<String, (Group, Vec<(IpAddr, Endpoint)>)> = BTreeMap::new();
    for pod in selected.iter().filter(|pod| !pods::is_finished(pod)) {
        for address in addresses(service, pod) {
            let kind = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            let ports = endpoint_ports(service, pod);
            // Ports have no order of their own; their text has.
            let name = format!("{kind} {ports:?}");
            let group = groups
                .entry(name)
                .or_insert_with(|| ((kind, ports), Vec::new()));
            group.1.push((address, endpoint(service, pod, address)));
        }
    }
    if groups.is_empty() {
        return vec![((first_family(service), Vec::new()), Vec::new())];
    }
    let groups = groups.into_values().map(|(group, mut endpoints)| {
        endpoints.sort_by_key(|(address, _)| *address);
        (
            group,
            endpoints
                .into_iter()
                .map(|(_, endpoint)| endpoint)
                .collect(),
        )
    });
    groups.collect()
}

/// The pod's addresses of the Service's families.
pub(super) fn addresses(service: &Service, pod: &Pod) -> Vec<IpAddr> {
    let families = service
        .spec
        .as_ref()
        .and_then(|spec| spec.ip_families.clone());
    let families = families.unwrap_or_else(|| vec!["IPv4".into()]);
    let Some(status) = &pod.status else {
        return Vec::new();
    };
    let listed = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    let mut addresses: Vec<IpAddr> = listed
        .chain(status.pod_ip.as_deref())
        .filter_map(|ip| ip.parse().ok())
        .filter(|ip: &IpAddr| {
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            families.iter().any(|wished| wished == family)
        })
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

fn first_family(service: &Service) -> &'static str {
    let families = service
        .spec
        .as_ref()
        .and_then(|spec| spec.ip_families.as_ref());
    match families
        .and_then(|families| families.first())
        .map(String::as_str)
    {
        Some("IPv6") => "IPv6",
        _ => "IPv4",
    }
}

/// The ports that a pod has for a Service; those it does not name are left out.
fn endpoint_ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service
        .spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten());
    let ports = ports.filter_map(|port| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            protocol: Some(protocol(port).into()),
            port: Some(target_port(port, pod)?),
            app_protocol: port.app_protocol.clone(),
        })
    });
    ports.collect()
}

/// A Service port's protocol.
pub(super) fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

/// The port of a pod's that a Service's port leads to; nothing if the pod does not name it.
pub(super) fn target_port(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None | Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => named_port(pod, name, protocol(port)),
    }
}

fn named_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    // Native sidecars are init containers that stay.
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|init| init.restart_policy.as_deref() == Some("Always"));
    let containers = spec.containers.iter().chain(sidecars);
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    let port = ports.find(|port| {
        port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
    })?;
    Some(port.container_port)
}

fn endpoint(service: &Service, pod: &Pod, address: IpAddr) -> Endpoint {
    let spec = service.spec.as_ref();
    let publishes_all = spec.and_then(|spec| spec.publish_not_ready_addresses) == Some(true);
    let (is_ready, is_terminating) = (pods::is_ready(pod), meta::is_terminating(pod));
    Endpoint {
        addresses: vec![address.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(publishes_all || (is_ready && !is_terminating)),
            serving: Some(is_ready),
            terminating: Some(is_terminating),
        }),
        hostname: hostname(service, pod),
        node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        target_ref: Some(reference(pod)),
        ..Endpoint::default()
    }
}

/// The name of a pod below its Service's.
pub(super) fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let is_below = spec.subdomain.as_deref() == Some(meta::name(service));
    spec.hostname
        .clone()
        .filter(|name| is_below && !name.is_empty())
}

/// A reference to a pod.
pub(super) fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

fn slice(service: &Service, group: &Group, endpoints: &[Endpoint]) -> EndpointSlice {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.into(), meta::name(service).into());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    EndpointSlice {
        metadata: ObjectMeta {
            namespace: service.metadata.namespace.clone(),
            generate_name: Some(format!("{}-", meta::name(service))),
            labels: Some(labels),
            owner_references: Some(vec![meta::controller_reference(service)]),
            ..ObjectMeta::default()
        },
        address_type: group.0.into(),
        endpoints: endpoints.to_vec(),
        ports: Some(group.1.clone()),
    }
}

#[cfg(test)]
pub(super) mod tests;
