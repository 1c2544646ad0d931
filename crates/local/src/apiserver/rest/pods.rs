//! What only pods have: binding to a node, and eviction.

use std::sync::Arc;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{current, delete, update};
use crate::apiserver::body::{self, Body};
use crate::apiserver::call::{Call, Verb};
use crate::apiserver::object;
use crate::apiserver::selector::LabelSelector;
use crate::apiserver::server::Core;
use crate::apiserver::status::Failure;

/// Puts a pod on a node.
pub(super) async fn bind(core: &Arc<Core>, call: &mut Call) -> Result<Response<Body>, Failure> {
    let binding = call.json()?;
    let node = object::text(&binding, &["target", "name"]).to_owned();
    if node.is_empty() {
        return Err(Failure::bad_request(
            "target.name: Required value: the name of a node",
        ));
    }
    let wanted = object::uid(&binding).to_owned();
    let mut pod = call.again(Verb::Update, &call.namespace, &call.name);
    pod.subresource = "binding".into();
    update::change(core, &mut pod, |pod, old| {
        let current = object::text(old, &["spec", "nodeName"]);
        let why = if !current.is_empty() {
            format!("pod {} is already assigned to node \"{current}\"", pod.name)
        } else if !wanted.is_empty() && wanted != object::uid(old) {
            format!(
                "the pod has the UID {}, the binding is for {wanted}",
                object::uid(old)
            )
        } else {
            return Ok(bound(old, &node));
        };
        Err(Failure::conflict("", "pods/binding", &pod.name, &why))
    })
    .await?;
    Ok(success(StatusCode::CREATED))
}

/// The pod on a node, which its conditions tell.
fn bound(old: &Value, node: &str) -> Value {
    let mut new = old.clone();
    let pod = object::map(&mut new);
    let spec = object::map(pod.entry("spec").or_insert(Value::Null));
    spec.insert("nodeName".into(), node.into());
    let status = object::map(pod.entry("status").or_insert(Value::Null));
    if let Value::Array(conditions) = status.entry("conditions").or_insert(json!([])) {
        conditions.retain(|condition| condition["type"] != "PodScheduled");
        conditions.push(json!({"type": "PodScheduled", "status": "True",
            "lastTransitionTime": object::now()}));
    }
    new
}

/// Deletes a pod, unless a PodDisruptionBudget forbids it.
pub(super) async fn evict(core: &Arc<Core>, call: &mut Call) -> Result<Response<Body>, Failure> {
    let pod = current(core, call)?;
    let (budgets, _) = core
        .store
        .list("poddisruptionbudgets.policy", &call.namespace, None);
    for budget in budgets {
        let selector = object::at(&budget, &["spec", "selector"])
            .cloned()
            .unwrap_or_default();
        let selects = LabelSelector::from_value(&selector)
            .is_ok_and(|selector| !selector.is_empty() && selector.matches(&pod));
        let allowed =
            object::at(&budget, &["status", "disruptionsAllowed"]).and_then(Value::as_i64);
        if selects && allowed.unwrap_or(0) <= 0 {
            return Err(Failure::too_many_requests(
                "Cannot evict pod as it would violate the pod's disruption budget.",
            ));
        }
    }
    let mut deletion = call.again(Verb::Delete, &call.namespace, &call.name);
    delete::evict(core, &mut deletion).await?;
    Ok(success(StatusCode::CREATED))
}

fn success(status: StatusCode) -> Response<Body> {
    let value = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "code": status.as_u16(),
    });
    body::json(status, &value)
}
