//! DestinationRules: whether their host exists and their subsets select anything.

use super::set::{Parsed, Set};
use super::{Findings, Level, code};
use crate::spec::destination_rule::DestinationRule;
use crate::spec::virtual_service::VirtualService;

/// Analyses every DestinationRule.
pub(super) fn analyze(set: &Set<'_>, findings: &mut Findings) {
    let services = set.services();
    let workloads = set.workloads();
    let routes = set.virtual_services();
    for rule in set.destination_rules() {
        // That it is missing is validation's to say, once.
        if rule.spec.host.is_empty() {
            continue;
        }
        let namespace = rule.subject.namespace;
        let pattern = set.pattern(&rule.spec.host, namespace);
        let behind = services.matching(&pattern);
        if behind.is_empty() {
            let text = format!("the host {:?} ({pattern}) does not exist", rule.spec.host);
            findings.add(&code::UNKNOWN_HOST, rule.subject, "spec.host", text);
            continue;
        }
        for (index, subset) in rule.spec.subsets.iter().enumerate() {
            let answers = behind
                .iter()
                .map(|s| s.has_endpoint(&subset.labels, &workloads));
            let known: Vec<bool> = answers.flatten().collect();
            if subset.labels.is_empty() || known.is_empty() || known.contains(&true) {
                continue;
            }
            // A subset that nothing uses harms nobody, such as those that are prepared for later.
            let is_used = is_routed_to(&rule, &subset.name, &routes, set);
            let level = if is_used {
                Level::Error
            } else {
                Level::Warning
            };
            let text = format!("the subset {:?} selects no pods", subset.name);
            let field = format!("spec.subsets[{index}].labels");
            findings.add_at(
                level,
                &code::SUBSET_WITHOUT_PODS,
                rule.subject,
                &field,
                text,
            );
        }
    }
}

/// Answers whether a VirtualService sends traffic to a subset of the rule.
fn is_routed_to(
    rule: &Parsed<'_, DestinationRule>,
    subset: &str,
    routes: &[Parsed<'_, VirtualService>],
    set: &Set<'_>,
) -> bool {
    let pattern = set.pattern(&rule.spec.host, rule.subject.namespace);
    routes.iter().any(|routes| {
        let namespace = routes.subject.namespace;
        let http = routes
            .spec
            .http
            .iter()
            .flat_map(|rule| &rule.route)
            .map(|e| &e.destination);
        let tls = routes
            .spec
            .tls
            .iter()
            .flat_map(|rule| &rule.route)
            .map(|e| &e.destination);
        let tcp = routes
            .spec
            .tcp
            .iter()
            .flat_map(|rule| &rule.route)
            .map(|e| &e.destination);
        http.chain(tls).chain(tcp).any(|destination| {
            destination.subset == subset
                && pattern.matches(set.host(&destination.host, namespace).as_str())
        })
    })
}
