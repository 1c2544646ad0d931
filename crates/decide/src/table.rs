//! Route tables: the virtual hosts of one port, found by the request's authority, and in each
//! the rules in their order.

use std::collections::BTreeSet;
use std::sync::Arc;

use lateen_model::{HostPattern, Reason};

use crate::authority::canonical;
use crate::cluster::ClusterId;
use crate::condition::Request;
use crate::decision::{Decision, PassedOver, Trace};
use crate::facts::{Facts, Scratch};
use crate::hosts::{HostIndex, HostIndexBuilder};
use crate::matcher::Matcher;
use crate::route::{Action, Route};

/// The routes of one port of a sidecar, or of one listener of a gateway.
#[derive(Debug)]
pub struct RouteTable {
    layout: Arc<Layout>,
    /// In the order of the layout.
    virtual_hosts: Box<[VirtualHost]>,
    fallback: Fallback,
}

/// Which host belongs to which virtual host; shared while hosts stay the same, whatever becomes
/// of their rules.
#[derive(Debug)]
pub(crate) struct Layout {
    hosts: HostIndex,
    /// The pattern or the service that each virtual host is for.
    names: Box<[Box<str>]>,
}

/// The rules for some hosts.
#[derive(Debug)]
pub(crate) struct VirtualHost {
    /// Requests in plain text are redirected to https.
    pub(crate) requires_tls: bool,
    /// What the rules say; shared by all hosts of a VirtualService.
    pub(crate) rules: Arc<Rules>,
}

/// A list of rules in compiled form.
#[derive(Debug)]
pub(crate) struct Rules {
    /// The conditions; shared while they stay the same, whatever becomes of the destinations.
    pub(crate) matcher: Arc<Matcher>,
    /// What each entry of the matcher says.
    pub(crate) routes: Box<[Route]>,
}

/// What happens to requests for hosts that the table does not know.
#[derive(Debug)]
pub(crate) enum Fallback {
    /// 404, at gateways.
    NoRoute,
    /// To where the client was going: the route `allow_any`.
    Passthrough(Route),
    /// 502: the route `block_all`.
    BlackHole,
}

// === impl RouteTable ===

impl RouteTable {
    /// A table of virtual hosts in the order of the layout.
    pub(crate) fn new(
        layout: Arc<Layout>,
        virtual_hosts: Vec<VirtualHost>,
        fallback: Fallback,
    ) -> Self {
        Self {
            layout,
            virtual_hosts: virtual_hosts.into(),
            fallback,
        }
    }

    /// Decides on a request. `random` is asked only where a rule splits traffic.
    pub fn decide<'t>(
        &'t self,
        facts: &impl Facts,
        scratch: &mut Scratch,
        random: impl FnOnce() -> u64,
    ) -> Decision<'t> {
        let host = canonical(facts.authority(), &mut scratch.host);
        let Some(at) = self.layout.hosts.find(host, &mut scratch.path) else {
            return self.fallback.decide(random);
        };
        let virtual_host = &self.virtual_hosts[at as usize];
        let mut request = Request::new(facts, &mut scratch.joined);
        virtual_host
            .decide(&mut request, &mut scratch.path, random)
            .0
    }

    /// Decides on a request by the same path and tells why: each entry before the one that won
    /// is checked by the function that decided.
    pub fn explain<'t>(&'t self, facts: &impl Facts, random: impl FnOnce() -> u64) -> Trace<'t> {
        let mut scratch = Scratch::default();
        let host = canonical(facts.authority(), &mut scratch.host);
        let name = String::from_utf8_lossy(host.text).into_owned();
        let Some(at) = self.layout.hosts.find(host, &mut scratch.path) else {
            return Trace {
                host: name,
                virtual_host: None,
                passed_over: Vec::new(),
                decision: self.fallback.decide(random),
            };
        };
        let virtual_host = &self.virtual_hosts[at as usize];
        let mut request = Request::new(facts, &mut scratch.joined);
        let (decision, found) = virtual_host.decide(&mut request, &mut scratch.path, random);
        Trace {
            host: name,
            virtual_host: Some(&self.layout.names[at as usize]),
            passed_over: virtual_host.passed_over(&mut request, decision, found),
            decision,
        }
    }

    /// The patterns and services that the table has virtual hosts for.
    pub fn virtual_hosts(&self) -> impl Iterator<Item = &str> {
        self.layout.names.iter().map(|name| &**name)
    }

    /// Every route with the name of its virtual host, in order.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &Route)> {
        let hosts = self.virtual_hosts().zip(&self.virtual_hosts);
        hosts.flat_map(|(name, host)| host.rules.routes.iter().map(move |route| (name, route)))
    }

    /// Every virtual host with its name, in order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&str, &VirtualHost)> {
        self.virtual_hosts().zip(&self.virtual_hosts)
    }

    /// What happens to requests for other hosts.
    pub(crate) fn fallback(&self) -> &Fallback {
        &self.fallback
    }

    /// Its layout, for the table that takes its place.
    pub(crate) fn layout(&self) -> Arc<Layout> {
        Arc::clone(&self.layout)
    }

    /// Every cluster that a rule names.
    pub(crate) fn clusters(&self) -> BTreeSet<ClusterId> {
        // Hosts that share their rules usually follow each other: those are read once.
        let mut last = None;
        let rules = self.virtual_hosts.iter().map(|host| &host.rules);
        rules
            .filter(|rules| last.replace(Arc::as_ptr(rules)) != Some(Arc::as_ptr(rules)))
            .flat_map(|rules| rules.clusters())
            .collect()
    }
}

// === impl Layout ===

impl Layout {
    /// Claims hosts in order: the first to claim one keeps it.
    pub(crate) fn new(virtual_hosts: impl Iterator<Item = (Box<str>, Vec<HostPattern>)>) -> Self {
        let mut hosts = HostIndexBuilder::new();
        let mut names = Vec::new();
        for (at, (name, patterns)) in (0..).zip(virtual_hosts) {
            for pattern in &patterns {
                hosts.claim(pattern, at);
            }
            names.push(name);
        }
        Self {
            hosts: hosts.build(),
            names: names.into(),
        }
    }
}

// === impl Rules ===

impl Rules {
    /// Every cluster that the rules name, as often as they do.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = ClusterId> {
        self.routes.iter().flat_map(Route::clusters)
    }
}

// === impl Route ===

impl Route {
    /// What becomes of a request that matches.
    fn decide(&self, random: impl FnOnce() -> u64) -> Decision<'_> {
        let route = self;
        match &self.action {
            Action::Redirect(redirect) => Decision::Redirect { redirect, route },
            Action::Respond(response) => Decision::Respond { response, route },
            Action::Forward(split) => match split.pick(random) {
                Some((destination, cluster)) => Decision::Forward {
                    cluster,
                    destination,
                    route,
                },
                None => Decision::Refuse(Reason::NoCluster),
            },
        }
    }
}

// === impl VirtualHost ===

impl VirtualHost {
    fn decide<'t, F: Facts>(
        &'t self,
        request: &mut Request<'_, F>,
        space: &mut Vec<u8>,
        random: impl FnOnce() -> u64,
    ) -> (Decision<'t>, Option<u32>) {
        if self.requires_tls && request.facts.scheme() != b"https" {
            return (Decision::RedirectToHttps, None);
        }
        let Some(found) = self.rules.matcher.find(request, space) else {
            return (Decision::Refuse(Reason::NoRoute), None);
        };
        let route = &self.rules.routes[found as usize];
        (route.decide(random), Some(found))
    }

    /// The entries before the one that won, with what failed.
    fn passed_over<F: Facts>(
        &self,
        request: &mut Request<'_, F>,
        decision: Decision<'_>,
        found: Option<u32>,
    ) -> Vec<PassedOver<'_>> {
        if decision == Decision::RedirectToHttps {
            return Vec::new();
        }
        let entries = self.rules.matcher.entries();
        let before = found.map_or(entries.len(), |found| found as usize);
        let pairs = entries[..before].iter().zip(&self.rules.routes);
        pairs
            .map(|(entry, route)| PassedOver {
                route,
                failed: match entry.check(request) {
                    Err(failure) => failure.describe(request),
                    // The property tests hold that this cannot be; a trace must not hide it.
                    Ok(()) => "nothing: the index missed it, which is a defect of Lateen".into(),
                },
            })
            .collect()
    }
}

// === impl Fallback ===

impl Fallback {
    fn decide(&self, random: impl FnOnce() -> u64) -> Decision<'_> {
        match self {
            Self::NoRoute => Decision::Refuse(Reason::NoRoute),
            Self::BlackHole => Decision::Refuse(Reason::BlackHole),
            Self::Passthrough(route) => route.decide(random),
        }
    }
}
