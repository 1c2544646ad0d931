//! A radix tree over bytes that answers, in one walk, which of many prefixes a key starts with
//! and whether the key is one of many exact ones.
//!
//! It holds numbers, never rules: what a number means is its owner's business. The tree is built
//! once and then laid out breadth first in three flat arrays, children side by side, so that a
//! walk touches one node, one run of first bytes and one label per step.

use std::collections::{BTreeMap, VecDeque};

/// No value.
const NONE: u32 = u32::MAX;

/// The tree; see the module.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Box<[Node]>,
    /// The first byte of each node's label, by node: children of one node are a sorted run.
    first_bytes: Box<[u8]>,
    labels: Box<[u8]>,
}

#[derive(Debug)]
struct Node {
    label_start: u32,
    label_len: u32,
    children_start: u32,
    children_len: u32,
    /// For keys that start with what the path to this node spells.
    prefix: u32,
    /// For the key that it spells exactly.
    exact: u32,
}

/// Collects keys for a [`Trie`].
#[derive(Debug)]
pub(crate) struct Builder {
    drafts: Vec<Draft>,
}

#[derive(Debug)]
struct Draft {
    label: Vec<u8>,
    children: BTreeMap<u8, usize>,
    prefix: u32,
    exact: u32,
}

// === impl Trie ===

impl Trie {
    /// Visits the value of every prefix of `key`, shortest first, then the value of `key` itself.
    #[inline]
    pub(crate) fn walk(&self, key: &[u8], mut visit: impl FnMut(u32)) {
        let mut node = &self.nodes[0];
        let mut rest = key;
        loop {
            if node.prefix != NONE {
                visit(node.prefix);
            }
            let Some(byte) = rest.first() else {
                if node.exact != NONE {
                    visit(node.exact);
                }
                return;
            };
            let start = node.children_start as usize;
            let run = &self.first_bytes[start..start + node.children_len as usize];
            let Some(at) = find(run, *byte) else {
                return;
            };
            node = &self.nodes[start + at];
            let label = node.label_start as usize;
            let label = &self.labels[label..label + node.label_len as usize];
            let Some(tail) = rest.strip_prefix(label) else {
                return;
            };
            rest = tail;
        }
    }

    /// Answers whether no key was ever added.
    pub(crate) fn is_empty(&self) -> bool {
        let root = &self.nodes[0];
        root.children_len == 0 && root.prefix == NONE && root.exact == NONE
    }
}

/// Finds a byte in a sorted run: short runs are cheaper to scan than to halve.
#[inline]
fn find(run: &[u8], byte: u8) -> Option<usize> {
    if run.len() <= 8 {
        run.iter().position(|candidate| *candidate == byte)
    } else {
        run.binary_search(&byte).ok()
    }
}

// === impl Builder ===

impl Builder {
    /// An empty tree.
    pub(crate) fn new() -> Self {
        Self {
            drafts: vec![Draft::new(Vec::new())],
        }
    }

    /// The slot for keys that start with `key`; filled by `fill` if it is new.
    pub(crate) fn prefix(&mut self, key: &[u8], fill: impl FnOnce() -> u32) -> u32 {
        let node = self.node(key);
        let slot = &mut self.drafts[node].prefix;
        if *slot == NONE {
            *slot = fill();
        }
        *slot
    }

    /// The slot for `key` itself; filled by `fill` if it is new.
    pub(crate) fn exact(&mut self, key: &[u8], fill: impl FnOnce() -> u32) -> u32 {
        let node = self.node(key);
        let slot = &mut self.drafts[node].exact;
        if *slot == NONE {
            *slot = fill();
        }
        *slot
    }

    /// Finds or makes the node that `key` spells.
    fn node(&mut self, key: &[u8]) -> usize {
        let mut node = 0;
        let mut rest = key;
        while let Some(&byte) = rest.first() {
            let Some(&child) = self.drafts[node].children.get(&byte) else {
                let leaf = self.drafts.len();
                self.drafts.push(Draft::new(rest.to_vec()));
                self.drafts[node].children.insert(byte, leaf);
                return leaf;
            };
            let label = &self.drafts[child].label;
            let shared = label.iter().zip(rest).take_while(|(a, b)| a == b).count();
            node = if shared == label.len() {
                child
            } else {
                self.split(node, child, shared)
            };
            rest = &rest[shared..];
        }
        node
    }

    /// Puts a node between `parent` and `child` that takes the first `at` bytes of the label.
    fn split(&mut self, parent: usize, child: usize, at: usize) -> usize {
        let tail = self.drafts[child].label.split_off(at);
        let head = std::mem::replace(&mut self.drafts[child].label, tail);
        let middle = self.drafts.len();
        self.drafts[parent].children.insert(head[0], middle);
        let mut draft = Draft::new(head);
        draft.children.insert(self.drafts[child].label[0], child);
        self.drafts.push(draft);
        middle
    }

    /// Lays the tree out.
    pub(crate) fn build(self) -> Trie {
        let mut nodes = Vec::with_capacity(self.drafts.len());
        let mut first_bytes = Vec::with_capacity(self.drafts.len());
        let mut labels = Vec::new();
        let mut queue = VecDeque::from([0]);
        let mut next_child = 1;
        while let Some(index) = queue.pop_front() {
            let draft = &self.drafts[index];
            nodes.push(Node {
                label_start: small(labels.len()),
                label_len: small(draft.label.len()),
                children_start: next_child,
                children_len: small(draft.children.len()),
                prefix: draft.prefix,
                exact: draft.exact,
            });
            first_bytes.push(draft.label.first().copied().unwrap_or(0));
            labels.extend_from_slice(&draft.label);
            next_child += small(draft.children.len());
            queue.extend(draft.children.values().copied());
        }
        Trie {
            nodes: nodes.into(),
            first_bytes: first_bytes.into(),
            labels: labels.into(),
        }
    }
}

// === impl Draft ===

impl Draft {
    fn new(label: Vec<u8>) -> Self {
        Self {
            label,
            children: BTreeMap::new(),
            prefix: NONE,
            exact: NONE,
        }
    }
}

/// Sizes of configuration fit 32 bits: it arrives in messages of at most 4 GiB.
fn small(size: usize) -> u32 {
    u32::try_from(size).expect("configuration is smaller than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visited(trie: &Trie, key: &str) -> Vec<u32> {
        let mut values = Vec::new();
        trie.walk(key.as_bytes(), |value| values.push(value));
        values
    }

    #[test]
    fn a_walk_yields_every_prefix_and_then_the_exact_key() {
        let mut builder = Builder::new();
        for (value, key) in ["", "/", "/api", "/apple", "/api/v1", "/b"]
            .iter()
            .enumerate()
        {
            builder.prefix(key.as_bytes(), || u32::try_from(value).expect("small"));
        }
        builder.exact(b"/api", || 100);
        builder.exact(b"/ap", || 101);
        let trie = builder.build();
        assert_eq!(visited(&trie, "/api"), [0, 1, 2, 100]);
        assert_eq!(visited(&trie, "/ap"), [0, 1, 101]);
        assert_eq!(visited(&trie, "/api/v1/x"), [0, 1, 2, 4]);
        assert_eq!(visited(&trie, "/applesauce"), [0, 1, 3]);
        assert_eq!(visited(&trie, "x"), [0]);
        assert_eq!(visited(&trie, ""), [0]);
    }

    #[test]
    fn a_slot_is_filled_once() {
        let mut builder = Builder::new();
        assert_eq!(builder.prefix(b"/a", || 1), 1);
        assert_eq!(builder.prefix(b"/a", || 2), 1);
        assert!(!builder.build().is_empty());
        assert!(Builder::new().build().is_empty());
    }
}
