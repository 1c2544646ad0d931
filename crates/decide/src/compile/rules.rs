//! VirtualServices: their conditions compiled once when they arrive, and their rules selected
//! for each place (the mesh or a gateway, and a port) where they apply.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use lateen_model::http::{HttpAction, HttpRule};
use lateen_model::proxy::Proxy;
use lateen_model::route::{GatewayRef, HttpMatch, L4Match, VirtualService, WeightedDestination};
use lateen_model::{Labels, ObjectRef, selects};

use super::Compiler;
use super::actions::Actions;
use super::delegates::Written;
use crate::condition::Entry;
use crate::decision::Origin;
use crate::error::Error;
use crate::matcher::Matcher;
use crate::registry::Stored;
use crate::route::{Route, RoutePolicy};
use crate::table::Rules;

/// A VirtualService in the store.
pub(crate) type StoredRoutes = Arc<Stored<Routes>>;

/// A VirtualService with its conditions compiled.
#[derive(Debug)]
pub(crate) struct Routes {
    pub(crate) spec: VirtualService,
    /// For each rule of `http` its blocks; one that takes everything where there are none.
    entries: Vec<Vec<Arc<Entry>>>,
    /// For each rule of `http` what it does, as far as that can be compiled alone.
    pub(super) actions: Vec<Actions>,
    /// Where each rule of `http` and its blocks were written, if some came from delegates.
    places: Vec<(Arc<ObjectRef>, usize, Vec<usize>)>,
    /// Whether a rule names a delegate.
    pub(super) delegates: bool,
    /// What of its delegates could not be put in place.
    pub(crate) notices: Vec<String>,
}

/// Where rules apply.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The mesh, or the gateway that is built.
    pub(crate) gateway: GatewayRef,
    /// The service port, or the port of the gateway's server.
    pub(crate) port: u16,
}

/// Rules by what they were made of.
#[derive(Debug)]
pub(crate) struct RulesCache {
    cached: HashMap<Vec<(u64, Place)>, Cached>,
    /// The epoch of the proxy that they were selected for.
    proxy: u64,
    /// Takes every request.
    catch_all: Arc<Matcher>,
}

#[derive(Debug)]
struct Cached {
    /// Which entries there are does not depend on services, so it outlives an epoch.
    selected: Arc<Vec<Selected>>,
    matcher: Arc<Matcher>,
    /// With the epoch that they were made in.
    rules: (u64, Arc<Rules>),
}

/// An entry that applies at a place.
#[derive(Debug)]
struct Selected {
    entry: Arc<Entry>,
    /// The VirtualService, by its place among the parts.
    part: usize,
    rule: usize,
    block: usize,
}

// === impl Routes ===

impl Routes {
    /// Compiles the conditions.
    ///
    /// # Errors
    /// Names the field that cannot be carried out.
    pub(crate) fn compile(spec: VirtualService, object: &ObjectRef) -> Result<Self, Error> {
        let mut compiled = Self::empty(&spec);
        for (at, rule) in spec.http.iter().enumerate() {
            compiled.add(rule, object, at)?;
        }
        for (at, rule) in spec.tls.iter().enumerate() {
            check_route(&rule.route, object, || format!("tls[{at}].route"))?;
        }
        for (at, rule) in spec.tcp.iter().enumerate() {
            check_route(&rule.route, object, || format!("tcp[{at}].route"))?;
        }
        Ok(Self { spec, ..compiled })
    }

    /// A VirtualService whose rules of `http` come from several places.
    pub(super) fn merged(spec: &VirtualService, rules: Vec<Written>) -> Result<Self, Error> {
        let mut merged = Self::empty(spec);
        for written in rules {
            merged.add(&written.rule, &written.object, written.index)?;
            merged.spec.http.push(written.rule);
            let place = (written.object, written.index, written.blocks);
            merged.places.push(place);
        }
        Ok(merged)
    }

    /// A VirtualService without its rules for HTTP.
    pub(super) fn empty(spec: &VirtualService) -> Self {
        Self {
            spec: VirtualService {
                http: Vec::new(),
                ..spec.clone()
            },
            entries: Vec::new(),
            actions: Vec::new(),
            places: Vec::new(),
            delegates: false,
            notices: Vec::new(),
        }
    }

    /// Compiles a rule of `http`.
    fn add(&mut self, rule: &HttpRule, object: &ObjectRef, at: usize) -> Result<(), Error> {
        if let HttpAction::Route(route) = &rule.action {
            check_route(route, object, || format!("http[{at}].route"))?;
        }
        let actions = Actions::compile(rule, object, &format!("http[{at}]"))?;
        let mut blocks = Vec::with_capacity(rule.matches.len().max(1));
        for (block, conditions) in rule.matches.iter().enumerate() {
            let entry = Entry::compile(conditions);
            let entry = entry.map_err(|(field, pattern, problem)| Error::Regex {
                object: object.to_string(),
                field: format!("http[{at}].match[{block}].{field}"),
                pattern,
                problem,
            })?;
            blocks.push(Arc::new(entry));
        }
        if blocks.is_empty() {
            blocks.push(Arc::new(Entry::catch_all()));
        }
        self.delegates |= matches!(rule.action, HttpAction::Delegate { .. });
        self.actions.push(actions);
        self.entries.push(blocks);
        Ok(())
    }

    /// Where a block of a rule was written.
    fn origin(&self, object: &Arc<ObjectRef>, rule: usize, block: usize) -> Origin {
        match self.places.get(rule) {
            None => Origin::block(object, rule, block),
            Some((object, rule, blocks)) => {
                Origin::block(object, *rule, blocks.get(block).copied().unwrap_or(0))
            }
        }
    }

    /// The entries that apply at a place, in order.
    fn select<'r>(
        &'r self,
        place: &'r Place,
        proxy: &'r Proxy,
        part: usize,
    ) -> impl Iterator<Item = Selected> + 'r {
        let rules = self.spec.http.iter().zip(&self.entries).enumerate();
        rules.flat_map(move |(rule, (spec, blocks))| {
            let blocks = blocks.iter().enumerate().filter(move |(block, _)| {
                let conditions = spec.matches.get(*block);
                conditions.is_none_or(|conditions| place.admits(conditions, proxy))
            });
            blocks.map(move |(block, entry)| Selected {
                entry: Arc::clone(entry),
                part,
                rule,
                block,
            })
        })
    }
}

// === impl StoredRoutes ===

impl Stored<Routes> {
    /// Answers whether it is in effect only through rules that name it.
    pub(crate) fn is_delegate(&self) -> bool {
        self.body.spec.hosts.is_empty()
    }
}

/// Refuses what has nowhere to send traffic.
fn check_route(
    route: &[WeightedDestination],
    object: &ObjectRef,
    field: impl FnOnce() -> String,
) -> Result<(), Error> {
    let problem = match route {
        [] => "has no destination; give at least one",
        [_] => return Ok(()),
        several if several.iter().all(|one| one.weight == 0) => {
            "has several destinations whose weights are all 0; give at least one a weight"
        }
        _ => return Ok(()),
    };
    Err(Error::Field {
        object: object.to_string(),
        field: field(),
        problem: problem.to_owned(),
    })
}

// === impl Place ===

impl Place {
    /// Answers whether a block applies here. Its own list of gateways overrides that of the
    /// VirtualService, and then the conditions on the source are not looked at.
    fn admits(&self, block: &HttpMatch, proxy: &Proxy) -> bool {
        if block.port.is_some_and(|port| port != self.port) {
            return false;
        }
        if block.gateways.is_empty() {
            is_source(&block.source_labels, block.source_namespace.as_ref(), proxy)
        } else {
            block.gateways.contains(&self.gateway)
        }
    }

    /// Answers whether a block on connections applies here, apart from the destination's subnet:
    /// every condition that is set must hold.
    pub(crate) fn admits_connection(&self, block: &L4Match, proxy: &Proxy) -> bool {
        block.port.is_none_or(|port| port == self.port)
            && (block.gateways.is_empty() || block.gateways.contains(&self.gateway))
            && is_source(&block.source_labels, block.source_namespace.as_ref(), proxy)
    }
}

fn is_source(labels: &Labels, namespace: Option<&String>, proxy: &Proxy) -> bool {
    selects(labels, &proxy.labels) && namespace.is_none_or(|name| *name == proxy.namespace)
}

// === impl RulesCache ===

impl Default for RulesCache {
    fn default() -> Self {
        Self {
            cached: HashMap::new(),
            proxy: 0,
            catch_all: Arc::new(Matcher::compile(vec![Arc::new(Entry::catch_all())])),
        }
    }
}

impl RulesCache {
    /// Forgets everything if the proxy changed, and with it what applies.
    pub(super) fn begin(&mut self, proxy: u64) {
        if self.proxy != proxy {
            self.cached.clear();
            self.proxy = proxy;
        }
    }

    /// Forgets the rules of VirtualServices that are gone. What a table did not ask for is kept,
    /// since a table that is taken as it was asks for nothing.
    pub(super) fn end(&mut self, revisions: &HashSet<u64>) {
        let is_there = |(revision, _): &(u64, Place)| revisions.contains(revision);
        self.cached.retain(|parts, _| parts.iter().all(is_there));
    }
}

// === impl Compiler ===

impl Compiler<'_> {
    /// The rules that some VirtualServices have at some places, one after the other; nothing if
    /// none applies.
    pub(super) fn rules(&mut self, parts: &[(&StoredRoutes, Place)]) -> Option<Arc<Rules>> {
        let key: Vec<_> = parts
            .iter()
            .map(|(routes, place)| (routes.revision, place.clone()))
            .collect();
        let (selected, matcher) = match self.cache.rules.cached.get(&key) {
            // Rules that no table had for a while may name clusters that are forgotten since.
            Some(cached)
                if cached.rules.0 == self.epoch
                    && self.cache.clusters.keep(cached.rules.1.clusters()) =>
            {
                return Some(Arc::clone(&cached.rules.1));
            }
            Some(cached) => (Arc::clone(&cached.selected), Arc::clone(&cached.matcher)),
            None => {
                let selected = self.select(parts);
                if selected.is_empty() {
                    return None;
                }
                let entries = selected.iter().map(|one| Arc::clone(&one.entry)).collect();
                (Arc::new(selected), Arc::new(Matcher::compile(entries)))
            }
        };
        // The blocks of a rule differ in their conditions only.
        let mut policies = HashMap::new();
        let routes = selected.iter();
        let routes = routes
            .map(|one| self.route(parts, one, &mut policies))
            .collect();
        let rules = Arc::new(Rules {
            matcher: Arc::clone(&matcher),
            routes,
        });
        let cached = Cached {
            selected,
            matcher,
            rules: (self.epoch, Arc::clone(&rules)),
        };
        self.cache.rules.cached.insert(key, cached);
        Some(rules)
    }

    /// One route for everything.
    pub(super) fn single_rule(&self, route: Route) -> Arc<Rules> {
        Arc::new(Rules {
            matcher: Arc::clone(&self.cache.rules.catch_all),
            routes: Box::new([route]),
        })
    }

    /// The entries of all parts in order. One part ends at its first entry that takes
    /// everything; where several meet, those entries come after all others.
    fn select(&self, parts: &[(&StoredRoutes, Place)]) -> Vec<Selected> {
        let mut selected = Vec::new();
        for (part, (routes, place)) in parts.iter().enumerate() {
            for one in routes.body.select(place, self.proxy, part) {
                let is_last = one.entry.is_catch_all();
                selected.push(one);
                if is_last {
                    break;
                }
            }
        }
        if parts.len() > 1 {
            // A stable sort keeps the order of age within both halves.
            selected.sort_by_key(|one| one.entry.is_catch_all());
        }
        selected
    }

    fn route(
        &mut self,
        parts: &[(&StoredRoutes, Place)],
        selected: &Selected,
        policies: &mut HashMap<(usize, usize), Arc<RoutePolicy>>,
    ) -> Route {
        let (routes, place) = &parts[selected.part];
        let rule = &routes.body.spec.http[selected.rule];
        let block = rule.matches.get(selected.block);
        let name = match block.map(|block| block.name.as_str()) {
            None | Some("") => rule.name.clone(),
            Some(block) => format!("{}.{block}", rule.name),
        };
        Route {
            name: name.into(),
            origin: routes
                .body
                .origin(&routes.object, selected.rule, selected.block),
            action: self.action(rule, place.port),
            policy: Arc::clone(
                policies
                    .entry((selected.part, selected.rule))
                    .or_insert_with(|| {
                        let actions = &routes.body.actions[selected.rule];
                        Arc::new(self.policy(rule, actions, place.port))
                    }),
            ),
            matched: selected.entry.path.matched(),
        }
    }
}
