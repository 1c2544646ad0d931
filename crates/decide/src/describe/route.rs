//! Routes: what becomes of requests, and how they are treated on the way.

use std::fmt::Write as _;

use lateen_model::http::{
    Abort, AbortWith, CorsPolicy, Fault, Redirect, RedirectPath, RedirectPort, Rewrite, UriRewrite,
};
use lateen_model::retry::RetryOn;
use lateen_model::route::StringMatch;
use serde_json::{Value, json};

use super::{Fields, duration};
use crate::cluster::ClusterId;
use crate::headers::{Changes, Headers, Piece, Template, Variable, Write};
use crate::plan::Plan;
use crate::retry::RetryPolicy;
use crate::route::{Action, Route, RoutePolicy};

/// A route: its source, its action and its policy. What it matches is said by whoever lists it.
pub fn route(plan: &Plan, route: &Route) -> Value {
    let mut fields = Fields::default();
    if !route.name.is_empty() {
        fields.set("name", &*route.name);
    }
    let origin = &route.origin;
    fields.set(
        "source",
        json!({ "object": origin.object.to_string(), "rule": origin.rule, "match": origin.block }),
    );
    fields.set("action", action(plan, &route.action, &route.policy));
    policy(plan, &route.policy, &mut fields);
    fields.finish()
}

/// The name of a cluster; of one that does not exist there is only its number.
fn cluster(plan: &Plan, id: ClusterId) -> Value {
    match plan.cluster(id) {
        Some(cluster) => (&*cluster.name).into(),
        None => Value::Null,
    }
}

fn action(plan: &Plan, action: &Action, policy: &RoutePolicy) -> Value {
    match action {
        Action::Forward(split) => {
            let targets = split.targets().enumerate().map(|(place, (id, weight))| {
                let mut fields = Fields::default();
                fields.set("cluster", cluster(plan, id));
                fields.set("weight", weight);
                fields.set_if("headers", policy.headers_of(place).map(headers));
                fields.finish()
            });
            json!({ "forward": targets.collect::<Vec<_>>() })
        }
        Action::Redirect(to) => json!({ "redirect": redirect(to) }),
        Action::Respond(response) => json!({ "respond": {
            "status": response.status,
            "body": String::from_utf8_lossy(&response.body),
        }}),
    }
}

fn redirect(to: &Redirect) -> Value {
    let mut fields = Fields::default();
    fields.set("code", to.code);
    fields.set_if("scheme", to.scheme.as_deref());
    fields.set_if("authority", to.authority.as_deref());
    match &to.path {
        RedirectPath::Keep => {}
        RedirectPath::Replace(path) => fields.set("path", path.as_str()),
        RedirectPath::ReplacePrefix(prefix) => fields.set("prefix", prefix.as_str()),
    }
    match to.port {
        RedirectPort::Keep => {}
        RedirectPort::Number(port) => fields.set("port", port),
        RedirectPort::FromRequest => fields.set("port", "FROM_REQUEST_PORT"),
        RedirectPort::FromScheme => fields.set("port", "FROM_PROTOCOL_DEFAULT"),
    }
    fields.finish()
}

fn policy(plan: &Plan, policy: &RoutePolicy, fields: &mut Fields) {
    fields.set_duration("timeout", policy.timeout);
    if policy.retries.is_on() {
        fields.set("retries", retries(&policy.retries));
    }
    if policy.fault != Fault::default() {
        fields.set("fault", fault(&policy.fault));
    }
    fields.set_if(
        "rewrite",
        policy.rewrite.as_ref().map(|it| rewrite(it.written())),
    );
    fields.set_if("headers", policy.headers.as_ref().map(headers));
    fields.set_if("cors", policy.cors.as_ref().map(|it| cors(it.written())));
    if !policy.mirrors.is_empty() {
        let mirrors = policy.mirrors.iter().map(
            |(id, share)| json!({ "cluster": cluster(plan, *id), "percentage": share.to_string() }),
        );
        fields.set("mirrors", mirrors.collect::<Vec<_>>());
    }
}

fn retries(policy: &RetryPolicy) -> Value {
    let mut fields = Fields::default();
    fields.set("attempts", policy.attempts);
    let on: Vec<&str> = policy.conditions().map(RetryOn::word).collect();
    fields.set("on", on);
    if !policy.status_codes().is_empty() {
        fields.set("statusCodes", policy.status_codes().to_vec());
    }
    fields.set_duration("perTryTimeout", policy.per_try_timeout);
    fields.set("backoff", duration(policy.backoff));
    fields.set("ignoresPreviousHosts", policy.ignores_previous_hosts);
    fields.finish()
}

fn fault(fault: &Fault) -> Value {
    let mut fields = Fields::default();
    fields.set_if(
        "delay",
        fault.delay.as_ref().map(|delay| {
            json!({
                "duration": duration(delay.duration),
                "percentage": delay.percentage.to_string(),
            })
        }),
    );
    fields.set_if("abort", fault.abort.as_ref().map(abort));
    fields.finish()
}

fn abort(abort: &Abort) -> Value {
    let mut fields = Fields::default();
    match abort.with {
        AbortWith::Http(status) => fields.set("httpStatus", status),
        AbortWith::Grpc(status) => fields.set("grpcStatus", status),
    }
    fields.set("percentage", abort.percentage.to_string());
    fields.finish()
}

fn rewrite(rewrite: &Rewrite) -> Value {
    let mut fields = Fields::default();
    match &rewrite.uri {
        None => {}
        Some(UriRewrite::Prefix(text)) => fields.set("uri", text.as_str()),
        Some(UriRewrite::Regex {
            pattern,
            replacement,
        }) => fields.set("regex", json!({ "match": pattern, "rewrite": replacement })),
    }
    fields.set_if("authority", rewrite.authority.as_deref());
    fields.finish()
}

fn cors(policy: &CorsPolicy) -> Value {
    let origins = policy.allow_origins.iter().map(|origin| match origin {
        StringMatch::Exact(text) => json!({ "exact": text }),
        StringMatch::Prefix(text) => json!({ "prefix": text }),
        StringMatch::Regex(text) => json!({ "regex": text }),
    });
    let mut fields = Fields::default();
    fields.set("allowOrigins", origins.collect::<Vec<_>>());
    for (name, list) in [
        ("allowMethods", &policy.allow_methods),
        ("allowHeaders", &policy.allow_headers),
        ("exposeHeaders", &policy.expose_headers),
    ] {
        if !list.is_empty() {
            fields.set(name, list.clone());
        }
    }
    fields.set_duration("maxAge", policy.max_age);
    fields.set("allowCredentials", policy.allow_credentials);
    fields.finish()
}

fn headers(headers: &Headers) -> Value {
    let mut fields = Fields::default();
    fields.set_if("authority", headers.authority.as_ref().map(text_of));
    for (side, changes) in [
        ("request", &headers.request),
        ("response", &headers.response),
    ] {
        if !changes.is_empty() {
            fields.set(side, self::changes(changes));
        }
    }
    fields.finish()
}

fn changes(changes: &Changes) -> Value {
    let mut fields = Fields::default();
    if !changes.remove.is_empty() {
        let names: Vec<&str> = changes.remove.iter().map(|name| &**name).collect();
        fields.set("remove", names);
    }
    for (name, how) in [("set", Write::Set), ("add", Write::Add)] {
        let ours = changes.write.iter().filter(|(_, write, _)| *write == how);
        let ours: Vec<Value> = ours
            .map(|(name, _, value)| json!([**name, text_of(value)]))
            .collect();
        if !ours.is_empty() {
            fields.set(name, ours);
        }
    }
    fields.finish()
}

/// A value as it was written.
fn text_of(template: &Template) -> String {
    let mut text = String::new();
    for piece in &template.pieces {
        match piece {
            Piece::Text(part) => text.push_str(&part.replace('%', "%%")),
            Piece::Variable(variable) => {
                let _ = write!(text, "%{}%", variable_text(variable));
            }
        }
    }
    text
}

fn variable_text(variable: &Variable) -> String {
    let header = |word: &str, name: &str, other: &Option<Box<str>>, length: &Option<usize>| {
        let other = other.as_deref().map(|it| format!("?{it}"));
        let length = length.map(|it| format!(":{it}"));
        format!(
            "{word}({name}{}){}",
            other.unwrap_or_default(),
            length.unwrap_or_default()
        )
    };
    let word = match variable {
        Variable::Request {
            name,
            other,
            length,
        } => return header("REQ", name, other, length),
        Variable::Response {
            name,
            other,
            length,
        } => return header("RESP", name, other, length),
        Variable::DownstreamRemoteAddress => "DOWNSTREAM_REMOTE_ADDRESS",
        Variable::DownstreamRemoteAddressWithoutPort => "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        Variable::DownstreamLocalAddress => "DOWNSTREAM_LOCAL_ADDRESS",
        Variable::DownstreamLocalPort => "DOWNSTREAM_LOCAL_PORT",
        Variable::UpstreamHost => "UPSTREAM_HOST",
        Variable::Protocol => "PROTOCOL",
        Variable::ResponseCode => "RESPONSE_CODE",
        Variable::ResponseFlags => "RESPONSE_FLAGS",
        Variable::Hostname => "HOSTNAME",
        Variable::StartTime => "START_TIME",
        Variable::RouteName => "ROUTE_NAME",
        Variable::UpstreamCluster => "UPSTREAM_CLUSTER",
        Variable::Tls(fact) => fact.name(),
    };
    word.to_owned()
}
