//! Outputs by name, with every object that defines one, so that a conflict has one answer
//! whatever came first.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use lateen_model::endpoint::Endpoints;
use lateen_model::workload::Workload;
use lateen_model::{ObjectRef, Resource, ResourceName, Source};
use lateen_xds::server::{Audience, Change};
use lateen_xds::{Kind, proto};

/// Type and name of an output.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputName {
    /// The type.
    pub kind: Kind,
    /// The name.
    pub name: String,
}

/// A resource as it is sent, and who sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its type and name.
    pub name: OutputName,
    /// Its bytes.
    pub bytes: Bytes,
    /// Who sees it.
    pub audience: Audience,
}

/// The order of objects that define the same output; the smallest is in effect.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Rank {
    /// Kubernetes' own Services come before what users declare.
    class: u8,
    created: i64,
    name: String,
    namespace: String,
}

/// All outputs.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    of_object: BTreeMap<ObjectRef, (Rank, Vec<OutputName>)>,
    candidates: BTreeMap<OutputName, BTreeMap<(Rank, ObjectRef), Output>>,
    touched: BTreeSet<OutputName>,
}

// === impl Output ===

impl Output {
    /// A piece of configuration.
    pub fn config(resource: &Resource, audience: Audience) -> Self {
        let ResourceName(name) = &resource.name;
        Self {
            name: OutputName {
                kind: Kind::Config,
                name: name.clone(),
            },
            bytes: proto::encode_resource(resource),
            audience,
        }
    }

    /// The endpoints of a service.
    pub fn endpoints(endpoints: &Endpoints, audience: Audience) -> Self {
        Self {
            name: OutputName {
                kind: Kind::Endpoints,
                name: endpoints.service.to_string(),
            },
            bytes: proto::encode_endpoints(endpoints),
            audience,
        }
    }

    /// Who lives at an address.
    pub fn workload(workload: &Workload) -> Self {
        Self {
            name: OutputName {
                kind: Kind::Workload,
                name: workload.address.to_string(),
            },
            bytes: proto::encode_workload(workload),
            audience: Audience::default(),
        }
    }
}

// === impl Rank ===

impl Rank {
    /// The rank of a Kubernetes object.
    pub fn of_kubernetes(source: &Source) -> Self {
        Self::of(0, source)
    }

    /// The rank of what a user declared: the oldest first.
    pub fn of_user(source: &Source) -> Self {
        Self::of(1, source)
    }

    /// The rank of a pod for its address, which is given again when a pod is gone: the youngest
    /// first, those that are being deleted last.
    pub fn of_pod(source: &Source, is_deleting: bool) -> Self {
        Self {
            created: -source.created,
            ..Self::of(if is_deleting { 3 } else { 2 }, source)
        }
    }

    /// The rank of a WorkloadEntry for its address: after every pod, or whoever may write one in a
    /// namespace of their own could put another name on the pods of others.
    pub fn of_workload_entry(source: &Source) -> Self {
        Self::of(4, source)
    }

    fn of(class: u8, source: &Source) -> Self {
        let (created, name, namespace) = source.age_key();
        Self {
            class,
            created,
            name: name.to_owned(),
            namespace: namespace.to_owned(),
        }
    }
}

// === impl Outputs ===

impl Outputs {
    /// Replaces everything that an object defines.
    pub(super) fn set(&mut self, object: &ObjectRef, rank: Rank, outputs: Vec<Output>) {
        let names: Vec<OutputName> = outputs.iter().map(|output| output.name.clone()).collect();
        let old = if outputs.is_empty() {
            self.of_object.remove(object)
        } else {
            self.of_object.insert(object.clone(), (rank.clone(), names))
        };
        let (old_rank, old_names) = old.unwrap_or_default();
        let old_entry = (old_rank, object.clone());
        let new_entry = (rank, object.clone());
        let mut left = BTreeMap::new();
        for name in old_names {
            if let Some(candidates) = self.candidates.get_mut(&name) {
                left.insert(name, candidates.remove(&old_entry));
            }
        }
        for output in outputs {
            let is_same = old_entry == new_entry
                && left.remove(&output.name).flatten().as_ref() == Some(&output);
            if !is_same {
                self.touched.insert(output.name.clone());
            }
            let candidates = self.candidates.entry(output.name.clone()).or_default();
            candidates.insert(new_entry.clone(), output);
        }
        self.touched.extend(left.into_keys());
    }

    /// What became of every name that was touched since the last call. What did not change is
    /// found out by the one who publishes, by its version.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::with_capacity(self.touched.len());
        for name in std::mem::take(&mut self.touched) {
            let candidates = self.candidates.get(&name);
            if let Some((_, output)) = candidates.and_then(BTreeMap::first_key_value) {
                changes.push(Change::Set {
                    kind: name.kind,
                    name: name.name,
                    bytes: output.bytes.clone(),
                    audience: output.audience.clone(),
                });
            } else {
                self.candidates.remove(&name);
                changes.push(Change::Remove {
                    kind: name.kind,
                    name: name.name,
                });
            }
        }
        changes
    }

    /// Everything that is in effect.
    pub(super) fn winners(&self) -> impl Iterator<Item = (OutputName, &Output)> {
        self.candidates.iter().filter_map(|(name, candidates)| {
            let (_, output) = candidates.first_key_value()?;
            Some((name.clone(), output))
        })
    }

    /// The object whose definition of a name is in effect.
    pub(super) fn origin(&self, name: &OutputName) -> Option<&ObjectRef> {
        let ((_, object), _) = self.candidates.get(name)?.first_key_value()?;
        Some(object)
    }
}
