//! What types exist: the built-in ones and those that CustomResourceDefinitions add at run time.
//!
//! A [`Resource`] is all that the generic handlers know about a type. The registry is a value that
//! is replaced as a whole, so that a request sees one state of it.

pub(crate) mod builtin;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::schema::Schema;
use super::status::{Failure, group_resource};

/// A type of objects in all of its versions.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    /// In order of preference.
    pub(crate) versions: Vec<Version>,
    /// The version that objects are stored in.
    pub(crate) storage_version: String,
    /// The table of the store.
    pub(crate) table: String,
    /// Whether `metadata.generation` counts the changes of the spec.
    pub(crate) has_generation: bool,
    pub(crate) verbs: &'static [&'static str],
    /// Whether a CustomResourceDefinition defines it.
    pub(crate) is_custom: bool,
    /// Paths beyond name and namespace that field selectors may use.
    pub(crate) selectable: Vec<String>,
}

/// A type in one version.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) schema: Schema,
    pub(crate) subresources: Vec<String>,
    /// Where `scale` finds its numbers.
    pub(crate) scale: Option<ScalePaths>,
    /// The printer columns of a custom type.
    pub(crate) columns: Vec<Column>,
    /// What users of a deprecated version are told.
    pub(crate) warning: Option<String>,
}

/// Paths of the numbers that `scale` shows, as keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScalePaths {
    pub(crate) spec: Vec<String>,
    pub(crate) status: Vec<String>,
    pub(crate) selector: Option<Vec<String>>,
}

/// A printer column of a custom type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) format: String,
    pub(crate) description: String,
    pub(crate) priority: i64,
    pub(crate) path: String,
}

/// The verbs of a type with everything.
pub(crate) const ALL_VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// The verbs of a type whose objects are questions, answered and forgotten.
pub(crate) const CREATE_ONLY: &[&str] = &["create"];

/// All types, by group and plural.
#[derive(Clone)]
pub(crate) struct Types(BTreeMap<(String, String), Arc<Resource>>);

/// The types of a server.
pub(crate) struct Registry(RwLock<Arc<Types>>);

// === impl Resource ===

impl Resource {
    pub(crate) fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.name == name)
    }

    /// `deployments.apps`, as messages name the type.
    pub(crate) fn qualified(&self) -> String {
        group_resource(&self.group, &self.plural)
    }

    pub(crate) fn not_found(&self, name: &str) -> Failure {
        Failure::not_found(&self.group, &self.plural, name)
    }

    pub(crate) fn already_exists(&self, name: &str) -> Failure {
        Failure::already_exists(&self.group, &self.plural, name)
    }

    pub(crate) fn modified(&self, name: &str) -> Failure {
        Failure::modified(&self.group, &self.plural, name)
    }

    pub(crate) fn forbidden(&self, name: &str, why: &str) -> Failure {
        Failure::forbidden(&self.group, &self.plural, name, why)
    }

    /// Whether this is the built-in type `plural` of `group`.
    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }
}

// === impl Version ===

impl Version {
    pub(crate) fn has(&self, subresource: &str) -> bool {
        self.subresources.iter().any(|name| name == subresource)
    }
}

// === impl Types ===

impl Types {
    /// A type by group and plural.
    pub(crate) fn get(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.0.get(&(group.to_owned(), plural.to_owned()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.0.values()
    }

    /// The groups with their versions, the preferred one first. The core group comes first, then
    /// Kubernetes' own, then custom ones.
    pub(crate) fn groups(&self) -> Vec<(String, Vec<String>)> {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        for resource in self.iter() {
            let position = groups.iter().position(|(name, _)| *name == resource.group);
            let index = position.unwrap_or_else(|| {
                groups.push((resource.group.clone(), Vec::new()));
                groups.len() - 1
            });
            for version in &resource.versions {
                if !groups[index].1.contains(&version.name) {
                    groups[index].1.push(version.name.clone());
                }
            }
        }
        for (_, versions) in &mut groups {
            versions.sort_by_key(|version| std::cmp::Reverse(version_priority(version)));
        }
        groups.sort_by_key(|(name, _)| builtin::group_order(name));
        groups
    }
}

// === impl Registry ===

impl Registry {
    /// A registry of the built-in types.
    pub(crate) fn new() -> Self {
        let types = builtin::resources()
            .map(|resource| {
                let key = (resource.group.clone(), resource.plural.clone());
                (key, Arc::new(resource))
            })
            .collect();
        Self(RwLock::new(Arc::new(Types(types))))
    }

    /// The types as they are now.
    pub(crate) fn types(&self) -> Arc<Types> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Adds a type, or replaces it.
    pub(crate) fn put(&self, resource: Resource) {
        let mut types = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let key = (resource.group.clone(), resource.plural.clone());
        Arc::make_mut(&mut types).0.insert(key, Arc::new(resource));
    }

    /// Removes a type.
    pub(crate) fn remove(&self, group: &str, plural: &str) {
        let mut types = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let key = (group.to_owned(), plural.to_owned());
        Arc::make_mut(&mut types).0.remove(&key);
    }
}

/// Orders versions as Kubernetes does: `v2`, `v1`, `v1beta2`, `v1beta1`, `v1alpha1`, others.
pub(crate) fn version_priority(version: &str) -> (u8, u32, u32, std::cmp::Reverse<String>) {
    let name = std::cmp::Reverse(version.to_owned());
    let parse = || -> Option<(u8, u32, u32)> {
        let rest = version.strip_prefix('v')?;
        for (word, stability) in [("beta", 2), ("alpha", 1)] {
            if let Some((major, minor)) = rest.split_once(word) {
                return Some((stability, major.parse().ok()?, minor.parse().ok()?));
            }
        }
        Some((3, rest.parse().ok()?, 0))
    };
    let (stability, major, minor) = parse().unwrap_or((0, 0, 0));
    (stability, major, minor, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_versions_come_before_beta_and_alpha() {
        let mut versions = ["v1alpha3", "foo", "v1beta1", "v1", "v2", "v1beta2"];
        versions.sort_by_key(|version| std::cmp::Reverse(version_priority(version)));
        assert_eq!(
            versions,
            ["v2", "v1", "v1beta2", "v1beta1", "v1alpha3", "foo"]
        );
    }

    #[test]
    fn every_built_in_type_has_a_definition() {
        let definitions = super::super::schema::definitions();
        for resource in Registry::new().types().iter() {
            let Schema::Builtin(name) = resource.versions[0].schema else {
                panic!("{} has no definition", resource.kind);
            };
            assert!(definitions.contains_key(name), "{name}");
        }
    }
}
