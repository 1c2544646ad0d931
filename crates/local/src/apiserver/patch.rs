//! Patches: of the three kinds that every client may send.

mod strategic;

use serde_json::Value;

use super::call::{Call, media_type, parse_json};
use super::schema::{Schema, definitions};
use super::status::Failure;

/// The most operations that a JSON patch may have, as in Kubernetes.
const MAX_OPERATIONS: usize = 10_000;

/// A patch, read but not yet applied.
pub(crate) enum Patch {
    /// RFC 6902: a list of operations.
    Json(json_patch::Patch),
    /// RFC 7386: a document that is laid over another.
    Merge(Value),
    /// Kubernetes' own: as a merge patch, but lists merge by key where the type says so.
    Strategic(Value),
}

// === impl Patch ===

impl Patch {
    /// Reads the patch of a call, by its content type.
    pub(crate) fn parse(call: &Call) -> Result<Self, Failure> {
        match media_type(&call.headers).as_str() {
            "application/json-patch+json" => {
                let patch: json_patch::Patch =
                    serde_json::from_slice(&call.body).map_err(|error| {
                        Failure::bad_request(format!("the JSON patch cannot be read: {error}"))
                    })?;
                if patch.0.len() > MAX_OPERATIONS {
                    return Err(Failure::too_large(MAX_OPERATIONS));
                }
                Ok(Self::Json(patch))
            }
            "application/merge-patch+json" => parse_json(&call.body).map(Self::Merge),
            "application/strategic-merge-patch+json" if !call.resource.is_custom => {
                let patch = parse_json(&call.body)?;
                if !patch.is_object() {
                    return Err(Failure::bad_request(
                        "a strategic merge patch must be an object",
                    ));
                }
                Ok(Self::Strategic(patch))
            }
            media if media.starts_with("application/apply-patch") => {
                Err(Failure::unsupported_media_type(
                    "server-side apply is not supported by this API server yet: use kubectl apply \
                     without --server-side",
                ))
            }
            media => Err(Failure::unsupported_media_type(format!(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json{}; got {media}",
                if call.resource.is_custom {
                    ""
                } else {
                    ", application/strategic-merge-patch+json"
                },
            ))),
        }
    }

    /// Applies the patch to an object.
    pub(crate) fn apply(&self, call: &Call, old: &Value) -> Result<Value, Failure> {
        let mut new = old.clone();
        match self {
            Self::Json(patch) => json_patch::patch(&mut new, patch).map_err(|error| {
                Failure::unprocessable(format!(
                    "the server rejected our request due to an error in our request: {error}"
                ))
            })?,
            Self::Merge(patch) => json_patch::merge(&mut new, patch),
            Self::Strategic(patch) => {
                let definition = match &call.version().schema {
                    Schema::Builtin(name) if call.subresource != "scale" => *name,
                    _ => "io.k8s.api.autoscaling.v1.Scale",
                };
                strategic::merge(&mut new, patch, definition, definitions())
                    .map_err(Failure::bad_request)?;
            }
        }
        if !new.is_object() {
            return Err(Failure::unprocessable("the patch leaves no object"));
        }
        Ok(new)
    }
}
