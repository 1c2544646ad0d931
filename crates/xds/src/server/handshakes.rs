//! Connections whose client has not proven who it is: how many there may be, and for how long.
//!
//! TLS handshakes and token checks cost the control plane more than they cost a client, and
//! everybody in the cluster reaches the port. A connection holds a place from its first byte until
//! a token of its was found good, and is closed when that takes too long. Places are limited in
//! all, and for each address, so that one pod cannot keep the others out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::publisher::lock;

/// How long a client may take to prove who it is, handshake included.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// Places in all: when a control plane starts, a mesh comes at once.
const PLACES: usize = 1024;

/// Places of one address. A gateway behind address translation shares one with its neighbours.
const PLACES_OF_ONE: usize = 64;

/// The places.
#[derive(Debug, Clone, Default)]
pub(super) struct Handshakes(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    count: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place; it is free again when dropped.
#[derive(Debug)]
struct Place {
    handshakes: Handshakes,
    address: IpAddr,
}

/// Whether the client of a connection has proven who it is.
#[derive(Debug, Clone)]
pub(super) struct Proof(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    place: Mutex<Option<Place>>,
    given: Notify,
}

// === impl Handshakes ===

impl Handshakes {
    /// Takes a place; nothing if there is none left.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Proof> {
        let mut taken = lock(&self.0);
        let own = taken.by_address.get(&address).copied().unwrap_or_default();
        if taken.count >= PLACES || own >= PLACES_OF_ONE {
            return None;
        }
        taken.count += 1;
        taken.by_address.insert(address, own + 1);
        drop(taken);
        let place = Place {
            handshakes: self.clone(),
            address,
        };
        Some(Proof(Arc::new(Shared {
            place: Mutex::new(Some(place)),
            given: Notify::new(),
        })))
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.handshakes.0);
        taken.count = taken.count.saturating_sub(1);
        if let Some(own) = taken.by_address.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

// === impl Proof ===

impl Proof {
    /// The client has proven who it is.
    pub(super) fn give(&self) {
        drop(lock(&self.0.place).take());
        self.0.given.notify_one();
    }

    /// Completes when the client has not proven anything in time; else never.
    pub(super) async fn missing(&self) {
        if tokio::time::timeout(PATIENCE, self.0.given.notified())
            .await
            .is_ok()
        {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    #[test]
    fn one_address_cannot_take_every_place() {
        let handshakes = Handshakes::default();
        let mut held: Vec<_> = (0..PLACES_OF_ONE)
            .map(|_| handshakes.enter(address(1)).expect("a place"))
            .collect();
        assert!(handshakes.enter(address(1)).is_none());
        let other = handshakes.enter(address(2)).expect("a place");
        held.pop();
        assert!(handshakes.enter(address(1)).is_some());
        // What has been proven needs no place any more.
        other.give();
        drop(held);
        let taken = lock(&handshakes.0);
        assert_eq!((taken.count, taken.by_address.len()), (0, 0));
    }

    #[test]
    fn there_is_an_end_to_the_places() {
        let handshakes = Handshakes::default();
        let held: Vec<_> = (0..PLACES)
            .map(|i| {
                let last = u8::try_from(i % 250).expect("it is small");
                handshakes.enter(address(last)).expect("a place")
            })
            .collect();
        assert!(handshakes.enter(address(251)).is_none());
        drop(held);
        assert!(handshakes.enter(address(251)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_proof_is_missed_only_if_it_was_not_given() {
        let handshakes = Handshakes::default();
        let proof = handshakes.enter(address(1)).expect("a place");
        proof.missing().await;
        proof.give();
        let waits = tokio::time::timeout(PATIENCE * 2, proof.missing()).await;
        assert!(waits.is_err());
    }
}
