//! The envelope of configuration: what the control plane sends and a proxy keeps.

use std::fmt;

use serde::Serialize;

use crate::destination::DestinationRule;
use crate::gateway::Gateway;
use crate::mesh::Mesh;
use crate::proxy::Proxy;
use crate::route::VirtualService;
use crate::service::Service;
use crate::source::Source;

/// The name of a resource on the wire: `Kind/namespace/name`. A ServiceEntry with several hosts
/// yields one `Service` resource per host: `Service/namespace/host`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceName(pub String);

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One piece of configuration with its origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// Its name, unique among all bodies.
    pub name: ResourceName,
    /// The object that a user wrote.
    pub source: Source,
    /// What it says.
    pub body: Body,
}

/// What a resource says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(
    clippy::large_enum_variant,
    reason = "a body is moved a few times in its life, and then lies in a table of its kind"
)]
pub enum Body {
    /// Settings of the whole mesh.
    Mesh(Mesh),
    /// What the receiving proxy is.
    Proxy(Proxy),
    /// A service.
    Service(Service),
    /// Routes.
    VirtualService(VirtualService),
    /// Policy of a destination.
    DestinationRule(DestinationRule),
    /// What gateways listen to.
    Gateway(Gateway),
}

impl Body {
    /// The first part of the resource's name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Mesh(_) => "Mesh",
            Self::Proxy(_) => "Proxy",
            Self::Service(_) => "Service",
            Self::VirtualService(_) => "VirtualService",
            Self::DestinationRule(_) => "DestinationRule",
            Self::Gateway(_) => "Gateway",
        }
    }
}
