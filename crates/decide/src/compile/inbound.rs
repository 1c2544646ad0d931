//! The inbound side of a sidecar: the ports of its workload that services target.

use std::sync::Arc;

use lateen_model::Protocol;
use lateen_model::destination::PortPolicy;
use lateen_model::mesh::Mesh;
use lateen_model::proxy::{InboundPort, Proxy};

use super::clusters::labels_of;
use crate::cluster::{Policy, ServiceLabels};
use crate::hosts::FixedMap;
use crate::plan::{Inbound, Routing};
use crate::policies::Policies;
use crate::registry::Registry;

/// The known ports, and what holds for all others. What is in use of them is taken over from the
/// last routing.
pub(crate) fn compile(
    proxy: &Proxy,
    registry: &Registry,
    policies: &Policies,
    mesh: &Mesh,
    last: Option<&Routing>,
) -> (FixedMap<u16, Inbound>, Inbound) {
    let mut ports = FixedMap::default();
    for one in &proxy.inbound {
        // The control plane lists the oldest service of a port; should there be more, the first.
        ports.entry(one.port).or_insert_with(|| {
            let last = last.and_then(|last| last.inbound.get(&one.port));
            Inbound {
                port: one.port,
                cluster_name: format!("inbound|{}||", one.port).into(),
                endpoint: one.endpoint.clone(),
                protocol: one.protocol,
                service: Some(labels(one, registry)),
                service_port: one.service_port,
                policy: policy(one, registry, policies, mesh),
                usage: last.map(|last| Arc::clone(&last.usage)).unwrap_or_default(),
            }
        });
    }
    let otherwise = Inbound {
        port: 0,
        cluster_name: "InboundPassthroughCluster".into(),
        endpoint: None,
        protocol: Protocol::Unknown,
        service: None,
        service_port: 0,
        policy: Policy::plain(Protocol::Unknown, mesh),
        usage: Arc::default(),
    };
    (ports, otherwise)
}

/// The pool of the workload itself, or else of the policy of the service: of that only the pool, as
/// balancers, outliers and TLS are the clients' business.
fn policy(port: &InboundPort, registry: &Registry, policies: &Policies, mesh: &Mesh) -> Policy {
    let service = registry.get(&port.service.host);
    let service = service.filter(|service| service.body.key == port.service);
    let rule = service.and_then(|service| policies.find(&service.body));
    let written = rule.map(|rule| rule.policy(port.service_port, None));
    let of_service = || written.and_then(|written| written.connection_pool);
    let pool = PortPolicy {
        connection_pool: port.pool.clone().or_else(of_service),
        ..PortPolicy::default()
    };
    Policy::new(&pool, None, port.protocol, mesh)
}

/// The names of the service behind a port, which need not be visible to the workload itself.
fn labels(port: &InboundPort, registry: &Registry) -> ServiceLabels {
    let key = &port.service;
    let known = registry.get(&key.host);
    if let Some(service) = known.filter(|service| service.body.key == *key) {
        return labels_of(&service.body);
    }
    let host = key.host.as_str();
    let name = match host.split_once(".svc.") {
        Some((short, _)) => short.split('.').next().unwrap_or(host),
        None => host,
    };
    ServiceLabels {
        host: host.into(),
        name: name.into(),
        namespace: key.namespace.as_str().into(),
    }
}
