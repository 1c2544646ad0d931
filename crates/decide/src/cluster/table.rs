//! Tables that find the endpoint of a hash: the same one for the same hash at every proxy, and
//! for most hashes even when endpoints come and go.
//!
//! Both are built as Envoy builds them, from the same texts by the same hash, so that two proxies
//! of different make agree.

use lateen_model::balancer::HashTable;

use crate::hash::{hash_of, seeded};

/// Finds the endpoint of a hash.
#[derive(Debug)]
pub(super) enum Table {
    /// Points on a ring in order (Ketama): a hash belongs to the next point.
    Ring(Box<[(u64, u32)]>),
    /// A slot for each remainder (Maglev).
    Maglev(Box<[u32]>),
}

/// No ring has more points, however uneven the weights: 16 MB.
const MAX_POINTS: f64 = 1_048_576.0;

/// No table has more slots (Istio's limit).
const MAX_SLOTS: u64 = 5_000_011;

// === impl Table ===

impl Table {
    /// Builds the table for some endpoints: each its index, its address as text, and its share.
    pub(super) fn build(kind: HashTable, endpoints: &[(u32, String, f64)]) -> Self {
        match kind {
            HashTable::Ring { minimum_size } => Self::Ring(ring(minimum_size, endpoints)),
            HashTable::Maglev { table_size } => Self::Maglev(maglev(table_size, endpoints)),
        }
    }

    /// The endpoints in the order in which they are the hash's: the first is its own, each other
    /// takes over for those before it. They come again and again.
    pub(super) fn walk(&self, hash: u64) -> impl Iterator<Item = u32> {
        let (ring, slots, from) = match self {
            Self::Ring(points) => {
                let from = points.partition_point(|(point, _)| *point < hash);
                (&**points, &[][..], from % points.len().max(1))
            }
            Self::Maglev(slots) => {
                let from = hash % (slots.len().max(1) as u64);
                (&[][..], &**slots, usize::try_from(from).unwrap_or(0))
            }
        };
        let points = ring[from.min(ring.len())..].iter();
        let points = points.chain(&ring[..from.min(ring.len())]);
        let places = slots[from.min(slots.len())..].iter();
        let places = places.chain(&slots[..from.min(slots.len())]);
        points.map(|(_, at)| *at).chain(places.copied())
    }
}

/// The points of a ring: the endpoint of the smallest share has at least as many as it would have
/// of the minimum, the others in proportion.
#[allow(
    clippy::cast_precision_loss,
    reason = "a ring has far fewer points than a float has integers"
)]
fn ring(minimum_size: u64, endpoints: &[(u32, String, f64)]) -> Box<[(u64, u32)]> {
    let sum: f64 = endpoints.iter().map(|(_, _, share)| share).sum();
    let shares = endpoints.iter().map(|(_, _, share)| share / sum);
    let smallest = shares.clone().fold(1.0, f64::min);
    let wanted = (smallest * minimum_size as f64).ceil() / smallest;
    let scale = wanted.min(MAX_POINTS);
    let mut points = Vec::new();
    let mut target = 0.0;
    for ((at, address, _), share) in endpoints.iter().zip(shares) {
        target += scale * share;
        let mut text = format!("{address}_");
        let length = text.len();
        let mut number = 0_u32;
        while (points.len() as f64) < target {
            text.truncate(length);
            text.push_str(&number.to_string());
            points.push((hash_of(text.as_bytes()), *at));
            number += 1;
        }
    }
    points.sort_unstable();
    points.into()
}

/// The slots of a table: endpoints take turns, by weight, to take the next free one in an order
/// of their own.
#[allow(
    clippy::cast_precision_loss,
    reason = "turns are at most as many as slots"
)]
fn maglev(table_size: u64, endpoints: &[(u32, String, f64)]) -> Box<[u32]> {
    struct Turn {
        at: u32,
        offset: u64,
        skip: u64,
        next: u64,
        share: f64,
        target: f64,
    }
    let size = table_size.clamp(2, MAX_SLOTS);
    let largest = endpoints
        .iter()
        .fold(0.0, |most: f64, (_, _, share)| most.max(*share));
    let turns = endpoints.iter().map(|(at, address, share)| Turn {
        at: *at,
        offset: hash_of(address.as_bytes()) % size,
        skip: seeded(address.as_bytes(), 1) % (size - 1) + 1,
        next: 0,
        share: *share,
        target: 0.0,
    });
    let mut turns: Vec<_> = turns.collect();
    let mut slots = vec![u32::MAX; usize::try_from(size).unwrap_or(0)];
    let mut free = if turns.is_empty() { 0 } else { slots.len() };
    let mut round = 1_u32;
    while free > 0 {
        for turn in &mut turns {
            if f64::from(round) * turn.share < turn.target {
                continue;
            }
            turn.target += largest;
            // A skip that is not prime to the size may miss slots: then the next ones are tried.
            let mut slot = (turn.offset + turn.skip * turn.next) % size;
            let mut tries = 0;
            while slots[usize::try_from(slot).unwrap_or(0)] != u32::MAX {
                turn.next += 1;
                tries += 1;
                slot = (turn.offset + turn.skip * turn.next + tries / size) % size;
            }
            slots[usize::try_from(slot).unwrap_or(0)] = turn.at;
            turn.next += 1;
            free -= 1;
            if free == 0 {
                break;
            }
        }
        round += 1;
    }
    if turns.is_empty() {
        slots.clear();
    }
    slots.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(shares: &[f64]) -> Vec<(u32, String, f64)> {
        let endpoints = shares.iter().zip(0..);
        endpoints
            .map(|(share, at)| (at, format!("10.0.0.{at}:80"), *share))
            .collect()
    }

    const KINDS: [HashTable; 2] = [
        HashTable::Ring { minimum_size: 1024 },
        HashTable::Maglev { table_size: 65_537 },
    ];

    /// The endpoint of each of 10,000 hashes.
    fn spread(table: &Table) -> Vec<u32> {
        let hashes = (0..10_000_u32).map(|at| hash_of(&at.to_le_bytes()));
        let owners = hashes.map(|hash| table.walk(hash).next());
        owners.map(|at| at.expect("there are some")).collect()
    }

    fn counts(owners: &[u32], endpoints: u32) -> Vec<usize> {
        let of = |at| owners.iter().filter(|one| **one == at).count();
        (0..endpoints).map(of).collect()
    }

    #[test]
    fn shares_follow_the_weights() {
        for kind in KINDS {
            let table = Table::build(kind, &endpoints(&[1.0, 2.0, 5.0]));
            let counts = counts(&spread(&table), 3);
            assert!(counts[0].abs_diff(1250) < 250, "{kind:?}: {counts:?}");
            assert!(counts[1].abs_diff(2500) < 350, "{kind:?}: {counts:?}");
            assert!(counts[2].abs_diff(6250) < 450, "{kind:?}: {counts:?}");
        }
    }

    #[test]
    fn when_an_endpoint_goes_the_hashes_of_others_stay() {
        for kind in KINDS {
            let all = endpoints(&[1.0; 10]);
            let before = spread(&Table::build(kind, &all));
            let after = spread(&Table::build(kind, &all[..9]));
            let pairs = before.iter().zip(&after);
            let moved = pairs.filter(|(old, new)| **old != 9 && old != new).count();
            // A ring of the same size gives the others more points; Maglev trades a few slots
            // for an even spread.
            assert!(moved < 800, "{kind:?}: {moved}");
        }
    }

    #[test]
    fn a_walk_reaches_every_endpoint() {
        for kind in KINDS {
            let table = Table::build(kind, &endpoints(&[1.0; 5]));
            let mut seen: Vec<_> = table.walk(hash_of(b"x")).collect();
            assert_eq!(seen.first(), table.walk(hash_of(b"x")).next().as_ref());
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen, [0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn the_size_of_a_ring_grows_until_the_smallest_share_has_its_points() {
        let points = ring(10, &endpoints(&[1.0, 99.0]));
        assert_eq!(points.len(), 100);
        assert_eq!(ring(1024, &endpoints(&[1.0; 4])).len(), 1024);
        assert!(ring(u64::MAX, &endpoints(&[1.0])).len() <= 1_048_576);
    }

    #[test]
    fn tables_of_odd_sizes_and_of_nothing_are_built() {
        for size in [0, 2, 6, 100] {
            let table = Table::build(
                HashTable::Maglev { table_size: size },
                &endpoints(&[1.0; 3]),
            );
            assert!(table.walk(7).next().is_some(), "{size}");
        }
        for kind in KINDS {
            assert_eq!(Table::build(kind, &[]).walk(7).next(), None);
        }
    }
}
