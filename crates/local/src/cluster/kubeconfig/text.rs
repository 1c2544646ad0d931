//! Edits a kubeconfig as text: lines in, lines out, what is not touched stays as it was.
//!
//! It understands block style only, which is what kubectl, kind and people write, and does not
//! need to be right about anything else: its result is compared with what was meant.

use serde_json::Value;

/// A kubeconfig being edited.
#[derive(Debug)]
pub(super) struct Edit {
    lines: Vec<String>,
}

// === impl Edit ===

impl Edit {
    pub(super) fn new(text: &str) -> Self {
        Self {
            lines: text.lines().map(ToOwned::to_owned).collect(),
        }
    }

    /// Sets a top-level key to a scalar.
    pub(super) fn set(&mut self, key: &str, value: &Value) {
        let line = format!("{key}: {value}");
        match self.find(key) {
            Some(at) => self.lines[at] = line,
            None => self.lines.push(line),
        }
    }

    /// Sets a top-level key that is not there.
    pub(super) fn set_if_missing(&mut self, key: &str, value: &Value) {
        if self.find(key).is_none() {
            self.set(key, value);
        }
    }

    /// Appends an entry to a top-level list.
    pub(super) fn push(&mut self, list: &str, entry: &Value) {
        let start = self.find(list).unwrap_or_else(|| {
            self.lines.push(format!("{list}:"));
            self.lines.len() - 1
        });
        let items = self.items(start);
        let indent = items
            .first()
            .map_or(0, |item| indent_of(&self.lines[item.start]));
        let end = items.last().map_or(start + 1, |item| item.end);
        // `clusters: []` or `clusters: null` becomes the head of a block.
        self.lines[start] = format!("{list}:");
        self.lines.splice(end..end, lines_of(entry, indent));
    }

    /// Removes the entries of a list that have a name.
    pub(super) fn remove(&mut self, list: &str, name: &str) {
        let Some(start) = self.find(list) else { return };
        let items = self.items(start);
        let count = items.len();
        let named: Vec<_> = items
            .into_iter()
            .filter(|item| self.name_of(item.clone()).as_deref() == Some(name))
            .collect();
        if named.len() == count && count > 0 {
            self.lines[start] = format!("{list}: []");
        }
        for item in named.into_iter().rev() {
            self.lines.drain(item);
        }
    }

    pub(super) fn into_text(self) -> String {
        let mut text = self.lines.join("\n");
        text.push('\n');
        text
    }

    /// The line of a top-level key.
    fn find(&self, key: &str) -> Option<usize> {
        self.lines.iter().position(|line| {
            line.strip_prefix(key)
                .and_then(|rest| rest.strip_prefix(':'))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
    }

    /// The entries of the list whose key is on line `start`, each a range of lines.
    fn items(&self, start: usize) -> Vec<std::ops::Range<usize>> {
        let mut items: Vec<std::ops::Range<usize>> = Vec::new();
        let mut indent = None;
        for (at, line) in self.lines.iter().enumerate().skip(start + 1) {
            let text = line.trim_start();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let depth = indent_of(line);
            let is_item =
                (text == "-" || text.starts_with("- ")) && *indent.get_or_insert(depth) == depth;
            if is_item {
                items.push(at..at + 1);
            } else if indent.is_none_or(|indent| depth <= indent) {
                break;
            } else if let Some(last) = items.last_mut() {
                last.end = at + 1;
            }
        }
        items
    }

    fn name_of(&self, item: std::ops::Range<usize>) -> Option<String> {
        let text = self.lines[item].join("\n");
        let entries: Vec<Value> = serde_saphyr::from_str(&text).ok()?;
        entries.first()?["name"].as_str().map(ToOwned::to_owned)
    }
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// An entry of scalars and mappings of scalars as lines of a block list.
fn lines_of(entry: &Value, indent: usize) -> Vec<String> {
    let pad = " ".repeat(indent);
    let mut lines = Vec::new();
    for (key, value) in entry.as_object().into_iter().flatten() {
        let dash = if lines.is_empty() { "-" } else { " " };
        match value.as_object() {
            Some(fields) => {
                lines.push(format!("{pad}{dash} {key}:"));
                // A JSON string is a YAML string.
                lines.extend(
                    fields
                        .iter()
                        .map(|(key, value)| format!("{pad}    {key}: {value}")),
                );
            }
            None => lines.push(format!("{pad}{dash} {key}: {value}")),
        }
    }
    lines
}
