//! Reads one object, or many.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{current, partial, respond};
use crate::apiserver::body::{self, Body};
use crate::apiserver::call::{Call, Form};
use crate::apiserver::selector::{FieldSelector, LabelSelector};
use crate::apiserver::server::Core;
use crate::apiserver::status::Failure;
use crate::apiserver::store::Key;
use crate::apiserver::{convert, object, table};

/// Which objects a list or a watch is about.
pub(super) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    name: String,
}

/// A page of a list.
struct Page {
    objects: Vec<Arc<Value>>,
    revision: u64,
    /// The last key of this page, if there are more, and how many there are.
    more: Option<(Key, Option<usize>)>,
}

// === impl Selection ===

impl Selection {
    pub(super) fn of(call: &Call) -> Result<Self, Failure> {
        let labels = LabelSelector::parse(call.query.get("labelSelector")).map_err(|error| {
            Failure::bad_request(format!("unable to parse requirement: {error}"))
        })?;
        let text = call.query.get("fieldSelector");
        let fields = FieldSelector::parse(text).map_err(Failure::bad_request)?;
        for path in fields.paths() {
            let is_known = matches!(path, "metadata.name" | "metadata.namespace")
                || call.resource.selectable.iter().any(|known| known == path);
            if !is_known {
                return Err(Failure::bad_request(format!(
                    "field label not supported: {path}"
                )));
            }
        }
        Ok(Self {
            labels,
            fields,
            name: call.name.clone(),
        })
    }

    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty() && self.name.is_empty()
    }

    /// Whether an object of the store is selected; `call` says in which version.
    pub(super) fn matches(&self, call: &Call, stored: &Value) -> bool {
        if !self.name.is_empty() && object::name(stored) != self.name {
            return false;
        }
        if !self.labels.matches(stored) {
            return false;
        }
        if self.fields.is_empty() {
            return true;
        }
        // Only events have fields that another version names differently.
        if call.resource.table == "events" {
            let object = convert::to_version(&call.resource, &call.version().name, stored);
            return self.fields.matches(&object);
        }
        self.fields.matches(stored)
    }
}

pub(super) fn get(core: &Core, call: &Call) -> Result<Response<Body>, Failure> {
    let object = current(core, call)?;
    Ok(respond(call, StatusCode::OK, &object))
}

pub(super) fn list(core: &Core, call: &Call) -> Result<Response<Body>, Failure> {
    let page = page(core, call)?;
    let version = &call.version().name;
    let objects: Vec<Value> = page
        .objects
        .iter()
        .map(|object| convert::to_version(&call.resource, version, object))
        .collect();
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if let Some((key, count)) = &page.more {
        metadata["continue"] = token(page.revision, key).into();
        if let Some(count) = count {
            metadata["remainingItemCount"] = (*count).into();
        }
    }
    let value = match call.form {
        Form::Table(version) => table::render(call, version, &objects, &metadata),
        Form::Metadata => json!({
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "items": objects.iter().map(partial).collect::<Vec<_>>(),
        }),
        Form::Objects => json!({
            "kind": call.resource.list_kind,
            "apiVersion": call.api_version(),
            "metadata": metadata,
            "items": objects,
        }),
    };
    Ok(body::json(StatusCode::OK, &value))
}

/// The selected objects of a call, all of them.
pub(super) fn select(core: &Core, call: &Call) -> Result<Vec<Arc<Value>>, Failure> {
    Ok(page(core, call)?.objects)
}

fn page(core: &Core, call: &Call) -> Result<Page, Failure> {
    let selection = Selection::of(call)?;
    let limit = call.query.number("limit")?.unwrap_or(0);
    let start = match call.query.get("continue") {
        "" => None,
        token => Some(parse_token(token).ok_or_else(|| {
            Failure::bad_request("continue key is not valid: it is not one that this server gave")
        })?),
    };
    let after = start.as_ref().map(|(_, key)| key);
    let (mut objects, now) = core
        .store
        .list(&call.resource.table, &call.namespace, after);
    // Later pages carry the revision of the first: a watch from there repeats what happened
    // between the pages, so the client ends up with the truth.
    let revision = start.as_ref().map_or(now, |(revision, _)| *revision);
    check_revision(call, now)?;
    objects.retain(|object| selection.matches(call, object));
    let mut more = None;
    if let Some(limit) = usize::try_from(limit).ok().filter(|limit| *limit > 0)
        && objects.len() > limit
    {
        let rest = objects.len() - limit;
        objects.truncate(limit);
        let count = selection.is_everything().then_some(rest);
        more = objects.last().map(|object| (Key::of(object), count));
    }
    Ok(Page {
        objects,
        revision,
        more,
    })
}

/// A client that has seen a revision that this server has not is talking about another store.
fn check_revision(call: &Call, now: u64) -> Result<(), Failure> {
    match call.query.get("resourceVersion") {
        "" => Ok(()),
        text => match text.parse::<u64>() {
            Ok(asked) if asked <= now => Ok(()),
            Ok(asked) => Err(Failure::timeout(format!(
                "Too large resource version: {asked}, current: {now}"
            ))),
            Err(_) => Err(Failure::bad_request(format!(
                "invalid resource version {text:?}: must be a number"
            ))),
        },
    }
}

fn token(revision: u64, key: &Key) -> String {
    URL_SAFE_NO_PAD.encode(json!([revision, key.namespace, key.name]).to_string())
}

fn parse_token(token: &str) -> Option<(u64, Key)> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (revision, namespace, name): (u64, String, String) = serde_json::from_slice(&bytes).ok()?;
    Some((revision, Key { namespace, name }))
}
