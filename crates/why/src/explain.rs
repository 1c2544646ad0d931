//! One request through the plan of its caller's proxy, step by step.

mod secure;

use std::net::SocketAddr;

use lateen_decide::headers::Template;
use lateen_decide::route::Split;
use lateen_decide::{
    Cluster, ClusterId, Decision, GatewayListener, Millis, Outbound, Pick, Plan, Route, RouteTable,
    Serve, TcpRoute, Trace, Upstream, describe,
};
use lateen_model::http::{Abort, AbortWith};
use lateen_model::proxy::Role;
use lateen_model::{Percent, Reason};

use crate::answer::{Answer, Outcome, PassedOver, Rewritten, Share};
use crate::endpoints;
use crate::question::{Question, Scheme};
use crate::world::{Caller, Configuration, FOREIGN, Resolved, World};

/// No endpoint has ever been ejected before this.
pub(crate) const NOW: Millis = Millis(1);

/// The steps of an answer as they are made.
struct Steps<'c> {
    configuration: &'c Configuration,
    question: &'c Question,
    caller: &'c Caller,
    answer: Answer,
}

/// Answers a question for a caller.
pub fn explain(
    world: &World,
    configuration: &Configuration,
    caller: &Caller,
    question: &Question,
) -> Answer {
    let kind = match caller.role {
        Role::Sidecar => "sidecar",
        Role::Gateway => "gateway",
    };
    let mut steps = Steps {
        configuration,
        question,
        caller,
        answer: Answer {
            caller: format!("{kind} of {}/{}", caller.namespace, caller.name),
            request: match question.scheme {
                Scheme::Http => format!("{} {}", question.method, question.url),
                Scheme::Tls | Scheme::Tcp => format!("a connection to {}", question.url),
            },
            assumptions: Vec::new(),
            problems: configuration.problems.clone(),
            destination: None,
            listener: String::new(),
            server: None,
            table: None,
            virtual_host: None,
            passed_over: Vec::new(),
            rule: None,
            route: None,
            route_name: String::new(),
            shares: Vec::new(),
            cluster: None,
            endpoints: Vec::new(),
            rewritten: None,
            outcome: Outcome::refused(Reason::NoRoute, "nothing was decided"),
        },
    };
    for name in &configuration.names {
        steps.assume(format!(
            "the name {name} is not looked up: {FOREIGN} stands for its addresses"
        ));
    }
    steps.answer.outcome = match caller.role {
        Role::Sidecar => steps.outbound(world),
        Role::Gateway => steps.gateway(),
    };
    steps.answer
}

// === impl Steps ===

impl<'c> Steps<'c> {
    fn plan(&self) -> &'c Plan {
        &self.configuration.plan
    }

    fn assume(&mut self, what: String) {
        self.answer.assumptions.push(what);
    }

    /// The way out of a sidecar.
    fn outbound(&mut self, world: &World) -> Outcome {
        let question = self.question;
        let address = match world.resolve(&question.host, &self.caller.namespace) {
            Resolved::Address(address) => address,
            Resolved::Foreign => {
                self.assume(format!(
                    "no service is called {} there: it is taken to have an address outside of the \
                     mesh ({FOREIGN} stands for it)",
                    question.host
                ));
                FOREIGN
            }
            Resolved::Nowhere => {
                return Outcome::Refused {
                    reason: None,
                    status: None,
                    why: format!(
                        "the service {} has no address: it is headless and has no endpoint",
                        question.host
                    ),
                };
            }
        };
        let destination = SocketAddr::new(address, question.port);
        self.answer.destination = Some(destination);
        self.answer.listener = describe::address_name(self.plan(), destination);
        let outbound: &Outbound = self.plan().outbound(destination);
        match (question.scheme, &outbound.http, &outbound.sni) {
            (Scheme::Http, Some(table), _) => self.request(table),
            (Scheme::Tls, _, Some(table)) => self
                .server_name(table, destination)
                .unwrap_or_else(|| self.connection(&outbound.tcp, destination)),
            (Scheme::Http | Scheme::Tls | Scheme::Tcp, ..) => {
                self.connection(&outbound.tcp, destination)
            }
        }
    }

    /// The listener of a gateway.
    fn gateway(&mut self) -> Outcome {
        let Some(listener) = self.listener() else {
            let open = self.plan().listeners().iter();
            let open: Vec<String> = open
                .map(|one| format!("{} (in pods {})", one.server_port, one.port))
                .collect();
            let open = match open.as_slice() {
                [] => "no Gateway selects it".to_owned(),
                ports => format!("it listens to {}", ports.join(", ")),
            };
            let port = self.question.port;
            return Outcome::Refused {
                reason: None,
                status: None,
                why: format!("nothing listens to port {port} of this gateway: {open}"),
            };
        };
        let bind = listener.bind.map_or("0.0.0.0".into(), |ip| ip.to_string());
        self.answer.listener = format!("{bind}_{}", listener.port);
        let destination = SocketAddr::new(self.caller.address, listener.port);
        match (&listener.serve, self.question.scheme) {
            (Serve::Http(table), Scheme::Http) => self.request(table),
            (Serve::Tls(table), Scheme::Tls) => self.secure(table, destination),
            (Serve::Tcp(route), _) => self.connection(route, destination),
            (Serve::Http(_), Scheme::Tls | Scheme::Tcp) => Outcome::refused(
                Reason::DownstreamProtocolError,
                "the listener takes requests in plain text only, and takes what comes for one",
            ),
            (Serve::Tls(_), Scheme::Http | Scheme::Tcp) => {
                Outcome::closed(Reason::NoRoute, "the listener takes TLS only")
            }
        }
    }

    /// The gateway's listener for the port of the URL: a port of its Service, or its own.
    fn listener(&self) -> Option<&'c GatewayListener> {
        let (plan, port) = (self.plan(), self.question.port);
        let targets = plan.proxy().map(|proxy| proxy.gateway_ports.as_slice());
        let mut targets = targets.unwrap_or_default().iter();
        let target = targets.find(|(service, _)| *service == port);
        let wanted = target.map_or(port, |(_, target)| *target);
        let mut listeners = plan.listeners().iter();
        listeners.find(|one| one.port == wanted).map(|one| &**one)
    }

    /// A request by the rules of a table.
    fn request(&mut self, table: &'c RouteTable) -> Outcome {
        let question = self.question;
        self.answer.request = format!("{} {}", question.method, question.url);
        self.answer.table = describe::table_name(self.plan(), table);
        let bits = self.question.bits();
        let first = table.explain(self.question, || bits.unwrap_or(0));
        // Without a draw the greatest share is followed.
        let trace = match (bits, route_of(first.decision)) {
            (None, Some(route)) => table.explain(self.question, || likeliest(route)),
            _ => first,
        };
        self.answer.virtual_host = trace.virtual_host.map(str::to_owned);
        let passed = trace.passed_over.iter().map(|one| PassedOver {
            rule: one.route.origin.to_string(),
            name: one.route.name.to_string(),
            failed: one.failed.clone(),
        });
        self.answer.passed_over = passed.collect();
        if let Some(route) = route_of(trace.decision) {
            self.follow(route);
            if let Some(outcome) = self.preflight(route) {
                return outcome;
            }
        }
        self.decided(&trace)
    }

    fn follow(&mut self, route: &Route) {
        self.answer.rule = Some(route.origin.to_string());
        self.answer.route_name = route.name.to_string();
        self.answer.route = Some(describe::route(self.plan(), route));
    }

    /// The answer to a preflight, which a rule's policy has the proxy give.
    fn preflight(&self, route: &Route) -> Option<Outcome> {
        let cors = route.policy.cors.as_ref()?;
        let origin = self.question.header("origin").filter(|it| !it.is_empty())?;
        let asks = self.question.header("access-control-request-method");
        if self.question.method != "OPTIONS" || asks.is_none_or(str::is_empty) {
            return None;
        }
        let is_allowed = cors.allows(origin.as_bytes());
        let why = match (is_allowed, cors.answers_unmatched_preflights) {
            (true, _) => "a CORS preflight of an origin that is allowed",
            (false, true) => "a CORS preflight of an origin that is not allowed",
            (false, false) => return None,
        };
        Some(Outcome::Answered {
            status: Some(200),
            why: why.into(),
        })
    }

    fn decided(&mut self, trace: &Trace<'_>) -> Outcome {
        match trace.decision {
            Decision::Forward {
                cluster,
                destination,
                route,
            } => {
                self.share(route, destination);
                self.rewrite(route, destination);
                if let Some(outcome) = self.fault(route) {
                    return outcome;
                }
                self.forward(cluster)
            }
            Decision::Redirect { redirect, .. } => Outcome::Answered {
                status: Some(redirect.code),
                why: "the rule redirects".into(),
            },
            Decision::Respond { response, .. } => Outcome::Answered {
                status: Some(response.status),
                why: "the rule answers".into(),
            },
            Decision::RedirectToHttps => Outcome::Answered {
                status: Some(301),
                why: "the Gateway's server redirects to https".into(),
            },
            Decision::Refuse(reason) => {
                let why = match (reason, trace.virtual_host) {
                    (Reason::BlackHole, _) => format!(
                        "no service is called {:?}, and the mesh allows only registered ones",
                        trace.host
                    ),
                    (_, None) => format!("no rule or service is for the host {:?}", trace.host),
                    (_, Some(_)) => "no rule of the virtual host takes the request".into(),
                };
                Outcome::refused(reason, why)
            }
        }
    }

    /// A connection by its address.
    fn connection(&mut self, tcp: &TcpRoute, destination: SocketAddr) -> Outcome {
        let bits = self.question.bits();
        let (_, route) = tcp.decide(destination, || bits.unwrap_or(0));
        let random = || bits.unwrap_or_else(|| likeliest(route));
        let (cluster, route) = tcp.decide(destination, random);
        self.connect(cluster, route)
    }

    fn connect(&mut self, cluster: ClusterId, route: &Route) -> Outcome {
        self.follow(route);
        let mut targets = route.split().into_iter().flat_map(Split::targets);
        let place = targets.position(|(id, _)| id == cluster).unwrap_or(0);
        self.share(route, place);
        self.forward(cluster)
    }

    /// The shares of a split; none if there is no choice.
    fn share(&mut self, route: &Route, place: usize) {
        let targets: Vec<_> = route.split().into_iter().flat_map(Split::targets).collect();
        let sum: u64 = targets.iter().map(|(_, weight)| weight).sum();
        if targets.len() < 2 || sum == 0 {
            return;
        }
        let plan = self.plan();
        let shares = targets.iter().enumerate().map(|(at, (id, weight))| Share {
            cluster: plan.cluster(*id).map(|it| it.name.to_string()),
            percent: percent(*weight, sum),
            is_chosen: at == place,
        });
        self.answer.shares = shares.collect();
    }

    /// What the upstream gets for path and authority, if rules change them.
    fn rewrite(&mut self, route: &Route, destination: usize) {
        let policy = &route.policy;
        let headers = [policy.headers_of(destination), policy.headers.as_ref()];
        let mut templates = headers.into_iter().filter_map(|it| it?.authority.as_ref());
        let template = templates.next().and_then(Template::as_text);
        let rewrite = policy.rewrite.as_ref();
        if rewrite.is_none() && template.is_none() {
            return;
        }
        let question = self.question;
        let mut path = Vec::new();
        let authority = rewrite.and_then(|it| it.authority.as_deref());
        if let Some(rewrite) = rewrite {
            rewrite.write_target(question.path.as_bytes(), route.matched, &mut path);
        }
        let path = match path.as_slice() {
            [] => question.path.clone(),
            [b'/', ..] => String::from_utf8_lossy(&path).into_owned(),
            // A target begins with a slash, whatever a rule wrote.
            other => format!("/{}", String::from_utf8_lossy(other)),
        };
        let authority = template.or(authority).unwrap_or(&question.authority);
        self.answer.rewritten = Some(Rewritten {
            path,
            authority: authority.to_owned(),
        });
    }

    /// The answer of an injected fault, if one surely is, or is drawn.
    fn fault(&self, route: &Route) -> Option<Outcome> {
        let abort: &Abort = route.policy.fault.abort.as_ref()?;
        let is_injected = match self.question.bits() {
            Some(bits) => abort.percentage.takes(|| bits),
            None => abort.percentage.millionths() * 2 > Percent::ALL.millionths(),
        };
        if !is_injected {
            return None;
        }
        let share = abort.percentage;
        Some(match abort.with {
            AbortWith::Http(status) => Outcome::Answered {
                status: Some(status),
                why: format!("the rule injects this fault into {share} of its requests"),
            },
            AbortWith::Grpc(status) => Outcome::Answered {
                status: None,
                why: format!("the rule injects gRPC status {status} into {share} of its requests"),
            },
        })
    }

    /// The cluster, its endpoints, and whether any of them takes the request.
    fn forward(&mut self, id: ClusterId) -> Outcome {
        let Some(cluster) = self.plan().cluster(id) else {
            let why = "the rule's destination does not exist: its service, the port of it, or the \
                       subset in a DestinationRule";
            return self.unserved(Reason::NoCluster, why);
        };
        self.answer.cluster = Some(describe::cluster(cluster, NOW));
        self.answer.endpoints = endpoints::of(self.configuration, cluster);
        self.reach(cluster)
    }

    /// A request is answered, a connection is closed.
    fn unserved(&self, reason: Reason, why: impl Into<String>) -> Outcome {
        if self.answer.table.is_some() {
            Outcome::refused(reason, why)
        } else {
            Outcome::closed(reason, why)
        }
    }

    /// Answers whether the proxy finds an endpoint.
    fn picks(&self, cluster: &Cluster) -> bool {
        let context = Pick {
            now: NOW,
            ..Pick::default()
        };
        let bits = self.question.bits().unwrap_or(0);
        cluster.pick(&context, &mut 0, || bits).is_some()
    }

    fn reach(&mut self, cluster: &Cluster) -> Outcome {
        let name = cluster.name.to_string();
        if let Upstream::Dynamic(_) = &cluster.upstream {
            let reason = Reason::DnsResolutionFailure;
            self.assume(format!(
                "the proxy finds an address for the host that is asked for; else it says {}, {}",
                reason.flag(),
                reason.details()
            ));
        }
        match &cluster.upstream {
            Upstream::BlackHole => {
                let why = "the mesh allows only registered destinations";
                self.unserved(Reason::BlackHole, why)
            }
            Upstream::OriginalDst if self.caller.role == Role::Gateway => {
                let why = "the destination is dialled by the address that the client asked for, \
                           which is the gateway itself";
                self.unserved(Reason::NoHealthyUpstream, why)
            }
            Upstream::Endpoints(_) if !self.picks(cluster) => {
                let why = format!("no endpoint of {name} takes requests");
                self.unserved(Reason::NoHealthyUpstream, why)
            }
            Upstream::OriginalDst | Upstream::Dynamic(_) | Upstream::Endpoints(_) => {
                Outcome::Forwarded { cluster: name }
            }
        }
    }
}

/// The route of a decision, if a rule made it.
fn route_of(decision: Decision<'_>) -> Option<&Route> {
    match decision {
        Decision::Forward { route, .. }
        | Decision::Redirect { route, .. }
        | Decision::Respond { route, .. } => Some(route),
        Decision::RedirectToHttps | Decision::Refuse(_) => None,
    }
}

/// Bits in the middle of the greatest share of a route's split.
fn likeliest(route: &Route) -> u64 {
    let targets: Vec<_> = route.split().into_iter().flat_map(Split::targets).collect();
    let sum: u128 = targets.iter().map(|(_, weight)| u128::from(*weight)).sum();
    let mut before = 0_u128;
    let mut best = (0_u64, 0_u128);
    for (_, weight) in targets {
        if weight > best.0 {
            best = (weight, before * 2 + u128::from(weight));
        }
        before += u128::from(weight);
    }
    // `best.1` is twice the middle of the share, out of twice the sum.
    let bits = (best.1 << 63).checked_div(sum).unwrap_or(0);
    u64::try_from(bits).unwrap_or(u64::MAX)
}

#[allow(
    clippy::cast_precision_loss,
    reason = "weights are small numbers, and a percentage is for people"
)]
fn percent(weight: u64, sum: u64) -> f64 {
    (weight as f64 * 10_000.0 / sum as f64).round() / 100.0
}
