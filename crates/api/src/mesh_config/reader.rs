//! Reads a map field by field.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::fields::Fields;
use crate::problem::{Path, Report, closest};
use crate::spec::duration;

/// Reads the fields of a map one by one and notes what is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) map: &'a Map<String, Value>,
    pub(super) path: Path<'a>,
    pub(super) report: &'a mut Report,
}

// === impl Reader ===

impl Reader<'_> {
    /// Warns of fields that are unknown or not in effect.
    pub(super) fn known(&mut self, fields: &Fields) {
        for name in self.map.keys() {
            let path = self.path.field(name);
            if fields.other.contains(&name.as_str()) {
                self.report.warn(&path, crate::validate::NOT_IN_EFFECT);
            } else if !fields.in_effect.contains(&name.as_str()) {
                let known = fields.in_effect.iter().chain(fields.other).copied();
                let hint = closest(name, known)
                    .map(|meant| format!("; did you mean {meant:?}?"))
                    .unwrap_or_default();
                self.report
                    .warn(&path, format!("unknown field, ignored{hint}"));
            }
        }
    }

    /// The value of a field, if `read` understands it; null is as good as absent.
    pub(super) fn field<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.map.get(name).filter(|value| !value.is_null())?;
        let read = read(value);
        if read.is_none() {
            self.report
                .error(&self.path.field(name), format!("{value} is not {expected}"));
        }
        read
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.field(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn nonempty(&mut self, name: &str) -> Option<String> {
        self.field(name, "a text that is not empty", |value| {
            let text = value.as_str().filter(|text| !text.is_empty());
            text.map(str::to_owned)
        })
    }

    /// A part that objects of users have, too. Fields of it that are unknown are ignored.
    pub(super) fn part<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let value = self.map.get(name).filter(|value| !value.is_null())?;
        match T::deserialize(value) {
            Ok(part) => Some(part),
            Err(error) => {
                self.report.error(&self.path.field(name), error.to_string());
                None
            }
        }
    }

    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        self.field(name, "true or false", Value::as_bool)
    }

    pub(super) fn number(&mut self, name: &str) -> Option<u32> {
        self.field(name, "a whole number from 0", |value| {
            value.as_u64().and_then(|n| u32::try_from(n).ok())
        })
    }

    pub(super) fn object(&mut self, name: &str) -> Option<Map<String, Value>> {
        self.field(name, "a map", |value| value.as_object().cloned())
    }

    pub(super) fn duration(&mut self, name: &str) -> Option<Duration> {
        self.field(name, "a duration such as 5s", |value| {
            duration::parse(value.as_str()?).ok()
        })
    }

    pub(super) fn choice(&mut self, name: &str, allowed: &[&str]) -> Option<String> {
        let expected = format!("one of {}", allowed.join(", "));
        self.field(name, &expected, |value| {
            value
                .as_str()
                .filter(|text| allowed.contains(text))
                .map(str::to_owned)
        })
    }

    pub(super) fn strings(&mut self, name: &str) -> Option<Vec<String>> {
        self.field(name, "a list of strings", |value| {
            value
                .as_array()?
                .iter()
                .map(|entry| entry.as_str().map(str::to_owned))
                .collect()
        })
    }
}
