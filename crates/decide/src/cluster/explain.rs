//! Why endpoints of a cluster get no requests right now, for `lateen why`.

use std::fmt;

use lateen_model::endpoint::Health;

use super::endpoint::Endpoint;
use super::pick::{Care, Pick};
use super::{Cluster, Upstream};
use crate::outlier::Millis;

/// Why an endpoint gets no requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// It is not ready.
    NotReady,
    /// It is going away.
    Draining,
    /// The shares of localities name others only.
    NoShare,
    /// It failed too often, and is out for these many milliseconds more.
    Ejected {
        /// How much longer.
        millis: u64,
    },
    /// Endpoints of higher priority take everything.
    OtherPriority {
        /// Its own, from 0.
        priority: u32,
    },
}

// === impl Cluster ===

impl Cluster {
    /// Every endpoint, with the reason why it gets no requests, if so; none for clusters without
    /// endpoints of their own.
    pub fn explain(&self, now: Millis) -> Vec<(&Endpoint, Option<LeftOut>)> {
        let Upstream::Endpoints(set) = &self.upstream else {
            return Vec::new();
        };
        let context = Pick {
            now,
            ..Pick::default()
        };
        let care = Care::new(set, self, &context);
        let tiers: Vec<_> = (0..set.tiers.len())
            .map(|at| (care.takes(at), care.is_panicking(at)))
            .collect();
        let all = set.all().iter();
        all.map(|endpoint| {
            let tier = endpoint.priority.and_then(|at| tiers.get(at as usize));
            (endpoint, left_out(endpoint, tier.copied(), now))
        })
        .collect()
    }
}

/// `tier` tells whether requests go to its tier, and whether all there get some.
fn left_out(endpoint: &Endpoint, tier: Option<(bool, bool)>, now: Millis) -> Option<LeftOut> {
    match endpoint.health {
        Health::NotReady => return Some(LeftOut::NotReady),
        Health::Draining => return Some(LeftOut::Draining),
        Health::Ready => {}
    }
    let Some((takes, is_panic)) = tier else {
        return Some(LeftOut::NoShare);
    };
    let until = endpoint.status.ejected_until().filter(|until| now < *until);
    match until {
        Some(until) if !is_panic => Some(LeftOut::Ejected {
            millis: until.0 - now.0,
        }),
        _ if takes => None,
        _ => Some(LeftOut::OtherPriority {
            priority: endpoint.priority.unwrap_or_default(),
        }),
    }
}

// === impl LeftOut ===

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady => f.write_str("is not ready"),
            Self::Draining => f.write_str("is going away"),
            Self::NoShare => f.write_str("is in a locality without a share of the requests"),
            Self::Ejected { millis } => {
                let seconds = millis.div_ceil(1000);
                write!(f, "failed too often, and is out for {seconds} s more")
            }
            Self::OtherPriority { priority } => {
                write!(
                    f,
                    "has priority {priority}, and those before it take everything"
                )
            }
        }
    }
}
