//! The store: every resource of one proxy by name, and the compilation of what changed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use lateen_model::endpoint::Endpoints;
use lateen_model::service::ServiceKey;
use lateen_model::{Resource, ResourceName};

use crate::error::Error;
use crate::plan::Plan;

/// Holds the resources of one proxy. Lives on the main thread.
#[derive(Debug, Default)]
pub struct Store {}

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
        let _ = resource;
        unimplemented!()
    }

    /// Takes a resource away; nothing happens if there is none of that name.
    pub fn remove(&mut self, name: &ResourceName) {
        let _ = name;
        unimplemented!()
    }

    /// Puts the endpoints of a service in place.
    pub fn apply_endpoints(&mut self, endpoints: Endpoints) {
        let _ = endpoints;
        unimplemented!()
    }

    /// Takes the endpoints of a service away.
    pub fn remove_endpoints(&mut self, service: &ServiceKey) {
        let _ = service;
        unimplemented!()
    }

    /// The names that the proxy has to look up, as of the last [`Store::compile`].
    pub fn dns_names(&self) -> &BTreeSet<String> {
        unimplemented!()
    }

    /// Takes the addresses of a name; empty if the name has none any more.
    pub fn set_dns(&mut self, name: &str, addresses: Vec<IpAddr>) {
        let _ = (name, addresses);
        unimplemented!()
    }

    /// Compiles what changed since the last time; what did not is shared with the last plan.
    pub fn compile(&mut self) -> Arc<Plan> {
        unimplemented!()
    }
}
