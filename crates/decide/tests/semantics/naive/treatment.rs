//! How a request is treated on its way: worked out from the rule as it is written.

use std::time::Duration;

use lateen_decide::retry::RetryPolicy;
use lateen_model::Percent;
use lateen_model::http::{CorsPolicy, Fault, HeaderChanges, HeaderRules, UriRewrite};
use lateen_model::mesh::Mesh;
use lateen_model::route::{StringMatch, WeightedDestination};

use super::super::request::Request;
use super::conditions::accepts;
use super::{Interpreter, Rule};

/// How a request is treated on its way.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Treatment {
    pub(crate) name: String,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: RetryPolicy,
    pub(crate) fault: Fault,
    /// Path and query as they are sent.
    pub(crate) target: String,
    pub(crate) authority: Option<String>,
    /// Of the request and of its response: those of the rule, then those of the destination.
    pub(crate) changes: [Vec<Change>; 4],
    /// The new host by changes of headers: of the rule, and of the destination.
    pub(crate) hosts: [Option<String>; 2],
    pub(crate) mirrors: Vec<(String, Percent)>,
    pub(crate) cors: Option<Cors>,
}

/// A change of a header.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    Remove(String),
    Set(String, String),
    Add(String, String),
}

/// What a policy says about an origin, and what the answer tells.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cors {
    pub(crate) allows: bool,
    pub(crate) texts: [String; 4],
    pub(crate) credentials: bool,
}

impl Treatment {
    /// Of a request for a service without rules.
    pub(super) fn of_service(mesh: &Mesh, request: &Request) -> Self {
        Self {
            name: "default".into(),
            timeout: None,
            retries: RetryPolicy::new(&mesh.default_retries),
            fault: Fault::default(),
            target: request.path.clone(),
            authority: None,
            changes: Default::default(),
            hosts: [None, None],
            mirrors: Vec::new(),
            cors: None,
        }
    }

    /// Of a request that a rule sends to a destination.
    pub(super) fn of_rule(
        mesh: &Interpreter<'_>,
        rule: &Rule<'_>,
        destination: &WeightedDestination,
        request: &Request,
    ) -> Self {
        let spec = rule.spec;
        let block = rule.conditions.map_or("", |block| block.name.as_str());
        let retries = spec.retries.as_ref();
        let rules = [&spec.headers, &destination.headers];
        let mirrors = spec
            .mirrors
            .iter()
            .filter(|one| one.percentage > Percent::ZERO);
        let rewrite = spec.rewrite.as_ref();
        Self {
            name: match block {
                "" => spec.name.clone(),
                block => format!("{}.{block}", spec.name),
            },
            timeout: spec.timeout,
            retries: RetryPolicy::new(retries.unwrap_or(&mesh.mesh.default_retries)),
            fault: spec.fault.clone(),
            target: target(rule, request),
            authority: rewrite.and_then(|rewrite| rewrite.authority.clone()),
            changes: [
                changes(&rules[0].request),
                changes(&rules[1].request),
                changes(&rules[0].response),
                changes(&rules[1].response),
            ],
            hosts: rules.map(host),
            mirrors: mirrors
                .map(|one| (mesh.cluster(&one.destination, rule.port), one.percentage))
                .collect(),
            cors: spec.cors.as_ref().map(|cors| Cors::of(cors, request)),
        }
    }
}

impl Cors {
    fn of(policy: &CorsPolicy, request: &Request) -> Self {
        let origin = request.origin().unwrap_or_default();
        Self {
            allows: policy
                .allow_origins
                .iter()
                .any(|one| accepts(one, origin) || *one == StringMatch::Exact("*".into())),
            texts: [
                policy.allow_methods.join(","),
                policy.allow_headers.join(","),
                policy.expose_headers.join(","),
                policy
                    .max_age
                    .map_or(String::new(), |age| age.as_secs().to_string()),
            ],
            credentials: policy.allow_credentials,
        }
    }
}

/// Path and query after the rewrite.
fn target(rule: &Rule<'_>, request: &Request) -> String {
    let (path, query) = match request.path.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (request.path.as_str(), String::new()),
    };
    let uri = rule.conditions.and_then(|block| block.uri.as_ref());
    let rewrite = rule.spec.rewrite.as_ref();
    let path = match rewrite.and_then(|rewrite| rewrite.uri.as_ref()) {
        None => path.to_owned(),
        Some(UriRewrite::Prefix(new)) => match uri {
            None => format!("{new}{}", path.get(1..).unwrap_or_default()),
            Some(StringMatch::Prefix(prefix)) => format!("{new}{}", &path[prefix.len()..]),
            Some(StringMatch::Exact(_) | StringMatch::Regex(_)) => new.clone(),
        },
        Some(UriRewrite::Regex {
            pattern,
            replacement,
        }) => {
            let regex = regex::Regex::new(pattern).expect("generated expressions are valid");
            let replace = |found: &regex::Captures<'_>| {
                let group = |at| found.get(at).map_or("", |group| group.as_str());
                replacement
                    .replace("\\1", group(1))
                    .replace("\\0", group(0))
            };
            regex.replace_all(path, replace).into_owned()
        }
    };
    path + &query
}

fn is_host(name: &str) -> bool {
    name == "host" || name == ":authority"
}

/// The changes but those of the host.
fn changes(written: &HeaderChanges) -> Vec<Change> {
    let removed = written.remove.iter().cloned().map(Change::Remove);
    let mut changes: Vec<_> = removed.collect();
    for (name, value) in written.set.iter().filter(|(name, _)| !is_host(name)) {
        changes.push(Change::Set(name.clone(), value.clone()));
    }
    for (name, value) in written.add.iter().filter(|(name, _)| !is_host(name)) {
        changes.push(Change::Add(name.clone(), value.clone()));
    }
    changes
}

/// What the host is set to, else what is added to it.
fn host(rules: &HeaderRules) -> Option<String> {
    let mut all = rules.request.set.iter().chain(&rules.request.add);
    all.find(|(name, _)| is_host(name))
        .map(|(_, value)| value.clone())
}
