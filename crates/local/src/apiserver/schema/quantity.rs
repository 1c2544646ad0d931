//! Quantities (`500m`, `1Gi`) in the canonical form that Kubernetes stores.

/// Decimal suffixes and their powers of ten.
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];

/// Binary suffixes and their powers of two.
const BINARY: [(&str, u32); 6] = [
    ("Ki", 10),
    ("Mi", 20),
    ("Gi", 30),
    ("Ti", 40),
    ("Pi", 50),
    ("Ei", 60),
];

/// Numbers are kept in billionths: the finest suffix is `n`.
const SCALE: i32 = 9;

/// Brings a quantity into canonical form; nothing if it is none.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let (digits, suffix) = split(text)?;
    if let Some((_, bits)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        let billionths = decimal(digits, 0)?.checked_mul(1_i128 << bits)?;
        return Some(format_binary(billionths));
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some(format_decimal(decimal(digits, *power)?));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let billionths = decimal(digits, exponent)?;
    Some(format_exponent(billionths))
}

/// The value of a quantity in thousandths, for comparisons.
pub(crate) fn thousandths(text: &str) -> Option<i128> {
    let (digits, suffix) = split(text)?;
    let bits = BINARY
        .iter()
        .find(|(name, _)| *name == suffix)
        .map(|(_, bits)| *bits);
    let power = DECIMAL
        .iter()
        .find(|(name, _)| *name == suffix)
        .map(|(_, power)| *power);
    let billionths = match (bits, power) {
        (Some(bits), _) => decimal(digits, 0)?.checked_mul(1_i128 << bits)?,
        (None, Some(power)) => decimal(digits, power)?,
        (None, None) => decimal(digits, suffix.strip_prefix(['e', 'E'])?.parse().ok()?)?,
    };
    Some(billionths / 1_000_000)
}

fn split(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|character: char| !(character.is_ascii_digit() || "+-.".contains(character)))
        .unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    digits
        .contains(|character: char| character.is_ascii_digit())
        .then_some((digits, suffix))
}

/// Reads a decimal number times a power of ten, in billionths, rounded up.
fn decimal(digits: &str, power: i32) -> Option<i128> {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i128 = all.parse().ok()?;
    let shift = SCALE + power - i32::try_from(fraction.len()).ok()?;
    let factor = 10_i128.checked_pow(shift.unsigned_abs());
    let scaled = if shift >= 0 {
        number.checked_mul(factor?)?
    } else {
        factor.map_or(i128::from(number > 0), |factor| {
            number / factor + i128::from(number % factor != 0)
        })
    };
    Some(sign * scaled)
}

fn format_decimal(billionths: i128) -> String {
    if billionths == 0 {
        return "0".into();
    }
    for (suffix, power) in DECIMAL.iter().rev() {
        let unit = 10_i128.pow((power + SCALE).unsigned_abs());
        if billionths % unit == 0 {
            return format!("{}{suffix}", billionths / unit);
        }
    }
    unreachable!("every number of billionths is a multiple of `n`")
}

fn format_exponent(billionths: i128) -> String {
    let mut exponent = 18;
    while exponent > -SCALE && billionths % 10_i128.pow((exponent + SCALE).unsigned_abs()) != 0 {
        exponent -= 3;
    }
    let number = billionths / 10_i128.pow((exponent + SCALE).unsigned_abs());
    if exponent == 0 || billionths == 0 {
        number.to_string()
    } else {
        format!("{number}e{exponent}")
    }
}

fn format_binary(billionths: i128) -> String {
    let one = 1_000_000_000;
    if billionths % one != 0 || billionths.abs() < 1024 * one {
        return format_decimal(billionths);
    }
    let number = billionths / one;
    let (suffix, bits) = BINARY
        .iter()
        .rev()
        .find(|(_, bits)| number % (1_i128 << bits) == 0)
        .copied()
        .unwrap_or(("", 0));
    format!("{}{suffix}", number >> bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms_are_those_of_kubernetes() {
        for (written, stored) in [
            ("0.5", "500m"),
            ("1", "1"),
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1000", "1k"),
            ("64Mi", "64Mi"),
            ("0", "0"),
            ("0.1Ki", "102400m"),
            ("1e3", "1e3"),
            ("100e3", "100e3"),
            ("-2", "-2"),
        ] {
            assert_eq!(canonical(written).as_deref(), Some(stored), "{written}");
        }
        for bad in ["", "x", "1X", "1.2.3", "--1", "1Mii"] {
            assert_eq!(canonical(bad), None, "{bad}");
        }
    }

    #[test]
    fn quantities_compare_across_suffixes() {
        assert!(thousandths("1Gi") > thousandths("1G"));
        assert_eq!(thousandths("1500m"), thousandths("1.5"));
    }
}
