//! Durations as users write them: `1h`, `1.5s`, `500ms`.

use schemars::JsonSchema;
use serde::Deserialize;

/// A duration: a decimal number with a unit (h, m, s, ms, us, ns), or several, such as `1m30s`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Duration(pub String);

impl Duration {
    /// Reads the text; zero is allowed.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse(&self) -> Result<std::time::Duration, String> {
        parse(&self.0)
    }
}

/// Units with their length in nanoseconds; the longer name of two with the same start comes first.
const UNITS: [(&str, u128); 7] = [
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("ns", 1),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
];

/// Reads a duration; zero is allowed, a negative one is not.
///
/// # Errors
/// Says what is wrong with the text.
pub fn parse(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || {
        format!("{text:?} is not a duration; write a number with a unit, such as 5s, 1.5s or 500ms")
    };
    if text.starts_with('-') {
        return Err(format!("{text:?} is negative; a duration cannot be"));
    }
    if text == "0" {
        return Ok(std::time::Duration::ZERO);
    }
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let (unit, length) = UNITS
            .iter()
            .find(|(unit, _)| after.starts_with(unit))
            .ok_or_else(wrong)?;
        let nanos = nanoseconds(number, *length).ok_or_else(wrong)?;
        total = total.checked_add(nanos).ok_or_else(wrong)?;
        rest = &after[unit.len()..];
    }
    // Ten thousand years, the limit of the wire format that Istio uses.
    if text.is_empty() || total > 315_576_000_000 * 1_000_000_000 {
        return Err(wrong());
    }
    let seconds = u64::try_from(total / 1_000_000_000).map_err(|_| wrong())?;
    let nanos = u32::try_from(total % 1_000_000_000).map_err(|_| wrong())?;
    Ok(std::time::Duration::new(seconds, nanos))
}

/// `number` (with at most one point) times `unit`, cut off below a nanosecond.
fn nanoseconds(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || number.len() > 32 || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut nanos = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.bytes() {
        place /= 10;
        nanos = nanos.checked_add(place.checked_mul(u128::from(digit - b'0'))?)?;
    }
    Some(nanos)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn durations_are_numbers_with_units() {
        let millis = |text: &str| parse(text).map(|d| d.as_millis());
        assert_eq!(millis("5s"), Ok(5_000));
        assert_eq!(millis("0.5s"), Ok(500));
        assert_eq!(millis("1h1m1s1ms"), Ok(3_661_001));
        assert_eq!(millis(".5m"), Ok(30_000));
        assert_eq!(millis("0s"), Ok(0));
        assert_eq!(parse("1us").map(|d| d.as_nanos()), Ok(1_000));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "-1s",
            "1.2.3s",
            "5x",
            "99999999999999999999h",
            ".",
        ] {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
