//! Listeners of gateways: all servers of all Gateways that select the proxy, merged by the
//! socket that they listen on.
//!
//! Unlike sidecars, gateways merge VirtualServices: every one that is bound to a Gateway and
//! shares hosts with one of its servers adds its rules, oldest first, rules that take everything
//! last. The host of the merged rules is the narrower of the two.

pub(crate) mod tls;

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use lateen_model::gateway::{Gateway, Server, ServerHost};
use lateen_model::route::GatewayRef;
use lateen_model::{HostPattern, ObjectRef, Protocol, selects};

use super::Compiler;
use super::rules::{Place, StoredRoutes};
use super::tables::{Hosts, TableDraft, TableKey};
use crate::matcher::Matcher;
use crate::plan::{GatewayListener, Serve};
use crate::registry::Stored;
use crate::table::{Fallback, RouteTable, Rules};

/// The servers that share a socket.
struct Socket<'s> {
    kind: Kind,
    servers: Vec<(&'s Stored<Gateway>, &'s Server)>,
}

/// What a server needs of its listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Tls,
    Tcp,
}

/// What merges into the virtual host of a pattern.
#[derive(Default)]
struct Merge<'s> {
    parts: Vec<(&'s StoredRoutes, Place)>,
    /// The parts by revision: two hosts of one VirtualService may narrow to the same.
    seen: HashSet<(u64, Place)>,
    requires_tls: bool,
}

type Sockets<'s> = BTreeMap<(Option<IpAddr>, u16), Socket<'s>>;

// === impl Compiler ===

impl<'s> Compiler<'s> {
    /// The listeners of the Gateways, which come oldest first.
    pub(crate) fn listeners(
        &mut self,
        gateways: &[&'s Arc<Stored<Gateway>>],
    ) -> Vec<Arc<GatewayListener>> {
        let sockets = self.sockets(gateways);
        let mut listeners = Vec::new();
        for ((bind, port), socket) in sockets {
            let serve = match socket.kind {
                Kind::Http => {
                    let key = TableKey::Gateway(bind, port);
                    Some(Serve::Http(self.http_table(key, &socket)))
                }
                Kind::Tls => self.serve_tls(bind, port, &socket),
                Kind::Tcp => self.serve_tcp(&socket),
            };
            let Some(serve) = serve else {
                let (gateway, server) = socket.servers[0];
                let text = format!(
                    "nothing listens on port {}: no VirtualService for this Gateway has `{}` \
                     rules for it",
                    server.port,
                    if socket.kind == Kind::Tcp {
                        "tcp"
                    } else {
                        "tls"
                    },
                );
                self.notice(&gateway.object, text);
                continue;
            };
            let mut origins: Vec<ObjectRef> = Vec::new();
            for (gateway, _) in &socket.servers {
                if !origins.contains(&gateway.object) {
                    origins.push((*gateway.object).clone());
                }
            }
            listeners.push(Arc::new(GatewayListener {
                bind,
                port,
                server_port: socket.servers[0].1.port,
                origins,
                serve,
            }));
        }
        listeners
    }

    /// Groups the servers by the socket that they listen on.
    fn sockets(&mut self, gateways: &[&'s Arc<Stored<Gateway>>]) -> Sockets<'s> {
        let mut sockets = Sockets::new();
        for gateway in gateways {
            if !selects(&gateway.body.selector, &self.proxy.labels) {
                continue;
            }
            for server in &gateway.body.servers {
                match self.socket(server) {
                    Ok((key, kind)) => {
                        let socket = sockets.entry(key).or_insert_with(|| Socket {
                            kind,
                            servers: Vec::new(),
                        });
                        if socket.kind == kind {
                            socket.servers.push((gateway, server));
                            continue;
                        }
                        let first = &socket.servers[0].0.object;
                        let text = format!(
                            "port {} speaks {}, but {first}, which is older, has another \
                             protocol on it: this server is ignored",
                            server.port,
                            server.protocol.as_str(),
                        );
                        self.notice(&gateway.object, text);
                    }
                    Err(text) => self.notice(&gateway.object, text),
                }
            }
        }
        sockets
    }

    /// Where a server listens: its port is that of the gateway's Service, whose target port is
    /// listened on; a number that no Service exposes is the listening port itself.
    fn socket(&self, server: &Server) -> Result<((Option<IpAddr>, u16), Kind), String> {
        let ports = self.proxy.gateway_ports.iter();
        let target = ports.clone().find(|(service, _)| *service == server.port);
        let port = target.map_or(server.port, |(_, target)| *target);
        let bind = match server.bind.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| {
                format!(
                    "port {}: bind {text:?} is not an IP address; give one, or leave it out to \
                     listen on all",
                    server.port
                )
            })?),
        };
        let kind = match server.protocol {
            Protocol::Http | Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb => Kind::Http,
            Protocol::Tls | Protocol::Https => Kind::Tls,
            Protocol::Tcp => Kind::Tcp,
            Protocol::Udp | Protocol::Unknown => {
                return Err(format!(
                    "port {}: servers of protocol {:?} are not served by this version; use HTTP, \
                     HTTP2, GRPC, HTTPS, TLS or TCP",
                    server.port,
                    server.protocol.as_str(),
                ));
            }
        };
        Ok(((bind, port), kind))
    }

    /// The table of all servers of a socket that serve requests.
    fn http_table(&mut self, key: TableKey, socket: &Socket<'s>) -> Arc<RouteTable> {
        let merges = self.merge_hosts(socket);
        let mut recipe = Vec::new();
        for (gateway, _) in &socket.servers {
            recipe.push(gateway.revision);
        }
        for merge in merges.values() {
            recipe.extend(merge.parts.iter().map(|(routes, _)| routes.revision));
            // No revision is zero: it parts the hosts.
            recipe.push(0);
        }
        self.table(key, recipe, |this| {
            let mut table = TableDraft::new(Fallback::NoRoute);
            let nothing = Arc::new(Rules {
                matcher: Arc::new(Matcher::compile(Vec::new())),
                routes: Box::default(),
            });
            for (pattern, merge) in &merges {
                let rules = this.rules(&merge.parts);
                let rules = rules.unwrap_or_else(|| Arc::clone(&nothing));
                table.add(Hosts::Pattern(pattern), rules, merge.requires_tls);
            }
            table
        })
    }

    /// The hosts of a socket with the VirtualServices that route them.
    fn merge_hosts(&self, socket: &Socket<'s>) -> BTreeMap<&'s HostPattern, Merge<'s>> {
        let mut merges: BTreeMap<&HostPattern, Merge<'_>> = BTreeMap::new();
        for (gateway, server) in &socket.servers {
            for routes in self.bound_to(gateway) {
                let place = place(gateway, server);
                for host in hosts(server, routes) {
                    let merge = merges.entry(host).or_default();
                    merge.requires_tls |= server.https_redirect;
                    if merge.seen.insert((routes.revision, place.clone())) {
                        merge.parts.push((routes, place.clone()));
                    }
                }
            }
            if server.https_redirect {
                // A redirect needs no rules.
                for host in &server.hosts {
                    merges.entry(&host.host).or_default().requires_tls = true;
                }
            }
        }
        for merge in merges.values_mut() {
            // Servers come in the order of their Gateways; rules in that of their own age.
            merge
                .parts
                .sort_by(|(a, _), (b, _)| a.source.age_key().cmp(&b.source.age_key()));
        }
        merges
    }

    fn serve_tcp(&mut self, socket: &Socket<'s>) -> Option<Serve> {
        let mut servers = socket.servers.iter();
        let route = servers.find_map(|(gateway, server)| self.tcp_route_of(gateway, server))?;
        Some(Serve::Tcp(Arc::new(route)))
    }

    /// The VirtualServices that name a Gateway, oldest first.
    fn bound_to(&self, gateway: &Stored<Gateway>) -> Vec<&'s StoredRoutes> {
        let name = reference(&gateway.body);
        let all = self.virtual_services.iter().copied();
        all.filter(|routes| routes.body.spec.gateways.contains(&name))
            .collect()
    }
}

fn reference(gateway: &Gateway) -> GatewayRef {
    GatewayRef::Gateway {
        namespace: gateway.namespace.clone(),
        name: gateway.name.clone(),
    }
}

fn place(gateway: &Stored<Gateway>, server: &Server) -> Place {
    Place {
        gateway: reference(&gateway.body),
        port: server.port,
    }
}

/// The hosts that a VirtualService routes at a server.
fn hosts<'s>(server: &'s Server, routes: &'s StoredRoutes) -> Vec<&'s HostPattern> {
    let hosts = routes.body.spec.hosts.iter();
    hosts
        .flat_map(|host| narrowed(server, routes, host))
        .collect()
}

/// What a server lets a VirtualService have of a host.
fn narrowed<'s>(
    server: &'s Server,
    routes: &StoredRoutes,
    host: &'s HostPattern,
) -> impl Iterator<Item = &'s HostPattern> {
    let namespace = &routes.body.spec.namespace;
    let is_open = move |one: &&ServerHost| {
        let only = one.namespace.as_ref();
        only.is_none_or(|only| only == namespace)
    };
    let open: Vec<_> = server.hosts.iter().filter(is_open).collect();
    open.into_iter()
        .filter_map(move |one| one.host.intersect(host))
}
