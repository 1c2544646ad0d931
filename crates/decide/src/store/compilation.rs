//! From resources to a plan: what is compiled anew after which change.
//!
//! ```text
//! endpoints or DNS      the clusters that have them
//! a DestinationRule     the clusters whose policy or subset differs
//! a VirtualService      the tables that it is part of, and in them its own rules
//! a service             every table; conditions of rules and unchanged clusters stay
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use lateen_model::proxy::{Proxy, Role};

use super::{Changes, Store};
use crate::cluster::{Cluster, ClusterId};
use crate::compile::clusters::{Spec, well_known};
use crate::compile::listeners::Headless;
use crate::compile::{Compiler, default_policy, inbound};
use crate::hosts::FixedMap;
use crate::names::{Names, Pods};
use crate::plan::{GatewayListener, Outbound, Plan, Routing, Serve};
use crate::policies::Policies;
use crate::registry::Registry;
use crate::resources::Epochs;
use crate::tls::{ServerId, Terminated};

/// What the next compilation starts from.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    /// When the views were made; none were in the first compilation.
    epochs: Option<Epochs>,
    registry: Arc<Registry>,
    policies: Arc<Policies>,
    specs: BTreeMap<ClusterId, Arc<Spec>>,
    headless: Vec<Headless>,
    names: Arc<Names>,
    dns_names: BTreeSet<String>,
}

// === impl Compiled ===

impl Compiled {
    pub(super) fn dns_names(&self) -> &BTreeSet<String> {
        &self.dns_names
    }

    /// Answers whether a service takes only the first address of a name.
    pub(super) fn takes_first(&self, name: &str) -> bool {
        let mut specs = self.specs.values().filter(|spec| spec.is_round_robin());
        specs.any(|spec| spec.dns_names().any(|one| one == name))
    }
}

// === impl Store ===

impl Store {
    /// Compiles after a change of endpoints alone: the routing stays.
    pub(super) fn refresh(&mut self, last: &Plan, changes: &Changes) -> Plan {
        let mut clusters = last.clusters.clone();
        for (id, spec) in &self.compiled.specs {
            if changes.concern(spec) {
                let cluster = &mut clusters[id.0 as usize];
                let fresh = spec.build(*id, &mut self.addresses, cluster.as_deref());
                *cluster = Some(Arc::new(fresh));
            }
        }
        let mut headless = self.compiled.headless.iter();
        let headless = if headless.any(|one| changes.endpoints.contains(&one.service)) {
            self.headless(last.proxy())
        } else {
            Arc::clone(&last.headless)
        };
        let pods = self
            .compiled
            .names
            .pods(last.pods.as_ref(), &self.addresses.endpoints, |key| {
                changes.endpoints.contains(key)
            });
        self.addresses.forget_unused();
        Plan {
            routing: Arc::clone(&last.routing),
            headless,
            names: Arc::clone(&self.compiled.names),
            pods,
            clusters,
        }
    }

    /// Compiles after a change of resources.
    pub(super) fn rebuild(&mut self, last: Option<&Plan>, changes: &Changes) -> Plan {
        self.resources.resolve_delegates();
        let epochs = self.resources.epochs;
        let (is_same_view, are_same_policies) = match self.compiled.epochs {
            Some(last) => (last.view == epochs.view, last == epochs),
            None => (false, false),
        };
        if !is_same_view {
            let services = self.resources.services.values();
            let registry = Registry::new(services, self.resources.proxy());
            self.compiled.registry = Arc::new(registry);
            self.compiled.names = Names::new(
                &self.compiled.registry,
                &self.resources.mesh().cluster_domain,
                self.resources.proxy(),
            );
        }
        if !are_same_policies {
            let proxy = self.resources.proxy();
            self.compiled.policies = Arc::new(Policies::new(
                self.resources.destination_rules.values(),
                &proxy.namespace,
                &proxy.labels,
                &self.resources.mesh().root_namespace,
            ));
        }
        self.compiled.epochs = Some(epochs);
        let (routing, headless) = self.routing(last.map(|last| &*last.routing));
        self.compiled.headless = headless;
        let specs = self.specs(are_same_policies);
        let clusters = self.clusters(&specs, last, changes);
        let names = specs.values().flat_map(|spec| spec.dns_names());
        self.compiled.dns_names = names.map(str::to_owned).collect();
        self.compiled.specs = specs;
        self.forget_unused();
        let names = Arc::clone(&self.compiled.names);
        Plan {
            headless: self.headless(routing.proxy.as_deref()),
            pods: names.pods(&Pods::default(), &self.addresses.endpoints, |_| true),
            names,
            routing: Arc::new(routing),
            clusters,
        }
    }

    /// Compiles everything that does not depend on endpoints.
    fn routing(&mut self, last: Option<&Routing>) -> (Routing, Vec<Headless>) {
        let resources = &self.resources;
        let (mesh, proxy) = (resources.mesh(), resources.proxy());
        self.cache.begin(resources.epochs);
        let virtual_services = resources.visible_routes();
        let noted = virtual_services.iter().flat_map(|routes| {
            let notices = routes.body.notices.iter();
            notices.map(|text| ((*routes.object).clone(), text.clone()))
        });
        let notices = noted.collect();
        let mut compiler = Compiler {
            mesh: &mesh,
            proxy,
            registry: &self.compiled.registry,
            policies: &self.compiled.policies,
            virtual_services,
            epoch: resources.epochs.view,
            cache: &mut self.cache,
            default_policy: Arc::new(default_policy(&mesh)),
            notices,
        };
        let (outbound, headless) = compiler.outbound();
        let listeners = match proxy.role {
            Role::Gateway => compiler.listeners(&resources.gateways_by_age()),
            Role::Sidecar => Vec::new(),
        };
        let notices = compiler.notices;
        let routes = resources.virtual_services.values();
        let written = routes.map(|routes| routes.revision);
        let revisions = written.chain(resources.delegations.revisions()).collect();
        self.cache.end(&revisions);
        let (inbound, inbound_otherwise) = inbound::compile(
            proxy,
            &self.compiled.registry,
            &self.compiled.policies,
            &mesh,
            last,
        );
        let routing = Routing {
            proxy: resources.known_proxy(),
            mesh,
            outbound,
            inbound,
            inbound_otherwise,
            terminated: terminated(&listeners),
            listeners,
            notices,
        };
        (routing, headless)
    }

    /// What is behind each destination that a route names; nothing where it does not exist.
    fn specs(&self, may_reuse: bool) -> BTreeMap<ClusterId, Arc<Spec>> {
        let Compiled {
            registry, policies, ..
        } = &self.compiled;
        let proxy = self.resources.proxy();
        let mesh = self.resources.mesh();
        let known = |id| self.compiled.specs.get(&id).filter(|_| may_reuse).cloned();
        let keys = self.cache.clusters.keys();
        let specs = keys.filter_map(|(id, key)| {
            let resolve = || Spec::resolve(key, registry, policies, &mesh, proxy).map(Arc::new);
            let spec = known(id).or_else(resolve)?;
            Some((id, spec))
        });
        specs.collect()
    }

    /// The clusters by id; those whose spec and endpoints stayed are taken as they are.
    fn clusters(
        &mut self,
        specs: &BTreeMap<ClusterId, Arc<Spec>>,
        last: Option<&Plan>,
        changes: &Changes,
    ) -> Vec<Option<Arc<Cluster>>> {
        let mut clusters: Vec<_> = well_known(&self.resources.mesh())
            .map(|one| Some(Arc::new(one)))
            .into();
        if let Some((greatest, _)) = specs.last_key_value() {
            clusters.resize(greatest.0 as usize + 1, None);
        }
        for (id, spec) in specs {
            let old = self.compiled.specs.get(id);
            let is_same = old.is_some_and(|old| Arc::ptr_eq(old, spec) || old.is_same(spec));
            let kept = last.and_then(|plan| plan.clusters.get(id.0 as usize)?.as_ref());
            clusters[id.0 as usize] = match kept {
                Some(kept) if is_same && !changes.concern(spec) => Some(Arc::clone(kept)),
                last => {
                    let last = last.map(|last| &**last);
                    Some(Arc::new(spec.build(*id, &mut self.addresses, last)))
                }
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
            let addresses = known.endpoints.iter().filter_map(|one| one.address.ip());
            for address in addresses.filter(|address| !own.contains(address)) {
                let key = (address.to_canonical(), one.port);
                map.entry(key).or_insert_with(|| Arc::clone(&one.outbound));
            }
        }
        Arc::new(map)
    }

    /// Forgets answers to names that nobody needs, and the loads of addresses without a cluster.
    fn forget_unused(&mut self) {
        let names = &self.compiled.dns_names;
        self.addresses.dns.retain(|name, _| names.contains(name));
        self.addresses.forget_unused();
    }
}

/// The servers of listeners that end TLS, by their ids.
fn terminated(listeners: &[Arc<GatewayListener>]) -> FixedMap<ServerId, Arc<Terminated>> {
    let tables = listeners
        .iter()
        .filter_map(|listener| match &listener.serve {
            Serve::Tls(table) => Some(table),
            Serve::Http(_) | Serve::Tcp(_) => None,
        });
    let servers = tables.flat_map(|table| table.terminated());
    servers
        .map(|server| (server.id, Arc::clone(server)))
        .collect()
}
