//! Which webhooks a request concerns.

use serde_json::Value;

use crate::apiserver::call::{Call, Verb};
use crate::apiserver::object;
use crate::apiserver::selector::LabelSelector;
use crate::apiserver::server::Core;
use crate::apiserver::store::Key;

/// What is being done, as rules name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Update,
    Delete,
}

// === impl Operation ===

impl Operation {
    pub(super) fn of(call: &Call, old: Option<&Value>) -> Self {
        match (call.verb, old) {
            (Verb::Delete | Verb::DeleteCollection, _) => Self::Delete,
            (_, Some(_)) => Self::Update,
            (_, None) => Self::Create,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// The version of the type in which a webhook wants to see the request; nothing if the request
/// does not concern it.
pub(super) fn matching_version(
    webhook: &Value,
    call: &Call,
    operation: Operation,
) -> Option<String> {
    let is_equivalent = object::text(webhook, &["matchPolicy"]) != "Exact";
    let own = &call.version().name;
    let others = call.resource.versions.iter().map(|version| &version.name);
    let others = others.filter(|name| is_equivalent && *name != own);
    std::iter::once(own)
        .chain(others)
        .find(|version| {
            let mut rules = object::items(webhook, &["rules"]).iter();
            rules.any(|rule| rule_matches(rule, call, version, operation))
        })
        .cloned()
}

fn rule_matches(rule: &Value, call: &Call, version: &str, operation: Operation) -> bool {
    let resource = &call.resource;
    let has = |key: &str, wanted: &str| {
        let list = object::items(rule, &[key]);
        list.iter().any(|one| one == "*" || one == wanted)
    };
    // A namespace is an object of the cluster.
    let scope = match object::text(rule, &["scope"]) {
        "Namespaced" => resource.namespaced,
        "Cluster" => !resource.namespaced,
        _ => true,
    };
    scope
        && has("operations", operation.name())
        && has("apiGroups", &resource.group)
        && has("apiVersions", version)
        && object::items(rule, &["resources"])
            .iter()
            .filter_map(Value::as_str)
            .any(|pattern| resource_matches(pattern, &resource.plural, &call.subresource))
}

fn resource_matches(pattern: &str, plural: &str, subresource: &str) -> bool {
    let (wanted, wanted_sub) = pattern.split_once('/').unwrap_or((pattern, ""));
    let is_sub = wanted_sub == subresource || (wanted_sub == "*" && pattern.contains('/'));
    (wanted == "*" || wanted == plural) && is_sub
}

/// Whether the selectors of a webhook select the request's object and namespace.
pub(super) fn selects(
    core: &Core,
    webhook: &Value,
    call: &Call,
    new: Option<&Value>,
    old: Option<&Value>,
) -> Result<bool, String> {
    let selector = LabelSelector::from_value(&webhook["objectSelector"])?;
    let is_selected = |object: Option<&Value>| object.is_some_and(|one| selector.matches(one));
    if !selector.is_empty() && !is_selected(new) && !is_selected(old) {
        return Ok(false);
    }
    let selector = LabelSelector::from_value(&webhook["namespaceSelector"])?;
    if selector.is_empty() {
        return Ok(true);
    }
    if call.resource.is("", "namespaces") {
        return Ok(new
            .or(old)
            .is_some_and(|namespace| selector.matches(namespace)));
    }
    if call.namespace.is_empty() {
        return Ok(true);
    }
    let namespace = core.store.get("namespaces", &Key::new("", &call.namespace));
    Ok(namespace.is_some_and(|namespace| selector.matches(&namespace)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_of_rules_name_types_and_subresources() {
        for (pattern, plural, sub, expected) in [
            ("pods", "pods", "", true),
            ("pods", "pods", "status", false),
            ("pods/*", "pods", "status", true),
            ("pods/status", "pods", "status", true),
            ("*", "pods", "", true),
            ("*", "pods", "status", false),
            ("*/*", "pods", "", true),
            ("*/scale", "deployments", "scale", true),
            ("services", "pods", "", false),
        ] {
            assert_eq!(
                resource_matches(pattern, plural, sub),
                expected,
                "{pattern} {plural}/{sub}"
            );
        }
    }
}
