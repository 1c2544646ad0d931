//! The store: every resource of one proxy by name, and the compilation of what changed.

mod compilation;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use lateen_model::endpoint::Endpoints;
use lateen_model::service::ServiceKey;
use lateen_model::{Resource, ResourceName};

use self::compilation::Compiled;
use crate::compile::Cache;
use crate::compile::clusters::{Addresses, Resolved, Spec};
use crate::error::Error;
use crate::plan::Plan;
use crate::resources::Resources;

/// Holds the resources of one proxy. Lives on the main thread.
#[derive(Debug, Default)]
pub struct Store {
    resources: Resources,
    addresses: Addresses,
    changes: Changes,
    cache: Cache,
    compiled: Compiled,
    plan: Option<Arc<Plan>>,
}

/// What changed since the last compilation.
#[derive(Debug, Default)]
struct Changes {
    resources: bool,
    endpoints: BTreeSet<ServiceKey>,
    dns: BTreeSet<String>,
}

// === impl Store ===

impl Store {
    /// An empty store; its plan passes everything through.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a resource in place of the one of the same name.
    ///
    /// # Errors
    /// Names what cannot be carried out (a regular expression that does not compile, …); the
    /// resource is not taken and one of that name that was there before stays in force.
    pub fn apply(&mut self, resource: Resource) -> Result<(), Error> {
        self.changes.resources |= self.resources.apply(resource)?;
        Ok(())
    }

    /// Takes a resource away; nothing happens if there is none of that name.
    pub fn remove(&mut self, name: &ResourceName) {
        self.changes.resources |= self.resources.remove(name);
    }

    /// Puts the endpoints of a service in place.
    pub fn apply_endpoints(&mut self, endpoints: Endpoints) {
        let key = endpoints.service.clone();
        if self.addresses.endpoints.get(&key) != Some(&endpoints) {
            self.addresses.endpoints.insert(key.clone(), endpoints);
            self.changes.endpoints.insert(key);
        }
    }

    /// Takes the endpoints of a service away.
    pub fn remove_endpoints(&mut self, service: &ServiceKey) {
        if self.addresses.endpoints.remove(service).is_some() {
            self.changes.endpoints.insert(service.clone());
        }
    }

    /// The names that the proxy has to look up, as of the last [`Store::compile`].
    pub fn dns_names(&self) -> &BTreeSet<String> {
        self.compiled.dns_names()
    }

    /// Takes the addresses of a name in the order of the answer; empty if the name has none any
    /// more. Answers whether that changes something: their order matters only to services that
    /// take the first.
    pub fn set_dns(&mut self, name: &str, mut addresses: Vec<IpAddr>) -> bool {
        let first = addresses.first().copied();
        addresses.sort_unstable();
        addresses.dedup();
        let known = self.addresses.dns.entry(name.to_owned()).or_default();
        let is_same_first = known.first == first || !self.compiled.takes_first(name);
        let is_same = known.all == addresses && is_same_first;
        *known = Resolved {
            all: addresses,
            first,
        };
        if !is_same {
            self.changes.dns.insert(name.to_owned());
        }
        !is_same
    }

    /// Compiles what changed since the last time; what did not is shared with the last plan, and
    /// if nothing did, the last plan itself is the answer.
    pub fn compile(&mut self) -> Arc<Plan> {
        let changes = std::mem::take(&mut self.changes);
        let plan = match self.plan.take() {
            Some(plan) if !changes.resources => {
                if changes.endpoints.is_empty() && changes.dns.is_empty() {
                    plan
                } else {
                    Arc::new(self.refresh(&plan, &changes))
                }
            }
            last => Arc::new(self.rebuild(last.as_deref(), &changes)),
        };
        self.plan = Some(Arc::clone(&plan));
        plan
    }
}

// === impl Changes ===

impl Changes {
    /// Answers whether the endpoints of a cluster changed.
    fn concern(&self, spec: &Spec) -> bool {
        self.endpoints.contains(&spec.service.body.key)
            || (!self.dns.is_empty() && spec.dns_names().any(|name| self.dns.contains(name)))
    }
}
