//! How many endpoints of each tier are out right now.
//!
//! Counting asks every endpoint, so it is done once for each ejection and each return, not for
//! each request.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::endpoint::Endpoint;
use super::usage::Usage;
use crate::outlier::Millis;

/// How many endpoints of each tier are out, as of the last count.
#[derive(Debug, Default)]
pub(super) struct Ejected {
    tiers: Box<[AtomicU32]>,
    /// When the first of them comes back.
    until: AtomicU64,
    /// How many ejections there had been.
    ejections: AtomicU32,
}

// === impl Ejected ===

impl Ejected {
    pub(super) fn new(tiers: usize) -> Self {
        Self {
            tiers: (0..tiers).map(|_| AtomicU32::new(0)).collect(),
            ..Self::default()
        }
    }

    /// How many of a tier are out.
    pub(super) fn of(&self, tier: usize) -> usize {
        self.tiers[tier].load(Relaxed) as usize
    }

    /// Counts anew if something changed. Workers that do so at once come to the same numbers.
    pub(super) fn refresh<'e>(
        &self,
        usage: &Usage,
        now: Millis,
        endpoints: impl Fn(usize) -> &'e [Endpoint],
    ) {
        let ejections = usage.ejections();
        if now.0 < self.until.load(Relaxed) && ejections == self.ejections.load(Relaxed) {
            return;
        }
        let mut first = u64::MAX;
        for (at, count) in self.tiers.iter().enumerate() {
            let out = endpoints(at).iter().filter_map(|endpoint| {
                let until = endpoint.status.ejected_until();
                until.filter(|until| now < *until)
            });
            let mut counted = 0;
            for until in out {
                counted += 1;
                first = first.min(until.0);
            }
            count.store(counted, Relaxed);
        }
        self.until.store(first, Relaxed);
        self.ejections.store(ejections, Relaxed);
    }
}
