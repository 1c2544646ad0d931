//! Changes of a request's target, in compiled form.

use lateen_model::http;

use crate::pattern;
use crate::route::Matched;

/// Changes of a request's target.
#[derive(Debug, Clone)]
pub struct Rewrite {
    /// The new authority.
    pub authority: Option<Box<str>>,
    uri: Option<Uri>,
    /// As it was written, to compare by.
    written: http::Rewrite,
}

#[derive(Debug, Clone)]
enum Uri {
    Prefix(Box<[u8]>),
    Regex {
        regex: regex::bytes::Regex,
        /// In the syntax of the `regex` crate.
        replacement: Vec<u8>,
    },
}

// === impl Rewrite ===

impl Rewrite {
    /// Compiles a rewrite.
    ///
    /// # Errors
    /// The expression and what is wrong with it.
    pub fn compile(written: &http::Rewrite) -> Result<Self, (String, String)> {
        let uri = match &written.uri {
            None => None,
            Some(http::UriRewrite::Prefix(text)) => Some(Uri::Prefix(text.as_bytes().into())),
            Some(http::UriRewrite::Regex {
                pattern,
                replacement,
            }) => Some(Uri::Regex {
                regex: pattern::compile_search(pattern)
                    .map_err(|problem| (pattern.clone(), problem))?,
                replacement: groups(replacement),
            }),
        };
        Ok(Self {
            authority: written.authority.as_deref().map(Into::into),
            uri,
            written: written.clone(),
        })
    }

    /// The rewrite as it was written.
    pub fn written(&self) -> &http::Rewrite {
        &self.written
    }

    /// Answers whether the path changes.
    pub fn changes_path(&self) -> bool {
        self.uri.is_some()
    }

    /// Writes the new path and query of a request; `matched` is what its route's condition
    /// matched.
    pub fn write_target(&self, target: &[u8], matched: Matched, into: &mut Vec<u8>) {
        let end = target.iter().position(|byte| *byte == b'?');
        let (path, query) = target.split_at(end.unwrap_or(target.len()));
        match &self.uri {
            None => into.extend_from_slice(path),
            Some(Uri::Prefix(text)) => {
                let replaced = match matched {
                    Matched::Prefix(length) => length.min(path.len()),
                    Matched::Whole => path.len(),
                };
                into.extend_from_slice(text);
                into.extend_from_slice(&path[replaced..]);
            }
            Some(Uri::Regex { regex, replacement }) => {
                into.extend_from_slice(&regex.replace_all(path, &replacement[..]));
            }
        }
        into.extend_from_slice(query);
    }
}

impl PartialEq for Rewrite {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Rewrite {}

/// Turns RE2's `\1` into the `regex` crate's `${1}`; a dollar sign is one.
fn groups(replacement: &str) -> Vec<u8> {
    let mut out = String::with_capacity(replacement.len());
    let mut chars = replacement.chars();
    while let Some(one) = chars.next() {
        match one {
            '$' => out.push_str("$$"),
            '\\' => match chars.next() {
                Some(digit) if digit.is_ascii_digit() => {
                    out.push_str("${");
                    out.push(digit);
                    out.push('}');
                }
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            other => out.push(other),
        }
    }
    out.into_bytes()
}
