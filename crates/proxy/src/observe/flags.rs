//! `response_flags`: why a request ended as it did, with what befell it on the way.

use lateen_model::Reason;

/// The flags of an exchange or a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags {
    /// Why it ended as it did, unless it ended well.
    pub reason: Option<Reason>,
    /// A fault delayed it.
    pub was_delayed: bool,
    /// Retries were due, but none was left or allowed.
    pub is_exhausted: bool,
}

/// Envoy's flags in the order in which it writes them.
const ORDER: [&str; 17] = [
    "UH", "UT", "UF", "UC", "UO", "NR", "DI", "FI", "DC", "URX", "SI", "DPE", "DT", "UPE", "NC",
    "OM", "DF",
];

// === impl Flags ===

impl Flags {
    /// Only a reason.
    pub fn of(reason: Option<Reason>) -> Self {
        Self {
            reason,
            ..Self::default()
        }
    }

    /// Writes the flags as Envoy does: `-`, `UF`, or `UF,URX`.
    pub fn write(self, into: &mut impl std::fmt::Write) -> std::fmt::Result {
        let reason = self.reason.map_or("-", Reason::flag);
        let delayed = self.was_delayed.then(|| Reason::FaultDelay.flag());
        let exhausted = (self.is_exhausted).then(|| Reason::RetryLimitExceeded.flag());
        let all = [Some(reason), delayed, exhausted];
        let place = |flag: &str| ORDER.iter().position(|known| *known == flag);
        let mut places = all.map(|flag| flag.and_then(place));
        places.sort_unstable();
        let mut is_first = true;
        for place in places.into_iter().flatten() {
            if !is_first {
                into.write_char(',')?;
            }
            is_first = false;
            into.write_str(ORDER[place])?;
        }
        if is_first {
            into.write_char('-')?;
        }
        Ok(())
    }

    /// The words that say more (`RESPONSE_CODE_DETAILS`), unless it ended well.
    pub fn details(self) -> Option<&'static str> {
        self.reason.map(Reason::details)
    }
}

impl std::fmt::Display for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.write(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_with_a_flag_has_its_place() {
        for reason in Reason::ALL {
            let text = Flags::of(Some(reason)).to_string();
            assert_eq!(text, reason.flag(), "{reason:?}");
        }
        assert_eq!(Flags::default().to_string(), "-");
    }

    #[test]
    fn flags_are_joined_in_envoys_order() {
        let flags = Flags {
            reason: Some(Reason::UpstreamConnectionFailure),
            was_delayed: true,
            is_exhausted: true,
        };
        assert_eq!(flags.to_string(), "UF,DI,URX");
        let ended_well = Flags {
            is_exhausted: true,
            ..Flags::default()
        };
        assert_eq!(ended_well.to_string(), "URX");
    }
}
