//! `AdmissionReview`, of which the webhooks use a handful of fields.

use serde::Deserialize;
use serde_json::{Value, json};

/// What the API server asks.
#[derive(Debug)]
pub(super) struct Review {
    /// The version in which it asks, and wants its answer.
    api_version: String,
    uid: String,
    /// The kind of the object.
    pub(super) kind: String,
    /// The namespace of the request; the object's may be missing when it is created.
    pub(super) namespace: String,
    /// `CREATE`, `UPDATE`, …
    pub(super) operation: String,
    /// The object.
    pub(super) object: Value,
}

/// What it is told.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) is_allowed: bool,
    /// Why not.
    pub(super) message: String,
    /// Shown by `kubectl`.
    pub(super) warnings: Vec<String>,
    /// A JSON patch in base64.
    pub(super) patch: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    api_version: String,
    kind: String,
    request: Request,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    kind: Kind,
    #[serde(default)]
    namespace: String,
    operation: String,
    #[serde(default)]
    object: Value,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

impl Review {
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        let wire: Wire = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        if wire.kind != "AdmissionReview" {
            return Err(format!("its kind is {:?}", wire.kind));
        }
        Ok(Self {
            api_version: wire.api_version,
            uid: wire.request.uid,
            kind: wire.request.kind.kind,
            namespace: wire.request.namespace,
            operation: wire.request.operation,
            object: wire.request.object,
        })
    }

    pub(super) fn respond(&self, answer: Answer) -> Value {
        let mut response = json!({ "uid": self.uid, "allowed": answer.is_allowed });
        if !answer.is_allowed {
            response["status"] = json!({
                "message": answer.message,
                "reason": "Invalid",
                "code": 422,
            });
        }
        if !answer.warnings.is_empty() {
            response["warnings"] = answer.warnings.into();
        }
        if let Some(patch) = answer.patch {
            response["patchType"] = "JSONPatch".into();
            response["patch"] = patch.into();
        }
        json!({
            "apiVersion": self.api_version,
            "kind": "AdmissionReview",
            "response": response,
        })
    }
}

impl Answer {
    pub(super) fn allow() -> Self {
        Self {
            is_allowed: true,
            ..Self::default()
        }
    }

    pub(super) fn refuse(message: String) -> Self {
        Self {
            message,
            ..Self::default()
        }
    }
}
