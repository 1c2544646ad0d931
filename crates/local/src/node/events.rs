//! Events about pods and the node, written in the background; one that happens again counts up.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde_json::json;
use tokio::sync::mpsc;

/// Events remembered for counting.
const REMEMBERED: usize = 1024;

/// Writes events; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    notes: mpsc::UnboundedSender<Note>,
    component: &'static str,
    host: String,
}

/// Whether an event is a matter of course.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Normal,
    Warning,
}

#[derive(Debug, Clone)]
struct Note {
    object: ObjectReference,
    kind: Kind,
    reason: &'static str,
    message: String,
    component: &'static str,
    host: String,
}

// === impl Recorder ===

impl Recorder {
    /// A recorder for the node `host`, and the future that writes what it records.
    pub(crate) fn new(
        client: Client,
        host: &str,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (notes, receiver) = mpsc::unbounded_channel();
        let recorder = Self {
            notes,
            component: "kubelet",
            host: host.into(),
        };
        (recorder, write_all(client, receiver))
    }

    /// The same for another part of the node.
    pub(crate) fn component(&self, component: &'static str) -> Self {
        Self {
            component,
            ..self.clone()
        }
    }

    /// Records an event about an object, or about its container of this name.
    pub(crate) fn record<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        container: Option<&str>,
        kind: Kind,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let mut object = object.object_ref(&());
        object.field_path = container.map(|name| format!("spec.containers{{{name}}}"));
        // Nobody writes any more when the node ends.
        let _ = self.notes.send(Note {
            object,
            kind,
            reason,
            message: message.into(),
            component: self.component,
            host: self.host.clone(),
        });
    }
}

/// What makes two events the same: object, part of it, reason, message.
type Key = (String, String, &'static str, String);

async fn write_all(client: Client, mut notes: mpsc::UnboundedReceiver<Note>) {
    let mut known: HashMap<Key, (String, i32)> = HashMap::new();
    while let Some(note) = notes.recv().await {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let namespace = note
            .object
            .namespace
            .clone()
            .unwrap_or_else(|| "default".into());
        let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let object = &note.object;
        let id = format!("{}/{}", text(&object.uid), text(&object.name));
        let key = (
            id,
            text(&object.field_path),
            note.reason,
            note.message.clone(),
        );
        if known.len() > REMEMBERED {
            known.clear();
        }
        if let Some((name, count)) = known.get_mut(&key) {
            *count += 1;
            let patch = json!({ "count": *count, "lastTimestamp": Time(Timestamp::now()) });
            let patched = events
                .patch(name, &PatchParams::default(), &Patch::Merge(patch))
                .await;
            if patched.is_ok() {
                continue;
            }
            // It has expired; it begins anew.
        }
        let event = event(&note, &namespace);
        let name = event.metadata.name.clone().unwrap_or_default();
        match events.create(&PostParams::default(), &event).await {
            Ok(_) => {
                known.insert(key, (name, 1));
            }
            Err(error) => tracing::debug!(%error, reason = note.reason, "an event is lost"),
        }
    }
}

fn event(note: &Note, namespace: &str) -> Event {
    let now = Timestamp::now();
    let name = note.object.name.clone().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", now.as_nanosecond())),
            namespace: Some(namespace.into()),
            ..ObjectMeta::default()
        },
        involved_object: note.object.clone(),
        type_: Some(match note.kind {
            Kind::Normal => "Normal".into(),
            Kind::Warning => "Warning".into(),
        }),
        reason: Some(note.reason.into()),
        message: Some(note.message.clone()),
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        source: Some(EventSource {
            component: Some(note.component.into()),
            host: Some(note.host.clone()),
        }),
        reporting_component: Some(note.component.into()),
        reporting_instance: Some(note.host.clone()),
        ..Event::default()
    }
}
