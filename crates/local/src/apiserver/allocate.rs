//! Addresses and node ports of services.
//!
//! What is taken is read from the services themselves; what a request has chosen but not yet
//! stored is reserved, so that two requests at once never choose the same.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use super::call::Call;
use super::object;
use super::server::Core;
use super::status::Failure;

/// What requests in flight have chosen.
#[derive(Default)]
pub(crate) struct InFlight(Mutex<HashSet<Choice>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Choice {
    Address(Ipv4Addr),
    NodePort(u16),
}

/// Keeps choices reserved until it is dropped.
#[derive(Default)]
pub(crate) struct Reservation {
    core: Option<Arc<Core>>,
    choices: Vec<Choice>,
}

/// Chooses what a service lacks, or checks what it asks for. Other types need nothing.
pub(crate) fn service(
    core: &Arc<Core>,
    call: &Call,
    new: &mut Value,
    old: Option<&Value>,
) -> Result<Reservation, Failure> {
    if !call.resource.is("", "services") || !call.subresource.is_empty() {
        return Ok(Reservation::default());
    }
    let mut allocation = Allocation {
        core,
        old,
        name: object::name(new).to_owned(),
        reservation: Reservation {
            core: Some(core.clone()),
            choices: Vec::new(),
        },
    };
    let spec = object::map(object::map(new).entry("spec").or_insert(Value::Null));
    allocation.address(spec)?;
    allocation.node_ports(spec)?;
    Ok(allocation.reservation)
}

struct Allocation<'a> {
    core: &'a Arc<Core>,
    old: Option<&'a Value>,
    name: String,
    reservation: Reservation,
}

// === impl Allocation ===

impl Allocation<'_> {
    fn address(&mut self, spec: &mut Map<String, Value>) -> Result<(), Failure> {
        if spec.get("type").is_some_and(|kind| kind == "ExternalName") {
            for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                spec.remove(key);
            }
            return Ok(());
        }
        let before = self
            .old
            .map_or("", |old| object::text(old, &["spec", "clusterIP"]));
        let named = spec
            .get("clusterIPs")
            .and_then(|list| list.get(0))
            .and_then(Value::as_str);
        let asked = spec
            .get("clusterIP")
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty());
        let asked = asked.or(named).unwrap_or(before).to_owned();
        let address = match asked.as_str() {
            "None" => asked,
            "" => self.next_address()?.to_string(),
            text if text == before => asked,
            text => self.check_address(text)?.to_string(),
        };
        spec.insert("clusterIP".into(), address.as_str().into());
        spec.insert("clusterIPs".into(), json!([address]));
        object::default(spec, "ipFamilies", json!(["IPv4"]));
        object::default(spec, "ipFamilyPolicy", "SingleStack");
        Ok(())
    }

    /// The next free address: the first sixteenth of the range is left to who asks by name.
    fn next_address(&mut self) -> Result<Ipv4Addr, Failure> {
        let (first, size) = self.range();
        let apart = (size / 16).clamp(16, 256).min(size / 2);
        let taken = self.taken_addresses();
        let choice = (apart..size - 1)
            .chain(1..apart)
            .map(|offset| Ipv4Addr::from(first + offset))
            .find(|address| !taken.contains(address) && self.reserve(Choice::Address(*address)));
        choice
            .ok_or_else(|| self.invalid("spec.clusterIPs", "failed to allocate IP: range is full"))
    }

    fn check_address(&mut self, text: &str) -> Result<Ipv4Addr, Failure> {
        let shown =
            |why: &str| format!("Invalid value: [\"{text}\"]: failed to allocate IP {text}: {why}");
        let (first, size) = self.range();
        let address: Ipv4Addr = text
            .parse()
            .map_err(|_| self.invalid("spec.clusterIPs", &shown("it is not an IPv4 address")))?;
        let offset = u32::from(address)
            .checked_sub(first)
            .filter(|offset| *offset < size);
        if offset.is_none() {
            let range = &self.core.options.service_range;
            let why = format!(
                "the provided IP is not in the valid range {}/{}",
                range.0, range.1
            );
            return Err(self.invalid("spec.clusterIPs", &shown(&why)));
        }
        let is_taken = self.taken_addresses().contains(&address);
        if is_taken || !self.reserve(Choice::Address(address)) {
            let why = "provided IP is already allocated";
            return Err(self.invalid("spec.clusterIPs", &shown(why)));
        }
        Ok(address)
    }

    /// The first address of the range, and how many there are.
    fn range(&self) -> (u32, u32) {
        let (address, prefix) = self.core.options.service_range;
        let size = 1_u32
            .checked_shl(32 - u32::from(prefix.clamp(8, 30)))
            .unwrap_or(4);
        (u32::from(address) & !(size - 1), size)
    }

    fn taken_addresses(&self) -> HashSet<Ipv4Addr> {
        let (services, _) = self.core.store.list("services", "", None);
        services
            .iter()
            .filter_map(|service| object::text(service, &["spec", "clusterIP"]).parse().ok())
            .collect()
    }

    fn node_ports(&mut self, spec: &mut Map<String, Value>) -> Result<(), Failure> {
        let kind = spec
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let wants = match kind.as_str() {
            "NodePort" => true,
            "LoadBalancer" => spec.get("allocateLoadBalancerNodePorts") != Some(&false.into()),
            _ => false,
        };
        let before = self
            .old
            .map(|old| object::items(old, &["spec", "ports"]).to_vec());
        let before = before.unwrap_or_default();
        let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
        for (index, port) in ports.into_iter().flatten().enumerate() {
            let own =
                |one: &Value| one["port"] == port["port"] && one["protocol"] == port["protocol"];
            let kept = before
                .iter()
                .find(|one| own(one))
                .and_then(|one| one["nodePort"].as_u64());
            let port = object::map(port);
            let asked = port
                .get("nodePort")
                .and_then(Value::as_u64)
                .filter(|number| *number != 0);
            if kind == "ClusterIP" || kind == "ExternalName" {
                port.remove("nodePort");
                continue;
            }
            let number = match (asked, kept) {
                (Some(asked), _) if before.iter().any(|one| one["nodePort"] == asked) => asked,
                (Some(asked), _) => u64::from(self.check_node_port(asked, index)?),
                (None, Some(kept)) => kept,
                (None, None) if wants => u64::from(self.next_node_port()?),
                (None, None) => continue,
            };
            port.insert("nodePort".into(), number.into());
        }
        Ok(())
    }

    fn next_node_port(&mut self) -> Result<u16, Failure> {
        let taken = self.taken_node_ports();
        let range = self.core.options.node_ports.clone();
        let choice = range.into_iter().find(|port| {
            !taken.contains(&u64::from(*port)) && self.reserve(Choice::NodePort(*port))
        });
        choice.ok_or_else(|| {
            self.invalid("spec.ports", "failed to allocate a nodePort: range is full")
        })
    }

    fn check_node_port(&mut self, asked: u64, index: usize) -> Result<u16, Failure> {
        let field = format!("spec.ports[{index}].nodePort");
        let range = self.core.options.node_ports.clone();
        let Some(port) = u16::try_from(asked)
            .ok()
            .filter(|port| range.contains(port))
        else {
            let (start, end) = (range.start(), range.end());
            let why = format!(
                "Invalid value: {asked}: provided port is not in the valid range. The range of \
                 valid ports is {start}-{end}"
            );
            return Err(self.invalid(&field, &why));
        };
        let is_taken = self.taken_node_ports().contains(&asked);
        if is_taken || !self.reserve(Choice::NodePort(port)) {
            let why = format!("Invalid value: {asked}: provided port is already allocated");
            return Err(self.invalid(&field, &why));
        }
        Ok(port)
    }

    fn taken_node_ports(&self) -> HashSet<u64> {
        let (services, _) = self.core.store.list("services", "", None);
        services
            .iter()
            .flat_map(|service| object::items(service, &["spec", "ports"]))
            .filter_map(|port| port["nodePort"].as_u64())
            .collect()
    }

    /// Reserves a choice; answers whether it was free.
    fn reserve(&mut self, choice: Choice) -> bool {
        let mut taken = self
            .core
            .in_flight
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_free = taken.insert(choice);
        if is_free {
            self.reservation.choices.push(choice);
        }
        is_free
    }

    fn invalid(&self, field: &str, message: &str) -> Failure {
        let cause = ("FieldValueInvalid", message.to_owned(), field.to_owned());
        Failure::invalid("", "Service", &self.name, &[cause])
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(core) = &self.core {
            let mut taken = core
                .in_flight
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            for choice in &self.choices {
                taken.remove(choice);
            }
        }
    }
}
