//! Endpoints.

use lateen_model::endpoint::{Endpoint, Endpoints, Health};

use super::message;
use super::service::weight;
use super::wire::{
    Fault, Wire, list, pairs, place, required, wire_enum, wire_list, wire_pairs, wire_place,
};

wire_enum!(health_to_wire, health, Health { Ready = 1, Draining = 2, NotReady = 3 });

impl Wire for Endpoints {
    type Message = message::Endpoints;

    fn to_wire(&self) -> message::Endpoints {
        message::Endpoints {
            service: Some(self.service.to_wire()),
            endpoints: wire_list(&self.endpoints),
        }
    }

    fn from_wire(wire: message::Endpoints) -> Result<Self, Fault> {
        Ok(Self {
            service: required(wire.service, "service")?,
            endpoints: list(wire.endpoints, "endpoints")?,
        })
    }
}

impl Wire for Endpoint {
    type Message = message::Endpoint;

    fn to_wire(&self) -> message::Endpoint {
        let (address, path) = wire_place(&self.address);
        message::Endpoint {
            address,
            path,
            ports: wire_pairs(&self.ports),
            labels: self.labels.clone(),
            weight: self.weight,
            health: health_to_wire(self.health),
            locality: self.locality.clone(),
            is_meshed: self.is_meshed,
            service_account: self.service_account.clone(),
            hostname: self.hostname.clone(),
        }
    }

    fn from_wire(wire: message::Endpoint) -> Result<Self, Fault> {
        Ok(Self {
            address: place(&wire.address, &wire.path)?,
            ports: pairs(wire.ports, "ports")?,
            labels: wire.labels,
            weight: weight(wire.weight)?,
            health: health(wire.health, "health")?,
            locality: wire.locality,
            is_meshed: wire.is_meshed,
            service_account: wire.service_account,
            hostname: wire.hostname,
        })
    }
}
