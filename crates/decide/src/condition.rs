//! Conditions of HTTP rules in compiled form, and the one function that checks them.
//!
//! The index of a virtual host ([`crate::matcher`]) only narrows down which entries may match;
//! whether one does is always decided here, for decisions and for traces alike.

mod wording;

use lateen_model::route::{HttpMatch, StringMatch, ValueMatch};
use regex::bytes::Regex;

use crate::facts::Facts;
use crate::pattern;
use crate::route::Matched;

/// One `match` block: all of its conditions on a request.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: PathTest,
    pub(crate) guards: Box<[Guard]>,
}

/// A condition on the path without its query.
#[derive(Debug)]
pub(crate) enum PathTest {
    /// Any path.
    Any,
    /// Equal; in lower case if case is ignored.
    Exact { text: Box<[u8]>, folds_case: bool },
    /// Starts with; in lower case if case is ignored.
    Prefix { text: Box<[u8]>, folds_case: bool },
    /// Matches as a whole.
    Regex(Expression),
}

/// A condition on anything but the path.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) subject: Subject,
    pub(crate) test: Test,
    /// The condition must not hold. An absent value counts as an empty one then, unless its
    /// presence is what is asked.
    pub(crate) is_negated: bool,
}

/// What a guard looks at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Subject {
    Method,
    Scheme,
    Authority,
    /// `:path` as a header: with its query.
    PathAndQuery,
    /// All values of a header, joined by commas.
    Header(Box<str>),
    /// The first value of a query parameter, as sent.
    Query(Box<str>),
}

/// What a guard asks of a value.
#[derive(Debug)]
pub(crate) enum Test {
    Present,
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Regex(Expression),
}

/// A compiled regular expression that remembers how it was written.
#[derive(Debug)]
pub(crate) struct Expression {
    written: Box<str>,
    regex: Regex,
}

/// The first condition that did not hold.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Failure<'e> {
    Path(&'e PathTest),
    Guard(&'e Guard),
}

/// A request as conditions see it.
pub(crate) struct Request<'r, F> {
    pub(crate) facts: &'r F,
    /// The path without its query.
    pub(crate) path: &'r [u8],
    /// What follows `?`.
    pub(crate) query: Option<&'r [u8]>,
    /// Space for the values of a repeated header.
    joined: &'r mut Vec<u8>,
}

// === impl Entry ===

impl Entry {
    /// Compiles a block; the parts that are fixed per proxy and port (`port`, `source_labels`,
    /// `gateways`, …) are not conditions on a request and are left to the caller.
    ///
    /// # Errors
    /// The field within the block, the expression and what is wrong with it.
    pub(crate) fn compile(block: &HttpMatch) -> Result<Self, (String, String, String)> {
        let path = match &block.uri {
            None => PathTest::Any,
            Some(uri) => PathTest::compile(uri, block.ignore_uri_case)
                .map_err(|(text, problem)| ("uri.regex".to_owned(), text, problem))?,
        };
        let mut guards = Vec::new();
        let singles = [
            ("method", Subject::Method, &block.method),
            ("scheme", Subject::Scheme, &block.scheme),
            ("authority", Subject::Authority, &block.authority),
        ];
        for (field, subject, condition) in singles {
            if let Some(condition) = condition {
                let test = Test::compile(condition)
                    .map_err(|(text, problem)| (format!("{field}.regex"), text, problem))?;
                guards.push(Guard::positive(subject, test));
            }
        }
        let lists = [
            ("headers", false, &block.headers),
            ("withoutHeaders", true, &block.without_headers),
            ("queryParams", false, &block.query_params),
        ];
        for (field, is_negated, list) in lists {
            for (name, condition) in list {
                let test = Test::compile_value(condition)
                    .map_err(|(text, problem)| (format!("{field}[{name}].regex"), text, problem))?;
                let subject = if field == "queryParams" {
                    Subject::Query(name.as_str().into())
                } else {
                    Subject::header(name)
                };
                guards.push(Guard {
                    subject,
                    test,
                    is_negated,
                });
            }
        }
        Ok(Self {
            path,
            guards: guards.into(),
        })
    }

    /// Its conditions in words; none if it takes every request.
    pub(crate) fn words(&self) -> Vec<String> {
        let path = match &self.path {
            PathTest::Any => None,
            path => Some(path.to_string()),
        };
        let guards = self.guards.iter().map(ToString::to_string);
        path.into_iter().chain(guards).collect()
    }

    /// An entry that matches every request.
    pub(crate) fn catch_all() -> Self {
        Self {
            path: PathTest::Any,
            guards: Box::default(),
        }
    }

    /// Answers whether the entry matches whatever is asked, in the sense of Istio's order of
    /// merged rules: no guard, and a path that is not restricted.
    pub(crate) fn is_catch_all(&self) -> bool {
        let takes_every_path = match &self.path {
            PathTest::Any => true,
            PathTest::Prefix { text, .. } => matches!(&**text, b"" | b"/"),
            PathTest::Regex(expression) => &*expression.written == ".*",
            PathTest::Exact { .. } => false,
        };
        takes_every_path && self.guards.is_empty()
    }

    /// Checks every condition.
    pub(crate) fn check<F: Facts>(&self, request: &mut Request<'_, F>) -> Result<(), Failure<'_>> {
        if !self.path.holds(request.path) {
            return Err(Failure::Path(&self.path));
        }
        self.check_guards(request)
    }

    /// Checks the conditions that are not on the path.
    pub(crate) fn check_guards<F: Facts>(
        &self,
        request: &mut Request<'_, F>,
    ) -> Result<(), Failure<'_>> {
        let failed = self.guards.iter().find(|guard| !guard.holds(request));
        failed.map_or(Ok(()), |guard| Err(Failure::Guard(guard)))
    }
}

// === impl PathTest ===

impl PathTest {
    /// What a rewrite of the prefix replaces.
    pub(crate) fn matched(&self) -> Matched {
        match self {
            // Envoy routes what has no condition on the path by the prefix `/`.
            Self::Any => Matched::Prefix(1),
            Self::Prefix { text, .. } => Matched::Prefix(text.len()),
            Self::Exact { .. } | Self::Regex(_) => Matched::Whole,
        }
    }

    fn compile(uri: &StringMatch, folds_case: bool) -> Result<Self, (String, String)> {
        let text = |text: &String| -> Box<[u8]> {
            let text = if folds_case {
                text.to_ascii_lowercase()
            } else {
                text.clone()
            };
            text.into_bytes().into()
        };
        Ok(match uri {
            StringMatch::Exact(exact) => Self::Exact {
                text: text(exact),
                folds_case,
            },
            StringMatch::Prefix(prefix) => Self::Prefix {
                text: text(prefix),
                folds_case,
            },
            StringMatch::Regex(regex) => Self::Regex(Expression::compile(regex)?),
        })
    }

    fn holds(&self, path: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact {
                text,
                folds_case: false,
            } => path == &**text,
            Self::Exact {
                text,
                folds_case: true,
            } => path.eq_ignore_ascii_case(text),
            Self::Prefix {
                text,
                folds_case: false,
            } => path.starts_with(text),
            Self::Prefix {
                text,
                folds_case: true,
            } => path
                .get(..text.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(text)),
            Self::Regex(expression) => expression.regex.is_match(path),
        }
    }
}

// === impl Guard ===

impl Guard {
    fn positive(subject: Subject, test: Test) -> Self {
        Self {
            subject,
            test,
            is_negated: false,
        }
    }

    fn holds<F: Facts>(&self, request: &mut Request<'_, F>) -> bool {
        request.with_value(&self.subject, |value| match (&self.test, self.is_negated) {
            (Test::Present, is_negated) => value.is_some() != is_negated,
            (test, false) => value.is_some_and(|value| test.accepts(value)),
            (test, true) => !test.accepts(value.unwrap_or_default()),
        })
    }
}

// === impl Subject ===

impl Subject {
    /// A header by its lower-case name; `host` and the pseudo headers are what they stand for.
    fn header(name: &str) -> Self {
        match name {
            "host" | ":authority" => Self::Authority,
            ":method" => Self::Method,
            ":scheme" => Self::Scheme,
            ":path" => Self::PathAndQuery,
            name => Self::Header(name.to_ascii_lowercase().into()),
        }
    }
}

// === impl Test ===

impl Test {
    pub(crate) fn compile(condition: &StringMatch) -> Result<Self, (String, String)> {
        Ok(match condition {
            StringMatch::Exact(text) => Self::Exact(text.as_bytes().into()),
            StringMatch::Prefix(text) => Self::Prefix(text.as_bytes().into()),
            StringMatch::Regex(regex) => Self::Regex(Expression::compile(regex)?),
        })
    }

    fn compile_value(condition: &ValueMatch) -> Result<Self, (String, String)> {
        match condition {
            ValueMatch::Present => Ok(Self::Present),
            ValueMatch::Value(condition) => Self::compile(condition),
        }
    }

    pub(crate) fn accepts(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(text) => value == &**text,
            Self::Prefix(text) => value.starts_with(text),
            Self::Regex(expression) => expression.regex.is_match(value),
        }
    }
}

// === impl Expression ===

impl Expression {
    fn compile(written: &str) -> Result<Self, (String, String)> {
        match pattern::compile(written) {
            Ok(regex) => Ok(Self {
                written: written.into(),
                regex,
            }),
            Err(problem) => Err((written.to_owned(), problem)),
        }
    }
}

// === impl Request ===

impl<'r, F: Facts> Request<'r, F> {
    /// Splits the path; `joined` is space for the values of a repeated header.
    pub(crate) fn new(facts: &'r F, joined: &'r mut Vec<u8>) -> Self {
        let target = facts.path();
        // A fragment never belongs to a request; if one comes, it is no part of the path.
        let end = target.iter().position(|byte| matches!(byte, b'?' | b'#'));
        let (path, rest) = target.split_at(end.unwrap_or(target.len()));
        let query = rest.iter().position(|byte| *byte == b'?');
        Self {
            facts,
            path,
            query: query.map(|at| &rest[at + 1..]),
            joined,
        }
    }

    /// Hands the value of `subject` to `visit`; the values of a repeated header are joined by
    /// commas, as RFC 9110 section 5.3 reads them.
    #[inline]
    pub(crate) fn with_value<R>(
        &mut self,
        subject: &Subject,
        visit: impl FnOnce(Option<&[u8]>) -> R,
    ) -> R {
        match subject {
            Subject::Method => visit(Some(self.facts.method())),
            Subject::Scheme => visit(Some(self.facts.scheme())),
            Subject::Authority => visit(Some(self.facts.authority())),
            Subject::PathAndQuery => visit(Some(self.facts.path())),
            Subject::Query(name) => visit(self.parameter(name.as_bytes())),
            Subject::Header(name) => {
                let mut values = self.facts.header(name);
                let Some(first) = values.next() else {
                    return visit(None);
                };
                let Some(second) = values.next() else {
                    return visit(Some(first));
                };
                self.joined.clear();
                self.joined.extend_from_slice(first);
                for value in std::iter::once(second).chain(values) {
                    self.joined.push(b',');
                    self.joined.extend_from_slice(value);
                }
                visit(Some(self.joined))
            }
        }
    }

    /// The query's parameters as sent, in order; one without `=` has an empty value.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = (&'r [u8], &'r [u8])> + use<'r, F> {
        let pairs = self
            .query
            .into_iter()
            .flat_map(|query| query.split(|b| *b == b'&'));
        pairs.map(|pair| match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        })
    }

    fn parameter(&self, name: &[u8]) -> Option<&'r [u8]> {
        self.parameters()
            .find(|(candidate, _)| *candidate == name)
            .map(|(_, value)| value)
    }
}
