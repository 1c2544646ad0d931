//! Injection: what a pod becomes when it joins the mesh. A pod in, a pod out; no I/O.
//!
//! ```text
//! initContainers: istio-init  (capture: rules that send the pod's traffic to the proxy)
//!                 istio-proxy (a native sidecar: starts before the application, ends after it)
//! volumes, labels and annotations, and the application's probes led through the proxy
//! ```
//!
//! Names, ports, labels and annotations are Istio's. The API server's selectors decide about
//! namespaces; what is decided here is what selectors cannot see.

mod capture;
mod metadata;
mod pre_stop;
mod probes;
mod proxy_config;
mod sidecar;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use lateen_api::mesh_config::ProxyConfig;
use lateen_api::workload;
use serde::Deserialize as _;
use serde_json::{Value, json};

/// The container of the proxy.
pub const PROXY: &str = "istio-proxy";

/// The container that installs the capture.
pub const INIT: &str = "istio-init";

/// The usual port on which the proxy tells of itself and of the application's health.
const STATUS_PORT: u16 = 15020;

/// Namespaces whose pods must run when nothing else does.
pub(crate) const NEVER: [&str; 4] = [
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "local-path-storage",
];

/// What is the same for every pod.
#[derive(Debug, Clone)]
pub struct Template {
    /// The proxy's image.
    pub image: String,
    /// The control plane's revision.
    pub revision: String,
    /// The name of the cluster.
    pub cluster: String,
    /// The trust domain.
    pub trust_domain: String,
    /// The domain of the cluster's services.
    pub cluster_domain: String,
    /// Where proxies find the control plane.
    pub discovery_address: String,
    /// MeshConfig's `defaultConfig`.
    pub default_config: ProxyConfig,
    /// MeshConfig's `enablePrometheusMerge`.
    pub is_prometheus_merged: bool,
}

/// What becomes of a pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is left as it is.
    Skipped(&'static str),
    /// It joins the mesh.
    Injected {
        /// The pod.
        pod: Value,
        /// What its author should know.
        warnings: Vec<String>,
    },
}

/// Why a pod can neither join nor be left alone: its author asked for something impossible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {why}")]
pub struct Refused {
    /// The annotation or field.
    pub at: String,
    /// What is wrong with it, and what to write.
    pub why: String,
}

/// The pod while it is worked on.
struct Work<'a> {
    template: &'a Template,
    namespace: &'a str,
    /// The pod as it came.
    original: &'a Value,
    pod: Value,
    /// The port on which the proxy tells of itself and of the application's health.
    status_port: u16,
    warnings: Vec<String>,
}

/// Injects a pod that is about to be created in a namespace.
///
/// # Errors
/// When an annotation cannot be followed, or when it is no pod.
pub fn inject(pod: &Value, namespace: &str, template: &Template) -> Result<Outcome, Refused> {
    check_shape(pod)?;
    if let Some(reason) = skip(pod, namespace) {
        return Ok(Outcome::Skipped(reason));
    }
    let mut work = Work {
        template,
        namespace,
        original: pod,
        pod: pod.clone(),
        status_port: status_port(pod)?,
        warnings: Vec::new(),
    };
    work.check_templates()?;
    let config = proxy_config::merged(&mut work)?;
    let probers = work.rewrite_probes();
    work.add_pre_stop_sleep()?;
    let scrape = work.metadata();
    let init = work.init_container(&config)?;
    let proxy = work.proxy_container(&config, &probers, scrape)?;
    work.place(init, proxy);
    work.add_volumes();
    work.set_status();
    Ok(Outcome::Injected {
        pod: work.pod,
        warnings: work.warnings,
    })
}

/// What follows takes maps for maps and lists for lists. The API server sends nothing else, but it is
/// not the only one who reaches the webhook.
fn check_shape(pod: &Value) -> Result<(), Refused> {
    match Pod::deserialize(pod) {
        Ok(_) => Ok(()),
        Err(error) => Err(refuse("the object", format!("it is no pod: {error}"))),
    }
}

/// Why a pod is left alone.
fn skip(pod: &Value, namespace: &str) -> Option<&'static str> {
    if pod["spec"]["hostNetwork"] == true {
        return Some("it uses the network of its node");
    }
    if NEVER.contains(&namespace) {
        return Some("pods of this namespace never join the mesh");
    }
    // The label wins over the annotation, which is the old way.
    let wish = label(pod, "sidecar.istio.io/inject")
        .or_else(|| annotation(pod, "sidecar.istio.io/inject"));
    if wish.is_some_and(|wish| matches!(wish, "false" | "no" | "off" | "n")) {
        return Some("sidecar.istio.io/inject is false");
    }
    if annotation(pod, "sidecar.istio.io/status").is_some() && has_container(pod, PROXY) {
        return Some("it has joined already");
    }
    None
}

/// The status port that a pod asks for.
fn status_port(pod: &Value) -> Result<u16, Refused> {
    let key = "status.sidecar.istio.io/port";
    let Some(text) = annotation(pod, key) else {
        return Ok(STATUS_PORT);
    };
    let port = text.parse::<u16>().ok().filter(|port| *port != 0);
    port.ok_or_else(|| {
        let why = format!("{text:?} is not a port; the proxy cannot do without it");
        refuse(&format!("annotation {key}"), why)
    })
}

fn has_container(pod: &Value, name: &str) -> bool {
    let lists = ["containers", "initContainers"].map(|list| pod["spec"][list].as_array());
    lists
        .into_iter()
        .flatten()
        .flatten()
        .any(|container| container["name"] == name)
}

fn annotation<'a>(pod: &'a Value, key: &str) -> Option<&'a str> {
    pod["metadata"]["annotations"].get(key)?.as_str()
}

fn label<'a>(pod: &'a Value, key: &str) -> Option<&'a str> {
    pod["metadata"]["labels"].get(key)?.as_str()
}

fn refuse(at: &str, why: impl Into<String>) -> Refused {
    Refused {
        at: at.to_owned(),
        why: why.into(),
    }
}

// === impl Work ===

impl Work<'_> {
    fn annotation(&self, key: &str) -> Option<&str> {
        annotation(self.original, key)
    }

    /// Only the template of sidecars exists; a pod that asks for another one must not get a
    /// sidecar in its place.
    fn check_templates(&self) -> Result<(), Refused> {
        let key = "inject.istio.io/templates";
        match self.annotation(key) {
            None | Some("sidecar" | "") => Ok(()),
            Some(other) => Err(refuse(
                &format!("annotation {key}"),
                format!("{other:?} is not available; only \"sidecar\" is"),
            )),
        }
    }

    /// The pod as far as its identity is concerned.
    fn identity(&self) -> workload::Pod {
        let metadata = &self.original["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let owners = metadata["ownerReferences"].as_array();
        let controller = owners
            .into_iter()
            .flatten()
            .find(|owner| owner["controller"] == true);
        let mut name = text(&metadata["name"]);
        if name.is_empty() {
            // The name is given later; what stands before it is what its author chose.
            let generate_name = text(&metadata["generateName"]);
            generate_name.trim_end_matches('-').clone_into(&mut name);
        }
        let service_account = text(&self.original["spec"]["serviceAccountName"]);
        workload::Pod {
            name,
            namespace: self.namespace.to_owned(),
            labels: lateen_api::Object(self.original).labels(),
            controller: controller.map(|owner| workload::Owner {
                kind: text(&owner["kind"]),
                name: text(&owner["name"]),
            }),
            service_account: if service_account.is_empty() {
                "default".into()
            } else {
                service_account
            },
            node: String::new(),
        }
    }

    /// Puts the two containers first, so that the application's own init containers are in the
    /// mesh already.
    fn place(&mut self, init: Option<Value>, proxy: Value) {
        let is_ours = |container: &Value| container["name"] == INIT || container["name"] == PROXY;
        let spec = &mut self.pod["spec"];
        if let Some(containers) = spec["containers"].as_array_mut() {
            containers.retain(|container| !is_ours(container));
        }
        let old = spec["initContainers"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let others = old.into_iter().filter(|container| !is_ours(container));
        let list: Vec<Value> = init.into_iter().chain([proxy]).chain(others).collect();
        spec["initContainers"] = list.into();
    }

    fn add_volumes(&mut self) {
        let volumes = sidecar::volumes();
        let list = &mut self.pod["spec"]["volumes"];
        if !list.is_array() {
            *list = json!([]);
        }
        let Some(list) = list.as_array_mut() else {
            return;
        };
        for volume in volumes {
            if !list.iter().any(|other| other["name"] == volume["name"]) {
                list.push(volume);
            }
        }
    }

    /// What was done, for tools and for the next time that the pod comes by.
    fn set_status(&mut self) {
        let names = |list: &Value| -> Vec<Value> {
            let items = list.as_array().into_iter().flatten();
            items.map(|item| item["name"].clone()).collect()
        };
        let init = names(&self.pod["spec"]["initContainers"]);
        let ours = init
            .into_iter()
            .filter(|name| name == INIT || name == PROXY);
        let status = json!({
            "initContainers": ours.collect::<Vec<_>>(),
            "containers": null,
            "volumes": names(&sidecar::volumes().into()),
            "imagePullSecrets": null,
            "revision": self.template.revision,
        });
        self.set_annotation("sidecar.istio.io/status", status.to_string());
    }

    fn set_annotation(&mut self, key: &str, value: impl Into<String>) {
        self.set_metadata("annotations", key, value.into());
    }

    /// Sets a label unless its author has.
    fn default_label(&mut self, key: &str, value: impl Into<String>) {
        if label(&self.pod, key).is_none() {
            self.set_metadata("labels", key, value.into());
        }
    }

    fn set_metadata(&mut self, map: &str, key: &str, value: String) {
        let map = &mut self.pod["metadata"][map];
        if !map.is_object() {
            *map = json!({});
        }
        map[key] = value.into();
    }
}

/// Environment variables by name, in the order in which they were added.
#[derive(Debug, Default)]
struct Env(Vec<Value>);

impl Env {
    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.push(json!({ "name": name, "value": value.into() }));
    }

    fn field(&mut self, name: &str, path: &str) {
        self.0.push(json!({
            "name": name,
            "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": path } }
        }));
    }

    fn extend(&mut self, pairs: &BTreeMap<String, String>) {
        for (name, value) in pairs {
            self.0.retain(|entry| entry["name"] != name.as_str());
            self.set(name, value.as_str());
        }
    }
}

#[cfg(test)]
mod tests;
