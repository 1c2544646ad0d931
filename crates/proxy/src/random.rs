//! Random numbers for choices that need no secrecy: endpoints, weights and request ids.
//!
//! A generator belongs to one worker, so it takes no lock. It is xoshiro256++, whose state is
//! seeded from the operating system once per thread; it must never be used for keys.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

/// A generator of random numbers for one thread.
#[derive(Debug)]
pub struct Random {
    state: Cell<[u64; 4]>,
}

/// The length of a UUID as text.
pub const UUID_LEN: usize = 36;

// === impl Random ===

impl Random {
    /// A generator with this seed; equal seeds yield equal numbers.
    pub fn seeded(seed: u64) -> Self {
        // SplitMix64 spreads the seed over the state, which must not be all zero.
        let mut x = seed;
        let mut next = || {
            x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = x;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Self {
            state: Cell::new([next(), next(), next(), next()]),
        }
    }

    /// A generator seeded by the operating system (through the standard library's hash keys).
    pub fn from_system() -> Self {
        let word = || RandomState::new().hash_one(0_u8);
        Self {
            state: Cell::new([word() | 1, word(), word(), word()]),
        }
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        let [s0, s1, s2, s3] = self.state.get();
        let result = s0.wrapping_add(s3).rotate_left(23).wrapping_add(s0);
        let (mut t2, mut t3) = (s2 ^ s0, s3 ^ s1);
        let (t1, t0) = (s1 ^ t2, s0 ^ t3);
        t2 ^= s1 << 17;
        t3 = t3.rotate_left(45);
        self.state.set([t0, t1, t2, t3]);
        result
    }

    /// A UUID of version 4 as text, as request ids are written.
    pub fn uuid(&self) -> [u8; UUID_LEN] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next().to_le_bytes());
        bytes[8..].copy_from_slice(&self.next().to_le_bytes());
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let mut text = [b'-'; UUID_LEN];
        let mut at = 0;
        for (index, byte) in bytes.into_iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
            at += 2;
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_its_version_and_variant() {
        let random = Random::seeded(7);
        for _ in 0..100 {
            let text = String::from_utf8(random.uuid().to_vec()).expect("hex is ASCII");
            let parts: Vec<_> = text.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{text}");
            assert_eq!(&text[14..15], "4", "{text}");
            assert!("89ab".contains(&text[19..20]), "{text}");
        }
    }

    #[test]
    fn numbers_are_spread_evenly() {
        let random = Random::seeded(1);
        let mut buckets = [0_u32; 16];
        for _ in 0..16_000 {
            let index = usize::try_from(random.next() >> 60).expect("four bits");
            buckets[index] += 1;
        }
        assert!(buckets.iter().all(|count| (850..1150).contains(count)));
    }

    #[test]
    fn equal_seeds_yield_equal_numbers_and_threads_differ() {
        assert_eq!(Random::seeded(3).next(), Random::seeded(3).next());
        assert_ne!(Random::from_system().next(), Random::from_system().next());
    }
}
