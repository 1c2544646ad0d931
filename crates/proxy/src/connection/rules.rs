//! What the plan says about a connection, whichever way it came in.

use std::net::SocketAddr;
use std::sync::Arc;

use lateen_decide::cluster::Policy;
use lateen_decide::tls::{Choice, Ended, MESH_PROTOCOLS, TlsTable};
use lateen_decide::{
    Cluster, ClusterId, Counted, Endpoint, Inbound, Inspect, Outbound, Permit, Pick, Plan, Route,
    RouteTable, Serve, SniTable, TcpRoute, Upstream, Usage,
};
use lateen_model::{Protocol, Reason, SocketAddress};
use lateen_wire::server_name::{ServerName, offers_any, server_name};
use lateen_wire::sniff::Verdict;

use super::{Door, Origin};
use crate::clock;
use crate::names;
use crate::observe::flags::Flags;
use crate::observe::metrics::{Key, Reporter, RequestProtocol, Service};
use crate::published::Published;
use crate::sys::Mark;
use crate::upstream::Owner;
use crate::worker::Worker;

/// The rules for one connection.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'p> {
    published: &'p Published,
    origin: Origin,
    of: Of<'p>,
}

#[derive(Debug, Clone, Copy)]
enum Of<'p> {
    Outbound(&'p Outbound),
    Inbound(&'p Inbound),
    Gateway(&'p Serve),
    /// A gateway's server that has ended TLS.
    Ended(&'p Ended),
    /// A gateway's listener or server that the plan no longer has.
    Gone,
}

/// Where a request or a connection goes.
#[derive(Debug, Clone)]
pub struct Target<'p> {
    /// The address.
    pub address: SocketAddress,
    /// Whose traffic it is.
    pub mark: Mark,
    /// Who takes it.
    pub recipient: Recipient<'p>,
    /// The endpoint, if it was chosen among several.
    pub endpoint: Option<&'p Endpoint>,
    /// What is declared to be spoken there.
    pub declared: Protocol,
}

/// Who takes a request or a connection, and whose policy holds for it.
#[derive(Debug, Clone, Copy)]
pub enum Recipient<'p> {
    /// A destination.
    Cluster(&'p Cluster),
    /// The application, on one of its ports.
    Workload(&'p Inbound),
}

/// A cluster that was decided on, with what logs and metrics say about it.
#[derive(Debug, Clone)]
pub struct Chosen<'p> {
    /// Where it goes, or why it cannot.
    pub target: Result<Target<'p>, Reason>,
    /// The service that it counts for.
    pub service: Service,
    /// The cluster's name; empty if there is none.
    pub cluster: &'p str,
    /// The route's name; empty if it has none.
    pub route: &'p str,
}

// === impl Rules ===

impl<'p> Rules<'p> {
    /// The rules for a connection as of this plan.
    pub fn of(published: &'p Published, origin: Origin) -> Self {
        let plan = &published.plan;
        let of = match origin.door {
            Door::Outbound => Of::Outbound(plan.outbound(origin.destination)),
            Door::Inbound => Of::Inbound(plan.inbound(origin.destination.port())),
            Door::Gateway => match origin.tls {
                Some(secure) => plan
                    .terminated(secure.server)
                    .map_or(Of::Gone, |server| Of::Ended(&server.serve)),
                None => plan
                    .gateway(origin.destination)
                    .map_or(Of::Gone, |listener| Of::Gateway(&listener.serve)),
            },
        };
        Self {
            published,
            origin,
            of,
        }
    }

    /// Whether to look at the first bytes.
    pub fn inspect(&self) -> Inspect {
        match self.of {
            Of::Outbound(outbound) => outbound.inspect,
            Of::Inbound(inbound) => match inbound.protocol {
                Protocol::Unknown => Inspect::Detect,
                Protocol::Http | Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb => {
                    Inspect::Wait
                }
                Protocol::Https | Protocol::Tls | Protocol::Tcp | Protocol::Udp => Inspect::Never,
            },
            Of::Gateway(Serve::Tls(_) | Serve::Http(_)) | Of::Ended(Ended::Http(_)) => {
                Inspect::Wait
            }
            Of::Gateway(Serve::Tcp(_)) | Of::Ended(Ended::Tcp(_)) | Of::Gone => Inspect::Never,
        }
    }

    /// Answers whether a connection that begins like this is served as HTTP.
    pub fn takes_http(&self, verdict: Verdict) -> bool {
        match self.of {
            Of::Outbound(outbound) => {
                outbound.http.is_some() && matches!(verdict, Verdict::Http1 | Verdict::Http2)
            }
            // A port that is declared HTTP takes nothing else: what is no request is answered 400.
            // TLS is carried as bytes, to the application that understands it.
            Of::Inbound(inbound) => match inbound.protocol {
                Protocol::Http | Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb => {
                    verdict != Verdict::Tls
                }
                Protocol::Unknown => matches!(verdict, Verdict::Http1 | Verdict::Http2),
                Protocol::Https | Protocol::Tls | Protocol::Tcp | Protocol::Udp => false,
            },
            // Nothing passes an HTTP listener at the edge without being read as HTTP.
            Of::Gateway(serve) => matches!(serve, Serve::Http(_)),
            Of::Ended(serve) => matches!(serve, Ended::Http(_)),
            Of::Gone => false,
        }
    }

    /// The routes of requests.
    pub fn http(&self) -> Option<&'p RouteTable> {
        match self.of {
            Of::Outbound(outbound) => outbound.http.as_deref(),
            Of::Gateway(Serve::Http(table)) | Of::Ended(Ended::Http(table)) => Some(table),
            Of::Inbound(_) | Of::Gateway(_) | Of::Ended(_) | Of::Gone => None,
        }
    }

    /// Answers whether what the connection was for is gone: its client has to come again.
    pub fn are_gone(&self) -> bool {
        matches!(self.of, Of::Gone)
    }

    /// Where a connection goes that is carried as bytes.
    pub fn choose_tcp(&self, worker: &Worker, verdict: Verdict, first: &[u8]) -> Chosen<'p> {
        let by_name = |table: &'p SniTable| {
            let ServerName::Name(name) = server_name(first) else {
                return None;
            };
            table.decide(&name, self.origin.destination, || worker.random.next())
        };
        let by_address =
            |route: &'p TcpRoute| route.decide(self.origin.destination, || worker.random.next());
        let decided = match self.of {
            Of::Inbound(inbound) => return self.choose_port(inbound),
            Of::Outbound(outbound) => {
                let sni = outbound.sni.as_deref();
                sni.filter(|_| verdict == Verdict::Tls)
                    .and_then(by_name)
                    .unwrap_or_else(|| by_address(&outbound.tcp))
            }
            Of::Gateway(Serve::Tcp(route)) | Of::Ended(Ended::Tcp(route)) => by_address(route),
            Of::Gateway(Serve::Tls(table)) => {
                let decided = match pass(table, verdict, first) {
                    Some(Choice::Passed(table)) => by_name(table),
                    Some(Choice::Mesh(route)) => Some(by_address(route)),
                    Some(Choice::Ended(_)) | None => None,
                };
                match decided {
                    Some(decided) => decided,
                    None => return Chosen::refused(Reason::NoRoute),
                }
            }
            Of::Gateway(Serve::Http(_)) | Of::Ended(Ended::Http(_)) | Of::Gone => {
                return Chosen::refused(Reason::NoRoute);
            }
        };
        let (cluster, route) = decided;
        let host = self.host(cluster, first);
        let context = Pick {
            now: clock::millis(clock::now()),
            host: host.as_deref(),
            ..Pick::default()
        };
        self.choose_cluster(worker, cluster, route, &context)
    }

    /// Answers whether a cluster's endpoints are the addresses of the host that is asked for.
    pub fn is_dynamic(&self, id: ClusterId) -> bool {
        let cluster = self.cluster(id);
        cluster.is_some_and(|cluster| matches!(cluster.upstream, Upstream::Dynamic(_)))
    }

    /// The server name that a connection begins with, where that is the host that is asked for.
    pub fn host(&self, id: ClusterId, first: &[u8]) -> Option<String> {
        if !self.is_dynamic(id) {
            return None;
        }
        match server_name(first) {
            ServerName::Name(name) => names::canonical(&name),
            ServerName::NeedMore | ServerName::Absent => None,
        }
    }

    /// Where the requests of an inbound connection go; nothing if it is not one.
    pub fn choose_inbound(&self) -> Option<Chosen<'p>> {
        match self.of {
            Of::Inbound(inbound) => Some(self.choose_port(inbound)),
            Of::Outbound(_) | Of::Gateway(_) | Of::Ended(_) | Of::Gone => None,
        }
    }

    /// To the application: as dialled, unless it is said to listen elsewhere.
    fn choose_port(&self, inbound: &'p Inbound) -> Chosen<'p> {
        let dialled = self.origin.destination;
        let service = self.published.inbound_service(dialled.port());
        Chosen {
            target: Ok(Target {
                address: match &inbound.endpoint {
                    Some(endpoint) => endpoint.clone(),
                    None => dialled.into(),
                },
                mark: Mark::Inbound,
                recipient: Recipient::Workload(inbound),
                endpoint: None,
                declared: inbound.protocol,
            }),
            service: Service::Inbound(service),
            cluster: &inbound.cluster_name,
            route: "default",
        }
    }

    /// Answers whether an inbound connection is declared to carry calls of gRPC.
    pub fn carries_calls(&self) -> bool {
        matches!(self.of, Of::Inbound(inbound) if inbound.protocol == Protocol::Grpc)
    }

    /// Chooses an endpoint of a cluster that a route decided on.
    pub fn choose_cluster(
        &self,
        worker: &Worker,
        id: ClusterId,
        route: &'p Route,
        context: &Pick<'_>,
    ) -> Chosen<'p> {
        Chosen {
            target: self.locate(worker, id, context),
            ..self.describe(id, route)
        }
    }

    /// What is said about a cluster, of which no endpoint is chosen yet.
    pub fn describe(&self, id: ClusterId, route: &'p Route) -> Chosen<'p> {
        let Some(cluster) = self.published.plan.cluster(id) else {
            return Chosen {
                route: &route.name,
                ..Chosen::refused(Reason::NoCluster)
            };
        };
        Chosen {
            target: Err(Reason::NoHealthyUpstream),
            service: Service::Cluster(id),
            cluster: &cluster.name,
            route: &route.name,
        }
    }

    /// Chooses an endpoint of a cluster.
    pub fn locate(
        &self,
        worker: &Worker,
        id: ClusterId,
        context: &Pick<'_>,
    ) -> Result<Target<'p>, Reason> {
        let cluster = self.cluster(id).ok_or(Reason::NoCluster)?;
        let endpoint = match &cluster.upstream {
            Upstream::BlackHole => return Err(Reason::BlackHole),
            Upstream::Endpoints(_) => {
                let picked = worker.pick(cluster, context);
                Some(picked.ok_or(Reason::NoHealthyUpstream)?)
            }
            // At a gateway the dialled address is the gateway itself.
            Upstream::OriginalDst if self.origin.door == Door::Gateway => {
                return Err(Reason::NoHealthyUpstream);
            }
            Upstream::OriginalDst | Upstream::Dynamic(_) => None,
        };
        let dialled = self.origin.destination;
        let address = match cluster.upstream {
            Upstream::Dynamic(port) => {
                let host = context.host.ok_or(Reason::NoHealthyUpstream)?;
                let address = worker.names.address(host, || worker.random.next());
                SocketAddr::new(address.ok_or(Reason::DnsResolutionFailure)?, port).into()
            }
            _ => endpoint.map_or(dialled.into(), |endpoint| endpoint.address.clone()),
        };
        Ok(Target {
            address,
            mark: Mark::Outbound,
            recipient: Recipient::Cluster(cluster),
            endpoint,
            declared: cluster.protocol,
        })
    }

    /// A cluster of the plan.
    pub fn cluster(&self, id: ClusterId) -> Option<&'p Cluster> {
        self.published.plan.cluster(id)
    }

    /// The plan behind the rules.
    pub fn plan(&self) -> &'p Plan {
        &self.published.plan
    }
}

// === impl Recipient ===

impl<'p> Recipient<'p> {
    /// How it is talked to.
    pub fn policy(self) -> &'p Policy {
        match self {
            Self::Cluster(cluster) => &cluster.policy,
            Self::Workload(inbound) => &inbound.policy,
        }
    }

    /// Asks for leave to use something until the permit is dropped; `None` if the limit is
    /// reached.
    pub fn permit(self, what: Counted) -> Option<Permit<&'p Arc<Usage>>> {
        match self {
            Self::Cluster(cluster) => cluster.permit(what),
            Self::Workload(inbound) => inbound.permit(what),
        }
    }

    /// What it has in use.
    pub fn usage(self) -> &'p Usage {
        match self {
            Self::Cluster(cluster) => &cluster.usage,
            Self::Workload(inbound) => &inbound.usage,
        }
    }

    /// By which its connections are told from others.
    pub fn owner(self) -> Owner {
        match self {
            Self::Cluster(cluster) => Owner::Cluster(cluster.id),
            Self::Workload(inbound) => Owner::Port(inbound.port),
        }
    }
}

// === impl Chosen ===

impl Chosen<'_> {
    /// Nothing was chosen.
    pub fn refused(reason: Reason) -> Self {
        Self {
            target: Err(reason),
            service: Service::None,
            cluster: "",
            route: "",
        }
    }

    /// The key of metrics, as far as it is known before the end.
    pub fn key(&self, origin: Origin, protocol: RequestProtocol) -> Key {
        let (reporter, peer) = match origin.door {
            Door::Inbound => (Reporter::Destination, origin.peer.ip()),
            Door::Outbound | Door::Gateway => {
                let target = self.target.as_ref();
                let peer = target.ok().and_then(|target| target.address.ip());
                let peer = peer.unwrap_or(Key::NO_PEER);
                (Reporter::Source, peer)
            }
        };
        Key {
            reporter,
            service: self.service,
            peer,
            protocol,
            code: 0,
            call_status: None,
            flags: Flags::default(),
        }
    }
}

/// What passes a connection on that begins with these bytes; nothing if nobody does.
fn pass<'p>(table: &'p TlsTable, verdict: Verdict, first: &[u8]) -> Option<Choice<'p>> {
    if verdict != Verdict::Tls {
        return None;
    }
    let name = server_name(first);
    let name = match &name {
        ServerName::Name(name) => Some(&**name),
        ServerName::Absent | ServerName::NeedMore => None,
    };
    let choice = table.choose(name)?;
    // Names of the mesh are for clients of the mesh: whoever they lead to asks them who they are.
    let is_stranger = matches!(choice, Choice::Mesh(_)) && !offers_any(first, &MESH_PROTOCOLS);
    (!is_stranger).then_some(choice)
}
