//! What is done about one object: values in, actions out.

use std::collections::HashSet;
use std::sync::Arc;

use kube::api::PropagationPolicy;

use crate::controllers::inventory::Item;

/// The finalizer of an owner that waits for its dependents.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an owner that lets its dependents go.
pub(super) const ORPHAN: &str = "orphan";

/// What is the matter with an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Exists,
    /// It is deleted in the foreground.
    WaitsForDependents,
    Gone,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    Delete(PropagationPolicy),
    /// Takes owners away that are gone, by uid.
    RemoveOwners(HashSet<String>),
    /// Takes the object from its dependents' owners.
    Orphan(Vec<Arc<Item>>),
    RemoveFinalizer(&'static str),
}

/// Decides about an object, its owners in the order of its references.
pub(super) fn plan(item: &Item, owners: &[Owner], dependents: &[Arc<Item>]) -> Vec<Action> {
    if item.is_terminating {
        return finish(item, dependents);
    }
    if owners.is_empty() || owners.iter().all(|owner| *owner == Owner::Exists) {
        return Vec::new();
    }
    let lost = item.owners.iter().zip(owners);
    let lost: HashSet<_> = lost
        .filter(|(_, state)| **state != Owner::Exists)
        .map(|(reference, _)| reference.uid.clone())
        .collect();
    if owners.contains(&Owner::Exists) {
        return vec![Action::RemoveOwners(lost)];
    }
    // What waits for its dependents also waits for theirs.
    let is_foreground = owners.contains(&Owner::WaitsForDependents) && !dependents.is_empty();
    let propagation = if is_foreground || item.has_finalizer(FOREGROUND) {
        PropagationPolicy::Foreground
    } else if item.has_finalizer(ORPHAN) {
        PropagationPolicy::Orphan
    } else {
        PropagationPolicy::Background
    };
    vec![Action::Delete(propagation)]
}

/// Lets an object end, when nothing of it is left to do.
fn finish(item: &Item, dependents: &[Arc<Item>]) -> Vec<Action> {
    if item.has_finalizer(ORPHAN) {
        if dependents.is_empty() {
            return vec![Action::RemoveFinalizer(ORPHAN)];
        }
        return vec![
            Action::Orphan(dependents.to_vec()),
            Action::RemoveFinalizer(ORPHAN),
        ];
    }
    let blocks = |dependent: &Arc<Item>| {
        let mut owners = dependent.owners.iter();
        owners.any(|owner| owner.uid == item.uid && owner.block_owner_deletion == Some(true))
    };
    if item.has_finalizer(FOREGROUND) && !dependents.iter().any(blocks) {
        return vec![Action::RemoveFinalizer(FOREGROUND)];
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use kube::core::discovery::ApiResource;

    use super::*;
    use crate::controllers::inventory::Kind;

    fn item(uid: &str, owners: &[&str]) -> Item {
        let owners = owners.iter().map(|uid| OwnerReference {
            uid: (*uid).into(),
            block_owner_deletion: Some(true),
            ..OwnerReference::default()
        });
        Item {
            kind: Arc::new(Kind {
                resource: ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&()),
                is_namespaced: true,
            }),
            uid: uid.into(),
            namespace: "default".into(),
            name: uid.into(),
            resource_version: "1".into(),
            owners: owners.collect(),
            finalizers: Vec::new(),
            is_terminating: false,
        }
    }

    fn ending(uid: &str, finalizer: &str) -> Item {
        Item {
            is_terminating: true,
            finalizers: vec![finalizer.into()],
            ..item(uid, &[])
        }
    }

    #[test]
    fn an_object_goes_with_its_last_owner() {
        let owned = item("a", &["x", "y"]);
        assert_eq!(plan(&owned, &[Owner::Exists, Owner::Exists], &[]), []);
        assert_eq!(
            plan(&owned, &[Owner::Gone, Owner::Exists], &[]),
            [Action::RemoveOwners(HashSet::from(["x".to_owned()]))]
        );
        assert_eq!(
            plan(&owned, &[Owner::Gone, Owner::Gone], &[]),
            [Action::Delete(PropagationPolicy::Background)]
        );
        assert_eq!(plan(&item("b", &[]), &[], &[]), []);
    }

    #[test]
    fn in_the_foreground_dependents_of_dependents_go_first() {
        let owned = item("a", &["x"]);
        let below = [Arc::new(item("b", &["a"]))];
        assert_eq!(
            plan(&owned, &[Owner::WaitsForDependents], &below),
            [Action::Delete(PropagationPolicy::Foreground)]
        );
        assert_eq!(
            plan(&owned, &[Owner::WaitsForDependents], &[]),
            [Action::Delete(PropagationPolicy::Background)]
        );
    }

    #[test]
    fn an_owner_waits_for_those_that_block_it() {
        let owner = ending("a", FOREGROUND);
        let mut free = item("c", &["a"]);
        free.owners[0].block_owner_deletion = None;
        assert_eq!(plan(&owner, &[], &[Arc::new(item("b", &["a"]))]), []);
        assert_eq!(
            plan(&owner, &[], &[Arc::new(free)]),
            [Action::RemoveFinalizer(FOREGROUND)]
        );
    }

    #[test]
    fn an_owner_that_orphans_lets_its_dependents_go_before_it_ends() {
        let below = vec![Arc::new(item("b", &["a"]))];
        assert_eq!(
            plan(&ending("a", ORPHAN), &[], &below),
            [
                Action::Orphan(below.clone()),
                Action::RemoveFinalizer(ORPHAN)
            ]
        );
        assert_eq!(plan(&ending("a", "other/one"), &[], &below), []);
    }
}
