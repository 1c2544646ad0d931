//! Keeps the webhook configurations calling us: the certificate authority in `caBundle`, and
//! `failurePolicy: Fail` for validation once it can be answered.
//!
//! The configurations are installed by the manifests, without a certificate. They are watched, so
//! that one that is applied again, or replaced, works again at once.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::StreamExt;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Settings;
use crate::authority::Current;
use crate::engine::State;
use crate::watch::{BACKOFF, is_expired, with_causes};

/// How long to wait after the API server did not take a patch.
const RETRY: Duration = Duration::from_secs(2);

/// Keeps both configurations. Never ends.
pub(crate) async fn keep(
    client: Client,
    settings: Settings,
    state: Arc<State>,
    mut current: Current,
) {
    // Before the first list of the cluster is complete nobody should be sent here.
    if state.synced().wait_for(|synced| *synced).await.is_err() {
        return;
    }
    let revision = &settings.revision;
    let suffix = if revision == "default" {
        String::new()
    } else {
        format!("-{revision}")
    };
    let injector = format!("istio-sidecar-injector{suffix}");
    let validator = format!("istio-validator{suffix}-{}", settings.namespace);
    loop {
        let authority = current.borrow_and_update().clone();
        let kept = async {
            let Some(authority) = authority else {
                return std::future::pending().await;
            };
            let bundle = BASE64.encode(&authority.certificate);
            let (mutating, validating) = (client.clone(), client.clone());
            tokio::join!(
                keep_one::<MutatingWebhookConfiguration>(mutating, &injector, &bundle, None),
                keep_one::<ValidatingWebhookConfiguration>(
                    validating,
                    &validator,
                    &bundle,
                    Some("Fail")
                ),
            );
        };
        tokio::select! {
            () = kept => return,
            changed = current.changed() => if changed.is_err() { return },
        }
    }
}

async fn keep_one<K>(client: Client, name: &str, bundle: &str, policy: Option<&str>)
where
    K: Resource<DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Serialize
        + std::fmt::Debug
        + Send
        + 'static,
{
    let api = Api::<K>::all(client);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut stream = std::pin::pin!(watcher(api.clone(), config));
    let mut failures = 0;
    while let Some(event) = stream.next().await {
        let object = match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => object,
            Ok(Event::Delete(_)) => {
                tracing::warn!(name, "the webhook configuration is gone; nothing calls us");
                continue;
            }
            Ok(Event::Init | Event::InitDone) => continue,
            // A list makes up for what was missed.
            Err(error) if is_expired(&error) && failures == 0 => continue,
            Err(error) => {
                let error = with_causes(&error);
                tracing::debug!(name, error, "cannot watch the webhook configuration");
                tokio::time::sleep(BACKOFF.wait(failures)).await;
                failures = failures.saturating_add(1);
                continue;
            }
        };
        failures = 0;
        let Some(patch) = patch(&object, bundle, policy) else {
            continue;
        };
        match api
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Ok(_) => tracing::info!(name, "the webhook configuration calls us"),
            // Somebody else changed it: the watch brings what it is now.
            Err(kube::Error::Api(error)) if error.code == 409 => {}
            Err(error) => {
                tracing::warn!(
                    name,
                    error = with_causes(&error),
                    "cannot patch the webhook configuration"
                );
                tokio::time::sleep(RETRY).await;
                retry(&api, name, bundle, policy).await;
            }
        }
    }
}

/// Tries again until it is as it should be.
async fn retry<K>(api: &Api<K>, name: &str, bundle: &str, policy: Option<&str>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    loop {
        if let Ok(object) = api.get_opt(name).await {
            let patch = object.and_then(|object| patch(&object, bundle, policy));
            let Some(patch) = patch else { return };
            let patched = api
                .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
                .await;
            if patched.is_ok() {
                return;
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// What is to be changed in a configuration; nothing if it is as it should be. A merge patch
/// replaces lists as a whole, so it carries the version that it was made for.
fn patch(
    object: &(impl Serialize + ResourceExt),
    bundle: &str,
    policy: Option<&str>,
) -> Option<Value> {
    let value = serde_json::to_value(object).ok()?;
    let mut webhooks = value["webhooks"].clone();
    for webhook in webhooks.as_array_mut()? {
        // One that is called by URL is somewhere else, with a certificate of its own.
        if webhook["clientConfig"]["service"].is_null() {
            continue;
        }
        webhook["clientConfig"]["caBundle"] = bundle.into();
        if let Some(policy) = policy {
            webhook["failurePolicy"] = policy.into();
        }
    }
    if webhooks == value["webhooks"] {
        return None;
    }
    Some(json!({
        "metadata": { "resourceVersion": object.resource_version() },
        "webhooks": webhooks,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(webhooks: &Value) -> ValidatingWebhookConfiguration {
        serde_json::from_value(json!({
            "metadata": { "name": "v", "resourceVersion": "7" },
            "webhooks": webhooks,
        }))
        .expect("it is one")
    }

    #[test]
    fn the_bundle_and_the_policy_are_written_once() {
        let service = json!({ "name": "istiod", "namespace": "istio-system", "path": "/validate" });
        let before = configuration(&json!([{
            "name": "a", "clientConfig": { "service": service },
            "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Ignore",
        }]));
        let patch = patch(&before, "Y2E=", Some("Fail")).expect("a change");
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        let webhook = &patch["webhooks"][0];
        assert_eq!(webhook["clientConfig"]["caBundle"], "Y2E=");
        assert_eq!(webhook["clientConfig"]["service"]["path"], "/validate");
        assert_eq!(webhook["failurePolicy"], "Fail");
        let after = configuration(&patch["webhooks"]);
        assert_eq!(super::patch(&after, "Y2E=", Some("Fail")), None);
    }

    #[test]
    fn a_webhook_of_somebody_else_is_left_alone() {
        let before = configuration(&json!([{
            "name": "a", "clientConfig": { "url": "https://example.com" },
            "admissionReviewVersions": ["v1"], "sideEffects": "None",
        }]));
        assert_eq!(patch(&before, "Y2E=", Some("Fail")), None);
    }
}
