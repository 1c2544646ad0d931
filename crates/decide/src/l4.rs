//! Routes of connections: by destination address and by the name that TLS asks for.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;
use lateen_model::{HostPattern, ObjectRef};

use crate::authority::canonical;
use crate::cluster::ClusterId;
use crate::decision::Origin;
use crate::hosts::{HostIndex, HostIndexBuilder};
use crate::route::{Route, Split};

/// Where connections go that are not routed request by request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpRoute {
    /// Tried in order.
    rules: Box<[TcpRule]>,
    /// What none of them takes.
    otherwise: Route,
}

/// One rule for connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TcpRule {
    /// The original destination is in one of these; empty matches all.
    pub(crate) subnets: Box<[IpNet]>,
    /// What it says.
    pub(crate) route: Route,
}

/// Where TLS connections go that the mesh does not open.
#[derive(Debug)]
pub struct SniTable {
    hosts: HostIndex,
    /// The patterns, for people.
    patterns: Box<[HostPattern]>,
    /// For each pattern its rules in order, then those of wider patterns.
    lists: Box<[Box<[TcpRule]>]>,
}

// === impl TcpRoute ===

impl TcpRoute {
    /// Tries the rules in order, then takes the last one.
    pub(crate) fn new(rules: Vec<TcpRule>, otherwise: Route) -> Self {
        Self {
            rules: rules.into(),
            otherwise,
        }
    }

    /// Everything goes to one cluster.
    pub(crate) fn single(object: &Arc<ObjectRef>, cluster: ClusterId) -> Self {
        let route = Route::plain("", Origin::whole(object), Split::single(cluster));
        Self::new(Vec::new(), route)
    }

    /// Decides on a connection: never refuses, but the cluster may not exist
    /// ([`lateen_model::Reason::NoCluster`]) or be [`ClusterId::BLACK_HOLE`].
    pub fn decide(
        &self,
        destination: SocketAddr,
        random: impl FnOnce() -> u64,
    ) -> (ClusterId, &Route) {
        let rule = self.rules.iter().find(|rule| rule.takes(destination));
        let route = rule.map_or(&self.otherwise, |rule| &rule.route);
        (route.connect(random), route)
    }

    /// The rules in order, and what none of them takes.
    pub(crate) fn parts(&self) -> (&[TcpRule], &Route) {
        (&self.rules, &self.otherwise)
    }

    /// Every route, in order.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        let rules = self.rules.iter().map(|rule| &rule.route);
        rules.chain(std::iter::once(&self.otherwise))
    }
}

// === impl TcpRule ===

impl TcpRule {
    fn takes(&self, destination: SocketAddr) -> bool {
        let address = destination.ip().to_canonical();
        self.subnets.is_empty() || self.subnets.iter().any(|net| net.contains(&address))
    }
}

// === impl SniTable ===

impl SniTable {
    /// Compiles rules in order: exact names come before the longest wildcard, and for one
    /// pattern the first rule that takes the destination wins.
    pub(crate) fn compile(rules: &[(HostPattern, TcpRule)]) -> Self {
        let mut hosts = HostIndexBuilder::new();
        let mut patterns: Vec<&HostPattern> = Vec::new();
        let mut by_pattern: HashMap<&HostPattern, Vec<&TcpRule>> = HashMap::new();
        for (pattern, rule) in rules {
            let same = by_pattern.entry(pattern).or_default();
            if same.is_empty() {
                let at = u32::try_from(patterns.len()).unwrap_or(u32::MAX);
                hosts.claim(pattern, at);
                patterns.push(pattern);
            }
            same.push(rule);
        }
        let is_wildcard = |pattern: &&&HostPattern| !matches!(pattern, HostPattern::Exact(_));
        let mut wildcards: Vec<_> = patterns.iter().filter(is_wildcard).copied().collect();
        wildcards.sort_by_key(|pattern| Reverse(specificity(pattern)));
        let lists = patterns.iter().map(|pattern| {
            let is_wider = |wider: &&&HostPattern| *wider != pattern && pattern.is_subset_of(wider);
            let wider = wildcards.iter().filter(is_wider);
            std::iter::once(pattern)
                .chain(wider)
                .flat_map(|pattern| by_pattern[pattern].iter())
                .map(|rule| TcpRule::clone(rule))
                .collect()
        });
        Self {
            lists: lists.collect(),
            patterns: patterns.iter().map(|pattern| (*pattern).clone()).collect(),
            hosts: hosts.build(),
        }
    }

    /// Decides on a TLS connection by the server name of its ClientHello (as sent); `None` if no
    /// rule names it: then the listener's `tcp` route decides.
    pub fn decide(
        &self,
        server_name: &[u8],
        destination: SocketAddr,
        random: impl FnOnce() -> u64,
    ) -> Option<(ClusterId, &Route)> {
        // Once per connection, beside a TLS handshake: two small allocations do not count.
        let (mut space, mut backwards) = (Vec::new(), Vec::new());
        let host = canonical(server_name, &mut space);
        let list = &self.lists[self.hosts.find(host, &mut backwards)? as usize];
        let rule = list.iter().find(|rule| rule.takes(destination))?;
        Some((rule.route.connect(random), &rule.route))
    }

    /// Every pattern with its rules, those of wider patterns too, in order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&HostPattern, &[TcpRule])> {
        let lists = self.lists.iter().map(|list| &**list);
        self.patterns.iter().zip(lists)
    }

    /// Every route; one may come more than once.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.lists.iter().flatten().map(|rule| &rule.route)
    }
}

/// Orders patterns: exact, then by the length of the suffix, then `*`.
pub(crate) fn specificity(pattern: &HostPattern) -> (u8, usize) {
    match pattern {
        HostPattern::Any => (0, 0),
        HostPattern::Suffix(suffix) => (1, suffix.len()),
        HostPattern::Exact(host) => (2, host.as_str().len()),
    }
}
