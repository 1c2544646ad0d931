//! What a worker is doing right now, for the main thread: gauges with one writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread changes and another reads.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

/// The gauges of one worker.
#[derive(Debug, Default)]
pub struct Activity {
    /// Open connections of clients on all listeners.
    pub connections: Gauge,
    /// Open connections of clients that are drained when the proxy ends: inbound ones of a sidecar,
    /// all of a gateway.
    pub drained_connections: Gauge,
    /// HTTP exchanges.
    pub exchanges: Gauge,
    /// Connections that are carried as bytes.
    pub tunnels: Gauge,
    /// The version of the plan that is used.
    pub plan_version: Gauge,
    /// Connections of clients so far.
    pub accepted: Gauge,
    /// Copies of requests that are on their way.
    pub mirrors: Gauge,
    /// Copies of requests that were sent so far.
    pub mirrored: Gauge,
    /// Copies that were due but not sent: the request was too long, or nobody was there to take it.
    pub unmirrored: Gauge,
}

/// Counts something in until it is dropped.
#[derive(Debug)]
pub struct Counted {
    activity: Arc<Activity>,
    pick: fn(&Activity) -> &Gauge,
}

/// As [`Counted`], borrowed: for what happens per request.
#[derive(Debug)]
pub struct CountedRef<'a>(&'a Gauge);

// === impl Gauge ===

impl Gauge {
    /// What it says.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets it; only the owning thread may.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Counts up; only the owning thread may.
    pub fn increase(&self) {
        self.set(self.get().wrapping_add(1));
    }

    fn decrease(&self) {
        self.set(self.get().wrapping_sub(1));
    }

    /// Counts one more until the answer is dropped; only the owning thread may.
    pub fn enter(&self) -> CountedRef<'_> {
        self.increase();
        CountedRef(self)
    }
}

// === impl Counted ===

impl Counted {
    /// Counts one more on a gauge until dropped; only the owning thread may.
    pub fn enter(activity: &Arc<Activity>, pick: fn(&Activity) -> &Gauge) -> Self {
        pick(activity).increase();
        Self {
            activity: Arc::clone(activity),
            pick,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.pick)(&self.activity).decrease();
    }
}

impl Drop for CountedRef<'_> {
    fn drop(&mut self) {
        self.0.decrease();
    }
}
