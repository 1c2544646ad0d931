//! Numbers with a meaning: durations, shares and statuses.

use std::time::Duration;

use lateen_model::Percent;

use super::wire::Fault;

/// Writes a duration in nanoseconds; 584 years is the longest.
pub(super) fn wire_duration(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Writes a duration that may be unset.
pub(super) fn wire_optional_duration(duration: Option<Duration>) -> Option<u64> {
    duration.map(wire_duration)
}

/// Reads a duration.
pub(super) fn duration(nanoseconds: u64) -> Duration {
    Duration::from_nanos(nanoseconds)
}

/// Reads a duration that may be unset.
pub(super) fn optional_duration(nanoseconds: Option<u64>) -> Option<Duration> {
    nanoseconds.map(duration)
}

/// Reads a duration that may not be zero.
pub(super) fn positive_duration(nanoseconds: u64, part: &str) -> Result<Duration, Fault> {
    if nanoseconds == 0 {
        return Err(Fault::new("must be more than zero").at(part));
    }
    Ok(duration(nanoseconds))
}

/// Reads a share.
pub(super) fn percent(millionths: u32, part: &str) -> Result<Percent, Fault> {
    if millionths > Percent::ALL.millionths() {
        return Err(Fault::new(format!("{millionths} millionths are more than all")).at(part));
    }
    Ok(Percent::from_millionths(millionths))
}

/// Reads a status of HTTP, which has three digits.
pub(super) fn status(number: u32, part: &str) -> Result<u16, Fault> {
    u16::try_from(number)
        .ok()
        .filter(|status| (100..=999).contains(status))
        .ok_or_else(|| Fault::new(format!("{number} is not a status of HTTP")).at(part))
}

/// Reads a number that may not be zero.
pub(super) fn positive(number: Option<u32>, part: &str) -> Result<Option<u32>, Fault> {
    if number == Some(0) {
        return Err(Fault::new("must be more than zero, or unset").at(part));
    }
    Ok(number)
}
