//! Policies of destinations.

use lateen_model::destination::{DestinationRule, LoadBalancer, PortPolicy, Subset, TrafficPolicy};

use super::message;
use super::wire::{
    Fault, Wire, list, nonempty, pattern, port, read_list, required, wire_enum, wire_list,
};

wire_enum!(
    balancer_to_wire,
    balancer,
    LoadBalancer {
        LeastRequest = 1,
        RoundRobin = 2,
        Random = 3,
        Passthrough = 4,
    }
);

impl Wire for DestinationRule {
    type Message = message::DestinationRule;

    fn to_wire(&self) -> message::DestinationRule {
        message::DestinationRule {
            namespace: self.namespace.clone(),
            host: self.host.to_string(),
            export_to: Some(self.export_to.to_wire()),
            workload_selector: self
                .workload_selector
                .as_ref()
                .map(|labels| message::Selector {
                    labels: labels.clone(),
                }),
            policy: Some(self.policy.to_wire()),
            subsets: wire_list(&self.subsets),
        }
    }

    fn from_wire(wire: message::DestinationRule) -> Result<Self, Fault> {
        Ok(Self {
            namespace: nonempty(wire.namespace, "namespace")?,
            host: pattern(&wire.host).map_err(|fault| fault.at("host"))?,
            export_to: required(wire.export_to, "export_to")?,
            workload_selector: wire.workload_selector.map(|selector| selector.labels),
            policy: required(wire.policy, "policy")?,
            subsets: list(wire.subsets, "subsets")?,
        })
    }
}

impl Wire for Subset {
    type Message = message::Subset;

    fn to_wire(&self) -> message::Subset {
        message::Subset {
            name: self.name.clone(),
            labels: self.labels.clone(),
            policy: Some(self.policy.to_wire()),
        }
    }

    fn from_wire(wire: message::Subset) -> Result<Self, Fault> {
        Ok(Self {
            name: nonempty(wire.name, "name")?,
            labels: wire.labels,
            policy: required(wire.policy, "policy")?,
        })
    }
}

impl Wire for TrafficPolicy {
    type Message = message::TrafficPolicy;

    fn to_wire(&self) -> message::TrafficPolicy {
        let ports = self
            .ports
            .iter()
            .map(|(port, policy)| message::NumberedPolicy {
                port: u32::from(*port),
                policy: Some(policy.to_wire()),
            });
        message::TrafficPolicy {
            port_default: Some(self.port_default.to_wire()),
            ports: ports.collect(),
        }
    }

    fn from_wire(wire: message::TrafficPolicy) -> Result<Self, Fault> {
        Ok(Self {
            port_default: required(wire.port_default, "port_default")?,
            ports: read_list(wire.ports, "ports", |numbered| {
                Ok((
                    port(numbered.port, "port")?,
                    required(numbered.policy, "policy")?,
                ))
            })?,
        })
    }
}

impl Wire for PortPolicy {
    type Message = message::PortPolicy;

    fn to_wire(&self) -> message::PortPolicy {
        message::PortPolicy {
            load_balancer: self.load_balancer.map(balancer_to_wire),
        }
    }

    fn from_wire(wire: message::PortPolicy) -> Result<Self, Fault> {
        let load_balancer = wire.load_balancer.map(|v| balancer(v, "load_balancer"));
        Ok(Self {
            load_balancer: load_balancer.transpose()?,
        })
    }
}
