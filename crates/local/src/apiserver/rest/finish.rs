//! What create and update share between decoding and storing.

use std::sync::Arc;

use serde_json::Value;

use super::decode;
use crate::apiserver::allocate::Reservation;
use crate::apiserver::call::Call;
use crate::apiserver::schema::{Schema, structural};
use crate::apiserver::server::Core;
use crate::apiserver::status::Failure;
use crate::apiserver::{admission, allocate, defaults, validate};

/// Sets defaults, asks admission, allocates addresses and ports, and validates. What is reserved
/// stays so until the returned value is dropped, which must be after the object is stored.
pub(super) async fn finish(
    core: &Arc<Core>,
    call: &mut Call,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<Reservation, Failure> {
    set_defaults(call, object);
    admission::built_in::mutate(core, call, object, old).await?;
    if admission::webhooks::mutate(core, call, object, old).await? {
        // A webhook may have added what the type does not know, or left out what has a default.
        decode::normalize(call, object).map_err(Failure::bad_request)?;
        set_defaults(call, object);
    }
    let reservation = allocate::service(core, call, object, old)?;
    let errors = validate::validate(call, object, old);
    if !errors.is_empty() {
        let name = crate::apiserver::object::name(object);
        let causes: Vec<_> = errors
            .into_iter()
            .map(validate::FieldError::into_cause)
            .collect();
        let (group, kind) = (&call.resource.group, &call.resource.kind);
        return Err(Failure::invalid(group, kind, name, &causes));
    }
    admission::webhooks::validate(core, call, Some(object), old).await?;
    Ok(reservation)
}

fn set_defaults(call: &Call, object: &mut Value) {
    match &call.version().schema {
        Schema::Builtin(_) => defaults::apply(&call.resource, object),
        Schema::Structural(schema) => structural::set_defaults(object, schema),
    }
}
