//! An interpreter of the rules that reads them as they are written, one after the other: slow,
//! short and obviously right. What is compiled must never differ from it.

use std::cmp::Reverse;

use lateen_model::gateway::{Gateway, Server};
use lateen_model::mesh::OutboundPolicy;
use lateen_model::proxy::Proxy;
use lateen_model::route::{
    Destination, GatewayRef, HttpMatch, HttpRule, StringMatch, ValueMatch, VirtualService,
    WeightedDestination,
};
use lateen_model::service::{Registry, Service};
use lateen_model::{Body, HostPattern, Resource, Source, selects};

use super::request::Request;

/// The resources of a proxy.
pub(crate) struct Interpreter<'r> {
    pub(crate) resources: &'r [Resource],
    pub(crate) proxy: &'r Proxy,
    pub(crate) policy: OutboundPolicy,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It goes to a cluster by a rule: (object's name, rule, block).
    Forward(String, (String, usize, usize)),
    /// 404.
    NoRoute,
    /// No service has this host.
    Unknown(OutboundPolicy),
    /// 301.
    Redirect,
}

/// A rule with the place where it applies.
type Rule<'r> = (
    &'r str,
    usize,
    usize,
    Option<&'r HttpMatch>,
    &'r HttpRule,
    u16,
);

impl Interpreter<'_> {
    /// What a sidecar does with a request on a port with HTTP services.
    pub(crate) fn sidecar(&self, port: u16, request: &Request, random: u64) -> Answer {
        let host = canonical(&request.authority);
        // Every virtual host in the order in which it claims its domains.
        let mut hosts: Vec<(Vec<HostPattern>, Vec<Rule<'_>>, Option<&Service>)> = Vec::new();
        let on_port = self.services(port);
        let mut left = on_port.clone();
        for (source, routes) in self.routes() {
            if !routes.gateways.contains(&GatewayRef::Mesh) {
                continue;
            }
            let rules = self.applicable(source, routes, &GatewayRef::Mesh, port);
            if rules.is_empty() {
                continue;
            }
            if port == 80 {
                for pattern in &routes.hosts {
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
            return Answer::Unknown(self.policy);
        };
        match service {
            Some(service) => {
                let cluster = format!("outbound|{port}||{}", service.key.host);
                Answer::Forward(cluster, (service.key.host.to_string(), 0, 0))
            }
            None => self.first_match(rules, request, random),
        }
    }

    /// What a gateway does with a request on a server's port.
    pub(crate) fn gateway(&self, port: u16, request: &Request, random: u64) -> Answer {
        let host = canonical(&request.authority);
        let servers = self.servers(port);
        // Every pattern that some server and VirtualService share.
        let mut patterns: Vec<HostPattern> = Vec::new();
        for (_, gateway, server) in &servers {
            for (_, routes) in self.routes() {
                patterns.extend(shared(gateway, server, routes));
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
        for (source, routes) in self.routes() {
            let mut seen: Vec<(&str, &str, u16)> = Vec::new();
            for (_, gateway, server) in &servers {
                redirects |=
                    server.https_redirect && server.hosts.iter().any(|one| one.host == *pattern);
                let place = (
                    gateway.namespace.as_str(),
                    gateway.name.as_str(),
                    server.port,
                );
                if !shared(gateway, server, routes).contains(pattern) {
                    continue;
                }
                redirects |= server.https_redirect;
                if !seen.contains(&place) {
                    seen.push(place);
                    contributions += 1;
                    let mut own = self.applicable(source, routes, &name(gateway), server.port);
                    // What follows a rule that takes everything is never reached.
                    let end = own.iter().position(is_catch_all);
                    own.truncate(end.map_or(own.len(), |end| end + 1));
                    rules.extend(own);
                }
            }
        }
        for (_, _, server) in &servers {
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
        for (object, rule, block, conditions, spec, port) in rules {
            if conditions.is_none_or(|conditions| holds(conditions, request)) {
                let destination = pick(&spec.route, random);
                let cluster = self.cluster(destination, *port);
                return Answer::Forward(cluster, ((*object).to_owned(), *rule, *block));
            }
        }
        Answer::NoRoute
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
        source: &'s Source,
        routes: &'s VirtualService,
        gateway: &GatewayRef,
        port: u16,
    ) -> Vec<Rule<'s>> {
        let mut rules: Vec<Rule<'s>> = Vec::new();
        let object = source.object.name.as_str();
        for (at, rule) in routes.http.iter().enumerate() {
            if rule.matches.is_empty() {
                rules.push((object, at, 0, None, rule, port));
            }
            for (block, conditions) in rule.matches.iter().enumerate() {
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
                    rules.push((object, at, block, Some(conditions), rule, port));
                }
            }
        }
        rules
    }

    /// The VirtualServices that the proxy sees, oldest first.
    fn routes(&self) -> Vec<(&Source, &VirtualService)> {
        let mut all: Vec<_> = self
            .resources
            .iter()
            .filter_map(|resource| match &resource.body {
                Body::VirtualService(routes) => Some((&resource.source, routes)),
                _ => None,
            })
            .filter(|(_, routes)| routes.export_to.allows(&self.proxy.namespace))
            .collect();
        all.sort_by_key(|(source, _)| source.age_key());
        all
    }

    /// The most specific VirtualService of the mesh for a service, the oldest of equals.
    fn best_routes(&self, service: &Service) -> Option<&VirtualService> {
        let mut best: Option<((u8, usize), &VirtualService)> = None;
        for (_, routes) in self.routes() {
            for pattern in &routes.hosts {
                let rank = specificity(pattern);
                if routes.gateways.contains(&GatewayRef::Mesh)
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

fn is_catch_all((_, _, _, conditions, _, _): &Rule<'_>) -> bool {
    conditions.is_none_or(|one| {
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

/// Lower case, no port, no trailing dot.
fn canonical(authority: &str) -> String {
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    host.strip_suffix('.').unwrap_or(host).to_lowercase()
}

fn pick(route: &[WeightedDestination], random: u64) -> &Destination {
    if route.len() == 1 {
        return &route[0].destination;
    }
    let sum: u128 = route.iter().map(|one| u128::from(one.weight)).sum();
    let mut point = (u128::from(random) * sum) >> 64;
    for one in route {
        if point < u128::from(one.weight) {
            return &one.destination;
        }
        point -= u128::from(one.weight);
    }
    unreachable!("the point is below the sum of the weights")
}

fn holds(one: &HttpMatch, request: &Request) -> bool {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let uri = one.uri.as_ref().is_none_or(|uri| match uri {
        StringMatch::Exact(text) if one.ignore_uri_case => text.eq_ignore_ascii_case(path),
        StringMatch::Prefix(text) if one.ignore_uri_case => {
            path.to_lowercase().starts_with(&text.to_lowercase())
        }
        other => accepts(other, path),
    });
    let header = |name: &str| {
        let values = request
            .headers
            .iter()
            .filter(|(one, _)| one.eq_ignore_ascii_case(name));
        let values: Vec<&str> = values.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(","))
    };
    let parameter = |name: &str| {
        let pairs = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let has_query = request.path.contains('?');
        let mut values = pairs.filter(|(one, _)| has_query && *one == name);
        values.next().map(|(_, value)| value.to_owned())
    };
    let is = |condition: &Option<StringMatch>, text: &str| {
        condition
            .as_ref()
            .is_none_or(|condition| accepts(condition, text))
    };
    uri && is(&one.method, &request.method)
        && is(&one.scheme, &request.scheme)
        && is(&one.authority, &request.authority)
        && one
            .headers
            .iter()
            .all(|(name, condition)| has(condition, header(name)))
        && one
            .query_params
            .iter()
            .all(|(name, condition)| has(condition, parameter(name)))
        && one
            .without_headers
            .iter()
            .all(|(name, condition)| match condition {
                ValueMatch::Present => header(name).is_none(),
                ValueMatch::Value(condition) => {
                    !accepts(condition, &header(name).unwrap_or_default())
                }
            })
}

fn has(condition: &ValueMatch, value: Option<String>) -> bool {
    match (condition, value) {
        (_, None) => false,
        (ValueMatch::Present, Some(_)) => true,
        (ValueMatch::Value(condition), Some(value)) => accepts(condition, &value),
    }
}

fn accepts(condition: &StringMatch, text: &str) -> bool {
    match condition {
        StringMatch::Exact(exact) => text == exact,
        StringMatch::Prefix(prefix) => text.starts_with(prefix),
        StringMatch::Regex(regex) => {
            let whole = regex::Regex::new(&format!("^(?:{regex})$"));
            whole
                .expect("generated expressions are valid")
                .is_match(text)
        }
    }
}
