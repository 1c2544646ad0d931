//! What rules for HTTP do with a request that they match.

use std::time::Duration;

use serde::Serialize;

use crate::Percent;
use crate::retry::Retries;
use crate::route::{Destination, HttpMatch, StringMatch, WeightedDestination};

/// One rule of `http`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRule {
    /// The name; empty if none.
    pub name: String,
    /// Alternatives; empty matches every request.
    pub matches: Vec<HttpMatch>,
    /// What becomes of its requests.
    pub action: HttpAction,
    /// Changes the request's target before it is sent on.
    pub rewrite: Option<Rewrite>,
    /// How long a request may take, all attempts together; no limit if unset.
    pub timeout: Option<Duration>,
    /// When requests are sent again; the mesh's policy if unset.
    pub retries: Option<Retries>,
    /// Faults that are injected.
    pub fault: Fault,
    /// Where copies of requests go.
    pub mirrors: Vec<Mirror>,
    /// Cross-origin resource sharing.
    pub cors: Option<CorsPolicy>,
    /// Changes of headers.
    pub headers: HeaderRules,
}

/// What becomes of requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HttpAction {
    /// They go to destinations by weight; never empty.
    Route(Vec<WeightedDestination>),
    /// They are sent elsewhere.
    Redirect(Redirect),
    /// The proxy answers.
    DirectResponse(DirectResponse),
    /// Another VirtualService, without hosts, continues the routing.
    Delegate {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// An answer that sends the client elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Redirect {
    /// The new path.
    pub path: RedirectPath,
    /// The new host; that of the request if unset.
    pub authority: Option<String>,
    /// The new port.
    pub port: RedirectPort,
    /// The new scheme; that of the request if unset.
    pub scheme: Option<String>,
    /// The status: 301, 302, 303, 307 or 308.
    pub code: u16,
}

/// The path of a redirect. The query is kept where the replacement has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RedirectPath {
    /// That of the request.
    Keep,
    /// This.
    Replace(String),
    /// This in place of the prefix that matched.
    ReplacePrefix(String),
}

/// The port of a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RedirectPort {
    /// That of the request's authority, unless authority or scheme are replaced.
    Keep,
    /// This.
    Number(u16),
    /// That on which the request arrived.
    FromRequest,
    /// That of the scheme, hence not written.
    FromScheme,
}

/// An answer that the proxy gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectResponse {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Changes a request's target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rewrite {
    /// Changes the path.
    pub uri: Option<UriRewrite>,
    /// The new authority.
    pub authority: Option<String>,
}

/// Changes a path; the query is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum UriRewrite {
    /// In place of the prefix that matched; of the whole path where it matched as a whole.
    Prefix(String),
    /// In place of every match of a regular expression (RE2's syntax); `\\1` is the first group.
    Regex {
        /// The expression.
        pattern: String,
        /// The replacement.
        replacement: String,
    },
}

/// Faults that are injected before a request is sent, so that retries and timeouts do not apply
/// to them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// Delays requests.
    pub delay: Option<Delay>,
    /// Answers requests with an error.
    pub abort: Option<Abort>,
}

/// Delays requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delay {
    /// How long.
    pub duration: Duration,
    /// Which share.
    pub percentage: Percent,
}

/// Answers requests with an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Abort {
    /// With which.
    pub with: AbortWith,
    /// Which share.
    pub percentage: Percent,
}

/// The error of an abort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AbortWith {
    /// An HTTP status.
    Http(u16),
    /// A gRPC status, as HTTP 200 with `grpc-status` for gRPC requests, else its HTTP equal.
    Grpc(u8),
}

/// Where copies of requests go; nobody waits for their answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mirror {
    /// Where to.
    pub destination: Destination,
    /// Which share.
    pub percentage: Percent,
}

/// Cross-origin resource sharing (the Fetch standard, §3.2).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CorsPolicy {
    /// Origins that are allowed.
    pub allow_origins: Vec<StringMatch>,
    /// `access-control-allow-methods`.
    pub allow_methods: Vec<String>,
    /// `access-control-allow-headers`.
    pub allow_headers: Vec<String>,
    /// `access-control-expose-headers`.
    pub expose_headers: Vec<String>,
    /// `access-control-max-age`, in whole seconds.
    pub max_age: Option<Duration>,
    /// `access-control-allow-credentials`.
    pub allow_credentials: bool,
    /// Preflights of other origins are answered by the proxy, not forwarded (`IGNORE`).
    pub answers_unmatched_preflights: bool,
}

/// Changes of headers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderRules {
    /// Of requests.
    pub request: HeaderChanges,
    /// Of responses.
    pub response: HeaderChanges,
}

/// Changes of a message's headers: first removed, then set and added. Names are lower case and in
/// order; values may have Envoy's `%VARIABLES%`, and `%%` is a percent sign.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderChanges {
    /// Overwrites, or adds if missing. `:authority` and `host` change the host.
    pub set: Vec<(String, String)>,
    /// Appends.
    pub add: Vec<(String, String)>,
    /// Removes.
    pub remove: Vec<String>,
}

// === impl HttpRule ===

impl HttpRule {
    /// A rule that does nothing but this, with everything else unset.
    pub fn new(action: HttpAction) -> Self {
        Self {
            name: String::new(),
            matches: Vec::new(),
            action,
            rewrite: None,
            timeout: None,
            retries: None,
            fault: Fault::default(),
            mirrors: Vec::new(),
            cors: None,
            headers: HeaderRules::default(),
        }
    }

    /// The destinations of a rule that routes; none otherwise.
    pub fn destinations(&self) -> &[WeightedDestination] {
        match &self.action {
            HttpAction::Route(destinations) => destinations,
            HttpAction::Redirect(_)
            | HttpAction::DirectResponse(_)
            | HttpAction::Delegate { .. } => &[],
        }
    }
}

// === impl HeaderRules ===

impl HeaderRules {
    /// Answers whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
