//! Cross-origin resource sharing as Envoy's filter does it: preflights are answered here, and what
//! an allowed origin asked for is marked as readable by it.

use lateen_decide::cors::Cors;
use lateen_wire::h1::field::Name;
use lateen_wire::h1::request::{Method, Request};

/// What a policy says about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: it names no origin, or one that is not allowed.
    Unrelated,
    /// Its origin is allowed.
    Allowed,
    /// It is a preflight of an allowed origin.
    Preflight,
    /// It is a preflight of another origin, which is answered without any permission.
    Refused,
}

/// A field that a response gets: its name, and its value of the policy or of the request's origin.
pub(super) type Grant<'a> = (&'static [u8], &'a [u8]);

/// Judges a request.
pub(super) fn judge(policy: &Cors, request: Request<'_>) -> Verdict {
    let Some(origin) = origin(request).filter(|origin| !origin.is_empty()) else {
        return Verdict::Unrelated;
    };
    let asks = value(request, b"access-control-request-method");
    let is_preflight =
        request.method() == Method::Options && asks.is_some_and(|method| !method.is_empty());
    match (policy.allows(origin), is_preflight) {
        (true, true) => Verdict::Preflight,
        (true, false) => Verdict::Allowed,
        (false, true) if policy.answers_unmatched_preflights => Verdict::Refused,
        (false, _) => Verdict::Unrelated,
    }
}

/// The fields of the answer to a preflight.
pub(super) fn preflight<'a>(policy: &'a Cors, origin: &'a [u8]) -> impl Iterator<Item = Grant<'a>> {
    let fields: [Grant<'a>; 5] = [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", credentials(policy)),
        (
            b"access-control-allow-methods",
            policy.allow_methods.as_bytes(),
        ),
        (
            b"access-control-allow-headers",
            policy.allow_headers.as_bytes(),
        ),
        (b"access-control-max-age", policy.max_age.as_bytes()),
    ];
    fields.into_iter().filter(|(_, value)| !value.is_empty())
}

/// The fields of any other response.
pub(super) fn actual<'a>(policy: &'a Cors, origin: &'a [u8]) -> impl Iterator<Item = Grant<'a>> {
    let fields: [Grant<'a>; 3] = [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", credentials(policy)),
        (
            b"access-control-expose-headers",
            policy.expose_headers.as_bytes(),
        ),
    ];
    fields.into_iter().filter(|(_, value)| !value.is_empty())
}

/// The origin that a request names.
pub(super) fn origin(request: Request<'_>) -> Option<&[u8]> {
    value(request, b"origin")
}

fn value<'a>(request: Request<'a>, name: &'static [u8]) -> Option<&'a [u8]> {
    request.fields().get_all(Name::new(name)?).next()
}

fn credentials(policy: &Cors) -> &'static [u8] {
    if policy.allow_credentials {
        b"true"
    } else {
        b""
    }
}
