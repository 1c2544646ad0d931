//! Revisions: which ReplicaSet is of the Deployment's template, and which is older.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::controllers::meta;

/// Tells the templates' pods and sets apart.
pub(super) const HASH_LABEL: &str = "pod-template-hash";
/// Counts the templates.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// How many replicas the Deployment wished when the set was last scaled.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// How many it allowed, with those in excess.
pub(super) const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations of a Deployment that are not its sets'.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
];

/// The sets of a Deployment, told apart.
pub(super) struct Sets<'a> {
    /// The one of the current template.
    pub(super) new: Option<&'a Arc<ReplicaSet>>,
    /// The others, the oldest first.
    pub(super) old: Vec<&'a Arc<ReplicaSet>>,
}

// === impl Sets ===

impl<'a> Sets<'a> {
    /// Finds the set of the current template; of several the oldest.
    pub(super) fn of(deployment: &Deployment, sets: &'a [Arc<ReplicaSet>]) -> Self {
        let mut sorted: Vec<_> = sets.iter().collect();
        sorted.sort_by_key(|set| (created(set), meta::name(set.as_ref()).to_owned()));
        let template = template(deployment);
        let is_new = |set: &&Arc<ReplicaSet>| {
            let own = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
            own.is_some_and(|own| without_hash(own) == without_hash(&template))
        };
        let new = sorted
            .iter()
            .position(is_new)
            .map(|index| sorted.remove(index));
        Self { new, old: sorted }
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &'a Arc<ReplicaSet>> {
        self.old.iter().copied().chain(self.new)
    }

    /// The revision that the new set must have: above every old one.
    pub(super) fn next_revision(&self) -> i64 {
        self.old.iter().map(|set| revision(set)).max().unwrap_or(0) + 1
    }
}

/// The revision of a set; 0 if it has none.
pub(super) fn revision(set: &ReplicaSet) -> i64 {
    meta::annotation(&set.metadata, REVISION)
        .and_then(|revision| revision.parse().ok())
        .unwrap_or(0)
}

/// A Deployment's template.
pub(super) fn template(deployment: &Deployment) -> PodTemplateSpec {
    let spec = deployment.spec.as_ref();
    spec.map(|spec| spec.template.clone()).unwrap_or_default()
}

/// A new set for the current template.
pub(super) fn new_set(
    deployment: &Deployment,
    revision: i64,
    replicas: i32,
    maximum: i32,
) -> ReplicaSet {
    let spec = deployment.spec.clone().unwrap_or_default();
    let collisions = deployment
        .status
        .as_ref()
        .and_then(|status| status.collision_count);
    let hash = meta::hash(&spec.template, collisions.unwrap_or(0));
    let mut template = spec.template;
    let meta_of = template.metadata.get_or_insert_default();
    let labels = meta_of.labels.get_or_insert_default();
    labels.insert(HASH_LABEL.into(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector;
    let pairs = selector.match_labels.get_or_insert_default();
    pairs.insert(HASH_LABEL.into(), hash.clone());
    ReplicaSet {
        metadata: ObjectMeta {
            namespace: deployment.metadata.namespace.clone(),
            name: Some(format!("{}-{hash}", meta::name(deployment))),
            labels: Some(labels),
            annotations: Some(annotations(deployment, None, revision, maximum)),
            owner_references: Some(vec![meta::controller_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

/// The annotations of a set of the current template: the Deployment's, the revision, and the sizes
/// by which a later change of the Deployment's is recognised.
pub(super) fn annotations(
    deployment: &Deployment,
    set: Option<&ReplicaSet>,
    revision: i64,
    maximum: i32,
) -> BTreeMap<String, String> {
    let own = set.and_then(|set| set.metadata.annotations.clone());
    let mut annotations = own.unwrap_or_default();
    for (key, value) in deployment.metadata.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&key.as_str()) {
            annotations.insert(key.clone(), value.clone());
        }
    }
    let before = annotations.insert(REVISION.into(), revision.to_string());
    if let Some(before) = before.filter(|before| *before != revision.to_string()) {
        // A rollback: the template had an older revision before.
        let history = annotations.entry(REVISION_HISTORY.into()).or_default();
        if !history.is_empty() {
            history.push(',');
        }
        history.push_str(&before);
    }
    sized(annotations, replicas(deployment), maximum)
}

/// The annotations of a set that is only scaled.
pub(super) fn sizes(
    deployment: &Deployment,
    set: &ReplicaSet,
    maximum: i32,
) -> BTreeMap<String, String> {
    let own = set.metadata.annotations.clone().unwrap_or_default();
    sized(own, replicas(deployment), maximum)
}

fn sized(
    mut annotations: BTreeMap<String, String>,
    desired: i32,
    maximum: i32,
) -> BTreeMap<String, String> {
    annotations.insert(DESIRED.into(), desired.to_string());
    annotations.insert(MAXIMUM.into(), maximum.to_string());
    annotations
}

/// How many replicas are wished.
pub(super) fn replicas(deployment: &Deployment) -> i32 {
    let spec = deployment.spec.as_ref();
    spec.and_then(|spec| spec.replicas).unwrap_or(1).max(0)
}

/// How many replicas a set is to have.
pub(super) fn set_replicas(set: &ReplicaSet) -> i32 {
    let spec = set.spec.as_ref();
    spec.and_then(|spec| spec.replicas).unwrap_or(1)
}

/// How many replicas of a set are available.
pub(super) fn set_available(set: &ReplicaSet) -> i32 {
    let status = set.status.as_ref();
    status
        .and_then(|status| status.available_replicas)
        .unwrap_or(0)
}

fn created(set: &ReplicaSet) -> i64 {
    let time = set.metadata.creation_timestamp.as_ref();
    time.map_or(i64::MAX, |time| time.0.as_second())
}

fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    let metadata = template.metadata.get_or_insert_default();
    if let Some(labels) = &mut metadata.labels {
        labels.remove(HASH_LABEL);
    }
    // No labels and an empty list of them are the same.
    metadata.labels = metadata.labels.take().filter(|labels| !labels.is_empty());
    metadata.creation_timestamp = None;
    template
}
