//! Workloads as endpoints of ServiceEntries: entries written inline, WorkloadEntries and pods.

use std::collections::BTreeMap;

use lateen_model::endpoint::Health;
use lateen_model::{Labels, address};
use serde_json::Value;

use super::{Error, port, read};
use crate::object::Object;
use crate::spec::workload as spec;
use crate::validate;

/// A workload that a ServiceEntry may select.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// An address, `unix://` with a path, or a name for services that are found by DNS.
    pub address: String,
    /// Ports by the name of the service's port; empty for pods.
    pub ports: BTreeMap<String, u16>,
    /// Labels.
    pub labels: Labels,
    /// The share of traffic; 0 is 1.
    pub weight: u32,
    /// `region/zone/subzone`.
    pub locality: String,
    /// The service account.
    pub service_account: String,
    /// Whether it takes traffic.
    pub is_ready: bool,
    /// Whether its proxy takes mutual TLS.
    pub is_meshed: bool,
}

/// Reads a WorkloadEntry. Its labels are those of `spec` and of `metadata`, the former first.
///
/// # Errors
/// If the object is invalid.
pub fn workload_entry(object: &Value) -> Result<Workload, Error> {
    let object = Object(object);
    let report = validate::check(object);
    if !report.is_valid() {
        return Err(Error::Invalid {
            object: object.reference(),
            report,
        });
    }
    let spec: spec::WorkloadEntry = read(object)?;
    let mut workload = Workload::of_entry(&spec);
    for (key, value) in object.labels() {
        workload.labels.entry(key).or_insert(value);
    }
    workload.is_meshed = is_meshed(&workload.labels);
    // Health that an agent reports; an entry without one is taken to be ready.
    let conditions = object.0["status"]["conditions"].as_array();
    let health = conditions
        .into_iter()
        .flatten()
        .find(|c| c["type"] == "Healthy");
    workload.is_ready = health.is_none_or(|c| c["status"] != "False");
    Ok(workload)
}

fn is_meshed(labels: &Labels) -> bool {
    labels
        .get("security.istio.io/tlsMode")
        .is_some_and(|mode| mode == "istio")
}

// === impl Workload ===

impl Workload {
    /// A workload that is written inline.
    pub(crate) fn of_entry(entry: &spec::WorkloadEntry) -> Self {
        let ports = entry.ports.iter();
        Self {
            address: entry.address.clone(),
            ports: ports
                .map(|(name, number)| (name.clone(), port(*number)))
                .collect(),
            is_meshed: is_meshed(&entry.labels),
            labels: entry.labels.clone(),
            weight: entry.weight,
            locality: entry.locality.clone(),
            service_account: entry.service_account.clone(),
            is_ready: true,
        }
    }

    /// Whether it takes requests.
    pub(crate) fn health(&self) -> Health {
        if self.is_ready {
            Health::Ready
        } else {
            Health::NotReady
        }
    }

    /// Answers whether there is a name to look up: a socket of the file system is none, and a
    /// workload that is only reached through the gateway of its network has none.
    pub(crate) fn has_name(&self) -> bool {
        !self.address.is_empty() && address::socket_path(&self.address).is_none()
    }
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            address: String::new(),
            ports: BTreeMap::new(),
            labels: Labels::new(),
            weight: 1,
            locality: String::new(),
            service_account: String::new(),
            is_ready: true,
            is_meshed: false,
        }
    }
}
