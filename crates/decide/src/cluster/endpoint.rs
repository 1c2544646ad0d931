//! One address of a cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use lateen_model::SocketAddress;
use lateen_model::endpoint::Health;

use crate::outlier::Status;

/// One address of a cluster, at the port that the cluster's port targets.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddress,
    /// Its relative weight.
    pub weight: u32,
    /// Whether it takes requests.
    pub health: Health,
    /// Lower ones go first; `None` if endpoints of its locality get nothing.
    pub priority: Option<u32>,
    /// Whether its proxy takes mutual TLS.
    pub is_meshed: bool,
    /// `region/zone/subzone`.
    pub locality: Arc<str>,
    /// The service account of its workload; empty if unknown.
    pub service_account: Arc<str>,
    /// What it is doing right now, over all workers and clusters of this proxy.
    pub load: Arc<Load>,
    /// What is remembered of it in this cluster.
    pub status: Arc<Status>,
}

/// The load of one address: a shared relaxed counter, only ever read as a hint.
#[derive(Debug, Default)]
pub struct Load {
    active: AtomicU32,
}

// === impl Load ===

impl Load {
    /// How many requests or connections are in flight.
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// A request or connection begins.
    pub fn begin(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
    }

    /// A request or connection that began has ended.
    pub fn end(&self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
    }
}
