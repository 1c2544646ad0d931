//! Conditions in words, for traces: what should have held, and what was there instead.

use std::fmt;

use super::{Failure, Guard, PathTest, Request, Subject, Test};
use crate::facts::Facts;

// === impl Failure ===

impl Failure<'_> {
    /// Says what should have held and what was there instead.
    pub(crate) fn describe<F: Facts>(&self, request: &mut Request<'_, F>) -> String {
        match self {
            Self::Path(test) => {
                let path = String::from_utf8_lossy(request.path);
                format!("{test}, but it was {path:?}")
            }
            Self::Guard(guard) => request.with_value(&guard.subject, |value| match value {
                None => format!("{guard}, but it was absent"),
                Some(value) => {
                    let value = String::from_utf8_lossy(value);
                    format!("{guard}, but it was {value:?}")
                }
            }),
        }
    }
}

impl fmt::Display for PathTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folded = |folds_case: bool| if folds_case { " in any case" } else { "" };
        match self {
            Self::Any => f.write_str("any path"),
            Self::Exact { text, folds_case } => {
                let text = String::from_utf8_lossy(text);
                write!(f, "path is exactly {text:?}{}", folded(*folds_case))
            }
            Self::Prefix { text, folds_case } => {
                let text = String::from_utf8_lossy(text);
                write!(f, "path starts with {text:?}{}", folded(*folds_case))
            }
            Self::Regex(expression) => write!(f, "path matches regex {:?}", expression.written),
        }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Method => f.write_str("method"),
            Subject::Scheme => f.write_str("scheme"),
            Subject::Authority => f.write_str("authority"),
            Subject::PathAndQuery => f.write_str("path with query"),
            Subject::Header(name) => write!(f, "header {name:?}"),
            Subject::Query(name) => write!(f, "query parameter {name:?}"),
        }?;
        let not = if self.is_negated { "not " } else { "" };
        match &self.test {
            Test::Present => write!(f, " is {not}present"),
            Test::Exact(text) => {
                write!(f, " is {not}exactly {:?}", String::from_utf8_lossy(text))
            }
            Test::Prefix(text) => {
                let text = String::from_utf8_lossy(text);
                write!(f, " does {not}start with {text:?}")
            }
            Test::Regex(expression) => {
                write!(f, " does {not}match regex {:?}", expression.written)
            }
        }
    }
}
