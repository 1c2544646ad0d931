//! Names and values of headers.

use crate::problem::{Path, Report};
use crate::spec::virtual_service::{HeaderOperations, Headers};

/// A header's name as HTTP knows it, pseudo-headers excluded.
pub(super) fn name(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("the name of a header must not be empty".into());
    }
    if text.bytes().all(is_token) {
        Ok(())
    } else {
        Err(format!("{text:?} is not a name of a header"))
    }
}

/// The name of a header that a match asks for: pseudo-headers and claims are allowed.
pub(super) fn match_name(text: &str) -> Result<(), String> {
    if text.starts_with("@request.auth.claims") {
        return Ok(());
    }
    name(text.strip_prefix(':').unwrap_or(text))
}

/// RFC 9110 `tchar`.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A header's value: no control characters, and variables such as `%REQ(x)%` are closed.
pub(super) fn value(text: &str) -> Result<(), String> {
    if text.bytes().any(|b| b < 0x20 && b != b'\t' || b == 0x7f) {
        return Err("control characters are not allowed in the value of a header".into());
    }
    variables(text)
}

/// Checks that each `%` is doubled or opens a variable that is closed: `%NAME%`, `%NAME(x)%`,
/// `%NAME(x):9%`.
fn variables(text: &str) -> Result<(), String> {
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            rest = after;
            continue;
        }
        let wrong = || {
            format!(
                "{text:?} has a % that opens no variable such as %REQ(x)%; write %% for a percent sign"
            )
        };
        let end = rest.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
        let (name, after) = rest.split_at(end.ok_or_else(wrong)?);
        if name.is_empty() {
            return Err(wrong());
        }
        let mut after = after;
        if let Some(inner) = after.strip_prefix('(') {
            let close = inner.find(')').ok_or_else(wrong)?;
            after = &inner[close + 1..];
        }
        if let Some(length) = after.strip_prefix(':') {
            after = length.trim_start_matches(|c: char| c.is_ascii_digit());
        }
        rest = after.strip_prefix('%').ok_or_else(wrong)?;
    }
    Ok(())
}

/// Operations on headers of a route or destination.
pub(super) fn operations(headers: &Headers, path: &Path<'_>, report: &mut Report) {
    if let Some(request) = &headers.request {
        changes(request, true, &path.field("request"), report);
    }
    if let Some(response) = &headers.response {
        changes(response, false, &path.field("response"), report);
    }
}

fn changes(operations: &HeaderOperations, is_request: bool, path: &Path<'_>, report: &mut Report) {
    for (field, map) in [("set", &operations.set), ("add", &operations.add)] {
        let path = path.field(field);
        for (key, text) in map {
            let path = path.key(key);
            // Setting the authority of a request is a rewrite of its host.
            if !(is_request && is_authority(key)) {
                report.check(&path, changed_name(key));
            }
            report.check(&path, value(text));
        }
    }
    let path = path.field("remove");
    for (index, key) in operations.remove.iter().enumerate() {
        report.check(&path.index(index), changed_name(key));
    }
}

/// The name of a header that is changed: what routing rests on must not be.
fn changed_name(text: &str) -> Result<(), String> {
    if text.starts_with(':') || text.eq_ignore_ascii_case("host") {
        return Err(format!("{text:?} cannot be changed here"));
    }
    name(text)
}

/// Answers whether a header is the authority of a request.
pub(super) fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case(":authority") || name.eq_ignore_ascii_case("host")
}

/// How many of the maps set the authority.
pub(super) fn authority_changes(headers: &Headers) -> usize {
    let Some(request) = &headers.request else {
        return 0;
    };
    let has =
        |map: &std::collections::BTreeMap<String, String>| map.keys().any(|k| is_authority(k));
    usize::from(has(&request.set)) + usize::from(has(&request.add))
}
