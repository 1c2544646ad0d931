//! How an endpoint is chosen.
//!
//! The plain way is what the algorithm says over all endpoints that take requests. The careful
//! way is gone only where it makes a difference: while an endpoint is ejected, or for a retry. It
//! draws as the plain one does, a few times, until it finds an endpoint that will do, and then
//! takes the next one that does from where it stands.

use std::net::SocketAddr;

use lateen_model::balancer::Algorithm;

use super::endpoint::Endpoint;
use super::endpoints::EndpointSet;
use super::{Cluster, Usage};
use crate::outlier::Millis;

/// What a choice depends on, beside the endpoints.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pick<'p> {
    /// The time.
    pub now: Millis,
    /// The hash of what [`Cluster::hash_policy`] names; `None` if the request does not have it.
    pub hash: Option<u64>,
    /// Where earlier attempts of the request went, in order: these are avoided if others will do.
    pub tried: &'p [SocketAddr],
    /// Localities that were tried twice come last ([`crate::retry::RetryPolicy::remote_localities`]).
    pub seeks_other_localities: bool,
}

/// How often it is drawn before one is sought.
const DRAWS: usize = 5;

// === impl EndpointSet ===

impl EndpointSet {
    pub(super) fn pick(
        &self,
        cluster: &Cluster,
        context: &Pick<'_>,
        rotation: &mut u32,
        mut random: impl FnMut() -> u64,
    ) -> Option<&Endpoint> {
        let ready = self.ready();
        let algorithm = &cluster.load_balancer.algorithm;
        if context.tried.is_empty() && !has_ejected(cluster, context.now) {
            return match ready {
                [] | [_] => ready.first(),
                _ => Some(&ready[self.draw_by(algorithm, rotation, &mut random)]),
            };
        }
        let is_in = |endpoint: &Endpoint| !endpoint.status.is_ejected(context.now);
        let healthy = ready.iter().filter(|endpoint| is_in(endpoint)).count();
        let detection = cluster.policy.outlier_detection.as_ref();
        let is_panic = detection.is_some_and(|it| it.is_panic(healthy, ready.len()));
        let will_do = |endpoint: &Endpoint| is_panic || is_in(endpoint);
        let mut draw = |will_do: &dyn Fn(&Endpoint) -> bool| {
            let mut at = 0;
            for _ in 0..DRAWS.min(ready.len()) {
                at = match ready {
                    [_] => 0,
                    _ => self.draw_by(algorithm, rotation, &mut random),
                };
                if will_do(&ready[at]) {
                    return Some(&ready[at]);
                }
            }
            let (before, from) = ready.split_at(at);
            from.iter().chain(before).find(|endpoint| will_do(endpoint))
        };
        let is_new = |endpoint: &Endpoint| !context.tried.contains(&endpoint.address);
        draw(&|endpoint| is_new(endpoint) && will_do(endpoint)).or_else(|| draw(&will_do))
    }

    /// Draws among at least two.
    fn draw_by(
        &self,
        algorithm: &Algorithm,
        rotation: &mut u32,
        mut random: impl FnMut() -> u64,
    ) -> usize {
        match algorithm {
            Algorithm::LeastRequest | Algorithm::Passthrough | Algorithm::ConsistentHash(_) => {
                let (one, other) = self.draw_two(random);
                let active = |at: usize| self.ready()[at].load.active();
                if active(other) < active(one) {
                    other
                } else {
                    one
                }
            }
            Algorithm::RoundRobin => {
                *rotation = rotation.wrapping_add(1);
                self.at_turn(*rotation)
            }
            Algorithm::Random => self.draw(random()),
        }
    }
}

fn has_ejected(cluster: &Cluster, now: Millis) -> bool {
    let is_on = cluster.policy.outlier_detection.is_some();
    is_on && Usage::may_have_ejected(&cluster.usage, now)
}
