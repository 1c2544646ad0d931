//! Creates an object.

use std::sync::Arc;

use http::{Response, StatusCode};
use serde_json::Value;

use super::{decode, finish, refused, respond};
use crate::apiserver::body::Body;
use crate::apiserver::call::Call;
use crate::apiserver::server::Core;
use crate::apiserver::status::Failure;
use crate::apiserver::store::{Key, Refusal};
use crate::apiserver::{convert, object, strategy};

/// How often another generated name is tried when one is taken.
const ATTEMPTS: usize = 8;

pub(super) async fn create(core: &Arc<Core>, call: &mut Call) -> Result<Response<Body>, Failure> {
    let value = call.json()?;
    let value = decode::object(call, value)?;
    let stored = create_object(core, call, value).await?;
    Ok(respond(call, StatusCode::CREATED, &stored))
}

/// Creates a decoded object; answers what was stored.
pub(super) async fn create_object(
    core: &Arc<Core>,
    call: &mut Call,
    mut value: Value,
) -> Result<Arc<Value>, Failure> {
    place(call, &mut value)?;
    check_namespace(core, call)?;
    let base = object::text(&value, &["metadata", "generateName"]).to_owned();
    let is_generated = object::name(&value).is_empty() && !base.is_empty();
    for attempt in 1.. {
        let mut object = value.clone();
        if is_generated {
            let name = object::generate_name(&base);
            object::metadata(&mut object).insert("name".into(), name.into());
        }
        initialize(call, &mut object)?;
        let reservation = finish::finish(core, call, &mut object, None).await?;
        let object = convert::to_storage(&call.resource, object);
        if call.is_dry_run() {
            let key = Key::of(&object);
            return match core.store.get(&call.resource.table, &key) {
                Some(_) => Err(call.resource.already_exists(&key.name)),
                None => Ok(Arc::new(object)),
            };
        }
        let name = object::name(&object).to_owned();
        let result = core.store.insert(&call.resource.table, object);
        drop(reservation);
        match result {
            Ok(stored) => {
                strategy::after_write(core, &call.resource, &stored);
                return Ok(stored);
            }
            Err(Refusal::Exists) if is_generated && attempt < ATTEMPTS => {}
            Err(refusal) => return Err(refused(call, &name, &refusal)),
        }
    }
    unreachable!("the last attempt returns")
}

/// Puts the object where the URL says.
fn place(call: &Call, value: &mut Value) -> Result<(), Failure> {
    let metadata = object::metadata(value);
    if !call.resource.namespaced {
        metadata.remove("namespace");
        return Ok(());
    }
    let found = object::default(metadata, "namespace", call.namespace.as_str());
    if call.namespace.is_empty() {
        return Err(Failure::bad_request(format!(
            "an object of {} can only be created in a namespace",
            call.resource.qualified()
        )));
    }
    if found.as_str() == Some("") {
        *found = call.namespace.as_str().into();
    }
    if found.as_str() != Some(call.namespace.as_str()) {
        return Err(Failure::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Nothing is created in a namespace that is not there, or going.
fn check_namespace(core: &Core, call: &Call) -> Result<(), Failure> {
    if call.namespace.is_empty() {
        return Ok(());
    }
    let namespace = core.store.get("namespaces", &Key::new("", &call.namespace));
    match namespace {
        None => Err(Failure::not_found("", "namespaces", &call.namespace)),
        Some(namespace) if object::is_terminating(&namespace) => Err(call.resource.forbidden(
            &call.name,
            &format!(
                "unable to create new content in namespace {} because it is being terminated",
                call.namespace
            ),
        )),
        Some(_) => Ok(()),
    }
}

/// Writes what the server alone decides.
fn initialize(call: &Call, value: &mut Value) -> Result<(), Failure> {
    if object::revision(value) != 0 {
        return Err(Failure::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let metadata = object::metadata(value);
    for key in [
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        metadata.remove(key);
    }
    metadata.insert("uid".into(), object::new_uid().into());
    metadata.insert("creationTimestamp".into(), object::now().into());
    if call.resource.has_generation {
        metadata.insert("generation".into(), 1.into());
    }
    strategy::prepare_create(call, value);
    Ok(())
}
