//! Idle connections to upstreams, one pool per worker.
//!
//! Last in, first out: a warm connection is used again and the surplus ages out. An upstream may
//! close an idle connection at any moment; that is seen without a system call when the event loop
//! has heard of it, and what is missed is caught by the exchange, which retries on a fresh
//! connection where nothing can be lost.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use lateen_decide::ClusterId;
use lateen_model::SocketAddress;
use tokio::sync::Notify;

use super::Connection;
use crate::clock::Instant;
use crate::h2::Upstreams;
use crate::sys::Mark;

/// The most idle connections that a worker keeps to one address.
const MOST_IDLE: usize = 1024;

/// How long a request waits for a connection before it looks whether another worker has given one
/// up: the limit is over all workers, and only the own one can wake it.
const LOOK: Duration = Duration::from_millis(10);

/// What makes two connections interchangeable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where it goes.
    pub address: SocketAddress,
    /// Whose traffic it carries.
    pub mark: Mark,
    /// By whose policy it was made.
    pub owner: Owner,
    /// What is spoken on it.
    pub version: Version,
}

/// Whose policy and limits a connection is under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Those of a cluster.
    Cluster(ClusterId),
    /// Those of a port of the workload; 0 is every port of which nothing is said.
    Port(u16),
}

/// What is spoken on a connection to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.1, or bytes.
    Http1,
    /// HTTP/2 by prior knowledge.
    Http2,
}

/// The idle connections of a worker, and those of HTTP/2, which are shared while they are in use.
#[derive(Debug, Default)]
pub struct Pools {
    /// Those of HTTP/2.
    pub streams: Upstreams,
    idle: RefCell<HashMap<Key, Vec<Idle>, BuildHasherDefault<AddressHasher>>>,
    /// Wakes requests that wait for a connection; only for owners of which one has waited.
    waiters: RefCell<HashMap<Owner, Rc<Queue>>>,
}

#[derive(Debug)]
struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

/// The requests that wait for a connection of an owner.
#[derive(Debug, Default)]
struct Queue {
    news: Notify,
    waiting: Cell<u32>,
    /// One of them looks for what other workers give up; a thousand would only wake each other.
    has_lookout: Cell<bool>,
}

/// A place in a queue.
struct Place<'a> {
    queue: &'a Queue,
    is_lookout: bool,
}

/// A hasher for addresses, which come from configuration and not from an attacker: three
/// multiplications instead of the SipHash that strings of strangers need.
#[derive(Debug, Default)]
pub struct AddressHasher(u64);

// === impl Pools ===

impl Pools {
    /// Takes the connection that was used last; those that can no longer be used are dropped.
    pub fn checkout(&self, key: &Key) -> Option<Box<Connection>> {
        let mut idle = self.idle.borrow_mut();
        let list = idle.get_mut(key)?;
        while let Some(Idle { mut connection, .. }) = list.pop() {
            if !connection.side.transport.is_stale() {
                return Some(connection);
            }
        }
        None
    }

    /// Takes a connection back for the next exchange, unless its time is over.
    pub fn checkin(&self, key: &Key, connection: Box<Connection>, now: Instant) {
        if connection.side.transport.is_stream() {
            return; // Its connection is shared, and is not given away.
        }
        if connection.ends.is_some_and(|ends| ends <= now) {
            drop(connection);
        } else {
            let mut idle = self.idle.borrow_mut();
            let since = now;
            match idle.get_mut(key) {
                Some(list) if list.len() >= MOST_IDLE => {}
                Some(list) => list.push(Idle { connection, since }),
                None => drop(idle.insert(key.clone(), vec![Idle { connection, since }])),
            }
        }
        self.released(key.owner);
    }

    /// A connection of an owner is free, or has gone: the next request that waits may have it.
    pub fn released(&self, owner: Owner) {
        let waiters = self.waiters.borrow();
        if !waiters.is_empty()
            && let Some(queue) = waiters.get(&owner)
        {
            queue.wake_one();
        }
    }

    /// How many requests wait for a connection of an owner.
    pub fn waiting(&self, owner: Owner) -> u32 {
        let waiters = self.waiters.borrow();
        waiters.get(&owner).map_or(0, |queue| queue.waiting.get())
    }

    /// Waits until it is worth looking for a connection again.
    pub async fn wait(&self, owner: Owner) {
        let queue = Rc::clone(self.waiters.borrow_mut().entry(owner).or_default());
        queue.wait().await;
    }

    /// Drops what has been idle for longer than its limit, what its peer has closed, what goes to
    /// addresses that are not wanted any more, and the queues in which nobody waits.
    pub fn sweep(
        &self,
        now: Instant,
        limit: impl Fn(&Key) -> Option<Duration>,
        is_wanted: impl Fn(&Key) -> bool,
    ) {
        self.streams.sweep(now, &limit, &is_wanted);
        let mut waiters = self.waiters.borrow_mut();
        waiters.retain(|_, queue| queue.waiting.get() > 0);
        drop(waiters);
        self.idle.borrow_mut().retain(|key, list| {
            if !is_wanted(key) {
                return false;
            }
            let limit = limit(key);
            list.retain_mut(|idle| {
                let age = now.saturating_duration_since(idle.since);
                limit.is_none_or(|limit| age < limit)
                    && idle.connection.ends.is_none_or(|ends| now < ends)
                    && !idle.connection.side.transport.is_stale()
            });
            !list.is_empty()
        });
    }

    /// Drops an idle connection of an owner, to make room for one to another address; `false` if
    /// there is none.
    pub fn drop_idle(&self, owner: Owner) -> bool {
        let mut idle = self.idle.borrow_mut();
        let mut lists = idle.iter_mut().filter(|(key, _)| key.owner == owner);
        // The first of a list is the one that was used longest ago.
        lists
            .find(|(_, list)| !list.is_empty())
            .is_some_and(|(_, list)| {
                list.remove(0);
                true
            })
    }

    /// The number of connections.
    pub fn len(&self) -> usize {
        let idle: usize = self.idle.borrow().values().map(Vec::len).sum();
        idle + self.streams.len()
    }

    /// Answers whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

// === impl Queue ===

impl Queue {
    async fn wait(&self) {
        let place = Place::take(self);
        if place.is_lookout {
            // Late is no error: it is the time to look.
            let _ = tokio::time::timeout(LOOK, self.news.notified()).await;
        } else {
            self.news.notified().await;
        }
    }

    fn wake_one(&self) {
        // Without anybody to hear it, it would be heard later, and for nothing.
        if self.waiting.get() > 0 {
            self.news.notify_one();
        }
    }
}

// === impl Place ===

impl<'a> Place<'a> {
    fn take(queue: &'a Queue) -> Self {
        queue.waiting.set(queue.waiting.get() + 1);
        Self {
            queue,
            is_lookout: !queue.has_lookout.replace(true),
        }
    }
}

impl Drop for Place<'_> {
    /// Whoever looks out and leaves has another one look out.
    fn drop(&mut self) {
        self.queue.waiting.set(self.queue.waiting.get() - 1);
        if self.is_lookout {
            self.queue.has_lookout.set(false);
            self.queue.wake_one();
        }
    }
}

// === impl Key ===

impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let port = match &self.address {
            SocketAddress::Inet(address) => {
                match address.ip() {
                    IpAddr::V4(ip) => state.write_u32(ip.to_bits()),
                    IpAddr::V6(ip) => state.write(&ip.to_bits().to_ne_bytes()),
                }
                address.port()
            }
            SocketAddress::Unix(path) => {
                state.write(path.as_bytes());
                0
            }
        };
        state.write_u32(u32::from(port) << 16 | self.mark.number());
        state.write_u32(match self.owner {
            Owner::Cluster(ClusterId(id)) => id,
            // As far from the ids, which are counted from zero, as can be.
            Owner::Port(port) => !u32::from(port),
        });
    }
}

// === impl AddressHasher ===

impl AddressHasher {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_ne_bytes(word));
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.mix(u64::from(word));
    }

    fn finish(&self) -> u64 {
        // The table looks at the top bits and at the bottom ones: fold the good ones down.
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::clock;
    use crate::transport::Transport;

    fn key(port: u16) -> Key {
        Key {
            address: SocketAddr::from(([10, 0, 0, 1], port)).into(),
            mark: Mark::Outbound,
            owner: Owner::Cluster(ClusterId::PASSTHROUGH),
            version: Version::Http1,
        }
    }

    fn pair() -> (Box<Connection>, DuplexStream) {
        let (near, far) = tokio::io::duplex(64);
        (Box::new(Transport::from(near).into()), far)
    }

    #[tokio::test]
    async fn the_connection_that_was_used_last_is_used_first() {
        let pools = Pools::default();
        let (first, mut first_far) = pair();
        let (second, _second_far) = pair();
        pools.checkin(&key(1), first, clock::now());
        pools.checkin(&key(1), second, clock::now());
        // Only the first has bytes, so it would be stale: it is the second that comes.
        first_far.write_all(b"x").await.expect("room");
        assert!(pools.checkout(&key(1)).is_some());
        assert!(pools.checkout(&key(1)).is_none());
    }

    #[tokio::test]
    async fn a_connection_that_its_peer_closed_is_not_used() {
        let pools = Pools::default();
        let (closed, far) = pair();
        pools.checkin(&key(1), closed, clock::now());
        drop(far);
        assert!(pools.checkout(&key(1)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_sweep_drops_the_old_and_the_unwanted() {
        let pools = Pools::default();
        let (old, _old_far) = pair();
        let (young, _young_far) = pair();
        let (unwanted, _unwanted_far) = pair();
        pools.checkin(&key(1), old, clock::now());
        tokio::time::advance(Duration::from_secs(10)).await;
        pools.checkin(&key(2), young, clock::now());
        pools.checkin(&key(3), unwanted, clock::now());
        let limit = |_: &Key| Some(Duration::from_secs(5));
        pools.sweep(clock::now(), limit, |it| *it != key(3));
        assert_eq!(pools.len(), 1);
        assert!(pools.checkout(&key(2)).is_some());
    }
}
