//! An interpreter of the rules that reads them as they are written, one after the other: slow,
//! short and obviously right. What is compiled must never differ from it.

// The paths are written out for the fuzzer, which takes this file by its own path.
#[path = "naive/conditions.rs"]
mod conditions;
#[path = "naive/delegates.rs"]
mod delegates;
#[path = "naive/treatment.rs"]
mod treatment;

use std::cmp::Reverse;

use lateen_model::gateway::{Gateway, Server};
use lateen_model::http::{DirectResponse, HttpAction, HttpRule, Redirect};
use lateen_model::mesh::{Mesh, OutboundPolicy};
use lateen_model::proxy::Proxy;
use lateen_model::route::{
    Destination, GatewayRef, HttpMatch, StringMatch, VirtualService, WeightedDestination,
};
use lateen_model::service::{Registry, Service};
use lateen_model::{Body, HostPattern, Resource, Source, selects};

use self::conditions::{canonical, holds};
use self::delegates::Written;
pub(crate) use self::treatment::{Change, Cors, Treatment};
use super::request::Request;

/// The resources of a proxy.
pub(crate) struct Interpreter<'r> {
    resources: &'r [Resource],
    proxy: &'r Proxy,
    mesh: &'r Mesh,
    /// The VirtualServices that the proxy sees, oldest first, with delegates in place.
    routes: Vec<Routes<'r>>,
}

/// A VirtualService.
struct Routes<'r> {
    spec: &'r VirtualService,
    rules: Vec<Written>,
}

/// Names a rule: object's name, rule, block.
pub(crate) type RuleName = (String, usize, usize);

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// It goes to a cluster, by a place in the split of a rule.
    Forward(String, usize, RuleName, Box<Treatment>),
    /// It is sent elsewhere.
    Elsewhere(Redirect, RuleName),
    /// The proxy answers it.
    Respond(DirectResponse, RuleName),
    /// 404.
    NoRoute,
    /// No service has this host.
    Unknown(OutboundPolicy),
    /// 301.
    Redirect,
}

/// A rule with the place where it applies.
#[derive(Clone)]
struct Rule<'r> {
    name: RuleName,
    conditions: Option<&'r HttpMatch>,
    spec: &'r HttpRule,
    port: u16,
}

impl<'r> Interpreter<'r> {
    pub(crate) fn new(resources: &'r [Resource], proxy: &'r Proxy, mesh: &'r Mesh) -> Self {
        let written = |resource: &'r Resource| match &resource.body {
            Body::VirtualService(routes) => Some((&resource.source, routes)),
            _ => None,
        };
        let all: Vec<_> = resources.iter().filter_map(written).collect();
        let mut seen: Vec<_> = all
            .iter()
            .filter(|(_, spec)| spec.export_to.allows(&proxy.namespace) && !spec.hosts.is_empty())
            .collect();
        seen.sort_by_key(|(source, _)| source.age_key());
        let routes = seen.into_iter().map(|(source, spec)| Routes {
            spec,
            rules: delegates::expand(source, spec, &all),
        });
        Self {
            resources,
            proxy,
            mesh,
            routes: routes.collect(),
        }
    }

    /// What a sidecar does with a request on a port with HTTP services.
    pub(crate) fn sidecar(&self, port: u16, request: &Request, random: u64) -> Answer {
        let host = canonical(&request.authority);
        // Every virtual host in the order in which it claims its domains.
        let mut hosts: Vec<(Vec<HostPattern>, Vec<Rule<'_>>, Option<&Service>)> = Vec::new();
        let on_port = self.services(port);
        let mut left = on_port.clone();
        for routes in &self.routes {
            if !routes.spec.gateways.contains(&GatewayRef::Mesh) {
                continue;
            }
            let rules = self.applicable(routes, &GatewayRef::Mesh, port);
            if rules.is_empty() {
                continue;
            }
            if port == 80 {
                for pattern in &routes.spec.hosts {
                    if !on_port
                        .iter()
                        .any(|one| pattern.matches(one.key.host.as_str()))
                    {
                        hosts.push((vec![pattern.clone()], rules.clone(), None));
                    }
                }
            }
            for service in &on_port {
                if self
                    .best_routes(service)
                    .is_some_and(|best| std::ptr::eq(best, routes))
                {
                    left.retain(|one| one.key != service.key);
                    hosts.push((self.domains(service), rules.clone(), None));
                }
            }
        }
        for service in left {
            hosts.push((self.domains(service), Vec::new(), Some(service)));
        }
        let Some((_, rules, service)) = most_specific(&hosts, &host) else {
            return Answer::Unknown(self.mesh.outbound_policy);
        };
        match service {
            Some(service) => {
                let cluster = format!("outbound|{port}||{}", service.key.host);
                let name = (service.key.host.to_string(), 0, 0);
                let treatment = Treatment::of_service(self.mesh, request);
                Answer::Forward(cluster, 0, name, Box::new(treatment))
            }
            None => self.first_match(rules, request, random),
        }
    }

    /// What a gateway does with a request on a server's port.
    pub(crate) fn gateway(&self, port: u16, request: &Request, random: u64) -> Answer {
        self.serve(&self.servers(port), request, random)
    }

    /// The server of a gateway's port that a client of TLS asks for, by its port's name and its
    /// Gateway's, and what becomes of a request there.
    pub(crate) fn secure(
        &self,
        port: u16,
        server_name: &str,
        request: &Request,
        random: u64,
    ) -> Option<(String, Answer)> {
        let mut kept: Vec<(&Source, &Gateway, &Server)> = Vec::new();
        for one in self.servers(port) {
            let mut hosts = kept.iter().flat_map(|(_, _, server)| &server.hosts);
            if !hosts.any(|taken| one.2.hosts.iter().any(|own| own.host == taken.host)) {
                kept.push(one);
            }
        }
        let best = |server: &Server| {
            let hosts = server.hosts.iter().map(|one| &one.host);
            hosts
                .filter(|pattern| matches(pattern, server_name))
                .map(specificity)
                .max()
        };
        let chosen = kept
            .into_iter()
            .filter(|(_, _, server)| best(server).is_some());
        let (source, gateway, server) = chosen.max_by_key(|(_, _, server)| best(server))?;
        let name = format!("{}.{}", server.port_name, gateway.name);
        let answer = self.serve(&[(source, gateway, server)], request, random);
        Some((name, answer))
    }

    /// What servers that share their routes do with a request.
    fn serve(
        &self,
        servers: &[(&Source, &Gateway, &Server)],
        request: &Request,
        random: u64,
    ) -> Answer {
        let host = canonical(&request.authority);
        // Every pattern that some server and VirtualService share.
        let mut patterns: Vec<HostPattern> = Vec::new();
        for (_, gateway, server) in servers {
            for routes in &self.routes {
                patterns.extend(shared(gateway, server, routes.spec));
            }
            if server.https_redirect {
                patterns.extend(server.hosts.iter().map(|one| one.host.clone()));
            }
        }
        let Some(pattern) = patterns
            .iter()
            .filter(|pattern| matches(pattern, &host))
            .max_by_key(|pattern| specificity(pattern))
        else {
            return Answer::NoRoute;
        };
        let mut redirects = false;
        let mut rules = Vec::new();
        let mut contributions = 0;
        for routes in &self.routes {
            let mut seen: Vec<(&str, &str, u16)> = Vec::new();
            for (_, gateway, server) in servers {
                redirects |=
                    server.https_redirect && server.hosts.iter().any(|one| one.host == *pattern);
                let place = (
                    gateway.namespace.as_str(),
                    gateway.name.as_str(),
                    server.port,
                );
                if !shared(gateway, server, routes.spec).contains(pattern) {
                    continue;
                }
                redirects |= server.https_redirect;
                if !seen.contains(&place) {
                    seen.push(place);
                    contributions += 1;
                    let mut own = self.applicable(routes, &name(gateway), server.port);
                    // What follows a rule that takes everything is never reached.
                    let end = own.iter().position(is_catch_all);
                    own.truncate(end.map_or(own.len(), |end| end + 1));
                    rules.extend(own);
                }
            }
        }
        for (_, _, server) in servers {
            redirects |=
                server.https_redirect && server.hosts.iter().any(|one| one.host == *pattern);
        }
        if redirects && request.scheme != "https" {
            return Answer::Redirect;
        }
        if contributions > 1 {
            let (last, first): (Vec<_>, Vec<_>) = rules.into_iter().partition(is_catch_all);
            rules = [first, last].concat();
        }
        self.first_match(&rules, request, random)
    }

    fn first_match(&self, rules: &[Rule<'_>], request: &Request, random: u64) -> Answer {
        let is_it = |rule: &&Rule<'_>| rule.conditions.is_none_or(|one| holds(one, request));
        let Some(rule) = rules.iter().find(is_it) else {
            return Answer::NoRoute;
        };
        let name = rule.name.clone();
        match &rule.spec.action {
            HttpAction::Redirect(redirect) => Answer::Elsewhere(redirect.clone(), name),
            HttpAction::DirectResponse(response) => Answer::Respond(response.clone(), name),
            HttpAction::Delegate { .. } => unreachable!("delegates are in place"),
            HttpAction::Route(route) => {
                let place = pick(route, random);
                let cluster = self.cluster(&route[place].destination, rule.port);
                let treatment = Treatment::of_rule(self, rule, &route[place], request);
                Answer::Forward(cluster, place, name, Box::new(treatment))
            }
        }
    }

    /// The name of a cluster, or `NC`.
    fn cluster(&self, destination: &Destination, arrival: u16) -> String {
        let service = self.service(destination.host.as_str());
        let only = service
            .filter(|one| one.ports.len() == 1)
            .map(|one| one.ports[0].number);
        let port = destination.port.or(only).unwrap_or(arrival);
        let has_port = |one: &Service| one.ports.iter().any(|one| one.number == port);
        let subset = destination.subset.clone().unwrap_or_default();
        // The generator writes no DestinationRule but for the subsets `v1` and `v2`.
        let exists = service.is_some_and(has_port)
            && (subset.is_empty() || self.has_subset(&destination.host, &subset));
        if exists {
            format!("outbound|{port}|{subset}|{}", destination.host)
        } else {
            "NC".to_owned()
        }
    }

    fn has_subset(&self, host: &lateen_model::Host, subset: &str) -> bool {
        self.resources.iter().any(|resource| match &resource.body {
            Body::DestinationRule(rule) => {
                rule.host.matches(host.as_str())
                    && rule.subsets.iter().any(|one| one.name == subset)
            }
            _ => false,
        })
    }

    /// The rules of a VirtualService that apply at a place.
    fn applicable<'s>(
        &'s self,
        routes: &'s Routes<'_>,
        gateway: &GatewayRef,
        port: u16,
    ) -> Vec<Rule<'s>> {
        let mut rules: Vec<Rule<'s>> = Vec::new();
        for Written { name, blocks, rule } in &routes.rules {
            let place = |block: usize, conditions| Rule {
                name: (name.0.clone(), name.1, block),
                conditions,
                spec: rule,
                port,
            };
            if rule.matches.is_empty() {
                rules.push(place(0, None));
            }
            for (block, conditions) in blocks.iter().zip(&rule.matches) {
                if conditions.port.is_some_and(|one| one != port) {
                    continue;
                }
                let applies = if conditions.gateways.is_empty() {
                    selects(&conditions.source_labels, &self.proxy.labels)
                        && conditions
                            .source_namespace
                            .as_ref()
                            .is_none_or(|one| *one == self.proxy.namespace)
                } else {
                    conditions.gateways.contains(gateway)
                };
                if applies {
                    rules.push(place(*block, Some(conditions)));
                }
            }
        }
        rules
    }

    /// The most specific VirtualService of the mesh for a service, the oldest of equals.
    fn best_routes(&self, service: &Service) -> Option<&Routes<'_>> {
        let mut best: Option<((u8, usize), &Routes<'_>)> = None;
        for routes in &self.routes {
            for pattern in &routes.spec.hosts {
                let rank = specificity(pattern);
                if routes.spec.gateways.contains(&GatewayRef::Mesh)
                    && pattern.matches(service.key.host.as_str())
                    && best.is_none_or(|(most, _)| rank > most)
                {
                    best = Some((rank, routes));
                }
            }
        }
        best.map(|(_, routes)| routes)
    }

    /// The visible service of a host: own namespace, then Kubernetes, then the oldest.
    fn service(&self, host: &str) -> Option<&Service> {
        self.all_services()
            .into_iter()
            .filter(|(_, service)| service.key.host.as_str() == host)
            .min_by_key(|(source, service)| {
                (
                    service.key.namespace != self.proxy.namespace,
                    service.registry != Registry::Kubernetes,
                    source.age_key(),
                )
            })
            .map(|(_, service)| service)
    }

    /// The services that speak HTTP on a port, oldest first.
    fn services(&self, port: u16) -> Vec<&Service> {
        let mut all = self.all_services();
        all.sort_by_key(|(source, service)| (source.age_key(), service.key.host.clone()));
        all.into_iter()
            .map(|(_, service)| service)
            .filter(|one| {
                let chosen = self.service(one.key.host.as_str());
                chosen.is_some_and(|chosen| std::ptr::eq(chosen, *one))
            })
            .filter(|one| {
                let mut ports = one.ports.iter();
                ports.any(|one| one.number == port && one.protocol.is_http())
            })
            .collect()
    }

    fn all_services(&self) -> Vec<(&Source, &Service)> {
        let services = self
            .resources
            .iter()
            .filter_map(|resource| match &resource.body {
                Body::Service(service) => Some((&resource.source, service)),
                _ => None,
            });
        services
            .filter(|(_, service)| service.export_to.allows(&self.proxy.namespace))
            .collect()
    }

    fn domains(&self, service: &Service) -> Vec<HostPattern> {
        let name = service.key.host.as_str();
        let mut texts = vec![name.to_owned()];
        let kubernetes = name.find(".svc.").filter(|_| !name.starts_with('*'));
        if let Some(at) = kubernetes {
            let short = &name[..at];
            if let Some((first, namespace)) = short.split_once('.') {
                if namespace == self.proxy.namespace {
                    texts.push(first.to_owned());
                }
                texts.push(short.to_owned());
                texts.push(format!("{short}.svc"));
            }
        }
        texts.extend(service.addresses.iter().map(|net| net.addr().to_string()));
        texts
            .iter()
            .map(|text| match text.strip_prefix('*') {
                Some(suffix) => HostPattern::Suffix(suffix.to_owned()),
                None => HostPattern::Exact(lateen_model::Host::new(text)),
            })
            .collect()
    }

    /// The servers on a port of the Gateways that select the proxy, oldest first.
    fn servers(&self, port: u16) -> Vec<(&Source, &Gateway, &Server)> {
        let mut servers: Vec<_> = self
            .resources
            .iter()
            .filter_map(|resource| match &resource.body {
                Body::Gateway(gateway) => Some((&resource.source, gateway)),
                _ => None,
            })
            .filter(|(_, gateway)| selects(&gateway.selector, &self.proxy.labels))
            .flat_map(|(source, gateway)| {
                gateway
                    .servers
                    .iter()
                    .map(move |server| (source, gateway, server))
            })
            .filter(|(_, _, server)| server.port == port)
            .collect();
        servers.sort_by_key(|(source, _, _)| source.age_key());
        servers
    }
}

fn name(gateway: &Gateway) -> GatewayRef {
    GatewayRef::Gateway {
        namespace: gateway.namespace.clone(),
        name: gateway.name.clone(),
    }
}

/// The hosts that a server lets a VirtualService route.
fn shared(gateway: &Gateway, server: &Server, routes: &VirtualService) -> Vec<HostPattern> {
    let mut patterns = Vec::new();
    if routes.gateways.contains(&name(gateway)) {
        for open in &server.hosts {
            let only = open.namespace.as_ref();
            if only.is_none_or(|only| *only == routes.namespace) {
                for host in &routes.hosts {
                    patterns.extend(open.host.intersect(host).cloned());
                }
            }
        }
    }
    patterns
}

fn is_catch_all(rule: &Rule<'_>) -> bool {
    rule.conditions.is_none_or(|one| {
        let takes_every_path = match &one.uri {
            None => true,
            Some(StringMatch::Prefix(prefix)) => prefix.is_empty() || prefix == "/",
            Some(StringMatch::Regex(regex)) => regex == ".*",
            Some(StringMatch::Exact(_)) => false,
        };
        takes_every_path
            && one.headers.is_empty()
            && one.without_headers.is_empty()
            && one.query_params.is_empty()
            && one.method.is_none()
            && one.scheme.is_none()
            && one.authority.is_none()
    })
}

/// The virtual host whose domain matches best; the first to claim a domain has it.
fn most_specific<'h, T>(
    hosts: &'h [(Vec<HostPattern>, Vec<T>, Option<&'h Service>)],
    host: &str,
) -> Option<&'h (Vec<HostPattern>, Vec<T>, Option<&'h Service>)> {
    let mut best = None;
    for one in hosts {
        for domain in one.0.iter().filter(|domain| matches(domain, host)) {
            let rank = Reverse(specificity(domain));
            if best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, one));
            }
        }
    }
    best.map(|(_, one)| one)
}

fn matches(pattern: &HostPattern, host: &str) -> bool {
    pattern.matches(host)
}

fn specificity(pattern: &HostPattern) -> (u8, usize) {
    match pattern {
        HostPattern::Any => (0, 0),
        HostPattern::Suffix(suffix) => (1, suffix.len()),
        HostPattern::Exact(_) => (2, 0),
    }
}

/// The place of the destination that uniform bits fall on.
fn pick(route: &[WeightedDestination], random: u64) -> usize {
    if route.len() == 1 {
        return 0;
    }
    let sum: u128 = route.iter().map(|one| u128::from(one.weight)).sum();
    let mut point = (u128::from(random) * sum) >> 64;
    for (place, one) in route.iter().enumerate() {
        if point < u128::from(one.weight) {
            return place;
        }
        point -= u128::from(one.weight);
    }
    unreachable!("the point is below the sum of the weights")
}
