//! The root certificate in every namespace: ConfigMap `istio-ca-root-cert`, which pods mount to
//! know the control plane, and later each other.
//!
//! It is written when a namespace appears, and again when somebody changed or deleted it, or when
//! another authority is in use. Other control planes beside this one write the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::Instant;

use crate::ROOT_CONFIG_MAP;
use crate::authority::Current;
use crate::inject::NEVER;
use crate::watch::{BACKOFF, is_expired, with_causes};

/// The key of the ConfigMap.
const KEY: &str = "root-cert.pem";

/// How long to wait after the API server did not take one.
const RETRY: Duration = Duration::from_secs(2);

/// ConfigMaps that are written at once.
const AT_ONCE: usize = 8;

/// What is known of namespaces and of their ConfigMaps.
#[derive(Debug, Default)]
struct Known {
    namespaces: BTreeSet<String>,
    /// The certificate in each ConfigMap; empty if it has none.
    maps: BTreeMap<String, String>,
    has_listed_namespaces: bool,
    has_listed_maps: bool,
    /// What a list has found so far.
    found: BTreeSet<String>,
    found_maps: BTreeMap<String, String>,
}

/// How a namespace has to be brought up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Create,
    Correct,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Written,
    Needless,
    Failed,
}

/// Keeps every namespace's ConfigMap. Never ends.
pub(crate) async fn keep(client: Client, mut current: Current) {
    let namespaces = watcher(
        Api::<Namespace>::all(client.clone()),
        watcher::Config::default(),
    );
    let config = watcher::Config::default().fields(&format!("metadata.name={ROOT_CONFIG_MAP}"));
    let maps = watcher(Api::<ConfigMap>::all(client.clone()), config);
    let (mut namespaces, mut maps) = (std::pin::pin!(namespaces), std::pin::pin!(maps));
    let mut known = Known::default();
    let mut failures = 0;
    let mut again: Option<Instant> = None;
    loop {
        let failed = tokio::select! {
            Some(event) = namespaces.next() => event.map(|event| known.take_namespace(event)).err(),
            Some(event) = maps.next() => event.map(|event| known.take_map(event)).err(),
            changed = current.changed() => if changed.is_err() { return } else { None },
            () = at(again) => None,
        };
        match failed {
            None => failures = 0,
            Some(error) if is_expired(&error) && failures == 0 => continue,
            Some(error) => {
                let error = with_causes(&error);
                tracing::debug!(error, "cannot watch namespaces for their root certificate");
                tokio::time::sleep(BACKOFF.wait(failures)).await;
                failures = failures.saturating_add(1);
                continue;
            }
        }
        let Some(authority) = current.borrow_and_update().clone() else {
            continue;
        };
        let due = known.due(&authority.certificate);
        let mut is_all_done = true;
        for (namespace, outcome) in write(&client, &authority.certificate, due).await {
            match outcome {
                // Known before the watch says so: whatever comes meanwhile writes nothing twice.
                Outcome::Written => {
                    let certificate = authority.certificate.clone();
                    known.maps.insert(namespace, certificate);
                }
                Outcome::Needless => {}
                Outcome::Failed => is_all_done = false,
            }
        }
        again = (!is_all_done).then(|| Instant::now() + RETRY);
    }
}

/// Writes what is due.
async fn write(
    client: &Client,
    certificate: &str,
    due: Vec<(String, Write)>,
) -> Vec<(String, Outcome)> {
    let writes = due.into_iter().map(|(namespace, write)| async move {
        let api = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
        let outcome = match write_one(&api, certificate, write).await {
            Ok(()) => {
                tracing::debug!(namespace, "wrote the root certificate");
                Outcome::Written
            }
            // The namespace is gone, or going: its own event says so.
            Err(kube::Error::Api(error))
                if error.code == 404
                    || (error.code == 403 && error.message.contains("terminated")) =>
            {
                Outcome::Needless
            }
            Err(error) => {
                let error = with_causes(&error);
                tracing::warn!(
                    namespace,
                    error,
                    "cannot write the root certificate; trying again"
                );
                Outcome::Failed
            }
        };
        (namespace, outcome)
    });
    let written = futures::stream::iter(writes).buffer_unordered(AT_ONCE);
    written.collect().await
}

async fn write_one(
    api: &Api<ConfigMap>,
    certificate: &str,
    write: Write,
) -> Result<(), kube::Error> {
    if write == Write::Create {
        let map = json!({
            "metadata": { "name": ROOT_CONFIG_MAP, "labels": { "istio.io/config": "true" } },
            "data": { KEY: certificate },
        });
        let map = serde_json::from_value(map).map_err(kube::Error::SerdeError)?;
        match api.create(&PostParams::default(), &map).await {
            // Somebody was faster, perhaps another control plane: what it wrote is looked at next.
            Err(kube::Error::Api(error)) if error.code == 409 => {}
            created => return created.map(drop),
        }
    }
    let patch = Patch::Merge(json!({ "data": { KEY: certificate } }));
    api.patch(ROOT_CONFIG_MAP, &PatchParams::default(), &patch)
        .await
        .map(drop)
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

// === impl Known ===

impl Known {
    fn take_namespace(&mut self, event: Event<Namespace>) {
        match event {
            Event::Init => self.found.clear(),
            Event::InitApply(namespace) => self.found.extend(wanted(&namespace)),
            Event::InitDone => {
                self.namespaces = std::mem::take(&mut self.found);
                self.has_listed_namespaces = true;
            }
            Event::Apply(namespace) => {
                match wanted(&namespace) {
                    Some(name) => self.namespaces.insert(name),
                    None => self.namespaces.remove(&name_of(&namespace)),
                };
            }
            Event::Delete(namespace) => {
                self.namespaces.remove(&name_of(&namespace));
            }
        }
    }

    fn take_map(&mut self, event: Event<ConfigMap>) {
        let entry = |map: ConfigMap| {
            let certificate = map.data.and_then(|mut data| data.remove(KEY));
            (
                map.metadata.namespace.unwrap_or_default(),
                certificate.unwrap_or_default(),
            )
        };
        match event {
            Event::Init => self.found_maps.clear(),
            Event::InitApply(map) => self.found_maps.extend([entry(map)]),
            Event::InitDone => {
                self.maps = std::mem::take(&mut self.found_maps);
                self.has_listed_maps = true;
            }
            Event::Apply(map) => self.maps.extend([entry(map)]),
            Event::Delete(map) => {
                self.maps.remove(&entry(map).0);
            }
        }
    }

    /// What is to be written for this certificate.
    fn due(&self, certificate: &str) -> Vec<(String, Write)> {
        if !self.has_listed_namespaces || !self.has_listed_maps {
            return Vec::new();
        }
        let due = self.namespaces.iter().filter_map(|namespace| {
            let write = match self.maps.get(namespace) {
                None => Write::Create,
                Some(have) if have != certificate => Write::Correct,
                Some(_) => return None,
            };
            Some((namespace.clone(), write))
        });
        due.collect()
    }
}

fn name_of(namespace: &Namespace) -> String {
    namespace.metadata.name.clone().unwrap_or_default()
}

/// The namespace's name, if pods of the mesh may live in it.
fn wanted(namespace: &Namespace) -> Option<String> {
    let name = name_of(namespace);
    let is_going = namespace.metadata.deletion_timestamp.is_some();
    (!is_going && !NEVER.contains(&name.as_str())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str, is_going: bool) -> Namespace {
        let going = is_going.then_some("2026-01-02T03:04:05Z");
        let value = json!({ "metadata": { "name": name, "deletionTimestamp": going } });
        serde_json::from_value(value).unwrap()
    }

    fn map(namespace: &str, certificate: &str) -> ConfigMap {
        let metadata = json!({ "name": ROOT_CONFIG_MAP, "namespace": namespace });
        let value = json!({ "metadata": metadata, "data": { KEY: certificate } });
        serde_json::from_value(value).unwrap()
    }

    fn listed(namespaces: &[&str], maps: &[(&str, &str)]) -> Known {
        let mut known = Known::default();
        known.take_namespace(Event::Init);
        for name in namespaces {
            known.take_namespace(Event::InitApply(namespace(name, false)));
        }
        known.take_namespace(Event::InitDone);
        known.take_map(Event::Init);
        for (name, certificate) in maps {
            known.take_map(Event::InitApply(map(name, certificate)));
        }
        assert_eq!(known.due("root"), [], "the lists are not complete");
        known.take_map(Event::InitDone);
        known
    }

    fn due(known: &Known) -> Vec<(String, Write)> {
        known.due("root")
    }

    #[test]
    fn namespaces_without_the_certificate_get_it_and_system_namespaces_do_not() {
        let known = listed(
            &["a", "b", "c", "kube-system"],
            &[("b", "root"), ("c", "old")],
        );
        let expected = [("a".into(), Write::Create), ("c".into(), Write::Correct)];
        assert_eq!(due(&known), expected);
    }

    #[test]
    fn what_is_changed_or_deleted_is_repaired_unless_the_namespace_goes() {
        let mut known = listed(&["a"], &[("a", "root")]);
        assert_eq!(due(&known), []);
        known.take_map(Event::Apply(map("a", "mine")));
        assert_eq!(due(&known), [("a".into(), Write::Correct)]);
        known.take_map(Event::Delete(map("a", "mine")));
        assert_eq!(due(&known), [("a".into(), Write::Create)]);
        known.take_namespace(Event::Apply(namespace("a", true)));
        assert_eq!(due(&known), []);
    }
}
