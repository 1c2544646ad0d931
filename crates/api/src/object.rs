//! The parts that every Kubernetes object has: its kind, its names, its labels, its age.

use std::sync::LazyLock;

use lateen_model::{Labels, ObjectRef, Source};
use serde_json::{Map, Value};

use crate::kinds::Kind;

/// A Kubernetes object as JSON, with the parts that every object has at hand.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a>(pub &'a Value);

impl<'a> Object<'a> {
    /// `apiVersion`; empty if missing.
    pub fn api_version(self) -> &'a str {
        self.0["apiVersion"].as_str().unwrap_or("")
    }

    /// The API group: what stands before the slash of `apiVersion`, empty for core.
    pub fn group(self) -> &'a str {
        self.api_version()
            .split_once('/')
            .map_or("", |(group, _)| group)
    }

    /// `kind`; empty if missing.
    pub fn kind(self) -> &'a str {
        self.0["kind"].as_str().unwrap_or("")
    }

    /// The kind in Istio's API, in whatever version.
    pub fn istio_kind(self) -> Option<&'static Kind> {
        Kind::of_object(self.api_version(), self.kind())
    }

    /// Answers whether the object is of this kind, in any version of the group.
    pub fn is(self, group: &str, kind: &str) -> bool {
        self.kind() == kind && self.group() == group
    }

    /// `metadata.name`; empty if missing.
    pub fn name(self) -> &'a str {
        self.metadata("name")
    }

    /// `metadata.namespace`; empty if missing or for objects of the cluster.
    pub fn namespace(self) -> &'a str {
        self.metadata("namespace")
    }

    /// `metadata.labels`.
    pub fn labels(self) -> Labels {
        string_map(self.0["metadata"]["labels"].as_object())
    }

    /// The value of a label.
    pub fn label(self, key: &str) -> Option<&'a str> {
        self.0["metadata"]["labels"].get(key)?.as_str()
    }

    /// The value of an annotation.
    pub fn annotation(self, key: &str) -> Option<&'a str> {
        self.0["metadata"]["annotations"].get(key)?.as_str()
    }

    /// `metadata.annotations`.
    pub fn annotations(self) -> Labels {
        string_map(self.0["metadata"]["annotations"].as_object())
    }

    /// `spec`; an empty one if it is missing, which means the same (`spec:` without a value is
    /// dropped by the API server).
    pub fn spec(self) -> &'a Value {
        static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));
        match &self.0["spec"] {
            Value::Null => &EMPTY,
            spec => spec,
        }
    }

    /// Kind, namespace and name.
    pub fn reference(self) -> ObjectRef {
        ObjectRef {
            kind: self.kind().to_owned(),
            namespace: self.namespace().to_owned(),
            name: self.name().to_owned(),
        }
    }

    /// The origin that resources made from this object carry.
    pub fn source(self) -> Source {
        Source {
            object: self.reference(),
            generation: self.0["metadata"]["generation"].as_i64().unwrap_or(0),
            created: unix_seconds(self.metadata("creationTimestamp")).unwrap_or(0),
        }
    }

    fn metadata(self, field: &str) -> &'a str {
        self.0["metadata"][field].as_str().unwrap_or("")
    }
}

/// The entries of a map whose values are strings.
pub(crate) fn string_map(map: Option<&Map<String, Value>>) -> Labels {
    let entries = map.into_iter().flatten();
    entries
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Reads an RFC 3339 time as Kubernetes writes it, in seconds since the Unix epoch.
pub fn unix_seconds(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        digits
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let rest = text
        .get(19..)?
        .trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let sign = match rest.get(..1)? {
                "+" => 1,
                "-" => -1,
                _ => return None,
            };
            let hours: i64 = rest.get(1..3)?.parse().ok()?;
            let minutes: i64 = rest.get(4..6)?.parse().ok()?;
            sign * (hours * 3600 + minutes * 60)
        }
    };
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

/// Days since the Unix epoch of a date of the Gregorian calendar; years start in March, so that
/// the leap day is the last one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_seconds_of_the_epoch() {
        assert_eq!(unix_seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(unix_seconds("2024-02-29T12:34:56Z"), Some(1_709_210_096));
        assert_eq!(
            unix_seconds("2024-02-29T14:34:56.789+02:00"),
            Some(1_709_210_096)
        );
        assert_eq!(unix_seconds("yesterday"), None);
        assert_eq!(unix_seconds("2024-13-01T00:00:00Z"), None);
    }
}
