//! Shares of requests.

use std::fmt;

use serde::Serialize;

/// A share of requests, in parts per million (Envoy's resolution): from 0 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Percent(u32);

// === impl Percent ===

impl Percent {
    /// None.
    pub const ZERO: Self = Self(0);
    /// All.
    pub const ALL: Self = Self(Self::WHOLE);

    const WHOLE: u32 = 1_000_000;

    /// A share in parts per million; at most all.
    pub fn from_millionths(millionths: u32) -> Self {
        Self(millionths.min(Self::WHOLE))
    }

    /// In parts per million.
    pub fn millionths(self) -> u32 {
        self.0
    }

    /// Decides by uniform bits, which are asked for only where both answers are possible.
    pub fn takes(self, random: impl FnOnce() -> u64) -> bool {
        match self {
            Self::ZERO => false,
            Self::ALL => true,
            Self(share) => {
                let point = (u128::from(random()) * u128::from(Self::WHOLE)) >> 64;
                point < u128::from(share)
            }
        }
    }
}

impl fmt::Display for Percent {
    /// Writes `12.5%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 10_000.0)
    }
}
