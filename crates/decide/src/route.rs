//! Compiled routes: what a rule says for the requests that match it.
//!
//! The data path reads this for every request, so what most routes lack costs one look at an
//! `Option`. Nothing here acts: faults are injected, bytes are rewritten and answers are repeated
//! by the proxy, by what it reads here.

use std::sync::Arc;
use std::time::Duration;

use lateen_model::Percent;
use lateen_model::http::{DirectResponse, Fault, Redirect};

use crate::cluster::ClusterId;
use crate::cors::Cors;
use crate::decision::Origin;
use crate::headers::Headers;
use crate::retry::RetryPolicy;
use crate::rewrite::Rewrite;

/// One compiled route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The name for logs: `name`, `name.match`, or `default`; empty if the rule has none.
    pub name: Box<str>,
    /// The rule behind it.
    pub origin: Origin,
    /// What becomes of its requests.
    pub action: Action,
    /// How they are treated on the way; shared by all routes of a rule.
    pub policy: Arc<RoutePolicy>,
    /// What a rewrite of the prefix replaces.
    pub matched: Matched,
}

/// What becomes of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// They go to clusters.
    Forward(Split),
    /// They are sent elsewhere.
    Redirect(Box<Redirect>),
    /// The proxy answers.
    Respond(Box<DirectResponse>),
}

/// The part of the path that a rule's condition on it matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched {
    /// These many bytes at its start.
    Prefix(usize),
    /// All of it.
    Whole,
}

/// How requests are treated on the way to their upstream and back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoutePolicy {
    /// How long a request may take, all attempts together; no limit if unset.
    pub timeout: Option<Duration>,
    /// When they are sent again.
    pub retries: RetryPolicy,
    /// Faults that are injected before anything is sent.
    pub fault: Fault,
    /// Changes of path and authority.
    pub rewrite: Option<Rewrite>,
    /// Changes of headers, for all destinations.
    pub headers: Option<Headers>,
    /// Changes of headers for each destination, by its place in the split; empty if there are none.
    pub destination_headers: Box<[Option<Headers>]>,
    /// Cross-origin resource sharing.
    pub cors: Option<Cors>,
    /// Where copies go.
    pub mirrors: Box<[(ClusterId, Percent)]>,
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

// === impl Route ===

impl Route {
    /// A route that only sends requests to clusters.
    pub(crate) fn plain(name: &str, origin: Origin, split: Split) -> Self {
        Self {
            name: name.into(),
            origin,
            action: Action::Forward(split),
            policy: Arc::default(),
            matched: Matched::Prefix(0),
        }
    }

    /// The clusters that it sends requests to; none if the proxy answers.
    pub fn split(&self) -> Option<&Split> {
        match &self.action {
            Action::Forward(split) => Some(split),
            Action::Redirect(_) | Action::Respond(_) => None,
        }
    }

    /// The cluster of a connection that takes this route.
    pub(crate) fn connect(&self, random: impl FnOnce() -> u64) -> ClusterId {
        let picked = self.split().and_then(|split| split.pick(random));
        picked.map_or(ClusterId::BLACK_HOLE, |(_, cluster)| cluster)
    }

    /// Every cluster that it names, those of copies too, as often as it does.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = ClusterId> {
        let targets = self.split().into_iter().flat_map(Split::targets);
        let mirrors = self.policy.mirrors.iter().map(|(cluster, _)| *cluster);
        targets.map(|(cluster, _)| cluster).chain(mirrors)
    }
}

// === impl RoutePolicy ===

impl RoutePolicy {
    /// How long a request may take with all its attempts; zero is no limit, as with Istio.
    pub fn limit(&self) -> Option<Duration> {
        self.timeout.filter(|timeout| !timeout.is_zero())
    }

    /// The changes of headers for the destination at this place of the split.
    pub fn headers_of(&self, destination: usize) -> Option<&Headers> {
        self.destination_headers.get(destination)?.as_ref()
    }
}

// === impl Split ===

impl Split {
    /// Everything to one cluster.
    pub fn single(cluster: ClusterId) -> Self {
        Self(Shares::All(cluster))
    }

    /// Shares by weight; those of weight zero get nothing unless there is only one.
    pub fn weighted(targets: &[(ClusterId, u32)]) -> Self {
        if let [(cluster, _)] = targets {
            return Self::single(*cluster);
        }
        let mut sum = 0_u64;
        let shares = targets
            .iter()
            .map(|(cluster, weight)| {
                sum += u64::from(*weight);
                (*cluster, sum)
            })
            .collect();
        Self(Shares::Weighted(shares))
    }

    /// Chooses a cluster and answers its place in the split too; `random` is called only if there
    /// is a choice.
    pub fn pick(&self, random: impl FnOnce() -> u64) -> Option<(usize, ClusterId)> {
        let shares = match &self.0 {
            Shares::All(cluster) => return Some((0, *cluster)),
            Shares::Weighted(shares) => shares,
        };
        let (_, sum) = shares.last()?;
        // The high half of the product is uniform over 0..sum, without a division.
        let point = (u128::from(random()) * u128::from(*sum)) >> 64;
        let mut places = shares.iter().enumerate();
        let chosen = places.find(|(_, (_, until))| point < u128::from(*until));
        chosen.map(|(place, (cluster, _))| (place, *cluster))
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
