//! Events: what controllers did to an object, for `kubectl describe` and `kubectl get events`.
//!
//! They are written in the background, so that nobody waits for them, and one that happens again
//! counts up instead of making another object.

use std::collections::HashMap;
use std::future::Future;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use tokio::sync::mpsc;

use super::clock;

/// Records events.
#[derive(Clone)]
pub(super) struct Recorder {
    notes: mpsc::UnboundedSender<Note>,
}

/// Whether an event is a matter of course.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Normal,
    Warning,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Note {
    component: &'static str,
    object: Subject,
    kind: Kind,
    reason: &'static str,
    message: String,
}

/// To what it happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Subject {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
    uid: String,
}

/// How many distinct events are remembered for counting.
const REMEMBERED: usize = 4096;

// === impl Recorder ===

impl Recorder {
    /// A recorder, and the future that writes what it records.
    pub(super) fn new(client: Client) -> (Self, impl Future<Output = ()> + Send) {
        let (notes, receiver) = mpsc::unbounded_channel();
        (Self { notes }, write_all(client, receiver))
    }

    /// Records what happened as a matter of course.
    pub(super) fn normal<K: Resource<DynamicType = ()>>(
        &self,
        component: &'static str,
        object: &K,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.record(component, object, Kind::Normal, reason, message.into());
    }

    /// Records what should not have happened.
    pub(super) fn warning<K: Resource<DynamicType = ()>>(
        &self,
        component: &'static str,
        object: &K,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.record(component, object, Kind::Warning, reason, message.into());
    }

    fn record<K: Resource<DynamicType = ()>>(
        &self,
        component: &'static str,
        object: &K,
        kind: Kind,
        reason: &'static str,
        message: String,
    ) {
        let meta = object.meta();
        let note = Note {
            component,
            object: Subject {
                api_version: K::api_version(&()).into_owned(),
                kind: K::kind(&()).into_owned(),
                namespace: meta.namespace.clone().unwrap_or_default(),
                name: meta.name.clone().unwrap_or_default(),
                uid: meta.uid.clone().unwrap_or_default(),
            },
            kind,
            reason,
            message,
        };
        // Nobody listens only when the controllers are ending.
        let _ = self.notes.send(note);
    }
}

async fn write_all(client: Client, mut notes: mpsc::UnboundedReceiver<Note>) {
    let mut written: HashMap<Note, (String, i32)> = HashMap::new();
    while let Some(note) = notes.recv().await {
        // Objects without a namespace have their events in `default`.
        let namespace = match note.object.namespace.as_str() {
            "" => "default",
            namespace => namespace,
        };
        let api = Api::<Event>::namespaced(client.clone(), namespace);
        if let Some((name, count)) = written.get_mut(&note) {
            *count += 1;
            let again = serde_json::json!({"count": *count, "lastTimestamp": Time(clock::now())});
            let patch = Patch::Merge(again);
            if api
                .patch(name, &PatchParams::default(), &patch)
                .await
                .is_ok()
            {
                continue;
            }
            // It has expired or went with its namespace; a new one is made below.
        }
        if written.len() >= REMEMBERED {
            written.clear();
        }
        match api
            .create(&PostParams::default(), &event(&note, namespace))
            .await
        {
            Ok(created) => {
                let name = created.metadata.name.unwrap_or_default();
                written.insert(note, (name, 1));
            }
            // An event is for people only; that its namespace is ending must not disturb anything.
            Err(error) => {
                tracing::debug!(%error, reason = note.reason, "an event was not recorded");
            }
        }
    }
}

fn event(note: &Note, namespace: &str) -> Event {
    let now = Time(clock::now());
    let object = &note.object;
    let mut event = Event {
        involved_object: ObjectReference {
            api_version: Some(object.api_version.clone()),
            kind: Some(object.kind.clone()),
            namespace: Some(object.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            name: Some(object.name.clone()),
            uid: Some(object.uid.clone()),
            ..ObjectReference::default()
        },
        type_: Some(format!("{:?}", note.kind)),
        reason: Some(note.reason.into()),
        message: Some(note.message.clone()),
        count: Some(1),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        source: Some(EventSource {
            component: Some(note.component.into()),
            host: None,
        }),
        reporting_component: Some(note.component.into()),
        ..Event::default()
    };
    event.metadata.namespace = Some(namespace.into());
    event.metadata.generate_name = Some(format!("{}.", object.name));
    event
}
