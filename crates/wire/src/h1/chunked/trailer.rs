//! Trailer sections: which fields may be sent on.

use super::MAX_TRAILERS;
use crate::h1::{field, head, write};
use crate::{Error, Fault};

/// Checks a trailer section and keeps the lines that may be sent on. Trailers are rare: this
/// allocates.
pub(super) fn kept(section: &[u8]) -> Result<Vec<u8>, Error> {
    let mut table = [httparse::EMPTY_HEADER; MAX_TRAILERS];
    let parsed = match httparse::parse_headers(section, &mut table) {
        Ok(httparse::Status::Complete((length, parsed))) if length == section.len() => parsed,
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Error::Malformed(Fault::TrailerTooLarge));
        }
        Ok(_) | Err(_) => {
            return Err(Error::Malformed(head::field_fault(section)));
        }
    };
    let mut kept = Vec::with_capacity(section.len());
    for header in parsed {
        if may_be_trailer(header.name.as_bytes()) {
            write::field(&mut kept, header.name.as_bytes(), header.value);
        }
    }
    Ok(kept)
}

/// Whether a field may be sent on as a trailer. RFC 9110 §6.5.1 forbids those that frame a message,
/// route it, modify the request, authenticate, or say how to read the content: a recipient that
/// merged them into the head would be told otherwise than whoever decided on the head. They are
/// dropped, not refused: recipients are to ignore them.
fn may_be_trailer(name: &[u8]) -> bool {
    const FORBIDDEN: &[&str] = &[
        "age",
        "authorization",
        "cache-control",
        "content-encoding",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "expect",
        "expires",
        "forwarded",
        "location",
        "max-forwards",
        "pragma",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "range",
        "retry-after",
        "set-cookie",
        "trailer",
        "vary",
        "warning",
        "www-authenticate",
    ];
    const FORBIDDEN_PREFIXES: &[&str] = &["if-", "x-forwarded-", "x-envoy-"];
    let id = field::Id::of(name);
    let starts_with = |prefix: &&str| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    !(id.is_hop_by_hop()
        || id.is_protected()
        || FORBIDDEN
            .iter()
            .any(|forbidden| name.eq_ignore_ascii_case(forbidden.as_bytes()))
        || FORBIDDEN_PREFIXES.iter().any(starts_with))
}
