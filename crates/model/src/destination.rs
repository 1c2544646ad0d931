//! Policies of destinations: DestinationRules with every name expanded.

use serde::Serialize;

use crate::balancer::LoadBalancer;
use crate::pool::{ConnectionPool, OutlierDetection};
use crate::service::ExportTo;
use crate::tls::ClientTls;
use crate::{HostPattern, Labels, Percent};

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
    /// Limits retries to a share of the requests; for all ports.
    pub retry_budget: Option<RetryBudget>,
}

/// The settings for a port: four blocks, of which a subset overrides those that it has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortPolicy {
    /// How endpoints are chosen; LEAST_REQUEST if unset.
    pub load_balancer: Option<LoadBalancer>,
    /// Limits of connections and requests.
    pub connection_pool: Option<ConnectionPool>,
    /// When endpoints are taken out for a while; never if unset.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards the destination; as the mesh does it if unset.
    pub tls: Option<ClientTls>,
}

/// Limits retries to a share of the requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryBudget {
    /// The share of the requests in flight.
    pub percent: Percent,
    /// Always allowed at once.
    pub min_retry_concurrency: u32,
}
