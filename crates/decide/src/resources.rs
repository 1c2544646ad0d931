//! The resources of one proxy by kind and name, with counters that tell what changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use lateen_model::destination::DestinationRule;
use lateen_model::gateway::Gateway;
use lateen_model::mesh::Mesh;
use lateen_model::proxy::{Proxy, Role};
use lateen_model::service::Service;
use lateen_model::{Body, Labels, Resource, ResourceName, Source};

use crate::compile::delegates::Delegations;
use crate::compile::rules::{Routes, StoredRoutes};
use crate::error::Error;
use crate::registry::Stored;

/// The resources by kind and name.
#[derive(Debug)]
pub(crate) struct Resources {
    mesh: Option<(ResourceName, Arc<Mesh>)>,
    proxy: Option<(ResourceName, Arc<Proxy>)>,
    nobody: Arc<Proxy>,
    pub(crate) services: ByName<Service>,
    pub(crate) virtual_services: ByName<Routes>,
    pub(crate) delegations: Delegations,
    pub(crate) destination_rules: ByName<DestinationRule>,
    pub(crate) gateways: ByName<Gateway>,
    /// Counts versions of resources; never zero for one.
    revision: u64,
    pub(crate) epochs: Epochs,
}

/// Stored resources of one kind.
type ByName<T> = BTreeMap<ResourceName, Arc<Stored<T>>>;

/// Each number changes when what it counts does: what was made under another one is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Epochs {
    /// Services, the mesh and the proxy.
    pub(crate) view: u64,
    /// The proxy alone.
    pub(crate) proxy: u64,
    /// DestinationRules.
    pub(crate) policies: u64,
}

// === impl Resources ===

impl Default for Resources {
    fn default() -> Self {
        Self {
            mesh: None,
            proxy: None,
            nobody: Arc::new(nobody()),
            services: ByName::new(),
            virtual_services: ByName::new(),
            delegations: Delegations::default(),
            destination_rules: ByName::new(),
            gateways: ByName::new(),
            revision: 0,
            epochs: Epochs::default(),
        }
    }
}

impl Resources {
    /// Takes a resource and answers whether it differs from what was there.
    ///
    /// # Errors
    /// Names what cannot be carried out; nothing has changed then.
    pub(crate) fn apply(&mut self, resource: Resource) -> Result<bool, Error> {
        let Resource { name, source, body } = resource;
        self.revision += 1;
        let revision = self.revision;
        Ok(match body {
            Body::Mesh(mesh) => {
                let next = Some((name, Arc::new(mesh)));
                let differs = self.mesh != next;
                self.mesh = next;
                self.epochs.view += u64::from(differs);
                differs
            }
            Body::Proxy(proxy) => {
                let next = Some((name, Arc::new(proxy)));
                let differs = self.proxy != next;
                self.proxy = next;
                self.epochs.view += u64::from(differs);
                self.epochs.proxy += u64::from(differs);
                differs
            }
            Body::Service(service) => {
                let differs = put(&mut self.services, name, source, revision, service);
                self.epochs.view += u64::from(differs);
                differs
            }
            Body::VirtualService(spec) => {
                let last = self.virtual_services.get(&name);
                if last.is_some_and(|last| last.source == source && last.body.spec == spec) {
                    return Ok(false);
                }
                let routes = Routes::compile(spec, &source.object)?;
                let routes = stored(source, revision, routes);
                self.virtual_services.insert(name, routes);
                true
            }
            Body::DestinationRule(rule) => {
                let differs = put(&mut self.destination_rules, name, source, revision, rule);
                self.epochs.policies += u64::from(differs);
                differs
            }
            Body::Gateway(gateway) => put(&mut self.gateways, name, source, revision, gateway),
        })
    }

    /// Takes a resource away and answers whether there was one.
    pub(crate) fn remove(&mut self, name: &ResourceName) -> bool {
        if self.mesh.take_if(|(mesh, _)| mesh == name).is_some() {
            self.epochs.view += 1;
            return true;
        }
        if self.proxy.take_if(|(proxy, _)| proxy == name).is_some() {
            self.epochs.view += 1;
            self.epochs.proxy += 1;
            return true;
        }
        if self.services.remove(name).is_some() {
            self.epochs.view += 1;
            return true;
        }
        if self.destination_rules.remove(name).is_some() {
            self.epochs.policies += 1;
            return true;
        }
        self.virtual_services.remove(name).is_some() || self.gateways.remove(name).is_some()
    }

    /// The settings of the mesh, or Istio's defaults.
    pub(crate) fn mesh(&self) -> Arc<Mesh> {
        let known = self.mesh.as_ref();
        known.map_or_else(Arc::default, |(_, mesh)| Arc::clone(mesh))
    }

    /// The proxy as far as it is known.
    pub(crate) fn known_proxy(&self) -> Option<Arc<Proxy>> {
        self.proxy.as_ref().map(|(_, proxy)| Arc::clone(proxy))
    }

    /// The proxy, or a sidecar of no namespace before it is told what it is.
    pub(crate) fn proxy(&self) -> &Arc<Proxy> {
        let known = self.proxy.as_ref();
        known.map_or(&self.nobody, |(_, proxy)| proxy)
    }

    /// Puts the rules of delegates in place where VirtualServices changed.
    pub(crate) fn resolve_delegates(&mut self) {
        let all = &self.virtual_services;
        self.delegations.update(all, &mut self.revision);
    }

    /// The VirtualServices that the proxy sees, oldest first, with delegates in place.
    pub(crate) fn visible_routes(&self) -> Vec<&StoredRoutes> {
        let namespace = &self.proxy().namespace;
        let all = self.virtual_services.values();
        let mut seen: Vec<_> = all
            .filter(|routes| routes.body.spec.export_to.allows(namespace) && !routes.is_delegate())
            .map(|routes| self.delegations.resolve(routes))
            .collect();
        seen.sort_by(|a, b| a.source.age_key().cmp(&b.source.age_key()));
        seen
    }

    /// The Gateways, oldest first.
    pub(crate) fn gateways_by_age(&self) -> Vec<&Arc<Stored<Gateway>>> {
        let mut gateways: Vec<_> = self.gateways.values().collect();
        gateways.sort_by(|a, b| a.source.age_key().cmp(&b.source.age_key()));
        gateways
    }
}

/// Puts a resource in place unless it is there already.
fn put<T: PartialEq>(
    all: &mut ByName<T>,
    name: ResourceName,
    source: Source,
    revision: u64,
    body: T,
) -> bool {
    let last = all.get(&name);
    if last.is_some_and(|last| last.source == source && last.body == body) {
        return false;
    }
    all.insert(name, stored(source, revision, body));
    true
}

fn stored<T>(source: Source, revision: u64, body: T) -> Arc<Stored<T>> {
    Arc::new(Stored {
        object: Arc::new(source.object.clone()),
        source,
        revision,
        body,
    })
}

fn nobody() -> Proxy {
    Proxy {
        role: Role::Sidecar,
        name: String::new(),
        namespace: String::new(),
        labels: Labels::new(),
        addresses: Vec::new(),
        locality: String::new(),
        inbound: Vec::new(),
        gateway_ports: Vec::new(),
        answers_dns: false,
    }
}
