//! What is wrong with an object: where and why, in words for the person who wrote it.
//!
//! It does not decide what happens then: the webhook refuses, `lower` drops the object and the
//! control plane writes a status, `analyze` prints.

use std::fmt;

/// One thing that is wrong with, or doubtful about, an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The field, such as `spec.http[0].route[1].weight`.
    pub path: String,
    /// Why, and what to write instead.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.reason)
        } else {
            write!(f, "{}: {}", self.path, self.reason)
        }
    }
}

/// Everything that is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Reasons to refuse the object.
    pub errors: Vec<Problem>,
    /// What is accepted, but probably not what was meant.
    pub warnings: Vec<Problem>,
}

impl Report {
    /// Answers whether the object may be used.
    pub fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }

    /// Notes a reason to refuse the object.
    pub(crate) fn error(&mut self, path: &Path<'_>, reason: impl Into<String>) {
        self.errors.push(path.problem(reason));
    }

    /// Notes a doubt.
    pub(crate) fn warn(&mut self, path: &Path<'_>, reason: impl Into<String>) {
        self.warnings.push(path.problem(reason));
    }

    /// Notes the error of a check that yields the value or the reason why there is none.
    pub(crate) fn check<T>(&mut self, path: &Path<'_>, result: Result<T, String>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(reason) => {
                self.error(path, reason);
                None
            }
        }
    }
}

impl fmt::Display for Report {
    /// Writes the errors, separated by semicolons.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&told(&self.errors).join("; "))
    }
}

/// The most problems of one object that are told. Nobody reads more, and the API server takes no
/// answer of the size that an object of a megabyte could make.
const MOST_TOLD: usize = 20;

/// The longest text of a problem, which may quote what was written.
const LONGEST: usize = 1000;

/// Problems as text: the first of them, and how many more there are.
pub fn told(problems: &[Problem]) -> Vec<String> {
    let first = problems.iter().take(MOST_TOLD);
    let mut told: Vec<String> = first.map(|problem| cut(problem.to_string())).collect();
    if let Some(more) = problems
        .len()
        .checked_sub(MOST_TOLD)
        .filter(|more| *more > 0)
    {
        told.push(format!("and {more} more"));
    }
    told
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The path of a field while an object is walked: a list linked towards the root, so that text is
/// made only for what is reported.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    /// The object itself, or a field of it.
    Root(&'a str),
    /// A field of a structure.
    Field(&'a Path<'a>, &'a str),
    /// An element of a list.
    Index(&'a Path<'a>, usize),
    /// The value of a key that users choose.
    Key(&'a Path<'a>, &'a str),
}

impl<'a> Path<'a> {
    /// A field of this structure, or of structures in it (`port.number`).
    pub(crate) fn field(&'a self, name: &'a str) -> Path<'a> {
        Path::Field(self, name)
    }

    /// An element of this list.
    pub(crate) fn index(&'a self, index: usize) -> Path<'a> {
        Path::Index(self, index)
    }

    /// The value of `key` in this map.
    pub(crate) fn key(&'a self, key: &'a str) -> Path<'a> {
        Path::Key(self, key)
    }

    /// A problem here.
    pub(crate) fn problem(&self, reason: impl Into<String>) -> Problem {
        Problem {
            path: self.to_string(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(name) => f.write_str(name),
            Self::Field(parent, name) => {
                let text = parent.to_string();
                if text.is_empty() {
                    f.write_str(name)
                } else {
                    write!(f, "{text}.{name}")
                }
            }
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Self::Key(parent, key) => write!(f, "{parent}[{key}]"),
        }
    }
}

/// The closest of `known` to `name`, if it is close enough to have been meant.
pub(crate) fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Names are cut off so that a hostile key of a megabyte costs nothing.
    if name.len() > 64 {
        return None;
    }
    let limit = (name.chars().count() / 3).max(1);
    known
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The number of letters to replace, insert, leave out or swap with their neighbour to get from
/// one name to the other, without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let letters = |text: &str| text.to_lowercase().chars().collect::<Vec<char>>();
    let (a, b) = (letters(a), letters(b));
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_users_write_them() {
        let spec = Path::Root("spec");
        let http = spec.field("http");
        let rule = http.index(0);
        let headers = rule.field("headers");
        assert_eq!(
            headers.key("end-user").to_string(),
            "spec.http[0].headers[end-user]"
        );
    }

    #[test]
    fn a_typing_error_finds_the_name_that_was_meant() {
        let known = ["hosts", "gateways", "http"];
        assert_eq!(closest("host", known.into_iter()), Some("hosts"));
        assert_eq!(closest("gatewayz", known.into_iter()), Some("gateways"));
        assert_eq!(closest("banana", known.into_iter()), None);
    }
}
