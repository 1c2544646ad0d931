//! Rules that can never be used because an earlier one takes everything that they match.
//!
//! A block of conditions covers a later one if each of its conditions follows from the later
//! one's. What cannot be told (regular expressions, above all) counts as not covered, so that
//! every finding is right. So does what would take too long to tell.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::object::Object;
use crate::problem::{Path, Problem};
use crate::spec::common::StringMatch;
use crate::spec::virtual_service::{HttpMatch, VirtualService};

/// How many comparisons one list is worth: all of a list of 2,800 rules, a fraction of a second.
/// An object may be so large that all of them would take minutes.
const COMPARISONS: usize = 4_000_000;

/// A rule, or one of its blocks, that is never used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Whether the whole rule is never used.
    pub(crate) is_whole_rule: bool,
    /// Where and why.
    pub(crate) problem: Problem,
}

/// The rules of a VirtualService that can never be used.
pub(crate) fn unreachable(object: Object<'_>) -> Vec<Finding> {
    if object
        .istio_kind()
        .is_none_or(|kind| kind.kind != "VirtualService")
    {
        return Vec::new();
    }
    let Ok(spec) = VirtualService::deserialize(object.spec()) else {
        return Vec::new();
    };
    let root = Path::Root("spec");
    let mut found = Vec::new();
    let http: Vec<&[HttpMatch]> = spec.http.iter().map(|r| r.matches.as_slice()).collect();
    let covers = |a: &HttpMatch, b: &HttpMatch| covers(a, b, &spec.gateways);
    rules(&http, covers, &root.field("http"), &mut found);
    let tls: Vec<_> = spec.tls.iter().map(|r| r.matches.as_slice()).collect();
    rules(&tls, |a, b| a == b, &root.field("tls"), &mut found);
    let tcp: Vec<_> = spec.tcp.iter().map(|r| r.matches.as_slice()).collect();
    rules(&tcp, |a, b| a == b, &root.field("tcp"), &mut found);
    found
}

/// Compares each block with those of earlier rules.
fn rules<T>(
    rules: &[&[T]],
    covers: impl Fn(&T, &T) -> bool,
    path: &Path<'_>,
    found: &mut Vec<Finding>,
) {
    let mut left = COMPARISONS;
    let mut catch_all: Option<usize> = None;
    let mut earlier: Vec<(usize, usize, &T)> = Vec::new();
    for (index, blocks) in rules.iter().enumerate() {
        let rule = path.index(index);
        if let Some(first) = catch_all {
            let reason = format!("is never used: {} matches everything", path.index(first));
            found.push(whole(rule.problem(reason)));
            continue;
        }
        if blocks.is_empty() {
            catch_all = Some(index);
            continue;
        }
        let covered: Vec<(usize, Problem)> = blocks
            .iter()
            .enumerate()
            .filter_map(|(position, block)| {
                let compared = &earlier[..earlier.len().min(left)];
                let found = compared.iter().find(|(_, _, other)| covers(other, block));
                left -= compared.len();
                let (i, j, _) = found?;
                let other = format!("{}.match[{j}]", path.index(*i));
                let reason = format!("is never used: {other} matches the same requests before it");
                let matches = rule.field("match");
                Some((position, matches.index(position).problem(reason)))
            })
            .collect();
        if covered.len() == blocks.len() {
            let reason = format!(
                "is never used: earlier rules match the same requests ({})",
                covered[0].1.reason
            );
            found.push(whole(rule.problem(reason)));
        } else {
            let partly = covered.into_iter().map(|(_, problem)| Finding {
                is_whole_rule: false,
                problem,
            });
            found.extend(partly);
        }
        earlier.extend(
            blocks
                .iter()
                .enumerate()
                .map(|(j, block)| (index, j, block)),
        );
    }
}

fn whole(problem: Problem) -> Finding {
    Finding {
        is_whole_rule: true,
        problem,
    }
}

/// Answers whether every request that `b` matches is matched by `a`.
fn covers(a: &HttpMatch, b: &HttpMatch, gateways: &[String]) -> bool {
    let same_place = a.gateways == b.gateways
        || (a.gateways.is_empty() && b.gateways.iter().all(|name| gateways.contains(name)));
    // Callers are not looked at where gateways are given.
    let same_caller = !a.gateways.is_empty()
        || (contains(&b.source_labels, &a.source_labels)
            && (a.source_namespace.is_empty() || a.source_namespace == b.source_namespace));
    let ignores_case = a.ignore_uri_case;
    same_place
        && same_caller
        && a.port.is_none_or(|port| b.port == Some(port))
        && (a.ignore_uri_case || !b.ignore_uri_case || a.uri.is_none())
        && optional(a.uri.as_ref(), b.uri.as_ref(), ignores_case)
        && optional(a.scheme.as_ref(), b.scheme.as_ref(), false)
        && optional(a.method.as_ref(), b.method.as_ref(), false)
        && optional(a.authority.as_ref(), b.authority.as_ref(), false)
        && all_follow(&a.headers, &b.headers)
        && all_follow(&a.query_params, &b.query_params)
        && contains(&b.without_headers, &a.without_headers)
}

fn contains<V: PartialEq>(map: &BTreeMap<String, V>, part: &BTreeMap<String, V>) -> bool {
    part.iter().all(|(key, value)| map.get(key) == Some(value))
}

/// Answers whether each condition of `a` follows from one of `b` on the same name.
fn all_follow(a: &BTreeMap<String, StringMatch>, b: &BTreeMap<String, StringMatch>) -> bool {
    a.iter().all(|(name, condition)| {
        b.get(name)
            .is_some_and(|other| is_presence(condition) || follows(condition, other, false))
    })
}

fn is_presence(condition: &StringMatch) -> bool {
    *condition == StringMatch::default() || condition.regex.as_deref() == Some("*")
}

fn optional(a: Option<&StringMatch>, b: Option<&StringMatch>, ignores_case: bool) -> bool {
    let is_empty = |c: &StringMatch| *c == StringMatch::default();
    match (a.filter(|c| !is_empty(c)), b.filter(|c| !is_empty(c))) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(a), Some(b)) => follows(a, b, ignores_case),
    }
}

/// Answers whether what `b` matches, `a` matches.
fn follows(a: &StringMatch, b: &StringMatch, ignores_case: bool) -> bool {
    if a == b {
        return true;
    }
    let fold = |text: &str| {
        if ignores_case {
            text.to_lowercase()
        } else {
            text.to_owned()
        }
    };
    let b_text = b.exact.as_deref().or(b.prefix.as_deref()).map(fold);
    match (&a.exact, &a.prefix, b_text) {
        (Some(exact), _, Some(text)) => b.exact.is_some() && fold(exact) == text,
        (None, Some(prefix), Some(text)) => text.starts_with(&fold(prefix)),
        _ => false,
    }
}
