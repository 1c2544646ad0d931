//! Delegates: the rules of a VirtualService without hosts in place of a rule that names it.
//!
//! Each rule of the delegate takes over what it leaves unset from the rule that delegates, and
//! its blocks are narrowed by those of that rule, each by each. A block that could match what the
//! delegating rule does not is in conflict; a rule with a block that is in conflict with all of
//! them is left out as a whole. Istio does that silently, here it is noted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lateen_model::http::{Fault, HeaderRules, HttpAction, HttpRule};
use lateen_model::route::{HttpMatch, StringMatch, ValueMatch};
use lateen_model::{ObjectRef, ResourceName};

use super::rules::{Routes, StoredRoutes};
use crate::registry::Stored;

/// The VirtualServices that delegate, with the rules of their delegates in place.
#[derive(Debug, Default)]
pub(crate) struct Delegations {
    /// By the revision of the VirtualService as it was written.
    made: HashMap<u64, Delegation>,
}

#[derive(Debug)]
struct Delegation {
    /// The revisions of the delegates; zero for one that cannot be used.
    delegates: Vec<u64>,
    routes: StoredRoutes,
}

/// A rule with the place where it was written.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(super) object: Arc<ObjectRef>,
    /// Its index there.
    pub(super) index: usize,
    /// The index there of each of its blocks.
    pub(super) blocks: Vec<usize>,
    pub(super) rule: HttpRule,
}

// === impl Delegations ===

impl Delegations {
    /// Puts delegates in place where something changed. `revision` counts versions of resources.
    pub(crate) fn update(
        &mut self,
        all: &BTreeMap<ResourceName, StoredRoutes>,
        revision: &mut u64,
    ) {
        let mut last = std::mem::take(&mut self.made);
        let delegating = |routes: &&StoredRoutes| routes.body.delegates && !routes.is_delegate();
        let roots: Vec<_> = all.values().filter(delegating).collect();
        if roots.is_empty() {
            return;
        }
        let delegates = all.values().filter(|routes| routes.is_delegate());
        let by_name: HashMap<_, _> = delegates
            .map(|routes| ((&*routes.object.namespace, &*routes.object.name), routes))
            .collect();
        for root in roots {
            let named = root.body.spec.http.iter().filter_map(delegate_of);
            let found: Vec<_> = named
                .map(|name| by_name.get(&name).copied().filter(|it| is_open(it, root)))
                .collect();
            let revisions = found.iter().map(|it| it.map_or(0, |it| it.revision));
            let revisions: Vec<_> = revisions.collect();
            let made = last.remove(&root.revision);
            let made = made.filter(|made| made.delegates == revisions);
            let made = made.unwrap_or_else(|| {
                *revision += 1;
                Delegation::new(root, &found, revisions, *revision)
            });
            self.made.insert(root.revision, made);
        }
    }

    /// What a VirtualService says with its delegates in place: itself, if it has none.
    pub(crate) fn resolve<'r>(&'r self, routes: &'r StoredRoutes) -> &'r StoredRoutes {
        let made = self.made.get(&routes.revision);
        made.map_or(routes, |made| &made.routes)
    }

    /// The revisions of what was put together here.
    pub(crate) fn revisions(&self) -> impl Iterator<Item = u64> {
        self.made.values().map(|made| made.routes.revision)
    }
}

/// The delegate that a rule names.
fn delegate_of(rule: &HttpRule) -> Option<(&str, &str)> {
    match &rule.action {
        HttpAction::Delegate { namespace, name } => Some((namespace, name)),
        HttpAction::Route(_) | HttpAction::Redirect(_) | HttpAction::DirectResponse(_) => None,
    }
}

/// Answers whether a delegate may be used by a VirtualService.
fn is_open(delegate: &StoredRoutes, root: &StoredRoutes) -> bool {
    let namespace = &root.body.spec.namespace;
    delegate.body.spec.export_to.allows(namespace)
}

// === impl Delegation ===

impl Delegation {
    /// `found` has the delegate of each rule that names one.
    fn new(
        root: &StoredRoutes,
        found: &[Option<&StoredRoutes>],
        delegates: Vec<u64>,
        revision: u64,
    ) -> Self {
        let mut notices = Vec::new();
        let mut rules = Vec::new();
        let mut found = found.iter();
        for (at, rule) in root.body.spec.http.iter().enumerate() {
            let Some((namespace, name)) = delegate_of(rule) else {
                rules.push(Written {
                    object: Arc::clone(&root.object),
                    index: at,
                    blocks: (0..rule.matches.len()).collect(),
                    rule: rule.clone(),
                });
                continue;
            };
            match found.next() {
                Some(Some(delegate)) => put_in_place(at, rule, delegate, &mut rules, &mut notices),
                Some(None) | None => notices.push(format!(
                    "http[{at}]: this rule is left out: the delegate VirtualService \
                     {namespace}/{name} does not exist, has hosts of its own, or is not exported \
                     to namespace {}",
                    root.body.spec.namespace
                )),
            }
        }
        let mut body = Routes::merged(&root.body.spec, rules).unwrap_or_else(|error| {
            notices.push(format!("its delegates cannot be put in place: {error}"));
            Routes::empty(&root.body.spec)
        });
        body.notices = notices;
        let routes = Arc::new(Stored {
            source: root.source.clone(),
            object: Arc::clone(&root.object),
            revision,
            body,
        });
        Self { delegates, routes }
    }
}

/// Adds the rules of a delegate in place of the rule that names it.
fn put_in_place(
    at: usize,
    root: &HttpRule,
    delegate: &StoredRoutes,
    rules: &mut Vec<Written>,
    notices: &mut Vec<String>,
) {
    for (index, own) in delegate.body.spec.http.iter().enumerate() {
        let problem = if delegate_of(own).is_some() {
            "delegates itself, which is possible only once"
        } else if let Some((blocks, matches)) = narrow(&root.matches, &own.matches) {
            rules.push(Written {
                object: Arc::clone(&delegate.object),
                index,
                blocks,
                rule: inherit(root, own, matches),
            });
            continue;
        } else {
            "has a match that does not lie within any match of this rule"
        };
        notices.push(format!(
            "http[{at}]: rule http[{index}] of {} is left out: it {problem}",
            delegate.object
        ));
    }
}

/// A delegate's rule with what it leaves unset.
fn inherit(root: &HttpRule, own: &HttpRule, matches: Vec<HttpMatch>) -> HttpRule {
    let or = |is_unset: bool| if is_unset { root } else { own };
    HttpRule {
        name: join(&root.name, &own.name),
        matches,
        action: own.action.clone(),
        rewrite: own.rewrite.as_ref().or(root.rewrite.as_ref()).cloned(),
        timeout: own.timeout.or(root.timeout),
        retries: own.retries.as_ref().or(root.retries.as_ref()).cloned(),
        fault: or(own.fault == Fault::default()).fault.clone(),
        mirrors: or(own.mirrors.is_empty()).mirrors.clone(),
        cors: own.cors.as_ref().or(root.cors.as_ref()).cloned(),
        headers: or(own.headers == HeaderRules::default()).headers.clone(),
    }
}

fn join(root: &str, own: &str) -> String {
    match (root, own) {
        ("", name) | (name, "") => name.to_owned(),
        (root, own) => format!("{root}-{own}"),
    }
}

/// The blocks of a delegate's rule, each narrowed by each of those of the delegating one that it
/// is not in conflict with, and the index of each; nothing if one is in conflict with all.
fn narrow(root: &[HttpMatch], own: &[HttpMatch]) -> Option<(Vec<usize>, Vec<HttpMatch>)> {
    if own.is_empty() {
        return Some((vec![0; root.len()], root.to_vec()));
    }
    if root.is_empty() {
        return Some(((0..own.len()).collect(), own.to_vec()));
    }
    let mut indexes = Vec::new();
    let mut blocks = Vec::new();
    for (at, block) in own.iter().enumerate() {
        let above: Vec<_> = root.iter().filter(|one| is_within(one, block)).collect();
        if above.is_empty() {
            return None;
        }
        for one in above {
            indexes.push(at);
            blocks.push(both(one, block));
        }
    }
    Some((indexes, blocks))
}

/// A block that holds where both do: what is set in both is narrower in the delegate's.
fn both(root: &HttpMatch, own: &HttpMatch) -> HttpMatch {
    let text = |own: &Option<StringMatch>, root: &Option<StringMatch>| {
        own.as_ref().or(root.as_ref()).cloned()
    };
    let mut source_labels = root.source_labels.clone();
    source_labels.extend(own.source_labels.clone());
    HttpMatch {
        name: join(&root.name, &own.name),
        uri: text(&own.uri, &root.uri),
        ignore_uri_case: own.ignore_uri_case,
        scheme: text(&own.scheme, &root.scheme),
        method: text(&own.method, &root.method),
        authority: text(&own.authority, &root.authority),
        headers: union(&root.headers, &own.headers),
        without_headers: union(&root.without_headers, &own.without_headers),
        query_params: union(&root.query_params, &own.query_params),
        port: own.port.or(root.port),
        source_labels,
        source_namespace: own
            .source_namespace
            .as_ref()
            .or(root.source_namespace.as_ref())
            .cloned(),
        gateways: if own.gateways.is_empty() {
            root.gateways.clone()
        } else {
            own.gateways.clone()
        },
    }
}

type Values = [(String, ValueMatch)];

/// The conditions of both, for a name in both that of the delegate.
fn union(root: &Values, own: &Values) -> Vec<(String, ValueMatch)> {
    let inherited = root
        .iter()
        .filter(|(name, _)| own.iter().all(|(one, _)| one != name));
    let mut all: Vec<_> = inherited.chain(own).cloned().collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

/// Answers whether a delegate's block is not in conflict with one of the delegating rule: all
/// that is set in both is narrower in the delegate's, or equal.
fn is_within(root: &HttpMatch, own: &HttpMatch) -> bool {
    let texts = [
        (&root.uri, &own.uri),
        (&root.scheme, &own.scheme),
        (&root.method, &own.method),
        (&root.authority, &own.authority),
    ];
    let values = [
        (&root.headers, &own.headers),
        (&root.without_headers, &own.without_headers),
        (&root.query_params, &own.query_params),
    ];
    let labels = own.source_labels.iter().all(|(key, value)| {
        let above = root.source_labels.get(key);
        above.is_none_or(|above| above == value)
    });
    texts.iter().all(|(root, own)| {
        let both = root.as_ref().zip(own.as_ref());
        both.is_none_or(|(root, own)| is_narrower(root, own))
    }) && values.iter().all(|(root, own)| are_narrower(root, own))
        && root.ignore_uri_case == own.ignore_uri_case
        && are_equal(root.port, own.port)
        && labels
        && are_equal(
            root.source_namespace.as_ref(),
            own.source_namespace.as_ref(),
        )
        && (root.gateways.is_empty() || own.gateways.iter().all(|it| root.gateways.contains(it)))
}

/// Answers whether two values are equal where both are set.
fn are_equal<T: PartialEq>(root: Option<T>, own: Option<T>) -> bool {
    root.zip(own).is_none_or(|(root, own)| root == own)
}

fn are_narrower(root: &Values, own: &Values) -> bool {
    own.iter().all(|(name, own)| {
        let mut same = root.iter().filter(|(one, _)| one == name);
        same.all(|(_, root)| match (root, own) {
            (ValueMatch::Value(root), ValueMatch::Value(own)) => is_narrower(root, own),
            // Istio takes presence for a conflict with whatever is asked of the same name.
            (ValueMatch::Present, _) | (_, ValueMatch::Present) => false,
        })
    })
}

/// Istio's comparison: what a regular expression matches is not compared with anything, and what
/// is empty counts as nothing that could be compared.
fn is_narrower(root: &StringMatch, own: &StringMatch) -> bool {
    match (root, own) {
        (StringMatch::Exact(root), StringMatch::Exact(own)) => !root.is_empty() && root == own,
        (StringMatch::Prefix(root), StringMatch::Prefix(own) | StringMatch::Exact(own)) => {
            !root.is_empty() && !own.is_empty() && own.starts_with(root.as_str())
        }
        (StringMatch::Exact(_), StringMatch::Prefix(_))
        | (StringMatch::Regex(_), _)
        | (_, StringMatch::Regex(_)) => false,
    }
}
