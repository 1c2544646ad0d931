//! The answer to a question: what happened at each step, and what came of it.

use std::net::SocketAddr;

use lateen_model::Reason;
use serde_json::{Map, Value, json};

/// Why a request gets what it gets.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Whose proxy decides, such as `sidecar of default/productpage-v1`.
    pub caller: String,
    /// The request, such as `GET http://reviews:9080/reviews/0`.
    pub request: String,
    /// What is taken for granted since nothing says otherwise.
    pub assumptions: Vec<String>,
    /// Objects that are not in effect, with the reason.
    pub problems: Vec<String>,
    /// The address that the client dials; none at a gateway and where there is none.
    pub destination: Option<SocketAddr>,
    /// The listener that it meets; empty if it meets none.
    pub listener: String,
    /// The server that ends TLS, if one does.
    pub server: Option<Server>,
    /// The route table, if the bytes are read as requests.
    pub table: Option<String>,
    /// The host that was looked up, and the virtual host that was found.
    pub virtual_host: Option<String>,
    /// The rules that were tried before, with their first failing condition.
    pub passed_over: Vec<PassedOver>,
    /// The rule, such as `VirtualService/default/reviews rule 0 match 0`.
    pub rule: Option<String>,
    /// The route as [`lateen_decide::describe`] tells it.
    pub route: Option<Value>,
    /// The name of the route; empty if it has none.
    pub route_name: String,
    /// The shares of traffic, if it is split.
    pub shares: Vec<Share>,
    /// The chosen cluster as [`lateen_decide::describe`] tells it; none if there is none.
    pub cluster: Option<Value>,
    /// The endpoints of the service, and whether each may be chosen.
    pub endpoints: Vec<Endpoint>,
    /// What goes to the upstream, where rules change it.
    pub rewritten: Option<Rewritten>,
    /// What comes of it.
    pub outcome: Outcome,
}

/// A server of a gateway that ends TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name, such as `https.443.https.edge.default`.
    pub name: String,
    /// The Gateway that has it.
    pub gateway: String,
    /// What it shows: Secrets or files.
    pub certificates: Vec<String>,
}

/// A rule that did not match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// The rule.
    pub rule: String,
    /// The name of its route; empty if it has none.
    pub name: String,
    /// The first condition that did not hold.
    pub failed: String,
}

/// A destination of a split.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// The cluster; none if it does not exist.
    pub cluster: Option<String>,
    /// In percent.
    pub percent: f64,
    /// It was drawn.
    pub is_chosen: bool,
}

/// An endpoint of the chosen service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address.
    pub address: String,
    /// `region/zone/subzone`; empty if unknown.
    pub locality: String,
    /// Why it gets no request; none if it may.
    pub left_out: Option<String>,
}

/// A request as it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// Path and query.
    pub path: String,
    /// `Host`.
    pub authority: String,
}

/// What comes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It goes to an upstream.
    Forwarded {
        /// The cluster.
        cluster: String,
    },
    /// A rule has the proxy answer.
    Answered {
        /// The status; none for one of gRPC.
        status: Option<u16>,
        /// By which rule of what kind.
        why: String,
    },
    /// It cannot be served.
    Refused {
        /// The reason; none where no proxy is reached.
        reason: Option<Reason>,
        /// The status of the proxy's answer; none where the connection ends without one.
        status: Option<u16>,
        /// The same in words.
        why: String,
    },
}

// === impl Outcome ===

impl Outcome {
    /// Answered by the proxy for a reason that it tells.
    pub(crate) fn refused(reason: Reason, why: impl Into<String>) -> Self {
        Self::Refused {
            reason: Some(reason),
            status: Some(reason.status()).filter(|it| *it > 0),
            why: why.into(),
        }
    }

    /// Closed without an answer: what is not read as requests gets none.
    pub(crate) fn closed(reason: Reason, why: impl Into<String>) -> Self {
        Self::Refused {
            reason: Some(reason),
            status: None,
            why: why.into(),
        }
    }

    /// Answers whether the request is forwarded, or answered by a rule.
    pub fn is_served(&self) -> bool {
        matches!(self, Self::Forwarded { .. } | Self::Answered { .. })
    }

    /// The status that the proxy gives by itself; none if the upstream's decides, or none is sent.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Forwarded { .. } => None,
            Self::Answered { status, .. } | Self::Refused { status, .. } => *status,
        }
    }
}

// === impl Answer ===

impl Answer {
    /// The answer for programs.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        let mut set = |name: &str, value: Value| {
            let is_empty = match &value {
                Value::Null => true,
                Value::Array(list) => list.is_empty(),
                Value::String(text) => text.is_empty(),
                Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
            };
            if !is_empty {
                map.insert(name.to_owned(), value);
            }
        };
        set("caller", json!(self.caller));
        set("request", json!(self.request));
        set("assumptions", json!(self.assumptions));
        set("problems", json!(self.problems));
        set(
            "destination",
            json!(self.destination.map(|it| it.to_string())),
        );
        set("listener", json!(self.listener));
        let server = self.server.as_ref();
        set(
            "tls",
            json!(server.map(|it| json!({
                "server": it.name, "gateway": it.gateway, "certificates": it.certificates,
            }))),
        );
        set("routeTable", json!(self.table));
        set("virtualHost", json!(self.virtual_host));
        let passed = self
            .passed_over
            .iter()
            .map(|one| json!({ "rule": one.rule, "name": one.name, "failed": one.failed }));
        set("passedOver", passed.collect());
        set("rule", json!(self.rule));
        set("route", json!(self.route));
        let shares = self.shares.iter().map(|one| {
            json!({ "cluster": one.cluster, "percent": one.percent, "isChosen": one.is_chosen })
        });
        set("shares", shares.collect());
        set("cluster", json!(self.cluster));
        let endpoints = self.endpoints.iter().map(|one| {
            json!({ "address": one.address, "locality": one.locality, "leftOut": one.left_out })
        });
        set("endpoints", endpoints.collect());
        let rewritten = self.rewritten.as_ref();
        set(
            "rewritten",
            json!(rewritten.map(|it| json!({ "path": it.path, "authority": it.authority }))),
        );
        set("outcome", self.outcome_json());
        Value::Object(map)
    }

    fn outcome_json(&self) -> Value {
        match &self.outcome {
            Outcome::Forwarded { cluster } => json!({ "kind": "forwarded", "cluster": cluster }),
            Outcome::Answered { status, why } => {
                json!({ "kind": "answered", "status": status, "why": why })
            }
            Outcome::Refused {
                reason,
                status,
                why,
            } => json!({
                "kind": "refused",
                "status": status,
                "flag": reason.map(Reason::flag),
                "why": why,
            }),
        }
    }
}
