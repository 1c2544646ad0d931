//! The handle through which the control plane publishes and looks at its connections.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::cache::{Cache, Change, Viewer};
use super::connection::{Answered, Connection, SubscriptionStatus};
use super::identity::{Account, Identity};
use super::secrets::SecretChange;
use super::stats::Stats;
use crate::{Kind, Node};

/// Publishes resources. Clones share everything.
#[derive(Debug, Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
}

/// How one connected proxy stands.
#[derive(Debug, Clone)]
pub struct ConnectionStatus {
    /// Tells connections apart: a proxy that came back may be listed twice for a moment.
    pub id: u64,
    /// Who it says it is.
    pub node: Node,
    /// Who it has proven to be; nothing on the plaintext port.
    pub identity: Option<Identity>,
    /// The address that it connects from.
    pub peer: String,
    /// Since when.
    pub since: Instant,
    /// Its subscriptions, by type.
    pub subscriptions: Vec<SubscriptionStatus>,
}

#[derive(Debug)]
struct Shared {
    cache: RwLock<Cache>,
    changed: watch::Sender<Changed>,
    answered: watch::Sender<u64>,
    wanted: watch::Sender<u64>,
    connections: Mutex<BTreeMap<u64, Registered>>,
    next_id: AtomicU64,
    stats: Mutex<Stats>,
}

/// What sessions watch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changed {
    /// When something changed last.
    pub(super) at: Instant,
    /// The server stops.
    pub(super) is_closed: bool,
}

#[derive(Debug)]
struct Registered {
    peer: String,
    since: Instant,
    connection: Arc<Mutex<Connection>>,
}

/// A connection in the register; leaves it when dropped.
#[derive(Debug)]
pub(super) struct Registration {
    publisher: Publisher,
    id: u64,
    pub(super) connection: Arc<Mutex<Connection>>,
}

// === impl Publisher ===

impl Default for Publisher {
    fn default() -> Self {
        Self::new()
    }
}

impl Publisher {
    /// A publisher of nothing yet.
    pub fn new() -> Self {
        let changed = Changed {
            at: Instant::now(),
            is_closed: false,
        };
        Self {
            shared: Arc::new(Shared {
                cache: RwLock::default(),
                changed: watch::Sender::new(changed),
                answered: watch::Sender::new(0),
                wanted: watch::Sender::new(0),
                connections: Mutex::default(),
                next_id: AtomicU64::new(1),
                stats: Mutex::default(),
            }),
        }
    }

    /// Publishes changes as one: no proxy is sent a part of them. Answers how many of them
    /// changed something; what is as it was costs nobody anything.
    pub fn apply(&self, changes: impl IntoIterator<Item = Change>) -> usize {
        let cache = self.shared.cache.write();
        let changed = cache.unwrap_or_else(PoisonError::into_inner).apply(changes);
        if changed > 0 {
            self.shared.changed.send_modify(|c| c.at = Instant::now());
        }
        changed
    }

    /// Publishes news of Secrets as one, to those who asked for them and may have them.
    pub fn apply_secrets(&self, changes: impl IntoIterator<Item = SecretChange>) {
        let cache = self.shared.cache.write();
        let mut cache = cache.unwrap_or_else(PoisonError::into_inner);
        if cache.apply_secrets(changes) > 0 {
            self.shared.changed.send_modify(|c| c.at = Instant::now());
        }
    }

    /// The Secrets that gateways with a proven identity ask for in their own namespace, with the
    /// accounts that do. Whether these may read them is for the control plane to find out, and to
    /// tell with [`Self::apply_secrets`]; without that nobody is answered.
    pub fn wanted_secrets(&self) -> BTreeMap<String, BTreeSet<Account>> {
        let mut wanted: BTreeMap<String, BTreeSet<Account>> = BTreeMap::new();
        for registered in lock(&self.shared.connections).values() {
            for (name, account) in lock(&registered.connection).wanted_secrets() {
                let accounts = wanted.entry(name.to_string()).or_default();
                if !accounts.contains(account) {
                    accounts.insert(account.clone());
                }
            }
        }
        wanted
    }

    /// Changes whenever [`Self::wanted_secrets`] may have changed.
    pub fn wanted_secrets_changed(&self) -> watch::Receiver<u64> {
        self.shared.wanted.subscribe()
    }

    /// Ends every stream, so that proxies go to another control plane (or wait for this one).
    pub fn close(&self) {
        self.shared.changed.send_modify(|c| c.is_closed = true);
    }

    /// The version of the whole configuration: the number of changes so far.
    pub fn version(&self) -> u64 {
        self.cache().end()
    }

    /// Number of published resources of a type, and their bytes.
    pub fn size(&self, kind: Kind) -> (usize, usize) {
        self.cache().size(kind)
    }

    /// Everything that a proxy may see, as it would be sent: type, name and bytes, in order.
    pub fn seen_by(&self, node: &Node) -> Vec<(Kind, String, Bytes)> {
        let (cache, viewer) = (self.cache(), Viewer::new(node));
        let names = Kind::ALL
            .into_iter()
            .flat_map(|kind| cache.names(kind).map(move |name| (kind, name)));
        names
            .filter_map(|(kind, name)| {
                let published = cache.get(kind, name, &viewer)?;
                Some((kind, name.to_string(), published.bytes.clone()))
            })
            .collect()
    }

    /// How every connected proxy stands.
    pub fn connections(&self) -> Vec<ConnectionStatus> {
        let registered = lock(&self.shared.connections);
        let status = |(id, registered): (&u64, &Registered)| {
            let connection = lock(&registered.connection);
            ConnectionStatus {
                id: *id,
                node: connection.node().clone(),
                identity: connection.identity().cloned(),
                peer: registered.peer.clone(),
                since: registered.since,
                subscriptions: connection.status(),
            }
        };
        registered.iter().map(status).collect()
    }

    /// Changes whenever what proxies refuse may have changed: a NACK, the ACK that ends one, or
    /// the end of a connection.
    pub fn refusals_changed(&self) -> watch::Receiver<u64> {
        self.shared.answered.subscribe()
    }

    /// What has happened since the start.
    pub fn stats(&self) -> Stats {
        lock(&self.shared.stats).clone()
    }

    pub(super) fn cache(&self) -> RwLockReadGuard<'_, Cache> {
        let cache = self.shared.cache.read();
        cache.unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn changed(&self) -> watch::Receiver<Changed> {
        self.shared.changed.subscribe()
    }

    pub(super) fn register(&self, connection: Connection, peer: String) -> Registration {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(Mutex::new(connection));
        let registered = Registered {
            peer,
            since: Instant::now(),
            connection: connection.clone(),
        };
        lock(&self.shared.connections).insert(id, registered);
        Registration {
            publisher: self.clone(),
            id,
            connection,
        }
    }

    /// Tells that a connection asks for other Secrets than before.
    pub(super) fn wants_others(&self) {
        self.shared.wanted.send_modify(|n| *n += 1);
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Stats)) {
        count(&mut lock(&self.shared.stats));
    }

    /// When something changed last.
    pub(super) fn changed_at(&self) -> Instant {
        self.shared.changed.borrow().at
    }

    /// Counts an answer and wakes who watches refusals. `converged` is the last change that the
    /// proxy is known to have.
    pub(super) fn answered(
        &self,
        answered: &Answered,
        had_refusals: bool,
        now: Instant,
        converged: &mut Instant,
    ) {
        let changed_at = self.changed_at();
        match answered {
            Answered::Nothing => {}
            Answered::Ack { sent, .. } => {
                if had_refusals {
                    self.shared.answered.send_modify(|n| *n += 1);
                }
                self.count(|stats| {
                    stats.acknowledgement.observe(now - *sent);
                    // A proxy that has the last change has converged on it, once: what it asks for
                    // later has nothing to do with the change.
                    if changed_at <= *sent && *converged < changed_at {
                        *converged = changed_at;
                        stats.convergence.observe(now - changed_at);
                    }
                });
            }
            Answered::Nack { kind, sent } => {
                self.shared.answered.send_modify(|n| *n += 1);
                self.count(|stats| {
                    *stats.rejects.entry(*kind).or_default() += 1;
                    stats.acknowledgement.observe(now - *sent);
                });
            }
        }
    }
}

// === impl Registration ===

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.publisher.shared.connections).remove(&self.id);
        self.publisher.shared.answered.send_modify(|n| *n += 1);
        self.publisher.wants_others();
    }
}

/// Locks; a panic elsewhere must not stop every proxy, and no state is left half written.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_change_counts_once_for_each_proxy() {
        let publisher = Publisher::new();
        let mut converged = publisher.changed_at();
        let mut ack = |after: u64| {
            let sent = publisher.changed_at() + Duration::from_millis(after);
            let kind = Kind::Workload;
            let now = sent + Duration::from_millis(5);
            publisher.answered(&Answered::Ack { kind, sent }, false, now, &mut converged);
            let convergence = publisher.stats().convergence;
            (convergence.count(), convergence.sum())
        };
        // What a proxy is sent when it connects is no change.
        assert_eq!(ack(0), (0, 0.0));
        publisher.apply([Change::View {
            namespace: "a".into(),
            name: "b".into(),
            view: Some(super::super::cache::View::default()),
        }]);
        assert_eq!(ack(0), (1, 0.005));
        assert_eq!(ack(3_600_000), (1, 0.005));
    }
}
