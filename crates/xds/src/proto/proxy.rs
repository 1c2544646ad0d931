//! What a proxy is told about itself, and workloads.

use lateen_model::proxy::{InboundPort, Proxy, Role};
use lateen_model::workload::Workload;

use super::message;
use super::service::{protocol, protocol_to_wire};
use super::wire::{
    Fault, Wire, address, list, nonempty, optional, pairs, port, read_list, required, wire_address,
    wire_enum, wire_list, wire_pairs,
};

wire_enum!(role_to_wire, role, Role { Sidecar = 1, Gateway = 2 });

impl Wire for Proxy {
    type Message = message::Proxy;

    fn to_wire(&self) -> message::Proxy {
        message::Proxy {
            role: role_to_wire(self.role),
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            labels: self.labels.clone(),
            addresses: self.addresses.iter().copied().map(wire_address).collect(),
            locality: self.locality.clone(),
            inbound: wire_list(&self.inbound),
            gateway_ports: wire_pairs(&self.gateway_ports),
            answers_dns: self.answers_dns,
        }
    }

    fn from_wire(wire: message::Proxy) -> Result<Self, Fault> {
        Ok(Self {
            role: role(wire.role, "role")?,
            name: nonempty(wire.name, "name")?,
            namespace: nonempty(wire.namespace, "namespace")?,
            labels: wire.labels,
            addresses: read_list(wire.addresses, "addresses", |bytes| address(&bytes))?,
            locality: wire.locality,
            inbound: list(wire.inbound, "inbound")?,
            gateway_ports: pairs(wire.gateway_ports, "gateway_ports")?,
            answers_dns: wire.answers_dns,
        })
    }
}

impl Wire for InboundPort {
    type Message = message::InboundPort;

    fn to_wire(&self) -> message::InboundPort {
        message::InboundPort {
            port: u32::from(self.port),
            protocol: protocol_to_wire(self.protocol),
            service: Some(self.service.to_wire()),
            service_port: u32::from(self.service_port),
            endpoint: self.endpoint.as_ref().map(Wire::to_wire),
            pool: self.pool.as_ref().map(Wire::to_wire),
        }
    }

    fn from_wire(wire: message::InboundPort) -> Result<Self, Fault> {
        Ok(Self {
            port: port(wire.port, "port")?,
            protocol: protocol(wire.protocol, "protocol")?,
            service: required(wire.service, "service")?,
            service_port: port(wire.service_port, "service_port")?,
            endpoint: optional(wire.endpoint, "endpoint")?,
            pool: optional(wire.pool, "pool")?,
        })
    }
}

impl Wire for Workload {
    type Message = message::Workload;

    fn to_wire(&self) -> message::Workload {
        message::Workload {
            address: wire_address(self.address),
            pod: self.pod.clone(),
            namespace: self.namespace.clone(),
            workload: self.workload.clone(),
            canonical_service: self.canonical_service.clone(),
            canonical_revision: self.canonical_revision.clone(),
            app: self.app.clone(),
            version: self.version.clone(),
            service_account: self.service_account.clone(),
            cluster: self.cluster.clone(),
            node: self.node.clone(),
        }
    }

    fn from_wire(wire: message::Workload) -> Result<Self, Fault> {
        Ok(Self {
            address: address(&wire.address).map_err(|fault| fault.at("address"))?,
            pod: wire.pod,
            namespace: wire.namespace,
            workload: wire.workload,
            canonical_service: wire.canonical_service,
            canonical_revision: wire.canonical_revision,
            app: wire.app,
            version: wire.version,
            service_account: wire.service_account,
            cluster: wire.cluster,
            node: wire.node,
        })
    }
}
