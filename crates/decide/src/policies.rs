//! DestinationRules as one proxy sees them: which one is for a service, merged where several are
//! written for the same host, and the policy of a port and subset.

use std::collections::HashMap;
use std::sync::Arc;

use lateen_model::destination::{DestinationRule, PortPolicy, RetryBudget, Subset, TrafficPolicy};
use lateen_model::service::{ExportTo, Service};
use lateen_model::{Host, HostPattern, Labels, ObjectRef, selects};

use crate::l4::specificity;
use crate::registry::Stored;

/// The DestinationRules of one proxy, by namespace.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    namespaces: HashMap<String, Rules>,
    /// Where to look, see [`Policies::find`].
    own: String,
    root: String,
}

/// The rules of one namespace.
#[derive(Debug, Default)]
struct Rules {
    exact: HashMap<Host, Vec<Merged>>,
    /// Widest last.
    wildcards: Vec<(HostPattern, Vec<Merged>)>,
}

/// The rules for one host that are seen by the same proxies.
#[derive(Debug)]
pub(crate) struct Merged {
    export_to: ExportTo,
    selector: Option<Labels>,
    policy: TrafficPolicy,
    subsets: Vec<Subset>,
    /// What it was merged of, oldest first.
    pub(crate) objects: Vec<Arc<ObjectRef>>,
}

// === impl Policies ===

impl Policies {
    /// Takes the rules in order of age.
    pub(crate) fn new<'s>(
        rules: impl Iterator<Item = &'s Arc<Stored<DestinationRule>>>,
        namespace: &str,
        labels: &Labels,
        root: &str,
    ) -> Self {
        let mut by_age: Vec<_> = rules
            .filter(|rule| is_for(&rule.body, namespace, labels))
            .collect();
        by_age.sort_by_key(|rule| rule.source.age_key());
        let mut namespaces: HashMap<String, Rules> = HashMap::new();
        for rule in by_age {
            let rules = namespaces.entry(rule.body.namespace.clone()).or_default();
            add(rules.of_host(&rule.body.host), rule);
        }
        for rules in namespaces.values_mut() {
            let by_width =
                |(pattern, _): &(HostPattern, _)| std::cmp::Reverse(specificity(pattern));
            rules.wildcards.sort_by_key(by_width);
        }
        Self {
            namespaces,
            own: namespace.to_owned(),
            root: root.to_owned(),
        }
    }

    /// The rule for a service: that of the proxy's namespace, else of the service's, else of the
    /// root namespace. The first namespace that has one for the host wins, and nothing is
    /// inherited from the others. Proxies of the root namespace take only its private rules in
    /// the first step, since the others are for everybody.
    pub(crate) fn find(&self, service: &Service) -> Option<&Merged> {
        let host = &service.key.host;
        let is_private = |rule: &Merged| {
            rule.selector.is_some()
                || matches!(&rule.export_to, ExportTo::Namespaces(list) if *list == [self.own.clone()])
        };
        let own = self
            .namespaces
            .get(&self.own)
            .and_then(|rules| rules.find(host, |rule| self.own != self.root || is_private(rule)));
        own.or_else(|| self.exported(&service.key.namespace, host))
            .or_else(|| self.exported(&self.root, host))
    }

    fn exported(&self, namespace: &str, host: &Host) -> Option<&Merged> {
        let rules = self.namespaces.get(namespace)?;
        rules.find(host, |rule| rule.selector.is_none())
    }
}

/// Answers whether the proxy sees the rule at all; one with a selector is for proxies of its own
/// namespace only.
fn is_for(rule: &DestinationRule, namespace: &str, labels: &Labels) -> bool {
    match &rule.workload_selector {
        Some(selector) => rule.namespace == namespace && selects(selector, labels),
        None => rule.export_to.allows(namespace),
    }
}

/// Merges a rule into those for the same host: subsets are appended, of equal names the first is
/// kept, and the oldest policy is kept.
fn add(merged: &mut Vec<Merged>, stored: &Stored<DestinationRule>) {
    let rule = &stored.body;
    let is_same =
        |one: &Merged| one.export_to == rule.export_to && one.selector == rule.workload_selector;
    let Some(same) = merged.iter_mut().find(|one| is_same(one)) else {
        let mut fresh = Merged {
            export_to: rule.export_to.clone(),
            selector: rule.workload_selector.clone(),
            policy: rule.policy.clone(),
            subsets: Vec::new(),
            objects: vec![Arc::clone(&stored.object)],
        };
        fresh.append(&rule.subsets);
        merged.push(fresh);
        return;
    };
    same.objects.push(Arc::clone(&stored.object));
    same.append(&rule.subsets);
    if same.policy == TrafficPolicy::default() {
        same.policy = rule.policy.clone();
    }
}

// === impl Rules ===

impl Rules {
    fn of_host(&mut self, host: &HostPattern) -> &mut Vec<Merged> {
        let HostPattern::Exact(exact) = host else {
            let at = self
                .wildcards
                .iter()
                .position(|(pattern, _)| pattern == host);
            let at = at.unwrap_or_else(|| {
                self.wildcards.push((host.clone(), Vec::new()));
                self.wildcards.len() - 1
            });
            return &mut self.wildcards[at].1;
        };
        self.exact.entry(exact.clone()).or_default()
    }

    /// The rule for a host: exact before the longest wildcard; for one pattern those that select
    /// workloads come first.
    fn find(&self, host: &Host, may: impl Fn(&Merged) -> bool) -> Option<&Merged> {
        let choose = |list: &'_ Vec<Merged>| -> Option<usize> {
            let selecting = list
                .iter()
                .position(|one| one.selector.is_some() && may(one));
            selecting.or_else(|| list.iter().position(&may))
        };
        let exact = self.exact.get(host);
        if let Some((list, at)) = exact.and_then(|list| Some((list, choose(list)?))) {
            return Some(&list[at]);
        }
        self.wildcards
            .iter()
            .filter(|(pattern, _)| pattern.matches(host.as_str()))
            .find_map(|(_, list)| Some(&list[choose(list)?]))
    }
}

// === impl Merged ===

impl Merged {
    fn append(&mut self, subsets: &[Subset]) {
        for subset in subsets {
            if self.subset(&subset.name).is_none() {
                self.subsets.push(subset.clone());
            }
        }
    }

    /// The names of the subsets.
    pub(crate) fn subset_names(&self) -> impl Iterator<Item = &str> {
        self.subsets.iter().map(|subset| subset.name.as_str())
    }

    /// A subset by name.
    pub(crate) fn subset(&self, name: &str) -> Option<&Subset> {
        self.subsets.iter().find(|subset| subset.name == name)
    }

    /// The policy of a port: a setting for the port replaces the general one as a whole, and a
    /// subset overrides block by block what the rule says.
    pub(crate) fn policy(&self, port: u16, subset: Option<&Subset>) -> PortPolicy {
        let base = for_port(&self.policy, port).unwrap_or(&self.policy.port_default);
        let Some(subset) = subset else {
            return base.clone();
        };
        if let Some(own) = for_port(&subset.policy, port) {
            return own.clone();
        }
        let over = &subset.policy.port_default;
        PortPolicy {
            load_balancer: over
                .load_balancer
                .clone()
                .or_else(|| base.load_balancer.clone()),
            connection_pool: over
                .connection_pool
                .clone()
                .or_else(|| base.connection_pool.clone()),
            outlier_detection: over
                .outlier_detection
                .clone()
                .or_else(|| base.outlier_detection.clone()),
            tls: over.tls.clone().or_else(|| base.tls.clone()),
        }
    }

    /// The budget of retries, which has no setting for single ports: that of the subset, else
    /// that of the rule.
    pub(crate) fn retry_budget<'r>(
        &'r self,
        subset: Option<&'r Subset>,
    ) -> Option<&'r RetryBudget> {
        let of_subset = subset.and_then(|subset| subset.policy.retry_budget.as_ref());
        of_subset.or(self.policy.retry_budget.as_ref())
    }
}

fn for_port(policy: &TrafficPolicy, port: u16) -> Option<&PortPolicy> {
    let of_port = policy.ports.iter().find(|(number, _)| *number == port);
    of_port.map(|(_, settings)| settings)
}
