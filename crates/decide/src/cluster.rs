//! Clusters: destinations as the data path sees them, with their endpoints and how one is chosen.
//!
//! Ids and load counters are stable: a cluster keeps its [`ClusterId`] and an address its
//! [`Load`] across recompilations, so that a worker may key what it owns (pools, counters) by
//! them. Ids are never reused while a store lives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use lateen_model::Protocol;
use lateen_model::balancer::{Algorithm, LoadBalancer};
use lateen_model::endpoint::Health;

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

/// The endpoints of a cluster.
#[derive(Debug, Default)]
pub struct EndpointSet {
    /// Those that take requests first.
    endpoints: Box<[Endpoint]>,
    /// How many take requests.
    ready: usize,
    /// Sums of the weights of the ready ones, if they differ.
    weights: Box<[u64]>,
}

/// One address of a cluster, at the port that the cluster's port targets.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its relative weight.
    pub weight: u32,
    /// Whether it takes requests.
    pub health: Health,
    /// Whether its proxy takes mutual TLS.
    pub is_meshed: bool,
    /// `region/zone/subzone`.
    pub locality: Arc<str>,
    /// The service account of its workload; empty if unknown.
    pub service_account: Arc<str>,
    /// What it is doing right now, over all workers and clusters of this proxy.
    pub load: Arc<Load>,
}

/// The load of one address: a shared relaxed counter, only ever read as a hint.
#[derive(Debug, Default)]
pub struct Load {
    active: AtomicU32,
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
    pub fn pick(&self, rotation: &mut u32, random: impl FnMut() -> u64) -> Option<&Endpoint> {
        match &self.upstream {
            Upstream::Endpoints(set) => set.pick(&self.load_balancer.algorithm, rotation, random),
            Upstream::OriginalDst | Upstream::BlackHole => None,
        }
    }
}

// === impl EndpointSet ===

impl EndpointSet {
    /// Puts the endpoints in order: those that take requests first, each part by address.
    pub fn new(mut endpoints: Vec<Endpoint>) -> Self {
        endpoints.sort_by_key(|endpoint| (endpoint.health != Health::Ready, endpoint.address));
        let ready = endpoints.partition_point(|endpoint| endpoint.health == Health::Ready);
        let first = endpoints.first().map_or(1, |endpoint| endpoint.weight);
        let weights = if endpoints[..ready].iter().all(|one| one.weight == first) {
            Box::default()
        } else {
            let mut sum = 0;
            let sums = endpoints[..ready].iter().map(|endpoint| {
                sum += u64::from(endpoint.weight.max(1));
                sum
            });
            sums.collect()
        };
        Self {
            endpoints: endpoints.into(),
            ready,
            weights,
        }
    }

    /// Every endpoint, those that take requests first.
    pub fn all(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The endpoints that take requests.
    pub fn ready(&self) -> &[Endpoint] {
        &self.endpoints[..self.ready]
    }

    fn pick(
        &self,
        policy: &Algorithm,
        rotation: &mut u32,
        mut random: impl FnMut() -> u64,
    ) -> Option<&Endpoint> {
        let ready = self.ready();
        if ready.len() < 2 {
            return ready.first();
        }
        match policy {
            Algorithm::LeastRequest | Algorithm::Passthrough | Algorithm::ConsistentHash(_) => {
                let (one, other) = self.draw_two(random);
                let (one, other) = (&ready[one], &ready[other]);
                Some(if other.load.active() < one.load.active() {
                    other
                } else {
                    one
                })
            }
            Algorithm::RoundRobin => {
                *rotation = rotation.wrapping_add(1);
                Some(&ready[self.at_turn(*rotation)])
            }
            Algorithm::Random => Some(&ready[self.draw(random())]),
        }
    }

    /// The index that uniform bits fall on, by weight.
    fn draw(&self, bits: u64) -> usize {
        let Some(sum) = self.weights.last() else {
            return scale(bits, self.ready as u64);
        };
        let point = scale(bits, *sum) as u64;
        self.weights.partition_point(|until| *until <= point)
    }

    /// Two indexes: different ones where weights are equal, so that of two endpoints always the
    /// less busy one is found; by weight both are drawn alike.
    fn draw_two(&self, mut random: impl FnMut() -> u64) -> (usize, usize) {
        let one = self.draw(random());
        if !self.weights.is_empty() {
            return (one, self.draw(random()));
        }
        let other = scale(random(), self.ready as u64 - 1);
        (one, if other < one { other } else { other + 1 })
    }

    /// The index whose turn it is, by weight.
    fn at_turn(&self, turn: u32) -> usize {
        let Some(sum) = self.weights.last() else {
            return turn as usize % self.ready;
        };
        // A stride by the golden ratio spreads the turns of a heavy endpoint instead of giving
        // them in one run, and still visits every point equally often.
        let point = scale(u64::from(turn).wrapping_mul(0x9E37_79B9_7F4A_7C15), *sum) as u64;
        self.weights.partition_point(|until| *until <= point)
    }
}

/// Maps uniform bits to `0..below`.
fn scale(bits: u64, below: u64) -> usize {
    let product = (u128::from(bits) * u128::from(below)) >> 64;
    usize::try_from(product).unwrap_or(0)
}

// === impl Load ===

impl Load {
    /// How many requests or connections are in flight.
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// A request or connection begins.
    pub fn begin(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
    }

    /// A request or connection that began has ended.
    pub fn end(&self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(weights: &[u32]) -> Vec<Endpoint> {
        let endpoints = weights.iter().zip(1..).map(|(weight, last)| Endpoint {
            address: SocketAddr::from(([10, 0, 0, last], 80)),
            weight: *weight,
            health: Health::Ready,
            is_meshed: false,
            locality: "".into(),
            service_account: "".into(),
            load: Arc::default(),
        });
        endpoints.collect()
    }

    /// How often each endpoint is picked in a number of turns, with bits that cover all values
    /// evenly.
    fn counts(set: &EndpointSet, policy: &Algorithm, turns: u64) -> Vec<u64> {
        let mut counts = vec![0; set.all().len()];
        let (mut rotation, mut state) = (0, 0_u64);
        for _ in 0..turns {
            let picked = set.pick(policy, &mut rotation, || {
                state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                state
            });
            let picked = picked.expect("there are endpoints").address;
            let at = set.all().iter().position(|one| one.address == picked);
            counts[at.expect("one of them")] += 1;
        }
        counts
    }

    #[test]
    fn nobody_ready_is_nobody_picked() {
        let mut all = endpoints(&[1, 1]);
        all[0].health = Health::Draining;
        all[1].health = Health::NotReady;
        let set = EndpointSet::new(all);
        assert!(set.ready().is_empty());
        assert_eq!(set.all().len(), 2);
        let picked = set.pick(&Algorithm::LeastRequest, &mut 0, || 0);
        assert!(picked.is_none());
    }

    #[test]
    fn the_less_busy_of_two_is_always_found() {
        let set = EndpointSet::new(endpoints(&[1, 1]));
        set.all()[0].load.begin();
        assert_eq!(counts(&set, &Algorithm::LeastRequest, 100), [0, 100]);
        set.all()[0].load.end();
        assert_eq!(set.all()[0].load.active(), 0);
    }

    #[test]
    fn round_robin_takes_turns_by_weight() {
        let set = EndpointSet::new(endpoints(&[1, 1, 1]));
        assert_eq!(counts(&set, &Algorithm::RoundRobin, 300), [100, 100, 100]);
        let set = EndpointSet::new(endpoints(&[1, 3]));
        let counts = counts(&set, &Algorithm::RoundRobin, 4000);
        assert!(counts[0].abs_diff(1000) <= 2, "{counts:?}");
    }

    #[test]
    fn random_choices_follow_the_weights() {
        for policy in [Algorithm::Random, Algorithm::LeastRequest] {
            let set = EndpointSet::new(endpoints(&[1, 3, 4]));
            let counts = counts(&set, &policy, 8000);
            assert!(counts[0].abs_diff(1000) < 100, "{policy:?}: {counts:?}");
            assert!(counts[2].abs_diff(4000) < 100, "{policy:?}: {counts:?}");
        }
    }

    #[test]
    fn draining_endpoints_do_not_disturb_equal_weights() {
        let mut all = endpoints(&[5, 1, 1]);
        all[0].health = Health::Draining;
        let set = EndpointSet::new(all);
        assert_eq!(counts(&set, &Algorithm::RoundRobin, 100), [50, 50, 0]);
    }
}
