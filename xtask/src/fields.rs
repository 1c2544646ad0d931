//! The table of the fields of Istio's traffic API: which are in effect, and the tests that show it.
//!
//! `docs/fields.tsv` has a row for each field: kind, path, mark, state and tests, between tabs. An
//! empty state is a field in effect; how well that is shown follows from where its tests are.
//! `docs/fields.md` is generated from it. A test that was renamed or went away is found by
//! [`check`], as is a page that does not follow the rows.

mod page;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};

/// The rows, below the root of the repository.
const ROWS: &str = "docs/fields.tsv";
/// What is generated of them.
const PAGE: &str = "docs/fields.md";

/// How tests name the folder that they are in, that folder, and what its tests show.
const FOLDERS: [(&str, &str, Level); 12] = [
    ("scenarios", "crates/proxy/tests/scenarios", Level::Proxy),
    ("h2", "crates/proxy/tests/h2", Level::Proxy),
    ("process", "crates/proxy/tests/process", Level::Proxy),
    ("namespaced", "crates/proxy/tests/namespaced", Level::Proxy),
    ("proxy", "crates/proxy/src", Level::Plan),
    ("e2e", "testkit/e2e/tests", Level::Proxy),
    ("semantics", "crates/decide/tests/semantics", Level::Plan),
    ("decide", "crates/decide/src", Level::Plan),
    ("control", "crates/control/src", Level::Plan),
    ("why", "crates/why/tests", Level::Plan),
    ("lower", "crates/api/src/lower", Level::Lowered),
    ("validate", "crates/api/src/validate", Level::Lowered),
];

/// What a test shows of a field, from the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// It is read, and kept or refused.
    Lowered,
    /// The plan that a proxy follows, what the control plane sends, or a part of the proxy on its
    /// own changes with it.
    Plan,
    /// Bytes that pass a real worker, or a whole mesh, change with it.
    Proxy,
}

/// Whether a field does what Istio says, with what is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// It does.
    InEffect,
    /// Some of its values do.
    Part(String),
    /// It has no effect in Istio either: it is refused or ignored.
    Void(String),
    /// It does nothing yet; later work owns it.
    Later(String),
    /// It does nothing yet.
    Missing(String),
}

/// A test: its folder as in [`FOLDERS`], its file there without `.rs`, and its function.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Test {
    file: String,
    function: String,
    level: Level,
}

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    kind: String,
    field: String,
    /// How much users need it: A most, C least.
    mark: char,
    state: State,
    tests: Vec<Test>,
}

/// Generates the page. Tests that do not exist are problems.
pub(crate) fn write(root: &Path) -> anyhow::Result<Vec<String>> {
    let rows = read(root)?;
    let problems = vanished(root, &rows)?;
    if problems.is_empty() {
        let path = root.join(PAGE);
        std::fs::write(&path, page::render(&rows)).with_context(|| path.display().to_string())?;
        eprintln!("{PAGE}: {}", page::outline(&rows));
    }
    Ok(problems)
}

/// Finds tests that do not exist, and a page that is not what would be generated. Says how much is
/// missing, which is no problem of this check.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let rows = read(root)?;
    let mut problems = vanished(root, &rows)?;
    let path = root.join(PAGE);
    let page = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    if page != page::render(&rows) {
        problems.push(format!(
            "{PAGE} does not follow {ROWS}: run `cargo run -p xtask -- fields`"
        ));
    }
    eprintln!("{PAGE}: {}", page::outline(&rows));
    Ok(problems)
}

fn read(root: &Path) -> anyhow::Result<Vec<Row>> {
    let path = root.join(ROWS);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    parse(&text).context(ROWS)
}

/// Reads the rows; lines that begin with `#` are comments.
fn parse(text: &str) -> anyhow::Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let row = line
            .parse::<Row>()
            .with_context(|| format!("line {number}"))?;
        let is_same = |other: &Row| (&other.kind, &other.field) == (&row.kind, &row.field);
        ensure!(
            !rows.iter().any(is_same),
            "line {number}: {} {} has a row already",
            row.kind,
            row.field
        );
        rows.push(row);
    }
    Ok(rows)
}

/// The tests that are named but do not exist.
fn vanished(root: &Path, rows: &[Row]) -> anyhow::Result<Vec<String>> {
    let mut texts = BTreeMap::new();
    let mut problems = Vec::new();
    for row in rows {
        for test in &row.tests {
            if !texts.contains_key(&test.file) {
                let path = root.join(&test.file);
                // A file that is gone is a problem like any other; one that cannot be read is not.
                let text = if path.exists() {
                    std::fs::read_to_string(&path).with_context(|| path.display().to_string())?
                } else {
                    String::new()
                };
                texts.insert(test.file.clone(), text);
            }
            if !texts[&test.file].contains(&format!("fn {}(", test.function)) {
                problems.push(format!(
                    "{ROWS}: {} {}: there is no test {} in {}",
                    row.kind, row.field, test.function, test.file
                ));
            }
        }
    }
    Ok(problems)
}

// === impl Row ===

impl Row {
    /// The most that its tests show.
    fn level(&self) -> Option<Level> {
        self.tests.iter().map(|test| test.level).max()
    }

    /// Answers whether most users need it.
    fn counts(&self) -> bool {
        self.mark != 'C'
    }
}

impl std::str::FromStr for Row {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        let columns: Vec<&str> = line.split('\t').collect();
        let [kind, field, mark, state, tests] = columns[..] else {
            bail!(
                "{} columns; kind, field, mark, state and tests are five, between tabs",
                columns.len()
            );
        };
        let mark = match mark {
            "A" => 'A',
            "B" => 'B',
            "C" => 'C',
            _ => bail!("mark {mark:?}: use A, B or C"),
        };
        let row = Self {
            kind: kind.to_owned(),
            field: field.to_owned(),
            mark,
            state: state.parse()?,
            tests: tests
                .split_whitespace()
                .map(str::parse)
                .collect::<anyhow::Result<_>>()?,
        };
        let needs_tests = matches!(row.state, State::InEffect | State::Part(_));
        ensure!(
            !needs_tests || !row.tests.is_empty(),
            "{field} is said to be in effect, but no test shows it; name one, or say `missing: …`"
        );
        Ok(row)
    }
}

// === impl State ===

impl std::str::FromStr for State {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if text.is_empty() {
            return Ok(Self::InEffect);
        }
        let (word, rest) = text.split_once(": ").unwrap_or((text, ""));
        ensure!(!rest.is_empty(), "state {text:?} needs words after `: `");
        let rest = rest.to_owned();
        Ok(match word {
            "part" => Self::Part(rest),
            "void" => Self::Void(rest),
            "later" => Self::Later(rest),
            "missing" => Self::Missing(rest),
            _ => bail!("state {word:?}: use part, void, later or missing, or nothing"),
        })
    }
}

// === impl Test ===

impl std::str::FromStr for Test {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let parts = text.split_once("::");
        let parts = parts.and_then(|(file, function)| Some((file.split_once('/')?, function)));
        let Some(((folder, file), function)) = parts else {
            bail!("test {text:?}: write folder/file::function");
        };
        let Some((_, path, level)) = FOLDERS.iter().find(|(name, _, _)| *name == folder) else {
            let names = FOLDERS.map(|(name, _, _)| name).join(", ");
            bail!("test {text:?}: the folder is one of {names}");
        };
        Ok(Self {
            file: format!("{path}/{file}.rs"),
            function: function.to_owned(),
            level: *level,
        })
    }
}
