//! Which addresses pods have: handed out in turn, so that a freed one rests before it is used
//! again by another pod, whose name somebody may still have cached for it.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The addresses of pods.
#[derive(Debug)]
pub(crate) struct Addresses {
    first: u32,
    last: u32,
    next: u32,
    taken: HashSet<Ipv4Addr>,
}

// === impl Addresses ===

impl Addresses {
    /// All of a network but its first address, the node's (its second) and its last.
    pub(crate) fn new(network: Ipv4Net) -> Self {
        let first = u32::from(network.network()) + 2;
        Self {
            first,
            last: u32::from(network.broadcast()).saturating_sub(1),
            next: first,
            taken: HashSet::new(),
        }
    }

    /// The node's own address.
    pub(crate) fn node(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.first - 1)
    }

    /// Takes the next free address; `None` if there is none.
    pub(crate) fn take(&mut self) -> Option<Ipv4Addr> {
        for _ in self.first..=self.last {
            let address = Ipv4Addr::from(self.next);
            self.next = if self.next >= self.last {
                self.first
            } else {
                self.next + 1
            };
            if self.taken.insert(address) {
                return Some(address);
            }
        }
        None
    }

    /// Frees an address.
    pub(crate) fn give_back(&mut self, address: Ipv4Addr) {
        self.taken.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(network: &str) -> Addresses {
        Addresses::new(network.parse().unwrap())
    }

    #[test]
    fn the_node_has_the_first_and_pods_the_others() {
        let mut addresses = addresses("10.244.0.0/16");
        assert_eq!(addresses.node(), Ipv4Addr::new(10, 244, 0, 1));
        assert_eq!(addresses.take(), Some(Ipv4Addr::new(10, 244, 0, 2)));
        assert_eq!(addresses.take(), Some(Ipv4Addr::new(10, 244, 0, 3)));
    }

    #[test]
    fn a_freed_address_rests_until_all_others_were_used() {
        let mut addresses = addresses("10.0.0.0/29");
        let taken: Vec<_> = std::iter::from_fn(|| addresses.take()).collect();
        assert_eq!(taken.len(), 5, "{taken:?}");
        addresses.give_back(taken[3]);
        addresses.give_back(taken[0]);
        assert_eq!(addresses.take(), Some(taken[0]));
        assert_eq!(addresses.take(), Some(taken[3]));
        assert_eq!(addresses.take(), None);
    }
}
