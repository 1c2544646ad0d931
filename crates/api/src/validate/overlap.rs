//! What overlaps among many hosts or localities, found in little time however many there are.
//!
//! Whoever may write an object may write one of a megabyte, and it is judged while others wait: to
//! compare each entry with each other would take minutes.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};

use lateen_model::HostPattern;

/// Texts with the index of the first entry that has each.
#[derive(Debug, Default)]
pub(super) struct Prefixes(BTreeMap<String, usize>);

/// Hosts by their ends.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// Each backwards, so that those with the same end stand together.
    exact: Prefixes,
    wildcards: Prefixes,
}

// === impl Prefixes ===

impl Prefixes {
    pub(super) fn insert(&mut self, text: String, index: usize) {
        self.0.entry(text).or_insert(index);
    }

    /// An entry that `text` begins with.
    pub(super) fn of(&self, text: &str) -> Option<usize> {
        self.0.get(text).copied().or_else(|| self.shorter(text))
    }

    /// An entry that `text` begins with and goes on after.
    fn shorter(&self, text: &str) -> Option<usize> {
        let mut end = Excluded(text);
        loop {
            // What is before `text` in order and shares most with it.
            let (key, index) = self.0.range::<str, _>((Unbounded, end)).next_back()?;
            let rest = match end {
                Excluded(rest) | Included(rest) => rest,
                Unbounded => return None,
            };
            if rest.starts_with(key.as_str()) {
                return Some(*index);
            }
            end = Included(common(rest, key));
        }
    }

    /// An entry that begins with `text` and goes on after.
    pub(super) fn longer(&self, text: &str) -> Option<usize> {
        let from = (Excluded(text), Unbounded);
        let (key, index) = self.0.range::<str, _>(from).next()?;
        key.starts_with(text).then_some(*index)
    }
}

/// What both begin with.
fn common<'a>(a: &'a str, b: &str) -> &'a str {
    let mut pairs = a.char_indices().zip(b.chars());
    let end = pairs.find(|((_, x), y)| x != y);
    &a[..end.map_or(a.len().min(b.len()), |((at, _), _)| at)]
}

// === impl Hosts ===

impl Hosts {
    pub(super) fn insert(&mut self, pattern: &HostPattern, index: usize) {
        let (text, is_exact) = backwards(pattern);
        let hosts = if is_exact {
            &mut self.exact
        } else {
            &mut self.wildcards
        };
        hosts.insert(text, index);
    }

    /// An entry that has every host of `pattern`.
    pub(super) fn covering(&self, pattern: &HostPattern) -> Option<usize> {
        let (text, is_exact) = backwards(pattern);
        if is_exact {
            let same = self.exact.0.get(&text).copied();
            return same.or_else(|| self.wildcards.shorter(&text));
        }
        self.wildcards.of(&text)
    }

    /// An entry that has a host of `pattern`.
    pub(super) fn overlapping(&self, pattern: &HostPattern) -> Option<usize> {
        self.covering(pattern).or_else(|| {
            let (text, is_exact) = backwards(pattern);
            if is_exact {
                return None;
            }
            let exact = self.exact.longer(&text);
            exact.or_else(|| self.wildcards.longer(&text))
        })
    }
}

/// The text of a host, backwards and without its `*`, and whether it had none.
fn backwards(pattern: &HostPattern) -> (String, bool) {
    let (text, is_exact) = match pattern {
        HostPattern::Any => ("", false),
        HostPattern::Suffix(suffix) => (suffix.as_str(), false),
        HostPattern::Exact(host) => (host.as_str(), true),
    };
    (text.chars().rev().collect(), is_exact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_overlap_as_if_each_was_compared_with_each() {
        let texts = [
            "*",
            "*.com",
            "*a.com",
            "*.a.com",
            "a.com",
            "b.a.com",
            "ba.com",
            "c.b.a.com",
            "*.b.a.com",
            "com",
            "d.org",
            "*.org",
            "*é.org",
            "é.org",
            "xé.org",
            "*è.org",
            "1.2.3.4",
        ];
        let patterns = texts.map(HostPattern::literal);
        for (i, earlier) in patterns.iter().enumerate() {
            for (j, second) in patterns.iter().enumerate() {
                let mut hosts = Hosts::default();
                hosts.insert(earlier, i);
                hosts.insert(second, j);
                for pattern in &patterns {
                    let naive = [earlier, second].into_iter();
                    let overlaps = naive.clone().any(|one| one.intersect(pattern).is_some());
                    let covers = naive.clone().any(|one| pattern.is_subset_of(one));
                    let text = format!("{pattern} among {earlier} and {second}");
                    let found = hosts.overlapping(pattern);
                    assert_eq!(found.is_some(), overlaps, "{text}");
                    if let Some(found) = found {
                        assert!(patterns[found].intersect(pattern).is_some(), "{text}");
                    }
                    assert_eq!(hosts.covering(pattern).is_some(), covers, "{text}");
                }
            }
        }
    }
}
