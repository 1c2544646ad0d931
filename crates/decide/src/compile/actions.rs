//! What rules for HTTP do with their requests, apart from whom they match.

use lateen_model::http::{HttpAction, HttpRule};
use lateen_model::{ObjectRef, Percent};

use super::{Compiler, texts};
use crate::cors::Cors;
use crate::error::Error;
use crate::headers::Headers;
use crate::retry::RetryPolicy;
use crate::rewrite::Rewrite;
use crate::route::{Action, RoutePolicy, Split};

/// The parts of a rule that are compiled once, when its object arrives.
#[derive(Debug)]
pub(super) struct Actions {
    rewrite: Option<Rewrite>,
    cors: Option<Cors>,
    headers: Option<Headers>,
    /// For each destination.
    destinations: Vec<Option<Headers>>,
}

// === impl Actions ===

impl Actions {
    /// Compiles what does not depend on services.
    ///
    /// # Errors
    /// Names the field that cannot be carried out; `place` is where the rule is in its object.
    pub(super) fn compile(rule: &HttpRule, object: &ObjectRef, place: &str) -> Result<Self, Error> {
        texts::check(rule).map_err(|(field, problem)| Error::Field {
            object: object.to_string(),
            field: format!("{place}.{field}"),
            problem,
        })?;
        let regex = |field: String, pattern: String, problem: String| Error::Regex {
            object: object.to_string(),
            field: format!("{place}.{field}"),
            pattern,
            problem,
        };
        let headers = |prefix: String, rules: &_| {
            Headers::compile(rules).map_err(|(field, problem)| Error::Field {
                object: object.to_string(),
                field: format!("{place}.{prefix}headers.{field}"),
                problem,
            })
        };
        let rewrite = rule.rewrite.as_ref().map(Rewrite::compile).transpose();
        let cors = rule.cors.as_ref().map(Cors::compile).transpose();
        let mut destinations = Vec::new();
        for (at, one) in rule.destinations().iter().enumerate() {
            destinations.push(headers(format!("route[{at}]."), &one.headers)?);
        }
        if destinations.iter().all(Option::is_none) {
            destinations.clear();
        }
        Ok(Self {
            rewrite: rewrite.map_err(|(pattern, problem)| {
                regex("rewrite.uriRegexRewrite.match".into(), pattern, problem)
            })?,
            cors: cors.map_err(|(at, pattern, problem)| {
                regex(
                    format!("corsPolicy.allowOrigins[{at}].regex"),
                    pattern,
                    problem,
                )
            })?,
            headers: headers(String::new(), &rule.headers)?,
            destinations,
        })
    }
}

// === impl Compiler ===

impl Compiler<'_> {
    /// What becomes of the requests of a rule that arrive on a port.
    pub(super) fn action(&mut self, rule: &HttpRule, arrival: u16) -> Action {
        match &rule.action {
            HttpAction::Route(route) => Action::Forward(self.split(route, arrival)),
            HttpAction::Redirect(redirect) => Action::Redirect(Box::new(redirect.clone())),
            HttpAction::DirectResponse(response) => Action::Respond(Box::new(response.clone())),
            HttpAction::Delegate { .. } => Action::Forward(Split::weighted(&[])),
        }
    }

    /// How the requests of a rule are treated.
    pub(super) fn policy(
        &mut self,
        rule: &HttpRule,
        actions: &Actions,
        arrival: u16,
    ) -> RoutePolicy {
        let mirrors = rule.mirrors.iter();
        let mirrors = mirrors.filter(|mirror| mirror.percentage > Percent::ZERO);
        let mirrors = mirrors.map(|mirror| {
            let cluster = self.target(&mirror.destination, arrival);
            (cluster, mirror.percentage)
        });
        RoutePolicy {
            mirrors: mirrors.collect(),
            timeout: rule.timeout,
            retries: RetryPolicy::new(rule.retries.as_ref().unwrap_or(&self.mesh.default_retries)),
            fault: rule.fault.clone(),
            rewrite: actions.rewrite.clone(),
            headers: actions.headers.clone(),
            destination_headers: actions.destinations.clone().into(),
            cors: actions.cors.clone(),
        }
    }
}
