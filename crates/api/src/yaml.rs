//! YAML as Kubernetes' tools read it: several documents in a text, each a JSON value that knows
//! the line of every field.
//!
//! Plain scalars are resolved as `kubectl` does (`yes` is a boolean, `0777` is octal; but the single
//! letters `y` and `n` stay text), quoted ones are strings. Texts come from people, but also from annotations and config maps that anybody may
//! write, so size, depth and the growth by aliases are limited.

mod build;
mod scalar;

use granit_parser::{Event, Parser};
use serde_json::Value;

pub use build::Lines;

/// The longest text that is read: far more than a manifest, far less than memory.
pub const MAX_BYTES: usize = 16 << 20;
/// The deepest nesting; the API server allows no more for custom resources.
pub const MAX_DEPTH: usize = 128;
/// The most values in a text, those that aliases repeat included.
pub const MAX_VALUES: usize = 2_000_000;

/// One document of a text.
#[derive(Debug, Clone)]
pub struct Document {
    /// What it says.
    pub value: Value,
    /// The line on which it starts, counted from 1.
    pub line: usize,
    /// The lines of its fields.
    pub lines: Lines,
}

impl Document {
    /// The line of a field such as `spec.http[0].route`; if the field does not exist, that of the
    /// closest one around it.
    pub fn line_of(&self, path: &str) -> usize {
        self.lines.line_of(path)
    }
}

/// Why a text is no YAML, or none that is accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct Error {
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub reason: String,
}

/// Reads every document of a text; empty ones are left out.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn documents(text: &str) -> Result<Vec<Document>, Error> {
    if text.len() > MAX_BYTES {
        return Err(Error {
            line: 1,
            column: 1,
            reason: format!(
                "the text has {} bytes, at most {MAX_BYTES} are read",
                text.len()
            ),
        });
    }
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut documents = Vec::new();
    let mut builder = build::Builder::default();
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| Error {
            line: error.marker().line(),
            column: error.marker().col() + 1,
            reason: error.info(),
        })?;
        let is_end = matches!(event, Event::DocumentEnd);
        builder.event(event, span.start).map_err(|reason| Error {
            line: span.start.line(),
            column: span.start.col() + 1,
            reason,
        })?;
        if is_end {
            documents.extend(builder.finish());
        }
    }
    Ok(documents)
}

/// Reads a text that holds one document; an empty text is null.
///
/// # Errors
/// As [`documents`], and if there are several.
pub fn value(text: &str) -> Result<Value, Error> {
    let mut documents = documents(text)?;
    if let Some(second) = documents.get(1) {
        return Err(Error {
            line: second.line,
            column: 1,
            reason: "only one document is expected".into(),
        });
    }
    Ok(documents
        .pop()
        .map_or(Value::Null, |document| document.value))
}

#[cfg(test)]
mod tests;
