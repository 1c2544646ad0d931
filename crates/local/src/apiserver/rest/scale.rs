//! The subresource `scale`: how many there should be, and are, whatever the type.

use std::sync::Arc;

use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::{current, update};
use crate::apiserver::body::{self, Body};
use crate::apiserver::call::Call;
use crate::apiserver::registry::ScalePaths;
use crate::apiserver::server::Core;
use crate::apiserver::status::Failure;
use crate::apiserver::{object, patch};

pub(super) fn get(core: &Core, call: &Call) -> Result<Response<Body>, Failure> {
    let stored = current(core, call)?;
    Ok(body::json(StatusCode::OK, &scale_of(call, &stored)?))
}

pub(super) async fn update(core: &Arc<Core>, call: &mut Call) -> Result<Response<Body>, Failure> {
    let scale = call.json()?;
    set(core, call, |_, _| Ok(scale.clone())).await
}

pub(super) async fn patch(core: &Arc<Core>, call: &mut Call) -> Result<Response<Body>, Failure> {
    let patch = patch::Patch::parse(call)?;
    set(core, call, |call, scale| patch.apply(call, scale)).await
}

async fn set(
    core: &Arc<Core>,
    call: &mut Call,
    make: impl Fn(&mut Call, &Value) -> Result<Value, Failure>,
) -> Result<Response<Body>, Failure> {
    let stored = update::change(core, call, |call, old| {
        let scale = make(call, &scale_of(call, old)?)?;
        let replicas = match object::at(&scale, &["spec", "replicas"]) {
            None | Some(Value::Null) => 0,
            Some(value) => value.as_i64().unwrap_or(-1),
        };
        if replicas < 0 {
            return Err(Failure::bad_request(
                "spec.replicas: Invalid value: must be a number greater than or equal to 0",
            ));
        }
        let mut new = old.clone();
        put(&mut new, &paths(call)?.spec, replicas.into());
        let seen = object::text(&scale, &["metadata", "resourceVersion"]).to_owned();
        if !seen.is_empty() {
            object::metadata(&mut new).insert("resourceVersion".into(), seen.into());
        }
        Ok(new)
    })
    .await?;
    Ok(body::json(StatusCode::OK, &scale_of(call, &stored)?))
}

fn paths(call: &Call) -> Result<ScalePaths, Failure> {
    call.version()
        .scale
        .clone()
        .ok_or_else(Failure::no_such_resource)
}

fn scale_of(call: &Call, stored: &Value) -> Result<Value, Failure> {
    let paths = paths(call)?;
    let number = |path: &[String]| {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        object::at(stored, &path)
            .and_then(Value::as_i64)
            .unwrap_or(0)
    };
    let metadata: Map<String, Value> = [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ]
    .into_iter()
    .filter_map(|key| {
        Some((
            key.to_owned(),
            object::at(stored, &["metadata", key])?.clone(),
        ))
    })
    .collect();
    let mut status = json!({"replicas": number(&paths.status)});
    let selector = match &paths.selector {
        Some(path) => {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            object::text(stored, &path).to_owned()
        }
        None => selector_text(object::at(stored, &["spec", "selector"])),
    };
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    Ok(json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": number(&paths.spec)},
        "status": status,
    }))
}

/// A selector as text; a ReplicationController's is a plain map.
fn selector_text(selector: Option<&Value>) -> String {
    let Some(selector) = selector else {
        return String::new();
    };
    let is_plain =
        selector.get("matchLabels").is_none() && selector.get("matchExpressions").is_none();
    let labels = if is_plain {
        Some(selector)
    } else {
        selector.get("matchLabels")
    };
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    let mut terms: Vec<String> = labels
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in object::items(selector, &["matchExpressions"]) {
        let key = object::text(expression, &["key"]);
        let values: Vec<&str> = object::items(expression, &["values"])
            .iter()
            .filter_map(Value::as_str)
            .collect();
        terms.push(match object::text(expression, &["operator"]) {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    terms.join(",")
}

fn put(value: &mut Value, path: &[String], new: Value) {
    match path {
        [] => *value = new,
        [key, rest @ ..] => {
            let entry = object::map(value)
                .entry(key.as_str())
                .or_insert(Value::Null);
            put(entry, rest, new);
        }
    }
}
