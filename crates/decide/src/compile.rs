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
//! rules      VirtualService ─► Matcher + routes       tables   what is kept of the last ones
//! ```

mod actions;
pub(crate) mod clusters;
pub(crate) mod delegates;
pub(crate) mod gateway;
pub(crate) mod inbound;
pub(crate) mod listeners;
mod locality;
pub(crate) mod rules;
pub(crate) mod sidecar;
pub(crate) mod tables;
mod texts;

use std::collections::HashSet;
use std::sync::Arc;

use lateen_model::mesh::{Mesh, OutboundPolicy};
use lateen_model::proxy::Proxy;
use lateen_model::route::{Destination, WeightedDestination};
use lateen_model::service::Service;
use lateen_model::{Host, ObjectRef};

use self::clusters::{ClusterKey, Interner};
use self::gateway::tls::ServerIds;
use self::rules::{RulesCache, StoredRoutes};
use self::tables::TableCache;
use crate::cluster::ClusterId;
use crate::decision::Origin;
use crate::policies::Policies;
use crate::registry::{Registry, Stored};
use crate::resources::Epochs;
use crate::retry::RetryPolicy;
use crate::route::{Route, RoutePolicy, Split};
use crate::table::Fallback;

/// One compilation.
pub(crate) struct Compiler<'s> {
    pub(crate) mesh: &'s Mesh,
    pub(crate) proxy: &'s Proxy,
    pub(crate) registry: &'s Registry,
    pub(crate) policies: &'s Policies,
    /// The VirtualServices that the proxy sees, oldest first.
    pub(crate) virtual_services: Vec<&'s StoredRoutes>,
    /// Changes whenever the services, the mesh or the proxy do: what was made under another one
    /// is made anew.
    pub(crate) epoch: u64,
    pub(crate) cache: &'s mut Cache,
    /// How requests are treated for which no rule is written; shared by all services.
    pub(crate) default_policy: Arc<RoutePolicy>,
    /// What could not be carried out as written.
    pub(crate) notices: Vec<(ObjectRef, String)>,
}

/// What is remembered between compilations.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    pub(crate) rules: RulesCache,
    pub(crate) clusters: Interner,
    tables: TableCache,
    servers: ServerIds,
}

// === impl Cache ===

impl Cache {
    /// Begins a compilation.
    pub(crate) fn begin(&mut self, epochs: Epochs) {
        self.clusters.begin();
        self.rules.begin(epochs.proxy);
        self.tables.begin();
        self.servers.begin();
    }

    /// Ends a compilation: forgets what it did not use, and the rules of revisions that are gone.
    pub(crate) fn end(&mut self, revisions: &HashSet<u64>) {
        self.clusters.end();
        self.rules.end(revisions);
        self.tables.end();
        self.servers.end();
    }
}

// === impl Compiler ===

impl Compiler<'_> {
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

    /// Resolves a destination for requests that arrive on `arrival`. Without a port of its own it
    /// gets the only port of its service, else the one of the arrival.
    fn target(&mut self, destination: &Destination, arrival: u16) -> ClusterId {
        let service = self.registry.resolve(&destination.host);
        let only = service.and_then(|service| match &*service.body.ports {
            [only] => Some(only.number),
            _ => None,
        });
        let port = destination.port.or(only).unwrap_or(arrival);
        let subset = destination.subset.as_deref().unwrap_or_default();
        self.cluster(&destination.host, subset, port)
    }

    /// Resolves destinations with their weights.
    fn split(&mut self, destinations: &[WeightedDestination], arrival: u16) -> Split {
        let targets: Vec<_> = destinations
            .iter()
            .map(|one| (self.target(&one.destination, arrival), one.weight))
            .collect();
        Split::weighted(&targets)
    }

    /// The route of a service's port for which no rule is written.
    fn default_route(&mut self, service: &Stored<Service>, port: u16) -> Route {
        let cluster = self.cluster(&service.body.key.host, "", port);
        Route {
            policy: Arc::clone(&self.default_policy),
            ..Route::plain(
                "default",
                Origin::whole(&service.object),
                Split::single(cluster),
            )
        }
    }

    /// Where connections go that no service names.
    fn unknown_route(&self) -> Route {
        let (name, cluster) = match self.mesh.outbound_policy {
            OutboundPolicy::AllowAny => ("allow_any", ClusterId::PASSTHROUGH),
            OutboundPolicy::RegistryOnly => ("block_all", ClusterId::BLACK_HOLE),
        };
        let object = Arc::new(ObjectRef {
            kind: "MeshConfig".into(),
            namespace: self.mesh.root_namespace.clone(),
            name: "istio".into(),
        });
        Route::plain(name, Origin::whole(&object), Split::single(cluster))
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

/// How requests are treated for which no rule is written.
pub(crate) fn default_policy(mesh: &Mesh) -> RoutePolicy {
    RoutePolicy {
        retries: RetryPolicy::new(&mesh.default_retries),
        ..RoutePolicy::default()
    }
}
