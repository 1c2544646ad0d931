//! The mesh as the control plane sees it, and what it tells one proxy.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use lateen_api::mesh_config::MeshConfig;
use lateen_api::service::Target;
use lateen_api::{Kind as IstioKind, Object};
use lateen_control::index::{Index, Input, Key, Place, input};
use lateen_decide::{Plan, Store};
use lateen_model::endpoint::Endpoints;
use lateen_model::proxy::Role;
use lateen_model::{ObjectRef, Resource};
use lateen_xds::server::Publisher;
use lateen_xds::{Kind, Node, NodeId, proto};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Error;

/// The domain of services.
pub(crate) const DOMAIN: &str = "cluster.local";
/// The ConfigMap of MeshConfig.
const MESH_CONFIG: &str = "istio";

/// A mesh.
pub struct World {
    publisher: Publisher,
    pods: BTreeMap<Key, input::Pod>,
    services: BTreeMap<Key, Target>,
    slices: Vec<(Key, input::Slice)>,
    problems: Vec<String>,
}

/// Whose request it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The namespace of its pod.
    pub namespace: String,
    /// The name of its pod.
    pub name: String,
    /// The kind of its proxy.
    pub role: Role,
    /// The pod's address.
    pub address: IpAddr,
}

/// What a proxy is told, and what it makes of it.
pub struct Configuration {
    /// What its data path reads.
    pub plan: Arc<Plan>,
    /// What it was made from.
    pub resources: Vec<Resource>,
    /// The endpoints of the services that it knows.
    pub endpoints: Vec<Endpoints>,
    /// Objects that are not in effect, with the reason.
    pub problems: Vec<String>,
    /// Names that were not looked up, for each of which one address stands.
    pub names: Vec<String>,
}

/// Where a host name leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// It is an address, or a service has it.
    Address(IpAddr),
    /// Nothing in the cluster has it: the world outside may.
    Foreign,
    /// A service that has no address at all: without endpoints, a headless one has none.
    Nowhere,
}

/// An address that no service and no pod has (RFC 5737): it stands for names of the world outside.
pub(crate) const FOREIGN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

// === impl World ===

impl World {
    /// Feeds objects into the control plane's index; those of kinds that it does not know are left
    /// out. `root` is the namespace of the control plane.
    ///
    /// # Errors
    /// If an object cannot be read.
    pub fn new(objects: &[Value], root: &str) -> Result<Self, Error> {
        let place = Place {
            cluster: "Kubernetes".into(),
            revision: "default".into(),
            mesh_source: ObjectRef {
                kind: "ConfigMap".into(),
                namespace: root.into(),
                name: MESH_CONFIG.into(),
            },
        };
        let mut index = Index::new(place, mesh(objects, root)?);
        let mut world = Self {
            publisher: Publisher::new(),
            pods: BTreeMap::new(),
            services: BTreeMap::new(),
            slices: Vec::new(),
            problems: Vec::new(),
        };
        for object in objects {
            if let Some(input) = read(object)? {
                world.note(&input);
                index.apply(input);
            }
        }
        world.publisher.apply(index.settle());
        for object in index.take_judged() {
            for problem in index.verdict(&object).iter().flat_map(|it| &it.errors) {
                let (path, reason) = (&problem.path, &problem.reason);
                world
                    .problems
                    .push(format!("{object} is not in effect: {path}: {reason}"));
            }
        }
        Ok(world)
    }

    fn note(&mut self, input: &Input) {
        match input {
            Input::Pod(key, pod) => {
                self.pods.insert(key.clone(), pod.clone());
            }
            Input::Service(key, service) => {
                self.services
                    .insert(key.clone(), service.spec.target.clone());
            }
            Input::Slice(key, slice) => self.slices.push((key.clone(), slice.clone())),
            Input::Node(..) | Input::Namespace(..) | Input::Istio(_) => {}
        }
    }

    /// A caller by its pod.
    ///
    /// # Errors
    /// If there is no such pod, or it has no proxy.
    pub fn caller(&self, namespace: &str, name: &str) -> Result<Caller, Error> {
        let pod = self.pods.get(&Key::new(namespace, name));
        let pod = pod.ok_or_else(|| {
            Error::Caller(format!(
                "there is no pod {name:?} in namespace {namespace:?}"
            ))
        })?;
        let role = pod.role.ok_or_else(|| {
            Error::Caller(format!(
                "pod {namespace}/{name} has no proxy: its requests go where they are sent, and no \
                 rule of its side applies; label its namespace istio-injection=enabled and restart it"
            ))
        })?;
        let unspecified = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Ok(Caller {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            role,
            address: pod.addresses.first().copied().unwrap_or(unspecified),
        })
    }

    /// What the caller's proxy is told, and the plan that it makes of it.
    pub fn configuration(&self, caller: &Caller) -> Configuration {
        let node = Node::new(NodeId {
            role: caller.role,
            address: caller.address,
            name: caller.name.clone(),
            namespace: caller.namespace.clone(),
            domain: format!("{}.svc.{DOMAIN}", caller.namespace),
        });
        let mut store = Store::new();
        let mut configuration = Configuration {
            plan: store.compile(),
            resources: Vec::new(),
            endpoints: Vec::new(),
            problems: self.problems.clone(),
            names: Vec::new(),
        };
        for (kind, name, bytes) in self.publisher.seen_by(&node) {
            if let Err(why) = configuration.take(&mut store, kind, &name, &bytes) {
                configuration.problems.push(why);
            }
        }
        // The names are known once the rules are; their addresses are not asked for.
        store.compile();
        configuration.names = store.dns_names().iter().cloned().collect();
        for name in &configuration.names {
            store.set_dns(name, vec![FOREIGN]);
        }
        configuration.plan = store.compile();
        let notices = configuration.plan.notices().iter();
        let notices = notices.map(|(object, notice)| format!("{object}: {notice}"));
        configuration.problems.extend(notices);
        configuration
    }

    /// Where the name of a URL leads from a namespace, as the cluster's DNS would say.
    pub(crate) fn resolve(&self, host: &str, namespace: &str) -> Resolved {
        if let Ok(address) = host.parse() {
            return Resolved::Address(address);
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let short = name.strip_suffix(&format!(".svc.{DOMAIN}"));
        let short = short.or_else(|| name.strip_suffix(".svc")).unwrap_or(&name);
        let candidates = match short.split('.').collect::<Vec<_>>()[..] {
            [service] => vec![Key::new(namespace, service)],
            [service, namespace] => vec![Key::new(namespace, service)],
            _ => Vec::new(),
        };
        let found = candidates.into_iter().next();
        let Some((key, target)) = found.and_then(|key| self.services.get_key_value(&key)) else {
            return Resolved::Foreign;
        };
        match target {
            Target::ClusterIps(addresses) => addresses
                .first()
                .map_or(Resolved::Nowhere, |address| Resolved::Address(*address)),
            Target::Headless => self.first_endpoint(key),
            Target::ExternalName(name) if name.trim_end_matches('.') != host => {
                self.resolve(name, namespace)
            }
            Target::ExternalName(_) => Resolved::Foreign,
        }
    }

    fn first_endpoint(&self, service: &Key) -> Resolved {
        let own = self.slices.iter().filter(|(key, slice)| {
            key.namespace == service.namespace && slice.service == service.name
        });
        let mut addresses = own.flat_map(|(_, slice)| &slice.endpoints);
        addresses
            .next()
            .map_or(Resolved::Nowhere, |one| Resolved::Address(one.address))
    }

    /// The pods that have a proxy, as `namespace/name`.
    pub fn callers(&self) -> Vec<String> {
        let own = self.pods.iter().filter(|(_, pod)| pod.role.is_some());
        own.map(|(key, _)| format!("{}/{}", key.namespace, key.name))
            .collect()
    }
}

// === impl Configuration ===

impl Configuration {
    fn take(
        &mut self,
        store: &mut Store,
        kind: Kind,
        name: &str,
        bytes: &[u8],
    ) -> Result<(), String> {
        let malformed = |error: &dyn std::fmt::Display| format!("{name} cannot be read: {error}");
        match kind {
            Kind::Config => {
                let resource = proto::decode_resource(name, bytes).map_err(|e| malformed(&e))?;
                let refused = |error| format!("a proxy refuses it: {error}");
                store.apply(resource.clone()).map_err(refused)?;
                self.resources.push(resource);
            }
            Kind::Endpoints => {
                let endpoints = proto::decode_endpoints(name, bytes).map_err(|e| malformed(&e))?;
                store.apply_endpoints(endpoints.clone());
                self.endpoints.push(endpoints);
            }
            Kind::Workload | Kind::Secret => {}
        }
        Ok(())
    }
}

/// The settings of the mesh: those of the ConfigMap, if the objects have it.
fn mesh(objects: &[Value], root: &str) -> Result<MeshConfig, Error> {
    let mut maps = objects.iter().filter(|object| {
        let object = Object(object);
        object.is("", "ConfigMap") && object.namespace() == root && object.name() == MESH_CONFIG
    });
    let text = maps.next().and_then(|map| map["data"]["mesh"].as_str());
    let defaults = MeshConfig::new(DOMAIN, root);
    defaults
        .read(text.unwrap_or_default())
        .map_err(|why| Error::Object {
            object: format!("ConfigMap/{root}/{MESH_CONFIG}"),
            why: why.to_string(),
        })
}

/// An object as the index takes it; nothing for kinds that it does not know.
fn read(value: &Value) -> Result<Option<Input>, Error> {
    let object = Object(value);
    if IstioKind::of_object(object.api_version(), object.kind()).is_some() {
        return Ok(Some(Input::Istio(value.clone())));
    }
    let key = Key::new(object.namespace(), object.name());
    Ok(match (object.group(), object.kind()) {
        ("", "Service") => Some(Input::Service(key, input::Service::read(&typed(value)?))),
        ("", "Pod") => Some(Input::Pod(key, input::Pod::read(&typed(value)?))),
        ("discovery.k8s.io", "EndpointSlice") => {
            input::Slice::read(&typed(value)?).map(|slice| Input::Slice(key, slice))
        }
        ("", "Node") => Some(Input::Node(
            key.name,
            input::node_locality(&object.labels()),
        )),
        ("", "Namespace") => Some(Input::Namespace(key.name, object.labels())),
        _ => None,
    })
}

fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, Error> {
    T::deserialize(value).map_err(|error| Error::Object {
        object: Object(value).reference().to_string(),
        why: error.to_string(),
    })
}
