//! Versions of resources: a hash of their bytes, equal in every control plane that has them.

use std::fmt;
use std::str::FromStr;

/// A 128-bit FNV-1a hash, written as 32 hexadecimal digits.
///
/// It tells changes apart and detects damage; it is no protection against an adversary, who could
/// at most hide a change of an object that is their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(u128);

const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

impl Version {
    /// The version of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mix = |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
        Self(bytes.iter().fold(OFFSET, mix))
    }

    /// The hash as bytes, most significant first.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Version {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // The test vectors of the FNV reference for 128 bits.
        assert_eq!(
            Version::of(b"").to_string(),
            "6c62272e07bb014262b821756295c58d"
        );
        assert_eq!(
            Version::of(b"a").to_string(),
            "d228cb696f1a8caf78912b704e4a8964"
        );
        assert_eq!(
            "d228cb696f1a8caf78912b704e4a8964".parse(),
            Ok(Version::of(b"a"))
        );
    }
}
