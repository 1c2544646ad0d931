//! Clusters: destinations as the data path sees them, with their endpoints, how one is chosen,
//! and how it is talked to.
//!
//! Ids, usage, loads and what is remembered of endpoints are stable: a cluster keeps its
//! [`ClusterId`] and its [`Usage`], and an address its [`Load`] and its
//! [`Status`](crate::outlier::Status), across recompilations, so that a worker may key what it
//! owns (pools, counters) by them. Ids are never reused while a store lives.

mod ejected;
pub mod endpoint;
pub mod endpoints;
pub mod explain;
pub mod pick;
pub mod policy;
mod table;
pub mod usage;
mod warmup;

use std::sync::Arc;

use lateen_model::balancer::{Algorithm, HashKey, LoadBalancer};
use lateen_model::{ObjectRef, Protocol};

pub use self::endpoint::{Endpoint, Load};
pub use self::endpoints::EndpointSet;
pub use self::explain::LeftOut;
pub use self::pick::Pick;
pub use self::policy::{HttpVersion, IdleTimeout, Policy};
pub use self::usage::{Counted, Limits, Permit, Usage};

use crate::outlier::{Millis, Outcome};

/// Names a cluster within one store, over all its plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(pub u32);

/// A destination: a port of a service, or of a subset of it.
#[derive(Debug)]
pub struct Cluster {
    /// Its id.
    pub id: ClusterId,
    /// Istio's name, such as `outbound|9080|v1|reviews.default.svc.cluster.local`,
    /// `PassthroughCluster` or `InboundPassthroughCluster`.
    pub name: Box<str>,
    /// The service for the labels of metrics; none for passed-through traffic.
    pub service: Option<ServiceLabels>,
    /// The service port; 0 for passed-through traffic.
    pub port: u16,
    /// The subset; empty if none.
    pub subset: Box<str>,
    /// What the port speaks; [`Protocol::Unknown`] takes the client's protocol.
    pub protocol: Protocol,
    /// Outside of the mesh.
    pub is_external: bool,
    /// How an endpoint is chosen.
    pub load_balancer: LoadBalancer,
    /// How its endpoints are talked to.
    pub policy: Policy,
    /// The DestinationRules that say so, oldest first.
    pub destination_rules: Box<[Arc<ObjectRef>]>,
    /// What it has in use, over all workers.
    pub usage: Arc<Usage>,
    /// Where its requests go.
    pub upstream: Upstream,
}

/// Where the requests of a cluster go.
#[derive(Debug)]
pub enum Upstream {
    /// To one of these endpoints; none that is ready is
    /// [`lateen_model::Reason::NoHealthyUpstream`].
    Endpoints(EndpointSet),
    /// To the address that the client dialled.
    OriginalDst,
    /// To an address of the name that the client asks for, at this port.
    Dynamic(u16),
    /// Nowhere: connections are reset.
    BlackHole,
}

/// The names of a service, for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceLabels {
    /// `destination_service`: the host.
    pub host: Box<str>,
    /// `destination_service_name`.
    pub name: Box<str>,
    /// `destination_service_namespace`.
    pub namespace: Box<str>,
}

// === impl ClusterId ===

impl ClusterId {
    /// `PassthroughCluster`: the original destination, by ALLOW_ANY.
    pub const PASSTHROUGH: Self = Self(0);
    /// `BlackHoleCluster`: nowhere, by REGISTRY_ONLY.
    pub const BLACK_HOLE: Self = Self(1);
    /// `InboundPassthroughCluster`: the own workload, on a port that no service names.
    pub const INBOUND_PASSTHROUGH: Self = Self(2);

    /// Answers whether every plan has the cluster.
    pub(crate) fn is_well_known(self) -> bool {
        self <= Self::INBOUND_PASSTHROUGH
    }
}

// === impl Cluster ===

impl Cluster {
    /// Chooses an endpoint that takes requests; `None` is
    /// [`lateen_model::Reason::NoHealthyUpstream`] (and what clusters without endpoints of their
    /// own answer: see [`Upstream`]).
    ///
    /// `rotation` is the caller's counter for this cluster (one per worker, any start);
    /// `random` gives uniform bits.
    pub fn pick(
        &self,
        context: &Pick<'_>,
        rotation: &mut u32,
        random: impl FnMut() -> u64,
    ) -> Option<&Endpoint> {
        match &self.upstream {
            Upstream::Endpoints(set) => set.pick(self, context, rotation, random),
            Upstream::OriginalDst | Upstream::Dynamic(_) | Upstream::BlackHole => None,
        }
    }

    /// What of a request is hashed for [`Pick::hash`] (by [`crate::hash::hash_of`]: the value as
    /// sent, of an address its text without port); `None` if endpoints are not chosen by a hash.
    pub fn hash_policy(&self) -> Option<&HashKey> {
        match &self.load_balancer.algorithm {
            Algorithm::ConsistentHash(consistent) => Some(&consistent.key),
            Algorithm::LeastRequest
            | Algorithm::RoundRobin
            | Algorithm::Random
            | Algorithm::Passthrough => None,
        }
    }

    /// Asks for leave to use something until the permit is dropped; `None` if the limit is
    /// reached, which is [`lateen_model::Reason::UpstreamOverflow`], and
    /// [`lateen_model::Reason::RetryLimitExceeded`] for [`Counted::Retry`].
    pub fn permit(&self, what: Counted) -> Option<Permit<&Arc<Usage>>> {
        self.usage.begin(what, &self.policy.limits)
    }

    /// Takes note of how an attempt at an endpoint ended: once for each attempt. Answers whether
    /// the endpoint was taken out for it.
    pub fn record(&self, endpoint: &Endpoint, outcome: Outcome, now: Millis) -> bool {
        let Some(detection) = &self.policy.outlier_detection else {
            return false;
        };
        let status = &endpoint.status;
        if status.is_ejected(now) || !status.count(detection, outcome) {
            return false;
        }
        let Upstream::Endpoints(set) = &self.upstream else {
            return false;
        };
        let is_out = |one: &&Endpoint| one.status.is_ejected(now);
        let ejected = set.all().iter().filter(is_out).count();
        if !detection.may_eject(ejected, set.all().len()) {
            return false;
        }
        let until = status.eject(detection, now);
        if let Some(until) = until {
            self.usage.eject(until);
        }
        until.is_some()
    }
}

#[cfg(test)]
mod tests;
