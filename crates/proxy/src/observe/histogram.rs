//! Histograms with Envoy's buckets, which Istio's dashboards expect for durations and sizes alike.

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds as Prometheus shows them.
pub const BOUNDS: [&str; 20] = [
    "0.5", "1", "5", "10", "25", "50", "100", "250", "500", "1000", "2500", "5000", "10000",
    "30000", "60000", "300000", "600000", "1800000", "3600000", "+Inf",
];

/// The same bounds for whole numbers; the last bucket has none.
const LIMITS: [u64; 19] = [
    0, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000,
    1_800_000, 3_600_000,
];

/// A histogram that one thread writes and another reads.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len()],
    sum: AtomicU64,
}

/// What a histogram held when it was read: counts of each bucket alone, not cumulative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// Counts by bucket.
    pub buckets: [u64; BOUNDS.len()],
    /// Sum of all samples.
    pub sum: u64,
}

/// Adds to a counter that only this thread writes: a load and a store, no locked instruction.
pub fn add(counter: &AtomicU64, amount: u64) {
    let sum = counter.load(Ordering::Relaxed).wrapping_add(amount);
    counter.store(sum, Ordering::Relaxed);
}

// === impl Histogram ===

impl Histogram {
    /// Counts a sample. Only the owning thread may call this.
    pub fn record(&self, sample: u64) {
        let index = LIMITS.partition_point(|limit| *limit < sample);
        add(&self.buckets[index], 1);
        add(&self.sum, sample);
    }

    /// Reads it; any thread may.
    pub fn read(&self) -> Reading {
        let mut reading = Reading::default();
        for (into, bucket) in reading.buckets.iter_mut().zip(&self.buckets) {
            *into = bucket.load(Ordering::Relaxed);
        }
        reading.sum = self.sum.load(Ordering::Relaxed);
        reading
    }
}

// === impl Reading ===

impl Reading {
    /// Adds another reading to this one.
    pub fn add(&mut self, other: &Self) {
        for (into, count) in self.buckets.iter_mut().zip(other.buckets) {
            *into += count;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// Takes an earlier reading of the same histogram away.
    pub fn subtract(&mut self, earlier: &Self) {
        for (into, count) in self.buckets.iter_mut().zip(earlier.buckets) {
            *into -= count;
        }
        self.sum = self.sum.wrapping_sub(earlier.sum);
    }

    /// The number of samples.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_falls_into_the_first_bucket_that_bounds_it() {
        let histogram = Histogram::default();
        for sample in [0, 1, 2, 5, 6, 3_600_000, 3_600_001] {
            histogram.record(sample);
        }
        let reading = histogram.read();
        assert_eq!(&reading.buckets[..4], [1, 1, 2, 1]);
        assert_eq!(&reading.buckets[18..], [1, 1]);
        assert_eq!(reading.count(), 7);
        assert_eq!(reading.sum, 7_200_015);
    }
}
