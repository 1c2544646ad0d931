//! Label selectors of objects, parsed once.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Labels of an object.
pub(super) type Labels = BTreeMap<String, String>;

/// A selector that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selector {
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    DoesNotExist(String),
}

// === impl Selector ===

impl Selector {
    /// Reads a selector; says what is wrong with it.
    pub(super) fn parse(selector: &LabelSelector) -> Result<Self, String> {
        let labels = selector.match_labels.iter().flatten();
        let mut requirements: Vec<_> = labels
            .map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()]))
            .collect();
        for expression in selector.match_expressions.iter().flatten() {
            let key = expression.key.clone();
            let values = expression.values.clone().unwrap_or_default();
            requirements.push(match expression.operator.as_str() {
                "In" | "NotIn" if values.is_empty() => {
                    return Err(format!("{} of {key} has no values", expression.operator));
                }
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::DoesNotExist(key),
                other => return Err(format!("{other:?} is no operator of label selectors")),
            });
        }
        Ok(Self { requirements })
    }

    /// Answers whether it selects everything.
    pub(super) fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Answers whether it selects these labels.
    pub(super) fn matches(&self, labels: Option<&Labels>) -> bool {
        let get = |key: &str| labels.and_then(|labels| labels.get(key));
        self.requirements
            .iter()
            .all(|requirement| match requirement {
                Requirement::In(key, values) => {
                    get(key).is_some_and(|value| values.contains(value))
                }
                Requirement::NotIn(key, values) => {
                    get(key).is_none_or(|value| !values.contains(value))
                }
                Requirement::Exists(key) => get(key).is_some(),
                Requirement::DoesNotExist(key) => get(key).is_none(),
            })
    }
}

/// Answers whether `labels` carry every pair of a service's selector.
pub(super) fn carries(labels: Option<&Labels>, pairs: &Labels) -> bool {
    pairs
        .iter()
        .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;

    use super::*;

    fn selector(operator: &str, values: &[&str]) -> LabelSelector {
        LabelSelector {
            match_labels: None,
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: "app".into(),
                operator: operator.into(),
                values: Some(values.iter().map(ToString::to_string).collect()),
            }]),
        }
    }

    #[test]
    fn operators_mean_what_kubernetes_says() {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect()
        };
        let (a, none) = (labels(&[("app", "a")]), labels(&[]));
        for (operator, values, matches_a, matches_none) in [
            ("In", &["a", "b"][..], true, false),
            ("NotIn", &["a"], false, true),
            ("Exists", &[], true, false),
            ("DoesNotExist", &[], false, true),
        ] {
            let selector = Selector::parse(&selector(operator, values)).unwrap();
            assert_eq!(selector.matches(Some(&a)), matches_a, "{operator}");
            assert_eq!(selector.matches(Some(&none)), matches_none, "{operator}");
            assert_eq!(selector.matches(None), matches_none, "{operator}");
        }
        assert!(Selector::parse(&selector("In", &[])).is_err());
        assert!(Selector::parse(&selector("Near", &["a"])).is_err());
    }
}
