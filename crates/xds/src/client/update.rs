//! What one response says, decoded.

use std::fmt;
use std::net::IpAddr;

use lateen_model::endpoint::Endpoints;
use lateen_model::secret::Secret;
use lateen_model::service::ServiceKey;
use lateen_model::workload::Workload;
use lateen_model::{Host, Resource, ResourceName};

use crate::discovery::DeltaDiscoveryResponse;
use crate::{Kind, Malformed, proto};

/// The name of a resource of any type, as the envelope writes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(pub String);

/// What one response changes. Each response has resources of one type only, so most lists are
/// empty. It is answered with [`super::Client::ack`] or [`super::Client::nack`].
#[derive(Debug, Default)]
#[must_use = "an update without an answer holds back the next one"]
pub struct Update {
    /// New and changed configuration.
    pub resources: Vec<Resource>,
    /// Configuration that is gone.
    pub removed_resources: Vec<ResourceName>,
    /// New and changed endpoints, whole services at a time.
    pub endpoints: Vec<Endpoints>,
    /// Services whose endpoints are gone.
    pub removed_endpoints: Vec<ServiceKey>,
    /// Workloads that were asked for.
    pub workloads: Vec<Workload>,
    /// Addresses at which nobody lives (any more).
    pub absent_workloads: Vec<IpAddr>,
    /// Secrets that were asked for.
    pub secrets: Vec<Secret>,
    /// Names of Secrets, as `namespace/name`, that do not exist (any more) or that this proxy may
    /// not have.
    pub absent_secrets: Vec<String>,
    /// Resources that could not be decoded. The answer names them by itself; the proxy keeps what
    /// it has under their names.
    pub malformed: Vec<Malformed>,
    /// The version of the whole configuration.
    pub system_version: String,
    pub(super) receipt: Receipt,
}

/// What the answer needs.
#[derive(Debug)]
pub(super) struct Receipt {
    pub(super) kind: Kind,
    pub(super) stream: u64,
    pub(super) nonce: String,
    pub(super) versions: Vec<(String, String)>,
    pub(super) removed: Vec<String>,
}

// === impl Name ===

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&ResourceName> for Name {
    fn from(name: &ResourceName) -> Self {
        Self(name.0.clone())
    }
}

impl From<ResourceName> for Name {
    fn from(name: ResourceName) -> Self {
        Self(name.0)
    }
}

impl From<&ServiceKey> for Name {
    fn from(key: &ServiceKey) -> Self {
        Self(key.to_string())
    }
}

// === impl Receipt ===

impl Default for Receipt {
    fn default() -> Self {
        Self {
            kind: Kind::Config,
            stream: 0, // No stream has this number.
            nonce: String::new(),
            versions: Vec::new(),
            removed: Vec::new(),
        }
    }
}

// === impl Update ===

impl Update {
    /// The type of everything in it.
    pub fn kind(&self) -> Kind {
        self.receipt.kind
    }

    /// Answers whether it changes nothing (as the answer to a reconnect often does).
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
            && self.removed_resources.is_empty()
            && self.endpoints.is_empty()
            && self.removed_endpoints.is_empty()
            && self.workloads.is_empty()
            && self.absent_workloads.is_empty()
            && self.secrets.is_empty()
            && self.absent_secrets.is_empty()
    }

    pub(super) fn from_wire(kind: Kind, stream: u64, response: DeltaDiscoveryResponse) -> Self {
        let mut update = Self {
            system_version: response.system_version_info,
            receipt: Receipt {
                kind,
                stream,
                nonce: response.nonce,
                removed: response.removed_resources,
                versions: Vec::with_capacity(response.resources.len()),
            },
            ..Self::default()
        };
        for resource in response.resources {
            let payload = resource.resource.unwrap_or_default();
            let name = resource.name;
            let decoded = if payload.type_url == kind.type_url() {
                update.add(kind, &name, &payload.value)
            } else {
                Err(Malformed {
                    name: name.clone(),
                    at: "type_url".into(),
                    why: format!("{:?} is not {:?}", payload.type_url, kind.type_url()),
                })
            };
            match decoded {
                Ok(()) => update.receipt.versions.push((name, resource.version)),
                Err(malformed) => update.malformed.push(malformed),
            }
        }
        update.remove_all();
        update
    }

    fn add(&mut self, kind: Kind, name: &str, bytes: &[u8]) -> Result<(), Malformed> {
        match kind {
            Kind::Config => self.resources.push(proto::decode_resource(name, bytes)?),
            Kind::Endpoints => self.endpoints.push(proto::decode_endpoints(name, bytes)?),
            Kind::Workload => self.workloads.push(proto::decode_workload(name, bytes)?),
            Kind::Secret => self.secrets.push(proto::decode_secret(name, bytes)?),
        }
        Ok(())
    }

    fn remove_all(&mut self) {
        for name in &self.receipt.removed {
            match self.receipt.kind {
                Kind::Config => self.removed_resources.push(ResourceName(name.clone())),
                Kind::Endpoints => {
                    if let Some((namespace, host)) = name.split_once('/') {
                        self.removed_endpoints.push(ServiceKey {
                            namespace: namespace.to_owned(),
                            host: Host::new(host),
                        });
                    } else {
                        tracing::warn!(%name, "control plane removed a service with no name");
                    }
                }
                Kind::Secret => self.absent_secrets.push(name.clone()),
                Kind::Workload => {
                    if let Ok(address) = name.parse() {
                        self.absent_workloads.push(address);
                    } else {
                        tracing::warn!(%name, "control plane removed a malformed address");
                    }
                }
            }
        }
    }
}
