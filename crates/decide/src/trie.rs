//! A radix tree over bytes that answers, in one walk, which of many prefixes a key starts with
//! and whether the key is one of many exact ones.
//!
//! It holds numbers, never rules: what a number means is its owner's business. The tree is built
//! once and then laid out breadth first in three flat arrays, children side by side. A step of a
//! walk is one index by the next byte and, where a label is longer than that byte, one comparison:
//! nothing is searched, so a node with many children costs what one with few does.

use std::collections::{BTreeMap, VecDeque};

/// No value.
const NONE: u32 = u32::MAX;

/// The tree; see the module.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Box<[Node]>,
    /// For each node a run over the bytes that its children's labels begin with, from the lowest
    /// to the highest: one more than the child's place among them, or 0 where there is none.
    places: Box<[u8]>,
    /// The labels without their first bytes.
    labels: Box<[u8]>,
}

#[derive(Debug)]
struct Node {
    label_start: u32,
    /// Without the first byte.
    label_len: u32,
    children_start: u32,
    places_start: u32,
    places_len: u16,
    /// The byte that the run of places begins with.
    lowest: u8,
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
            let Some(child) = self.child(node, *byte) else {
                return;
            };
            node = child;
            rest = &rest[1..];
            if node.label_len > 0 {
                let label = node.label_start as usize;
                let label = &self.labels[label..label + node.label_len as usize];
                let Some(tail) = rest.strip_prefix(label) else {
                    return;
                };
                rest = tail;
            }
        }
    }

    /// The child whose label begins with `byte`.
    #[inline]
    fn child(&self, node: &Node, byte: u8) -> Option<&Node> {
        let offset = u16::from(byte).wrapping_sub(u16::from(node.lowest));
        if offset >= node.places_len {
            return None;
        }
        let place = self.places[node.places_start as usize + usize::from(offset)];
        let place = usize::from(place).checked_sub(1)?;
        self.nodes.get(node.children_start as usize + place)
    }

    /// Answers whether no key was ever added.
    pub(crate) fn is_empty(&self) -> bool {
        let root = &self.nodes[0];
        root.places_len == 0 && root.prefix == NONE && root.exact == NONE
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
        let mut places = Vec::new();
        let mut labels = Vec::new();
        let mut queue = VecDeque::from([0]);
        let mut next_child = 1;
        while let Some(index) = queue.pop_front() {
            let draft = &self.drafts[index];
            let label = draft.label.get(1..).unwrap_or_default();
            let (lowest, run) = draft.places();
            nodes.push(Node {
                label_start: small(labels.len()),
                label_len: small(label.len()),
                children_start: next_child,
                places_start: small(places.len()),
                places_len: u16::try_from(run.len()).expect("there are 256 bytes"),
                lowest,
                prefix: draft.prefix,
                exact: draft.exact,
            });
            labels.extend_from_slice(label);
            places.extend_from_slice(&run);
            next_child += small(draft.children.len());
            queue.extend(draft.children.values().copied());
        }
        Trie {
            nodes: nodes.into(),
            places: places.into(),
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

    /// The lowest byte that a child's label begins with, and the run of places from there.
    fn places(&self) -> (u8, Vec<u8>) {
        let (Some((lowest, _)), Some((highest, _))) = (
            self.children.first_key_value(),
            self.children.last_key_value(),
        ) else {
            return (0, Vec::new());
        };
        let mut run = vec![0; usize::from(highest - lowest) + 1];
        // Keys are text in UTF-8, which has no byte 0xFF: there are fewer than 255 children.
        for (place, byte) in (1..).zip(self.children.keys()) {
            run[usize::from(byte - lowest)] = place;
        }
        (*lowest, run)
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
