//! The endpoints of a cluster in the order in which they are drawn from.
//!
//! ```text
//! EndpointSet ── tiers by priority ── pools by locality, each with its share ── endpoints
//! ```
//!
//! The usual cluster has one tier with one pool.

use std::ops::Range;
use std::sync::Arc;

use lateen_model::balancer::{Algorithm, LoadBalancer};
use lateen_model::endpoint::Health;

use super::ejected::Ejected;
use super::endpoint::Endpoint;
use super::table::Table;
use super::warmup::Warmup;

/// The endpoints of a cluster.
#[derive(Debug, Default)]
pub struct EndpointSet {
    /// Those that take requests first, by tier and pool.
    endpoints: Box<[Endpoint]>,
    /// How many take requests.
    ready: usize,
    /// The only pool, if that is all there is to look at: the usual case is kept in place.
    pub(super) plain: Option<Pool>,
    /// At least one if an endpoint is ready; the first one goes first.
    pub(super) tiers: Box<[Tier]>,
    pub(super) warmup: Option<Warmup>,
    pub(super) ejected: Ejected,
}

/// Where an endpoint stands among those of its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Place {
    /// Lower ones go first; numbers may be missing.
    pub(crate) priority: u32,
    /// The pool, and its share of the tier's requests.
    pub(crate) pool: u32,
    pub(crate) share: u32,
}

/// The endpoints of one priority.
#[derive(Debug)]
pub(super) struct Tier {
    /// Those that are ready.
    pub(super) range: Range<usize>,
    /// How many there are, with those that are not ready but without those that go away.
    pub(super) members: usize,
    pub(super) pools: Box<[Pool]>,
    /// Sums of the shares of the pools.
    shares: Box<[u64]>,
    pub(super) table: Option<Table>,
}

/// Endpoints that are drawn from by weight.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    pub(super) range: Range<usize>,
    /// Sums of the weights, if they differ.
    weights: Option<Arc<[u64]>>,
}

// === impl EndpointSet ===

impl EndpointSet {
    /// Puts endpoints in order: those that take requests first, each part by address. One without
    /// a place takes none.
    pub(crate) fn new(members: Vec<(Endpoint, Option<Place>)>, balancer: &LoadBalancer) -> Self {
        let takes = |(endpoint, place): &(Endpoint, Option<Place>)| {
            place.filter(|_| endpoint.health == Health::Ready)
        };
        let mut members = members;
        members.sort_by(|one, other| {
            let rank = |member| {
                let place = takes(member);
                (place.is_none(), place)
            };
            let by_address = || one.0.address.cmp(&other.0.address);
            rank(one).cmp(&rank(other)).then_with(by_address)
        });
        let mut priorities: Vec<_> = members.iter().filter_map(|(_, place)| *place).collect();
        priorities.sort_unstable();
        let mut priorities: Vec<_> = priorities.iter().map(|place| place.priority).collect();
        priorities.dedup();
        let ready = members.partition_point(|one| takes(one).is_some());
        let tiers = priorities.iter();
        let tiers: Box<[_]> = tiers
            .map(|priority| Tier::new(*priority, &members, ready, balancer))
            .collect();
        let endpoints = members.into_iter().map(|(endpoint, place)| Endpoint {
            priority: place.and_then(|place| {
                let at = priorities.binary_search(&place.priority).ok()?;
                u32::try_from(at).ok()
            }),
            ..endpoint
        });
        let warms = match balancer.algorithm {
            Algorithm::LeastRequest | Algorithm::RoundRobin => balancer.warmup.as_ref(),
            Algorithm::Random | Algorithm::Passthrough | Algorithm::ConsistentHash(_) => None,
        };
        Self {
            endpoints: endpoints.collect(),
            ready,
            ejected: Ejected::new(tiers.len()),
            plain: plain(&tiers).cloned(),
            tiers,
            warmup: warms.map(Warmup::new),
        }
    }

    /// Every endpoint, those that take requests first.
    pub fn all(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The endpoints that take requests, by priority.
    pub fn ready(&self) -> &[Endpoint] {
        &self.endpoints[..self.ready]
    }
}

/// The only pool of the only tier, unless a table chooses there.
fn plain(tiers: &[Tier]) -> Option<&Pool> {
    match tiers {
        [tier] if tier.table.is_none() => match &*tier.pools {
            [pool] => Some(pool),
            _ => None,
        },
        _ => None,
    }
}

// === impl Tier ===

impl Tier {
    fn new(
        priority: u32,
        members: &[(Endpoint, Option<Place>)],
        ready: usize,
        balancer: &LoadBalancer,
    ) -> Self {
        let is_of = |place: &Option<Place>| place.is_some_and(|one| one.priority == priority);
        let all = members.iter().filter(|(_, place)| is_of(place));
        let staying = all.filter(|(endpoint, _)| endpoint.health != Health::Draining);
        let places = &members[..ready];
        let start =
            places.partition_point(|(_, place)| place.is_some_and(|it| it.priority < priority));
        let length = places[start..].partition_point(|(_, place)| is_of(place));
        let range = start..start + length;
        let of_pool = places[range.clone()]
            .chunk_by(|(_, a), (_, b)| a.map(|it| it.pool) == b.map(|it| it.pool));
        let mut pools = Vec::new();
        let mut shares = Vec::new();
        let (mut from, mut sum) = (start, 0);
        for pool in of_pool {
            sum += pool[0].1.map_or(0, |place| u64::from(place.share));
            shares.push(sum);
            pools.push(Pool::new(from, pool));
            from += pool.len();
        }
        let table = match &balancer.algorithm {
            Algorithm::ConsistentHash(consistent) => {
                let endpoints = hashed(&places[range.clone()], start);
                Some(Table::build(consistent.table, &endpoints))
            }
            Algorithm::LeastRequest
            | Algorithm::RoundRobin
            | Algorithm::Random
            | Algorithm::Passthrough => None,
        };
        Self {
            members: staying.count(),
            range,
            pools: pools.into(),
            shares: shares.into(),
            table,
        }
    }

    /// The pool that uniform bits fall on.
    pub(super) fn pool(&self, random: impl FnOnce() -> u64) -> usize {
        match &*self.shares {
            [] | [_] => 0,
            shares => at_point(shares, random()),
        }
    }
}

/// The weight of an endpoint: at least 1.
fn weight((endpoint, _): &(Endpoint, Option<Place>)) -> u32 {
    endpoint.weight.max(1)
}

/// What a table is built of: endpoints with their shares of the whole tier.
fn hashed(tier: &[(Endpoint, Option<Place>)], start: usize) -> Vec<(u32, String, f64)> {
    let place = |one: &(Endpoint, Option<Place>)| one.1.unwrap_or_default();
    let weight_of = |pool: u32| -> f64 {
        let same = tier.iter().filter(|one| place(one).pool == pool);
        same.map(|one| f64::from(weight(one))).sum()
    };
    // Each pool is one run: its weight is summed up once.
    let mut last = None;
    let mut hashed = Vec::with_capacity(tier.len());
    for (at, one) in (start..).zip(tier) {
        let Place { pool, share, .. } = place(one);
        let sum = match last {
            Some((known, sum)) if known == pool => sum,
            _ => weight_of(pool),
        };
        last = Some((pool, sum));
        let share = f64::from(share) * f64::from(weight(one)) / sum;
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        hashed.push((at, one.0.address.to_string(), share));
    }
    hashed
}

// === impl Pool ===

impl Pool {
    fn new(start: usize, members: &[(Endpoint, Option<Place>)]) -> Self {
        let first = members.first().map_or(1, weight);
        let differ = members.iter().any(|one| weight(one) != first);
        let weights = differ.then(|| {
            let mut sum = 0;
            let sums = members.iter().map(|one| {
                sum += u64::from(weight(one));
                sum
            });
            sums.collect()
        });
        Self {
            range: start..start + members.len(),
            weights,
        }
    }

    /// The index that uniform bits fall on, by weight.
    pub(super) fn draw(&self, bits: u64) -> usize {
        let at = match &self.weights {
            None => scale(bits, self.range.len() as u64),
            Some(sums) => at_point(sums, bits),
        };
        self.range.start + at
    }

    /// Two indexes: different ones where weights are equal, so that of two endpoints always the
    /// less busy one is found; by weight both are drawn alike. There are at least two.
    pub(super) fn draw_two(&self, mut random: impl FnMut() -> u64) -> (usize, usize) {
        let one = self.draw(random());
        if self.weights.is_some() {
            return (one, self.draw(random()));
        }
        let other = self.range.start + scale(random(), self.range.len() as u64 - 1);
        (one, if other < one { other } else { other + 1 })
    }

    /// The index whose turn it is, by weight.
    pub(super) fn at_turn(&self, turn: u32) -> usize {
        let at = match &self.weights {
            None => turn as usize % self.range.len(),
            // A stride by the golden ratio spreads the turns of a heavy endpoint instead of
            // giving them in one run, and still visits every point equally often.
            Some(sums) => at_point(sums, u64::from(turn).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        };
        self.range.start + at
    }
}

/// The index that uniform bits fall on, by sums of weights.
fn at_point(sums: &[u64], bits: u64) -> usize {
    let sum = sums.last().copied().unwrap_or(0);
    let point = scale(bits, sum) as u64;
    sums.partition_point(|until| *until <= point)
}

/// Maps uniform bits to `0..below`.
pub(super) fn scale(bits: u64, below: u64) -> usize {
    let product = (u128::from(bits) * u128::from(below)) >> 64;
    usize::try_from(product).unwrap_or(0)
}
