//! Types whose objects are questions: answered, never stored.

use std::sync::Arc;

use http::{Response, StatusCode};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{current, decode};
use crate::apiserver::auth::token::Account;
use crate::apiserver::body::{self, Body};
use crate::apiserver::call::{Call, Verb};
use crate::apiserver::object;
use crate::apiserver::rbac;
use crate::apiserver::server::Core;
use crate::apiserver::status::Failure;
use crate::apiserver::store::Key;

/// The life of a token whose client names none, in seconds.
const TOKEN_LIFE: i64 = 3600;

/// The shortest and the longest life of a token, as in Kubernetes.
const TOKEN_LIVES: std::ops::RangeInclusive<i64> = 600..=(1 << 32);

pub(super) async fn create(core: &Arc<Core>, call: &mut Call) -> Result<Response<Body>, Failure> {
    let value = call.json()?;
    let mut review = decode::object(call, value)?;
    object::default(
        object::metadata(&mut review),
        "creationTimestamp",
        Value::Null,
    );
    match call.resource.plural.as_str() {
        "bindings" => {
            let name = object::name(&review).to_owned();
            let pods = call.types.get("", "pods").cloned();
            let mut binding = call.again(Verb::Create, &call.namespace, &name);
            binding.resource = pods.ok_or_else(Failure::no_such_resource)?;
            return super::pods::bind(core, &mut binding).await;
        }
        "tokenreviews" => review["status"] = review_token(core, &review),
        "selfsubjectreviews" => review["status"] = json!({"userInfo": call.user.to_value()}),
        "selfsubjectrulesreviews" => {
            review["status"] = json!({
                "incomplete": false,
                "resourceRules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
                "nonResourceRules": [{"nonResourceURLs": ["*"], "verbs": ["*"]}],
            });
        }
        "subjectaccessreviews" => review["status"] = review_access(core, &review, None)?,
        "localsubjectaccessreviews" => {
            review["status"] = review_access(core, &review, Some(&call.namespace))?;
        }
        // About oneself: whoever is authenticated may do everything here.
        _ => review["status"] = json!({"allowed": true}),
    }
    Ok(body::json(StatusCode::CREATED, &review))
}

fn review_token(core: &Core, review: &Value) -> Value {
    let asked: Vec<&str> = object::items(review, &["spec", "audiences"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let refused = |why: &str| json!({"authenticated": false, "user": {}, "error": format!("[invalid bearer token, {why}]")});
    let token = object::text(review, &["spec", "token"]);
    match core.verify_token(token) {
        Err(why) => refused(&why),
        Ok(verified) => {
            let own = [core.signer.issuer()];
            let asked = if asked.is_empty() {
                &own[..]
            } else {
                &asked[..]
            };
            let common: Vec<&str> = asked
                .iter()
                .copied()
                .filter(|name| verified.audiences.iter().any(|audience| audience == name))
                .collect();
            if common.is_empty() {
                return refused("token audiences do not contain any of the wanted ones");
            }
            json!({
                "authenticated": true,
                "user": verified.account.user().to_value(),
                "audiences": common,
            })
        }
    }
}

/// What RBAC says about somebody, in one namespace if there is one.
fn review_access(core: &Core, review: &Value, only: Option<&str>) -> Result<Value, Failure> {
    let spec = object::at(review, &["spec"]).cloned().unwrap_or_default();
    let invalid = |field: &str, why: &str| {
        let kind = object::text(review, &["kind"]);
        let cause = (
            "FieldValueInvalid",
            format!("Invalid value: {why}"),
            field.to_owned(),
        );
        Failure::invalid("authorization.k8s.io", kind, "", &[cause])
    };
    let text = |value: &Value, key: &str| object::text(value, &[key]).to_owned();
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let (verb, object) = match (resource.is_object(), path.is_object()) {
        (true, false) => {
            let namespace = text(resource, "namespace");
            if only.is_some_and(|only| only != namespace) {
                let why = format!("{namespace:?}: must match metadata.namespace");
                return Err(invalid("spec.resourceAttributes.namespace", &why));
            }
            let mut plural = text(resource, "resource");
            let subresource = object::text(resource, &["subresource"]);
            if !subresource.is_empty() {
                plural = format!("{plural}/{subresource}");
            }
            let object = rbac::Object::Resource {
                namespace,
                group: text(resource, "group"),
                resource: plural,
                name: text(resource, "name"),
            };
            (text(resource, "verb"), object)
        }
        (false, true) => (text(path, "verb"), rbac::Object::Path(text(path, "path"))),
        _ => {
            let why =
                "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            return Err(invalid("spec.resourceAttributes", why));
        }
    };
    let groups = object::items(&spec, &["groups"]).iter();
    let question = rbac::Question {
        user: text(&spec, "user"),
        groups: groups
            .filter_map(|group| group.as_str().map(str::to_owned))
            .collect(),
        verb,
        object,
    };
    if question.user.is_empty() && question.groups.is_empty() {
        return Err(invalid(
            "spec.user",
            "at least one of user or group must be specified",
        ));
    }
    Ok(match rbac::allowed_by(&core.store, &question) {
        Some(reason) => json!({"allowed": true, "reason": reason}),
        None => json!({"allowed": false}),
    })
}

/// Issues a token of a service account.
pub(super) fn request_token(core: &Core, call: &Call) -> Result<Response<Body>, Failure> {
    let stored = current(core, call)?;
    let mut request = call.json()?;
    let spec = object::at(&request, &["spec"]).cloned().unwrap_or_default();
    let mut audiences: Vec<String> = object::items(&spec, &["audiences"])
        .iter()
        .filter_map(|value| value.as_str().map(str::to_owned))
        .collect();
    if audiences.is_empty() {
        audiences.push(core.signer.issuer().to_owned());
    }
    let life = spec["expirationSeconds"].as_i64().unwrap_or(TOKEN_LIFE);
    if !TOKEN_LIVES.contains(&life) {
        let cause = (
            "FieldValueInvalid",
            format!(
                "Invalid value: {life}: may not specify a duration less than 10 minutes or \
                     larger than 2^32 seconds"
            ),
            "spec.expirationSeconds".to_owned(),
        );
        let group = "authentication.k8s.io";
        return Err(Failure::invalid(group, "TokenRequest", "", &[cause]));
    }
    let account = Account {
        namespace: call.namespace.clone(),
        name: call.name.clone(),
        uid: object::uid(&stored).to_owned(),
        bound: bound_object(core, call, &spec)?,
    };
    let now = Timestamp::now().as_second();
    let token = core
        .signer
        .issue(&account, &audiences, now, now + life)
        .map_err(Failure::internal)?;
    let end = Timestamp::from_second(now + life).map_err(Failure::internal)?;
    let map = object::map(&mut request);
    map.insert("kind".into(), "TokenRequest".into());
    map.insert("apiVersion".into(), "authentication.k8s.io/v1".into());
    map.insert(
        "metadata".into(),
        json!({"name": call.name, "namespace": call.namespace,
        "creationTimestamp": object::now()}),
    );
    let mut spec = spec;
    spec["audiences"] = json!(audiences);
    spec["expirationSeconds"] = life.into();
    map.insert("spec".into(), spec);
    map.insert(
        "status".into(),
        json!({"token": token, "expirationTimestamp": object::seconds(end)}),
    );
    Ok(body::json(StatusCode::CREATED, &request))
}

/// The object that the token shall die with.
fn bound_object(
    core: &Core,
    call: &Call,
    spec: &Value,
) -> Result<Option<(String, String, String)>, Failure> {
    let reference = &spec["boundObjectRef"];
    if !reference.is_object() {
        return Ok(None);
    }
    let (kind, name) = (
        object::text(reference, &["kind"]),
        object::text(reference, &["name"]),
    );
    let (plural, namespace) = match kind {
        "Pod" => ("pods", call.namespace.as_str()),
        "Secret" => ("secrets", call.namespace.as_str()),
        "Node" => ("nodes", ""),
        other => {
            return Err(Failure::bad_request(format!(
                "cannot bind token for serviceaccount to object type {other:?}"
            )));
        }
    };
    let stored = core
        .store
        .get(plural, &Key::new(namespace, name))
        .ok_or_else(|| Failure::not_found("", plural, name))?;
    let (uid, wanted) = (object::uid(&stored), object::text(reference, &["uid"]));
    if !wanted.is_empty() && wanted != uid {
        let why = format!(
            "the UID in the bound object reference ({wanted}) does not match the UID in record. \
             The object might have been deleted and then recreated"
        );
        return Err(Failure::conflict("", plural, name, &why));
    }
    Ok(Some((kind.to_owned(), name.to_owned(), uid.to_owned())))
}
