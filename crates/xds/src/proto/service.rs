//! Services.

use lateen_model::Protocol;
use lateen_model::service::{
    DnsEndpoint, ExportTo, Registry, Resolution, Service, ServiceKey, ServicePort,
};

use super::message;
use super::wire::{
    Fault, Wire, host, list, missing, nonempty, pairs, port, required, unknown_value, wire_enum,
    wire_list, wire_pairs,
};

wire_enum!(
    protocol_to_wire,
    protocol,
    Protocol {
        Unknown = 1,
        Http = 2,
        Http2 = 3,
        Grpc = 4,
        GrpcWeb = 5,
        Https = 6,
        Tls = 7,
        Tcp = 8,
        Udp = 9,
    }
);
wire_enum!(registry_to_wire, registry, Registry { Kubernetes = 1, ServiceEntry = 2 });

impl Wire for ServiceKey {
    type Message = message::ServiceKey;

    fn to_wire(&self) -> message::ServiceKey {
        message::ServiceKey {
            namespace: self.namespace.clone(),
            host: self.host.as_str().to_owned(),
        }
    }

    fn from_wire(wire: message::ServiceKey) -> Result<Self, Fault> {
        Ok(Self {
            namespace: nonempty(wire.namespace, "namespace")?,
            host: host(&wire.host, "host")?,
        })
    }
}

impl Wire for Service {
    type Message = message::Service;

    fn to_wire(&self) -> message::Service {
        message::Service {
            key: Some(self.key.to_wire()),
            registry: registry_to_wire(self.registry),
            addresses: wire_list(&self.addresses),
            allocated: wire_list(&self.allocated),
            ports: wire_list(&self.ports),
            is_external: self.is_external,
            export_to: Some(self.export_to.to_wire()),
            resolution: Some(resolution_to_wire(&self.resolution)),
        }
    }

    fn from_wire(wire: message::Service) -> Result<Self, Fault> {
        Ok(Self {
            key: required(wire.key, "key")?,
            registry: registry(wire.registry, "registry")?,
            addresses: list(wire.addresses, "addresses")?,
            allocated: list(wire.allocated, "allocated")?,
            ports: list(wire.ports, "ports")?,
            is_external: wire.is_external,
            export_to: required(wire.export_to, "export_to")?,
            resolution: resolution(wire.resolution).map_err(|fault| fault.at("resolution"))?,
        })
    }
}

fn resolution_to_wire(resolution: &Resolution) -> message::Resolution {
    match resolution {
        Resolution::Endpoints => message::Resolution::Endpoints(message::Unit {}),
        Resolution::Dns(endpoints) => message::Resolution::Dns(message::DnsEndpoints {
            endpoints: wire_list(endpoints),
        }),
        Resolution::DnsRoundRobin(endpoints) => {
            message::Resolution::DnsRoundRobin(message::DnsEndpoints {
                endpoints: wire_list(endpoints),
            })
        }
        Resolution::DynamicDns(ports) => message::Resolution::DynamicDns(message::DynamicDns {
            ports: wire_pairs(ports),
        }),
        Resolution::OriginalDst => message::Resolution::OriginalDst(message::Unit {}),
        Resolution::Alias(host) => message::Resolution::Alias(host.as_str().to_owned()),
    }
}

fn resolution(wire: Option<message::Resolution>) -> Result<Resolution, Fault> {
    Ok(match wire.ok_or_else(missing)? {
        message::Resolution::Endpoints(message::Unit {}) => Resolution::Endpoints,
        message::Resolution::Dns(dns) => Resolution::Dns(list(dns.endpoints, "dns")?),
        message::Resolution::DnsRoundRobin(dns) => {
            Resolution::DnsRoundRobin(list(dns.endpoints, "dns_round_robin")?)
        }
        message::Resolution::DynamicDns(dynamic) => {
            Resolution::DynamicDns(pairs(dynamic.ports, "dynamic_dns")?)
        }
        message::Resolution::OriginalDst(message::Unit {}) => Resolution::OriginalDst,
        message::Resolution::Alias(name) => Resolution::Alias(host(&name, "alias")?),
    })
}

impl Wire for ServicePort {
    type Message = message::ServicePort;

    fn to_wire(&self) -> message::ServicePort {
        message::ServicePort {
            number: u32::from(self.number),
            name: self.name.clone(),
            protocol: protocol_to_wire(self.protocol),
        }
    }

    fn from_wire(wire: message::ServicePort) -> Result<Self, Fault> {
        Ok(Self {
            number: port(wire.number, "number")?,
            name: wire.name,
            protocol: protocol(wire.protocol, "protocol")?,
        })
    }
}

impl Wire for DnsEndpoint {
    type Message = message::DnsEndpoint;

    fn to_wire(&self) -> message::DnsEndpoint {
        message::DnsEndpoint {
            name: self.name.clone(),
            ports: wire_pairs(&self.ports),
            labels: self.labels.clone(),
            weight: self.weight,
            locality: self.locality.clone(),
        }
    }

    fn from_wire(wire: message::DnsEndpoint) -> Result<Self, Fault> {
        Ok(Self {
            name: nonempty(wire.name, "name")?,
            ports: pairs(wire.ports, "ports")?,
            labels: wire.labels,
            weight: weight(wire.weight)?,
            locality: wire.locality,
        })
    }
}

/// Reads the weight of an endpoint, which is at least 1.
pub(super) fn weight(weight: u32) -> Result<u32, Fault> {
    if weight == 0 {
        return Err(missing().at("weight"));
    }
    Ok(weight)
}

impl Wire for ExportTo {
    type Message = message::ExportTo;

    fn to_wire(&self) -> message::ExportTo {
        let (scope, namespaces) = match self {
            Self::All => (1, Vec::new()),
            Self::Nobody => (2, Vec::new()),
            Self::Namespaces(list) => (3, list.clone()),
        };
        message::ExportTo { scope, namespaces }
    }

    fn from_wire(wire: message::ExportTo) -> Result<Self, Fault> {
        match wire.scope {
            0 => Err(missing().at("scope")),
            1 => Ok(Self::All),
            2 => Ok(Self::Nobody),
            3 => Ok(Self::Namespaces(wire.namespaces)),
            other => Err(unknown_value(other).at("scope")),
        }
    }
}
