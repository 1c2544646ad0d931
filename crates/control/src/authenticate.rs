//! Who a proxy is: the token of its service account, as the API server judges it.
//!
//! Only tokens for the audience `istio-ca` count, which no other program has a use for. Judgements
//! are kept for a short while, by a hash of the token, since the proxies of a mesh come back all at
//! once. When the API server does not answer, nobody is let in that is not known.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::{Api, Client};
use lateen_xds::server::{Account, Authenticate, Identity, Unproven};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::watch::with_causes;

/// Whom the tokens of proxies are for.
pub(crate) const AUDIENCE: &str = "istio-ca";

/// How long a good token is believed; a deleted account or pod is noticed after that.
const BELIEVED: Duration = Duration::from_secs(60);

/// How long a bad token is known as bad.
const REMEMBERED: Duration = Duration::from_secs(10);

/// Judgements that are kept: those of a large mesh. Each takes about 300 bytes.
const KEPT: usize = 16 << 10;

/// Reviews that are under way at once.
const REVIEWS: usize = 32;

/// How long a review may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// The longest token. Those of Kubernetes have about a kilobyte.
const LONGEST: usize = 16 << 10;

/// Where a review says which pod a token belongs to.
const POD: &str = "authentication.kubernetes.io/pod-name";

/// Has tokens judged.
struct Reviewer {
    client: Client,
    known: Mutex<Known>,
    reviews: Semaphore,
}

/// A token, as a hash.
type Fingerprint = [u8; 32];

/// What became of a token: who it stands for, or what is wrong with it.
type Judgement = Result<Identity, String>;

/// Judgements, each until it has to be made anew.
#[derive(Default)]
struct Known(HashMap<Fingerprint, (Judgement, Instant)>);

/// Has the API server judge tokens.
pub(crate) fn authenticate(client: Client) -> Authenticate {
    let reviewer = Arc::new(Reviewer {
        client,
        known: Mutex::default(),
        reviews: Semaphore::new(REVIEWS),
    });
    Arc::new(move |token| {
        let reviewer = reviewer.clone();
        Box::pin(async move { Box::pin(reviewer.judge(token)).await })
    })
}

// === impl Reviewer ===

impl Reviewer {
    async fn judge(&self, token: String) -> Result<Identity, Unproven> {
        if token.len() > LONGEST {
            return Err(Unproven::Refused(format!(
                "the token has more than {LONGEST} bytes"
            )));
        }
        let fingerprint = fingerprint(&token);
        let known = self.known().get(&fingerprint, Instant::now());
        if let Some(judgement) = known {
            return judgement.map_err(Unproven::Refused);
        }
        let judged = Box::pin(self.review(token)).await;
        let judgement = judged.map_err(Unproven::Unavailable)?;
        self.known()
            .put(fingerprint, judgement.clone(), Instant::now());
        judgement.map_err(Unproven::Refused)
    }

    /// Asks the API server; an error says that there is no judgement.
    async fn review(&self, token: String) -> Result<Judgement, String> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                audiences: Some(vec![AUDIENCE.to_owned()]),
                token: Some(token),
            },
            ..TokenReview::default()
        };
        let asking = async {
            // The semaphore is never closed.
            let _permit = self.reviews.acquire().await;
            let api = Api::<TokenReview>::all(self.client.clone());
            api.create(&PostParams::default(), &review).await
        };
        let hint = "the token cannot be checked now";
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(review)) => Ok(identity(&review.status.unwrap_or_default())),
            Ok(Err(error)) => {
                let error = with_causes(&error);
                tracing::error!(error, "cannot have a proxy's token reviewed");
                Err(format!("{hint}: the API server says {error}"))
            }
            Err(_) => Err(format!("{hint}: the API server does not answer")),
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Known ===

impl Known {
    fn get(&self, fingerprint: &Fingerprint, now: Instant) -> Option<Judgement> {
        let (judgement, until) = self.0.get(fingerprint)?;
        (*until > now).then(|| judgement.clone())
    }

    fn put(&mut self, fingerprint: Fingerprint, judgement: Judgement, now: Instant) {
        if self.0.len() >= KEPT {
            self.0.retain(|_, (_, until)| *until > now);
        }
        if self.0.len() >= KEPT {
            // Bad tokens are cheap to come by: they make room first.
            self.0.retain(|_, (judgement, _)| judgement.is_ok());
        }
        if self.0.len() >= KEPT {
            return;
        }
        let life = if judgement.is_ok() {
            BELIEVED
        } else {
            REMEMBERED
        };
        self.0.insert(fingerprint, (judgement, now + life));
    }
}

fn fingerprint(token: &str) -> Fingerprint {
    let mut fingerprint = Fingerprint::default();
    fingerprint.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    fingerprint
}

/// Whom a review says that a token stands for.
fn identity(status: &TokenReviewStatus) -> Judgement {
    let refuse = |why: &str| Err(format!("the token is refused: {why}"));
    if status.authenticated != Some(true) {
        let why = status.error.as_deref().unwrap_or_default();
        return refuse(if why.is_empty() {
            "the API server does not know it"
        } else {
            why
        });
    }
    // An API server that knows nothing of audiences would let every token pass.
    let audiences = status.audiences.iter().flatten();
    if !audiences.into_iter().any(|audience| audience == AUDIENCE) {
        return refuse("it is not for the audience istio-ca");
    }
    let user = status.user.clone().unwrap_or_default();
    let name = user.username.unwrap_or_default();
    let account = name
        .strip_prefix("system:serviceaccount:")
        .and_then(|account| account.split_once(':'))
        .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
    let Some((namespace, name)) = account else {
        return refuse("it is not of a service account");
    };
    let pod = user.extra.as_ref().and_then(|extra| extra.get(POD));
    Ok(Identity {
        account: Account {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        },
        pod: pod.and_then(|names| names.first()).cloned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn judged(status: Value) -> Judgement {
        identity(&serde_json::from_value(status).unwrap())
    }

    fn good() -> Value {
        json!({
            "authenticated": true,
            "audiences": ["istio-ca"],
            "user": {
                "username": "system:serviceaccount:edge:gateway",
                "extra": { POD: ["gateway-1"] },
            },
        })
    }

    #[test]
    fn a_token_stands_for_its_account_and_pod() {
        let identity = judged(good()).unwrap();
        assert_eq!(identity.account.to_string(), "edge/gateway");
        assert_eq!(identity.pod.as_deref(), Some("gateway-1"));
    }

    #[test]
    fn a_token_that_does_not_count_says_why() {
        let with = |path: &str, value: Value| {
            let mut status = good();
            *status.pointer_mut(path).unwrap() = value;
            judged(status).unwrap_err()
        };
        let why = with("/authenticated", false.into());
        assert!(why.contains("does not know it"), "{why}");
        let why = with("/audiences", json!(["https://kubernetes.default.svc"]));
        assert!(why.contains("audience"), "{why}");
        for user in [
            "ann",
            "system:serviceaccount:edge",
            "system:serviceaccount::a",
        ] {
            let why = with("/user/username", user.into());
            assert!(why.contains("service account"), "{why}");
        }
        let status = json!({ "authenticated": false, "error": "token expired" });
        assert!(judged(status).unwrap_err().contains("token expired"));
    }

    #[test]
    fn judgements_are_kept_for_a_while_and_not_without_end() {
        let mut known = Known::default();
        let (now, later) = (Instant::now(), Instant::now() + REMEMBERED);
        let good = judged(good());
        known.put([1; 32], good.clone(), now);
        known.put([2; 32], Err("bad".into()), now);
        assert!(known.get(&[1; 32], later).is_some_and(|one| one == good));
        assert!(known.get(&[2; 32], now).is_some_and(|one| one.is_err()));
        assert!(known.get(&[2; 32], later).is_none());
        assert!(known.get(&[1; 32], now + BELIEVED).is_none());
        for i in 0..2 * u32::try_from(KEPT).unwrap() {
            let fingerprint = fingerprint(&i.to_string());
            known.put(fingerprint, Err("bad".into()), now);
            assert!(known.0.len() <= KEPT);
        }
        // Whoever floods it with bad tokens does not drive out good ones.
        assert!(known.get(&[1; 32], now).is_some());
    }
}
