//! The kinds of Istio's API: their names, versions, columns and schemas, as data.
//!
//! Everything that needs to know a kind (CRDs, watches, the webhook, the command line) reads it
//! from this table.

use std::sync::OnceLock;

use serde_json::Value;

use crate::{schema, spec};

/// The group of traffic management.
pub const NETWORKING: &str = "networking.istio.io";
/// The group of security.
pub const SECURITY: &str = "security.istio.io";
/// The group of telemetry.
pub const TELEMETRY: &str = "telemetry.istio.io";
/// The group of extensions.
pub const EXTENSIONS: &str = "extensions.istio.io";

/// One kind of object.
#[derive(Debug)]
pub struct Kind {
    /// The API group.
    pub group: &'static str,
    /// The kind, such as `VirtualService`.
    pub kind: &'static str,
    /// The plural, as in URLs.
    pub plural: &'static str,
    /// The singular.
    pub singular: &'static str,
    /// Short names for the command line.
    pub short_names: &'static [&'static str],
    /// Every version that is served, the stored one first.
    pub versions: &'static [&'static str],
    /// Columns of tables.
    pub columns: &'static [Column],
    /// Makes the schema of `spec`.
    make_schema: fn() -> Value,
    /// The schema, once made.
    schema: OnceLock<Value>,
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// The heading.
    pub name: &'static str,
    /// `string` or `date`.
    pub kind: &'static str,
    /// Where the value is.
    pub json_path: &'static str,
    /// What it is.
    pub description: &'static str,
}

const AGE: Column = Column {
    name: "Age",
    kind: "date",
    json_path: ".metadata.creationTimestamp",
    description: "When the object was created",
};

const fn column(name: &'static str, json_path: &'static str, description: &'static str) -> Column {
    Column {
        name,
        kind: "string",
        json_path,
        description,
    }
}

const V1: &[&str] = &["v1", "v1beta1", "v1alpha3"];

/// Every kind.
pub static KINDS: [Kind; 15] = [
    Kind {
        group: NETWORKING,
        kind: "VirtualService",
        plural: "virtualservices",
        singular: "virtualservice",
        short_names: &["vs"],
        versions: V1,
        columns: &[
            column("Gateways", ".spec.gateways", "Where these routes apply"),
            column("Hosts", ".spec.hosts", "The hosts that are routed"),
            AGE,
        ],
        make_schema: schema::of::<spec::virtual_service::VirtualService>,
        schema: OnceLock::new(),
    },
    Kind {
        group: NETWORKING,
        kind: "DestinationRule",
        plural: "destinationrules",
        singular: "destinationrule",
        short_names: &["dr"],
        versions: V1,
        columns: &[
            column("Host", ".spec.host", "The service that it is for"),
            AGE,
        ],
        make_schema: schema::of::<spec::destination_rule::DestinationRule>,
        schema: OnceLock::new(),
    },
    Kind {
        group: NETWORKING,
        kind: "Gateway",
        plural: "gateways",
        singular: "gateway",
        short_names: &["gw"],
        versions: V1,
        columns: &[],
        make_schema: schema::of::<spec::gateway::Gateway>,
        schema: OnceLock::new(),
    },
    Kind {
        group: NETWORKING,
        kind: "ServiceEntry",
        plural: "serviceentries",
        singular: "serviceentry",
        short_names: &["se"],
        versions: V1,
        columns: &[
            column("Hosts", ".spec.hosts", "The hosts of the service"),
            column(
                "Location",
                ".spec.location",
                "Whether it is part of the mesh",
            ),
            column("Resolution", ".spec.resolution", "How endpoints are found"),
            AGE,
        ],
        make_schema: schema::of::<spec::service_entry::ServiceEntry>,
        schema: OnceLock::new(),
    },
    Kind {
        group: NETWORKING,
        kind: "Sidecar",
        plural: "sidecars",
        singular: "sidecar",
        short_names: &[],
        versions: V1,
        columns: &[],
        make_schema: schema::of::<spec::sidecar::Sidecar>,
        schema: OnceLock::new(),
    },
    Kind {
        group: NETWORKING,
        kind: "WorkloadEntry",
        plural: "workloadentries",
        singular: "workloadentry",
        short_names: &["we"],
        versions: V1,
        columns: &[
            AGE,
            column("Address", ".spec.address", "Where the workload is"),
        ],
        make_schema: schema::of::<spec::workload::WorkloadEntry>,
        schema: OnceLock::new(),
    },
    Kind {
        group: NETWORKING,
        kind: "WorkloadGroup",
        plural: "workloadgroups",
        singular: "workloadgroup",
        short_names: &["wg"],
        versions: V1,
        columns: &[AGE],
        make_schema: schema::of::<spec::workload::WorkloadGroup>,
        schema: OnceLock::new(),
    },
    Kind {
        group: NETWORKING,
        kind: "ProxyConfig",
        plural: "proxyconfigs",
        singular: "proxyconfig",
        short_names: &[],
        versions: &["v1beta1"],
        columns: &[],
        make_schema: schema::of::<spec::proxy_config::ProxyConfig>,
        schema: OnceLock::new(),
    },
    Kind {
        group: NETWORKING,
        kind: "EnvoyFilter",
        plural: "envoyfilters",
        singular: "envoyfilter",
        short_names: &[],
        versions: &["v1alpha3"],
        columns: &[],
        make_schema: schema::of::<spec::envoy_filter::EnvoyFilter>,
        schema: OnceLock::new(),
    },
    Kind {
        group: SECURITY,
        kind: "AuthorizationPolicy",
        plural: "authorizationpolicies",
        singular: "authorizationpolicy",
        short_names: &["ap"],
        versions: &["v1", "v1beta1"],
        columns: &[
            column(
                "Action",
                ".spec.action",
                "What happens to requests that match",
            ),
            AGE,
        ],
        make_schema: schema::of::<spec::security::AuthorizationPolicy>,
        schema: OnceLock::new(),
    },
    Kind {
        group: SECURITY,
        kind: "PeerAuthentication",
        plural: "peerauthentications",
        singular: "peerauthentication",
        short_names: &["pa"],
        versions: &["v1", "v1beta1"],
        columns: &[
            column("Mode", ".spec.mtls.mode", "What workloads accept"),
            AGE,
        ],
        make_schema: schema::of::<spec::security::PeerAuthentication>,
        schema: OnceLock::new(),
    },
    Kind {
        group: SECURITY,
        kind: "RequestAuthentication",
        plural: "requestauthentications",
        singular: "requestauthentication",
        short_names: &["ra"],
        versions: &["v1", "v1beta1"],
        columns: &[],
        make_schema: schema::of::<spec::security::RequestAuthentication>,
        schema: OnceLock::new(),
    },
    Kind {
        group: TELEMETRY,
        kind: "Telemetry",
        plural: "telemetries",
        singular: "telemetry",
        short_names: &["telemetry"],
        versions: &["v1alpha1", "v1"],
        columns: &[AGE],
        make_schema: schema::of::<spec::telemetry::Telemetry>,
        schema: OnceLock::new(),
    },
    Kind {
        group: EXTENSIONS,
        kind: "WasmPlugin",
        plural: "wasmplugins",
        singular: "wasmplugin",
        short_names: &[],
        versions: &["v1alpha1"],
        columns: &[AGE],
        make_schema: schema::of::<spec::extension::WasmPlugin>,
        schema: OnceLock::new(),
    },
    Kind {
        group: EXTENSIONS,
        kind: "TrafficExtension",
        plural: "trafficextensions",
        singular: "trafficextension",
        short_names: &[],
        versions: &["v1alpha1"],
        columns: &[AGE],
        make_schema: schema::of::<spec::extension::TrafficExtension>,
        schema: OnceLock::new(),
    },
];

// === impl Kind ===

impl Kind {
    /// The kind of this group and name.
    pub fn find(group: &str, kind: &str) -> Option<&'static Self> {
        KINDS.iter().find(|k| k.kind == kind && k.group == group)
    }

    /// The kind of an object with this `apiVersion` (`group/version`) and `kind`, if the version
    /// is served.
    pub fn of_object(api_version: &str, kind: &str) -> Option<&'static Self> {
        let (group, version) = api_version.split_once('/')?;
        Self::find(group, kind).filter(|k| k.versions.contains(&version))
    }

    /// The name of its CRD.
    pub fn crd_name(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }

    /// Its categories, for `kubectl get istio-io`.
    pub fn categories(&self) -> [String; 2] {
        ["istio-io".into(), self.group.replace('.', "-")]
    }

    /// The value of the label `istio` of its CRD, by which installations find what is theirs.
    pub(crate) fn group_label(&self) -> &'static str {
        self.group.split('.').next().unwrap_or(self.group)
    }

    /// The version in which objects are stored.
    pub fn storage_version(&self) -> &'static str {
        self.versions[0]
    }

    /// The structural schema of `spec`, made once.
    pub fn spec_schema(&'static self) -> &'static Value {
        self.schema.get_or_init(self.make_schema)
    }
}
