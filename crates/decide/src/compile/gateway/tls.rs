//! Servers of Gateways that speak TLS: passed through, ended, or taken on into the mesh, mixed on
//! one socket and told apart by the name that clients ask for.
//!
//! Each server that ends TLS has routes of its own, unlike servers of plain text, which share the
//! table of their socket: a request that came under one server's certificate never meets the
//! routes of another.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use lateen_model::gateway::{Gateway, Server, ServerHost, ServerTls, ServerTlsMode};
use lateen_model::service::Resolution;
use lateen_model::{Host, HostPattern, ObjectRef, Protocol};

use super::{Compiler, Kind, Socket, hosts, narrowed, place};
use crate::compile::tables::TableKey;
use crate::l4::{SniTable, TcpRoute, TcpRule};
use crate::plan::Serve;
use crate::policies::Merged;
use crate::registry::Stored;
use crate::tls::{Ended, Entry, ServerId, Terminated, TlsTable};

/// The ids of servers that end TLS.
#[derive(Debug, Default)]
pub(crate) struct ServerIds {
    known: HashMap<Key, Vec<Known>>,
    next: u32,
}

/// A server of a Gateway.
type Key = (ObjectRef, usize);

#[derive(Debug)]
struct Known {
    tls: Arc<ServerTls>,
    protocol: Protocol,
    id: ServerId,
    is_used: bool,
}

/// The entries of a socket while they are collected.
#[derive(Default)]
struct Draft {
    entries: Vec<(HostPattern, Entry)>,
    passed: Vec<(HostPattern, TcpRule)>,
}

// === impl ServerIds ===

impl ServerIds {
    pub(crate) fn begin(&mut self) {
        let all = self.known.values_mut().flatten();
        all.for_each(|known| known.is_used = false);
    }

    pub(crate) fn end(&mut self) {
        self.known.retain(|_, list| {
            list.retain(|known| known.is_used);
            !list.is_empty()
        });
    }

    /// The id of a server: the one it had, as long as it ends TLS in the same way.
    fn of(&mut self, key: Key, server: &Server, tls: &ServerTls) -> (ServerId, Arc<ServerTls>) {
        let list = self.known.entry(key).or_default();
        let is_same = |one: &&mut Known| one.protocol == server.protocol && *one.tls == *tls;
        if let Some(known) = list.iter_mut().find(is_same) {
            known.is_used = true;
            return (known.id, Arc::clone(&known.tls));
        }
        let (id, tls) = (ServerId(self.next), Arc::new(tls.clone()));
        self.next += 1;
        list.push(Known {
            tls: Arc::clone(&tls),
            protocol: server.protocol,
            id,
            is_used: true,
        });
        (id, tls)
    }
}

// === impl Compiler ===

impl<'s> Compiler<'s> {
    /// What a socket of TLS servers serves; nothing if no server of it has anything to serve.
    pub(super) fn serve_tls(
        &mut self,
        bind: Option<IpAddr>,
        port: u16,
        socket: &Socket<'s>,
    ) -> Option<Serve> {
        let mut draft = Draft::default();
        let mut claimed = HashSet::new();
        for (gateway, server) in &socket.servers {
            if self.is_doubled(&mut claimed, gateway, server) {
                continue;
            }
            let default = ServerTls::default();
            let tls = server.tls.as_ref().unwrap_or(&default);
            match tls.mode {
                ServerTlsMode::Passthrough => self.pass_through(gateway, server, &mut draft),
                ServerTlsMode::AutoPassthrough => self.take_on(gateway, server, &mut draft),
                ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {
                    if let Some(ended) = self.end_tls((bind, port), gateway, server, tls) {
                        let patterns = server.hosts.iter().map(|one| one.host.clone());
                        let ended = patterns.map(|host| (host, Entry::Ended(Arc::clone(&ended))));
                        draft.entries.extend(ended);
                    }
                }
                ServerTlsMode::IstioMutual => {
                    let text = format!(
                        "port {}: the mesh's identities are not shown by this version: this \
                         server is ignored",
                        server.port
                    );
                    self.notice(&gateway.object, text);
                }
            }
        }
        let Draft { entries, passed } = draft;
        let table = TlsTable::new(entries, SniTable::compile(&passed));
        (!table.is_empty()).then(|| Serve::Tls(Arc::new(table)))
    }

    /// Answers whether another server of the socket, which came before, has a host of this one.
    fn is_doubled(
        &mut self,
        claimed: &mut HashSet<&'s HostPattern>,
        gateway: &Stored<Gateway>,
        server: &'s Server,
    ) -> bool {
        let patterns = server.hosts.iter().map(|one| &one.host);
        if let Some(taken) = patterns.clone().find(|host| claimed.contains(host)) {
            let text = format!(
                "port {}: an older TLS server on it has the host {taken} already: this server \
                 is ignored; give each host to one server",
                server.port
            );
            self.notice(&gateway.object, text);
            return true;
        }
        claimed.extend(patterns);
        false
    }

    /// The `tls` rules of VirtualServices.
    fn pass_through(&mut self, gateway: &Stored<Gateway>, server: &'s Server, draft: &mut Draft) {
        let place = place(gateway, server);
        for routes in self.bound_to(gateway) {
            for (at, rule) in routes.body.spec.tls.iter().enumerate() {
                for (block, conditions) in rule.matches.iter().enumerate() {
                    if !place.admits_connection(&conditions.l4, self.proxy) {
                        continue;
                    }
                    let route = self.l4_route(routes, at, block, &rule.route, &place);
                    let names = conditions.sni_hosts.iter();
                    for name in names.flat_map(|name| narrowed(server, routes, name)) {
                        let rule = TcpRule {
                            subnets: conditions.l4.destination_subnets.as_slice().into(),
                            route: route.clone(),
                        };
                        draft.entries.push((name.clone(), Entry::Passed));
                        draft.passed.push((name.clone(), rule));
                    }
                }
            }
        }
    }

    /// Every port of every service of the mesh within the server's hosts, and of each subset, by
    /// the name that the mesh's clients ask for.
    fn take_on(&mut self, gateway: &Stored<Gateway>, server: &Server, draft: &mut Draft) {
        let services = self.registry.services();
        for service in services {
            let key = &service.body.key;
            let has = |one: &ServerHost| {
                one.namespace
                    .as_ref()
                    .is_none_or(|only| *only == key.namespace)
                    && one.host.matches(key.host.as_str())
            };
            if service.body.is_external
                || matches!(service.body.resolution, Resolution::Alias(_))
                || !server.hosts.iter().any(has)
            {
                continue;
            }
            let rules = self.policies.find(&service.body);
            let subsets = rules.into_iter().flat_map(Merged::subset_names);
            let subsets: Vec<&str> = std::iter::once("").chain(subsets).collect();
            for port in &service.body.ports {
                if port.protocol == Protocol::Udp {
                    continue;
                }
                for subset in &subsets {
                    let route = self.mesh_route(gateway, &key.host, subset, port.number);
                    let name = mesh_name(&key.host, subset, port.number);
                    draft
                        .entries
                        .push((HostPattern::literal(&name), Entry::Mesh(route)));
                }
            }
        }
    }

    fn mesh_route(
        &mut self,
        gateway: &Stored<Gateway>,
        host: &Host,
        subset: &str,
        port: u16,
    ) -> Arc<TcpRoute> {
        let cluster = self.cluster(host, subset, port);
        Arc::new(TcpRoute::single(&gateway.object, cluster))
    }

    /// A server that ends TLS.
    fn end_tls(
        &mut self,
        (bind, port): (Option<IpAddr>, u16),
        gateway: &'s Stored<Gateway>,
        server: &'s Server,
        tls: &ServerTls,
    ) -> Option<Arc<Terminated>> {
        let mut at = gateway.body.servers.iter();
        let at = at.position(|one| std::ptr::eq(one, server)).unwrap_or(0);
        let key = ((*gateway.object).clone(), at);
        let name = format!(
            "https.{}.{}.{}.{}",
            server.port, server.port_name, gateway.body.name, gateway.body.namespace
        );
        let serve = if server.protocol == Protocol::Https {
            let alone = Socket {
                kind: Kind::Http,
                servers: vec![(gateway, server)],
            };
            let table = TableKey::Server(bind, port, key.clone());
            Ended::Http(self.http_table(table, &alone))
        } else if let Some(route) = self.tcp_route_of(gateway, server) {
            Ended::Tcp(Arc::new(route))
        } else {
            let text = format!(
                "port {}: no VirtualService for this Gateway has `tcp` rules for the hosts of \
                 the server {:?}: its connections are closed",
                server.port, server.port_name
            );
            self.notice(&gateway.object, text);
            return None;
        };
        let (id, tls) = self.cache.servers.of(key, server, tls);
        Some(Arc::new(Terminated {
            id,
            tls,
            serve,
            origin: Arc::clone(&gateway.object),
            name: name.into(),
        }))
    }

    /// The first `tcp` rule of the first VirtualService that has one for a server: of its
    /// conditions only port and gateways count here.
    pub(super) fn tcp_route_of(
        &mut self,
        gateway: &Stored<Gateway>,
        server: &'s Server,
    ) -> Option<TcpRoute> {
        let place = place(gateway, server);
        for routes in self.bound_to(gateway) {
            if hosts(server, routes).is_empty() {
                continue;
            }
            for (at, rule) in routes.body.spec.tcp.iter().enumerate() {
                let block = rule.matches.iter().position(|block| {
                    block.port.is_none_or(|port| port == place.port)
                        && (block.gateways.is_empty() || block.gateways.contains(&place.gateway))
                });
                if rule.matches.is_empty() || block.is_some() {
                    let block = block.unwrap_or(0);
                    let route = self.l4_route(routes, at, block, &rule.route, &place);
                    return Some(TcpRoute::new(Vec::new(), route));
                }
            }
        }
        None
    }
}

/// The name that the mesh's clients ask for.
fn mesh_name(host: &Host, subset: &str, port: u16) -> String {
    format!("outbound_.{port}_.{subset}_.{host}")
}
