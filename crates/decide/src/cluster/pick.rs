//! How an endpoint is chosen.
//!
//! The plain way is what the algorithm says over all endpoints that take requests. The careful
//! way is gone only where it makes a difference: endpoints of several localities, a hash, while
//! one is ejected or new, or for a retry. It chooses a tier by how healthy the tiers are (as Envoy
//! does: one counts as healthy up to 1/1.4 of its endpoints), and draws there as the plain way
//! does, a few times, until it finds an endpoint that will do; then it takes the next one that
//! does from where it stands.

use std::net::SocketAddr;

use lateen_model::balancer::Algorithm;

use super::Cluster;
use super::endpoint::Endpoint;
use super::endpoints::{EndpointSet, Pool, Tier, scale};
use crate::outlier::Millis;

/// What a choice depends on, beside the endpoints.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pick<'p> {
    /// The time; needed for clusters with outlier detection or slow start.
    pub now: Millis,
    /// The hash of what [`Cluster::hash_policy`] names; `None` if the request does not have it.
    pub hash: Option<u64>,
    /// Where earlier attempts of the request went, in order: these are avoided if others will do.
    /// What is chosen by a hash stays where it is, as with Istio.
    pub tried: &'p [SocketAddr],
    /// Localities that were tried twice come last ([`crate::retry::RetryPolicy::remote_localities`]).
    pub seeks_other_localities: bool,
}

/// One choice that takes care.
struct Care<'s, 'c> {
    set: &'s EndpointSet,
    cluster: &'c Cluster,
    context: &'c Pick<'c>,
    /// Whether some endpoint may be out.
    has_ejected: bool,
    is_warming: bool,
}

/// How often it is drawn before an endpoint is sought.
const DRAWS: usize = 5;

/// The same while endpoints are new, which are turned down more often.
const DRAWS_OF_NEW: usize = 16;

/// Envoy's overprovisioning: a tier with a smaller share of healthy endpoints gives some of its
/// requests to the next one.
const OVERPROVISIONING: usize = 140;

// === impl EndpointSet ===

impl EndpointSet {
    pub(super) fn pick(
        &self,
        cluster: &Cluster,
        context: &Pick<'_>,
        rotation: &mut u32,
        mut random: impl FnMut() -> u64,
    ) -> Option<&Endpoint> {
        if self.ready().is_empty() {
            return None;
        }
        let now = context.now;
        let has_ejected =
            cluster.policy.outlier_detection.is_some() && cluster.usage.may_have_ejected(now);
        let is_warming = self
            .warmup
            .as_ref()
            .is_some_and(|warmup| warmup.is_on(self.ready(), now));
        if let Some(pool) = self.plain()
            && context.tried.is_empty()
            && !has_ejected
            && !is_warming
        {
            let at = self.draw(pool, cluster, rotation, &mut random);
            return Some(&self.all()[at]);
        }
        let care = Care {
            set: self,
            cluster,
            context,
            has_ejected,
            is_warming,
        };
        care.pick(rotation, &mut random)
    }

    /// Draws an index from a pool as the algorithm says.
    fn draw(
        &self,
        pool: &Pool,
        cluster: &Cluster,
        rotation: &mut u32,
        mut random: impl FnMut() -> u64,
    ) -> usize {
        if pool.range.len() == 1 {
            return pool.range.start;
        }
        match cluster.load_balancer.algorithm {
            Algorithm::LeastRequest | Algorithm::Passthrough => {
                let (one, other) = pool.draw_two(random);
                let active = |at: usize| self.all()[at].load.active();
                if active(other) < active(one) {
                    other
                } else {
                    one
                }
            }
            Algorithm::RoundRobin => {
                *rotation = rotation.wrapping_add(1);
                pool.at_turn(*rotation)
            }
            Algorithm::Random | Algorithm::ConsistentHash(_) => pool.draw(random()),
        }
    }
}

// === impl Care ===

impl<'s> Care<'s, '_> {
    fn pick(&self, rotation: &mut u32, random: &mut impl FnMut() -> u64) -> Option<&'s Endpoint> {
        let (tier, is_panic) = self.tier(random)?;
        let all = self.set.all();
        let will_do = |endpoint: &Endpoint| is_panic || !self.is_out(endpoint);
        if let Some(table) = &tier.table {
            // Without its property a request goes anywhere.
            let hash = self.context.hash.unwrap_or_else(&mut *random);
            let mut walk = table.walk(hash).map(|at| &all[at as usize]);
            return walk.find(|endpoint| will_do(endpoint));
        }
        let is_new = |endpoint: &Endpoint| {
            will_do(endpoint) && !self.context.tried.contains(&endpoint.address)
        };
        let first = tier.pool(&mut *random);
        if !self.context.tried.is_empty()
            && let Some(found) = self.draw(tier, first, &is_new, rotation, random)
        {
            return Some(found);
        }
        self.draw(tier, first, &will_do, rotation, random)
    }

    /// Draws from a pool, or from the ones after it if none of its endpoints will do.
    fn draw(
        &self,
        tier: &'s Tier,
        first: usize,
        will_do: &dyn Fn(&Endpoint) -> bool,
        rotation: &mut u32,
        random: &mut impl FnMut() -> u64,
    ) -> Option<&'s Endpoint> {
        let (before, from) = tier.pools.split_at(first.min(tier.pools.len()));
        let mut pools = from.iter().chain(before);
        pools.find_map(|pool| self.draw_from(pool, will_do, rotation, random))
    }

    fn draw_from(
        &self,
        pool: &Pool,
        will_do: &dyn Fn(&Endpoint) -> bool,
        rotation: &mut u32,
        random: &mut impl FnMut() -> u64,
    ) -> Option<&'s Endpoint> {
        let all = self.set.all();
        let draws = if self.is_warming { DRAWS_OF_NEW } else { DRAWS };
        let mut at = pool.range.start;
        for _ in 0..draws {
            at = self.set.draw(pool, self.cluster, rotation, &mut *random);
            if will_do(&all[at]) && self.is_warm_enough(&all[at], random) {
                return Some(&all[at]);
            }
        }
        let (before, from) = (&all[pool.range.start..at], &all[at..pool.range.end]);
        from.iter().chain(before).find(|endpoint| will_do(endpoint))
    }

    fn is_out(&self, endpoint: &Endpoint) -> bool {
        self.has_ejected && endpoint.status.is_ejected(self.context.now)
    }

    fn is_warm_enough(&self, endpoint: &Endpoint, random: &mut impl FnMut() -> u64) -> bool {
        match &self.set.warmup {
            Some(warmup) if self.is_warming => warmup.takes(endpoint, self.context.now, random),
            _ => true,
        }
    }

    /// The tier that the request goes to, and whether so few of its endpoints are in that all get
    /// requests.
    fn tier(&self, random: &mut impl FnMut() -> u64) -> Option<(&'s Tier, bool)> {
        let tiers = &self.set.tiers;
        if self.has_ejected {
            let (usage, now) = (&self.cluster.usage, self.context.now);
            let endpoints = |at: usize| &self.set.all()[tiers[at].range.clone()];
            self.set.ejected.refresh(usage, now, endpoints);
        }
        if let [tier] = &**tiers {
            return Some((tier, self.is_panic(0)));
        }
        let health = |at: usize| {
            let healthy = self.healthy(at) * OVERPROVISIONING;
            (healthy / tiers[at].members.max(1)).min(100)
        };
        let is_left = |at: &usize| !self.is_tried(&tiers[*at]);
        let mut sum: usize = (0..tiers.len()).filter(is_left).map(health).sum();
        let all: usize = (0..tiers.len()).map(health).sum();
        let ignores_tried = sum == 0;
        if ignores_tried {
            sum = all;
        }
        if sum == 0 {
            // Nobody is in: with a threshold the first tier gets everything, as a panic.
            let first = (0..tiers.len()).find(|at| !tiers[*at].range.is_empty())?;
            return Some((&tiers[first], self.is_panic(first)));
        }
        // What the tiers before take of a hundred; each takes its health as far as that is left.
        let whole = sum.min(100);
        let point = scale(random(), whole as u64);
        let mut taken = 0;
        let chosen = (0..tiers.len())
            .filter(|at| ignores_tried || is_left(at))
            .find(|at| {
                taken += health(*at);
                point < taken
            })?;
        Some((&tiers[chosen], all < 100 && self.is_panic(chosen)))
    }

    /// How many endpoints of a tier take requests.
    fn healthy(&self, at: usize) -> usize {
        let ready = self.set.tiers[at].range.len();
        if self.has_ejected {
            ready.saturating_sub(self.set.ejected.of(at))
        } else {
            ready
        }
    }

    fn is_panic(&self, at: usize) -> bool {
        let detection = self.cluster.policy.outlier_detection.as_ref();
        let ready = self.set.tiers[at].range.len();
        self.has_ejected && detection.is_some_and(|it| it.is_panic(self.healthy(at), ready))
    }

    /// Answers whether a retry seeks other tiers than this one: after every other attempt.
    fn is_tried(&self, tier: &Tier) -> bool {
        let tried = self.context.tried;
        let tried = &tried[..tried.len() - tried.len() % 2];
        let mut endpoints = self.set.all()[tier.range.clone()].iter();
        self.context.seeks_other_localities
            && !tried.is_empty()
            && endpoints.any(|endpoint| tried.contains(&endpoint.address))
    }
}
