//! The compiler: from the resources that a proxy sees to the routing part of its plan.
//!
//! It is not incremental by itself but remembers: what an earlier compilation made is found again
//! by the revisions of the resources that went into it, and taken as it is. So a change of one
//! VirtualService costs the tables that it is part of, and in them only its own rules.
//!
//! ```text
//! sidecar    tables of HTTP ports  ─┐
//! listeners  addresses and ports   ─┼─► Routing      clusters   ids ─► Cluster
//! gateway    servers of Gateways   ─┘
//! rules      VirtualService ─► Matcher + routes (shared by all of them)
//! ```

pub(crate) mod clusters;
pub(crate) mod gateway;
pub(crate) mod inbound;
pub(crate) mod listeners;
pub(crate) mod rules;
pub(crate) mod sidecar;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use lateen_model::mesh::{Mesh, OutboundPolicy};
use lateen_model::proxy::Proxy;
use lateen_model::route::WeightedDestination;
use lateen_model::service::Service;
use lateen_model::{Host, ObjectRef};

use self::clusters::{ClusterKey, Interner};
use self::rules::{RulesCache, StoredRoutes};
use crate::cluster::ClusterId;
use crate::decision::{Origin, Route, Split};
use crate::registry::{Registry, Stored};
use crate::table::{Fallback, RouteTable};

/// One compilation.
pub(crate) struct Compiler<'s> {
    pub(crate) mesh: &'s Mesh,
    pub(crate) proxy: &'s Proxy,
    pub(crate) registry: &'s Registry,
    /// The VirtualServices that the proxy sees, oldest first.
    pub(crate) virtual_services: Vec<&'s StoredRoutes>,
    /// Changes whenever the services, the mesh or the proxy do: what was made under another one
    /// is made anew.
    pub(crate) epoch: u64,
    pub(crate) cache: &'s mut Cache,
    /// What could not be carried out as written.
    pub(crate) notices: Vec<(ObjectRef, String)>,
}

/// What is remembered between compilations.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    pub(crate) rules: RulesCache,
    pub(crate) clusters: Interner,
    tables: HashMap<TableKey, CachedTable>,
}

/// Names a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum TableKey {
    /// All HTTP services of a port, for a sidecar.
    Port(u16),
    /// One port of a service whose protocol is not declared.
    Service(Host, u16),
    /// A listener of a gateway.
    Gateway(Option<IpAddr>, u16),
}

#[derive(Debug)]
struct CachedTable {
    /// The revisions of everything that the table was made of.
    recipe: Vec<u64>,
    table: Arc<RouteTable>,
    /// Every cluster that the table names.
    clusters: BTreeSet<ClusterId>,
    is_used: bool,
}

// === impl Cache ===

impl Cache {
    /// Begins a compilation.
    pub(crate) fn begin(&mut self) {
        self.clusters.begin();
        self.rules.begin();
        for cached in self.tables.values_mut() {
            cached.is_used = false;
        }
    }

    /// Ends a compilation: forgets what it did not use.
    pub(crate) fn end(&mut self) {
        self.clusters.end();
        self.rules.end();
        self.tables.retain(|_, cached| cached.is_used);
    }
}

// === impl Compiler ===

impl Compiler<'_> {
    /// The table of this recipe: as it was, or made anew.
    fn table(
        &mut self,
        key: TableKey,
        mut recipe: Vec<u64>,
        build: impl FnOnce(&mut Self) -> RouteTable,
    ) -> Arc<RouteTable> {
        recipe.push(self.epoch);
        let cached = self.cache.tables.get_mut(&key);
        if let Some(cached) = cached.filter(|cached| cached.recipe == recipe) {
            cached.is_used = true;
            let table = Arc::clone(&cached.table);
            self.cache.clusters.keep(cached.clusters.iter().copied());
            return table;
        }
        let table = Arc::new(build(self));
        let cached = CachedTable {
            recipe,
            table: Arc::clone(&table),
            clusters: table.clusters(),
            is_used: true,
        };
        self.cache.tables.insert(key, cached);
        table
    }

    /// The id of a destination, which need not exist.
    fn cluster(&mut self, host: &Host, subset: &str, port: u16) -> ClusterId {
        let service = self.registry.resolve(host);
        self.cache.clusters.id(ClusterKey {
            host: service
                .map_or(host, |service| &service.body.key.host)
                .clone(),
            subset: subset.to_owned(),
            port,
        })
    }

    /// Resolves destinations for requests that arrive on `arrival`. Without a port of its own a
    /// destination gets the only port of its service, else the one of the arrival.
    fn split(&mut self, destinations: &[WeightedDestination], arrival: u16) -> Split {
        let targets: Vec<_> = destinations
            .iter()
            .map(
                |WeightedDestination {
                     destination,
                     weight,
                 }| {
                    let service = self.registry.resolve(&destination.host);
                    let only = service.and_then(|service| match &*service.body.ports {
                        [only] => Some(only.number),
                        _ => None,
                    });
                    let port = destination.port.or(only).unwrap_or(arrival);
                    let subset = destination.subset.as_deref().unwrap_or_default();
                    (self.cluster(&destination.host, subset, port), *weight)
                },
            )
            .collect();
        Split::weighted(&targets)
    }

    /// The route of a service's port for which no rule is written.
    fn default_route(&mut self, service: &Stored<Service>, port: u16) -> Route {
        Route {
            name: "default".into(),
            origin: Origin::whole(&service.object),
            split: Split::single(self.cluster(&service.body.key.host, "", port)),
        }
    }

    /// Where connections go that no service names.
    fn unknown_route(&self) -> Route {
        let (name, cluster) = match self.mesh.outbound_policy {
            OutboundPolicy::AllowAny => ("allow_any", ClusterId::PASSTHROUGH),
            OutboundPolicy::RegistryOnly => ("block_all", ClusterId::BLACK_HOLE),
        };
        Route {
            name: name.into(),
            origin: Origin::whole(&Arc::new(ObjectRef {
                kind: "MeshConfig".into(),
                namespace: self.mesh.root_namespace.clone(),
                name: "istio".into(),
            })),
            split: Split::single(cluster),
        }
    }

    /// What happens to requests for hosts that no service has.
    fn unknown_host(&self) -> Fallback {
        match self.mesh.outbound_policy {
            OutboundPolicy::AllowAny => Fallback::Passthrough(self.unknown_route()),
            OutboundPolicy::RegistryOnly => Fallback::BlackHole,
        }
    }

    fn notice(&mut self, object: &ObjectRef, text: String) {
        self.notices.push((object.clone(), text));
    }
}
