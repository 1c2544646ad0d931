//! Owners and labels of objects, and the hash that names revisions.

use std::hash::Hasher;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use serde::Serialize;

/// The reference by which an object belongs to its controller.
pub(super) fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: uid(owner).to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The reference to the controller of an object.
pub(super) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    let owners = meta.owner_references.iter().flatten();
    owners
        .into_iter()
        .find(|owner| owner.controller == Some(true))
}

/// Answers whether `owner` is the controller of an object.
pub(super) fn is_controlled_by<K: Resource>(meta: &ObjectMeta, owner: &K) -> bool {
    controller_of(meta).is_some_and(|controller| controller.uid == uid(owner))
}

/// The uid of an object; empty before it is created.
pub(super) fn uid<K: Resource>(object: &K) -> &str {
    object.meta().uid.as_deref().unwrap_or_default()
}

/// The name of an object; empty before it is created.
pub(super) fn name<K: Resource>(object: &K) -> &str {
    object.meta().name.as_deref().unwrap_or_default()
}

/// Answers whether an object is being deleted.
pub(super) fn is_terminating<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// An annotation.
pub(super) fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

/// A short name for a value: 32-bit FNV-1a of its JSON, in the letters that Kubernetes uses for
/// such names (no vowels, so that no words appear).
pub(super) fn hash(value: &impl Serialize, collisions: i32) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hasher = Fnv(0x811c_9dc5);
    // Types of the API are plain data, whose JSON cannot fail.
    let json = serde_json::to_vec(value).unwrap_or_default();
    hasher.write(&json);
    if collisions > 0 {
        hasher.write(&collisions.to_le_bytes());
    }
    let digits = hasher.0.to_string().into_bytes();
    let letter = |digit: u8| char::from(LETTERS[usize::from(digit) % LETTERS.len()]);
    digits.into_iter().map(letter).collect()
}

struct Fnv(u32);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0.into()
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_stable_and_changes_with_the_value_and_with_collisions() {
        assert_eq!(hash(&"a", 0), hash(&"a", 0));
        assert_ne!(hash(&"a", 0), hash(&"b", 0));
        assert_ne!(hash(&"a", 0), hash(&"a", 1));
        assert!(hash(&"a", 0).bytes().all(|byte| !b"aeiou".contains(&byte)));
    }
}
