//! Route tables of sidecars: one for each port on which services speak HTTP, and one for each
//! service port whose protocol is not declared.
//!
//! VirtualServices are not merged here: each host has the most specific one that names it, the
//! oldest of equals.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use lateen_model::route::GatewayRef;
use lateen_model::service::{Registry as Origin, Resolution, Service};
use lateen_model::{Host, HostPattern};

use super::Compiler;
use super::rules::{Place, StoredRoutes};
use super::tables::{Hosts, TableDraft, TableKey};
use crate::authority::canonical;
use crate::hosts::{HostIndex, HostIndexBuilder};
use crate::registry::Stored;
use crate::table::{RouteTable, Rules};

/// The port whose table also has the hosts of VirtualServices that are no service of that port.
const PORT_OF_FREE_HOSTS: u16 = 80;

/// The VirtualServices of the mesh by host.
pub(super) struct MeshRoutes<'s> {
    /// Oldest first.
    routes: Vec<&'s StoredRoutes>,
    index: HostIndex,
    /// Those that name a host exactly, in order.
    exact: HashMap<&'s Host, Vec<usize>>,
    /// Those that have a wildcard, in order.
    wildcards: Vec<(&'s HostPattern, usize)>,
}

// === impl MeshRoutes ===

impl<'s> MeshRoutes<'s> {
    /// The most specific VirtualService for a service.
    fn of_host(&self, host: &Host) -> Option<usize> {
        let (mut space, mut backwards) = (Vec::new(), Vec::new());
        let host = canonical(host.as_str().as_bytes(), &mut space);
        self.index.find(host, &mut backwards).map(|at| at as usize)
    }

    /// All that name a host, oldest first.
    pub(super) fn all_of(&self, host: &Host) -> impl Iterator<Item = &'s StoredRoutes> {
        let exact = self.exact.get(host).into_iter().flatten().copied();
        let wildcards = self.wildcards.iter();
        let wildcards = wildcards.filter(|(pattern, _)| pattern.matches(host.as_str()));
        let all: BTreeSet<usize> = exact.chain(wildcards.map(|(_, at)| *at)).collect();
        all.into_iter().map(|at| self.routes[at])
    }
}

// === impl Compiler ===

impl<'s> Compiler<'s> {
    /// Collects the VirtualServices of the mesh.
    pub(super) fn mesh_routes(&mut self) -> MeshRoutes<'s> {
        let of_mesh =
            |routes: &&&StoredRoutes| routes.body.spec.gateways.contains(&GatewayRef::Mesh);
        let routes: Vec<&StoredRoutes> = self
            .virtual_services
            .iter()
            .filter(of_mesh)
            .copied()
            .collect();
        let mut index = HostIndexBuilder::new();
        let mut exact: HashMap<&Host, Vec<usize>> = HashMap::new();
        let mut wildcards = Vec::new();
        for (at, one) in (0..).zip(&routes) {
            for host in &one.body.spec.hosts {
                match host {
                    HostPattern::Exact(host) => exact.entry(host).or_default().push(at as usize),
                    HostPattern::Suffix(_) | HostPattern::Any => {
                        wildcards.push((host, at as usize));
                    }
                }
                let owner = index.claim(host, at);
                if owner != at {
                    let owner = &routes[owner as usize].object;
                    let text = format!(
                        "host {host} is already routed by {owner}, which is older; sidecars \
                         ignore this one for it: merge the two"
                    );
                    self.notice(&one.object, text);
                }
            }
        }
        MeshRoutes {
            routes,
            index: index.build(),
            exact,
            wildcards,
        }
    }

    /// The table of a port for the services that speak HTTP on it.
    pub(super) fn port_table(
        &mut self,
        port: u16,
        services: &[&'s Arc<Stored<Service>>],
        mesh_routes: &MeshRoutes<'s>,
    ) -> Arc<RouteTable> {
        let mut recipe = Vec::with_capacity(services.len());
        let mut by_routes: BTreeMap<usize, Vec<&Arc<Stored<Service>>>> = BTreeMap::new();
        for service in services {
            let routes = self.routes_of(service, mesh_routes);
            recipe.push(routes.map_or(0, |at| mesh_routes.routes[at].revision));
            if let Some(at) = routes {
                by_routes.entry(at).or_default().push(service);
            }
        }
        if port == PORT_OF_FREE_HOSTS {
            recipe.extend(mesh_routes.routes.iter().map(|routes| routes.revision));
        }
        self.table(TableKey::Port(port), recipe, |this| {
            let mut table = TableDraft::new(this.unknown_host());
            let hosts: HashSet<&Host> = services.iter().map(|one| &one.body.key.host).collect();
            let mut is_routed: HashSet<&Host> = HashSet::new();
            for (at, routes) in mesh_routes.routes.iter().enumerate() {
                let of_routes = by_routes.remove(&at).unwrap_or_default();
                if of_routes.is_empty() && port != PORT_OF_FREE_HOSTS {
                    continue;
                }
                let Some(rules) = this.mesh_rules(routes, port) else {
                    continue;
                };
                if port == PORT_OF_FREE_HOSTS {
                    for pattern in free_hosts(routes, &hosts) {
                        table.add(Hosts::Pattern(pattern), Arc::clone(&rules), false);
                    }
                }
                for service in of_routes {
                    is_routed.insert(&service.body.key.host);
                    table.add(Hosts::Service(service), Arc::clone(&rules), false);
                }
            }
            for service in services {
                if !is_routed.contains(&service.body.key.host) {
                    let route = this.default_route(service, port);
                    table.add(Hosts::Service(service), this.single_rule(route), false);
                }
            }
            table
        })
    }

    /// The table of one service port, whatever host is asked for.
    pub(super) fn service_table(
        &mut self,
        service: &Arc<Stored<Service>>,
        port: u16,
        mesh_routes: &MeshRoutes<'s>,
    ) -> Arc<RouteTable> {
        let routes = self
            .routes_of(service, mesh_routes)
            .map(|at| mesh_routes.routes[at]);
        let host = &service.body.key.host;
        let recipe = vec![routes.map_or(0, |routes| routes.revision)];
        self.table(TableKey::Service(host.clone(), port), recipe, |this| {
            let rules = routes.and_then(|routes| this.mesh_rules(routes, port));
            let rules = rules.unwrap_or_else(|| {
                let route = this.default_route(service, port);
                this.single_rule(route)
            });
            let mut table = TableDraft::new(this.unknown_host());
            table.add(Hosts::Pattern(&HostPattern::Any), rules, false);
            table
        })
    }

    /// The VirtualService of a service; that of its target for another name of a service.
    fn routes_of(&self, service: &Stored<Service>, mesh_routes: &MeshRoutes<'_>) -> Option<usize> {
        let host = &service.body.key.host;
        let own = mesh_routes.of_host(host);
        own.or_else(|| match service.body.resolution {
            Resolution::Alias(_) => {
                let target = self.registry.resolve(host)?;
                mesh_routes.of_host(&target.body.key.host)
            }
            Resolution::Endpoints
            | Resolution::Dns(_)
            | Resolution::DnsRoundRobin(_)
            | Resolution::DynamicDns(_)
            | Resolution::OriginalDst => None,
        })
    }

    fn mesh_rules(&mut self, routes: &StoredRoutes, port: u16) -> Option<Arc<Rules>> {
        let gateway = GatewayRef::Mesh;
        self.rules(&[(routes, Place { gateway, port })])
    }
}

/// The hosts of a VirtualService that no service of the port has: names from outside of the
/// registry are routed on port 80 alone.
fn free_hosts<'s>(
    routes: &'s StoredRoutes,
    services: &HashSet<&Host>,
) -> impl Iterator<Item = &'s HostPattern> {
    let hosts = routes.body.spec.hosts.iter();
    hosts.filter(|pattern| match pattern {
        HostPattern::Exact(host) => !services.contains(host),
        wildcard => !services.iter().any(|host| wildcard.matches(host.as_str())),
    })
}

/// The hosts by which a workload of `namespace` can ask for a service: its full name, the short
/// forms that its resolver would complete, its addresses, and the pods of a headless service.
pub(super) fn domains(service: &Service, namespace: &str) -> Vec<HostPattern> {
    let name = service.key.host.as_str();
    let exact = |text: &str| HostPattern::Exact(Host::new(text));
    let mut domains = vec![match name.strip_prefix('*') {
        Some("") => HostPattern::Any,
        Some(suffix) => HostPattern::Suffix(suffix.to_owned()),
        None => exact(name),
    }];
    if !name.starts_with('*')
        && let Some((short, _)) = name.split_once(".svc.")
        && let Some((first, rest)) = short.split_once('.')
    {
        if rest == namespace {
            domains.push(exact(first));
        }
        domains.push(exact(short));
        domains.push(exact(&name[..short.len() + ".svc".len()]));
    }
    let single = |net: &&ipnet::IpNet| net.prefix_len() == net.max_prefix_len();
    let addresses = service.addresses.iter().filter(single);
    domains.extend(addresses.map(|net| exact(&net.addr().to_string())));
    let is_headless = service.resolution == Resolution::OriginalDst;
    if is_headless && service.registry == Origin::Kubernetes {
        domains.push(HostPattern::Suffix(format!(".{name}")));
    }
    domains
}
