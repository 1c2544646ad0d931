//! Watches: a stream of what changes, from a revision on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::partial;
use super::read::Selection;
use crate::apiserver::body::{self, Body};
use crate::apiserver::call::{Call, Form};
use crate::apiserver::server::Core;
use crate::apiserver::status::Failure;
use crate::apiserver::store::{Change, Expired};
use crate::apiserver::{convert, object, table};

/// How often a watcher that allows it is told how far the server is.
const BOOKMARK_EVERY: Duration = Duration::from_secs(30);

/// The life of a watch whose client names none: Kubernetes' minimum.
const DEFAULT_LIFE: Duration = Duration::from_secs(1800);

/// The longest life of a watch, whatever its client asks for; clocks cannot count to the end of time.
const LONGEST_LIFE: Duration = Duration::from_secs(86_400);

struct Watch {
    core: Arc<Core>,
    call: Call,
    selection: Selection,
    /// Every change up to here has been sent.
    cursor: u64,
    newest: Receiver<u64>,
    ready: VecDeque<Bytes>,
    deadline: Instant,
    bookmark: Option<Instant>,
    is_over: bool,
}

pub(super) fn watch(core: &Arc<Core>, call: &mut Call) -> Result<Response<Body>, Failure> {
    let selection = Selection::of(call)?;
    let life = call.query.number("timeoutSeconds")?;
    let life = life
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0)
        .map_or(DEFAULT_LIFE, Duration::from_secs)
        .min(LONGEST_LIFE);
    let asked = call.query.get("resourceVersion");
    let start = match asked {
        "" => 0,
        text => text.parse::<u64>().map_err(|_| {
            Failure::bad_request(format!(
                "invalid resource version {text:?}: must be a number"
            ))
        })?,
    };
    let newest = core.store.revision();
    if start > newest {
        // It has seen a cluster that is no more. Nothing would reach it until this one is as old.
        return Err(Failure::expired(format!(
            "too large resource version: {start} (newest is {newest})"
        )));
    }
    let wants_bookmarks = call.query.flag("allowWatchBookmarks");
    let wants_initial = call.query.flag("sendInitialEvents");
    let has_no_initial = call.query.get("sendInitialEvents") == "false";
    let own = call.again(call.verb, &call.namespace, &call.name);
    let mut watch = Watch {
        newest: core.store.subscribe(&call.resource.table),
        core: core.clone(),
        call: own,
        selection,
        cursor: start,
        ready: VecDeque::new(),
        deadline: Instant::now() + life,
        bookmark: wants_bookmarks.then(|| Instant::now() + BOOKMARK_EVERY),
        is_over: false,
    };
    if wants_initial || (start == 0 && !has_no_initial) {
        watch.send_current();
        if wants_initial {
            watch.send_bookmark(true);
        }
    } else if start == 0 {
        watch.cursor = core.store.revision();
    }
    let stream = futures::stream::unfold(watch, |mut watch| async move {
        let chunk = watch.next().await?;
        Some((chunk, watch))
    });
    Ok(body::typed(
        StatusCode::OK,
        "application/json",
        body::stream(stream),
    ))
}

// === impl Watch ===

impl Watch {
    /// The next piece of the stream; nothing when it is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Some(chunk);
            }
            if self.is_over {
                return None;
            }
            self.newest.mark_unchanged();
            self.collect();
            if !self.ready.is_empty() {
                continue;
            }
            let wake = self
                .bookmark
                .map_or(self.deadline, |at| at.min(self.deadline));
            tokio::select! {
                changed = self.newest.changed() => self.is_over |= changed.is_err(),
                () = tokio::time::sleep_until(wake) => self.tick(),
            }
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if now >= self.deadline {
            self.is_over = true;
        } else if self.bookmark.is_some_and(|at| now >= at) {
            self.bookmark = Some(now + BOOKMARK_EVERY);
            self.send_bookmark(false);
        }
    }

    /// Makes events of the changes that have happened.
    fn collect(&mut self) {
        match self
            .core
            .store
            .changes(&self.call.resource.table, self.cursor)
        {
            Ok((changes, upto)) => {
                for change in changes {
                    self.send_change(&change);
                }
                self.cursor = self.cursor.max(upto);
            }
            Err(Expired { asked, oldest }) => {
                let failure =
                    Failure::expired(format!("too old resource version: {asked} ({oldest})"));
                self.send("ERROR", &failure.to_value());
                self.is_over = true;
            }
        }
    }

    /// An object that enters or leaves the selection is added or deleted for this watcher.
    fn send_change(&mut self, change: &Change) {
        let namespace = &self.call.namespace;
        let is_selected = |value: &Value| {
            (namespace.is_empty() || object::namespace(value) == namespace)
                && self.selection.matches(&self.call, value)
        };
        let was = change.before.as_deref().is_some_and(is_selected);
        let is = !change.is_deletion && is_selected(&change.object);
        match (was, is) {
            (false, true) => self.send_object("ADDED", &change.object),
            (true, true) => self.send_object("MODIFIED", &change.object),
            (true, false) if change.is_deletion => self.send_object("DELETED", &change.object),
            (true, false) => {
                let mut last = change.before.as_deref().cloned().unwrap_or_default();
                let revision = change.revision.to_string();
                object::metadata(&mut last).insert("resourceVersion".into(), revision.into());
                self.send_object("DELETED", &last);
            }
            (false, false) => {}
        }
    }

    /// Sends all there is now, as added.
    fn send_current(&mut self) {
        let (objects, revision) =
            self.core
                .store
                .list(&self.call.resource.table, &self.call.namespace, None);
        for object in objects {
            if self.selection.matches(&self.call, &object) {
                self.send_object("ADDED", &object);
            }
        }
        self.cursor = revision;
    }

    fn send_object(&mut self, kind: &str, stored: &Value) {
        let call = &self.call;
        let object = convert::to_version(&call.resource, &call.version().name, stored);
        let value = match call.form {
            Form::Objects => object,
            Form::Metadata => partial(&object),
            Form::Table(version) => {
                let revision = object::text(&object, &["metadata", "resourceVersion"]).to_owned();
                let metadata = json!({"resourceVersion": revision});
                table::render(call, version, &[object], &metadata)
            }
        };
        self.send(kind, &value);
    }

    fn send_bookmark(&mut self, is_initial_end: bool) {
        let mut metadata = json!({"resourceVersion": self.cursor.to_string()});
        if is_initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let value = match self.call.form {
            Form::Objects => json!({
                "kind": self.call.resource.kind,
                "apiVersion": self.call.api_version(),
                "metadata": metadata,
            }),
            Form::Metadata => partial(&json!({"metadata": metadata})),
            Form::Table(version) => table::render(&self.call, version, &[], &metadata),
        };
        self.send("BOOKMARK", &value);
    }

    fn send(&mut self, kind: &str, object: &Value) {
        let mut line = json!({"type": kind, "object": object}).to_string();
        line.push('\n');
        self.ready.push_back(line.into());
    }
}
