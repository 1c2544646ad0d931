//! The inbound side of a sidecar: the ports of its workload that services target.

use lateen_model::Protocol;
use lateen_model::proxy::{InboundPort, Proxy};

use super::clusters::labels_of;
use crate::cluster::ServiceLabels;
use crate::hosts::FixedMap;
use crate::plan::Inbound;
use crate::registry::Registry;

/// The known ports, and what holds for all others.
pub(crate) fn compile(proxy: &Proxy, registry: &Registry) -> (FixedMap<u16, Inbound>, Inbound) {
    let mut ports = FixedMap::default();
    for one in &proxy.inbound {
        // The control plane lists the oldest service of a port; should there be more, the first.
        ports.entry(one.port).or_insert_with(|| Inbound {
            port: one.port,
            cluster_name: format!("inbound|{}||", one.port).into(),
            protocol: one.protocol,
            service: Some(labels(one, registry)),
            service_port: one.service_port,
        });
    }
    let otherwise = Inbound {
        port: 0,
        cluster_name: "InboundPassthroughCluster".into(),
        protocol: Protocol::Unknown,
        service: None,
        service_port: 0,
    };
    (ports, otherwise)
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
