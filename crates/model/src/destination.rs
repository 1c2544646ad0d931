//! Policies of destinations: DestinationRules with every name expanded.

use serde::Serialize;

use crate::service::ExportTo;
use crate::{HostPattern, Labels};

/// A DestinationRule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationRule {
    /// Namespace of the object.
    pub namespace: String,
    /// The host or hosts that it is for.
    pub host: HostPattern,
    /// Who may see it.
    pub export_to: ExportTo,
    /// Only for proxies of the same namespace with these labels.
    pub workload_selector: Option<Labels>,
    /// The policy for all subsets and ports.
    pub policy: TrafficPolicy,
    /// Subsets.
    pub subsets: Vec<Subset>,
}

/// A named part of a service's endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subset {
    /// The name.
    pub name: String,
    /// The endpoints with these labels; empty takes all.
    pub labels: Labels,
    /// Overrides the rule's policy block by block.
    pub policy: TrafficPolicy,
}

/// How to talk to a destination.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficPolicy {
    /// For every port without a setting of its own.
    pub port_default: PortPolicy,
    /// For single ports: replaces `port_default` as a whole, omitted blocks take the defaults.
    pub ports: Vec<(u16, PortPolicy)>,
}

/// The settings for a port.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortPolicy {
    /// How endpoints are chosen; LEAST_REQUEST if unset.
    pub load_balancer: Option<LoadBalancer>,
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LoadBalancer {
    /// The less busy of two random ones.
    #[default]
    LeastRequest,
    /// One after the other.
    RoundRobin,
    /// Any.
    Random,
    /// The address that the caller dialled.
    Passthrough,
}
