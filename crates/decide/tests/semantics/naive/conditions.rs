//! Whether the conditions of a block hold.

use lateen_model::route::{HttpMatch, StringMatch, ValueMatch};

use super::super::request::Request;

/// Lower case, no port, no trailing dot.
pub(crate) fn canonical(authority: &str) -> String {
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    host.strip_suffix('.').unwrap_or(host).to_lowercase()
}

pub(crate) fn holds(one: &HttpMatch, request: &Request) -> bool {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let uri = one.uri.as_ref().is_none_or(|uri| match uri {
        StringMatch::Exact(text) if one.ignore_uri_case => text.eq_ignore_ascii_case(path),
        StringMatch::Prefix(text) if one.ignore_uri_case => {
            path.to_lowercase().starts_with(&text.to_lowercase())
        }
        other => accepts(other, path),
    });
    let header = |name: &str| {
        let values = request
            .headers
            .iter()
            .filter(|(one, _)| one.eq_ignore_ascii_case(name));
        let values: Vec<&str> = values.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(","))
    };
    let parameter = |name: &str| {
        let pairs = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let has_query = request.path.contains('?');
        let mut values = pairs.filter(|(one, _)| has_query && *one == name);
        values.next().map(|(_, value)| value.to_owned())
    };
    let is = |condition: &Option<StringMatch>, text: &str| {
        condition
            .as_ref()
            .is_none_or(|condition| accepts(condition, text))
    };
    uri && is(&one.method, &request.method)
        && is(&one.scheme, &request.scheme)
        && is(&one.authority, &request.authority)
        && one
            .headers
            .iter()
            .all(|(name, condition)| has(condition, header(name)))
        && one
            .query_params
            .iter()
            .all(|(name, condition)| has(condition, parameter(name)))
        && one
            .without_headers
            .iter()
            .all(|(name, condition)| match condition {
                ValueMatch::Present => header(name).is_none(),
                ValueMatch::Value(condition) => {
                    !accepts(condition, &header(name).unwrap_or_default())
                }
            })
}

fn has(condition: &ValueMatch, value: Option<String>) -> bool {
    match (condition, value) {
        (_, None) => false,
        (ValueMatch::Present, Some(_)) => true,
        (ValueMatch::Value(condition), Some(value)) => accepts(condition, &value),
    }
}

pub(super) fn accepts(condition: &StringMatch, text: &str) -> bool {
    match condition {
        StringMatch::Exact(exact) => text == exact,
        StringMatch::Prefix(prefix) => text.starts_with(prefix),
        StringMatch::Regex(regex) => {
            let whole = regex::Regex::new(&format!("^(?:{regex})$"));
            whole
                .expect("generated expressions are valid")
                .is_match(text)
        }
    }
}
