//! Kubernetes' quantities: `500m`, `128Mi`, `1e3`.

/// Thousandths of a unit, which is as fine as anything here asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Milli(pub(crate) i128);

// === impl Milli ===

impl Milli {
    /// Reads a quantity; `None` if it is none. What is finer than a thousandth is rounded up.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let end = text
            .find(|symbol: char| !(symbol.is_ascii_digit() || "+-.".contains(symbol)))
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{whole}{fraction}");
        let mut value: i128 = digits.parse().ok()?;
        let (binary, mut decimal) = scale(suffix)?;
        value = value.checked_mul(binary)?;
        decimal += 3 - i32::try_from(fraction.len()).ok()?;
        for _ in 0..decimal {
            value = value.checked_mul(10)?;
        }
        for _ in decimal..0 {
            value = value.div_euclid(10) + i128::from(value.rem_euclid(10) != 0);
        }
        Some(Self(value))
    }

    /// How many divisors it is, rounded up, as the downward API answers.
    pub(crate) fn in_units_of(self, divisor: Self) -> i128 {
        if divisor.0 <= 0 {
            return 0;
        }
        self.0.div_euclid(divisor.0) + i128::from(self.0.rem_euclid(divisor.0) != 0)
    }
}

/// A suffix as a factor and a power of ten.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => {
            let power = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (-30..=30).contains(&power).then_some((1, power))?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milli(text: &str) -> Option<i128> {
        Milli::parse(text).map(|quantity| quantity.0)
    }

    #[test]
    fn every_notation_is_read() {
        let cases = [
            ("2", 2000),
            ("500m", 500),
            ("0.5", 500),
            ("1.5Ki", 1_536_000),
            ("128Mi", 134_217_728_000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
            ("1E", 1_000_000_000_000_000_000_000),
            ("100u", 1),
            ("-1", -1000),
        ];
        for (text, value) in cases {
            assert_eq!(milli(text), Some(value), "{text}");
        }
        for text in ["", "m", "1x", "1e99", "1..2", "1.2.3", "Ki"] {
            assert_eq!(milli(text), None, "{text}");
        }
    }

    #[test]
    fn parts_of_a_divisor_count_as_a_whole() {
        let parse = |text| Milli::parse(text).unwrap();
        assert_eq!(parse("100m").in_units_of(parse("1")), 1);
        assert_eq!(parse("100m").in_units_of(parse("1m")), 100);
        assert_eq!(parse("128Mi").in_units_of(parse("1Mi")), 128);
        assert_eq!(parse("1").in_units_of(parse("0")), 0);
    }
}
