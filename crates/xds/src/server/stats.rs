//! Counters of the server, for the control plane's metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use super::secrets::Denial;
use crate::Kind;

/// Upper bounds of the buckets in milliseconds; the last bucket has none.
const BOUNDS_MS: [u64; 10] = [
    10, 50, 100, 500, 1_000, 3_000, 5_000, 10_000, 20_000, 30_000,
];

/// What has happened since the server started.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Responses by type.
    pub pushes: BTreeMap<Kind, u64>,
    /// NACKs by type.
    pub rejects: BTreeMap<Kind, u64>,
    /// Bytes of resources sent by type.
    pub bytes: BTreeMap<Kind, u64>,
    /// Streams that were refused or failed.
    pub failures: u64,
    /// Connections and streams whose client could not prove who it is.
    pub unproven: u64,
    /// Secrets that were asked for and not given.
    pub denials: BTreeMap<Denial, u64>,
    /// Time from a change to its ACK by a proxy.
    pub convergence: Histogram,
    /// Time from a response to its ACK.
    pub acknowledgement: Histogram,
}

/// How long things took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Histogram {
    counts: [u64; BOUNDS_MS.len() + 1],
    sum: Duration,
}

// === impl Histogram ===

impl Histogram {
    /// Counts one.
    pub fn observe(&mut self, took: Duration) {
        let millis = took.as_millis();
        let bucket = BOUNDS_MS
            .iter()
            .position(|bound| millis <= u128::from(*bound))
            .unwrap_or(BOUNDS_MS.len());
        self.counts[bucket] += 1;
        self.sum += took;
    }

    /// Upper bounds in seconds (infinite for the last) with the number of observations up to each.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = BOUNDS_MS
            .iter()
            .map(|ms| Duration::from_millis(*ms).as_secs_f64())
            .chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().scan(0, |total, count| {
            *total += count;
            Some(*total)
        }))
    }

    /// The sum of all observations in seconds.
    pub fn sum(&self) -> f64 {
        self.sum.as_secs_f64()
    }

    /// The number of observations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}
