//! Delegates: the rules of another VirtualService in place of one that names it.

use lateen_model::Source;
use lateen_model::http::{Fault, HeaderRules, HttpAction, HttpRule};
use lateen_model::route::{HttpMatch, StringMatch, ValueMatch, VirtualService};

/// A rule with where it was written.
#[derive(Clone)]
pub(super) struct Written {
    /// The object's name and the index of the rule.
    pub(super) name: (String, usize),
    /// The index of each block where it was written.
    pub(super) blocks: Vec<usize>,
    pub(super) rule: HttpRule,
}

/// The rules of a VirtualService, with those of its delegates in place.
pub(super) fn expand(
    source: &Source,
    root: &VirtualService,
    all: &[(&Source, &VirtualService)],
) -> Vec<Written> {
    let mut rules = Vec::new();
    for (at, rule) in root.http.iter().enumerate() {
        let HttpAction::Delegate { namespace, name } = &rule.action else {
            rules.push(Written {
                name: (source.object.name.clone(), at),
                blocks: (0..rule.matches.len()).collect(),
                rule: rule.clone(),
            });
            continue;
        };
        let delegate = all.iter().find(|(source, spec)| {
            spec.hosts.is_empty()
                && spec.namespace == *namespace
                && source.object.name == *name
                && spec.export_to.allows(&root.namespace)
        });
        for (sub, of_delegate) in delegate
            .map(|(_, spec)| &spec.http)
            .into_iter()
            .flatten()
            .enumerate()
        {
            if matches!(of_delegate.action, HttpAction::Delegate { .. }) {
                continue;
            }
            if let Some((blocks, matches)) = blocks(&rule.matches, &of_delegate.matches) {
                rules.push(Written {
                    name: (name.clone(), sub),
                    blocks,
                    rule: inherit(rule, of_delegate, matches),
                });
            }
        }
    }
    rules
}

fn inherit(root: &HttpRule, own: &HttpRule, matches: Vec<HttpMatch>) -> HttpRule {
    let mut rule = own.clone();
    rule.matches = matches;
    rule.name = join(&root.name, &own.name);
    if rule.rewrite.is_none() {
        rule.rewrite.clone_from(&root.rewrite);
    }
    if rule.timeout.is_none() {
        rule.timeout = root.timeout;
    }
    if rule.retries.is_none() {
        rule.retries.clone_from(&root.retries);
    }
    if rule.fault == Fault::default() {
        rule.fault = root.fault.clone();
    }
    if rule.mirrors.is_empty() {
        rule.mirrors.clone_from(&root.mirrors);
    }
    if rule.cors.is_none() {
        rule.cors.clone_from(&root.cors);
    }
    if rule.headers == HeaderRules::default() {
        rule.headers = root.headers.clone();
    }
    rule
}

fn join(root: &str, own: &str) -> String {
    match (root, own) {
        ("", _) => own.to_owned(),
        (_, "") => root.to_owned(),
        _ => format!("{root}-{own}"),
    }
}

/// The product of the blocks; nothing if one of the delegate fits none of the root.
fn blocks(root: &[HttpMatch], own: &[HttpMatch]) -> Option<(Vec<usize>, Vec<HttpMatch>)> {
    if own.is_empty() {
        return Some((vec![0; root.len()], root.to_vec()));
    }
    if root.is_empty() {
        return Some(((0..own.len()).collect(), own.to_vec()));
    }
    let mut product = (Vec::new(), Vec::new());
    for (at, sub) in own.iter().enumerate() {
        let before = product.1.len();
        for above in root {
            if !conflict(above, sub) {
                product.0.push(at);
                product.1.push(merge(above, sub));
            }
        }
        if product.1.len() == before {
            return None;
        }
    }
    Some(product)
}

fn merge(root: &HttpMatch, own: &HttpMatch) -> HttpMatch {
    let mut block = own.clone();
    block.name = join(&root.name, &own.name);
    for (mine, above) in [
        (&mut block.uri, &root.uri),
        (&mut block.scheme, &root.scheme),
        (&mut block.method, &root.method),
        (&mut block.authority, &root.authority),
    ] {
        if mine.is_none() {
            mine.clone_from(above);
        }
    }
    for (mine, above) in [
        (&mut block.headers, &root.headers),
        (&mut block.without_headers, &root.without_headers),
        (&mut block.query_params, &root.query_params),
    ] {
        for (name, value) in above {
            if !mine.iter().any(|(one, _)| one == name) {
                mine.push((name.clone(), value.clone()));
            }
        }
        // What is asked of one value is asked in the order of names.
        mine.sort_by(|a, b| a.0.cmp(&b.0));
    }
    block.port = own.port.or(root.port);
    for (key, value) in &root.source_labels {
        block.source_labels.insert(key.clone(), value.clone());
    }
    if block.source_namespace.is_none() {
        block.source_namespace.clone_from(&root.source_namespace);
    }
    if block.gateways.is_empty() {
        block.gateways.clone_from(&root.gateways);
    }
    block
}

fn conflict(root: &HttpMatch, own: &HttpMatch) -> bool {
    let texts = [
        (&root.uri, &own.uri),
        (&root.scheme, &own.scheme),
        (&root.method, &own.method),
        (&root.authority, &own.authority),
    ];
    let values = [
        (&root.headers, &own.headers),
        (&root.without_headers, &own.without_headers),
        (&root.query_params, &own.query_params),
    ];
    let differ = |a: Option<u16>, b: Option<u16>| a.is_some() && b.is_some() && a != b;
    texts.iter().any(|pair| match pair {
        (Some(root), Some(own)) => !is_within(root, own),
        _ => false,
    }) || values.iter().any(|(root, own)| {
        own.iter().any(|(name, own)| {
            let above = root.iter().find(|(one, _)| one == name);
            above.is_some_and(|(_, root)| match (root, own) {
                (ValueMatch::Value(root), ValueMatch::Value(own)) => !is_within(root, own),
                _ => true,
            })
        })
    }) || root.ignore_uri_case != own.ignore_uri_case
        || differ(root.port, own.port)
        || own.source_labels.iter().any(|(key, value)| {
            root.source_labels
                .get(key)
                .is_some_and(|above| above != value)
        })
        || (root.source_namespace.is_some()
            && own.source_namespace.is_some()
            && root.source_namespace != own.source_namespace)
        || (!root.gateways.is_empty()
            && own.gateways.iter().any(|one| !root.gateways.contains(one)))
}

fn is_within(root: &StringMatch, own: &StringMatch) -> bool {
    match (root, own) {
        (StringMatch::Exact(root), StringMatch::Exact(own)) => !root.is_empty() && root == own,
        (StringMatch::Prefix(root), StringMatch::Exact(own) | StringMatch::Prefix(own)) => {
            !root.is_empty() && !own.is_empty() && own.starts_with(root.as_str())
        }
        _ => false,
    }
}
