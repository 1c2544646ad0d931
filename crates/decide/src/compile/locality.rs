//! Localities: which endpoints go first, and which share those of a locality get.
//!
//! A destination's setting replaces the mesh's as a whole. Shares need nothing else; an order is
//! followed only where outlier detection finds out that a locality fails, as with Istio.

use lateen_model::Labels;
use lateen_model::balancer::LocalityLb;
use lateen_model::proxy::Proxy;

use crate::cluster::endpoints::Place;

/// The order of a cluster's endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// None: all alike.
    Flat,
    /// Endpoints of each of these localities have a share, others nothing.
    Shares(Vec<(String, u32)>),
    /// By how many of the first labels agree, then by how near they are.
    Near {
        /// Names with the values that they must have.
        labels: Vec<(String, String)>,
        /// The proxy's locality, unless only labels count.
        locality: Option<String>,
        /// Of other regions this one goes first.
        region: Option<String>,
    },
}

/// The labels that Kubernetes and Istio give for parts of a locality.
const PARTS: [&str; 3] = [
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.istio.io/subzone",
];

/// How many steps there are from the own subzone to a foreign region.
const STEPS: u32 = 5;

// === impl Order ===

impl Order {
    /// The order that a setting asks for, as a proxy sees it.
    pub(super) fn new(setting: &LocalityLb, has_detection: bool, proxy: &Proxy) -> Self {
        if !setting.is_enabled {
            return Self::Flat;
        }
        if !setting.distribute.is_empty() {
            let mut all = setting.distribute.iter();
            let own = all.find(|one| is_of(&proxy.locality, &one.from));
            return own.map_or(Self::Flat, |one| Self::Shares(one.to.clone()));
        }
        if !has_detection {
            return Self::Flat;
        }
        let labels: Vec<_> = setting
            .failover_priority
            .iter()
            .map(|label| {
                let own = || (&**label, label_of(&proxy.labels, &proxy.locality, label));
                let (name, value) = label.split_once('=').unwrap_or_else(own);
                (name.to_owned(), value.to_owned())
            })
            .collect();
        let region = part(&proxy.locality, 0);
        let mut failover = setting.failover.iter();
        let region = failover.find(|(from, _)| from == region);
        let by_locality = labels.is_empty() || !setting.failover.is_empty();
        Self::Near {
            labels,
            locality: by_locality.then(|| proxy.locality.clone()),
            region: region.map(|(_, to)| to.clone()),
        }
    }

    /// Where an endpoint stands; `None` if it gets nothing.
    pub(super) fn place(&self, locality: &str, labels: &Labels) -> Option<Place> {
        let flat = Place {
            priority: 0,
            pool: 0,
            share: 1,
        };
        match self {
            Self::Flat => Some(flat),
            Self::Shares(shares) => {
                let mut shares = (0..).zip(shares);
                let (pool, (_, share)) = shares.find(|(_, (to, _))| is_of(locality, to))?;
                (*share > 0).then_some(Place {
                    pool,
                    share: *share,
                    ..flat
                })
            }
            Self::Near {
                labels: wanted,
                locality: own,
                region,
            } => {
                let agree = wanted
                    .iter()
                    .take_while(|(name, value)| label_of(labels, locality, name) == value)
                    .count();
                let apart = u32::try_from(wanted.len() - agree).unwrap_or(u32::MAX);
                let near = own
                    .as_ref()
                    .map_or(0, |own| distance(own, locality, region.as_deref()));
                Some(Place {
                    priority: apart.saturating_mul(STEPS).saturating_add(near),
                    ..flat
                })
            }
        }
    }
}

/// Region, zone or subzone.
fn part(locality: &str, at: usize) -> &str {
    locality.splitn(3, '/').nth(at).unwrap_or("")
}

/// Answers whether a locality is one of those that a pattern names: `*` is any part, and so is
/// one that is not written.
fn is_of(locality: &str, pattern: &str) -> bool {
    (0..3).all(|at| match part(pattern, at) {
        "*" => true,
        "" => at > 0,
        text => part(locality, at) == text,
    })
}

/// A label, or the part of the locality that it would have.
fn label_of<'l>(labels: &'l Labels, locality: &'l str, name: &str) -> &'l str {
    labels.get(name).map_or_else(
        || {
            let at = PARTS.iter().position(|part| *part == name);
            at.map_or("", |at| part(locality, at))
        },
        String::as_str,
    )
}

/// The steps between two localities: 0 the same, 1 the same zone, 2 the same region, 3 another
/// region, 4 one that does not take over.
fn distance(own: &str, other: &str, takes_over: Option<&str>) -> u32 {
    let same = (0..3).take_while(|at| part(own, *at) == part(other, *at));
    match same.count() {
        3 => 0,
        2 => 1,
        1 => 2,
        _ => match takes_over {
            Some(region) if part(other, 0) != region => 4,
            Some(_) | None => 3,
        },
    }
}

#[cfg(test)]
mod tests;
