//! The part of JSONPath that printer columns use: `.a.b`, `['a']`, `[0]`, `[*]`,
//! `[?(@.type=="Ready")]`.

use serde_json::Value;

#[derive(Debug, PartialEq, Eq)]
enum Step<'a> {
    Key(&'a str),
    Index(i64),
    All,
    /// Items whose value at a path is equal to a text.
    Where(&'a str, &'a str),
}

/// The first value at a path; nothing if there is none, or if the path cannot be read.
pub(super) fn first<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    walk(value, &parse(path)?)
}

fn walk<'a>(value: &'a Value, steps: &[Step<'_>]) -> Option<&'a Value> {
    let Some((step, rest)) = steps.split_first() else {
        return Some(value);
    };
    match step {
        Step::Key(key) => walk(value.get(*key)?, rest),
        Step::Index(index) => {
            let items = value.as_array()?;
            let index = match index {
                0.. => usize::try_from(*index).ok()?,
                _ => items.len().checked_sub(usize::try_from(-index).ok()?)?,
            };
            walk(items.get(index)?, rest)
        }
        Step::All => match value {
            Value::Array(items) => items.iter().find_map(|item| walk(item, rest)),
            Value::Object(map) => map.values().find_map(|item| walk(item, rest)),
            _ => None,
        },
        Step::Where(path, wanted) => value
            .as_array()?
            .iter()
            .filter(|item| is_text(first(item, path), wanted))
            .find_map(|item| walk(item, rest)),
    }
}

/// Whether a value reads as `wanted`.
fn is_text(value: Option<&Value>, wanted: &str) -> bool {
    match value {
        Some(Value::String(text)) => text == wanted,
        Some(Value::Bool(flag)) => *flag == (wanted == "true"),
        Some(Value::Number(number)) => wanted.parse() == Ok(number.as_f64().unwrap_or(f64::NAN)),
        _ => false,
    }
}

fn parse(path: &str) -> Option<Vec<Step<'_>>> {
    let mut rest = path.trim().trim_start_matches('{').trim_end_matches('}');
    rest = rest.strip_prefix('$').unwrap_or(rest);
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix("[?(") {
            let (condition, tail) = tail.split_once(")]")?;
            let (left, right) = condition.split_once("==")?;
            let path = left.trim().strip_prefix('@')?;
            steps.push(Step::Where(path, right.trim().trim_matches(['"', '\''])));
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix('[') {
            let (inside, tail) = tail.split_once(']')?;
            steps.push(match inside.trim() {
                "*" => Step::All,
                text if text.starts_with(['"', '\'']) => Step::Key(text.trim_matches(['"', '\''])),
                text => Step::Index(text.parse().ok()?),
            });
            rest = tail;
        } else {
            let tail = rest.strip_prefix('.').unwrap_or(rest);
            if tail.starts_with('[') {
                rest = tail;
                continue;
            }
            let mut end = 0;
            let bytes = tail.as_bytes();
            while end < bytes.len() && !matches!(bytes[end], b'.' | b'[') {
                end += 1;
            }
            if end > 0 {
                let key = &tail[..end];
                steps.push(if key == "*" {
                    Step::All
                } else {
                    Step::Key(key)
                });
            } else if tail.len() == rest.len() {
                return None;
            }
            rest = &tail[end..];
        }
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_find_their_values() {
        let value = json!({"spec": {"hosts": ["a", "b"], "x.y": 1}, "status": {"conditions": [
            {"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}]}});
        for (path, expected) in [
            (".spec.hosts", json!(["a", "b"])),
            (".spec.hosts[1]", json!("b")),
            (".spec.hosts[*]", json!("a")),
            (".spec.hosts[-1]", json!("b")),
            (".spec['x.y']", json!(1)),
            (
                "{.status.conditions[?(@.type==\"Ready\")].status}",
                json!("True"),
            ),
            (
                ".status.conditions[?(@.type=='Other')].status",
                json!("False"),
            ),
        ] {
            assert_eq!(first(&value, path), Some(&expected), "{path}");
        }
        for path in [".spec.nothing", ".spec.hosts[7]", ".a[", "[?("] {
            assert_eq!(first(&value, path), None, "{path}");
        }
    }
}
