//! What an HTTP rule does: route, redirect, direct response, and what goes with them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lateen_model::retry::RetryOn;

use super::virtual_service::destination;
use super::{header, http_match, names};
use crate::problem::{Path, Report};
use crate::spec::virtual_service::{
    Body, CorsPolicy, DirectResponse, Fault, HttpRoute, Redirect, Retries, Rewrite,
};

/// The largest body of a direct response, and that above which proxies suffer.
const MAX_BODY: usize = 1 << 20;
const LARGE_BODY: usize = 100 << 10;

/// gRPC's statuses by name, in order of their numbers.
pub(crate) const GRPC_STATUS: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Checks that a rule does exactly one thing, and that thing.
pub(super) fn check(rule: &HttpRoute, path: &Path<'_>, report: &mut Report) {
    let answer = if rule.redirect.is_some() {
        Some("redirect")
    } else if rule.direct_response.is_some() {
        Some("directResponse")
    } else {
        None
    };
    match answer {
        Some(answer) => answers_itself(rule, answer, path, report),
        None if rule.route.is_empty() => {
            report.error(path, "needs one of route, redirect and directResponse");
        }
        None => {}
    }
}

/// What answers by itself forwards nothing.
fn answers_itself(rule: &HttpRoute, answer: &str, path: &Path<'_>, report: &mut Report) {
    let others = [
        ("route", !rule.route.is_empty()),
        ("fault", rule.fault.is_some()),
        ("rewrite", rule.rewrite.is_some()),
        (
            "directResponse",
            answer == "redirect" && rule.direct_response.is_some(),
        ),
    ];
    for (field, _) in others.into_iter().filter(|(_, is_set)| *is_set) {
        report.error(
            &path.field(field),
            format!("must not be set beside {answer}"),
        );
    }
}

/// Checks everything that a rule may carry besides its conditions and destinations.
pub(super) fn common(rule: &HttpRoute, path: &Path<'_>, report: &mut Report) {
    if let Some(value) = &rule.redirect {
        redirect(value, rule, &path.field("redirect"), report);
    }
    if let Some(value) = &rule.direct_response {
        direct_response(value, &path.field("directResponse"), report);
    }
    if let Some(value) = &rule.rewrite {
        rewrite(value, &path.field("rewrite"), report);
    }
    names::optional_duration(rule.timeout.as_ref(), &path.field("timeout"), report);
    if let Some(value) = &rule.retries {
        retries(value, &path.field("retries"), report);
    }
    if let Some(value) = &rule.fault {
        fault(value, &path.field("fault"), report);
    }
    mirrors(rule, path, report);
    if let Some(value) = &rule.cors_policy {
        cors(value, &path.field("corsPolicy"), report);
    }
    if let Some(value) = &rule.headers {
        header::operations(value, &path.field("headers"), report);
    }
    authority(rule, path, report);
}

/// The host is rewritten in one place at most.
fn authority(rule: &HttpRoute, path: &Path<'_>, report: &mut Report) {
    let rewrite = rule
        .rewrite
        .as_ref()
        .is_some_and(|rewrite| !rewrite.authority.is_empty());
    let headers = rule.headers.as_ref().map_or(0, header::authority_changes);
    if usize::from(rewrite) + headers > 1 {
        report.error(
            path,
            "sets the authority more than once; use one of rewrite.authority, headers.request.set and headers.request.add",
        );
    }
}

fn redirect(redirect: &Redirect, rule: &HttpRoute, path: &Path<'_>, report: &mut Report) {
    let has_prefix = !redirect.prefix_rewrite.is_empty();
    if !redirect.uri.is_empty() && has_prefix {
        report.error(path, "set only one of uri and prefixRewrite");
    }
    let is_by_prefix = rule
        .matches
        .iter()
        .all(|block| block.uri.as_ref().is_some_and(|uri| uri.prefix.is_some()));
    if has_prefix && (rule.matches.is_empty() || !is_by_prefix) {
        report.error(
            &path.field("prefixRewrite"),
            "needs a uri.prefix in every match of the rule",
        );
    }
    if redirect.port.is_some() && redirect.derive_port.is_some() {
        report.error(path, "set only one of port and derivePort");
    }
    let does_something = !redirect.uri.is_empty()
        || has_prefix
        || !redirect.authority.is_empty()
        || redirect.port.is_some()
        || redirect.derive_port.is_some()
        || !redirect.scheme.is_empty();
    if !does_something {
        report.error(
            path,
            "changes nothing; set uri, prefixRewrite, authority, port or scheme",
        );
    }
    if let Some(code) = redirect.redirect_code.filter(|code| *code != 0) {
        let path = path.field("redirectCode");
        if !(300..=399).contains(&code) {
            report.error(
                &path,
                format!("{code} is not a status of a redirect (300 to 399)"),
            );
        } else if !matches!(code, 301 | 302 | 303 | 307 | 308) {
            report.warn(
                &path,
                format!("{code} is not one of 301, 302, 303, 307, 308; 302 is answered instead"),
            );
        }
    }
    if !matches!(redirect.scheme.as_str(), "" | "http" | "https") {
        report.error(
            &path.field("scheme"),
            format!("{:?} is neither http nor https", redirect.scheme),
        );
    }
    if let Some(port) = redirect.port {
        report.check(&path.field("port"), names::port(port));
    }
}

fn direct_response(response: &DirectResponse, path: &Path<'_>, report: &mut Report) {
    if !(200..=600).contains(&response.status) {
        report.error(
            &path.field("status"),
            format!("{} is not a status between 200 and 600", response.status),
        );
    }
    if let Some(body) = &response.body {
        direct_body(body, &path.field("body"), report);
    }
}

fn direct_body(body: &Body, path: &Path<'_>, report: &mut Report) {
    if body.string.is_some() && body.bytes.is_some() {
        report.error(path, "set only one of string and bytes");
    }
    let text = body.string.as_deref().map_or(0, str::len);
    let bytes = match body.bytes.as_deref().map(|text| STANDARD.decode(text)) {
        None => 0,
        Some(Ok(bytes)) => bytes.len(),
        Some(Err(error)) => {
            report.error(&path.field("bytes"), format!("is not base64: {error}"));
            0
        }
    };
    let size = text.max(bytes);
    if size > MAX_BODY {
        report.error(
            path,
            format!("has {size} bytes, at most {MAX_BODY} are allowed"),
        );
    } else if size > LARGE_BODY {
        report.warn(
            path,
            format!("has {size} bytes; more than {LARGE_BODY} slow proxies down"),
        );
    }
}

fn rewrite(rewrite: &Rewrite, path: &Path<'_>, report: &mut Report) {
    if !rewrite.uri.is_empty() && rewrite.uri_regex_rewrite.is_some() {
        report.error(path, "set only one of uri and uriRegexRewrite");
    }
    if let Some(regex) = &rewrite.uri_regex_rewrite {
        let path = path.field("uriRegexRewrite");
        if regex.pattern.is_empty() || regex.rewrite.is_empty() {
            report.error(&path, "needs both match and rewrite");
        } else {
            report.check(&path.field("match"), names::regex(&regex.pattern));
        }
    } else if rewrite.uri.is_empty() && rewrite.authority.is_empty() {
        report.error(
            path,
            "changes nothing; set uri, uriRegexRewrite or authority",
        );
    }
}

pub(crate) fn retries(retries: &Retries, path: &Path<'_>, report: &mut Report) {
    if retries.attempts < 0 {
        report.error(
            &path.field("attempts"),
            format!("{} is negative", retries.attempts),
        );
    }
    let others = retries.per_try_timeout.is_some()
        || !retries.retry_on.is_empty()
        || retries.retry_remote_localities.is_some();
    if retries.attempts == 0 && others {
        report.error(
            &path.field("attempts"),
            "0 turns retries off; leave perTryTimeout, retryOn and retryRemoteLocalities out, or set it to 1 or more",
        );
    }
    names::optional_duration(
        retries.per_try_timeout.as_ref(),
        &path.field("perTryTimeout"),
        report,
    );
    names::optional_duration(retries.backoff.as_ref(), &path.field("backoff"), report);
    for condition in retries
        .retry_on
        .split(',')
        .map(str::trim)
        .filter(|c| !c.is_empty())
    {
        let is_status = condition
            .parse::<u16>()
            .is_ok_and(|code| (100..=599).contains(&code));
        if !is_status && RetryOn::from_word(condition).is_none() {
            let known = RetryOn::ALL.map(|(_, word)| word).join(", ");
            report.error(
                &path.field("retryOn"),
                format!("{condition:?} is not a condition; use {known}, or the number of a status"),
            );
        }
    }
}

fn fault(fault: &Fault, path: &Path<'_>, report: &mut Report) {
    if fault.delay.is_none() && fault.abort.is_none() {
        report.error(path, "needs delay, abort or both");
    }
    if let Some(delay) = &fault.delay {
        let path = path.field("delay");
        if let Some(percent) = delay.percentage {
            report.check(&path.field("percentage"), names::percent(percent));
        }
        if let Some(percent) = delay.percent {
            report.warn(&path.field("percent"), "is deprecated; use percentage");
            if !(0..=100).contains(&percent) {
                report.error(
                    &path.field("percent"),
                    format!("{percent} is not between 0 and 100"),
                );
            }
        }
        if delay.exponential_delay.is_some() {
            report.error(
                &path.field("exponentialDelay"),
                "is not supported; use fixedDelay",
            );
        } else {
            match &delay.fixed_delay {
                Some(fixed) => {
                    report.check(&path.field("fixedDelay"), names::duration(fixed));
                }
                None => report.error(&path.field("fixedDelay"), "is required"),
            }
        }
    }
    if let Some(abort) = &fault.abort {
        let path = path.field("abort");
        if let Some(percent) = abort.percentage {
            report.check(&path.field("percentage"), names::percent(percent));
        }
        aborted(abort, &path, report);
    }
}

fn aborted(abort: &crate::spec::virtual_service::Abort, path: &Path<'_>, report: &mut Report) {
    if abort.http2_error.is_some() {
        report.error(
            &path.field("http2Error"),
            "is not supported; use httpStatus or grpcStatus",
        );
    }
    match (abort.http_status, &abort.grpc_status) {
        (Some(_), Some(_)) => report.error(path, "set only one of httpStatus and grpcStatus"),
        (Some(status), None) if !(200..=600).contains(&status) => {
            report.error(
                &path.field("httpStatus"),
                format!("{status} is not a status between 200 and 600"),
            );
        }
        (None, Some(name)) if !GRPC_STATUS.contains(&name.as_str()) => {
            let known = GRPC_STATUS.join(", ");
            report.error(
                &path.field("grpcStatus"),
                format!("{name:?} is not a gRPC status; use one of {known}"),
            );
        }
        (None, None) if abort.http2_error.is_none() => {
            report.warn(
                path,
                "has neither httpStatus nor grpcStatus, so it does nothing",
            );
        }
        _ => {}
    }
}

fn mirrors(rule: &HttpRoute, path: &Path<'_>, report: &mut Report) {
    if rule.mirror.is_some() && !rule.mirrors.is_empty() {
        report.error(path, "set only one of mirror and mirrors");
    }
    if let Some(mirror) = &rule.mirror {
        destination(mirror, &path.field("mirror"), report);
    }
    for (field, percent) in [
        ("mirrorPercent", rule.mirror_percent),
        ("mirror_percent", rule.mirror_percent_snake),
    ] {
        let Some(percent) = percent else { continue };
        report.warn(&path.field(field), "is deprecated; use mirrorPercentage");
        if percent > 100 {
            report.error(&path.field(field), format!("{percent} is more than 100"));
        }
    }
    if let Some(percent) = rule.mirror_percentage {
        report.check(&path.field("mirrorPercentage"), names::percent(percent));
    }
    let list = path.field("mirrors");
    for (index, mirror) in rule.mirrors.iter().enumerate() {
        let path = list.index(index);
        destination(&mirror.destination, &path.field("destination"), report);
        if let Some(percent) = mirror.percentage {
            report.check(&path.field("percentage"), names::percent(percent));
        }
    }
}

fn cors(policy: &CorsPolicy, path: &Path<'_>, report: &mut Report) {
    if !policy.allow_origin.is_empty() {
        report.warn(
            &path.field("allowOrigin"),
            "is deprecated; use allowOrigins",
        );
    }
    let origins = path.field("allowOrigins");
    for (index, origin) in policy.allow_origins.iter().enumerate() {
        let path = origins.index(index);
        if origin.exact.as_deref() == Some("") {
            report.error(&path.field("exact"), "must not be empty");
        }
        if origin.exact.is_none() && origin.prefix.is_none() && origin.regex.is_none() {
            report.error(&path, "needs one of exact, prefix and regex");
        }
        http_match::condition(origin, true, &path, report);
    }
    let methods = path.field("allowMethods");
    for (index, method) in policy.allow_methods.iter().enumerate() {
        let known = [
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*",
        ];
        if !known.contains(&method.as_str()) {
            report.error(&methods.index(index), format!("{method:?} is not a method"));
        }
    }
    for (field, list) in [
        ("allowHeaders", &policy.allow_headers),
        ("exposeHeaders", &policy.expose_headers),
    ] {
        let path = path.field(field);
        for (index, name) in list.iter().enumerate().filter(|(_, name)| *name != "*") {
            report.check(&path.index(index), header::name(name));
        }
    }
    if let Some(age) = &policy.max_age {
        let path = path.field("maxAge");
        let parsed = report.check(&path, names::duration(age));
        if parsed.is_some_and(|age| age.subsec_nanos() != 0) {
            report.error(&path, "must be whole seconds");
        }
    }
}
