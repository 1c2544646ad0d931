//! The page that people read.

use std::fmt::Write as _;

use super::{Level, Row, State, Test};

const INTRODUCTION: &str = "\
# Fields of Istio's traffic API

<!-- Generated from fields.tsv by `cargo run -p xtask -- fields`. Do not edit. -->

Which fields are in effect, and the tests that show it. *Mark* says how much users need a field: A most,
C least. *Shown by* says what its tests look at:

- **proxy**: bytes that pass a real worker, or a whole mesh with real `kubectl`;
- **plan**: the compiled plan that proxies follow, what the control plane sends them, or a part of the proxy
  on its own;
- **lowered only**: that it is read and kept; no test shows what becomes of it;
- **in part**: some of its values are in effect;
- **void**: it has no effect in Istio either, which ignores or refuses it;
- **later** (other work owns it) and **missing**: it does nothing yet. An object that sets it says so in its
  status, as does `lateen analyze`, but where *not reported* stands.

`[]` is every element of a list, `{}` every value of a map, `.*` everything below.
";

/// What is counted, in the order of the columns.
const COLUMNS: [&str; 7] = [
    "proxy",
    "plan",
    "lowered only",
    "in part",
    "void",
    "later",
    "missing",
];

/// The whole page.
pub(super) fn render(rows: &[Row]) -> String {
    let kinds = kinds(rows);
    let mut page = format!("{INTRODUCTION}\n## Fields with mark A or B\n\n");
    let columns = COLUMNS.join(" | ");
    line(&mut page, &format!("| Kind | all | {columns} |"));
    line(
        &mut page,
        &format!("|---|{}", "--:|".repeat(COLUMNS.len() + 1)),
    );
    for kind in &kinds {
        let counts = counts(rows.iter().filter(|row| row.kind == *kind && row.counts()));
        line(&mut page, &format!("| {kind} | {} |", numbers(counts)));
    }
    let counts = counts(rows.iter().filter(|row| row.counts()));
    line(
        &mut page,
        &format!("| **together** | {} |", numbers(counts)),
    );
    for kind in &kinds {
        let _ = write!(page, "\n## {kind}\n\n");
        line(&mut page, "| Field | Mark | Shown by | Tests |");
        line(&mut page, "|---|---|---|---|");
        for row in rows.iter().filter(|row| row.kind == *kind) {
            line(&mut page, &table_row(row));
        }
    }
    not_in_effect(&mut page, rows);
    page
}

/// The numbers in a line.
pub(super) fn outline(rows: &[Row]) -> String {
    let counts = counts(rows.iter().filter(|row| row.counts()));
    let pairs = COLUMNS.iter().zip(counts);
    let pairs = pairs.map(|(column, count)| format!("{count} {column}"));
    format!("of the A/B fields {}", pairs.collect::<Vec<_>>().join(", "))
}

/// What does nothing yet, A and B before C.
fn not_in_effect(page: &mut String, rows: &[Row]) {
    let _ = write!(page, "\n## Not in effect yet\n");
    for (title, counts) in [("A and B", true), ("C", false)] {
        let _ = write!(page, "\n{title}:\n\n");
        for row in rows.iter().filter(|row| row.counts() == counts) {
            let why = match &row.state {
                State::InEffect | State::Void(_) => continue,
                State::Part(what) => format!("in part: {what}"),
                State::Later(work) => format!("later: {work}"),
                State::Missing(what) => format!("missing: {what}"),
            };
            line(
                page,
                &format!("- {} `{}` ({}): {why}", row.kind, row.field, row.mark),
            );
        }
    }
}

/// The kinds in their order.
fn kinds(rows: &[Row]) -> Vec<&str> {
    let mut kinds: Vec<&str> = Vec::new();
    for row in rows {
        if kinds.last() != Some(&&*row.kind) && !kinds.contains(&&*row.kind) {
            kinds.push(&row.kind);
        }
    }
    kinds
}

fn counts<'r>(rows: impl Iterator<Item = &'r Row>) -> [usize; COLUMNS.len()] {
    let mut counts = [0; COLUMNS.len()];
    for row in rows {
        counts[column(row)] += 1;
    }
    counts
}

/// The place of a row's column in [`COLUMNS`].
fn column(row: &Row) -> usize {
    match (&row.state, row.level()) {
        (State::InEffect, Some(Level::Proxy)) => 0,
        (State::InEffect, Some(Level::Plan)) => 1,
        (State::InEffect, Some(Level::Lowered) | None) => 2,
        (State::Part(_), _) => 3,
        (State::Void(_), _) => 4,
        (State::Later(_), _) => 5,
        (State::Missing(_), _) => 6,
    }
}

/// How many there are, then how many of each.
fn numbers(counts: [usize; COLUMNS.len()]) -> String {
    let all = std::iter::once(counts.iter().sum());
    let numbers = all.chain(counts).map(|count: usize| count.to_string());
    numbers.collect::<Vec<_>>().join(" | ")
}

fn table_row(row: &Row) -> String {
    let shown = match &row.state {
        State::InEffect => COLUMNS[column(row)].to_owned(),
        State::Part(what) | State::Void(what) | State::Later(what) | State::Missing(what) => {
            format!("{}: {what}", COLUMNS[column(row)])
        }
    };
    let tests: Vec<String> = row.tests.iter().map(link).collect();
    let tests = tests.join(", ");
    format!("| `{}` | {} | {shown} | {tests} |", row.field, row.mark)
}

fn link(test: &Test) -> String {
    format!("[{}](../{})", test.function, test.file)
}

fn line(page: &mut String, text: &str) {
    page.push_str(text);
    page.push('\n');
}
