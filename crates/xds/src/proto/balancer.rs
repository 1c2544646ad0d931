//! How an endpoint is chosen.

use lateen_model::balancer::{
    Algorithm, ConsistentHash, Distribute, HashCookie, HashKey, HashTable, LoadBalancer,
    LocalityLb, Warmup,
};

use super::http::{header, wire_headers};
use super::message;
use super::number::{
    optional_duration, percent, positive_duration, wire_duration, wire_optional_duration,
};
use super::wire::{
    Fault, Wire, list, missing, nonempty, optional, read_list, required, unknown_value, wire_list,
};

/// Envoy's largest ring; a larger one would only cost memory.
const LARGEST_RING: u64 = 8 << 20;

/// Envoy's largest table of Maglev.
const LARGEST_MAGLEV: u64 = 5_000_011;

/// The number of [`Algorithm::ConsistentHash`], whose settings are a message of their own.
const CONSISTENT_HASH: i32 = 5;

/// Writes a load balancer into a policy.
pub(super) fn load_balancer_to_wire(balancer: &LoadBalancer, wire: &mut message::PortPolicy) {
    wire.load_balancer = Some(match &balancer.algorithm {
        Algorithm::LeastRequest => 1,
        Algorithm::RoundRobin => 2,
        Algorithm::Random => 3,
        Algorithm::Passthrough => 4,
        Algorithm::ConsistentHash(hash) => {
            wire.consistent_hash = Some(hash.to_wire());
            CONSISTENT_HASH
        }
    });
    wire.locality = balancer.locality.as_ref().map(Wire::to_wire);
    wire.warmup = balancer.warmup.as_ref().map(Wire::to_wire);
}

/// Takes the load balancer out of a policy.
pub(super) fn load_balancer(wire: &mut message::PortPolicy) -> Result<Option<LoadBalancer>, Fault> {
    let hash = wire.consistent_hash.take();
    let locality = optional(wire.locality.take(), "locality")?;
    let warmup = optional(wire.warmup.take(), "warmup")?;
    let Some(number) = wire.load_balancer else {
        if hash.is_some() || locality.is_some() || warmup.is_some() {
            return Err(missing().at("load_balancer"));
        }
        return Ok(None);
    };
    let algorithm = match number {
        0 => return Err(missing().at("load_balancer")),
        1 => Algorithm::LeastRequest,
        2 => Algorithm::RoundRobin,
        3 => Algorithm::Random,
        4 => Algorithm::Passthrough,
        CONSISTENT_HASH => Algorithm::ConsistentHash(required(hash, "consistent_hash")?),
        other => return Err(unknown_value(other).at("load_balancer")),
    };
    Ok(Some(LoadBalancer {
        algorithm,
        locality,
        warmup,
    }))
}

impl Wire for ConsistentHash {
    type Message = message::ConsistentHash;

    fn to_wire(&self) -> message::ConsistentHash {
        let key = match &self.key {
            HashKey::Header(name) => message::HashKey::Header(name.clone()),
            HashKey::Cookie(cookie) => message::HashKey::Cookie(cookie.to_wire()),
            HashKey::SourceIp => message::HashKey::SourceIp(message::Unit {}),
            HashKey::QueryParameter(name) => message::HashKey::QueryParameter(name.clone()),
        };
        message::ConsistentHash {
            key: Some(key),
            table: Some(match self.table {
                HashTable::Ring { minimum_size } => message::HashTable::Ring(minimum_size),
                HashTable::Maglev { table_size } => message::HashTable::Maglev(table_size),
            }),
        }
    }

    fn from_wire(wire: message::ConsistentHash) -> Result<Self, Fault> {
        let key = match wire.key.ok_or_else(|| missing().at("key"))? {
            message::HashKey::Header(name) => HashKey::Header(nonempty(name, "header")?),
            message::HashKey::Cookie(cookie) => {
                HashKey::Cookie(HashCookie::from_wire(cookie).map_err(|f| f.at("cookie"))?)
            }
            message::HashKey::SourceIp(message::Unit {}) => HashKey::SourceIp,
            message::HashKey::QueryParameter(name) => {
                HashKey::QueryParameter(nonempty(name, "query_parameter")?)
            }
        };
        Ok(Self {
            key,
            table: table(wire.table)?,
        })
    }
}

/// Reads a table; its size is memory of the proxy, hence bounded.
fn table(wire: Option<message::HashTable>) -> Result<HashTable, Fault> {
    let within = |size: u64, largest: u64, part: &str| {
        if (1..=largest).contains(&size) {
            return Ok(size);
        }
        Err(Fault::new(format!("{size} is not from 1 to {largest}")).at(part))
    };
    Ok(match wire.ok_or_else(|| missing().at("table"))? {
        message::HashTable::Ring(size) => HashTable::Ring {
            minimum_size: within(size, LARGEST_RING, "ring")?,
        },
        message::HashTable::Maglev(size) => HashTable::Maglev {
            table_size: within(size, LARGEST_MAGLEV, "maglev")?,
        },
    })
}

impl Wire for HashCookie {
    type Message = message::HashCookie;

    fn to_wire(&self) -> message::HashCookie {
        message::HashCookie {
            name: self.name.clone(),
            path: self.path.clone(),
            ttl: wire_optional_duration(self.ttl),
            attributes: wire_headers(&self.attributes),
        }
    }

    fn from_wire(wire: message::HashCookie) -> Result<Self, Fault> {
        Ok(Self {
            name: nonempty(wire.name, "name")?,
            path: wire.path,
            ttl: optional_duration(wire.ttl),
            attributes: read_list(wire.attributes, "attributes", header)?,
        })
    }
}

impl Wire for LocalityLb {
    type Message = message::LocalityLb;

    fn to_wire(&self) -> message::LocalityLb {
        let failover = self.failover.iter().map(|(from, to)| message::Failover {
            from: from.clone(),
            to: to.clone(),
        });
        message::LocalityLb {
            is_enabled: self.is_enabled,
            distribute: wire_list(&self.distribute),
            failover: failover.collect(),
            failover_priority: self.failover_priority.clone(),
        }
    }

    fn from_wire(wire: message::LocalityLb) -> Result<Self, Fault> {
        Ok(Self {
            is_enabled: wire.is_enabled,
            distribute: list(wire.distribute, "distribute")?,
            failover: read_list(wire.failover, "failover", |pair| {
                Ok((nonempty(pair.from, "from")?, nonempty(pair.to, "to")?))
            })?,
            failover_priority: wire.failover_priority,
        })
    }
}

impl Wire for Distribute {
    type Message = message::Distribute;

    fn to_wire(&self) -> message::Distribute {
        let to = self
            .to
            .iter()
            .map(|(locality, weight)| message::LocalityWeight {
                locality: locality.clone(),
                weight: *weight,
            });
        message::Distribute {
            from: self.from.clone(),
            to: to.collect(),
        }
    }

    fn from_wire(wire: message::Distribute) -> Result<Self, Fault> {
        Ok(Self {
            from: nonempty(wire.from, "from")?,
            to: read_list(wire.to, "to", |to| {
                Ok((nonempty(to.locality, "locality")?, to.weight))
            })?,
        })
    }
}

impl Wire for Warmup {
    type Message = message::Warmup;

    fn to_wire(&self) -> message::Warmup {
        message::Warmup {
            duration: wire_duration(self.duration),
            minimum: self.minimum.millionths(),
            aggression_millis: self.aggression_millis,
        }
    }

    fn from_wire(wire: message::Warmup) -> Result<Self, Fault> {
        if wire.aggression_millis == 0 {
            return Err(Fault::new("must be more than zero").at("aggression_millis"));
        }
        Ok(Self {
            duration: positive_duration(wire.duration, "duration")?,
            minimum: percent(wire.minimum, "minimum")?,
            aggression_millis: wire.aggression_millis,
        })
    }
}
