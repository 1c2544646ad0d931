//! Services: what can be called by name, from Kubernetes Services and from ServiceEntries.

use ipnet::IpNet;
use serde::Serialize;

use crate::{Host, Labels, Protocol};

/// Identifies a service: the same host may be defined in several namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceKey {
    /// The namespace of the object that defines it.
    pub namespace: String,
    /// Its host.
    pub host: Host,
}

impl std::fmt::Display for ServiceKey {
    /// Writes `namespace/host`, which is also the name of its [`crate::endpoint::Endpoints`].
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.host)
    }
}

/// Something that can be called by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Its identity.
    pub key: ServiceKey,
    /// Whether a Kubernetes Service or a ServiceEntry defines it.
    pub registry: Registry,
    /// Virtual addresses; a ServiceEntry may give ranges. Empty for headless services and for
    /// entries that are matched by their host only.
    pub addresses: Vec<IpNet>,
    /// Addresses that were given to a ServiceEntry without any: they count in place of the missing
    /// ones for proxies that answer their applications' DNS with them, and for no others.
    pub allocated: Vec<IpNet>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// How endpoints are found.
    pub resolution: Resolution,
    /// Outside of the mesh: never given mutual TLS by itself.
    pub is_external: bool,
    /// Who may see it.
    pub export_to: ExportTo,
}

/// What defined a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Registry {
    /// A Kubernetes Service.
    Kubernetes,
    /// A ServiceEntry.
    ServiceEntry,
}

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// The number that clients use.
    pub number: u16,
    /// The name; may be empty.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
}

/// How the endpoints of a service are found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Resolution {
    /// The control plane sends them as [`crate::endpoint::Endpoints`] (Kubernetes Services,
    /// ServiceEntries of resolution STATIC).
    Endpoints,
    /// The proxy looks these names up and uses every address (DNS).
    Dns(Vec<DnsEndpoint>),
    /// The proxy looks the name up and uses the first address of the moment (DNS_ROUND_ROBIN).
    DnsRoundRobin(Vec<DnsEndpoint>),
    /// The proxy looks up the name that the client asks for, by host or server name; the pairs are
    /// target port for each service port (DYNAMIC_DNS).
    DynamicDns(Vec<(u16, u16)>),
    /// The address that the caller dialled (headless services, resolution NONE).
    OriginalDst,
    /// Another name for a service (ExternalName).
    Alias(Host),
}

/// An endpoint that is known by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsEndpoint {
    /// The name to look up, or an address.
    pub name: String,
    /// Target port for each service port; a port that is not listed is its own target.
    pub ports: Vec<(u16, u16)>,
    /// Labels, for subsets.
    pub labels: Labels,
    /// Relative weight; at least 1.
    pub weight: u32,
    /// `region/zone/subzone`; empty if unknown.
    pub locality: String,
}

/// Who may see an object (`exportTo`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ExportTo {
    /// Everybody: `*`, the default.
    #[default]
    All,
    /// Nobody: `~`.
    Nobody,
    /// These namespaces; `.` is already replaced by the object's own.
    Namespaces(Vec<String>),
}

impl ExportTo {
    /// Answers whether a proxy of `namespace` sees the object.
    pub fn allows(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Nobody => false,
            Self::Namespaces(list) => list.iter().any(|name| name == namespace),
        }
    }
}
