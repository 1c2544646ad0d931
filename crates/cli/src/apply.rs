//! Brings objects into a cluster: creates what is missing, merges what differs.
//!
//! Server-side apply would do, but older API servers and the local one do not all have it; a merge
//! patch of whole objects that are ours alone gives the same result.

use std::collections::HashMap;

use anyhow::Context as _;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiCapabilities, ApiResource, Scope};
use kube::{Client, ResourceExt as _};
use serde_json::Value;

use crate::manifests::name_of;

/// What was done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was not there.
    Created,
    /// It was there and differed.
    Configured,
    /// It was there, as wanted.
    Unchanged,
}

/// Applies objects; remembers which kinds the server serves.
pub(crate) struct Applier {
    client: Client,
    kinds: HashMap<GroupVersionKind, (ApiResource, ApiCapabilities)>,
}

impl Applier {
    /// An applier for a cluster.
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            kinds: HashMap::new(),
        }
    }

    /// Makes the cluster's object like `object`. Fields that `object` does not name stay as they
    /// are; lists are replaced.
    pub(crate) async fn apply(
        &mut self,
        object: &Value,
        namespace: &str,
    ) -> anyhow::Result<Outcome> {
        let api = self.api(object, namespace).await?;
        let mut wanted = object.clone();
        let name = object["metadata"]["name"]
            .as_str()
            .context("the object has no metadata.name")?;
        let Some(live) = api.get_opt(name).await.with_context(|| name_of(object))? else {
            let new: DynamicObject = serde_json::from_value(wanted)?;
            api.create(&PostParams::default(), &new)
                .await
                .with_context(|| name_of(object))?;
            return Ok(Outcome::Created);
        };
        let version = live.resource_version();
        let live = serde_json::to_value(&live)?;
        keep_what_the_control_plane_fills_in(&mut wanted, &live);
        if is_part_of(&wanted, &live) {
            return Ok(Outcome::Unchanged);
        }
        let patched = api
            .patch(name, &PatchParams::default(), &Patch::Merge(&wanted))
            .await
            .with_context(|| name_of(object))?;
        let is_same = patched.resource_version() == version;
        Ok(if is_same {
            Outcome::Unchanged
        } else {
            Outcome::Configured
        })
    }

    /// The client for an object's kind and namespace.
    pub(crate) async fn api(
        &mut self,
        object: &Value,
        namespace: &str,
    ) -> anyhow::Result<Api<DynamicObject>> {
        let api_version = object["apiVersion"]
            .as_str()
            .context("the object has no apiVersion")?;
        let kind = object["kind"].as_str().context("the object has no kind")?;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = GroupVersionKind::gvk(group, version, kind);
        if !self.kinds.contains_key(&gvk) {
            let found = self.discover(&gvk).await?;
            self.kinds.insert(gvk.clone(), found);
        }
        let (resource, capabilities) = &self.kinds[&gvk];
        Ok(match capabilities.scope {
            Scope::Cluster => Api::all_with(self.client.clone(), resource),
            Scope::Namespaced => {
                let namespace = object["metadata"]["namespace"]
                    .as_str()
                    .unwrap_or(namespace);
                Api::namespaced_with(self.client.clone(), namespace, resource)
            }
        })
    }

    /// A CustomResourceDefinition that was just created takes a moment to be served.
    async fn discover(
        &self,
        gvk: &GroupVersionKind,
    ) -> anyhow::Result<(ApiResource, ApiCapabilities)> {
        let mut last = None;
        for attempt in 0..20 {
            match kube::discovery::pinned_kind(&self.client, gvk).await {
                Ok(found) => return Ok(found),
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(std::time::Duration::from_millis(25 << attempt.min(4))).await;
        }
        let kind = &gvk.kind;
        let what = format!(
            "the cluster does not serve {}/{} {kind}",
            gvk.group, gvk.version
        );
        Err(last
            .map_or_else(|| anyhow::anyhow!("{what}"), anyhow::Error::from)
            .context(what))
    }
}

/// Webhooks keep their certificate authority, and the failure policy that the control plane set
/// once it served: a list is replaced by a merge patch, so these have to be carried over.
fn keep_what_the_control_plane_fills_in(wanted: &mut Value, live: &Value) {
    let Some(webhooks) = wanted.get_mut("webhooks").and_then(Value::as_array_mut) else {
        return;
    };
    for webhook in webhooks {
        let same = live["webhooks"]
            .as_array()
            .and_then(|list| list.iter().find(|other| other["name"] == webhook["name"]));
        let Some(same) = same else { continue };
        if let Some(bundle) = same["clientConfig"].get("caBundle") {
            webhook["clientConfig"]["caBundle"] = bundle.clone();
            webhook["failurePolicy"] = same["failurePolicy"].clone();
        }
    }
}

/// Answers whether a merge patch of `wanted` would change nothing. Values that the server defaults
/// inside of lists make it answer no; the patch then tells by its resource version.
fn is_part_of(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => wanted
            .iter()
            .all(|(key, value)| live.get(key).is_some_and(|other| is_part_of(value, other))),
        (wanted, live) => wanted == live,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_webhook_keeps_the_certificate_authority_that_it_has() {
        let mut wanted = json!({ "webhooks": [
            { "name": "a", "clientConfig": {}, "failurePolicy": "Ignore" },
            { "name": "b", "clientConfig": {}, "failurePolicy": "Ignore" }
        ] });
        let live = json!({ "webhooks": [
            { "name": "b", "clientConfig": { "caBundle": "x" }, "failurePolicy": "Fail" }
        ] });
        keep_what_the_control_plane_fills_in(&mut wanted, &live);
        assert_eq!(wanted["webhooks"][0]["clientConfig"], json!({}));
        assert_eq!(wanted["webhooks"][1]["clientConfig"]["caBundle"], "x");
        assert_eq!(wanted["webhooks"][1]["failurePolicy"], "Fail");
    }

    #[test]
    fn an_object_with_more_fields_than_wanted_is_as_wanted() {
        let live = json!({ "a": 1, "b": { "c": [1, 2], "d": 3 } });
        assert!(is_part_of(&json!({ "b": { "c": [1, 2] } }), &live));
        assert!(!is_part_of(&json!({ "b": { "c": [1] } }), &live));
        assert!(!is_part_of(&json!({ "e": null }), &live));
    }
}
