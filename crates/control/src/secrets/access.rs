//! Whether an account may read the Secrets of its namespace.
//!
//! A gateway's proxy is only a container that somebody deployed; that it asks does not mean that
//! whoever deployed it may read Secrets. As in Istio, its service account must be allowed to.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use lateen_xds::server::Account;
use tokio::sync::mpsc;

use super::News;
use crate::watch::{BACKOFF, with_causes};

/// How often it is asked again; a right that is taken away is noticed after that.
const PERIOD: Duration = Duration::from_secs(60);

/// How often an account without the right is looked at again: whoever just gave it one waits.
const HOPE: Duration = Duration::from_secs(10);

/// Asks again and again, until nobody listens.
pub(super) async fn follow(client: Client, account: Account, news: mpsc::Sender<News>) {
    let api = Api::<SubjectAccessReview>::all(client);
    let review = question(&account);
    let mut failures = 0;
    loop {
        match api.create(&PostParams::default(), &review).await {
            Ok(review) => {
                failures = 0;
                let is_granted = review.status.is_some_and(|status| status.allowed);
                let grant = News::Grant(account.clone(), is_granted);
                if news.send(grant).await.is_err() {
                    return;
                }
                tokio::time::sleep(if is_granted { PERIOD } else { HOPE }).await;
            }
            // What was found before holds meanwhile; who is not known waits.
            Err(error) => {
                if failures == 0 {
                    let error = with_causes(&error);
                    tracing::warn!(%account, error, "cannot find out whether a gateway may read Secrets");
                }
                tokio::time::sleep(BACKOFF.wait(failures)).await;
                failures = failures.saturating_add(1);
            }
        }
    }
}

fn question(account: &Account) -> SubjectAccessReview {
    let Account { namespace, name } = account;
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{namespace}:{name}")),
            groups: Some(vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ]),
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.clone()),
                verb: Some("list".to_owned()),
                resource: Some("secrets".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}
