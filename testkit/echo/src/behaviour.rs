//! What a request asks of the server, by its query: `?status=503&times=2&key=a&delay=200&size=10`.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Behaviour {
    /// The status; 200 if not given.
    pub(crate) status: u16,
    /// Waits before the answer.
    pub(crate) delay: Duration,
    /// Closes the connection without an answer.
    pub(crate) resets: bool,
    /// Bytes of filling in the answer.
    pub(crate) size: usize,
    /// Only the first of this many requests with the same key are treated so.
    times: Option<usize>,
    key: String,
}

/// How many requests came with each key.
#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<HashMap<String, usize>>);

// === impl Behaviour ===

impl Behaviour {
    /// A plain answer.
    pub(crate) fn plain() -> Self {
        Self {
            status: 200,
            delay: Duration::ZERO,
            resets: false,
            size: 0,
            times: None,
            key: String::new(),
        }
    }

    /// Reads a query; what is no number is not asked for.
    pub(crate) fn of(query: &str, counts: &Counts) -> Self {
        let mut wanted = Self::plain();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "status" => wanted.status = value.parse().unwrap_or(200),
                "delay" => wanted.delay = Duration::from_millis(value.parse().unwrap_or(0)),
                "reset" => wanted.resets = true,
                "size" => wanted.size = value.parse().unwrap_or(0),
                "times" => wanted.times = value.parse().ok(),
                "key" => wanted.key = value.into_owned(),
                _ => {}
            }
        }
        let seen = counts.next(&wanted.key);
        if wanted.times.is_some_and(|times| seen >= times) {
            return Self {
                size: wanted.size,
                ..Self::plain()
            };
        }
        wanted
    }
}

// === impl Counts ===

impl Counts {
    /// How many came with this key before.
    fn next(&self, key: &str) -> usize {
        let mut counts = match self.0.lock() {
            Ok(counts) => counts,
            Err(poisoned) => poisoned.into_inner(),
        };
        let count = counts.entry(key.to_owned()).or_default();
        *count += 1;
        *count - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_requests_of_a_key_are_treated_as_asked_and_the_next_plainly() {
        let counts = Counts::default();
        let query = "status=503&times=2&key=a";
        let statuses: Vec<u16> = (0..3)
            .map(|_| Behaviour::of(query, &counts).status)
            .collect();
        assert_eq!(statuses, [503, 503, 200]);
        assert_eq!(Behaviour::of("status=500", &counts).status, 500);
    }
}
