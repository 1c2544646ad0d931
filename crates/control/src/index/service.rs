//! Services and their endpoints, from Kubernetes.

use std::collections::BTreeMap;

use lateen_api::service::{self, Target};
use lateen_model::endpoint::{Endpoint, Endpoints, Health};
use lateen_model::service::ServiceKey;
use lateen_model::{Address, Body, Labels, selects};

use super::input::{Service, SliceEndpoint, TargetPort};
use super::{Index, Key, Output, Rank, audience};

impl Index {
    /// Computes the resources of a Service: itself and its endpoints.
    pub(super) fn compute_service(&mut self, key: &Key) {
        let object = lateen_model::ObjectRef {
            kind: "Service".into(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        };
        let Some(service) = self.services.get(key) else {
            self.outputs.set(&object, Rank::default(), Vec::new());
            return;
        };
        let resource = service::lower(&service.spec, &self.mesh.settings);
        let audience = audience::of(&resource);
        let mut outputs = vec![Output::config(&resource, audience.clone())];
        // Headless services have endpoints too: gateways, which cannot dial what a client of
        // theirs looked up, need them.
        if let (Target::ClusterIps(_) | Target::Headless, Body::Service(lowered)) =
            (&service.spec.target, &resource.body)
        {
            let endpoints = self.endpoints_of(key, service, lowered.key.clone());
            outputs.push(Output::endpoints(&endpoints, audience));
        }
        let rank = Rank::of_kubernetes(&service.spec.source);
        self.outputs.set(&object, rank, outputs);
    }

    fn endpoints_of(&self, key: &Key, service: &Service, name: ServiceKey) -> Endpoints {
        let mut endpoints: BTreeMap<Address, Endpoint> = BTreeMap::new();
        let slices = self.slices_of.get(key).into_iter().flatten();
        for slice in slices.filter_map(|slice| self.slices.get(slice)) {
            let ports = pairs(service, &slice.ports);
            for entry in &slice.endpoints {
                let Some(endpoint) = self.endpoint(&key.namespace, entry, &ports) else {
                    continue;
                };
                // An address is in several slices when they differ in ports, or for a moment
                // while it moves from one to the other: the better news counts.
                if let Some(known) = endpoints.get_mut(&endpoint.address) {
                    known.ports.extend(endpoint.ports);
                    known.health = better(known.health, endpoint.health);
                } else {
                    endpoints.insert(endpoint.address.clone(), endpoint);
                }
            }
        }
        for endpoint in self.selected_entries(key, service) {
            let address = endpoint.address.clone();
            endpoints.entry(address).or_insert(endpoint);
        }
        let mut endpoints: Vec<Endpoint> = endpoints.into_values().collect();
        for endpoint in &mut endpoints {
            endpoint.ports.sort_unstable();
            endpoint.ports.dedup();
        }
        Endpoints {
            service: name,
            endpoints,
        }
    }

    /// The WorkloadEntries that a Service selects, as endpoints. Those that are known by a name only
    /// are left out, as by Istio.
    fn selected_entries(&self, key: &Key, service: &Service) -> Vec<Endpoint> {
        if service.selector.is_empty() {
            return Vec::new();
        }
        let entries = self.workload_entries(&key.namespace);
        let selected = entries.filter(|entry| selects(&service.selector, &entry.labels));
        let endpoints = selected.filter_map(|entry| {
            let ports = service.ports.iter().map(|port| {
                let named = |name: &str| entry.ports.get(name).copied();
                let target = match &port.target {
                    TargetPort::Number(number) => Some(*number),
                    TargetPort::Name(name) => named(name),
                };
                let target = named(&port.name).or(target);
                (port.number, target.unwrap_or(port.number))
            });
            Some(Endpoint {
                address: entry.address.parse().ok()?,
                ports: ports.collect(),
                weight: entry.weight.max(1),
                health: if entry.is_ready {
                    Health::Ready
                } else {
                    Health::NotReady
                },
                locality: entry.locality.clone(),
                is_meshed: entry.is_meshed,
                service_account: entry.service_account.clone(),
                hostname: String::new(),
                labels: entry.labels.clone(),
            })
        });
        endpoints.collect()
    }

    /// An endpoint with what its pod says. One whose pod is not known yet is left out: without
    /// its labels it would be missing from its subset, or in one that it is not of.
    fn endpoint(
        &self,
        namespace: &str,
        entry: &SliceEndpoint,
        ports: &[(u16, u16)],
    ) -> Option<Endpoint> {
        let pod = match &entry.pod {
            Some(name) => Some(self.pods.get(&Key::new(namespace, name))?),
            None => None,
        };
        let zone = || match entry.zone.as_str() {
            "" => String::new(),
            zone => format!("/{zone}"),
        };
        Some(Endpoint {
            address: entry.address.into(),
            ports: ports.to_vec(),
            labels: pod.map_or_else(Labels::new, |pod| pod.identity.labels.clone()),
            weight: 1,
            health: match entry.health {
                // Its slice follows, and may take a while; it must get nothing new from now on.
                Health::Ready if pod.is_some_and(|pod| pod.is_deleting) => Health::Draining,
                health => health,
            },
            locality: pod.map_or_else(zone, |pod| self.locality_of(pod)),
            is_meshed: pod.is_some_and(super::input::Pod::is_meshed),
            service_account: pod
                .map(|pod| pod.identity.service_account.clone())
                .unwrap_or_default(),
            hostname: entry.hostname.clone(),
        })
    }
}

/// Service ports with the ports of a slice, which have the same names.
fn pairs(service: &Service, ports: &[(String, u16)]) -> Vec<(u16, u16)> {
    let target = |name: &str| ports.iter().find(|(other, _)| other == name);
    let pairs = service.ports.iter().filter_map(|port| {
        let (_, target) = target(&port.name)?;
        Some((port.number, *target))
    });
    pairs.collect()
}

fn better(a: Health, b: Health) -> Health {
    let rank = |health| match health {
        Health::Ready => 0,
        Health::Draining => 1,
        Health::NotReady => 2,
    };
    if rank(a) <= rank(b) { a } else { b }
}
