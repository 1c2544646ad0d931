//! What the objects of RBAC say about somebody: roles, and the bindings that give them.
//!
//! This server lets every authenticated user do everything. What RBAC would say is still asked:
//! programs of the cluster decide by it whom *they* serve (`SubjectAccessReview`), and those
//! decisions must not depend on where the cluster runs.

use std::sync::Arc;

use serde_json::Value;

use super::object;
use super::store::{Key, Store};

/// Who may do everything, whatever the objects say.
const MASTERS: &str = "system:masters";

/// Whether somebody may do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// The user's name; empty if only groups are asked about.
    pub(crate) user: String,
    /// The user's groups.
    pub(crate) groups: Vec<String>,
    /// `get`, `list` and so on.
    pub(crate) verb: String,
    /// What it is done to.
    pub(crate) object: Object,
}

/// What something is done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Object {
    /// Objects of the API.
    Resource {
        /// The namespace; empty for all of them, and for what has none.
        namespace: String,
        /// The group; empty for the core.
        group: String,
        /// The plural, with `/subresource` if it is one.
        resource: String,
        /// The object's name; empty for all of them.
        name: String,
    },
    /// Another path.
    Path(String),
}

/// Answers a question: the binding that allows it, or nothing if none does.
pub(crate) fn allowed_by(store: &Store, question: &Question) -> Option<String> {
    if question.groups.iter().any(|group| group == MASTERS) {
        return Some(format!("group {MASTERS} may do everything"));
    }
    let given = |kind: &str, binding: &Arc<Value>, namespace: &str| {
        let subjects = object::items(binding, &["subjects"]);
        if !subjects.iter().any(|one| question.is_about(one, namespace)) {
            return None;
        }
        let role = role(store, binding, namespace)?;
        let rules = object::items(&role, &["rules"]);
        rules.iter().any(|rule| question.is_in(rule)).then(|| {
            let reference = &binding["roleRef"];
            format!(
                "RBAC: allowed by {kind} {:?} of {} {:?}",
                object::name(binding),
                object::text(reference, &["kind"]),
                object::text(reference, &["name"]),
            )
        })
    };
    let (everywhere, _) = store.list("clusterrolebindings.rbac.authorization.k8s.io", "", None);
    let by_cluster = everywhere
        .iter()
        .find_map(|binding| given("ClusterRoleBinding", binding, ""));
    by_cluster.or_else(|| {
        let Object::Resource { namespace, .. } = &question.object else {
            return None;
        };
        if namespace.is_empty() {
            return None;
        }
        let (here, _) = store.list("rolebindings.rbac.authorization.k8s.io", namespace, None);
        here.iter()
            .find_map(|binding| given("RoleBinding", binding, namespace))
    })
}

/// The role that a binding gives.
fn role(store: &Store, binding: &Value, namespace: &str) -> Option<Arc<Value>> {
    let reference = &binding["roleRef"];
    let name = object::text(reference, &["name"]);
    match object::text(reference, &["kind"]) {
        "ClusterRole" => store.get(
            "clusterroles.rbac.authorization.k8s.io",
            &Key::new("", name),
        ),
        "Role" if !namespace.is_empty() => store.get(
            "roles.rbac.authorization.k8s.io",
            &Key::new(namespace, name),
        ),
        _ => None,
    }
}

fn contains(list: &Value, key: &str, wanted: impl Fn(&str) -> bool) -> bool {
    let items = object::items(list, &[key]);
    items.iter().filter_map(Value::as_str).any(wanted)
}

// === impl Question ===

impl Question {
    /// Answers whether a subject of a binding in this namespace is who is asked about.
    fn is_about(&self, subject: &Value, namespace: &str) -> bool {
        let name = object::text(subject, &["name"]);
        match object::text(subject, &["kind"]) {
            "User" => self.user == name,
            "Group" => self.groups.iter().any(|group| group == name),
            "ServiceAccount" => {
                let own = object::text(subject, &["namespace"]);
                let namespace = if own.is_empty() { namespace } else { own };
                !namespace.is_empty()
                    && self.user == format!("system:serviceaccount:{namespace}:{name}")
            }
            _ => false,
        }
    }

    /// Answers whether a rule covers it.
    fn is_in(&self, rule: &Value) -> bool {
        let one_of = |key, wanted: &str| contains(rule, key, |item| item == "*" || item == wanted);
        if !one_of("verbs", &self.verb) {
            return false;
        }
        match &self.object {
            Object::Path(path) => contains(rule, "nonResourceURLs", |pattern| {
                match pattern.strip_suffix('*') {
                    Some(start) => path.starts_with(start),
                    None => path == pattern,
                }
            }),
            Object::Resource {
                group,
                resource,
                name,
                ..
            } => {
                let is_resource = |item: &str| {
                    item == "*"
                        || item == resource
                        || item.strip_prefix("*/").is_some_and(|sub| {
                            resource.split_once('/').is_some_and(|(_, own)| own == sub)
                        })
                };
                one_of("apiGroups", group)
                    && contains(rule, "resources", is_resource)
                    && (object::items(rule, &["resourceNames"]).is_empty()
                        || contains(rule, "resourceNames", |item| item == name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GATEWAY: &str = "system:serviceaccount:edge:gateway";

    fn store(objects: &[Value]) -> Store {
        let store = Store::open(None, 16).unwrap();
        for object in objects {
            let kind = object::text(object, &["kind"]).to_ascii_lowercase();
            let table = format!("{kind}s.rbac.authorization.k8s.io");
            store.insert(&table, object.clone()).unwrap();
        }
        store
    }

    fn role(kind: &str, namespace: &str, name: &str, rules: &Value) -> Value {
        json!({ "kind": kind, "metadata": { "namespace": namespace, "name": name }, "rules": [rules] })
    }

    fn binding(namespace: &str, role: (&str, &str), subject: &Value) -> Value {
        let kind = if namespace.is_empty() {
            "ClusterRoleBinding"
        } else {
            "RoleBinding"
        };
        json!({
            "kind": kind,
            "metadata": { "namespace": namespace, "name": "b" },
            "roleRef": { "kind": role.0, "name": role.1 },
            "subjects": [subject],
        })
    }

    fn secrets() -> Value {
        json!({ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"] })
    }

    fn may(store: &Store, user: &str, verb: &str, namespace: &str, resource: &str) -> bool {
        let question = Question {
            user: user.into(),
            groups: vec!["system:serviceaccounts:edge".into()],
            verb: verb.into(),
            object: Object::Resource {
                namespace: namespace.into(),
                group: String::new(),
                resource: resource.into(),
                name: String::new(),
            },
        };
        allowed_by(store, &question).is_some()
    }

    #[test]
    fn a_role_is_good_in_its_namespace_for_those_it_is_bound_to() {
        let subject = json!({ "kind": "ServiceAccount", "name": "gateway", "namespace": "edge" });
        let store = store(&[
            role("Role", "edge", "sds", &secrets()),
            binding("edge", ("Role", "sds"), &subject),
        ]);
        assert!(may(&store, GATEWAY, "list", "edge", "secrets"));
        assert!(!may(&store, GATEWAY, "delete", "edge", "secrets"));
        assert!(!may(&store, GATEWAY, "list", "other", "secrets"));
        assert!(!may(&store, GATEWAY, "list", "", "secrets"));
        assert!(!may(&store, GATEWAY, "list", "edge", "configmaps"));
        assert!(!may(&store, GATEWAY, "list", "edge", "secrets/status"));
        assert!(!may(
            &store,
            "system:serviceaccount:edge:default",
            "list",
            "edge",
            "secrets"
        ));
        assert!(!may(
            &store,
            "system:serviceaccount:other:gateway",
            "list",
            "edge",
            "secrets"
        ));
    }

    #[test]
    fn a_cluster_role_is_good_where_it_is_bound() {
        let group = json!({ "kind": "Group", "name": "system:serviceaccounts:edge" });
        let one = store(&[
            role("ClusterRole", "", "sds", &secrets()),
            binding("edge", ("ClusterRole", "sds"), &group),
        ]);
        assert!(may(&one, GATEWAY, "get", "edge", "secrets"));
        assert!(!may(&one, GATEWAY, "get", "other", "secrets"));
        let all = store(&[
            role("ClusterRole", "", "sds", &secrets()),
            binding("", ("ClusterRole", "sds"), &group),
        ]);
        assert!(may(&all, GATEWAY, "get", "other", "secrets"));
        assert!(may(&all, GATEWAY, "get", "", "secrets"));
        // A role that is not there gives nothing.
        let none = store(&[binding("", ("ClusterRole", "sds"), &group)]);
        assert!(!may(&none, GATEWAY, "get", "other", "secrets"));
    }

    #[test]
    fn rules_name_objects_subresources_and_paths() {
        let question = |resource: &str, name: &str| Question {
            user: "ann".into(),
            groups: Vec::new(),
            verb: "get".into(),
            object: Object::Resource {
                namespace: "edge".into(),
                group: "apps".into(),
                resource: resource.into(),
                name: name.into(),
            },
        };
        let named = json!({ "apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["*"],
                            "resourceNames": ["a"] });
        assert!(question("deployments", "a").is_in(&named));
        assert!(!question("deployments", "b").is_in(&named));
        assert!(!question("deployments", "").is_in(&named));
        let scales = json!({ "apiGroups": ["*"], "resources": ["*/scale"], "verbs": ["get"] });
        assert!(question("deployments/scale", "a").is_in(&scales));
        assert!(!question("deployments/status", "a").is_in(&scales));
        assert!(!question("deployments", "a").is_in(&scales));
        let path = |path: &str| Question {
            object: Object::Path(path.into()),
            ..question("", "")
        };
        let paths = json!({ "nonResourceURLs": ["/healthz", "/metrics/*"], "verbs": ["get"] });
        assert!(path("/healthz").is_in(&paths) && path("/metrics/x").is_in(&paths));
        assert!(!path("/healthz/x").is_in(&paths) && !path("/").is_in(&paths));
    }
}
