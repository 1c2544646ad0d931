//! One Secret of the cluster, watched by its name.

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::sync::mpsc;

use super::credential::Data;
use super::{News, Object};
use crate::watch::{BACKOFF, is_expired, with_causes};

/// Follows a Secret until nobody listens.
pub(super) async fn follow(client: Client, object: Object, news: mpsc::Sender<News>) {
    let (namespace, name) = &object;
    let api = Api::<Secret>::namespaced(client, namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut stream = std::pin::pin!(watcher(api, config));
    let mut listed = None;
    let mut failures = 0;
    while let Some(event) = stream.next().await {
        let data = match event {
            Ok(Event::Init) => {
                listed = None;
                continue;
            }
            Ok(Event::InitApply(secret)) => {
                listed = Some(data(secret));
                continue;
            }
            Ok(Event::InitDone) => listed.take(),
            Ok(Event::Apply(secret)) => Some(data(secret)),
            Ok(Event::Delete(_)) => None,
            Err(error) if is_expired(&error) && failures == 0 => continue,
            // What is known stays in service.
            Err(error) => {
                if failures == 0 {
                    let error = with_causes(&error);
                    tracing::warn!(
                        namespace,
                        name,
                        error,
                        "cannot watch a Secret; trying again"
                    );
                }
                tokio::time::sleep(BACKOFF.wait(failures)).await;
                failures = failures.saturating_add(1);
                continue;
            }
        };
        failures = 0;
        if news.send(News::Object(object.clone(), data)).await.is_err() {
            return;
        }
    }
}

fn data(secret: Secret) -> Data {
    let data = secret.data.unwrap_or_default();
    data.into_iter()
        .map(|(key, value)| (key, value.0))
        .collect()
}
