//! The store: every resource of one proxy by name, and the compilation of what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use lateen_model::destination::DestinationRule;
use lateen_model::endpoint::Endpoints;
use lateen_model::gateway::Gateway;
use lateen_model::mesh::Mesh;
use lateen_model::proxy::{Proxy, Role};
use lateen_model::service::{Service, ServiceKey};
use lateen_model::{Body, Labels, Resource, ResourceName, Source};

use crate::cluster::{Cluster, ClusterId};
use crate::compile::clusters::{Addresses, Spec, well_known};
use crate::compile::listeners::Headless;
use crate::compile::rules::{Routes, StoredRoutes};
use crate::compile::{Cache, Compiler, inbound};
use crate::error::Error;
use crate::hosts::FixedMap;
use crate::plan::{Outbound, Plan, Routing};
use crate::policies::Policies;
use crate::registry::{Registry, Stored};

/// Holds the resources of one proxy. Lives on the main thread.
#[derive(Debug, Default)]
pub struct Store {
    resources: Resources,
    addresses: Addresses,
    changes: Changes,
    cache: Cache,
    /// Counts versions of resources; never zero for one.
    revision: u64,
    /// Counts changes of services, the mesh and the proxy.
    epoch: u64,
    compiled: Compiled,
    plan: Option<Arc<Plan>>,
}

/// The resources by kind and name.
#[derive(Debug, Default)]
struct Resources {
    mesh: Option<(ResourceName, Arc<Mesh>)>,
    proxy: Option<(ResourceName, Arc<Proxy>)>,
    services: BTreeMap<ResourceName, Arc<Stored<Service>>>,
    virtual_services: BTreeMap<ResourceName, StoredRoutes>,
    destination_rules: BTreeMap<ResourceName, Arc<Stored<DestinationRule>>>,
    gateways: BTreeMap<ResourceName, Arc<Stored<Gateway>>>,
}

/// What changed since the last compilation.
#[derive(Debug, Default)]
struct Changes {
    resources: bool,
    endpoints: BTreeSet<ServiceKey>,
    dns: BTreeSet<String>,
}

/// What a change of endpoints starts from.
#[derive(Debug, Default)]
struct Compiled {
    specs: BTreeMap<ClusterId, Spec>,
    headless: Vec<Headless>,
    dns_names: BTreeSet<String>,
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
        self.revision += 1;
        let Resource { name, source, body } = resource;
        let revision = self.revision;
        let resources = &mut self.resources;
        match body {
            Body::Mesh(mesh) => {
                self.epoch += 1;
                resources.mesh = Some((name, Arc::new(mesh)));
            }
            Body::Proxy(proxy) => {
                self.epoch += 1;
                self.cache.rules.clear();
                resources.proxy = Some((name, Arc::new(proxy)));
            }
            Body::Service(service) => {
                self.epoch += 1;
                resources
                    .services
                    .insert(name, stored(source, revision, service));
            }
            Body::VirtualService(routes) => {
                let routes = Routes::compile(routes, &source.object)?;
                let routes = stored(source, revision, routes);
                resources.virtual_services.insert(name, routes);
            }
            Body::DestinationRule(rule) => {
                let rule = stored(source, revision, rule);
                resources.destination_rules.insert(name, rule);
            }
            Body::Gateway(gateway) => {
                resources
                    .gateways
                    .insert(name, stored(source, revision, gateway));
            }
        }
        self.changes.resources = true;
        Ok(())
    }

    /// Takes a resource away; nothing happens if there is none of that name.
    pub fn remove(&mut self, name: &ResourceName) {
        let resources = &mut self.resources;
        if resources.mesh.take_if(|(mesh, _)| mesh == name).is_some() {
            self.epoch += 1;
        } else if resources
            .proxy
            .take_if(|(proxy, _)| proxy == name)
            .is_some()
        {
            self.epoch += 1;
            self.cache.rules.clear();
        } else if resources.services.remove(name).is_some() {
            self.epoch += 1;
        } else if resources.virtual_services.remove(name).is_none()
            && resources.destination_rules.remove(name).is_none()
            && resources.gateways.remove(name).is_none()
        {
            return;
        }
        self.changes.resources = true;
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
        &self.compiled.dns_names
    }

    /// Takes the addresses of a name; empty if the name has none any more.
    pub fn set_dns(&mut self, name: &str, mut addresses: Vec<IpAddr>) {
        addresses.sort_unstable();
        addresses.dedup();
        let known = self.addresses.dns.get(name);
        if known.map(Vec::as_slice).unwrap_or_default() != addresses {
            self.addresses.dns.insert(name.to_owned(), addresses);
            self.changes.dns.insert(name.to_owned());
        }
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
        self.addresses.forget_unused();
        self.plan = Some(Arc::clone(&plan));
        plan
    }

    /// Compiles after a change of endpoints alone: the routing stays.
    fn refresh(&mut self, last: &Plan, changes: &Changes) -> Plan {
        let mut clusters = last.clusters.clone();
        for (id, spec) in &self.compiled.specs {
            if changes.concern(spec) {
                let cluster = Arc::new(spec.build(*id, &mut self.addresses));
                clusters[id.0 as usize] = Some(cluster);
            }
        }
        let mut headless = self.compiled.headless.iter();
        let headless = if headless.any(|one| changes.endpoints.contains(&one.service)) {
            self.headless(last.proxy())
        } else {
            Arc::clone(&last.headless)
        };
        Plan {
            routing: Arc::clone(&last.routing),
            headless,
            clusters,
        }
    }

    /// Compiles after a change of resources.
    fn rebuild(&mut self, last: Option<&Plan>, changes: &Changes) -> Plan {
        let mesh = match &self.resources.mesh {
            Some((_, mesh)) => Arc::clone(mesh),
            None => Arc::default(),
        };
        let known = self.resources.proxy.as_ref();
        let known = known.map(|(_, proxy)| Arc::clone(proxy));
        let proxy = known.clone().unwrap_or_else(|| Arc::new(nobody()));
        let registry = Registry::new(self.resources.services.values(), &proxy.namespace);
        let policies = Policies::new(
            self.resources.destination_rules.values(),
            &proxy.namespace,
            &proxy.labels,
            &mesh.root_namespace,
        );
        let (routing, headless) = self.routing(mesh, known, &proxy, &registry);
        let specs = self.specs(&registry, &policies, proxy.role);
        let clusters = self.clusters(&specs, last, changes);
        let names = specs.values().flat_map(Spec::dns_names).map(str::to_owned);
        self.compiled = Compiled {
            dns_names: names.collect(),
            headless,
            specs,
        };
        let names = &self.compiled.dns_names;
        self.addresses.dns.retain(|name, _| names.contains(name));
        Plan {
            headless: self.headless(routing.proxy.as_deref()),
            routing: Arc::new(routing),
            clusters,
        }
    }

    /// Compiles everything that does not depend on endpoints.
    fn routing(
        &mut self,
        mesh: Arc<Mesh>,
        known: Option<Arc<Proxy>>,
        proxy: &Proxy,
        registry: &Registry,
    ) -> (Routing, Vec<Headless>) {
        self.cache.begin();
        let mut compiler = Compiler {
            mesh: &mesh,
            proxy,
            registry,
            virtual_services: self.resources.visible_routes(&proxy.namespace),
            epoch: self.epoch,
            cache: &mut self.cache,
            notices: Vec::new(),
        };
        let (outbound, headless) = compiler.outbound();
        let listeners = match proxy.role {
            Role::Gateway => compiler.listeners(&self.resources.gateways_by_age()),
            Role::Sidecar => Vec::new(),
        };
        let notices = compiler.notices;
        self.cache.end();
        let (inbound, inbound_otherwise) = inbound::compile(proxy, registry);
        let routing = Routing {
            proxy: known,
            mesh,
            outbound,
            inbound,
            inbound_otherwise,
            listeners,
            notices,
        };
        (routing, headless)
    }

    /// What is behind each destination that a route names.
    fn specs(
        &self,
        registry: &Registry,
        policies: &Policies,
        role: Role,
    ) -> BTreeMap<ClusterId, Spec> {
        let keys = self.cache.clusters.keys();
        keys.filter_map(|(id, key)| Some((id, Spec::resolve(key, registry, policies, role)?)))
            .collect()
    }

    /// The clusters by id; those whose spec and endpoints stayed are taken as they are.
    fn clusters(
        &mut self,
        specs: &BTreeMap<ClusterId, Spec>,
        last: Option<&Plan>,
        changes: &Changes,
    ) -> Vec<Option<Arc<Cluster>>> {
        let mut clusters: Vec<_> = well_known().map(|one| Some(Arc::new(one))).into();
        if let Some((greatest, _)) = specs.last_key_value() {
            clusters.resize(greatest.0 as usize + 1, None);
        }
        for (id, spec) in specs {
            let same = self
                .compiled
                .specs
                .get(id)
                .is_some_and(|old| old.is_same(spec));
            let kept = last.and_then(|plan| plan.clusters.get(id.0 as usize)?.as_ref());
            clusters[id.0 as usize] = match kept {
                Some(kept) if same && !changes.concern(spec) => Some(Arc::clone(kept)),
                _ => Some(Arc::new(spec.build(*id, &mut self.addresses))),
            };
        }
        clusters
    }

    /// The endpoints of headless services, each on the ports of its service.
    fn headless(&self, proxy: Option<&Proxy>) -> Arc<FixedMap<(IpAddr, u16), Arc<Outbound>>> {
        let own = proxy
            .map(|proxy| proxy.addresses.as_slice())
            .unwrap_or_default();
        let mut map = FixedMap::default();
        for one in &self.compiled.headless {
            let Some(known) = self.addresses.endpoints.get(&one.service) else {
                continue;
            };
            for endpoint in &known.endpoints {
                if !own.contains(&endpoint.address) {
                    let key = (endpoint.address.to_canonical(), one.port);
                    map.entry(key).or_insert_with(|| Arc::clone(&one.outbound));
                }
            }
        }
        Arc::new(map)
    }
}

// === impl Resources ===

impl Resources {
    /// The VirtualServices that a namespace sees, oldest first.
    fn visible_routes(&self, namespace: &str) -> Vec<&StoredRoutes> {
        let all = self.virtual_services.values();
        let mut seen: Vec<_> = all
            .filter(|routes| routes.body.spec.export_to.allows(namespace))
            .collect();
        seen.sort_by(|a, b| a.source.age_key().cmp(&b.source.age_key()));
        seen
    }

    fn gateways_by_age(&self) -> Vec<&Arc<Stored<Gateway>>> {
        let mut gateways: Vec<_> = self.gateways.values().collect();
        gateways.sort_by(|a, b| a.source.age_key().cmp(&b.source.age_key()));
        gateways
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

fn stored<T>(source: Source, revision: u64, body: T) -> Arc<Stored<T>> {
    Arc::new(Stored {
        object: Arc::new(source.object.clone()),
        source,
        revision,
        body,
    })
}

/// The proxy before it is told what it is.
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
    }
}
