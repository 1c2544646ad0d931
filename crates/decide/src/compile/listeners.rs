//! Outbound listeners of sidecars: what happens to connections by the address that they are for.
//!
//! Services bind to their addresses; HTTP services, and those that have no address at all, bind
//! to their port. Where several meet on one bind they share it if their protocols can be told
//! apart by the first bytes, else the oldest keeps it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use lateen_model::route::GatewayRef;
use lateen_model::service::{Registry as Origin, Resolution, Service, ServiceKey};
use lateen_model::{HostPattern, ObjectRef, Protocol};

use super::rules::Place;
use super::sidecar::MeshRoutes;
use super::{Compiler, rules};
use crate::decision::Origin as RouteOrigin;
use crate::hosts::FixedMap;
use crate::l4::{SniTable, TcpRoute, TcpRule};
use crate::plan::{Inspect, Outbound, OutboundMap};
use crate::registry::Stored;
use crate::route::Route;
use crate::table::RouteTable;

/// A port of a headless service: it binds to each of its endpoints.
#[derive(Debug)]
pub(crate) struct Headless {
    pub(crate) service: ServiceKey,
    pub(crate) port: u16,
    pub(crate) outbound: Arc<Outbound>,
}

/// What a service binds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Bind {
    Net(IpNet),
    /// Every address.
    Port,
}

/// A listener while it is being put together.
#[derive(Debug, Default)]
struct Draft {
    http: Option<Arc<RouteTable>>,
    sni: Vec<(HostPattern, TcpRule)>,
    tcp: Option<TcpRoute>,
    /// Something here is declared to be HTTP or TLS.
    is_client_first: bool,
    /// Something here is declared to be TCP.
    is_tcp: bool,
    /// Something here is not declared.
    is_undeclared: bool,
    /// Whose the TCP route is.
    owner: Option<Arc<ObjectRef>>,
}

type Drafts = BTreeMap<(Bind, u16), Draft>;

// === impl Draft ===

impl Draft {
    fn finish(self, unknown: &Arc<TcpRoute>) -> Outbound {
        let has_table = self.http.is_some() || !self.sni.is_empty();
        let inspect = if self.is_undeclared || (has_table && self.is_tcp) {
            Inspect::Detect
        } else if has_table && self.is_client_first {
            Inspect::Wait
        } else {
            Inspect::Never
        };
        Outbound {
            inspect,
            http: self.http,
            sni: (!self.sni.is_empty()).then(|| Arc::new(SniTable::compile(&self.sni))),
            tcp: self.tcp.map_or_else(|| Arc::clone(unknown), Arc::new),
        }
    }
}

// === impl Compiler ===

impl<'s> Compiler<'s> {
    /// Everything outbound of a sidecar.
    pub(crate) fn outbound(&mut self) -> (OutboundMap, Vec<Headless>) {
        let mesh_routes = self.mesh_routes();
        let unknown = Arc::new(TcpRoute::new(Vec::new(), self.unknown_route()));
        let mut drafts = self.http_ports(&mesh_routes);
        let mut headless = Vec::new();
        for service in self.registry.services() {
            if matches!(service.body.resolution, Resolution::Alias(_)) {
                // Its connections go to the address of what it is another name for.
                continue;
            }
            for port in &service.body.ports {
                if port.protocol.is_http() || port.protocol == Protocol::Udp {
                    continue;
                }
                let (number, protocol) = (port.number, port.protocol);
                if is_headless(&service.body) {
                    let mut draft = Draft::default();
                    self.join(&mut draft, service, number, protocol, &mesh_routes);
                    headless.push(Headless {
                        service: service.body.key.clone(),
                        port: number,
                        outbound: Arc::new(draft.finish(&unknown)),
                    });
                } else {
                    for bind in binds(&service.body) {
                        let draft = drafts.entry((bind, number)).or_default();
                        self.join(draft, service, number, protocol, &mesh_routes);
                    }
                }
            }
        }
        (finish(drafts, &unknown), headless)
    }

    /// The tables of the ports on which services speak HTTP.
    fn http_ports(&mut self, mesh_routes: &MeshRoutes<'s>) -> Drafts {
        let mut ports: BTreeMap<u16, Vec<&'s Arc<Stored<Service>>>> = BTreeMap::new();
        for service in self.registry.services() {
            for port in &service.body.ports {
                if port.protocol.is_http() {
                    ports.entry(port.number).or_default().push(service);
                }
            }
        }
        let mut drafts = Drafts::new();
        for (port, services) in ports {
            let draft = Draft {
                http: Some(self.port_table(port, &services, mesh_routes)),
                is_client_first: true,
                ..Draft::default()
            };
            drafts.insert((Bind::Port, port), draft);
        }
        drafts
    }

    /// Adds a service port to a listener, as far as there is room for it.
    fn join(
        &mut self,
        draft: &mut Draft,
        service: &'s Arc<Stored<Service>>,
        port: u16,
        protocol: Protocol,
        mesh_routes: &MeshRoutes<'s>,
    ) {
        let place = Place {
            gateway: GatewayRef::Mesh,
            port,
        };
        let is_tls = matches!(protocol, Protocol::Tls | Protocol::Https);
        if is_tls {
            draft.is_client_first = true;
            let rules = self.sni_rules(service, &place, mesh_routes);
            draft.sni.extend(rules);
            if service.body.addresses.is_empty() && !is_headless(&service.body) {
                let route = self.default_route(service, port);
                draft.sni.push((pattern_of(&service.body), whole(route)));
                return;
            }
        }
        if let Some(owner) = &draft.owner {
            if !is_tls {
                let text = format!(
                    "port {port} of {} is bound by {owner}, which is older, on the same \
                     address: connections go there",
                    service.body.key.host
                );
                self.notice(&service.object, text);
            }
            return;
        }
        draft.tcp = Some(self.tcp_route(service, &place, mesh_routes));
        draft.owner = Some(Arc::clone(&service.object));
        match protocol {
            Protocol::Unknown => {
                draft.is_undeclared = true;
                if draft.http.is_none() {
                    draft.http = Some(self.service_table(service, port, mesh_routes));
                }
            }
            _ => draft.is_tcp = !is_tls,
        }
    }

    /// The `tcp` rules for a service, then the service itself.
    fn tcp_route(
        &mut self,
        service: &Stored<Service>,
        place: &Place,
        mesh_routes: &MeshRoutes<'s>,
    ) -> TcpRoute {
        let mut rules = Vec::new();
        for routes in mesh_routes.all_of(&service.body.key.host) {
            for (at, rule) in routes.body.spec.tcp.iter().enumerate() {
                let admitted = rule.matches.iter().enumerate();
                let mut admitted: Vec<_> = admitted
                    .filter(|(_, block)| place.admits_connection(block, self.proxy))
                    .map(|(block, conditions)| (block, &*conditions.destination_subnets))
                    .collect();
                if rule.matches.is_empty() {
                    admitted.push((0, &[]));
                }
                for (block, subnets) in admitted {
                    let route = self.l4_route(routes, at, block, &rule.route, place);
                    if subnets.is_empty() {
                        return TcpRoute::new(rules, route);
                    }
                    rules.push(TcpRule {
                        subnets: subnets.into(),
                        route,
                    });
                }
            }
        }
        let route = self.default_route(service, place.port);
        TcpRoute::new(rules, route)
    }

    /// The `tls` rules for a service.
    fn sni_rules(
        &mut self,
        service: &Stored<Service>,
        place: &Place,
        mesh_routes: &MeshRoutes<'s>,
    ) -> Vec<(HostPattern, TcpRule)> {
        let mut rules = Vec::new();
        for routes in mesh_routes.all_of(&service.body.key.host) {
            for (at, rule) in routes.body.spec.tls.iter().enumerate() {
                for (block, conditions) in rule.matches.iter().enumerate() {
                    if !place.admits_connection(&conditions.l4, self.proxy) {
                        continue;
                    }
                    let route = self.l4_route(routes, at, block, &rule.route, place);
                    for host in &conditions.sni_hosts {
                        let rule = TcpRule {
                            subnets: conditions.l4.destination_subnets.as_slice().into(),
                            route: route.clone(),
                        };
                        rules.push((host.clone(), rule));
                    }
                }
            }
        }
        rules
    }

    /// What a rule for connections says.
    pub(super) fn l4_route(
        &mut self,
        routes: &rules::StoredRoutes,
        rule: usize,
        block: usize,
        destinations: &[lateen_model::route::WeightedDestination],
        place: &Place,
    ) -> Route {
        let origin = RouteOrigin::block(&routes.object, rule, block);
        Route::plain("", origin, self.split(destinations, place.port))
    }
}

fn finish(drafts: Drafts, unknown: &Arc<TcpRoute>) -> OutboundMap {
    let mut map = OutboundMap {
        addresses: FixedMap::default(),
        ranges: FixedMap::default(),
        range_lengths: Vec::new(),
        ports: FixedMap::default(),
        otherwise: Arc::new(Draft::default().finish(unknown)),
    };
    for ((bind, port), draft) in drafts {
        let outbound = Arc::new(draft.finish(unknown));
        match bind {
            Bind::Port => {
                map.ports.insert(port, outbound);
            }
            Bind::Net(net) if net.prefix_len() == net.max_prefix_len() => {
                let address: IpAddr = net.addr().to_canonical();
                map.addresses.insert((address, port), outbound);
            }
            Bind::Net(net) => {
                map.range_lengths.push(net.prefix_len());
                map.ranges.insert((net.trunc(), port), outbound);
            }
        }
    }
    map.range_lengths.sort_unstable_by(|a, b| b.cmp(a));
    map.range_lengths.dedup();
    map
}

/// A rule for every destination.
fn whole(route: Route) -> TcpRule {
    TcpRule {
        subnets: Box::default(),
        route,
    }
}

fn binds(service: &Service) -> Vec<Bind> {
    if service.addresses.is_empty() {
        // A Kubernetes Service without an address (yet) cannot be dialled.
        let is_entry = service.registry == Origin::ServiceEntry;
        return is_entry.then_some(Bind::Port).into_iter().collect();
    }
    service.addresses.iter().copied().map(Bind::Net).collect()
}

/// Answers whether a service is dialled by the addresses of its pods.
fn is_headless(service: &Service) -> bool {
    service.registry == Origin::Kubernetes
        && service.addresses.is_empty()
        && service.resolution == Resolution::OriginalDst
}

/// The host of a service as a pattern: ServiceEntries may have wildcards.
fn pattern_of(service: &Service) -> HostPattern {
    HostPattern::resolve(service.key.host.as_str(), "", "")
}
