//! What is decided by a request's head: where it goes and how it is treated, or how it is answered.

use std::sync::LazyLock;

use lateen_decide::cors::Cors;
use lateen_decide::retry::RetryPolicy;
use lateen_decide::route::RoutePolicy;
use lateen_decide::{ClusterId, Decision, Facts, Route, normalize_path};
use lateen_model::Reason;
use lateen_model::retry::{Retries, RetryOn};
use lateen_wire::h1::request::{Method, Request};
use lateen_wire::h1::target::{Authority, Form, OriginForm};

use super::client::Client;
use super::cors::{self, Verdict};
use super::headers;
use super::respond::Answer;
use super::workspace::Workspace;
use crate::connection::rules::{Chosen, Rules};
use crate::observe::metrics::Service;
use crate::published::Published;

/// Requests of which no rule says anything.
static NONE: LazyLock<RoutePolicy> = LazyLock::new(RoutePolicy::default);

/// Requests to the application: Istio's default policy for them, which repeats what the
/// application cannot have seen.
static INBOUND: LazyLock<RoutePolicy> = LazyLock::new(|| RoutePolicy {
    retries: RetryPolicy::new(&Retries {
        conditions: vec![RetryOn::ResetBeforeRequest],
        ignores_previous_hosts: false,
        ..Retries::default_policy()
    }),
    ..RoutePolicy::default()
});

/// What was decided on a request.
#[derive(Debug)]
pub(super) struct Course<'p> {
    /// The plan by which it was decided.
    pub(super) rules: Rules<'p>,
    /// What becomes of it.
    pub(super) action: Action<'p>,
    /// The route that matched, if one did.
    pub(super) route: Option<&'p Route>,
    /// How it is treated.
    pub(super) policy: &'p RoutePolicy,
    /// The destination's place in the route's split.
    pub(super) destination: usize,
    /// The policy of cross-origin requests, if it allows the origin of this one.
    pub(super) cors: Option<&'p Cors>,
    /// What logs and metrics say about where it goes; the target is chosen for each attempt.
    pub(super) chosen: Chosen<'p>,
    /// A cookie is made for the client, so that its requests stay at one endpoint.
    pub(super) makes_cookie: bool,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action<'p> {
    /// It goes to the application.
    Inbound,
    /// It goes to this cluster.
    Forward(ClusterId),
    /// The proxy answers.
    Answer(Answer<'p>),
}

/// A request as rules see it.
struct RequestFacts<'a> {
    request: Request<'a>,
    path: &'a [u8],
    scheme: &'static str,
}

/// Decides on a request of which the head is valid.
pub(super) fn decide<'p>(client: &Client, work: &mut Workspace, view: &'p Published) -> Course<'p> {
    let mut course = Course::unknown(Rules::of(view, client.origin));
    let request = work.request.view(client.side.buffer.bytes());
    work.composed.clear();
    work.normal.clear();
    if request.method() == Method::Connect {
        // Envoy answers so too where no route takes CONNECT.
        return course;
    }
    compose(request, &mut work.composed);
    let path = if work.composed.is_empty() {
        request.target()
    } else {
        &work.composed
    };
    let is_changed = normalize_path(path, &mut work.normal);
    let facts = RequestFacts {
        request,
        path: if is_changed { &work.normal } else { path },
        scheme: client.origin.scheme(),
    };
    course.take(client, &facts);
    if let Some(policy) = course.policy.cors.as_ref() {
        match cors::judge(policy, request) {
            Verdict::Unrelated => {}
            Verdict::Allowed => course.cors = Some(policy),
            Verdict::Preflight => course.action = Action::Answer(Answer::Preflight(Some(policy))),
            Verdict::Refused => course.action = Action::Answer(Answer::Preflight(None)),
        }
    }
    if let (Action::Forward(_), Some(route)) = (course.action, course.route) {
        rewrite(client, work, &course, route);
    }
    course
}

/// Path and query of a request in one piece, unless its target is that piece.
fn compose(request: Request<'_>, into: &mut Vec<u8>) {
    if request.form() == Form::Origin {
        return;
    }
    into.extend_from_slice(request.path());
    if let Some(query) = request.query() {
        into.push(b'?');
        into.extend_from_slice(query);
    }
}

/// Writes the target and the authority that are sent on, where a rule changes them.
fn rewrite(client: &Client, work: &mut Workspace, course: &Course<'_>, route: &Route) {
    let rewrite = course.policy.rewrite.as_ref();
    let destination = course.policy.headers_of(course.destination);
    let mut headers = [destination, course.policy.headers.as_ref()].into_iter();
    let template = headers.find_map(|headers| headers?.authority.as_ref());
    if rewrite.is_none() && template.is_none() {
        return;
    }
    let mut target = std::mem::take(&mut work.target);
    let mut authority = std::mem::take(&mut work.authority);
    target.clear();
    authority.clear();
    if let Some(rewrite) = rewrite {
        if rewrite.changes_path() {
            let request = work.request(&client.side);
            rewrite.write_target(work.path(request), route.matched, &mut target);
            make_valid(&mut target);
        }
        authority.extend_from_slice(rewrite.authority.as_deref().unwrap_or_default().as_bytes());
    }
    if let Some(template) = template {
        let context = headers::Context::of_request(client, work, course);
        let before = authority.len();
        headers::fill(template, &context, &mut authority);
        if authority.len() > before {
            authority.drain(..before);
        }
    }
    work.target = target;
    work.authority = authority;
}

/// Makes a target of what a rule wrote: it begins with a slash, and what no target may have is
/// percent-encoded.
fn make_valid(target: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if OriginForm::new(target).is_some() {
        return;
    }
    let written = std::mem::take(target);
    if written.first() != Some(&b'/') {
        target.push(b'/');
    }
    for byte in written {
        match byte {
            b'!'..=b'~' if byte != b'#' => target.push(byte),
            _ => target.extend_from_slice(&[
                b'%',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]),
        }
    }
}

// === impl Course ===

impl<'p> Course<'p> {
    /// Nothing is known: no route.
    pub(super) fn unknown(rules: Rules<'p>) -> Self {
        Self {
            rules,
            action: Action::Answer(Answer::Refuse(Reason::NoRoute)),
            route: None,
            policy: &NONE,
            destination: 0,
            cors: None,
            chosen: Chosen::refused(Reason::NoRoute),
            makes_cookie: false,
        }
    }

    /// Answers whether rules change the response.
    pub(super) fn changes_responses(&self) -> bool {
        self.cors.is_some()
            || self.makes_cookie
            || self.policy.headers.is_some()
            || !self.policy.destination_headers.is_empty()
    }

    fn take(&mut self, client: &Client, facts: &RequestFacts<'_>) {
        let rules = self.rules;
        let Some(table) = rules.http() else {
            if let Some(chosen) = rules.choose_inbound() {
                self.chosen = chosen;
                self.policy = if rules.carries_calls() {
                    &NONE
                } else {
                    &INBOUND
                };
                self.action = Action::Inbound;
            }
            return;
        };
        let worker = &client.worker;
        let mut scratch = worker.scratch.borrow_mut();
        let decision = table.decide(facts, &mut scratch, || worker.random.next());
        self.action = match decision {
            Decision::RedirectToHttps => Action::Answer(Answer::RedirectToHttps),
            Decision::Refuse(reason) => Action::Answer(Answer::Refuse(reason)),
            Decision::Redirect { redirect, route } => {
                self.follow(route);
                Action::Answer(Answer::Redirect(redirect))
            }
            Decision::Respond { response, route } => {
                self.follow(route);
                Action::Answer(Answer::Respond(response))
            }
            Decision::Forward {
                cluster,
                destination,
                route,
            } => {
                self.follow(route);
                self.destination = destination;
                self.chosen = rules.describe(cluster, route);
                if let Some(authority) = facts.request.authority()
                    && cluster == ClusterId::PASSTHROUGH
                {
                    let host = worker.recorder.foreign_host(authority.host());
                    self.chosen.service = Service::Foreign(host);
                }
                Action::Forward(cluster)
            }
        };
    }

    fn follow(&mut self, route: &'p Route) {
        self.route = Some(route);
        self.policy = &route.policy;
        self.chosen.route = &route.name;
    }
}

// === impl RequestFacts ===

impl Facts for RequestFacts<'_> {
    fn method(&self) -> &[u8] {
        self.request.method_bytes()
    }

    fn scheme(&self) -> &[u8] {
        self.scheme.as_bytes()
    }

    fn authority(&self) -> &[u8] {
        self.request.authority().map_or(b"", Authority::as_bytes)
    }

    fn path(&self) -> &[u8] {
        self.path
    }

    fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.request.fields().iter()
    }
}
