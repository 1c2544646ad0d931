//! Policies of destinations.

use lateen_model::destination::{DestinationRule, PortPolicy, RetryBudget, Subset, TrafficPolicy};

use super::balancer::{load_balancer, load_balancer_to_wire};
use super::message;
use super::number::percent;
use super::wire::{
    Fault, Wire, list, nonempty, optional, pattern, port, read_list, required, wire_list,
};

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
            retry_budget: self.retry_budget.as_ref().map(Wire::to_wire),
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
            retry_budget: optional(wire.retry_budget, "retry_budget")?,
        })
    }
}

impl Wire for RetryBudget {
    type Message = message::RetryBudget;

    fn to_wire(&self) -> message::RetryBudget {
        message::RetryBudget {
            percent: self.percent.millionths(),
            min_retry_concurrency: self.min_retry_concurrency,
        }
    }

    fn from_wire(wire: message::RetryBudget) -> Result<Self, Fault> {
        Ok(Self {
            percent: percent(wire.percent, "percent")?,
            min_retry_concurrency: wire.min_retry_concurrency,
        })
    }
}

impl Wire for PortPolicy {
    type Message = message::PortPolicy;

    fn to_wire(&self) -> message::PortPolicy {
        let mut wire = message::PortPolicy {
            connection_pool: self.connection_pool.as_ref().map(Wire::to_wire),
            outlier_detection: self.outlier_detection.as_ref().map(Wire::to_wire),
            tls: self.tls.as_ref().map(Wire::to_wire),
            ..message::PortPolicy::default()
        };
        if let Some(balancer) = &self.load_balancer {
            load_balancer_to_wire(balancer, &mut wire);
        }
        wire
    }

    fn from_wire(mut wire: message::PortPolicy) -> Result<Self, Fault> {
        Ok(Self {
            load_balancer: load_balancer(&mut wire)?,
            connection_pool: optional(wire.connection_pool, "connection_pool")?,
            outlier_detection: optional(wire.outlier_detection, "outlier_detection")?,
            tls: optional(wire.tls, "tls")?,
        })
    }
}
