//! Applies objects when the cluster starts: what is missing is made, what is there is merged.

use std::collections::HashMap;
use std::time::Duration;

use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiResource, Scope, pinned_kind};
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// How long an object may take to be accepted: its kind may be one that was just defined, its
/// namespace may be ending, a webhook may not be there yet.
const PATIENCE: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_millis(50);

/// Applies objects, remembering what it has learnt about their kinds.
pub(super) struct Applier {
    client: Client,
    kinds: HashMap<GroupVersionKind, (ApiResource, Scope)>,
}

// === impl Applier ===

impl Applier {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            kinds: HashMap::new(),
        }
    }

    /// Applies one object.
    ///
    /// # Errors
    /// For the user: which object, and what the server said of it.
    pub(super) async fn apply(&mut self, object: &Value) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let error = match self.try_apply(object).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            // What is wrong with the object itself stays wrong.
            let is_final =
                matches!(&error, kube::Error::Api(status) if matches!(status.code, 400 | 422));
            if is_final || Instant::now() > end {
                let why = match &error {
                    kube::Error::Api(status) => &status.message,
                    other => &other.to_string(),
                };
                return Err(format!("{} cannot be applied: {why}", name_of(object)));
            }
            sleep(RETRY).await;
        }
    }

    async fn try_apply(&mut self, object: &Value) -> kube::Result<()> {
        let typed: DynamicObject =
            serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
        let (resource, scope) = self.kind_of(object).await?;
        let name = typed.metadata.name.clone().unwrap_or_default();
        let api: Api<DynamicObject> = match (scope, &typed.metadata.namespace) {
            (Scope::Cluster, _) => Api::all_with(self.client.clone(), &resource),
            (Scope::Namespaced, Some(namespace)) => {
                Api::namespaced_with(self.client.clone(), namespace, &resource)
            }
            (Scope::Namespaced, None) => {
                Api::default_namespaced_with(self.client.clone(), &resource)
            }
        };
        // First as if it were there: making a service anew fails by its address, not by its name.
        match api
            .patch(&name, &PatchParams::default(), &Patch::Merge(object))
            .await
        {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => return other.map(drop),
        }
        api.create(&PostParams::default(), &typed).await.map(drop)
    }

    async fn kind_of(&mut self, object: &Value) -> kube::Result<(ApiResource, Scope)> {
        let text = |key: &str| object[key].as_str().unwrap_or_default();
        let (group, version) = text("apiVersion")
            .split_once('/')
            .unwrap_or(("", text("apiVersion")));
        let kind = GroupVersionKind::gvk(group, version, text("kind"));
        if let Some(known) = self.kinds.get(&kind) {
            return Ok(known.clone());
        }
        let (resource, capabilities) = pinned_kind(&self.client, &kind).await?;
        let known = (resource, capabilities.scope);
        self.kinds.insert(kind, known.clone());
        Ok(known)
    }
}

/// An object as people call it.
fn name_of(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    let namespace = match metadata["namespace"].as_str() {
        Some(namespace) => format!("{namespace}/"),
        None => String::new(),
    };
    format!(
        "{} {namespace}{}",
        text(&object["kind"]),
        text(&metadata["name"])
    )
}
