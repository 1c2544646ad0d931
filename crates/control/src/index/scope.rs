//! Sidecars: which one is whose, and what its proxies import.
//!
//! A Sidecar that selects workloads comes before the one of the namespace, which comes before the
//! one of the root namespace; the oldest of several is in effect, and none is merged with another.

use std::collections::BTreeSet;
use std::sync::Arc;

use lateen_api::lower::{ImportedFrom, ImportedHost, Sidecar};
use lateen_model::mesh::Mesh;
use lateen_model::proxy::Role;
use lateen_model::{Body, Host, ObjectRef, Resource, ResourceName, Source, selects};
use lateen_xds::server::{Import, Scope, Subject};

use super::input::Pod;
use super::{Index, Key, Output, audience};

/// A Sidecar for the proxies of a namespace: `.` is the namespace of the proxy.
pub(super) type ScopeKey = (ObjectRef, String);

/// A Sidecar with its age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OwnedSidecar {
    pub(super) source: Source,
    pub(super) sidecar: Sidecar,
}

impl Index {
    /// Remembers what a Sidecar says, and marks what depends on it.
    pub(super) fn set_sidecar(&mut self, object: &ObjectRef, sidecar: Option<OwnedSidecar>) {
        if super::replace(&mut self.sidecars, object, sidecar).is_err() {
            return;
        }
        self.dirty.is_scoping = true;
        // What it says of ports is not in a scope.
        let pods = self.scope_of.iter();
        let pods = pods.filter(|(_, (sidecar, _))| sidecar == object);
        self.dirty.pods.extend(pods.map(|(key, _)| key.clone()));
    }

    /// The settings of the proxies of a Sidecar that has an outbound policy of its own.
    pub(super) fn sidecar_settings(&self, source: &Source, sidecar: &Sidecar) -> Option<Output> {
        let object = &source.object;
        let resource = Resource {
            // No object can be called so, hence no other settings.
            name: ResourceName(format!("Mesh/{}/Sidecar.{}", object.namespace, object.name)),
            source: source.clone(),
            body: Body::Mesh(Mesh {
                outbound_policy: sidecar.outbound_policy?,
                ..self.mesh.mesh.clone()
            }),
        };
        let audience = audience::settings(&settings_name(object));
        Some(Output::config(&resource, audience))
    }

    /// The scope of a pod's proxy; nothing if it imports everything.
    pub(super) fn scope_of(&mut self, key: &Key) -> Option<Arc<Scope>> {
        let scope_key = self.pods.get(key).and_then(|pod| self.sidecar_of(pod));
        let Some(scope_key) = scope_key else {
            self.scope_of.remove(key);
            return None;
        };
        let scope = match self.scopes.get(&scope_key) {
            Some(scope) => Arc::clone(scope),
            None => Arc::new(self.compute_scope(&scope_key)?),
        };
        self.scopes.insert(scope_key.clone(), Arc::clone(&scope));
        self.scope_of.insert(key.clone(), scope_key);
        Some(scope)
    }

    /// Computes every scope anew; the pods whose proxies see something else are the result.
    pub(super) fn compute_scopes(&mut self) -> BTreeSet<Key> {
        if self.sidecars.is_empty() && self.scopes.is_empty() {
            return BTreeSet::new();
        }
        let used: BTreeSet<ScopeKey> = self.scope_of.values().cloned().collect();
        let mut changed = BTreeSet::new();
        self.scopes.retain(|key, _| used.contains(key));
        for key in used {
            let scope = self.compute_scope(&key).map(Arc::new);
            if self.scopes.get(&key) == scope.as_ref() {
                continue;
            }
            match scope {
                Some(scope) => self.scopes.insert(key.clone(), scope),
                None => self.scopes.remove(&key),
            };
            changed.insert(key);
        }
        let affected = self.pods.iter().filter(|(key, pod)| {
            let old = self.scope_of.get(key);
            old.is_some_and(|old| changed.contains(old)) || old != self.sidecar_of(pod).as_ref()
        });
        affected.map(|(key, _)| key.clone()).collect()
    }

    /// The Sidecar that is in effect for a pod.
    pub(super) fn sidecar_of(&self, pod: &Pod) -> Option<ScopeKey> {
        if pod.role != Some(Role::Sidecar) || self.sidecars.is_empty() {
            return None;
        }
        let namespace = &pod.identity.namespace;
        let oldest = |is_it: &dyn Fn(&OwnedSidecar) -> bool| {
            let all = self.sidecars.values().filter(|owned| is_it(owned));
            all.min_by(|a, b| a.source.age_key().cmp(&b.source.age_key()))
        };
        let is_of =
            |owned: &OwnedSidecar, namespace: &String| owned.source.object.namespace == *namespace;
        let selecting = |owned: &OwnedSidecar| {
            let selector = owned.sidecar.selector.as_ref();
            is_of(owned, namespace)
                && selector.is_some_and(|labels| selects(labels, &pod.identity.labels))
        };
        let default = |owned: &OwnedSidecar, namespace| {
            is_of(owned, namespace) && owned.sidecar.selector.is_none()
        };
        let root = &self.mesh.mesh.root_namespace;
        let owned = oldest(&selecting)
            .or_else(|| oldest(&|owned| default(owned, namespace)))
            .or_else(|| oldest(&|owned| default(owned, root)))?;
        Some((owned.source.object.clone(), namespace.clone()))
    }

    fn compute_scope(&self, (object, namespace): &ScopeKey) -> Option<Scope> {
        let OwnedSidecar { sidecar, .. } = self.sidecars.get(object)?;
        let imports = |list: &[ImportedHost]| list.iter().map(|i| import(i, namespace)).collect();
        let mut scope = Scope {
            imports: imports(&sidecar.imports),
            exclusions: imports(&sidecar.exclusions),
            destinations: BTreeSet::new(),
            settings: match sidecar.outbound_policy {
                Some(_) => settings_name(object),
                None => String::new(),
            },
        };
        scope.destinations = self.destinations(&scope, namespace);
        Some(scope)
    }

    /// The services that rules which are imported send requests to.
    fn destinations(&self, scope: &Scope, namespace: &str) -> BTreeSet<Host> {
        let mut destinations = BTreeSet::new();
        for routes in self.routes.values() {
            let subject = || Subject::Rules {
                namespace: routes.namespace.clone(),
                hosts: routes.hosts.clone(),
            };
            let is_seen = routes.is_mesh
                && !routes.hosts.is_empty()
                && routes.export_to.allows(namespace)
                && scope.sees(&subject());
            if !is_seen {
                continue;
            }
            destinations.extend(routes.destinations.iter().cloned());
            let delegates = routes.delegates.iter();
            let delegates = delegates.filter_map(|object| self.routes.get(object));
            destinations.extend(delegates.flat_map(|d| &d.destinations).cloned());
        }
        destinations
    }
}

/// What the settings of a Sidecar are called in its scope.
fn settings_name(object: &ObjectRef) -> String {
    format!("{}/{}", object.namespace, object.name)
}

fn import(imported: &ImportedHost, namespace: &str) -> Import {
    Import {
        namespace: match &imported.from {
            ImportedFrom::Any => None,
            ImportedFrom::Own => Some(namespace.to_owned()),
            ImportedFrom::Namespace(name) => Some(name.clone()),
        },
        host: imported.host.clone(),
    }
}
