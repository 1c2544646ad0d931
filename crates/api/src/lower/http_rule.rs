//! Lowers a rule of `http`: what becomes of its requests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lateen_model::Percent;
use lateen_model::http::{
    Abort, AbortWith, CorsPolicy, Delay, DirectResponse, Fault, HeaderChanges, HeaderRules,
    HttpAction, HttpRule, Mirror, Redirect, RedirectPath, RedirectPort, Rewrite, UriRewrite,
};
use lateen_model::route::StringMatch;

use super::retries::retries;
use super::virtual_service::{destination, http_match, non_empty, string_match, weighted};
use super::{Context, duration, percent, port};
use crate::spec::virtual_service as spec;
use crate::validate::GRPC_STATUS;

/// The statuses by which a proxy redirects.
const REDIRECT_CODES: [u16; 5] = [301, 302, 303, 307, 308];

/// Lowers one rule. `path` is where it stands; what has no effect is added to `unsupported`.
pub(super) fn lower(
    rule: &spec::HttpRoute,
    path: &str,
    context: &Context<'_>,
    unsupported: &mut Vec<String>,
) -> HttpRule {
    let matches = rule.matches.iter();
    HttpRule {
        name: rule.name.clone(),
        matches: matches.map(|block| http_match(block, context)).collect(),
        action: action(rule, path, context, unsupported),
        rewrite: rule.rewrite.as_ref().map(rewrite),
        timeout: duration(rule.timeout.as_ref()).filter(|timeout| !timeout.is_zero()),
        retries: rule.retries.as_ref().map(retries),
        fault: rule.fault.as_ref().map(fault).unwrap_or_default(),
        mirrors: mirrors(rule, context),
        cors: rule.cors_policy.as_ref().map(cors),
        headers: header_rules(rule.headers.as_ref()),
    }
}

fn action(
    rule: &spec::HttpRoute,
    path: &str,
    context: &Context<'_>,
    unsupported: &mut Vec<String>,
) -> HttpAction {
    if let Some(delegate) = &rule.delegate {
        if rule.direct_response.is_some() {
            unsupported.push(format!("{path}.directResponse"));
        }
        let namespace = non_empty(&delegate.namespace);
        return HttpAction::Delegate {
            namespace: namespace.unwrap_or_else(|| context.namespace.to_owned()),
            name: delegate.name.clone(),
        };
    }
    if let Some(spec) = &rule.redirect {
        let redirect = redirect(spec);
        if spec
            .redirect_code
            .is_some_and(|code| code != 0 && code != u32::from(redirect.code))
        {
            unsupported.push(format!("{path}.redirect.redirectCode"));
        }
        return HttpAction::Redirect(redirect);
    }
    if let Some(spec) = &rule.direct_response {
        return HttpAction::DirectResponse(direct_response(spec));
    }
    let route = rule.route.iter();
    HttpAction::Route(weighted(
        route.map(|entry| {
            (
                &entry.destination,
                entry.weight,
                header_rules(entry.headers.as_ref()),
            )
        }),
        context,
    ))
}

fn redirect(spec: &spec::Redirect) -> Redirect {
    let path = if !spec.uri.is_empty() {
        RedirectPath::Replace(spec.uri.clone())
    } else if !spec.prefix_rewrite.is_empty() {
        RedirectPath::ReplacePrefix(spec.prefix_rewrite.clone())
    } else {
        RedirectPath::Keep
    };
    let port = match (spec.port, spec.derive_port) {
        (Some(number), _) => RedirectPort::Number(port(number)),
        (None, Some(spec::DerivePort::FromRequestPort)) => RedirectPort::FromRequest,
        (None, Some(spec::DerivePort::FromProtocolDefault)) => RedirectPort::FromScheme,
        (None, None) => RedirectPort::Keep,
    };
    // Other statuses pass Istio's validation but do nothing there. 302 does what was asked for, and
    // no client keeps it.
    let code = match spec.redirect_code.unwrap_or(0) {
        0 => 301,
        asked => REDIRECT_CODES
            .into_iter()
            .find(|code| u32::from(*code) == asked)
            .unwrap_or(302),
    };
    Redirect {
        path,
        authority: non_empty(&spec.authority),
        port,
        scheme: non_empty(&spec.scheme),
        code,
    }
}

fn direct_response(spec: &spec::DirectResponse) -> DirectResponse {
    let body = spec.body.as_ref().map(|body| {
        let bytes = body.bytes.as_deref().map(|text| STANDARD.decode(text));
        // What is no base64 was refused.
        let bytes = bytes.and_then(Result::ok).unwrap_or_default();
        body.string
            .as_ref()
            .map_or(bytes, |text| text.clone().into_bytes())
    });
    DirectResponse {
        status: u16::try_from(spec.status).unwrap_or(500),
        body: body.unwrap_or_default(),
    }
}

fn rewrite(spec: &spec::Rewrite) -> Rewrite {
    let regex = spec.uri_regex_rewrite.as_ref();
    let uri = regex.map(|regex| UriRewrite::Regex {
        pattern: regex.pattern.clone(),
        replacement: regex.rewrite.clone(),
    });
    Rewrite {
        uri: uri.or_else(|| non_empty(&spec.uri).map(UriRewrite::Prefix)),
        authority: non_empty(&spec.authority),
    }
}

/// A fault without a share is one for nobody.
fn fault(spec: &spec::Fault) -> Fault {
    let delay = spec.delay.as_ref().and_then(|delay| {
        let old = || delay.percent.map(f64::from);
        Some(Delay {
            duration: duration(delay.fixed_delay.as_ref())?,
            percentage: percent(
                delay
                    .percentage
                    .map(|p| p.value)
                    .or_else(old)
                    .unwrap_or(0.0),
            ),
        })
    });
    let abort = spec.abort.as_ref().and_then(|abort| {
        Some(Abort {
            with: abort_with(abort)?,
            percentage: percent(abort.percentage.map_or(0.0, |p| p.value)),
        })
    });
    Fault { delay, abort }
}

/// An abort that names no status does nothing, as its warning says.
fn abort_with(spec: &spec::Abort) -> Option<AbortWith> {
    if let Some(status) = spec.http_status {
        return u16::try_from(status).ok().map(AbortWith::Http);
    }
    let name = spec.grpc_status.as_deref()?;
    let number = GRPC_STATUS.iter().position(|status| *status == name)?;
    u8::try_from(number).ok().map(AbortWith::Grpc)
}

/// A mirror without a share gets everything; one with a share of zero is none.
fn mirrors(rule: &spec::HttpRoute, context: &Context<'_>) -> Vec<Mirror> {
    let old = rule.mirror_percent.or(rule.mirror_percent_snake);
    let share = rule
        .mirror_percentage
        .map(|share| share.value)
        .or(old.map(f64::from));
    let single = rule.mirror.iter().map(|mirror| (mirror, share));
    let several = rule
        .mirrors
        .iter()
        .map(|mirror| (&mirror.destination, mirror.percentage.map(|p| p.value)));
    let all = single.chain(several).map(|(to, share)| Mirror {
        destination: destination(to, context),
        percentage: share.map_or(Percent::ALL, percent),
    });
    all.filter(|mirror| mirror.percentage != Percent::ZERO)
        .collect()
}

fn cors(spec: &spec::CorsPolicy) -> CorsPolicy {
    let origins: Vec<StringMatch> = spec.allow_origins.iter().filter_map(string_match).collect();
    let old = spec.allow_origin.iter().cloned().map(StringMatch::Exact);
    CorsPolicy {
        allow_origins: if origins.is_empty() {
            old.collect()
        } else {
            origins
        },
        allow_methods: spec.allow_methods.clone(),
        allow_headers: spec.allow_headers.clone(),
        expose_headers: spec.expose_headers.clone(),
        max_age: duration(spec.max_age.as_ref()),
        allow_credentials: spec.allow_credentials.unwrap_or(false),
        answers_unmatched_preflights: spec.unmatched_preflights
            == Some(spec::UnmatchedPreflights::Ignore),
    }
}

pub(super) fn header_rules(spec: Option<&spec::Headers>) -> HeaderRules {
    let changes = |side: Option<&spec::HeaderOperations>| side.map(changes).unwrap_or_default();
    HeaderRules {
        request: changes(spec.and_then(|headers| headers.request.as_ref())),
        response: changes(spec.and_then(|headers| headers.response.as_ref())),
    }
}

fn changes(spec: &spec::HeaderOperations) -> HeaderChanges {
    let pairs = |map: &std::collections::BTreeMap<String, String>| {
        let lower = map
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
        let mut pairs: Vec<_> = lower.collect();
        pairs.sort();
        pairs
    };
    let names = spec.remove.iter().map(|name| name.to_ascii_lowercase());
    let mut remove: Vec<String> = names.collect();
    remove.sort();
    remove.dedup();
    HeaderChanges {
        set: pairs(&spec.set),
        add: pairs(&spec.add),
        remove,
    }
}

#[cfg(test)]
mod tests;
