//! Builds values from the events of the parser.

use std::collections::HashMap;

use granit_parser::{Event, Marker, ScalarStyle, Tag};
use serde_json::{Map, Value};

use super::{Document, MAX_DEPTH, MAX_VALUES, scalar};

/// The lines of a value and of everything in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lines {
    line: usize,
    fields: Vec<(String, Lines)>,
    elements: Vec<Lines>,
}

/// A value that is complete, with its height (0 for a scalar) and its number of values.
#[derive(Clone)]
struct Node {
    value: Value,
    lines: Lines,
    height: usize,
    size: usize,
}

/// A collection that is being read.
struct Frame {
    /// `None` for a list.
    map: Option<Map<String, Value>>,
    list: Vec<Value>,
    /// The key whose value comes next, with its line.
    key: Option<(String, usize)>,
    /// Maps to take missing keys from (`<<`).
    merges: Vec<Map<String, Value>>,
    anchor: usize,
    lines: Lines,
    height: usize,
    size: usize,
}

/// Takes the events of a document one by one.
#[derive(Default)]
pub(super) struct Builder {
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    /// Values so far, over all documents.
    total: usize,
    start: usize,
}

// === impl Lines ===

impl Lines {
    /// The line of the field at `path`, or of the closest one around it.
    pub fn line_of(&self, path: &str) -> usize {
        self.find(path).line
    }

    /// The lines of the field at `path`, or of the closest one around it.
    #[must_use]
    pub fn at(&self, path: &str) -> Self {
        self.find(path).clone()
    }

    fn find(&self, path: &str) -> &Self {
        let mut at = self;
        let mut rest = path;
        while let Some((segment, is_index, after)) = next_segment(rest) {
            let element = || {
                segment
                    .parse::<usize>()
                    .ok()
                    .and_then(|i| at.elements.get(i))
            };
            let field = || {
                at.fields
                    .iter()
                    .find(|(key, _)| key == segment)
                    .map(|(_, l)| l)
            };
            let child = if is_index {
                element().or_else(field)
            } else {
                field()
            };
            let Some(child) = child else { break };
            at = child;
            rest = after;
        }
        at
    }
}

/// Splits off the first part of a path: a name, or what stands in brackets.
fn next_segment(path: &str) -> Option<(&str, bool, &str)> {
    let path = path.strip_prefix('.').unwrap_or(path);
    if let Some(inner) = path.strip_prefix('[') {
        let end = inner.find(']')?;
        return Some((&inner[..end], true, &inner[end + 1..]));
    }
    if path.is_empty() {
        return None;
    }
    let end = path.find(['.', '[']).unwrap_or(path.len());
    Some((&path[..end], false, &path[end..]))
}

// === impl Frame ===

impl Frame {
    fn new(map: Option<Map<String, Value>>, anchor: usize, line: usize) -> Self {
        Self {
            map,
            list: Vec::new(),
            key: None,
            merges: Vec::new(),
            anchor,
            lines: Lines {
                line,
                ..Lines::default()
            },
            height: 0,
            size: 1,
        }
    }

    /// Takes the next key or value.
    fn push(&mut self, node: Node, key: Option<String>) -> Result<(), String> {
        self.height = self.height.max(node.height + 1);
        self.size += node.size;
        let Some(map) = &mut self.map else {
            self.list.push(node.value);
            self.lines.elements.push(node.lines);
            return Ok(());
        };
        let Some((name, line)) = self.key.take() else {
            let name = key.ok_or("only text can be the key of a map here")?;
            if map.contains_key(&name) {
                return Err(format!("the key {name:?} appears twice in this map"));
            }
            self.key = Some((name, node.lines.line));
            return Ok(());
        };
        if name == "<<" {
            match node.value {
                Value::Object(map) => self.merges.push(map),
                Value::Array(list) => {
                    self.merges.extend(list.into_iter().filter_map(|v| match v {
                        Value::Object(map) => Some(map),
                        _ => None,
                    }));
                }
                _ => return Err("<< takes a map, or a list of maps".into()),
            }
            return Ok(());
        }
        // A field starts where its key does.
        let lines = Lines { line, ..node.lines };
        map.insert(name.clone(), node.value);
        self.lines.fields.push((name, lines));
        Ok(())
    }

    fn finish(self) -> Node {
        let value = match self.map {
            None => Value::Array(self.list),
            Some(mut map) => {
                for (key, value) in self.merges.into_iter().flatten() {
                    map.entry(key).or_insert(value);
                }
                Value::Object(map)
            }
        };
        Node {
            value,
            lines: self.lines,
            height: self.height,
            size: self.size,
        }
    }
}

// === impl Builder ===

impl Builder {
    /// Takes one event.
    pub(super) fn event(&mut self, event: Event<'_>, start: Marker) -> Result<(), String> {
        let line = start.line();
        match event {
            Event::DocumentStart(..) => self.start = line,
            Event::Scalar(text, style, anchor, tag) => {
                return self.scalar(&text, style, anchor, tag.as_deref(), line);
            }
            Event::Alias(id) => {
                let mut node = self.anchors.get(&id).cloned().ok_or("unknown alias")?;
                node.lines.line = line;
                self.total += node.size;
                let key = node.value.as_str().map(str::to_owned);
                return self.place(node, key);
            }
            Event::SequenceStart(_, anchor, _) => return self.open(None, anchor, line),
            Event::MappingStart(_, anchor, _) => return self.open(Some(Map::new()), anchor, line),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(frame) = self.stack.pop() else {
                    return Ok(());
                };
                let anchor = frame.anchor;
                let node = frame.finish();
                self.keep(anchor, &node);
                return self.place(node, None);
            }
            // Not asked for, or nothing to do.
            _ => {}
        }
        Ok(())
    }

    /// Ends a document; nothing if it was empty.
    pub(super) fn finish(&mut self) -> Option<Document> {
        self.anchors.clear();
        self.stack.clear();
        let root = self.root.take().filter(|root| !root.value.is_null())?;
        Some(Document {
            value: root.value,
            line: root.lines.line,
            lines: root.lines,
        })
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        line: usize,
    ) -> Result<(), String> {
        let is_text = style != ScalarStyle::Plain
            || tag.is_some_and(|tag| matches!(tag.suffix(), "str" | "binary"));
        let value = if is_text {
            Value::String(text.to_owned())
        } else {
            scalar::resolve(text)?
        };
        let node = Node {
            value,
            lines: Lines {
                line,
                ..Lines::default()
            },
            height: 0,
            size: 1,
        };
        self.total += 1;
        self.keep(anchor, &node);
        self.place(node, Some(text.to_owned()))
    }

    fn open(
        &mut self,
        map: Option<Map<String, Value>>,
        anchor: usize,
        line: usize,
    ) -> Result<(), String> {
        self.total += 1;
        self.stack.push(Frame::new(map, anchor, line));
        self.check(0)
    }

    fn keep(&mut self, anchor: usize, node: &Node) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
    }

    /// Puts a complete value where it belongs.
    fn place(&mut self, node: Node, key: Option<String>) -> Result<(), String> {
        self.check(node.height)?;
        if let Some(frame) = self.stack.last_mut() {
            frame.push(node, key)
        } else {
            self.root = Some(node);
            Ok(())
        }
    }

    fn check(&self, height: usize) -> Result<(), String> {
        if self.stack.len() + height > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        if self.total > MAX_VALUES {
            return Err(format!(
                "more than {MAX_VALUES} values, those of aliases included"
            ));
        }
        Ok(())
    }
}
