//! Writes statuses: at most once per change, and again only if the API server did not take it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use lateen_model::ObjectRef;
use serde_json::{Value, json};

use super::{Refused, credentials, refused, wanted};
use crate::engine::State;
use crate::secrets::credential::Problem;
use crate::watch::{self, with_causes};

/// How long to wait after the API server did not take a status.
const RETRY: Duration = Duration::from_secs(5);

/// How long refusals are collected: the proxies of a mesh refuse an object one after the other.
const COLLECT: Duration = Duration::from_millis(200);

/// What was written last to an object, until the object shows it.
type Written = BTreeMap<ObjectRef, Value>;

/// Follows the index and the proxies, and writes what changes. Never ends.
pub(crate) async fn run(state: Arc<State>, client: Client) {
    let mut settled = state.settled();
    let mut refusals = state.publisher.refusals_changed();
    let mut problems = state.credential_problems();
    let mut before = Complaints::default();
    let mut written = Written::new();
    let mut left = BTreeSet::new();
    loop {
        tokio::select! {
            changed = settled.changed() => if changed.is_err() { return },
            changed = refusals.changed() => if changed.is_err() { return },
            changed = problems.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if !left.is_empty() => {}
        }
        if !*state.synced().borrow() {
            continue;
        }
        tokio::time::sleep(COLLECT).await;
        settled.mark_unchanged();
        refusals.mark_unchanged();
        let now = Complaints::of(&state, &problems.borrow_and_update());
        let patches = due(&state, &before, &now, &mut left, &mut written);
        before = now;
        for (object, resource, status) in patches {
            let api =
                Api::<DynamicObject>::namespaced_with(client.clone(), &object.namespace, &resource);
            let patch = Patch::Merge(json!({ "status": status }));
            match api
                .patch_status(&object.name, &PatchParams::default(), &patch)
                .await
            {
                Ok(_) => {
                    tracing::info!(%object, "wrote the status");
                    written.insert(object, status);
                }
                // It is gone, or its kind is.
                Err(kube::Error::Api(error)) if error.code == 404 => {}
                Err(error) => {
                    tracing::warn!(%object, error = with_causes(&error), "cannot write the status; trying again");
                    left.insert(object);
                }
            }
        }
    }
}

/// What proxies make of objects.
#[derive(Debug, Default)]
struct Complaints {
    refused: BTreeMap<ObjectRef, Refused>,
    credentials: BTreeMap<ObjectRef, Vec<String>>,
}

// === impl Complaints ===

impl Complaints {
    fn of(state: &State, problems: &BTreeMap<String, Problem>) -> Self {
        let connections = state.publisher.connections();
        let index = state.index();
        Self {
            refused: refused(&index, &connections),
            credentials: credentials::lacking(&index, &connections, problems),
        }
    }

    fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        self.refused.keys().chain(self.credentials.keys())
    }

    fn about(&self, object: &ObjectRef) -> (Option<&Refused>, &[String]) {
        let credentials = self.credentials.get(object);
        (
            self.refused.get(object),
            credentials.map(Vec::as_slice).unwrap_or_default(),
        )
    }
}

type Due = Vec<(ObjectRef, kube::api::ApiResource, Value)>;

/// The statuses to write now: of objects that were judged, of those about which proxies complain
/// otherwise than before, and of those that are left from before.
fn due(
    state: &State,
    before: &Complaints,
    now: &Complaints,
    left: &mut BTreeSet<ObjectRef>,
    written: &mut Written,
) -> Due {
    let judged = state.index_mut().take_judged();
    let index = state.index();
    let mut objects = std::mem::take(left);
    objects.extend(judged);
    let all = before.objects().chain(now.objects());
    let changed = all.filter(|object| before.about(object) != now.about(object));
    objects.extend(changed.cloned());
    let time = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut patches = Due::new();
    for object in objects {
        let (Some(value), Some(verdict)) = (index.object(&object), index.verdict(&object)) else {
            written.remove(&object);
            continue;
        };
        let (refused, credentials) = now.about(&object);
        let Some(status) = wanted(value, verdict, refused, credentials, &time) else {
            written.remove(&object);
            continue;
        };
        // The watch has not brought back what was written: writing it again would change nothing
        // but the time.
        if written
            .get(&object)
            .is_some_and(|last| is_same(last, &status))
        {
            continue;
        }
        if let Some(resource) = watch::resource_of(value) {
            patches.push((object, resource, status));
        }
    }
    patches
}

/// Equality but for times.
fn is_same(a: &Value, b: &Value) -> bool {
    let without_times = |status: &Value| {
        let mut status = status.clone();
        let conditions = status["conditions"].as_array_mut();
        for condition in conditions.into_iter().flatten() {
            condition["lastTransitionTime"] = Value::Null;
        }
        status
    };
    without_times(a) == without_times(b)
}
