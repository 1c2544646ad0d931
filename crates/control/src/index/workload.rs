//! Pods: what their proxies are told about themselves, and who lives at which address.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lateen_api::lower::Ingress;
use lateen_api::service::Target;
use lateen_api::{Object, lower, workload};
use lateen_model::proxy::{InboundPort, Proxy, Role};
use lateen_model::service::ServiceKey;
use lateen_model::workload::Workload;
use lateen_model::{
    Body, Host, ObjectRef, Protocol, Resource, ResourceName, SocketAddress, Source, selects,
};
use lateen_xds::server::{Change, View};
use serde_json::Value;

use super::input::{Pod, TargetPort};
use super::{Index, Key, Output, Rank, audience};

/// A port that something gives to a pod's proxy, with the age of what gives it.
struct Claim {
    source: Source,
    inbound: InboundPort,
    /// Only Kubernetes Services translate the ports of gateways.
    is_kubernetes: bool,
}

impl Index {
    /// Computes the resources of a pod; answers what its proxy may see.
    pub(super) fn compute_pod(&mut self, key: &Key) -> Change {
        let object = ObjectRef {
            kind: "Pod".into(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        };
        let scope = self.scope_of(key);
        let view = |view| Change::View {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            view,
        };
        let Some(pod) = self.pods.get(key) else {
            self.outputs.set(&object, Rank::default(), Vec::new());
            return view(None);
        };
        let mut outputs = Vec::new();
        if pod.is_addressable() {
            for address in &pod.addresses {
                let workload = workload::of_pod(&pod.identity, *address, &self.place.cluster);
                outputs.push(Output::workload(&workload));
            }
        }
        if let Some(role) = pod.role.filter(|_| !pod.is_finished) {
            let resource = Resource {
                name: ResourceName(format!("Proxy/{}/{}", key.namespace, key.name)),
                source: pod.source.clone(),
                body: Body::Proxy(self.proxy(pod, role)),
            };
            outputs.push(Output::config(&resource, audience::of(&resource)));
        }
        let rank = Rank::of_pod(&pod.source, pod.is_deleting);
        let seen = pod.role.map(|_| View {
            labels: pod.identity.labels.clone(),
            scope,
        });
        self.outputs.set(&object, rank, outputs);
        view(seen)
    }

    fn proxy(&self, pod: &Pod, role: Role) -> Proxy {
        let mut claims = self.claims(pod);
        // The oldest service gets a port that several of them lead to.
        claims.sort_by(|a, b| {
            let age = a.source.age_key().cmp(&b.source.age_key());
            age.then(a.inbound.service_port.cmp(&b.inbound.service_port))
        });
        let gateway_ports: BTreeSet<(u16, u16)> = claims
            .iter()
            .filter(|claim| role == Role::Gateway && claim.is_kubernetes)
            .map(|claim| (claim.inbound.service_port, claim.inbound.port))
            .collect();
        let mut taken = BTreeSet::new();
        let inbound: Vec<InboundPort> = claims
            .into_iter()
            .filter(|claim| taken.insert(claim.inbound.port))
            .map(|claim| claim.inbound)
            .collect();
        let mut inbound = self.as_its_sidecar_says(pod, inbound);
        inbound.sort_by_key(|port| port.port);
        Proxy {
            role,
            name: pod.identity.name.clone(),
            namespace: pod.identity.namespace.clone(),
            labels: pod.identity.labels.clone(),
            addresses: pod.addresses.clone(),
            locality: self.locality_of(pod),
            inbound,
            gateway_ports: gateway_ports.into_iter().collect(),
            answers_dns: role == Role::Sidecar && pod.answers_dns,
        }
    }

    /// The ports that services give to a pod, the oldest service's first, as its Sidecar changes
    /// them: those that it lists are in place of them all, its limits in place of the services'.
    fn as_its_sidecar_says(&self, pod: &Pod, given: Vec<InboundPort>) -> Vec<InboundPort> {
        let key = self.sidecar_of(pod);
        let Some(owned) = key.and_then(|(object, _)| self.sidecars.get(&object)) else {
            return given;
        };
        let listed = owned.sidecar.ingress.iter();
        let listed: Vec<InboundPort> = listed
            .map(|ingress| self.listed(pod, ingress, &given))
            .collect();
        let mut inbound = if listed.is_empty() { given } else { listed };
        for port in &mut inbound {
            let pool = port.pool.take();
            port.pool = pool.or_else(|| owned.sidecar.inbound_pool.clone());
        }
        inbound
    }

    /// A port that a Sidecar lists, with the service that it counts for.
    fn listed(&self, pod: &Pod, ingress: &Ingress, given: &[InboundPort]) -> InboundPort {
        let same = given.iter().find(|one| one.port == ingress.port);
        let service = same.or(given.first()).map(|one| one.service.clone());
        InboundPort {
            port: ingress.port,
            protocol: ingress.protocol,
            service: service.unwrap_or_else(|| self.nameless_service(pod)),
            service_port: same.map_or(ingress.port, |one| one.service_port),
            endpoint: ingress
                .endpoint
                .clone()
                .map(|endpoint| own_address(endpoint, &pod.addresses)),
            pool: ingress.pool.clone(),
        }
    }

    /// What a pod that no service selects is called where a service is.
    fn nameless_service(&self, pod: &Pod) -> ServiceKey {
        let namespace = &pod.identity.namespace;
        let name = workload::name(&pod.identity);
        ServiceKey {
            namespace: namespace.clone(),
            host: lateen_api::service::host(&name, namespace, &self.mesh.settings),
        }
    }

    /// Every port that a Service or ServiceEntry gives to a pod.
    fn claims(&self, pod: &Pod) -> Vec<Claim> {
        let namespace = &pod.identity.namespace;
        let labels = &pod.identity.labels;
        let mut claims = Vec::new();
        for (key, service) in Key::range(&self.services, namespace) {
            let is_name = matches!(service.spec.target, Target::ExternalName(_));
            if is_name || service.selector.is_empty() || !selects(&service.selector, labels) {
                continue;
            }
            let name = ServiceKey {
                namespace: namespace.clone(),
                host: lateen_api::service::host(&key.name, namespace, &self.mesh.settings),
            };
            let ports = service.ports.iter();
            claims.extend(ports.filter_map(|port| {
                Some(Claim {
                    source: service.spec.source.clone(),
                    inbound: InboundPort {
                        port: resolve(&port.target, pod)?,
                        protocol: port.protocol,
                        service: name.clone(),
                        service_port: port.number,
                        endpoint: None,
                        pool: None,
                    },
                    is_kubernetes: true,
                })
            }));
        }
        for (object, selector) in self.selecting.get(namespace).into_iter().flatten() {
            if selects(selector, labels)
                && let Some(value) = self.istio.get(object)
                && self
                    .verdict(object)
                    .is_none_or(|verdict| verdict.errors.is_empty())
            {
                claims.extend(entry_claims(value));
            }
        }
        claims
    }

    /// The workload at the address of a WorkloadEntry.
    pub(super) fn entry_workload(&self, value: &Value) -> Option<Output> {
        let entry = lower::workload_entry(value).ok()?;
        let address: IpAddr = entry.address.parse().ok()?;
        let object = Object(value);
        let pod = workload::Pod {
            name: object.name().to_owned(),
            namespace: object.namespace().to_owned(),
            labels: entry.labels,
            service_account: entry.service_account,
            ..workload::Pod::default()
        };
        let workload: Workload = workload::of_pod(&pod, address, &self.place.cluster);
        Some(Output::workload(&workload))
    }
}

fn resolve(target: &TargetPort, pod: &Pod) -> Option<u16> {
    match target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Name(name) => {
            let (_, number) = pod.named_ports.iter().find(|(other, _)| other == name)?;
            Some(*number)
        }
    }
}

/// Puts the pod's address in place of an unspecified one.
fn own_address(mut endpoint: SocketAddress, addresses: &[IpAddr]) -> SocketAddress {
    if let SocketAddress::Inet(address) = &mut endpoint
        && address.ip().is_unspecified()
    {
        let mut family = addresses
            .iter()
            .filter(|own| own.is_ipv4() == address.is_ipv4());
        if let Some(own) = family.next().or(addresses.first()) {
            address.set_ip(*own);
        }
    }
    endpoint
}

/// The ports that a ServiceEntry gives to the workloads that it selects.
fn entry_claims(value: &Value) -> Vec<Claim> {
    let source = Object(value).source();
    let Some(host) = value["spec"]["hosts"][0].as_str() else {
        return Vec::new();
    };
    let service = ServiceKey {
        namespace: source.object.namespace.clone(),
        host: Host::new(host),
    };
    let ports = value["spec"]["ports"].as_array().into_iter().flatten();
    let number = |value: &Value| value.as_u64().and_then(|n| u16::try_from(n).ok());
    let claims = ports.filter_map(|port| {
        let service_port = number(&port["number"])?;
        let name = port["name"].as_str().unwrap_or_default();
        let protocol = port["protocol"].as_str().and_then(Protocol::from_name);
        Some(Claim {
            source: source.clone(),
            inbound: InboundPort {
                port: number(&port["targetPort"]).unwrap_or(service_port),
                protocol: protocol.unwrap_or_else(|| Protocol::select(service_port, name, None)),
                service: service.clone(),
                service_port,
                endpoint: None,
                pool: None,
            },
            is_kubernetes: false,
        })
    });
    claims.collect()
}
