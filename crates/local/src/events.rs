//! Events: what happened to an object, for `kubectl describe` and `kubectl get events`.
//!
//! They are written in the background, so that nobody waits for them, and one that happens again
//! counts up instead of making another object. Controllers and the node write theirs by this.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde_json::json;
use tokio::sync::mpsc;

/// How many distinct events are remembered for counting.
const REMEMBERED: usize = 4096;

/// Records events; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    notes: mpsc::UnboundedSender<Note>,
    /// The node that they happen on; none for controllers.
    host: Option<Arc<str>>,
}

/// Whether an event is a matter of course.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Normal,
    Warning,
}

/// What happened.
#[derive(Debug, Clone)]
struct Note {
    object: ObjectReference,
    kind: Kind,
    reason: &'static str,
    message: String,
    component: &'static str,
    host: Option<Arc<str>>,
}

/// What makes two events the same: object, part of it, reason, message.
type Key = (String, String, &'static str, String);

// === impl Recorder ===

impl Recorder {
    /// A recorder, of the node `host` if one is given, and the future that writes what it records.
    pub(crate) fn new(
        client: Client,
        host: Option<&str>,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (notes, receiver) = mpsc::unbounded_channel();
        let recorder = Self {
            notes,
            host: host.map(Arc::from),
        };
        (recorder, write_all(client, receiver))
    }

    /// Records what happened as a matter of course.
    pub(crate) fn normal<K: Resource<DynamicType = ()>>(
        &self,
        component: &'static str,
        object: &K,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let object = object.object_ref(&());
        self.record(component, object, Kind::Normal, reason, message.into());
    }

    /// Records what should not have happened.
    pub(crate) fn warning<K: Resource<DynamicType = ()>>(
        &self,
        component: &'static str,
        object: &K,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let object = object.object_ref(&());
        self.record(component, object, Kind::Warning, reason, message.into());
    }

    /// Records an event about an object or a part of it.
    pub(crate) fn record(
        &self,
        component: &'static str,
        object: ObjectReference,
        kind: Kind,
        reason: &'static str,
        message: String,
    ) {
        // Nobody writes any more when the cluster ends.
        let _ = self.notes.send(Note {
            object,
            kind,
            reason,
            message,
            component,
            host: self.host.clone(),
        });
    }
}

// === impl Note ===

impl Note {
    fn key(&self) -> Key {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let object = &self.object;
        let kind = text(&object.kind);
        let id = format!("{kind}/{}/{}", text(&object.uid), text(&object.name));
        let part = text(&object.field_path);
        (id, part, self.reason, self.message.clone())
    }

    /// Objects without a namespace have their events in `default`.
    fn namespace(&self) -> &str {
        let namespace = self.object.namespace.as_deref().unwrap_or_default();
        if namespace.is_empty() {
            "default"
        } else {
            namespace
        }
    }

    fn event(&self, now: Timestamp) -> Event {
        let name = self.object.name.as_deref().unwrap_or_default();
        let host = self.host.as_deref().map(str::to_owned);
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{:x}", now.as_nanosecond())),
                namespace: Some(self.namespace().to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: self.object.clone(),
            type_: Some(match self.kind {
                Kind::Normal => "Normal".into(),
                Kind::Warning => "Warning".into(),
            }),
            reason: Some(self.reason.into()),
            message: Some(self.message.clone()),
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            source: Some(EventSource {
                component: Some(self.component.into()),
                host: host.clone(),
            }),
            reporting_component: Some(self.component.into()),
            reporting_instance: host,
            ..Event::default()
        }
    }
}

async fn write_all(client: Client, mut notes: mpsc::UnboundedReceiver<Note>) {
    let mut known: HashMap<Key, (String, i32)> = HashMap::new();
    while let Some(note) = notes.recv().await {
        let events: Api<Event> = Api::namespaced(client.clone(), note.namespace());
        let key = note.key();
        if let Some((name, count)) = known.get_mut(&key) {
            *count += 1;
            let again = json!({ "count": *count, "lastTimestamp": Time(Timestamp::now()) });
            let patch = Patch::Merge(again);
            let patched = events.patch(name, &PatchParams::default(), &patch).await;
            if patched.is_ok() {
                continue;
            }
            // It has expired or went with its namespace; a new one is made below.
        }
        if known.len() >= REMEMBERED {
            known.clear();
        }
        let event = note.event(Timestamp::now());
        let name = event.metadata.name.clone().unwrap_or_default();
        match events.create(&PostParams::default(), &event).await {
            Ok(_) => {
                known.insert(key, (name, 1));
            }
            // An event is for people only; that its namespace is ending must not disturb anything.
            Err(error) => tracing::debug!(%error, reason = note.reason, "an event is lost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(namespace: &str, message: &str) -> Note {
        Note {
            object: ObjectReference {
                kind: Some("Pod".into()),
                name: Some("a".into()),
                namespace: Some(namespace.into()),
                ..ObjectReference::default()
            },
            kind: Kind::Warning,
            reason: "Failed",
            message: message.into(),
            component: "kubelet",
            host: Some("node".into()),
        }
    }

    #[test]
    fn an_event_names_who_saw_it_and_where() {
        let now = Timestamp::from_second(1).unwrap();
        let event = note("shop", "no").event(now);
        assert_eq!(event.metadata.name.as_deref(), Some("a.3b9aca00"));
        assert_eq!(event.metadata.namespace.as_deref(), Some("shop"));
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        assert_eq!(event.source.unwrap().host.as_deref(), Some("node"));
        assert_eq!(note("", "no").namespace(), "default");
    }

    #[test]
    fn an_event_is_the_same_by_object_reason_and_message() {
        assert_eq!(note("a", "x").key(), note("a", "x").key());
        assert_ne!(note("a", "x").key(), note("a", "y").key());
    }
}
