//! The admission that every cluster has: service accounts, priorities and tolerations of pods.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::apiserver::call::Call;
use crate::apiserver::object;
use crate::apiserver::server::Core;
use crate::apiserver::status::Failure;
use crate::apiserver::store::Key;

/// Where containers find their token.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The account of a new namespace is made by a controller: how long a pod waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The tokens of pods live an hour and some seconds, by which they are told from others.
const TOKEN_LIFE: i64 = 3607;

/// Changes a new pod; other objects are left as they are.
pub(crate) async fn mutate(
    core: &Arc<Core>,
    call: &Call,
    new: &mut Value,
    old: Option<&Value>,
) -> Result<(), Failure> {
    if old.is_some() || !call.resource.is("", "pods") {
        return Ok(());
    }
    let annotations = object::at(new, &["metadata", "annotations"]);
    let is_mirror = annotations.is_some_and(|map| map.get("kubernetes.io/config.mirror").is_some());
    let spec = object::map(object::map(new).entry("spec").or_insert(Value::Null));
    if !is_mirror {
        service_account(core, call, spec).await?;
    }
    priority(core, call, spec)?;
    tolerations(spec);
    Ok(())
}

async fn service_account(
    core: &Arc<Core>,
    call: &Call,
    spec: &mut Map<String, Value>,
) -> Result<(), Failure> {
    let named = spec
        .get("serviceAccountName")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let name = if named.is_empty() { "default" } else { named }.to_owned();
    spec.insert("serviceAccountName".into(), name.as_str().into());
    spec.insert("serviceAccount".into(), name.as_str().into());
    let account = find_account(core, call, &name).await?;
    let mounts = spec
        .get("automountServiceAccountToken")
        .or_else(|| account.get("automountServiceAccountToken"))
        .and_then(Value::as_bool)
        .unwrap_or(true);
    let pulls = object::items(&account, &["imagePullSecrets"]);
    let has_pulls = spec
        .get("imagePullSecrets")
        .and_then(Value::as_array)
        .is_some_and(|list| !list.is_empty());
    if !pulls.is_empty() && !has_pulls {
        spec.insert("imagePullSecrets".into(), Value::Array(pulls.to_vec()));
    }
    if mounts {
        mount_token(spec);
    }
    Ok(())
}

async fn find_account(core: &Arc<Core>, call: &Call, name: &str) -> Result<Arc<Value>, Failure> {
    let key = Key::new(&call.namespace, name);
    let mut changes = core.store.subscribe("serviceaccounts");
    let wait = async {
        loop {
            changes.mark_unchanged();
            if let Some(account) = core.store.get("serviceaccounts", &key) {
                return Some(account);
            }
            changes.changed().await.ok()?;
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(Some(account)) => Ok(account),
        Ok(None) | Err(_) => Err(call.resource.forbidden(
            &call.name,
            &format!(
                "error looking up service account {}/{name}: serviceaccount \"{name}\" not found",
                call.namespace
            ),
        )),
    }
}

/// Adds the volume with token, certificate and namespace, and mounts it where nothing is yet.
fn mount_token(spec: &mut Map<String, Value>) {
    let volume = object::generate_name("kube-api-access-");
    let mut is_used = false;
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let mounts = object::map(container)
                .entry("volumeMounts")
                .or_insert(json!([]));
            let Some(mounts) = mounts.as_array_mut() else {
                continue;
            };
            if mounts.iter().any(|mount| mount["mountPath"] == TOKEN_PATH) {
                continue;
            }
            mounts.push(json!({"name": volume, "readOnly": true, "mountPath": TOKEN_PATH}));
            is_used = true;
        }
    }
    if !is_used {
        return;
    }
    let volumes = spec.entry("volumes").or_insert(json!([]));
    if let Some(volumes) = volumes.as_array_mut() {
        volumes.push(
            json!({"name": volume, "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_LIFE, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace",
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
            ]}}),
        );
    }
}

fn priority(core: &Core, call: &Call, spec: &mut Map<String, Value>) -> Result<(), Failure> {
    let table = "priorityclasses.scheduling.k8s.io";
    let name = spec
        .get("priorityClassName")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let class = if name.is_empty() {
        let classes = core.store.list(table, "", None).0;
        classes
            .into_iter()
            .find(|class| class["globalDefault"] == true)
    } else {
        let class = core.store.get(table, &Key::new("", &name));
        if class.is_none() {
            let why = format!("no PriorityClass with name {name} was found");
            return Err(call.resource.forbidden(&call.name, &why));
        }
        class
    };
    let (value, policy) = match &class {
        Some(class) => {
            spec.insert("priorityClassName".into(), object::name(class).into());
            (
                class["value"].as_i64().unwrap_or(0),
                class["preemptionPolicy"].clone(),
            )
        }
        None => (0, "PreemptLowerPriority".into()),
    };
    spec.insert("priority".into(), value.into());
    object::default(spec, "preemptionPolicy", policy);
    Ok(())
}

/// Pods stay five minutes on a node that is not ready, unless they say otherwise.
fn tolerations(spec: &mut Map<String, Value>) {
    let list = spec.entry("tolerations").or_insert(json!([]));
    let Some(list) = list.as_array_mut() else {
        return;
    };
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let tolerates = |one: &Value| {
            let (own, effect) = (object::text(one, &["key"]), object::text(one, &["effect"]));
            (own == key || own.is_empty()) && matches!(effect, "" | "NoExecute")
        };
        if !list.iter().any(tolerates) {
            list.push(
                json!({"key": key, "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": 300}),
            );
        }
    }
}
