//! The Endpoints object of a Service, from the same pods.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service,
};

use super::plan::{addresses, hostname, is_headless, protocol, reference, target_port};
use crate::controllers::pods;

const HEADLESS: &str = "service.kubernetes.io/headless";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
/// The most addresses of the object, as in Kubernetes.
const MOST: usize = 1000;

/// Answers whether we write an object.
pub(super) fn is_ours(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(MANAGED_BY))
        .is_some_and(|by| by == MANAGER)
}

/// The object that a Service ought to have.
pub(super) fn endpoints(service: &Service, selected: &[Arc<Pod>]) -> Endpoints {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    let mut endpoints = Endpoints::default();
    endpoints
        .metadata
        .namespace
        .clone_from(&service.metadata.namespace);
    endpoints.metadata.name.clone_from(&service.metadata.name);
    endpoints.metadata.labels = Some(labels);
    endpoints.subsets = subsets(service, selected);
    endpoints
}

fn subsets(service: &Service, selected: &[Arc<Pod>]) -> Option<Vec<EndpointSubset>> {
    let spec = service.spec.as_ref();
    let publishes_all = spec.and_then(|spec| spec.publish_not_ready_addresses) == Some(true);
    let mut subsets: BTreeMap<String, EndpointSubset> = BTreeMap::new();
    let pods = selected
        .iter()
        .filter(|pod| pods::is_active(pod))
        .take(MOST);
    let mut addressed: Vec<(IpAddr, &Arc<Pod>)> = pods
        .filter_map(|pod| Some((*addresses(service, pod).first()?, pod)))
        .collect();
    addressed.sort_by_key(|(address, _)| *address);
    for (ip, pod) in addressed {
        let ports = ports(service, pod);
        let subset = subsets
            .entry(format!("{ports:?}"))
            .or_insert_with(|| EndpointSubset {
                ports: Some(ports),
                ..EndpointSubset::default()
            });
        let list = if publishes_all || pods::is_ready(pod) {
            &mut subset.addresses
        } else {
            &mut subset.not_ready_addresses
        };
        list.get_or_insert_default().push(EndpointAddress {
            ip: ip.to_string(),
            hostname: hostname(service, pod),
            node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            target_ref: Some(reference(pod)),
        });
    }
    Some(subsets.into_values().collect()).filter(|subsets: &Vec<_>| !subsets.is_empty())
}

fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service
        .spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten());
    let ports = ports.filter_map(|port| {
        Some(EndpointPort {
            name: port.name.clone(),
            protocol: Some(protocol(port).into()),
            port: target_port(port, pod)?,
            app_protocol: port.app_protocol.clone(),
        })
    });
    ports.collect()
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::{ready, service};
    use super::*;

    #[test]
    fn addresses_are_told_apart_by_whether_they_are_ready() {
        let mut unready = ready("b", "10.244.0.2");
        Arc::make_mut(&mut unready)
            .status
            .get_or_insert_default()
            .conditions = None;
        let endpoints = endpoints(&service(), &[unready, ready("a", "10.244.0.10")]);
        let subsets = endpoints.subsets.clone().expect("there is one");
        assert_eq!(subsets.len(), 1);
        let ips = |list: &Option<Vec<EndpointAddress>>| -> Vec<String> {
            list.iter()
                .flatten()
                .map(|address| address.ip.clone())
                .collect()
        };
        assert_eq!(ips(&subsets[0].addresses), ["10.244.0.10"]);
        assert_eq!(ips(&subsets[0].not_ready_addresses), ["10.244.0.2"]);
        assert!(is_ours(&endpoints));
    }
}
