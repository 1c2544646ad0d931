//! Tokens of service accounts: asked for when a pod starts, and again before they expire.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::Mutex;

/// Kubernetes' life of a token unless the volume asks for another.
const LIFE: i64 = 3600;
/// A token is renewed at the latest after this, however long it lives.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The tokens of one pod, by audience and life.
pub(super) struct Tokens {
    client: Client,
    known: Mutex<HashMap<(String, i64), Token>>,
}

#[derive(Clone)]
struct Token {
    text: String,
    renew: Instant,
}

// === impl Tokens ===

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the tokens themselves.
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            known: Mutex::default(),
        }
    }

    /// A token that is valid for a while, and when to ask again.
    pub(super) async fn get(
        &self,
        pod: &Pod,
        source: &ServiceAccountTokenProjection,
    ) -> Result<(String, Instant), String> {
        let life = source.expiration_seconds.unwrap_or(LIFE).max(1);
        let audience = source.audience.clone().unwrap_or_default();
        let key = (audience, life);
        let mut known = self.known.lock().await;
        if let Some(token) = known.get(&key)
            && token.renew > Instant::now()
        {
            return Ok((token.text.clone(), token.renew));
        }
        let text = self.request(pod, &key.0, life).await?;
        // As Kubernetes does: after four fifths of its life.
        let fifth = Duration::from_secs(u64::try_from(life).unwrap_or(1)) / 5;
        let renew = Instant::now() + (fifth * 4).min(LONGEST);
        known.insert(
            key,
            Token {
                text: text.clone(),
                renew,
            },
        );
        Ok((text, renew))
    }

    async fn request(&self, pod: &Pod, audience: &str, life: i64) -> Result<String, String> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let account = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.service_account_name.as_deref())
            .filter(|name| !name.is_empty())
            .unwrap_or("default");
        let request = TokenRequest {
            spec: TokenRequestSpec {
                // Without an audience it is the API server's own.
                audiences: [audience]
                    .into_iter()
                    .filter(|audience| !audience.is_empty())
                    .map(str::to_owned)
                    .collect(),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    name: pod.metadata.name.clone(),
                    uid: pod.metadata.uid.clone(),
                }),
                expiration_seconds: Some(life),
            },
            ..TokenRequest::default()
        };
        let namespace = text(&pod.metadata.namespace);
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &namespace);
        accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .map_err(|error| format!("a token for service account {account:?}: {error}"))?
            .status
            .map(|status| status.token)
            .ok_or_else(|| format!("no token came for service account {account:?}"))
    }
}
