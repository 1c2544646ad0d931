//! The index of one virtual host: which entry, in the order of the rules, is the first to match.
//!
//! Rules are a list and the first match wins, but reading the list costs its length. Here a radix
//! tree over the exact paths and prefixes yields the few *buckets* whose path condition holds;
//! in a bucket, entries that need an exact value (a header, the method, a query parameter) are
//! found by that value. Every entry found so is checked whole, and the lowest index wins, so the
//! order in which buckets are searched does not matter. Regular expressions for paths are tried
//! one after the other, and only those before the best entry so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::condition::{Entry, PathTest, Request, Subject, Test};
use crate::facts::Facts;
use crate::hosts::FixedMap;
use crate::trie::{Builder, Trie};

/// No entry.
const NONE: u32 = u32::MAX;

/// Guarded entries of one bucket up to which reading them in order is cheapest.
const LINEAR: usize = 6;

/// Groups of one bucket up to which each is asked in turn; with more, the request's own headers
/// and parameters are looked up instead.
const ASKED_IN_TURN: usize = 12;

/// The index; see the module.
#[derive(Debug)]
pub(crate) struct Matcher {
    entries: Box<[Arc<Entry>]>,
    paths: Trie,
    /// Paths in lower case, for entries that ignore case.
    folded: Trie,
    buckets: Box<[Bucket]>,
    /// Entries whose path is a regular expression.
    expressions: Box<[u32]>,
}

/// The entries that share one path condition.
#[derive(Debug, Default)]
struct Bucket {
    /// The first entry without guards; those after it can never match and are left out.
    open: u32,
    /// Entries by an exact value that they need.
    groups: Box<[Group]>,
    /// The groups by name, if there are many.
    by_name: Option<Box<ByName>>,
    /// The other guarded entries.
    rest: Box<[u32]>,
}

/// The entries of a bucket that need something of one subject.
#[derive(Debug)]
struct Group {
    subject: Subject,
    /// The lowest entry of the group.
    lowest: u32,
    /// By the exact value that they need.
    values: FixedMap<Box<[u8]>, Box<[u32]>>,
    /// Those that need it to be there.
    present: Box<[u32]>,
}

/// An entry of a group, with the exact value that it needs if it needs one.
type Member = (u32, Option<Box<[u8]>>);

/// Where the groups of a bucket are.
#[derive(Debug, Default)]
struct ByName {
    headers: FixedMap<Box<[u8]>, u32>,
    parameters: FixedMap<Box<[u8]>, u32>,
    /// Groups of what every request has: method, scheme, authority, path.
    always: Vec<u32>,
}

// === impl Matcher ===

impl Matcher {
    /// Compiles the entries of a virtual host in the order of its rules.
    pub(crate) fn compile(entries: Vec<Arc<Entry>>) -> Self {
        let mut drafts: Vec<Vec<u32>> = Vec::new();
        let mut paths = Builder::new();
        let mut folded = Builder::new();
        let mut expressions = Vec::new();
        for (index, entry) in (0..).zip(&entries) {
            let slot = |drafts: &mut Vec<Vec<u32>>| {
                drafts.push(Vec::new());
                u32::try_from(drafts.len() - 1).unwrap_or(NONE)
            };
            let bucket = match &entry.path {
                PathTest::Any => paths.prefix(b"", || slot(&mut drafts)),
                PathTest::Exact { text, folds_case } => {
                    let tree = if *folds_case { &mut folded } else { &mut paths };
                    tree.exact(text, || slot(&mut drafts))
                }
                PathTest::Prefix { text, folds_case } => {
                    let tree = if *folds_case { &mut folded } else { &mut paths };
                    tree.prefix(text, || slot(&mut drafts))
                }
                PathTest::Regex(_) => {
                    expressions.push(index);
                    continue;
                }
            };
            drafts[bucket as usize].push(index);
        }
        let buckets = drafts.iter().map(|draft| Bucket::compile(draft, &entries));
        Self {
            buckets: buckets.collect(),
            entries: entries.into(),
            paths: paths.build(),
            folded: folded.build(),
            expressions: expressions.into(),
        }
    }

    /// The first entry that matches; `space` is for the path in lower case.
    pub(crate) fn find<F: Facts>(
        &self,
        request: &mut Request<'_, F>,
        space: &mut Vec<u8>,
    ) -> Option<u32> {
        let mut best = NONE;
        let path = request.path;
        self.paths.walk(path, |bucket| {
            self.buckets[bucket as usize].search(&self.entries, request, &mut best);
        });
        if !self.folded.is_empty() {
            space.clear();
            space.extend(path.iter().map(u8::to_ascii_lowercase));
            self.folded.walk(space, |bucket| {
                self.buckets[bucket as usize].search(&self.entries, request, &mut best);
            });
        }
        for index in &self.expressions {
            if *index >= best {
                break;
            }
            if self.entries[*index as usize].check(request).is_ok() {
                best = *index;
            }
        }
        (best != NONE).then_some(best)
    }

    /// Every entry in order.
    pub(crate) fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }
}

// === impl Bucket ===

impl Bucket {
    fn compile(indexes: &[u32], entries: &[Arc<Entry>]) -> Self {
        let guards = |index: &u32| &entries[*index as usize].guards;
        let open = indexes.iter().position(|index| guards(index).is_empty());
        let guarded = &indexes[..open.unwrap_or(indexes.len())];
        let open = open.map_or(NONE, |at| indexes[at]);
        if guarded.len() <= LINEAR {
            return Self {
                open,
                rest: guarded.into(),
                ..Self::default()
            };
        }
        let variety = variety(guarded, entries);
        let mut drafts: BTreeMap<Subject, Vec<Member>> = BTreeMap::new();
        let mut rest = Vec::new();
        for index in guarded {
            match most_selective(&entries[*index as usize], &variety) {
                Some((subject, value)) => {
                    let members = drafts.entry(subject.clone()).or_default();
                    members.push((*index, value.map(Into::into)));
                }
                None => rest.push(*index),
            }
        }
        let groups: Box<[Group]> = drafts
            .into_iter()
            .map(|(subject, members)| Group::compile(subject, members))
            .collect();
        let by_name = (groups.len() > ASKED_IN_TURN).then(|| Box::new(ByName::compile(&groups)));
        Self {
            open,
            groups,
            by_name,
            rest: rest.into(),
        }
    }

    /// Lowers `best` to the bucket's first entry that matches, if it is lower.
    #[inline]
    fn search<F: Facts>(
        &self,
        entries: &[Arc<Entry>],
        request: &mut Request<'_, F>,
        best: &mut u32,
    ) {
        *best = (*best).min(self.open);
        first_of(&self.rest, entries, request, best);
        match &self.by_name {
            None => {
                for group in &self.groups {
                    group.search(entries, request, best);
                }
            }
            Some(by_name) => by_name.search(&self.groups, entries, request, best),
        }
    }
}

/// Lowers `best` to the first of `indexes` that matches, if it is lower.
#[inline]
fn first_of<F: Facts>(
    indexes: &[u32],
    entries: &[Arc<Entry>],
    request: &mut Request<'_, F>,
    best: &mut u32,
) {
    for index in indexes {
        if *index >= *best {
            return;
        }
        if entries[*index as usize].check_guards(request).is_ok() {
            *best = *index;
            return;
        }
    }
}

/// How many different exact values the entries need, by subject.
fn variety<'e>(indexes: &[u32], entries: &'e [Arc<Entry>]) -> BTreeMap<&'e Subject, usize> {
    let mut values: BTreeMap<&Subject, std::collections::BTreeSet<&[u8]>> = BTreeMap::new();
    for index in indexes {
        for guard in &entries[*index as usize].guards {
            if let (Test::Exact(value), false) = (&guard.test, guard.is_negated) {
                values.entry(&guard.subject).or_default().insert(value);
            }
        }
    }
    let counts = values
        .into_iter()
        .map(|(subject, set)| (subject, set.len()));
    counts.collect()
}

/// The guard of an entry that tells it best from others: an exact value of the subject with the
/// greatest variety, else a header or parameter that must be there at all.
fn most_selective<'e>(
    entry: &'e Entry,
    variety: &BTreeMap<&Subject, usize>,
) -> Option<(&'e Subject, Option<&'e [u8]>)> {
    let positive = entry.guards.iter().filter(|guard| !guard.is_negated);
    let exact = positive.clone().filter_map(|guard| match &guard.test {
        Test::Exact(value) => Some((&guard.subject, &**value)),
        Test::Present | Test::Prefix(_) | Test::Regex(_) => None,
    });
    let best = exact.max_by_key(|(subject, _)| variety.get(subject).copied().unwrap_or(0));
    if let Some((subject, value)) = best {
        return Some((subject, Some(value)));
    }
    positive
        .map(|guard| &guard.subject)
        .find(|subject| matches!(subject, Subject::Header(_) | Subject::Query(_)))
        .map(|subject| (subject, None))
}

// === impl Group ===

impl Group {
    fn compile(subject: Subject, members: Vec<Member>) -> Self {
        let lowest = members.first().map_or(NONE, |(index, _)| *index);
        let mut values: FixedMap<Box<[u8]>, Vec<u32>> = FixedMap::default();
        let mut present = Vec::new();
        for (index, value) in members {
            match value {
                Some(value) => values.entry(value).or_default().push(index),
                None => present.push(index),
            }
        }
        let values = values.into_iter().map(|(value, list)| (value, list.into()));
        Self {
            subject,
            lowest,
            values: values.collect(),
            present: present.into(),
        }
    }

    #[inline]
    fn search<F: Facts>(
        &self,
        entries: &[Arc<Entry>],
        request: &mut Request<'_, F>,
        best: &mut u32,
    ) {
        if self.lowest >= *best {
            return;
        }
        let list = request.with_value(&self.subject, |value| {
            value.map(|value| self.values.get(value))
        });
        if let Some(list) = list {
            let list = list.map(|list| &**list).unwrap_or_default();
            first_of(list, entries, request, best);
            first_of(&self.present, entries, request, best);
        }
    }
}

// === impl ByName ===

impl ByName {
    fn compile(groups: &[Group]) -> Self {
        let mut index = Self::default();
        for (at, group) in (0..).zip(groups) {
            match &group.subject {
                Subject::Header(name) => {
                    index.headers.insert(name.as_bytes().into(), at);
                }
                Subject::Query(name) => {
                    index.parameters.insert(name.as_bytes().into(), at);
                }
                Subject::Method | Subject::Scheme | Subject::Authority | Subject::PathAndQuery => {
                    index.always.push(at);
                }
            }
        }
        index
    }

    /// Searches the groups that the request has a name for. A name that comes twice is searched
    /// twice, which changes nothing.
    fn search<F: Facts>(
        &self,
        groups: &[Group],
        entries: &[Arc<Entry>],
        request: &mut Request<'_, F>,
        best: &mut u32,
    ) {
        for at in &self.always {
            groups[*at as usize].search(entries, request, best);
        }
        if !self.headers.is_empty() {
            let facts = request.facts;
            let mut lower = [0; 64];
            for (name, _) in facts.headers() {
                let found = match lower.get_mut(..name.len()) {
                    Some(lower) => {
                        lower.copy_from_slice(name);
                        lower.make_ascii_lowercase();
                        self.headers.get(&*lower)
                    }
                    // Names this long are rare; the copy is the price of the rarity.
                    None => self.headers.get(&*name.to_ascii_lowercase()),
                };
                if let Some(at) = found {
                    groups[*at as usize].search(entries, request, best);
                }
            }
        }
        if !self.parameters.is_empty() {
            for (name, _) in request.parameters() {
                if let Some(at) = self.parameters.get(name) {
                    groups[*at as usize].search(entries, request, best);
                }
            }
        }
    }
}
