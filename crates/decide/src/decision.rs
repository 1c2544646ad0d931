//! What a decision says, and the trace that tells why.

use std::fmt;
use std::sync::Arc;

use lateen_model::{ObjectRef, Reason};

use crate::cluster::ClusterId;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'t> {
    /// It goes to this cluster. Traffic to destinations that no service names goes to
    /// [`ClusterId::PASSTHROUGH`] by the route `allow_any`.
    Forward {
        /// Where to; [`crate::Plan::cluster`] answers `None` for a cluster that does not exist,
        /// which is [`Reason::NoCluster`].
        cluster: ClusterId,
        /// The route that matched.
        route: &'t Route,
    },
    /// It is answered 301 with the same URL under `https`.
    RedirectToHttps,
    /// It is answered by the proxy: [`Reason::NoRoute`], or [`Reason::BlackHole`] (the route
    /// `block_all`).
    Refuse(Reason),
}

/// One compiled route: what a rule says for requests that match it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The name for logs: `name`, `name.match`, or `default`; empty if the rule has none.
    pub name: Box<str>,
    /// The rule behind it.
    pub origin: Origin,
    /// Where it sends requests.
    pub split: Split,
}

/// Where a route comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The object: a VirtualService, or the Service itself where no rule is written.
    pub object: Arc<ObjectRef>,
    /// The index of the rule in the object's list.
    pub rule: u32,
    /// The index of the `match` block in the rule; 0 if it has none.
    pub block: u32,
}

// === impl Origin ===

impl Origin {
    /// The object as a whole.
    pub(crate) fn whole(object: &Arc<ObjectRef>) -> Self {
        Self::block(object, 0, 0)
    }

    /// A `match` block of a rule of the object.
    pub(crate) fn block(object: &Arc<ObjectRef>, rule: usize, block: usize) -> Self {
        Self {
            object: Arc::clone(object),
            rule: u32::try_from(rule).unwrap_or(u32::MAX),
            block: u32::try_from(block).unwrap_or(u32::MAX),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rule {} match {}", self.object, self.rule, self.block)
    }
}

/// Clusters with their shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split(Shares);

/// The usual case is kept in place: one look at memory less for each decision.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shares {
    All(ClusterId),
    /// Each with the sum of the weights up to and including its own.
    Weighted(Box<[(ClusterId, u64)]>),
}

/// Why a decision is what it is: every rule that was passed over, and its first condition that
/// did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace<'t> {
    /// The host that was looked up: canonical, without port.
    pub host: String,
    /// The virtual host that was chosen, by the pattern that matched; none if none did.
    pub virtual_host: Option<&'t str>,
    /// The rules of the virtual host that were passed over, in order.
    pub passed_over: Vec<PassedOver<'t>>,
    /// The decision itself.
    pub decision: Decision<'t>,
}

/// A rule that did not match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver<'t> {
    /// The rule.
    pub route: &'t Route,
    /// The first condition that did not hold, such as
    /// `header "end-user" is exactly "jason", but was "alice"`.
    pub failed: String,
}

// === impl Split ===

impl Split {
    /// Everything to one cluster.
    pub fn single(cluster: ClusterId) -> Self {
        Self(Shares::All(cluster))
    }

    /// Shares by weight; those of weight zero are dropped unless there is only one.
    pub fn weighted(targets: &[(ClusterId, u32)]) -> Self {
        if let [(cluster, _)] = targets {
            return Self::single(*cluster);
        }
        let mut sum = 0_u64;
        let shares = targets
            .iter()
            .filter(|(_, weight)| *weight > 0)
            .map(|(cluster, weight)| {
                sum += u64::from(*weight);
                (*cluster, sum)
            })
            .collect();
        Self(Shares::Weighted(shares))
    }

    /// Chooses a cluster; `random` is called only if there is a choice.
    pub fn pick(&self, random: impl FnOnce() -> u64) -> Option<ClusterId> {
        let shares = match &self.0 {
            Shares::All(cluster) => return Some(*cluster),
            Shares::Weighted(shares) => shares,
        };
        let (_, sum) = shares.last()?;
        // The high half of the product is uniform over 0..sum, without a division.
        let point = (u128::from(random()) * u128::from(*sum)) >> 64;
        let chosen = shares.iter().find(|(_, until)| point < u128::from(*until));
        chosen.map(|(cluster, _)| *cluster)
    }

    /// The clusters with their weights.
    pub fn targets(&self) -> impl Iterator<Item = (ClusterId, u64)> {
        let (single, shares) = match &self.0 {
            Shares::All(cluster) => (Some((*cluster, 1)), &[][..]),
            Shares::Weighted(shares) => (None, &**shares),
        };
        let mut before = 0;
        let weighted = shares.iter().map(move |(cluster, until)| {
            let weight = until - before;
            before = *until;
            (*cluster, weight)
        });
        single.into_iter().chain(weighted)
    }
}
