//! Virtual addresses of ServiceEntries that have none, as Istio gives them: from 240.240.0.0/16,
//! one for each host, kept in `status`.
//!
//! An address follows from the names of the object and its host, so that it is the same after a
//! restart even if the status was never written; where two would get the same, the one that has it
//! already keeps it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use lateen_api::lower::hosts_without_address;
use lateen_model::ObjectRef;
use serde_json::{Value, json};

/// The kind that has such addresses.
const KIND: &str = "ServiceEntry";

/// The first two bytes of every address.
const NETWORK: [u8; 2] = [240, 240];

/// The number of addresses: all but the first and the last.
const COUNT: u32 = (1 << 16) - 2;

/// The addresses by object and host.
#[derive(Debug, Default)]
pub(super) struct Allocations {
    of_object: BTreeMap<ObjectRef, BTreeMap<String, Ipv4Addr>>,
    owners: BTreeMap<Ipv4Addr, ObjectRef>,
}

// === impl Allocations ===

impl Allocations {
    /// Keeps the addresses that an object has, as far as nobody else has them, and takes back
    /// those that it does not need any more.
    pub(super) fn keep(&mut self, object: &ObjectRef, value: Option<&Value>) {
        if object.kind != KIND {
            return;
        }
        let before = self.of_object.remove(object).unwrap_or_default();
        for address in before.values() {
            self.owners.remove(address);
        }
        let mut kept = BTreeMap::new();
        for host in value.map(hosts_without_address).unwrap_or_default() {
            let known = value.and_then(|value| recorded(value, &host));
            let candidates = [known, before.get(&host).copied()];
            let free = candidates
                .into_iter()
                .flatten()
                .find(|address| !self.owners.contains_key(address));
            if let Some(address) = free {
                self.owners.insert(address, object.clone());
                kept.insert(host, address);
            }
        }
        if !kept.is_empty() {
            self.of_object.insert(object.clone(), kept);
        }
    }

    /// The addresses of an object by host, with new ones where it has none.
    pub(super) fn allocate(
        &mut self,
        object: &ObjectRef,
        value: &Value,
    ) -> BTreeMap<String, Ipv4Addr> {
        self.keep(object, Some(value));
        let mut addresses = self.of_object.remove(object).unwrap_or_default();
        for host in hosts_without_address(value) {
            if addresses.contains_key(&host) {
                continue;
            }
            let Some(address) = self.free(object, &host) else {
                tracing::warn!(%object, host, "every address for ServiceEntries is taken");
                continue;
            };
            self.owners.insert(address, object.clone());
            addresses.insert(host, address);
        }
        if !addresses.is_empty() {
            self.of_object.insert(object.clone(), addresses.clone());
        }
        addresses
    }

    /// The first free address from where the names point.
    fn free(&self, object: &ObjectRef, host: &str) -> Option<Ipv4Addr> {
        let start = hash(&[&object.namespace, &object.name, host]) % COUNT;
        let addresses = (0..COUNT).map(|step| address((start + step) % COUNT + 1));
        addresses
            .into_iter()
            .find(|address| !self.owners.contains_key(address))
    }
}

fn address(number: u32) -> Ipv4Addr {
    let [a, b] = NETWORK;
    Ipv4Addr::from(u32::from_be_bytes([a, b, 0, 0]) + number)
}

fn is_ours(address: Ipv4Addr) -> bool {
    address.octets()[..2] == NETWORK
}

/// The address that the status of an object records for a host.
fn recorded(value: &Value, host: &str) -> Option<Ipv4Addr> {
    let entries = value["status"]["addresses"].as_array()?.iter();
    let mut of_host = entries.filter(|entry| entry["host"] == host);
    of_host.find_map(|entry| {
        let address: Ipv4Addr = entry["value"].as_str()?.parse().ok()?;
        is_ours(address).then_some(address)
    })
}

/// What the status of an object should record; nothing if it does.
pub(super) fn unrecorded(
    value: &Value,
    addresses: &BTreeMap<String, Ipv4Addr>,
) -> Option<Vec<Value>> {
    let is_recorded = |(host, address): (&String, &Ipv4Addr)| {
        recorded(value, host).is_some_and(|recorded| recorded == *address)
    };
    if addresses.iter().all(is_recorded) {
        return None;
    }
    let entry = |(host, address): (&String, &Ipv4Addr)| json!({ "value": address.to_string(), "host": host });
    Some(addresses.iter().map(entry).collect())
}

/// FNV-1a: the same in every version of the program.
fn hash(parts: &[&str]) -> u32 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([b'/']));
    bytes.fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> ObjectRef {
        ObjectRef {
            kind: "ServiceEntry".into(),
            namespace: "default".into(),
            name: name.into(),
        }
    }

    fn entry(hosts: &[&str], status: &Value) -> Value {
        json!({ "spec": { "hosts": hosts, "resolution": "DNS" }, "status": status })
    }

    fn recorded_as(host: &str, address: &str) -> Value {
        json!({ "addresses": [{ "value": "2001:2::1", "host": host },
                              { "value": address, "host": host }] })
    }

    #[test]
    fn every_host_has_an_address_that_stays() {
        let mut allocations = Allocations::default();
        let value = entry(&["a.com", "b.com"], &Value::Null);
        let first = allocations.allocate(&object("x"), &value);
        assert_eq!(first.len(), 2);
        assert!(first.values().all(|address| is_ours(*address)));
        assert_ne!(first["a.com"], first["b.com"]);
        assert_eq!(allocations.allocate(&object("x"), &value), first);
        assert_eq!(
            Allocations::default().allocate(&object("x"), &value),
            first,
            "after a restart"
        );
        allocations.keep(&object("x"), None);
        assert!(allocations.owners.is_empty());
    }

    #[test]
    fn a_recorded_address_is_kept_unless_another_object_has_it() {
        let mut allocations = Allocations::default();
        let value = entry(&["a.com"], &recorded_as("a.com", "240.240.7.7"));
        let kept = allocations.allocate(&object("x"), &value);
        assert_eq!(kept["a.com"], Ipv4Addr::new(240, 240, 7, 7));
        assert_eq!(unrecorded(&value, &kept), None);
        let other = allocations.allocate(&object("y"), &value);
        assert_ne!(other["a.com"], kept["a.com"]);
        assert_eq!(
            unrecorded(&value, &other),
            Some(vec![
                json!({ "value": other["a.com"].to_string(), "host": "a.com" })
            ])
        );
        // Addresses of others' networks are not ours to keep.
        let foreign = entry(&["a.com"], &recorded_as("a.com", "10.0.0.1"));
        assert!(is_ours(
            allocations.allocate(&object("z"), &foreign)["a.com"]
        ));
    }

    #[test]
    fn a_taken_address_is_passed_over() {
        let mut allocations = Allocations::default();
        let value = entry(&["a.com"], &Value::Null);
        let wanted = Allocations::default().allocate(&object("x"), &value)["a.com"];
        let first = entry(&["b.com"], &recorded_as("b.com", &wanted.to_string()));
        allocations.keep(&object("first"), Some(&first));
        let next = allocations.allocate(&object("x"), &value)["a.com"];
        assert_ne!(next, wanted);
        assert!(is_ours(next));
    }
}
