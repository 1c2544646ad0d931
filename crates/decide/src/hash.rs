//! xxHash64: the hash by which requests find their endpoints. Every proxy and every version must
//! agree on it, and it is Envoy's, so that a mesh in migration agrees too.
//!
//! By the specification of the algorithm (XXH64): four lanes over stripes of 32 bytes, then what
//! is left in words of 8, 4 and 1 bytes, then an avalanche.

const PRIME_1: u64 = 0x9E37_79B1_85EB_CA87;
const PRIME_2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const PRIME_3: u64 = 0x1656_67B1_9E37_79F9;
const PRIME_4: u64 = 0x85EB_CA77_C2B2_AE63;
const PRIME_5: u64 = 0x27D4_EB2F_1656_67C5;

/// Hashes the property of a request that decides on its endpoint.
pub fn hash_of(bytes: &[u8]) -> u64 {
    seeded(bytes, 0)
}

/// Hashes bytes with a seed.
pub(crate) fn seeded(bytes: &[u8], seed: u64) -> u64 {
    let (stripes, mut rest) = bytes.as_chunks::<32>();
    let mut hash = if stripes.is_empty() {
        seed.wrapping_add(PRIME_5)
    } else {
        lanes(stripes, seed)
    };
    hash = hash.wrapping_add(bytes.len() as u64);
    let (words, left) = rest.as_chunks::<8>();
    rest = left;
    for word in words {
        hash ^= round(0, u64::from_le_bytes(*word));
        hash = hash.rotate_left(27).wrapping_mul(PRIME_1);
        hash = hash.wrapping_add(PRIME_4);
    }
    let (halves, left) = rest.as_chunks::<4>();
    rest = left;
    for half in halves {
        hash ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(PRIME_1);
        hash = hash.rotate_left(23).wrapping_mul(PRIME_2);
        hash = hash.wrapping_add(PRIME_3);
    }
    for byte in rest {
        hash ^= u64::from(*byte).wrapping_mul(PRIME_5);
        hash = hash.rotate_left(11).wrapping_mul(PRIME_1);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(PRIME_2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(PRIME_3);
    hash ^ (hash >> 32)
}

fn lanes(stripes: &[[u8; 32]], seed: u64) -> u64 {
    let mut lanes = [
        seed.wrapping_add(PRIME_1).wrapping_add(PRIME_2),
        seed.wrapping_add(PRIME_2),
        seed,
        seed.wrapping_sub(PRIME_1),
    ];
    for stripe in stripes {
        for (lane, word) in lanes.iter_mut().zip(stripe.as_chunks::<8>().0) {
            *lane = round(*lane, u64::from_le_bytes(*word));
        }
    }
    let turns = [1, 7, 12, 18];
    let turned = lanes.iter().zip(turns);
    let sum = turned.fold(0_u64, |sum, (lane, turn)| {
        sum.wrapping_add(lane.rotate_left(turn))
    });
    lanes.iter().fold(sum, |hash, lane| {
        (hash ^ round(0, *lane))
            .wrapping_mul(PRIME_1)
            .wrapping_add(PRIME_4)
    })
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIME_2))
        .rotate_left(31)
        .wrapping_mul(PRIME_1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_of_the_algorithm() {
        assert_eq!(hash_of(b""), 0xEF46_DB37_51D8_E999);
        assert_eq!(hash_of(b"a"), 0xD24E_C4F1_A98C_6E5B);
        assert_eq!(hash_of(b"abc"), 0x44BC_2CF5_AD77_0999);
        assert_eq!(
            hash_of(b"Nobody inspects the spammish repetition"),
            0xFBCE_A83C_8A37_8BF1
        );
    }
}
