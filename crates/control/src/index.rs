//! The index: what the cluster's objects mean, as a value. Objects in, changed resources out.
//!
//! It does no I/O and knows no client: the watches feed it, the engine publishes what it
//! yields, tests call it. Applying an object twice changes nothing the second time, and the order
//! of objects does not matter, because every output is computed from all inputs it depends on
//! whenever one of them changed:
//!
//! ```text
//! Service, its EndpointSlices, their Pods, those Pods' Nodes ──► Service, Endpoints
//! Pod, its Node, the Services and ServiceEntries that select it ──► Proxy, Workload by address
//! Istio object (and for a ServiceEntry the workloads it selects) ──► its resources, its verdict
//! Sidecar, the rules that it imports ──► what the proxies that it is for are told of all this
//! MeshConfig ──► Mesh, and everything that has defaults in it
//! ```
//!
//! Two objects may define the same output (two ServiceEntries with one host); the order of
//! [`Rank`] decides which is in effect, and the other takes its place when it goes.

mod allocations;
mod audience;
pub mod input;
mod istio;
mod output;
mod routes;
mod scope;
mod service;
mod verdict;
mod workload;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lateen_api::Object;
use lateen_api::lower::{Workload, workload_entry};
use lateen_api::mesh_config::MeshConfig;
use lateen_model::{Body, Labels, ObjectRef, Resource, ResourceName, Source, selects};
use lateen_xds::Kind;
use lateen_xds::server::{Change, Scope};
use serde_json::Value;

pub use input::{Input, InputKind, Key};
pub use output::{Output, OutputName, Rank};
pub use verdict::Verdict;

use allocations::Allocations;
use input::{Pod, Service, Slice};
use output::Outputs;
use routes::Routes;
use scope::{OwnedSidecar, ScopeKey};

/// What the index is told about its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The name of the cluster.
    pub cluster: String,
    /// Objects labelled with another revision are another control plane's.
    pub revision: String,
    /// The ConfigMap of MeshConfig, as the origin of the mesh's settings.
    pub mesh_source: ObjectRef,
}

/// Everything that is known of the cluster, and what follows from it.
#[derive(Debug)]
pub struct Index {
    place: Place,
    mesh: MeshConfig,
    services: BTreeMap<Key, Service>,
    slices: BTreeMap<Key, Slice>,
    pods: BTreeMap<Key, Pod>,
    nodes: BTreeMap<String, String>,
    namespaces: BTreeMap<String, Labels>,
    istio: BTreeMap<ObjectRef, Value>,
    /// WorkloadEntries that are valid, read once: every service of their namespace looks at all.
    workloads: BTreeMap<Key, Workload>,
    /// The slices of each service.
    slices_of: BTreeMap<Key, BTreeSet<Key>>,
    /// The services in whose slices each pod appears, with the number of slices.
    services_of: BTreeMap<Key, BTreeMap<Key, usize>>,
    /// ServiceEntries that select workloads, by namespace.
    selecting: BTreeMap<String, BTreeMap<ObjectRef, Labels>>,
    /// Addresses of ServiceEntries that have none.
    allocations: Allocations,
    /// VirtualServices that are in effect.
    routes: BTreeMap<ObjectRef, Routes>,
    /// Sidecars that are in effect.
    sidecars: BTreeMap<ObjectRef, OwnedSidecar>,
    /// What the proxies of a Sidecar import.
    scopes: BTreeMap<ScopeKey, Arc<Scope>>,
    /// The Sidecar that was last in effect for each pod that has one.
    scope_of: BTreeMap<Key, ScopeKey>,
    verdicts: BTreeMap<ObjectRef, Verdict>,
    outputs: Outputs,
    dirty: Dirty,
}

/// What is to be computed anew.
#[derive(Debug, Default)]
struct Dirty {
    services: BTreeSet<Key>,
    pods: BTreeSet<Key>,
    istio: BTreeSet<ObjectRef>,
    is_mesh: bool,
    /// What proxies import may have changed.
    is_scoping: bool,
    /// Objects whose verdict may have changed since they were last asked for.
    verdicts: BTreeSet<ObjectRef>,
}

// === impl Index ===

impl Index {
    /// An index of an empty cluster.
    pub fn new(place: Place, mesh: MeshConfig) -> Self {
        Self {
            place,
            mesh,
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            pods: BTreeMap::new(),
            nodes: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            istio: BTreeMap::new(),
            workloads: BTreeMap::new(),
            slices_of: BTreeMap::new(),
            services_of: BTreeMap::new(),
            selecting: BTreeMap::new(),
            allocations: Allocations::default(),
            routes: BTreeMap::new(),
            sidecars: BTreeMap::new(),
            scopes: BTreeMap::new(),
            scope_of: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            outputs: Outputs::default(),
            dirty: Dirty {
                is_mesh: true,
                ..Dirty::default()
            },
        }
    }

    /// Takes an object that is new or may have changed.
    pub fn apply(&mut self, input: Input) {
        match input {
            Input::Service(key, service) => self.set_service(key, Some(service)),
            Input::Slice(key, slice) => self.set_slice(key, Some(slice)),
            Input::Pod(key, pod) => self.set_pod(key, Some(pod)),
            Input::Node(name, locality) => self.set_node(&name, Some(locality)),
            Input::Namespace(name, labels) => {
                self.namespaces.insert(name, labels);
            }
            Input::Istio(value) => self.set_istio(Object(&value).reference(), Some(value)),
        }
    }

    /// Takes the end of an object.
    pub fn delete(&mut self, kind: InputKind, key: Key) {
        match kind {
            InputKind::Service => self.set_service(key, None),
            InputKind::Slice => self.set_slice(key, None),
            InputKind::Pod => self.set_pod(key, None),
            InputKind::Node => self.set_node(&key.name, None),
            InputKind::Namespace => {
                self.namespaces.remove(&key.name);
            }
            InputKind::Istio(kind) => {
                let object = ObjectRef {
                    kind: kind.kind.to_owned(),
                    namespace: key.namespace,
                    name: key.name,
                };
                self.set_istio(object, None);
            }
        }
    }

    /// Every object of a kind, for what a relist no longer has.
    pub fn keys(&self, kind: InputKind) -> BTreeSet<Key> {
        let cluster = |name: &String| Key::new("", name);
        match kind {
            InputKind::Service => self.services.keys().cloned().collect(),
            InputKind::Slice => self.slices.keys().cloned().collect(),
            InputKind::Pod => self.pods.keys().cloned().collect(),
            InputKind::Node => self.nodes.keys().map(cluster).collect(),
            InputKind::Namespace => self.namespaces.keys().map(cluster).collect(),
            InputKind::Istio(kind) => {
                let objects = self.istio.keys().filter(|object| object.kind == kind.kind);
                objects.map(|o| Key::new(&o.namespace, &o.name)).collect()
            }
        }
    }

    /// Takes new settings of the mesh.
    pub fn set_mesh(&mut self, mesh: MeshConfig) {
        if mesh == self.mesh {
            return;
        }
        self.mesh = mesh;
        self.dirty.is_mesh = true;
        self.dirty.services.extend(self.services.keys().cloned());
        self.dirty.istio.extend(self.istio.keys().cloned());
    }

    /// The settings of the mesh.
    pub fn mesh(&self) -> &MeshConfig {
        &self.mesh
    }

    /// The labels of a namespace.
    pub fn namespace(&self, name: &str) -> Option<&Labels> {
        self.namespaces.get(name)
    }

    /// An Istio object as it was last seen.
    pub fn object(&self, object: &ObjectRef) -> Option<&Value> {
        self.istio.get(object)
    }

    /// Every Istio object.
    pub fn objects(&self) -> impl Iterator<Item = &Value> {
        self.istio.values()
    }

    /// What the index thinks of an Istio object; nothing if it does not know it.
    pub fn verdict(&self, object: &ObjectRef) -> Option<&Verdict> {
        self.verdicts.get(object)
    }

    /// Objects whose verdict may have changed since the last call.
    pub fn take_judged(&mut self) -> BTreeSet<ObjectRef> {
        std::mem::take(&mut self.dirty.verdicts)
    }

    /// Everything that is in effect, by name.
    pub fn snapshot(&self) -> BTreeMap<OutputName, &Output> {
        self.outputs.winners().collect()
    }

    /// The object that defines an output.
    pub fn origin(&self, name: &OutputName) -> Option<&ObjectRef> {
        self.outputs.origin(name)
    }

    /// Number of objects of each kind, for metrics.
    pub fn count(&self, kind: &str) -> usize {
        match kind {
            "Service" => self.services.len(),
            "Pod" => self.pods.len(),
            kind => self.istio.keys().filter(|o| o.kind == kind).count(),
        }
    }

    /// Computes what changed since the last call. Only changed names are in the result.
    pub fn settle(&mut self) -> Vec<Change> {
        let dirty = std::mem::take(&mut self.dirty);
        let mut changes = Vec::new();
        if dirty.is_mesh {
            self.compute_mesh();
        }
        for key in dirty.services {
            self.compute_service(&key);
        }
        // Who has an address already keeps it, whoever is new and comes first.
        for object in &dirty.istio {
            self.allocations.keep(object, self.istio.get(object));
        }
        for object in dirty.istio {
            self.compute_istio(&object);
        }
        // Delegates of rules that changed, which mark no others.
        for object in std::mem::take(&mut self.dirty.istio) {
            self.compute_istio(&object);
        }
        let mut pods = dirty.pods;
        pods.append(&mut self.dirty.pods);
        if std::mem::take(&mut self.dirty.is_scoping) || dirty.is_mesh {
            pods.extend(self.compute_scopes());
        }
        for key in pods {
            changes.push(self.compute_pod(&key));
        }
        self.dirty.verdicts.extend(dirty.verdicts);
        changes.extend(self.outputs.take_changes());
        changes
    }

    // --- inputs: keep, and mark what depends on them ---

    fn set_service(&mut self, key: Key, service: Option<Service>) {
        let selector = service.as_ref().map(|service| service.selector.clone());
        let Ok(old) = replace(&mut self.services, &key, service) else {
            return;
        };
        for selector in [old.map(|old| old.selector), selector]
            .into_iter()
            .flatten()
        {
            self.mark_selected(&key.namespace, &selector);
        }
        self.dirty.services.insert(key);
    }

    fn set_slice(&mut self, key: Key, slice: Option<Slice>) {
        let new = slice.clone();
        let Ok(old) = replace(&mut self.slices, &key, slice) else {
            return;
        };
        if let Some(old) = old {
            let service = Key::new(&key.namespace, &old.service);
            for pod in old.pods(&key.namespace) {
                self.leave_service(pod, &service);
            }
            if let Some(slices) = self.slices_of.get_mut(&service) {
                slices.remove(&key);
                if slices.is_empty() {
                    self.slices_of.remove(&service);
                }
            }
            self.dirty.services.insert(service);
        }
        if let Some(slice) = new {
            let service = Key::new(&key.namespace, &slice.service);
            for pod in slice.pods(&key.namespace) {
                let services = self.services_of.entry(pod).or_default();
                *services.entry(service.clone()).or_default() += 1;
            }
            let slices = self.slices_of.entry(service.clone()).or_default();
            slices.insert(key);
            self.dirty.services.insert(service);
        }
    }

    /// Takes a pod out of a slice of a service. Nothing is kept of pods that are in none: names of
    /// pods are never used again.
    fn leave_service(&mut self, pod: Key, service: &Key) {
        let Entry::Occupied(mut entry) = self.services_of.entry(pod) else {
            return;
        };
        let services = entry.get_mut();
        if let Some(count) = services.get_mut(service) {
            *count -= 1;
            if *count == 0 {
                services.remove(service);
            }
        }
        if services.is_empty() {
            entry.remove();
        }
    }

    fn set_pod(&mut self, key: Key, pod: Option<Pod>) {
        if replace(&mut self.pods, &key, pod).is_ok() {
            self.mark_pod(key);
        }
    }

    /// Marks a pod and what is made of it.
    fn mark_pod(&mut self, key: Key) {
        let services = self.services_of.get(&key).into_iter().flatten();
        self.dirty
            .services
            .extend(services.map(|(service, _)| service.clone()));
        self.mark_selecting(&key.namespace);
        self.dirty.pods.insert(key);
    }

    fn set_node(&mut self, name: &str, locality: Option<String>) {
        if replace(&mut self.nodes, &name.to_owned(), locality).is_err() {
            return;
        }
        let here = self
            .pods
            .iter()
            .filter(|(_, pod)| pod.identity.node == name);
        let keys: Vec<Key> = here.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.mark_pod(key);
        }
    }

    fn set_istio(&mut self, object: ObjectRef, value: Option<Value>) {
        // An object of another revision is as good as absent.
        let value = value.filter(|value| {
            let label = Object(value).label("istio.io/rev");
            label.is_none_or(|revision| revision == self.place.revision)
        });
        let selector = value.as_ref().and_then(workload_selector);
        if replace(&mut self.istio, &object, value).is_err() {
            return;
        }
        match object.kind.as_str() {
            istio::WORKLOAD_ENTRY => {
                self.read_workload(&object);
                self.mark_selecting(&object.namespace);
                self.mark_services(&object.namespace);
            }
            "ServiceEntry" => self.set_selector(&object, selector),
            _ => {}
        }
        self.dirty.istio.insert(object);
    }

    fn read_workload(&mut self, object: &ObjectRef) {
        let key = Key::new(&object.namespace, &object.name);
        let value = self.istio.get(object);
        match value.and_then(|value| workload_entry(value).ok()) {
            Some(workload) => self.workloads.insert(key, workload),
            None => self.workloads.remove(&key),
        };
    }

    /// Notes which ServiceEntries select workloads; proxies of both the old and the new ones may
    /// serve other ports then.
    fn set_selector(&mut self, object: &ObjectRef, selector: Option<Labels>) {
        let selecting = self.selecting.entry(object.namespace.clone()).or_default();
        let old = match &selector {
            Some(selector) => selecting.insert(object.clone(), selector.clone()),
            None => selecting.remove(object),
        };
        for selector in [old, selector].into_iter().flatten() {
            self.mark_selected(&object.namespace, &selector);
        }
    }

    /// Marks the pods of a namespace that a selector selects.
    fn mark_selected(&mut self, namespace: &str, selector: &Labels) {
        if selector.is_empty() {
            return;
        }
        let pods = Key::range(&self.pods, namespace);
        let selected = pods.filter(|(_, pod)| selects(selector, &pod.identity.labels));
        self.dirty.pods.extend(selected.map(|(key, _)| key.clone()));
    }

    /// Marks the ServiceEntries of a namespace that select workloads.
    fn mark_selecting(&mut self, namespace: &str) {
        let entries = self.selecting.get(namespace).into_iter().flatten();
        self.dirty
            .istio
            .extend(entries.map(|(object, _)| object.clone()));
    }

    /// Marks the services of a namespace that select workloads.
    fn mark_services(&mut self, namespace: &str) {
        let services = Key::range(&self.services, namespace);
        let selecting = services.filter(|(_, service)| !service.selector.is_empty());
        self.dirty
            .services
            .extend(selecting.map(|(key, _)| key.clone()));
    }

    // --- outputs ---

    fn compute_mesh(&mut self) {
        let object = &self.place.mesh_source;
        let resource = Resource {
            name: ResourceName(format!("Mesh/{}/{}", object.namespace, object.name)),
            source: Source {
                object: object.clone(),
                ..Source::default()
            },
            body: Body::Mesh(self.mesh.mesh.clone()),
        };
        let outputs = vec![Output::config(&resource, audience::of(&resource))];
        self.outputs.set(object, Rank::default(), outputs);
    }

    /// Where a pod runs: its own label first, then its node's.
    fn locality_of(&self, pod: &Pod) -> String {
        let own = pod.locality.clone();
        own.or_else(|| self.nodes.get(&pod.identity.node).cloned())
            .unwrap_or_default()
    }
}

/// What was applied is what was there.
struct Unchanged;

/// Puts a value in its place, or takes it away; answers what was there before.
fn replace<K: Ord + Clone, V: PartialEq>(
    map: &mut BTreeMap<K, V>,
    key: &K,
    value: Option<V>,
) -> Result<Option<V>, Unchanged> {
    if map.get(key) == value.as_ref() {
        return Err(Unchanged);
    }
    Ok(match value {
        Some(value) => map.insert(key.clone(), value),
        None => map.remove(key),
    })
}

/// The labels by which a ServiceEntry selects workloads.
fn workload_selector(value: &Value) -> Option<Labels> {
    let labels = value["spec"]["workloadSelector"]["labels"].as_object()?;
    let pairs = labels.iter();
    Some(
        pairs
            .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
            .collect(),
    )
}

/// The type and name of the resource of an object, for statuses: what proxies refuse by name is
/// told at the object.
pub fn config_name(name: &str) -> OutputName {
    OutputName {
        kind: Kind::Config,
        name: name.to_owned(),
    }
}

#[cfg(test)]
mod tests;
