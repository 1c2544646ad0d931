//! Deletes objects: at once, after a grace, or when nothing holds them any more.

use std::sync::Arc;

use http::{Response, StatusCode};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{current, read, refused, respond};
use crate::apiserver::body::{self, Body};
use crate::apiserver::call::{Call, Verb};
use crate::apiserver::server::Core;
use crate::apiserver::status::Failure;
use crate::apiserver::store::{Key, Refusal};
use crate::apiserver::{admission, convert, object, strategy};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// How the client wants an object deleted.
#[derive(Debug, Clone, Default)]
struct Options {
    grace: Option<i64>,
    propagation: Option<Propagation>,
    uid: String,
    revision: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// What became of an object.
enum Outcome {
    /// It is still there, marked.
    Marked(Arc<Value>),
    Removed(Arc<Value>),
}

pub(super) async fn delete(core: &Arc<Core>, call: &mut Call) -> Result<Response<Body>, Failure> {
    let options = Options::of(call)?;
    let outcome = delete_object(core, call, &options).await?;
    // What has a life after its deletion, or is waited for, is answered as an object.
    let removed = match outcome {
        Outcome::Marked(stored) => return Ok(respond(call, StatusCode::OK, &stored)),
        Outcome::Removed(stored)
            if matches!(call.resource.table.as_str(), "pods" | "namespaces") =>
        {
            return Ok(respond(call, StatusCode::OK, &stored));
        }
        Outcome::Removed(stored) => stored,
    };
    let mut details = json!({
        "name": call.name,
        "kind": call.resource.plural,
        "uid": object::uid(&removed),
    });
    if !call.resource.group.is_empty() {
        details["group"] = call.resource.group.as_str().into();
    }
    let status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    });
    Ok(body::json(StatusCode::OK, &status))
}

pub(super) async fn delete_collection(
    core: &Arc<Core>,
    call: &mut Call,
) -> Result<Response<Body>, Failure> {
    let options = Options::of(call)?;
    let mut items = Vec::new();
    for stored in read::select(core, call)? {
        let (namespace, name) = (object::namespace(&stored), object::name(&stored));
        let mut one = call.again(Verb::Delete, namespace, name);
        match delete_object(core, &mut one, &options).await {
            Ok(Outcome::Marked(stored) | Outcome::Removed(stored)) => {
                items.push(convert::to_version(
                    &call.resource,
                    &call.version().name,
                    &stored,
                ));
            }
            // Somebody else was faster.
            Err(failure) if failure.is_not_found() => {}
            Err(failure) => return Err(failure),
        }
        call.warnings.append(&mut one.warnings);
    }
    let list = json!({
        "kind": call.resource.list_kind,
        "apiVersion": call.api_version(),
        "metadata": {"resourceVersion": core.store.revision().to_string()},
        "items": items,
    });
    Ok(body::json(StatusCode::OK, &list))
}

/// Deletes the object that a call names, as part of another operation.
pub(super) async fn evict(core: &Arc<Core>, call: &mut Call) -> Result<(), Failure> {
    let options = Options::of(call)?;
    delete_object(core, call, &options).await.map(drop)
}

async fn delete_object(
    core: &Arc<Core>,
    call: &mut Call,
    options: &Options,
) -> Result<Outcome, Failure> {
    loop {
        let stored = current(core, call)?;
        options.check(call, &stored)?;
        protect(call)?;
        let old = convert::to_version(&call.resource, &call.version().name, &stored);
        admission::webhooks::validate(core, call, None, Some(&old)).await?;
        match delete_once(core, call, options, &stored) {
            Err(Refusal::Changed) => {}
            Err(refusal) => return Err(refused(call, &call.name, &refusal)),
            Ok(outcome) => {
                if let (Outcome::Marked(stored) | Outcome::Removed(stored), false) =
                    (&outcome, call.is_dry_run())
                {
                    strategy::after_write(core, &call.resource, stored);
                }
                return Ok(outcome);
            }
        }
    }
}

/// Kubernetes keeps its own namespaces.
fn protect(call: &Call) -> Result<(), Failure> {
    let is_protected = call.resource.is("", "namespaces")
        && matches!(
            call.name.as_str(),
            "default" | "kube-system" | "kube-public"
        );
    if is_protected {
        return Err(call
            .resource
            .forbidden(&call.name, "this namespace may not be deleted"));
    }
    Ok(())
}

fn delete_once(
    core: &Core,
    call: &Call,
    options: &Options,
    stored: &Arc<Value>,
) -> Result<Outcome, Refusal> {
    let mut marked = Value::clone(stored);
    set_finalizers(call, options, &mut marked);
    let was_marked = object::is_terminating(stored);
    let grace = grace_of(call, options, stored);
    mark(&mut marked, stored, grace);
    if call.resource.is("", "namespaces") {
        object::map(
            object::map(&mut marked)
                .entry("status")
                .or_insert(Value::Null),
        )
        .insert("phase".into(), "Terminating".into());
    }
    let expected = object::revision(stored);
    if strategy::is_gone(&call.resource, &marked) {
        if call.is_dry_run() {
            return Ok(Outcome::Removed(stored.clone()));
        }
        let key = Key::of(stored);
        return core
            .store
            .remove(&call.resource.table, &key, expected)
            .map(Outcome::Removed);
    }
    if call.is_dry_run() {
        return Ok(Outcome::Marked(Arc::new(marked)));
    }
    if marked == **stored {
        return Ok(Outcome::Marked(stored.clone()));
    }
    if !was_marked && call.resource.has_generation {
        strategy::raise_generation(&mut marked);
    }
    core.store
        .replace(&call.resource.table, expected, marked)
        .map(Outcome::Marked)
}

/// How long the object may take to end, in seconds: only pods take any time.
fn grace_of(call: &Call, options: &Options, stored: &Value) -> i64 {
    if call.resource.table != "pods" {
        return 0;
    }
    let is_running = !object::text(stored, &["spec", "nodeName"]).is_empty()
        && !matches!(
            object::text(stored, &["status", "phase"]),
            "Succeeded" | "Failed"
        );
    if !is_running {
        return 0;
    }
    let own =
        object::at(stored, &["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64);
    options.grace.or(own).unwrap_or(30).max(0)
}

/// Marks the object as being deleted. A second deletion can only shorten the grace.
fn mark(marked: &mut Value, stored: &Value, grace: i64) {
    let metadata = object::metadata(marked);
    let before = object::at(stored, &["metadata", "deletionGracePeriodSeconds"]);
    let is_later = object::is_terminating(stored)
        && before
            .and_then(Value::as_i64)
            .is_none_or(|before| before <= grace);
    if is_later {
        return;
    }
    let now = Timestamp::now();
    let end = now
        .checked_add(SignedDuration::from_secs(grace))
        .unwrap_or(now);
    metadata.insert("deletionTimestamp".into(), object::seconds(end).into());
    metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
}

/// Writes the wished propagation into the finalizers, where the garbage collector finds it.
fn set_finalizers(call: &Call, options: &Options, marked: &mut Value) {
    let Some(propagation) = options.propagation else {
        return;
    };
    // Of a custom type's definition its objects are cleaned up anyhow.
    let mut finalizers: Vec<Value> = object::finalizers(marked)
        .filter(|name| !matches!(*name, FOREGROUND | ORPHAN))
        .map(Value::from)
        .collect();
    match propagation {
        Propagation::Background => {}
        _ if call.resource.is("", "namespaces") => {}
        Propagation::Foreground => finalizers.push(FOREGROUND.into()),
        Propagation::Orphan => finalizers.push(ORPHAN.into()),
    }
    let metadata = object::metadata(marked);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".into(), Value::Array(finalizers));
    }
}

// === impl Options ===

impl Options {
    /// Reads the options from the body, or from the parameters if there is none.
    fn of(call: &mut Call) -> Result<Self, Failure> {
        let mut options = Self {
            grace: call.query.number("gracePeriodSeconds")?,
            ..Self::default()
        };
        let mut propagation = call.query.get("propagationPolicy").to_owned();
        let mut orphan = match call.query.get("orphanDependents") {
            "" => None,
            text => Some(text == "true"),
        };
        if !call.body.is_empty() {
            let mut body = call.json()?;
            // An eviction carries the options of its deletion.
            if body["kind"] == "Eviction" {
                body = body["deleteOptions"].take();
            }
            options.grace = body["gracePeriodSeconds"].as_i64().or(options.grace);
            orphan = body["orphanDependents"].as_bool().or(orphan);
            if let Some(policy) = body["propagationPolicy"].as_str() {
                policy.clone_into(&mut propagation);
            }
            let text = |key: &str| object::text(&body, &["preconditions", key]).to_owned();
            options.uid = text("uid");
            options.revision = text("resourceVersion");
            let dry_runs = object::items(&body, &["dryRun"]);
            if dry_runs.iter().any(|value| value == "All") {
                call.query.set("dryRun", "All");
            }
        }
        options.propagation = match (propagation.as_str(), orphan) {
            ("Background", None) | ("", Some(false)) => Some(Propagation::Background),
            ("Foreground", None) => Some(Propagation::Foreground),
            ("Orphan", None) | ("", Some(true)) => Some(Propagation::Orphan),
            ("", None) => None,
            (other, _) => {
                return Err(Failure::bad_request(format!(
                    "propagationPolicy: Invalid value: {other:?}: must be one of Background, \
                     Foreground and Orphan, without orphanDependents"
                )));
            }
        };
        Ok(options)
    }

    /// Refuses to delete another object than the client means.
    fn check(&self, call: &Call, stored: &Value) -> Result<(), Failure> {
        let revision = object::text(stored, &["metadata", "resourceVersion"]);
        for (what, wanted, found) in [
            ("UID", self.uid.as_str(), object::uid(stored)),
            ("ResourceVersion", self.revision.as_str(), revision),
        ] {
            if !wanted.is_empty() && wanted != found {
                let why = format!(
                    "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: \
                     {found}"
                );
                let (group, plural) = (&call.resource.group, &call.resource.plural);
                return Err(Failure::conflict(group, plural, &call.name, &why));
            }
        }
        Ok(())
    }
}
