//! The host of an authority in canonical form: lower case, without port and trailing dot, an
//! IP address as an address.
//!
//! Every look-up by host goes through here, so that two spellings of one host can never meet
//! different rules. The port is ignored as Istio's proxies do (`ignore_port_in_host_matching`).

use std::net::{IpAddr, Ipv6Addr};

/// A host in canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanonicalHost<'a> {
    /// The name, or the address as it was sent, without brackets.
    pub text: &'a [u8],
    /// The address, if it is one.
    pub address: Option<IpAddr>,
}

/// Brings the host of `authority` into canonical form; `space` holds it.
pub fn canonical<'a>(authority: &[u8], space: &'a mut Vec<u8>) -> CanonicalHost<'a> {
    let (host, is_literal) = host_of(authority);
    let host = host.strip_suffix(b".").unwrap_or(host);
    space.clear();
    space.extend(host.iter().map(u8::to_ascii_lowercase));
    let text: &'a [u8] = space;
    // Only what looks like an address is tried: names are the usual case.
    let may_be_address = is_literal || text.first().is_some_and(u8::is_ascii_digit);
    let address = may_be_address
        .then(|| std::str::from_utf8(text).ok()?.parse().ok())
        .flatten();
    CanonicalHost { text, address }
}

/// Cuts the port and the brackets of an IPv6 literal off; tells whether there was such a literal.
fn host_of(authority: &[u8]) -> (&[u8], bool) {
    if let Some(literal) = authority.strip_prefix(b"[") {
        let end = literal.iter().position(|byte| *byte == b']');
        return end.map_or((authority, false), |end| (&literal[..end], true));
    }
    let Some(colon) = authority.iter().rposition(|byte| *byte == b':') else {
        return (authority, false);
    };
    let (host, port) = (&authority[..colon], &authority[colon + 1..]);
    if host.contains(&b':') && is_ipv6(authority) {
        return (authority, true);
    }
    if port.iter().all(u8::is_ascii_digit) {
        (host, false)
    } else {
        (authority, false)
    }
}

fn is_ipv6(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(authority: &str, text: &str, is_address: bool) {
        let mut space = Vec::new();
        let host = canonical(authority.as_bytes(), &mut space);
        assert_eq!(String::from_utf8_lossy(host.text), text, "{authority}");
        assert_eq!(host.address.is_some(), is_address, "{authority}");
    }

    #[test]
    fn case_port_and_one_trailing_dot_do_not_matter() {
        check("Reviews.Default:9080", "reviews.default", false);
        check("reviews.default.", "reviews.default", false);
        check("reviews.default.:80", "reviews.default", false);
        check("reviews..", "reviews.", false);
        check("reviews:", "reviews", false);
        check("reviews:http", "reviews:http", false);
        check("", "", false);
    }

    #[test]
    fn addresses_are_recognised_with_and_without_brackets_and_ports() {
        check("10.0.0.1:80", "10.0.0.1", true);
        check("[FD00::1]:80", "fd00::1", true);
        check("[fd00::1]", "fd00::1", true);
        check("fd00::1", "fd00::1", true);
        check("[fd00::1", "[fd00::1", false);
        check("10.0.0", "10.0.0", false);
    }
}
