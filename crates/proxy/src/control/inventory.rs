//! What the proxy was sent and took, as it was sent: for the config dump and the snapshot.

use std::collections::BTreeMap;

use lateen_model::endpoint::Endpoints;
use lateen_model::service::{Resolution, ServiceKey};
use lateen_model::{Body, Resource, ResourceName};
use lateen_xds::client::Versions;
use lateen_xds::snapshot;

/// Resources and endpoints by name.
#[derive(Debug, Default)]
pub struct Inventory {
    resources: BTreeMap<ResourceName, Resource>,
    endpoints: BTreeMap<ServiceKey, Endpoints>,
}

// === impl Inventory ===

impl Inventory {
    /// Takes a resource in.
    pub fn put(&mut self, resource: Resource) {
        self.resources.insert(resource.name.clone(), resource);
    }

    /// Removes a resource.
    pub fn remove(&mut self, name: &ResourceName) {
        self.resources.remove(name);
    }

    /// Takes the endpoints of a service in.
    pub fn put_endpoints(&mut self, endpoints: Endpoints) {
        self.endpoints.insert(endpoints.service.clone(), endpoints);
    }

    /// Removes the endpoints of a service.
    pub fn remove_endpoints(&mut self, service: &ServiceKey) {
        self.endpoints.remove(service);
    }

    /// All resources.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.resources.values()
    }

    /// The endpoints of all services.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoints> {
        self.endpoints.values()
    }

    /// Answers whether a resource is a service whose endpoints are sent but have not come.
    pub fn lacks_endpoints(&self, resource: &Resource) -> bool {
        match &resource.body {
            Body::Service(service) => {
                service.resolution == Resolution::Endpoints
                    && !self.endpoints.contains_key(&service.key)
            }
            Body::Mesh(_)
            | Body::Proxy(_)
            | Body::VirtualService(_)
            | Body::DestinationRule(_)
            | Body::Gateway(_) => false,
        }
    }

    /// Everything as a snapshot.
    pub fn encode(&self, versions: &Versions) -> Vec<u8> {
        snapshot::encode(self.resources(), self.endpoints(), versions)
    }
}
