//! The built-in types, as a table.

use k8s_openapi::api;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta;
use schemars::{JsonSchema, Schema as JsonSchemaValue, SchemaGenerator};
use serde_json::{Map, Value};

use super::{ALL_VERBS, CREATE_ONLY, Resource, ScalePaths, Version};
use crate::apiserver::schema::{Schema, kind_reference};
use crate::apiserver::status::group_resource;

/// One built-in type.
struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short_names: &'static [&'static str],
    is_namespaced: bool,
    /// Listed by `kubectl get all`.
    is_in_all: bool,
    has_generation: bool,
    subresources: &'static [&'static str],
    verbs: &'static [&'static str],
    definition: fn(&mut SchemaGenerator) -> JsonSchemaValue,
    name: fn() -> String,
}

/// A group in the order of discovery.
const GROUPS: [&str; 17] = [
    "",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
];

const fn row<T: JsonSchema>(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short_names: &'static [&'static str],
) -> Row {
    Row {
        group,
        version,
        kind,
        plural,
        short_names,
        is_namespaced: true,
        is_in_all: false,
        has_generation: false,
        subresources: &[],
        verbs: ALL_VERBS,
        definition: SchemaGenerator::subschema_for::<T>,
        name: definition_name::<T>,
    }
}

fn definition_name<T: JsonSchema>() -> String {
    T::schema_name().into_owned()
}

// === impl Row ===

impl Row {
    const fn cluster(mut self) -> Self {
        self.is_namespaced = false;
        self
    }

    const fn in_all(mut self) -> Self {
        self.is_in_all = true;
        self
    }

    const fn generation(mut self) -> Self {
        self.has_generation = true;
        self
    }

    const fn sub(mut self, subresources: &'static [&'static str]) -> Self {
        self.subresources = subresources;
        self
    }

    const fn create_only(mut self) -> Self {
        self.verbs = CREATE_ONLY;
        self
    }

    fn resource(&self) -> Resource {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        // Events are the same objects in both of their groups.
        let table = match self.plural {
            "events" => "events".to_owned(),
            plural => group_resource(self.group, plural),
        };
        Resource {
            group: self.group.into(),
            kind: self.kind.into(),
            list_kind: format!("{}List", self.kind),
            plural: self.plural.into(),
            singular: self.kind.to_ascii_lowercase(),
            short_names: texts(self.short_names),
            categories: texts(if self.is_in_all {
                &["all"]
            } else {
                categories(self.plural)
            }),
            namespaced: self.is_namespaced,
            versions: vec![Version {
                name: self.version.into(),
                // Leaked once per type and process: the names live as long as the definitions.
                schema: Schema::Builtin(String::leak((self.name)())),
                subresources: texts(self.subresources),
                scale: self.subresources.contains(&"scale").then(scale_paths),
                columns: Vec::new(),
                warning: None,
            }],
            storage_version: self.version.into(),
            table,
            has_generation: self.has_generation,
            verbs: self.verbs,
            is_custom: false,
            selectable: texts(selectable(self.plural)),
        }
    }
}

/// The table.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    row::<api::core::v1::Binding>("", "v1", "Binding", "bindings", &[]).create_only(),
    row::<api::core::v1::ConfigMap>("", "v1", "ConfigMap", "configmaps", &["cm"]),
    row::<api::core::v1::Endpoints>("", "v1", "Endpoints", "endpoints", &["ep"]),
    row::<api::core::v1::Event>("", "v1", "Event", "events", &["ev"]),
    row::<api::core::v1::LimitRange>("", "v1", "LimitRange", "limitranges", &["limits"]),
    row::<api::core::v1::Namespace>("", "v1", "Namespace", "namespaces", &["ns"]).cluster().sub(&["status", "finalize"]),
    row::<api::core::v1::Node>("", "v1", "Node", "nodes", &["no"]).cluster().sub(&["status", "proxy"]),
    row::<api::core::v1::PersistentVolume>("", "v1", "PersistentVolume", "persistentvolumes", &["pv"]).cluster().sub(&["status"]),
    row::<api::core::v1::PersistentVolumeClaim>("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", &["pvc"]).sub(&["status"]),
    row::<api::core::v1::Pod>("", "v1", "Pod", "pods", &["po"]).in_all().generation().sub(&["status", "log", "exec", "attach", "portforward", "proxy", "binding", "eviction"]),
    row::<api::core::v1::PodTemplate>("", "v1", "PodTemplate", "podtemplates", &[]),
    row::<api::core::v1::ReplicationController>("", "v1", "ReplicationController", "replicationcontrollers", &["rc"]).in_all().generation().sub(&["status", "scale"]),
    row::<api::core::v1::ResourceQuota>("", "v1", "ResourceQuota", "resourcequotas", &["quota"]).sub(&["status"]),
    row::<api::core::v1::Secret>("", "v1", "Secret", "secrets", &[]),
    row::<api::core::v1::Service>("", "v1", "Service", "services", &["svc"]).in_all().sub(&["status", "proxy"]),
    row::<api::core::v1::ServiceAccount>("", "v1", "ServiceAccount", "serviceaccounts", &["sa"]).sub(&["token"]),
    row::<api::admissionregistration::v1::MutatingWebhookConfiguration>("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", &[]).cluster().generation(),
    row::<api::admissionregistration::v1::ValidatingWebhookConfiguration>("admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", &[]).cluster().generation(),
    row::<apiextensions::v1::CustomResourceDefinition>("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", &["crd", "crds"]).cluster().generation().sub(&["status"]),
    row::<api::apps::v1::ControllerRevision>("apps", "v1", "ControllerRevision", "controllerrevisions", &[]),
    row::<api::apps::v1::DaemonSet>("apps", "v1", "DaemonSet", "daemonsets", &["ds"]).in_all().generation().sub(&["status"]),
    row::<api::apps::v1::Deployment>("apps", "v1", "Deployment", "deployments", &["deploy"]).in_all().generation().sub(&["status", "scale"]),
    row::<api::apps::v1::ReplicaSet>("apps", "v1", "ReplicaSet", "replicasets", &["rs"]).in_all().generation().sub(&["status", "scale"]),
    row::<api::apps::v1::StatefulSet>("apps", "v1", "StatefulSet", "statefulsets", &["sts"]).in_all().generation().sub(&["status", "scale"]),
    row::<api::authentication::v1::SelfSubjectReview>("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", &[]).cluster().create_only(),
    row::<api::authentication::v1::TokenReview>("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", &[]).cluster().create_only(),
    row::<api::authorization::v1::LocalSubjectAccessReview>("authorization.k8s.io", "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", &[]).create_only(),
    row::<api::authorization::v1::SelfSubjectAccessReview>("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", &[]).cluster().create_only(),
    row::<api::authorization::v1::SelfSubjectRulesReview>("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", &[]).cluster().create_only(),
    row::<api::authorization::v1::SubjectAccessReview>("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", &[]).cluster().create_only(),
    row::<api::autoscaling::v2::HorizontalPodAutoscaler>("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", &["hpa"]).in_all().sub(&["status"]),
    row::<api::batch::v1::CronJob>("batch", "v1", "CronJob", "cronjobs", &["cj"]).in_all().generation().sub(&["status"]),
    row::<api::batch::v1::Job>("batch", "v1", "Job", "jobs", &[]).in_all().generation().sub(&["status"]),
    row::<api::coordination::v1::Lease>("coordination.k8s.io", "v1", "Lease", "leases", &[]),
    row::<api::discovery::v1::EndpointSlice>("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", &[]).generation(),
    row::<api::events::v1::Event>("events.k8s.io", "v1", "Event", "events", &["ev"]),
    row::<api::networking::v1::Ingress>("networking.k8s.io", "v1", "Ingress", "ingresses", &["ing"]).generation().sub(&["status"]),
    row::<api::networking::v1::IngressClass>("networking.k8s.io", "v1", "IngressClass", "ingressclasses", &[]).cluster().generation(),
    row::<api::networking::v1::NetworkPolicy>("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", &["netpol"]).generation(),
    row::<api::node::v1::RuntimeClass>("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", &[]).cluster(),
    row::<api::policy::v1::PodDisruptionBudget>("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", &["pdb"]).generation().sub(&["status"]),
    row::<api::rbac::v1::ClusterRole>("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", &[]).cluster(),
    row::<api::rbac::v1::ClusterRoleBinding>("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", &[]).cluster(),
    row::<api::rbac::v1::Role>("rbac.authorization.k8s.io", "v1", "Role", "roles", &[]),
    row::<api::rbac::v1::RoleBinding>("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", &[]),
    row::<api::scheduling::v1::PriorityClass>("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", &["pc"]).cluster().generation(),
    row::<api::storage::v1::StorageClass>("storage.k8s.io", "v1", "StorageClass", "storageclasses", &["sc"]).cluster(),
];

/// Kinds that are no types of their own: bodies of requests and of subresources.
#[rustfmt::skip]
const OTHER_KINDS: &[Row] = &[
    row::<api::autoscaling::v1::Scale>("autoscaling", "v1", "Scale", "", &[]),
    row::<api::authentication::v1::TokenRequest>("authentication.k8s.io", "v1", "TokenRequest", "", &[]),
    row::<api::policy::v1::Eviction>("policy", "v1", "Eviction", "", &[]),
    row::<meta::v1::DeleteOptions>("", "v1", "DeleteOptions", "", &[]),
    row::<meta::v1::Status>("", "v1", "Status", "", &[]),
];

/// The built-in types.
pub(super) fn resources() -> impl Iterator<Item = Resource> {
    ROWS.iter().map(Row::resource)
}

/// Makes the generator learn every definition.
pub(crate) fn register_schemas(generator: &mut SchemaGenerator) {
    for row in ROWS.iter().chain(OTHER_KINDS) {
        (row.definition)(generator);
    }
    generator.subschema_for::<meta::v1::ObjectMeta>();
    generator.subschema_for::<meta::v1::ListMeta>();
}

/// Tells the definitions of kinds which kind they are.
pub(crate) fn annotate_kinds(definitions: &mut Map<String, Value>) {
    for row in ROWS.iter().chain(OTHER_KINDS) {
        if let Some(Value::Object(definition)) = definitions.get_mut(&(row.name)()) {
            let kind = kind_reference(row.group, row.version, row.kind);
            definition.insert(
                "x-kubernetes-group-version-kind".into(),
                Value::Array(vec![kind]),
            );
        }
    }
}

/// Where a group stands in discovery; custom groups come last.
pub(super) fn group_order(group: &str) -> usize {
    GROUPS
        .iter()
        .position(|name| *name == group)
        .unwrap_or(GROUPS.len())
}

fn categories(plural: &str) -> &'static [&'static str] {
    match plural {
        "customresourcedefinitions"
        | "mutatingwebhookconfigurations"
        | "validatingwebhookconfigurations" => &["api-extensions"],
        _ => &[],
    }
}

/// The paths that field selectors may use, beyond name and namespace.
fn selectable(plural: &str) -> &'static [&'static str] {
    match plural {
        "pods" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "events" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "reason",
            "reportingComponent",
            "reportingController",
            "source",
            "type",
        ],
        "secrets" => &["type"],
        "services" => &["spec.clusterIP", "spec.type"],
        "namespaces" => &["status.phase"],
        "nodes" => &["spec.unschedulable"],
        "replicasets" | "replicationcontrollers" => &["status.replicas"],
        "jobs" => &["status.successful"],
        _ => &[],
    }
}

fn scale_paths() -> ScalePaths {
    let path = |part: &str| vec![part.to_owned(), "replicas".to_owned()];
    ScalePaths {
        spec: path("spec"),
        status: path("status"),
        selector: None,
    }
}
