//! Admission webhooks: programs that change objects, then programs that refuse them.
//!
//! Mutating webhooks are asked one after the other in order of their configurations' names; each
//! sees what the one before made. Validating ones are asked at once. `matchConditions` (CEL) are
//! not evaluated: a webhook that has some is asked whenever its rules match.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::dial;
use super::rules::{Operation, matching_version, selects};
use crate::apiserver::call::Call;
use crate::apiserver::convert;
use crate::apiserver::object;
use crate::apiserver::registry::Resource;
use crate::apiserver::server::Core;
use crate::apiserver::status::Failure;

/// A request, as webhooks see it.
struct Request<'a> {
    core: &'a Arc<Core>,
    call: &'a Call,
    operation: Operation,
    new: Option<&'a Value>,
    old: Option<&'a Value>,
}

/// What a webhook answered.
#[derive(Default)]
struct Verdict {
    warnings: Vec<String>,
    patch: Option<json_patch::Patch>,
}

/// Lets mutating webhooks change an object; answers whether one did.
pub(crate) async fn mutate(
    core: &Arc<Core>,
    call: &mut Call,
    new: &mut Value,
    old: Option<&Value>,
) -> Result<bool, Failure> {
    let mut is_changed = false;
    for webhook in webhooks(core, &call.resource, "mutatingwebhookconfigurations") {
        let mut seen = new.clone();
        let request = Request {
            core,
            call,
            operation: Operation::of(call, old),
            new: Some(&seen),
            old,
        };
        let Some((version, verdict)) = Box::pin(request.ask(&webhook)).await? else {
            continue;
        };
        call.warnings.extend(verdict.warnings);
        let Some(patch) = verdict.patch else {
            continue;
        };
        // The patch is written against the version that the webhook was shown.
        seen = convert::to_version(&call.resource, &version, &seen);
        json_patch::patch(&mut seen, &patch).map_err(|error| {
            let name = object::text(&webhook, &["name"]);
            Failure::internal(format!(
                "admission webhook {name:?}: its patch fails: {error}"
            ))
        })?;
        *new = convert::to_version(&call.resource, &call.version().name, &seen);
        is_changed = true;
    }
    Ok(is_changed)
}

/// Lets validating webhooks refuse a request. `new` is nothing for a deletion.
pub(crate) async fn validate(
    core: &Arc<Core>,
    call: &mut Call,
    new: Option<&Value>,
    old: Option<&Value>,
) -> Result<(), Failure> {
    let webhooks = webhooks(core, &call.resource, "validatingwebhookconfigurations");
    let request = Request {
        core,
        call,
        operation: Operation::of(call, old),
        new,
        old,
    };
    let answers = futures::future::join_all(webhooks.iter().map(|one| request.ask(one))).await;
    for answer in answers {
        if let Some((_, verdict)) = answer? {
            call.warnings.extend(verdict.warnings);
        }
    }
    Ok(())
}

/// All webhooks in the order of their configurations' names. Configurations of webhooks concern
/// none, so that a broken one can be repaired.
fn webhooks(core: &Core, resource: &Resource, plural: &str) -> Vec<Value> {
    const GROUP: &str = "admissionregistration.k8s.io";
    if resource.group == GROUP {
        return Vec::new();
    }
    let (configurations, _) = core.store.list(&format!("{plural}.{GROUP}"), "", None);
    configurations
        .iter()
        .flat_map(|configuration| object::items(configuration, &["webhooks"]).to_vec())
        .collect()
}

// === impl Request ===

impl Request<'_> {
    /// Asks a webhook, if the request concerns it; answers in which version it saw the object.
    async fn ask(&self, webhook: &Value) -> Result<Option<(String, Verdict)>, Failure> {
        let Some(version) = matching_version(webhook, self.call, self.operation) else {
            return Ok(None);
        };
        let name = object::text(webhook, &["name"]);
        let is_selected = selects(self.core, webhook, self.call, self.new, self.old)
            .map_err(|error| Failure::internal(format!("admission webhook {name:?}: {error}")))?;
        if !is_selected {
            return Ok(None);
        }
        let side_effects = object::text(webhook, &["sideEffects"]);
        if self.call.is_dry_run() && !matches!(side_effects, "None" | "NoneOnDryRun") {
            return Err(Failure::bad_request(format!(
                "admission webhook {name:?} does not support dry run"
            )));
        }
        let uid = object::new_uid();
        let review = self.review(&version, &uid);
        let seconds = webhook["timeoutSeconds"]
            .as_u64()
            .unwrap_or(10)
            .clamp(1, 30);
        let answer = Box::pin(dial::post(
            self.core,
            &webhook["clientConfig"],
            review.to_string(),
            Duration::from_secs(seconds),
        ))
        .await
        .and_then(|answer| check(&answer, &uid));
        match answer {
            Ok(response) => verdict(name, &response).map(|verdict| Some((version, verdict))),
            Err(error) if object::text(webhook, &["failurePolicy"]) == "Ignore" => {
                tracing::warn!(webhook = name, %error, "an admission webhook failed and is ignored");
                Ok(None)
            }
            Err(error) => Err(Failure::internal(format!(
                "failed calling webhook {name:?}: {error}"
            ))),
        }
    }

    fn review(&self, version: &str, uid: &str) -> Value {
        let (call, resource) = (self.call, &self.call.resource);
        let own = &call.version().name;
        let kind = |version: &str| json!({"group": resource.group, "version": version, "kind": resource.kind});
        let plural = |version: &str| json!({"group": resource.group, "version": version, "resource": resource.plural});
        let shown = |value: Option<&Value>| {
            value.map(|value| convert::to_version(resource, version, value))
        };
        let options = match self.operation {
            Operation::Create => "CreateOptions",
            Operation::Update => "UpdateOptions",
            Operation::Delete => "DeleteOptions",
        };
        let name = match (call.name.as_str(), self.new) {
            ("", Some(new)) => object::name(new),
            (name, _) => name,
        };
        let mut request = json!({
            "uid": uid,
            "kind": kind(version),
            "resource": plural(version),
            "requestKind": kind(own),
            "requestResource": plural(own),
            "name": name,
            "operation": self.operation.name(),
            "userInfo": call.user.to_value(),
            "object": shown(self.new),
            "oldObject": shown(self.old),
            "dryRun": call.is_dry_run(),
            "options": {"kind": options, "apiVersion": "meta.k8s.io/v1"},
        });
        if !call.namespace.is_empty() {
            request["namespace"] = call.namespace.as_str().into();
        } else if resource.is("", "namespaces") {
            request["namespace"] = name.into();
        }
        if !call.subresource.is_empty() {
            for key in ["subResource", "requestSubResource"] {
                request[key] = call.subresource.as_str().into();
            }
        }
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request})
    }
}

/// The response inside of a webhook's answer.
fn check(answer: &[u8], uid: &str) -> Result<Value, String> {
    let mut review: Value = serde_json::from_slice(answer)
        .map_err(|error| format!("received invalid webhook response: it is not JSON: {error}"))?;
    let response = review["response"].take();
    if !response.is_object() {
        return Err("received invalid webhook response: it has no response".into());
    }
    let found = object::text(&response, &["uid"]);
    if found != uid {
        return Err(format!(
            "received invalid webhook response: expected response.uid={uid:?}, got {found:?}"
        ));
    }
    Ok(response)
}

fn verdict(name: &str, response: &Value) -> Result<Verdict, Failure> {
    if response["allowed"] != true {
        let status = &response["status"];
        let (message, reason) = (
            object::text(status, &["message"]),
            object::text(status, &["reason"]),
        );
        let denied = format!("admission webhook \"{name}\" denied the request");
        let text = match (message, reason) {
            ("", "") => format!("{denied} without explanation"),
            ("", reason) => format!("{denied}: {reason}"),
            (message, _) => format!("{denied}: {message}"),
        };
        let code = status["code"]
            .as_u64()
            .and_then(|code| u16::try_from(code).ok());
        return Err(Failure::denied(code.unwrap_or(400), reason, text));
    }
    let broken = |what: &str| {
        Failure::internal(format!("failed calling webhook {name:?}: its patch {what}"))
    };
    let patch = match object::text(response, &["patch"]) {
        "" => None,
        text => {
            if object::text(response, &["patchType"]) != "JSONPatch" {
                return Err(broken("is not a JSONPatch"));
            }
            let bytes = STANDARD.decode(text).map_err(|_| broken("is not base64"))?;
            let patch = serde_json::from_slice(&bytes).map_err(|_| broken("cannot be read"))?;
            Some(patch)
        }
    };
    let warnings = object::items(response, &["warnings"]).iter();
    Ok(Verdict {
        warnings: warnings
            .filter_map(|one| one.as_str().map(str::to_owned))
            .collect(),
        patch,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_webhook_and_its_reason() {
        let response = json!({"allowed": false, "status": {"message": "no way", "code": 422}});
        let failure = verdict("x.io", &response).err().unwrap();
        assert_eq!(
            failure.message(),
            "admission webhook \"x.io\" denied the request: no way"
        );
        assert_eq!(failure.code().as_u16(), 422);
        let failure = verdict("x.io", &json!({"allowed": false})).err().unwrap();
        assert!(
            failure
                .message()
                .ends_with("denied the request without explanation")
        );
        assert_eq!(failure.code().as_u16(), 400);
    }

    #[test]
    fn an_answer_to_another_question_is_no_answer() {
        assert!(check(br#"{"response": {"uid": "1", "allowed": true}}"#, "2").is_err());
        assert!(check(b"{}", "2").is_err());
        assert!(check(b"<html>", "2").is_err());
    }
}
