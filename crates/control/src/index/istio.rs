//! Objects of Istio's API: their resources, and what is thought of them.

use lateen_api::Object;
use lateen_api::lower::{self, Lowered, Workload as SelectedWorkload};
use lateen_model::{Body, ObjectRef, Source, selects};
use serde_json::{Value, json};

use super::scope::OwnedSidecar;
use super::{Index, Key, Output, Rank, Verdict, allocations, audience};

/// The kind of workloads outside of the cluster.
pub(super) const WORKLOAD_ENTRY: &str = "WorkloadEntry";

impl Index {
    /// Computes what follows from an object.
    pub(super) fn compute_istio(&mut self, object: &ObjectRef) {
        self.dirty.verdicts.insert(object.clone());
        let Some(value) = self.istio.get(object) else {
            self.verdicts.remove(object);
            self.outputs.set(object, Rank::default(), Vec::new());
            self.set_routes(object, &[]);
            self.set_sidecar(object, None);
            self.allocations.keep(object, None);
            return;
        };
        let source = Object(value).source();
        let workloads = self.selected_workloads(object);
        let mut lowered = lower::lower_with(value, &self.mesh.settings, &workloads);
        let mut addresses = None;
        if lowered.is_err() {
            self.allocations.keep(object, None);
        } else if object.kind == "ServiceEntry" {
            let allocated = self.allocations.allocate(object, value);
            addresses = allocations::unrecorded(value, &allocated);
        }
        // They are in effect at once, also if the status cannot be written.
        if let Some(addresses) = &addresses {
            let value = with_addresses(value, addresses);
            lowered = lower::lower_with(&value, &self.mesh.settings, &workloads);
        }
        let mut outputs = match &lowered {
            Ok(lowered) => self.lowered_outputs(object, &source, lowered),
            Err(_) => Vec::new(),
        };
        let mut rank = Rank::of_user(&source);
        if object.kind == WORKLOAD_ENTRY {
            outputs.extend(self.entry_workload(value));
            rank = Rank::of_workload_entry(&source);
        }
        self.outputs.set(object, rank, outputs);
        let (resources, sidecar) = match &lowered {
            Ok(lowered) => (&lowered.resources[..], lowered.sidecar.clone()),
            Err(_) => (&[][..], None),
        };
        let mut verdict = Verdict::of(value, &lowered);
        verdict.addresses = addresses;
        self.set_routes(object, resources);
        self.set_sidecar(
            object,
            sidecar.map(|sidecar| OwnedSidecar { source, sidecar }),
        );
        self.verdicts.insert(object.clone(), verdict);
    }

    fn lowered_outputs(
        &self,
        object: &ObjectRef,
        source: &Source,
        lowered: &Lowered,
    ) -> Vec<Output> {
        let mut outputs = Vec::new();
        for resource in &lowered.resources {
            let audience = match &resource.body {
                Body::VirtualService(rules) if rules.hosts.is_empty() => {
                    self.delegate_audience(object)
                }
                _ => audience::of(resource),
            };
            outputs.push(Output::config(resource, audience));
        }
        for endpoints in &lowered.endpoints {
            let seen_by = lowered.resources.iter().find(
                |resource| matches!(&resource.body, Body::Service(s) if s.key == endpoints.service),
            );
            let seen_by = seen_by.map(audience::of).unwrap_or_default();
            outputs.push(Output::endpoints(endpoints, seen_by));
        }
        let sidecar = lowered.sidecar.as_ref();
        outputs.extend(sidecar.and_then(|sidecar| self.sidecar_settings(source, sidecar)));
        outputs
    }

    /// The WorkloadEntries of a namespace that are valid.
    pub(super) fn workload_entries<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a SelectedWorkload> + 'a {
        Key::range(&self.workloads, namespace).map(|(_, workload)| workload)
    }

    /// The workloads that a ServiceEntry selects: WorkloadEntries and pods of its namespace.
    fn selected_workloads(&self, object: &ObjectRef) -> Vec<SelectedWorkload> {
        let selecting = self.selecting.get(&object.namespace);
        let Some(selector) = selecting.and_then(|entries| entries.get(object)) else {
            return Vec::new();
        };
        let entries = self.workload_entries(&object.namespace);
        let pods = Key::range(&self.pods, &object.namespace);
        let pods = pods.filter(|(_, pod)| selects(selector, &pod.identity.labels));
        let pods = pods.filter_map(|(_, pod)| pod.as_selected(&self.locality_of(pod)));
        let entries = entries.filter(|workload| selects(selector, &workload.labels));
        entries.cloned().chain(pods).collect()
    }
}

/// The object as it is when its status records these addresses.
fn with_addresses(object: &Value, addresses: &[Value]) -> Value {
    let mut object = object.clone();
    if !object["status"].is_object() {
        object["status"] = json!({});
    }
    object["status"]["addresses"] = addresses.into();
    object
}
