//! Selectors: which objects a list, a watch or a webhook is about.

use serde_json::{Map, Value};

use super::object;

/// Conditions on labels; all must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LabelSelector(Vec<Requirement>);

/// Conditions on fields; all must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FieldSelector(Vec<FieldRequirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    GreaterThan(i64),
    LessThan(i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldRequirement {
    path: String,
    value: String,
    is_equal: bool,
}

// === impl LabelSelector ===

impl LabelSelector {
    /// Reads the query's form: `app=a,env in (x,y),!old`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.trim();
        let mut requirements = Vec::new();
        while !rest.is_empty() {
            let (requirement, tail) = parse_requirement(rest)
                .ok_or_else(|| format!("unable to parse requirement: {rest:?} in {text:?}"))?;
            requirements.push(requirement);
            rest = match tail.trim_start() {
                "" => "",
                tail => tail
                    .strip_prefix(',')
                    .map(str::trim_start)
                    .filter(|tail| !tail.is_empty())
                    .ok_or_else(|| format!("found {tail:?}, expected: ',' and a key"))?,
            };
        }
        Ok(Self(requirements))
    }

    /// Reads the object's form: `matchLabels` and `matchExpressions`.
    pub(crate) fn from_value(value: &Value) -> Result<Self, String> {
        let mut requirements = Vec::new();
        if let Some(labels) = value.get("matchLabels").and_then(Value::as_object) {
            requirements.extend(labels.iter().map(|(key, value)| Requirement {
                key: key.clone(),
                operator: Operator::In(vec![value.as_str().unwrap_or_default().to_owned()]),
            }));
        }
        for expression in object::items(value, &["matchExpressions"]) {
            let values: Vec<String> = object::items(expression, &["values"])
                .iter()
                .filter_map(|value| value.as_str().map(str::to_owned))
                .collect();
            let operator = match object::text(expression, &["operator"]) {
                "In" if !values.is_empty() => Operator::In(values),
                "NotIn" if !values.is_empty() => Operator::NotIn(values),
                "Exists" if values.is_empty() => Operator::Exists,
                "DoesNotExist" if values.is_empty() => Operator::DoesNotExist,
                "In" | "NotIn" => {
                    return Err(
                        "values must be specified when `operator` is 'In' or 'NotIn'".into(),
                    );
                }
                "Exists" | "DoesNotExist" => {
                    return Err(
                        "values may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                            .into(),
                    );
                }
                other => return Err(format!("{other:?} is not a valid label selector operator")),
            };
            let key = object::text(expression, &["key"]).to_owned();
            requirements.push(Requirement { key, operator });
        }
        Ok(Self(requirements))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the labels of an object meet every condition.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.matches_labels(object::labels(object))
    }

    pub(crate) fn matches_labels(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels
                .and_then(|labels| labels.get(&requirement.key))
                .map(|value| value.as_str().unwrap_or_default());
            requirement.operator.accepts(value)
        })
    }
}

// === impl Operator ===

impl Operator {
    fn accepts(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::In(list) => value.is_some_and(|value| list.iter().any(|one| one == value)),
            Self::NotIn(list) => value.is_none_or(|value| list.iter().all(|one| one != value)),
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
            Self::GreaterThan(bound) => number().is_some_and(|number| number > *bound),
            Self::LessThan(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

// === impl FieldSelector ===

impl FieldSelector {
    /// Reads `metadata.name=a,status.phase!=Running`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = Vec::new();
        for term in split_unescaped(text) {
            if term.is_empty() {
                continue;
            }
            let (path, value, is_equal) = if let Some((path, value)) = term.split_once("!=") {
                (path, value, false)
            } else if let Some((path, value)) = term.split_once("==") {
                (path, value, true)
            } else if let Some((path, value)) = term.split_once('=') {
                (path, value, true)
            } else {
                return Err(format!(
                    "invalid selector: '{text}'; can't understand '{term}'"
                ));
            };
            requirements.push(FieldRequirement {
                path: path.trim().to_owned(),
                value: unescape(value),
                is_equal,
            });
        }
        Ok(Self(requirements))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The paths that it asks about.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|requirement| requirement.path.as_str())
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|requirement| {
            let value = field_text(object, &requirement.path);
            (value == requirement.value) == requirement.is_equal
        })
    }
}

/// The text of a field; absent fields are empty, absent booleans false, as in Go.
fn field_text(object: &Value, path: &str) -> String {
    let value = path
        .trim_start_matches('.')
        .split('.')
        .try_fold(object, |value, key| value.get(key));
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
        None if matches!(path, "spec.unschedulable" | "spec.hostNetwork") => "false".into(),
        None if path.starts_with("status.re") || path == "status.successful" => "0".into(),
        Some(_) | None => String::new(),
    }
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (index, character) in text.char_indices() {
        if character == ',' && !escaped {
            parts.push(&text[start..index]);
            start = index + 1;
        }
        escaped = character == '\\' && !escaped;
    }
    parts.push(&text[start..]);
    parts
}

fn unescape(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => result.extend(characters.next()),
            other => result.push(other),
        }
    }
    result
}

/// Reads one requirement and returns what comes after it.
fn parse_requirement(text: &str) -> Option<(Requirement, &str)> {
    if let Some(rest) = text.strip_prefix('!') {
        let (key, rest) = parse_key(rest.trim_start())?;
        let operator = Operator::DoesNotExist;
        return Some((Requirement { key, operator }, rest));
    }
    let (key, rest) = parse_key(text)?;
    let rest = rest.trim_start();
    let one = |value: &str| vec![value.to_owned()];
    let (operator, rest) = if let Some(rest) = rest.strip_prefix("!=") {
        let (value, rest) = parse_value(rest);
        (Operator::NotIn(one(value)), rest)
    } else if let Some(rest) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
        let (value, rest) = parse_value(rest);
        (Operator::In(one(value)), rest)
    } else if let Some(rest) = rest.strip_prefix('>') {
        let (value, rest) = parse_value(rest);
        (Operator::GreaterThan(value.parse().ok()?), rest)
    } else if let Some(rest) = rest.strip_prefix('<') {
        let (value, rest) = parse_value(rest);
        (Operator::LessThan(value.parse().ok()?), rest)
    } else if let Some(rest) = strip_word(rest, "notin") {
        let (values, rest) = parse_set(rest)?;
        (Operator::NotIn(values), rest)
    } else if let Some(rest) = strip_word(rest, "in") {
        let (values, rest) = parse_set(rest)?;
        (Operator::In(values), rest)
    } else if rest.is_empty() || rest.starts_with(',') {
        (Operator::Exists, rest)
    } else {
        return None;
    };
    Some((Requirement { key, operator }, rest))
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | '/')
}

fn parse_key(text: &str) -> Option<(String, &str)> {
    let end = text
        .find(|character| !is_word(character))
        .unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_owned(), &text[end..]))
}

fn parse_value(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text
        .find(|character| !is_word(character))
        .unwrap_or(text.len());
    text.split_at(end)
}

fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(word)?.trim_start();
    rest.starts_with('(').then_some(rest)
}

fn parse_set(text: &str) -> Option<(Vec<String>, &str)> {
    let (inside, rest) = text.strip_prefix('(')?.split_once(')')?;
    let values: Vec<String> = inside.split(',').map(|one| one.trim().to_owned()).collect();
    values
        .iter()
        .all(|value| value.chars().all(is_word))
        .then_some((values, rest))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selects(selector: &str, labels: &Value) -> bool {
        let object = json!({"metadata": {"labels": labels}});
        LabelSelector::parse(selector).unwrap().matches(&object)
    }

    #[test]
    fn every_form_of_label_selector_is_understood() {
        let labels = json!({"app": "web", "tier": "2"});
        for yes in [
            "",
            "app=web",
            "app==web",
            "app!=db",
            "app in (web, db)",
            "app notin (db)",
            "app",
            "!old",
            "tier>1",
            "tier<3",
            "app = web , tier in (1,2)",
            "env notin (x)",
            "env!=x",
        ] {
            assert!(selects(yes, &labels), "{yes}");
        }
        for no in [
            "app=db",
            "old",
            "!app",
            "tier>2",
            "app in ()",
            "env in (x)",
            "env=",
        ] {
            assert!(!selects(no, &labels), "{no}");
        }
    }

    #[test]
    fn nonsense_is_not_a_label_selector() {
        for bad in [
            "app web",
            "=x",
            "app in web",
            "app=a b",
            ",",
            "a=b,",
            "tier>x",
        ] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn selectors_of_objects_combine_labels_and_expressions() {
        let selector = LabelSelector::from_value(&json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["dev"]}],
        }))
        .unwrap();
        assert!(selector.matches(&json!({"metadata": {"labels": {"app": "web"}}})));
        assert!(!selector.matches(&json!({"metadata": {"labels": {"app": "web", "env": "dev"}}})));
        assert!(
            LabelSelector::from_value(
                &json!({"matchExpressions": [{"key": "a", "operator": "Is"}]})
            )
            .is_err()
        );
    }

    #[test]
    fn fields_are_compared_as_text_and_escapes_are_undone() {
        let pod = json!({"metadata": {"name": "a,b"}, "spec": {"nodeName": "n"}});
        let matches = |text| FieldSelector::parse(text).unwrap().matches(&pod);
        assert!(matches(r"metadata.name=a\,b,spec.nodeName==n"));
        assert!(matches("status.phase!=Running,spec.hostNetwork=false"));
        assert!(!matches("spec.nodeName!=n"));
        assert!(FieldSelector::parse("spec.nodeName").is_err());
    }
}
