//! What the index keeps of each object: a fraction of what Kubernetes sends, read here once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use lateen_api::lower::Workload as SelectedWorkload;
use lateen_api::mesh_config::DNS_CAPTURE;
use lateen_api::{service, workload};
use lateen_model::endpoint::Health;
use lateen_model::proxy::Role;
use lateen_model::{Labels, ObjectRef, Protocol, Source};
use serde_json::Value;

/// Namespace and name; the namespace is empty for objects of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// An object that the index understands.
#[derive(Debug, Clone)]
pub enum Input {
    /// A Service.
    Service(Key, Service),
    /// An EndpointSlice.
    Slice(Key, Slice),
    /// A Pod.
    Pod(Key, Pod),
    /// A Node with its `region/zone/subzone`.
    Node(String, String),
    /// A Namespace with its labels.
    Namespace(String, Labels),
    /// An object of Istio's API, with `apiVersion` and `kind`.
    Istio(Value),
}

/// The kind of an input.
#[derive(Debug, Clone, Copy)]
pub enum InputKind {
    /// Services.
    Service,
    /// EndpointSlices.
    Slice,
    /// Pods.
    Pod,
    /// Nodes.
    Node,
    /// Namespaces.
    Namespace,
    /// A kind of Istio's API.
    Istio(&'static lateen_api::Kind),
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// What routing needs.
    pub spec: service::Spec,
    /// The pods that it selects; an empty one selects none.
    pub selector: Labels,
    /// Where its TCP ports lead.
    pub ports: Vec<TargetedPort>,
}

/// A port of a Service with the port of the pod that it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetedPort {
    /// The port of the service.
    pub number: u16,
    /// Its name; may be empty.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// The port of the pod.
    pub target: TargetPort,
}

/// A port of a pod as a Service names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPort {
    /// By number.
    Number(u16),
    /// By the name of a container's port.
    Name(String),
}

/// An EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The name of its Service.
    pub service: String,
    /// Names and numbers of its TCP ports.
    pub ports: Vec<(String, u16)>,
    /// Its endpoints.
    pub endpoints: Vec<SliceEndpoint>,
}

/// An endpoint of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Where it listens.
    pub address: IpAddr,
    /// Whether it takes requests.
    pub health: Health,
    /// The pod behind it, if a pod is behind it.
    pub pod: Option<String>,
    /// The zone that the slice names, for endpoints without a pod.
    pub zone: String,
    /// Its name below that of its service, for pods that have one there (of a StatefulSet).
    pub hostname: String,
}

/// A Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Who it is.
    pub identity: workload::Pod,
    /// Kind, name, age.
    pub source: Source,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// It shares the addresses of its node.
    pub is_host_network: bool,
    /// It has ended (phase Succeeded or Failed).
    pub is_finished: bool,
    /// It is being deleted.
    pub is_deleting: bool,
    /// Its condition `Ready`.
    pub is_ready: bool,
    /// Named ports of its containers.
    pub named_ports: Vec<(String, u16)>,
    /// The kind of its proxy, if it has one.
    pub role: Option<Role>,
    /// Its proxy answers the DNS questions of its application.
    pub answers_dns: bool,
    /// `region/zone/subzone` by its own label.
    pub locality: Option<String>,
}

// === impl Key ===

impl Key {
    /// A key.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The key of an object.
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        }
    }

    /// The entries of a namespace.
    pub fn range<'a, T>(
        map: &'a BTreeMap<Self, T>,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Self, &'a T)> {
        let from = Bound::Included(Self::new(namespace, ""));
        let entries = map.range((from, Bound::Unbounded));
        entries.take_while(move |(key, _)| key.namespace == namespace)
    }
}

fn source(kind: &str, metadata: &ObjectMeta) -> Source {
    let created = metadata.creation_timestamp.as_ref();
    Source {
        object: ObjectRef {
            kind: kind.to_owned(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        },
        generation: metadata.generation.unwrap_or_default(),
        created: created.map_or(0, |time| time.0.as_second()),
    }
}

/// A port number; what is out of range is no port (the API server does not let it through).
fn port(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port != 0)
}

fn is_tcp(protocol: Option<&String>) -> bool {
    protocol.is_none_or(|protocol| protocol == "TCP")
}

// === impl Service ===

impl Service {
    /// Reads a Service.
    pub fn read(object: &core::Service) -> Self {
        let spec = object.spec.as_ref();
        let ports = spec
            .and_then(|spec| spec.ports.as_deref())
            .unwrap_or_default();
        let annotations = object.metadata.annotations.as_ref();
        let tcp = ports.iter().filter(|p| is_tcp(p.protocol.as_ref()));
        Self {
            spec: service::Spec {
                source: source("Service", &object.metadata),
                export_to: annotations.and_then(|a| a.get(service::EXPORT_TO)).cloned(),
                target: spec.map(target).unwrap_or_default(),
                ports: ports.iter().filter_map(lowered_port).collect(),
            },
            selector: spec
                .and_then(|spec| spec.selector.clone())
                .unwrap_or_default(),
            ports: tcp.filter_map(TargetedPort::read).collect(),
        }
    }
}

fn target(spec: &core::ServiceSpec) -> service::Target {
    if spec.type_.as_deref() == Some("ExternalName") {
        return service::Target::ExternalName(spec.external_name.clone().unwrap_or_default());
    }
    let first = spec.cluster_ip.clone();
    let all = spec
        .cluster_ips
        .clone()
        .unwrap_or_else(|| first.into_iter().collect());
    if all.iter().any(|address| address == "None") {
        return service::Target::Headless;
    }
    service::Target::ClusterIps(all.iter().filter_map(|text| text.parse().ok()).collect())
}

fn lowered_port(entry: &core::ServicePort) -> Option<service::Port> {
    Some(service::Port {
        number: port(entry.port)?,
        name: entry.name.clone().unwrap_or_default(),
        app_protocol: entry.app_protocol.clone(),
        is_tcp: is_tcp(entry.protocol.as_ref()),
    })
}

// === impl TargetedPort ===

impl TargetedPort {
    fn read(entry: &core::ServicePort) -> Option<Self> {
        let number = port(entry.port)?;
        let name = entry.name.clone().unwrap_or_default();
        let target = match &entry.target_port {
            Some(IntOrString::Int(target)) => TargetPort::Number(port(*target).unwrap_or(number)),
            Some(IntOrString::String(name)) if !name.is_empty() => TargetPort::Name(name.clone()),
            Some(IntOrString::String(_)) | None => TargetPort::Number(number),
        };
        Some(Self {
            number,
            protocol: Protocol::select(number, &name, entry.app_protocol.as_deref()),
            name,
            target,
        })
    }
}

// === impl Slice ===

impl Slice {
    /// Reads an EndpointSlice; nothing if it belongs to no Service, or has names for addresses.
    pub fn read(object: &discovery::EndpointSlice) -> Option<Self> {
        let labels = object.metadata.labels.as_ref()?;
        let service = labels.get("kubernetes.io/service-name")?.clone();
        if object.address_type == "FQDN" {
            return None;
        }
        let ports = object.ports.as_deref().unwrap_or_default().iter();
        let ports = ports
            .filter(|p| is_tcp(p.protocol.as_ref()))
            .filter_map(|entry| Some((entry.name.clone().unwrap_or_default(), port(entry.port?)?)));
        let endpoints = object.endpoints.iter();
        Some(Self {
            service,
            ports: ports.collect(),
            endpoints: endpoints.filter_map(SliceEndpoint::read).collect(),
        })
    }

    /// The pods behind its endpoints, each once.
    pub fn pods(&self, namespace: &str) -> std::collections::BTreeSet<Key> {
        let names = self
            .endpoints
            .iter()
            .filter_map(|endpoint| endpoint.pod.as_deref());
        names.map(|name| Key::new(namespace, name)).collect()
    }
}

// === impl SliceEndpoint ===

impl SliceEndpoint {
    fn read(entry: &discovery::Endpoint) -> Option<Self> {
        let conditions = entry.conditions.as_ref();
        let condition = |value: Option<bool>, default| value.unwrap_or(default);
        // An unknown `ready` is to be taken as true, an unknown `terminating` as false, and
        // `serving` as `ready` (the API's own words).
        let is_ready = condition(conditions.and_then(|c| c.ready), true);
        let is_serving = condition(conditions.and_then(|c| c.serving), is_ready);
        let is_terminating = condition(conditions.and_then(|c| c.terminating), false);
        let target = entry.target_ref.as_ref();
        let pod = target.filter(|target| target.kind.as_deref() == Some("Pod"));
        Some(Self {
            // Consumers must use the first address only (the API's own words).
            address: entry.addresses.first()?.parse().ok()?,
            health: match (is_ready, is_serving, is_terminating) {
                (_, true, true) => Health::Draining,
                (true, _, _) => Health::Ready,
                (false, _, _) => Health::NotReady,
            },
            pod: pod.and_then(|target| target.name.clone()),
            zone: entry.zone.clone().unwrap_or_default(),
            hostname: entry
                .hostname
                .clone()
                .unwrap_or_default()
                .to_ascii_lowercase(),
        })
    }
}

// === impl Pod ===

impl Pod {
    /// Reads a Pod.
    pub fn read(object: &core::Pod) -> Self {
        let spec = object.spec.as_ref();
        let status = object.status.as_ref();
        let labels = object.metadata.labels.clone().unwrap_or_default();
        let phase = status.and_then(|status| status.phase.as_deref());
        let conditions = status
            .and_then(|s| s.conditions.as_deref())
            .unwrap_or_default();
        let service_account = spec.and_then(|spec| spec.service_account_name.clone());
        Self {
            source: source("Pod", &object.metadata),
            addresses: status.map(addresses).unwrap_or_default(),
            is_host_network: spec.and_then(|spec| spec.host_network).unwrap_or_default(),
            is_finished: matches!(phase, Some("Succeeded" | "Failed")),
            is_deleting: object.metadata.deletion_timestamp.is_some(),
            is_ready: conditions
                .iter()
                .any(|c| c.type_ == "Ready" && c.status == "True"),
            named_ports: spec.map(named_ports).unwrap_or_default(),
            role: spec.and_then(role),
            answers_dns: spec.is_some_and(answers_dns),
            locality: locality_label(&labels),
            identity: workload::Pod {
                name: object.metadata.name.clone().unwrap_or_default(),
                namespace: object.metadata.namespace.clone().unwrap_or_default(),
                labels,
                controller: controller(&object.metadata),
                service_account: service_account.unwrap_or_else(|| "default".into()),
                node: spec
                    .and_then(|spec| spec.node_name.clone())
                    .unwrap_or_default(),
            },
        }
    }

    /// Answers whether its proxy takes mutual TLS.
    pub fn is_meshed(&self) -> bool {
        let mode = self.identity.labels.get("security.istio.io/tlsMode");
        mode.is_some_and(|mode| mode == "istio")
    }

    /// Answers whether its addresses lead to it.
    pub fn is_addressable(&self) -> bool {
        !self.is_finished && !self.is_host_network
    }

    /// The pod as a workload that a ServiceEntry may select; nothing if it cannot be reached.
    pub fn as_selected(&self, locality: &str) -> Option<SelectedWorkload> {
        if self.is_finished {
            return None;
        }
        Some(SelectedWorkload {
            address: self.addresses.first()?.to_string(),
            labels: self.identity.labels.clone(),
            locality: locality.to_owned(),
            service_account: self.identity.service_account.clone(),
            is_ready: self.is_ready && !self.is_deleting,
            is_meshed: self.is_meshed(),
            ..SelectedWorkload::default()
        })
    }
}

fn addresses(status: &core::PodStatus) -> Vec<IpAddr> {
    let all = status.pod_ips.as_deref().unwrap_or_default();
    let all = all.iter().map(|entry| entry.ip.as_str());
    let mut addresses: Vec<IpAddr> = all.filter_map(|ip| ip.parse().ok()).collect();
    if addresses.is_empty() {
        addresses.extend(
            status
                .pod_ip
                .as_deref()
                .and_then(|ip| ip.parse::<IpAddr>().ok()),
        );
    }
    addresses
}

/// Every container that runs beside the application for its whole life: native sidecars too.
fn running_containers(spec: &core::PodSpec) -> impl Iterator<Item = &core::Container> {
    let init = spec.init_containers.as_deref().unwrap_or_default().iter();
    let sidecars = init.filter(|c| c.restart_policy.as_deref() == Some("Always"));
    spec.containers.iter().chain(sidecars)
}

fn named_ports(spec: &core::PodSpec) -> Vec<(String, u16)> {
    let ports = running_containers(spec).flat_map(|c| c.ports.as_deref().unwrap_or_default());
    let tcp = ports.filter(|p| is_tcp(p.protocol.as_ref()));
    tcp.filter_map(|entry| Some((entry.name.clone()?, port(entry.container_port)?)))
        .collect()
}

/// The kind of a pod's proxy, by the arguments of its container `istio-proxy`.
fn proxy_container(spec: &core::PodSpec) -> Option<&core::Container> {
    running_containers(spec).find(|container| container.name == "istio-proxy")
}

/// Answers whether the environment of the pod's proxy says that it answers DNS, as that of the
/// whole mesh or the pod's own annotation became when it was injected.
fn answers_dns(spec: &core::PodSpec) -> bool {
    let environment = proxy_container(spec).and_then(|proxy| proxy.env.as_deref());
    let mut environment = environment.unwrap_or_default().iter();
    environment.any(|one| one.name == DNS_CAPTURE && one.value.as_deref() == Some("true"))
}

fn role(spec: &core::PodSpec) -> Option<Role> {
    let proxy = proxy_container(spec)?;
    let arguments = proxy.args.as_deref().unwrap_or_default();
    let is_gateway = arguments
        .iter()
        .any(|arg| arg == "gateway" || arg == "router");
    Some(if is_gateway {
        Role::Gateway
    } else {
        Role::Sidecar
    })
}

fn controller(metadata: &ObjectMeta) -> Option<workload::Owner> {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    Some(workload::Owner {
        kind: owner.kind.clone(),
        name: owner.name.clone(),
    })
}

/// Istio's label for pods, with dots where slashes cannot be.
fn locality_label(labels: &Labels) -> Option<String> {
    let keys = ["topology.istio.io/locality", "istio-locality"];
    let value = keys.iter().find_map(|key| labels.get(*key))?;
    Some(if value.contains('/') {
        value.clone()
    } else {
        value.replace('.', "/")
    })
}

/// The `region/zone/subzone` of a node.
pub fn node_locality(labels: &Labels) -> String {
    let part = |keys: &[&str]| {
        let value = keys.iter().find_map(|key| labels.get(*key));
        value.cloned().unwrap_or_default()
    };
    let region = part(&[
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/region",
    ]);
    let zone = part(&[
        "topology.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/zone",
    ]);
    let subzone = part(&["topology.istio.io/subzone"]);
    format!("{region}/{zone}/{subzone}")
        .trim_end_matches('/')
        .to_owned()
}
