//! Where a piece of configuration comes from, so that a decision, a NACK, a metric or a log line
//! can name the object that caused it.

use std::fmt;

use serde::Serialize;

/// Names one object of the Kubernetes API.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// The kind, such as `VirtualService`.
    pub kind: String,
    /// The namespace; empty for objects of the cluster.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// The object behind a resource, with what Istio's order of conflicts needs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The object.
    pub object: ObjectRef,
    /// Its `metadata.generation`.
    pub generation: i64,
    /// Its `metadata.creationTimestamp` in seconds since the Unix epoch.
    pub created: i64,
}

impl Source {
    /// The key of Istio's order of conflicts: creation time, then name, then namespace; the
    /// smallest wins ("oldest wins").
    pub fn age_key(&self) -> (i64, &str, &str) {
        (self.created, &self.object.name, &self.object.namespace)
    }
}
