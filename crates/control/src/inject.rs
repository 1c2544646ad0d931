//! Injection: what the mutating webhook makes of a pod, as a pure function on its JSON.
//!
//! It decides whether a pod gets a sidecar, and if so adds what Istio adds: the init container that
//! captures traffic, the proxy as a native sidecar (an init container that keeps running), their
//! volumes, labels and annotations, and probes that lead through the proxy. It talks to nobody;
//! `webhook` does.
//!
//! ```text
//! wanted(pod, namespace) ─► no, because …
//!          └─ yes ─► inject(pod, template) ─► the pod as it should be ─► JSON patch
//! ```
//!
//! What a pod asks for by annotations is checked here, and a wrong value refuses the pod with the
//! annotation's name, as a pod whose traffic is captured otherwise than asked for is worse.

mod annotations;
mod container;
mod metadata;
mod probes;

use json_patch::Patch;
use serde_json::{Map, Value, json};

pub use annotations::Invalid;

/// The name of the proxy's container.
pub const PROXY: &str = "istio-proxy";
/// The name of the container that captures traffic.
pub const INIT: &str = "istio-init";
/// The annotation that tells that a pod was injected, and with what.
pub const STATUS: &str = "sidecar.istio.io/status";

/// Namespaces whose pods are never injected: the cluster itself must start without the mesh.
const NEVER: [&str; 4] = [
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "local-path-storage",
];

/// What all injected pods have in common.
#[derive(Debug, Clone)]
pub struct Template {
    /// The image of the proxy.
    pub proxy_image: String,
    /// The control plane's revision.
    pub revision: String,
    /// The name of the cluster.
    pub cluster: String,
    /// `host:port` of the control plane.
    pub discovery_address: String,
    /// The trust domain of the mesh.
    pub trust_domain: String,
    /// `defaultConfig` of MeshConfig.
    pub default_config: Map<String, Value>,
    /// Whether annotations lead scrapers of the application's metrics to the proxy.
    pub is_prometheus_merged: bool,
}

/// Whether a pod gets a sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Inject,
    /// It does not, for this reason.
    Skip(&'static str),
}

/// Decides whether a pod of `namespace` gets a sidecar. The webhook's selectors have decided most
/// of it before; this is what they cannot say.
pub fn wanted(pod: &Value, namespace: &str) -> Verdict {
    if NEVER.contains(&namespace) {
        return Verdict::Skip("its namespace belongs to the cluster itself");
    }
    let spec = &pod["spec"];
    if spec["hostNetwork"] == true {
        return Verdict::Skip("it uses the host's network, which is not its own to capture");
    }
    let metadata = &pod["metadata"];
    let key = "sidecar.istio.io/inject";
    let asked = metadata["labels"]
        .get(key)
        .or_else(|| metadata["annotations"].get(key));
    if let Some("false" | "no" | "n" | "off" | "0") = asked.and_then(Value::as_str) {
        return Verdict::Skip("it asks for none");
    }
    if metadata["annotations"].get(STATUS).is_some() && existing_proxy(spec).is_some() {
        return Verdict::Skip("it is injected already");
    }
    Verdict::Inject
}

/// The pod with a sidecar.
///
/// # Errors
/// The first annotation whose value is wrong.
pub fn inject(pod: &Value, namespace: &str, template: &Template) -> Result<Value, Invalid> {
    let settings = annotations::read(pod, &template.default_config)?;
    let mut injected = pod.clone();
    let own = take_existing_proxy(&mut injected["spec"]);
    let probers = if settings.rewrites_probes {
        probes::rewrite(&mut injected["spec"], settings.status_port)
    } else {
        Map::new()
    };
    let identity = metadata::Identity::of(pod, namespace);
    let mut proxy = container::proxy(pod, template, &settings, &identity, &probers);
    if let Some(own) = own {
        overlay(&mut proxy, &own);
    }
    let init = container::init(template, &settings);
    let spec = &mut injected["spec"];
    prepend(spec, "initContainers", vec![init, proxy]);
    for volume in container::volumes() {
        add_missing(spec, "volumes", volume);
    }
    metadata::mark(&mut injected, template, &settings, &identity);
    Ok(injected)
}

/// The difference that the API server is to apply.
pub fn patch(pod: &Value, injected: &Value) -> Patch {
    json_patch::diff(pod, injected)
}

/// A container of this name that the pod's author wrote, to set single fields of the proxy.
fn existing_proxy(spec: &Value) -> Option<(&'static str, usize)> {
    ["initContainers", "containers"]
        .into_iter()
        .find_map(|list| {
            let index = spec[list]
                .as_array()?
                .iter()
                .position(|container| container["name"] == PROXY)?;
            Some((list, index))
        })
}

fn take_existing_proxy(spec: &mut Value) -> Option<Value> {
    let (list, index) = existing_proxy(spec)?;
    Some(spec[list].as_array_mut()?.remove(index))
}

/// Lays the author's fields over the proxy's: maps and named lists are merged, the rest replaced.
/// The image `auto` stands for ours.
fn overlay(proxy: &mut Value, own: &Value) {
    match (proxy, own) {
        (Value::Object(proxy), Value::Object(own)) => {
            for (key, value) in own {
                if key == "image" && value == "auto" {
                    continue;
                }
                match proxy.get_mut(key) {
                    Some(under) => overlay(under, value),
                    None => drop(proxy.insert(key.clone(), value.clone())),
                }
            }
        }
        (Value::Array(proxy), Value::Array(own))
            if own.iter().all(|item| item["name"].is_string()) =>
        {
            for item in own {
                match proxy.iter_mut().find(|under| under["name"] == item["name"]) {
                    Some(under) => overlay(under, item),
                    None => proxy.push(item.clone()),
                }
            }
        }
        (proxy, own) => *proxy = own.clone(),
    }
}

/// Puts items before those of a list, which is made if there is none.
fn prepend(spec: &mut Value, list: &str, mut items: Vec<Value>) {
    if let Some(old) = spec[list].as_array() {
        // A second pass over a pod replaces what the first one added.
        items.extend(
            old.iter()
                .filter(|item| item["name"] != INIT && item["name"] != PROXY)
                .cloned(),
        );
    }
    spec[list] = json!(items);
}

fn add_missing(spec: &mut Value, list: &str, item: Value) {
    if !spec[list].is_array() {
        spec[list] = json!([]);
    }
    if let Some(items) = spec[list].as_array_mut()
        && !items.iter().any(|other| other["name"] == item["name"])
    {
        items.push(item);
    }
}

#[cfg(test)]
mod tests;
