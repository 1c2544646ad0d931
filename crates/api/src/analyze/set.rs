//! The objects of an analysis with the indexes that its parts need.

use std::collections::{BTreeMap, BTreeSet};

use lateen_model::{Host, HostPattern, Labels, ObjectRef, selects};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Entry, Options, Origin};
use crate::kinds::NETWORKING;
use crate::object::{Object, string_map};
use crate::problem::closest;
use crate::spec::destination_rule::DestinationRule;
use crate::spec::gateway::Gateway;
use crate::spec::service_entry::ServiceEntry;
use crate::spec::virtual_service::VirtualService;

/// Kinds without a namespace, as far as people put them beside their workloads.
const CLUSTER_KINDS: [&str; 13] = [
    "Namespace",
    "Node",
    "PersistentVolume",
    "StorageClass",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
    "IngressClass",
    "GatewayClass",
    "PriorityClass",
    "APIService",
];

/// Namespaces that belong to the platform.
const SYSTEM_NAMESPACES: [&str; 4] = [
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "local-path-storage",
];

/// An object with its namespace.
pub(super) struct Subject<'a> {
    pub(super) object: Object<'a>,
    pub(super) namespace: &'a str,
    /// Whether messages about it are wanted.
    pub(super) is_wanted: bool,
    origin: &'a Origin,
}

/// An object of Istio's API with its spec.
pub(super) struct Parsed<'a, T> {
    pub(super) subject: &'a Subject<'a>,
    pub(super) spec: T,
}

/// A workload: a pod, or the template of pods.
pub(super) struct Workload<'a> {
    pub(super) subject: &'a Subject<'a>,
    pub(super) labels: Labels,
    /// The spec of the pod.
    pub(super) pod: &'a Value,
    /// Annotations of the pod.
    pub(super) annotations: Labels,
    /// Where the pod's metadata stands in the object.
    pub(super) metadata_path: &'static str,
}

/// Something that can be called by name.
pub(super) struct Service {
    pub(super) host: HostPattern,
    pub(super) namespace: String,
    /// Ports that are captured.
    pub(super) ports: Vec<u16>,
    pub(super) backing: Backing,
}

/// Everything that can be called by name, found by name.
pub(super) struct Services {
    all: Vec<Service>,
    exact: BTreeMap<Host, Vec<usize>>,
    /// Those with wildcards.
    others: Vec<usize>,
}

/// What stands behind a service.
pub(super) enum Backing {
    /// Workloads of its namespace with these labels.
    Selector(Labels),
    /// Endpoints with these labels.
    Endpoints(Vec<Labels>),
    /// Nothing that is known.
    Unknown,
}

/// The objects of an analysis.
pub(super) struct Set<'a> {
    pub(super) options: &'a Options,
    subjects: Vec<Subject<'a>>,
}

// === impl Subject ===

impl Subject<'_> {
    /// Kind, namespace and name.
    pub(super) fn reference(&self) -> ObjectRef {
        ObjectRef {
            kind: self.object.kind().to_owned(),
            namespace: self.namespace.to_owned(),
            name: self.object.name().to_owned(),
        }
    }

    /// Answers whether it was read from a cluster.
    pub(super) fn is_of_cluster(&self) -> bool {
        matches!(self.origin, Origin::Cluster)
    }

    /// The place of a field in a file; empty for objects of a cluster.
    pub(super) fn place(&self, field: &str) -> String {
        match self.origin {
            Origin::File { name, lines } => format!("{name}:{}", lines.line_of(field)),
            Origin::Cluster | Origin::Assumed => String::new(),
        }
    }
}

// === impl Set ===

impl<'a> Set<'a> {
    /// Orders objects; those of files hide those of the cluster with the same name.
    pub(super) fn new(entries: &'a [Entry], options: &'a Options) -> Self {
        let mut subjects: Vec<Subject<'a>> = Vec::new();
        let mut places: BTreeMap<(&str, &str, &str, &str), usize> = BTreeMap::new();
        for entry in entries {
            let subject = subject(entry, options);
            let object = subject.object;
            let key = (
                object.group(),
                object.kind(),
                subject.namespace,
                object.name(),
            );
            let is_file = matches!(entry.origin, Origin::File { .. });
            match places.get(&key) {
                Some(place) if is_file && !object.name().is_empty() => subjects[*place] = subject,
                Some(_) if !object.name().is_empty() => {}
                _ => {
                    places.insert(key, subjects.len());
                    subjects.push(subject);
                }
            }
        }
        Self { options, subjects }
    }

    /// Every object.
    pub(super) fn subjects(&self) -> &[Subject<'a>] {
        &self.subjects
    }

    /// Objects of a kind, in whatever version.
    pub(super) fn of(
        &self,
        group: &'static str,
        kind: &'static str,
    ) -> impl Iterator<Item = &Subject<'a>> {
        self.subjects
            .iter()
            .filter(move |subject| subject.object.is(group, kind))
    }

    /// Objects of a kind whose spec can be read; the others are reported by validation.
    pub(super) fn parsed<T: DeserializeOwned>(
        &self,
        group: &'static str,
        kind: &'static str,
    ) -> Vec<Parsed<'_, T>> {
        self.of(group, kind)
            .filter_map(|subject| {
                let spec = T::deserialize(subject.object.spec()).ok()?;
                Some(Parsed { subject, spec })
            })
            .collect()
    }

    /// Every VirtualService.
    pub(super) fn virtual_services(&self) -> Vec<Parsed<'_, VirtualService>> {
        self.parsed(NETWORKING, "VirtualService")
    }

    /// Every DestinationRule.
    pub(super) fn destination_rules(&self) -> Vec<Parsed<'_, DestinationRule>> {
        self.parsed(NETWORKING, "DestinationRule")
    }

    /// Every Gateway.
    pub(super) fn gateways(&self) -> Vec<Parsed<'_, Gateway>> {
        self.parsed(NETWORKING, "Gateway")
    }

    /// Every ServiceEntry.
    pub(super) fn service_entries(&self) -> Vec<Parsed<'_, ServiceEntry>> {
        self.parsed(NETWORKING, "ServiceEntry")
    }

    /// Everything that can be called by name.
    pub(super) fn services(&self) -> Services {
        let mut services: Vec<Service> = self
            .of("", "Service")
            .map(|subject| kubernetes_service(subject, &self.options.cluster_domain))
            .collect();
        for entry in self.service_entries() {
            for host in &entry.spec.hosts {
                services.push(external_service(&entry, host));
            }
        }
        Services::new(services)
    }

    /// Pods, and the templates of pods of whatever makes them.
    pub(super) fn workloads(&self) -> Vec<Workload<'_>> {
        self.subjects.iter().filter_map(workload).collect()
    }

    /// The workloads that people write: not those that another one among the objects makes, as a
    /// Deployment makes ReplicaSets and these make Pods.
    pub(super) fn written_workloads(&self) -> Vec<Workload<'_>> {
        let mut workloads = self.workloads();
        let names: BTreeSet<(&str, &str, &str)> = workloads
            .iter()
            .map(|workload| workload.subject)
            .map(|it| (it.namespace, it.object.kind(), it.object.name()))
            .collect();
        workloads.retain(|workload| {
            let namespace = workload.subject.namespace;
            let metadata = &workload.subject.object.0["metadata"];
            let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
            !owners.into_iter().any(|owner| {
                let text = |key: &str| owner[key].as_str().unwrap_or_default();
                owner["controller"] == true
                    && names.contains(&(namespace, text("kind"), text("name")))
            })
        });
        workloads
    }

    /// Labels of a namespace, if it is among the objects.
    pub(super) fn namespace_labels(&self, name: &str) -> Option<Labels> {
        let namespace = self
            .of("", "Namespace")
            .find(|subject| subject.object.name() == name);
        namespace.map(|subject| subject.object.labels())
    }

    /// Answers whether a namespace belongs to the platform or to the mesh itself.
    pub(super) fn is_system(&self, namespace: &str) -> bool {
        SYSTEM_NAMESPACES.contains(&namespace) || namespace == self.options.root_namespace
    }

    /// The full name of a host that an object of `namespace` wrote.
    pub(super) fn host(&self, name: &str, namespace: &str) -> Host {
        Host::resolve(name, namespace, &self.options.cluster_domain)
    }

    /// The pattern of hosts that an object of `namespace` wrote.
    pub(super) fn pattern(&self, name: &str, namespace: &str) -> HostPattern {
        HostPattern::resolve(name, namespace, &self.options.cluster_domain)
    }
}

fn subject<'a>(entry: &'a Entry, options: &'a Options) -> Subject<'a> {
    let object = Object(&entry.value);
    let namespace = if CLUSTER_KINDS.contains(&object.kind()) {
        ""
    } else if object.namespace().is_empty() {
        options.namespace.as_str()
    } else {
        object.namespace()
    };
    let is_in_scope = options.all_namespaces
        || namespace == options.namespace
        || (object.is("", "Namespace") && object.name() == options.namespace);
    Subject {
        object,
        namespace,
        is_wanted: match entry.origin {
            Origin::Cluster => is_in_scope,
            Origin::File { .. } => true,
            Origin::Assumed => false,
        },
        origin: &entry.origin,
    }
}

fn kubernetes_service(subject: &Subject<'_>, domain: &str) -> Service {
    let object = subject.object;
    let spec = object.spec();
    let ports = spec["ports"].as_array().into_iter().flatten();
    let is_tcp = |port: &&Value| port["protocol"].as_str().unwrap_or("TCP") == "TCP";
    let selector = string_map(spec["selector"].as_object());
    Service {
        host: HostPattern::Exact(Host::new(&format!(
            "{}.{}.svc.{domain}",
            object.name(),
            subject.namespace
        ))),
        namespace: subject.namespace.to_owned(),
        ports: ports
            .filter(is_tcp)
            .filter_map(|port| u16::try_from(port["port"].as_u64()?).ok())
            .collect(),
        backing: if selector.is_empty() || spec["type"] == "ExternalName" {
            Backing::Unknown
        } else {
            Backing::Selector(selector)
        },
    }
}

fn external_service(entry: &Parsed<'_, ServiceEntry>, host: &str) -> Service {
    let spec = &entry.spec;
    let backing = if let Some(selector) = &spec.workload_selector {
        Backing::Selector(selector.labels.clone())
    } else if spec.endpoints.is_empty() {
        Backing::Unknown
    } else {
        Backing::Endpoints(spec.endpoints.iter().map(|e| e.labels.clone()).collect())
    };
    Service {
        host: HostPattern::resolve(host, "", ""),
        namespace: entry.subject.namespace.to_owned(),
        ports: spec
            .ports
            .iter()
            .filter_map(|port| u16::try_from(port.number).ok())
            .collect(),
        backing,
    }
}

fn workload<'a>(subject: &'a Subject<'a>) -> Option<Workload<'a>> {
    let object = subject.object;
    let spec = object.spec();
    let (template, metadata_path): (&Value, &'static str) = match (object.group(), object.kind()) {
        ("", "Pod") => (object.0, "metadata"),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("batch", "Job") => {
            (&spec["template"], "spec.template.metadata")
        }
        ("batch", "CronJob") => (
            &spec["jobTemplate"]["spec"]["template"],
            "spec.jobTemplate.spec.template.metadata",
        ),
        _ => return None,
    };
    Some(Workload {
        subject,
        labels: string_map(template["metadata"]["labels"].as_object()),
        annotations: string_map(template["metadata"]["annotations"].as_object()),
        pod: &template["spec"],
        metadata_path,
    })
}

// === impl Workload ===

impl Workload<'_> {
    /// Answers whether it is a pod, not a template.
    pub(super) fn is_pod(&self) -> bool {
        self.subject.object.kind() == "Pod"
    }

    /// Its containers with the path of their list.
    pub(super) fn containers(&self) -> impl Iterator<Item = (&'static str, usize, &Value)> {
        ["containers", "initContainers"]
            .into_iter()
            .flat_map(|list| {
                let containers = self.pod[list].as_array().into_iter().flatten();
                containers
                    .enumerate()
                    .map(move |(index, container)| (list, index, container))
            })
    }
}

// === impl Service ===

impl Service {
    /// Answers whether an endpoint with these labels may exist; nothing if that cannot be known.
    pub(super) fn has_endpoint(&self, labels: &Labels, workloads: &[Workload<'_>]) -> Option<bool> {
        match &self.backing {
            Backing::Unknown => None,
            Backing::Endpoints(list) => Some(list.iter().any(|own| selects(labels, own))),
            Backing::Selector(selector) => {
                let mut behind = workloads
                    .iter()
                    .filter(|w| {
                        w.subject.namespace == self.namespace && selects(selector, &w.labels)
                    })
                    .peekable();
                // Without any workload the service is only described, its pods are elsewhere.
                behind.peek()?;
                Some(behind.any(|workload| selects(labels, &workload.labels)))
            }
        }
    }
}

// === impl Services ===

impl Services {
    fn new(all: Vec<Service>) -> Self {
        let mut exact: BTreeMap<Host, Vec<usize>> = BTreeMap::new();
        let mut others = Vec::new();
        for (index, service) in all.iter().enumerate() {
            match &service.host {
                HostPattern::Exact(host) => exact.entry(host.clone()).or_default().push(index),
                HostPattern::Any | HostPattern::Suffix(_) => others.push(index),
            }
        }
        Self { all, exact, others }
    }

    /// The services that are called by `host`. A wildcard entry may also be referred to by its
    /// wildcard.
    pub(super) fn find(&self, host: &Host) -> Vec<&Service> {
        let exact = self.exact.get(host).into_iter().flatten();
        let found = exact.map(|index| &self.all[*index]);
        let wild = self
            .others
            .iter()
            .map(|index| &self.all[*index])
            .filter(|service| {
                service.host.matches(host.as_str()) || service.host.to_string() == host.as_str()
            });
        found.chain(wild).collect()
    }

    /// The services of which a name matches `pattern`.
    pub(super) fn matching(&self, pattern: &HostPattern) -> Vec<&Service> {
        match pattern {
            HostPattern::Exact(host) => self.find(host),
            _ => self
                .all
                .iter()
                .filter(|s| s.host.intersect(pattern).is_some())
                .collect(),
        }
    }

    /// What may have been meant by a host that does not exist: a similar name beside it, or the
    /// same name in another namespace.
    pub(super) fn similar(&self, host: &Host) -> Option<&Host> {
        let (name, domain) = host.as_str().split_once('.')?;
        let labels = || {
            self.exact.keys().filter_map(|known| {
                let (label, parent) = known.as_str().split_once('.')?;
                Some((known, label, parent))
            })
        };
        let beside = labels().filter(|(_, _, parent)| *parent == domain);
        let meant = closest(name, beside.map(|(_, label, _)| label));
        let by_name =
            labels().find(|(_, label, parent)| Some(*label) == meant && *parent == domain);
        by_name
            .or_else(|| labels().find(|(_, label, _)| *label == name))
            .map(|(known, ..)| known)
    }
}

/// Namespaces that see an object; nothing if all do.
pub(super) type Audience = Option<BTreeSet<String>>;

/// The namespaces that an object of `namespace` is exported to.
pub(super) fn audience(export_to: &[String], namespace: &str) -> Audience {
    if export_to.is_empty() || export_to.iter().any(|entry| entry == "*") {
        return None;
    }
    let resolve = |entry: &String| {
        if entry == "." {
            namespace.to_owned()
        } else {
            entry.clone()
        }
    };
    Some(export_to.iter().map(resolve).collect())
}

/// Answers whether some namespace sees both of two objects.
pub(super) fn is_seen_together(a: Option<&BTreeSet<String>>, b: Option<&BTreeSet<String>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => !a.is_disjoint(b),
        _ => true,
    }
}
