//! How an endpoint is chosen.
//!
//! The plain way is what the algorithm says over all endpoints that take requests. The careful
//! way is gone only where it makes a difference: endpoints of several localities, a hash, while
//! one is ejected or new, or for a retry. It chooses a tier by how healthy the tiers are (as Envoy
//! does: one counts as healthy up to 1/1.4 of its endpoints), and draws there as the plain way
//! does, a few times, until it finds an endpoint that will do; then it takes the next one that
//! does from where it stands.

use lateen_model::SocketAddress;
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
    pub tried: &'p [SocketAddress],
    /// The host that the client asks for, without a port ([`super::Upstream::Dynamic`]).
    pub host: Option<&'p str>,
    /// Localities that were tried twice come last ([`crate::retry::RetryPolicy::remote_localities`]).
    pub seeks_other_localities: bool,
}

/// One choice that takes care.
pub(super) struct Care<'s, 'c> {
    set: &'s EndpointSet,
    cluster: &'c Cluster,
    context: &'c Pick<'c>,
    /// Whether some endpoint may be out.
    has_ejected: bool,
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
        let care = Care::new(self, cluster, context);
        if let Some(pool) = &self.plain
            && context.tried.is_empty()
            && !care.has_ejected
            && !care.is_warming()
        {
            let at = self.draw(pool, cluster, rotation, &mut random);
            return Some(&self.all()[at]);
        }
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

impl<'s, 'c> Care<'s, 'c> {
    pub(super) fn new(set: &'s EndpointSet, cluster: &'c Cluster, context: &'c Pick<'c>) -> Self {
        let is_watched = cluster.policy.outlier_detection.is_some();
        Self {
            has_ejected: is_watched && cluster.usage.may_have_ejected(context.now),
            set,
            cluster,
            context,
        }
    }

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
        let is_warming = self.is_warming();
        let draws = if is_warming { DRAWS_OF_NEW } else { DRAWS };
        let mut at = pool.range.start;
        for _ in 0..draws {
            at = self.set.draw(pool, self.cluster, rotation, &mut *random);
            if will_do(&all[at]) && (!is_warming || self.is_warm_enough(&all[at], random)) {
                return Some(&all[at]);
            }
        }
        let (before, from) = (&all[pool.range.start..at], &all[at..pool.range.end]);
        from.iter().chain(before).find(|endpoint| will_do(endpoint))
    }

    fn is_out(&self, endpoint: &Endpoint) -> bool {
        self.has_ejected && endpoint.status.is_ejected(self.context.now)
    }

    /// Answers whether some endpoint is new.
    fn is_warming(&self) -> bool {
        let warmup = self.set.warmup.as_ref();
        warmup.is_some_and(|warmup| warmup.is_on(self.set.ready(), self.context.now))
    }

    fn is_warm_enough(&self, endpoint: &Endpoint, random: &mut impl FnMut() -> u64) -> bool {
        let warmup = self.set.warmup.as_ref();
        warmup.is_none_or(|warmup| warmup.takes(endpoint, self.context.now, random))
    }

    /// The tier that the request goes to, and whether so few of its endpoints are in that all get
    /// requests.
    fn tier(&self, random: &mut impl FnMut() -> u64) -> Option<(&'s Tier, bool)> {
        let tiers = &self.set.tiers;
        self.count_ejected();
        if let [tier] = &**tiers {
            return Some((tier, self.is_panic(0)));
        }
        let all = self.health_of_all();
        let is_left = |at: &usize| !self.is_tried(&tiers[*at]);
        let left: usize = (0..tiers.len())
            .filter(is_left)
            .map(|at| self.health(at))
            .sum();
        let sum = if left == 0 { all } else { left };
        if sum == 0 {
            // Nobody is in: with a threshold the first tier gets everything, as a panic.
            let first = (0..tiers.len()).find(|at| !tiers[*at].range.is_empty())?;
            return Some((&tiers[first], self.is_panic(first)));
        }
        // Each takes its health of a hundred, as far as those before it leave that.
        let point = scale(random(), sum.min(100) as u64);
        let mut taken = 0;
        let chosen = (0..tiers.len())
            .filter(|at| left == 0 || is_left(at))
            .find(|at| {
                taken += self.health(*at);
                point < taken
            })?;
        Some((&tiers[chosen], all < 100 && self.is_panic(chosen)))
    }

    /// Answers whether requests that are no retries go to a tier.
    pub(super) fn takes(&self, at: usize) -> bool {
        self.count_ejected();
        if self.set.tiers.len() == 1 {
            return true;
        }
        let before: usize = (0..at).map(|at| self.health(at)).sum();
        let is_first = || {
            self.set.tiers[..at]
                .iter()
                .all(|tier| tier.range.is_empty())
        };
        match self.health_of_all() {
            0 => is_first(),
            all => before < all.min(100) && self.health(at) > 0,
        }
    }

    /// Answers whether all endpoints of a tier get requests, those too that are out.
    pub(super) fn is_panicking(&self, at: usize) -> bool {
        self.count_ejected();
        let is_alone = self.set.tiers.len() == 1;
        (is_alone || self.health_of_all() < 100) && self.is_panic(at)
    }

    /// How much of a hundred a tier can take.
    fn health(&self, at: usize) -> usize {
        let members = self.set.tiers[at].members.max(1);
        (self.healthy(at) * OVERPROVISIONING / members).min(100)
    }

    fn health_of_all(&self) -> usize {
        (0..self.set.tiers.len()).map(|at| self.health(at)).sum()
    }

    fn count_ejected(&self) {
        if self.has_ejected {
            let tiers = &self.set.tiers;
            let endpoints = |at: usize| &self.set.all()[tiers[at].range.clone()];
            let (usage, now) = (&self.cluster.usage, self.context.now);
            self.set.ejected.refresh(usage, now, endpoints);
        }
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
