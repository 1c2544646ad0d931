//! Replaces an object, or patches it.

use std::sync::Arc;

use http::{Response, StatusCode};
use serde_json::Value;

use super::{current, decode, finish, refused, respond};
use crate::apiserver::body::Body;
use crate::apiserver::call::{Call, Verb};
use crate::apiserver::server::Core;
use crate::apiserver::status::Failure;
use crate::apiserver::store::{Key, Refusal};
use crate::apiserver::{convert, object, patch, strategy};

/// How often a change that names no revision is tried again when another was faster.
const ATTEMPTS: usize = 10;

/// Why an object was not written.
pub(super) enum WriteError {
    /// Somebody else was faster.
    Changed,
    Failed(Failure),
}

impl From<Failure> for WriteError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

pub(super) async fn update(core: &Arc<Core>, call: &mut Call) -> Result<Response<Body>, Failure> {
    let value = call.json()?;
    let value = decode::object(call, value)?;
    let stored = change(core, call, |_, _| Ok(value.clone())).await?;
    Ok(respond(call, StatusCode::OK, &stored))
}

pub(super) async fn patch(core: &Arc<Core>, call: &mut Call) -> Result<Response<Body>, Failure> {
    let patch = patch::Patch::parse(call)?;
    let stored = change(core, call, |call, old| {
        let warnings = call.warnings.len();
        let value = patch.apply(call, old)?;
        call.warnings.truncate(warnings);
        decode::object(call, value)
    })
    .await?;
    Ok(respond(call, StatusCode::OK, &stored))
}

/// Changes the object that a call names: `make` is given the current object (in the call's
/// version) and answers the new one. Tried again when another change was faster, unless the new
/// object names the revision that it is based on.
pub(super) async fn change(
    core: &Arc<Core>,
    call: &mut Call,
    make: impl Fn(&mut Call, &Value) -> Result<Value, Failure>,
) -> Result<Arc<Value>, Failure> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let stored = current(core, call)?;
        let old = convert::to_version(&call.resource, &call.version().name, &stored);
        let new = make(call, &old)?;
        check_identity(call, &old, &new)?;
        match write(core, call, &stored, old, new).await {
            Ok(written) => return Ok(written),
            Err(WriteError::Failed(failure)) => return Err(failure),
            Err(WriteError::Changed) if call.verb == Verb::Patch || attempt < ATTEMPTS => {
                if attempt >= 5 * ATTEMPTS {
                    return Err(call.resource.modified(&call.name));
                }
            }
            Err(WriteError::Changed) => return Err(call.resource.modified(&call.name)),
        }
    }
}

/// The new object must be the one that the URL names, and the one that the client has seen.
fn check_identity(call: &Call, old: &Value, new: &Value) -> Result<(), Failure> {
    let name = object::name(new);
    if name != call.name {
        return Err(Failure::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.name
        )));
    }
    let namespace = object::namespace(new);
    if !namespace.is_empty() && namespace != call.namespace {
        return Err(Failure::bad_request(format!(
            "the namespace of the object ({namespace}) does not match the namespace on the URL \
             ({})",
            call.namespace
        )));
    }
    let seen = object::text(new, &["metadata", "resourceVersion"]);
    if !seen.is_empty() && seen != object::text(old, &["metadata", "resourceVersion"]) {
        return Err(call.resource.modified(&call.name));
    }
    let (seen, uid) = (object::uid(new), object::uid(old));
    if !seen.is_empty() && seen != uid {
        let why =
            format!("Precondition failed: UID in precondition: {seen}, UID in object meta: {uid}");
        let (group, plural) = (&call.resource.group, &call.resource.plural);
        return Err(Failure::conflict(group, plural, &call.name, &why));
    }
    if seen.is_empty() && call.verb == Verb::Update && call.resource.is_custom {
        check_custom_revision(call, new)?;
    }
    Ok(())
}

/// Custom objects are only replaced by who has read them.
fn check_custom_revision(call: &Call, new: &Value) -> Result<(), Failure> {
    if !object::text(new, &["metadata", "resourceVersion"]).is_empty() {
        return Ok(());
    }
    let (group, kind) = (&call.resource.group, &call.resource.kind);
    let cause = (
        "FieldValueInvalid",
        "Invalid value: 0x0: must be specified for an update".to_owned(),
        "metadata.resourceVersion".to_owned(),
    );
    Err(Failure::invalid(group, kind, &call.name, &[cause]))
}

/// Stores a new state of an object in place of the one that was read.
pub(super) async fn write(
    core: &Arc<Core>,
    call: &mut Call,
    stored: &Arc<Value>,
    old: Value,
    mut new: Value,
) -> Result<Arc<Value>, WriteError> {
    keep_metadata(&old, &mut new);
    strategy::prepare_update(call, &mut new, &old);
    let reservation = finish::finish(core, call, &mut new, Some(&old)).await?;
    let mut new = convert::to_storage(&call.resource, new);
    strategy::count_generation(call, &mut new, stored);
    if new == **stored {
        return Ok(stored.clone());
    }
    if call.is_dry_run() {
        return Ok(Arc::new(new));
    }
    let expected = object::revision(stored);
    let table = &call.resource.table;
    let result = if strategy::is_gone(&call.resource, &new) {
        core.store.remove(table, &Key::of(&new), expected)
    } else {
        core.store.replace(table, expected, new)
    };
    drop(reservation);
    match result {
        Ok(written) => {
            strategy::after_write(core, &call.resource, &written);
            Ok(written)
        }
        Err(Refusal::Changed) => Err(WriteError::Changed),
        Err(refusal) => Err(refused(call, &call.name, &refusal).into()),
    }
}

/// Carries over what clients cannot change.
fn keep_metadata(old: &Value, new: &mut Value) {
    let kept = object::at(old, &["metadata"]);
    let metadata = object::metadata(new);
    for key in [
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "generateName",
    ] {
        match kept.and_then(|kept| kept.get(key)) {
            Some(value) => metadata.insert(key.into(), value.clone()),
            None => metadata.remove(key),
        };
    }
}
