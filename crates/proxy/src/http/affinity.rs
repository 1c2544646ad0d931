//! Keeping a client at one endpoint: the hash of a property of its requests, and the cookie that
//! is made for those that have none.

use std::io::Write;

use lateen_decide::hash::hash_of;
use lateen_model::balancer::{HashCookie, HashKey};
use lateen_wire::h1::field::Name;
use lateen_wire::h1::request::Request;

use super::client::Client;
use super::course::{Action, Course};
use super::workspace::Workspace;

/// The hash by which the cluster chooses the endpoint of a request; none if it does not, or if the
/// request lacks the property. A cookie that is made is noted in the course.
pub(super) fn hash(client: &Client, work: &mut Workspace, course: &mut Course<'_>) -> Option<u64> {
    let Action::Forward(cluster) = course.action else {
        return None;
    };
    let key = course.rules.cluster(cluster)?.hash_policy()?;
    let request = work.request(&client.side);
    match key {
        HashKey::Header(name) => {
            let name = Name::new(name.as_bytes())?;
            let mut values = request.fields().get_all(name);
            let first = hash_of(values.next()?);
            Some(values.fold(first, |hash, value| hash.rotate_left(1) ^ hash_of(value)))
        }
        HashKey::SourceIp => {
            let address = client.origin.peer.ip().to_string();
            Some(hash_of(address.as_bytes()))
        }
        HashKey::QueryParameter(name) => {
            let path = work.path(request);
            parameter(path, name.as_bytes()).map(hash_of)
        }
        HashKey::Cookie(cookie) => {
            if let Some(value) = value(request, cookie.name.as_bytes()) {
                return Some(hash_of(value));
            }
            cookie.ttl?;
            course.makes_cookie = true;
            Some(make(client, cookie, &mut work.cookie))
        }
    }
}

/// The value of a query parameter.
fn parameter<'a>(target: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let question = target.iter().position(|byte| *byte == b'?')?;
    let mut pairs = target[question + 1..].split(|byte| *byte == b'&');
    pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
}

/// The value of a cookie of the request; none if it is empty.
fn value<'a>(request: Request<'a>, name: &[u8]) -> Option<&'a [u8]> {
    let fields = request.fields().get_all(Name::new(b"cookie")?);
    let pairs = fields.flat_map(|value| value.split(|byte| *byte == b';'));
    pairs
        .filter_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
        .map(|value| {
            let unquoted = value.strip_prefix(b"\"");
            let unquoted = unquoted.and_then(|value| value.strip_suffix(b"\""));
            unquoted.unwrap_or(value)
        })
        .find(|value| !value.is_empty())
}

/// Writes a cookie for the client's connection, and answers the hash of its value.
fn make(client: &Client, cookie: &HashCookie, into: &mut Vec<u8>) -> u64 {
    // As Envoy's: requests of one connection agree on it before the client has learnt it.
    let ends = format!("{}{}", client.origin.peer, client.origin.destination);
    let value = format!("{:016x}", hash_of(ends.as_bytes()));
    into.clear();
    // Writing to a vector cannot fail.
    let _ = write!(into, "{}=\"{value}\"", cookie.name);
    if let Some(seconds) = cookie.ttl.map(|ttl| ttl.as_secs()).filter(|it| *it > 0) {
        let _ = write!(into, "; Max-Age={seconds}");
    }
    if !cookie.path.is_empty() {
        let _ = write!(into, "; Path={}", cookie.path);
    }
    for (name, value) in &cookie.attributes {
        let _ = write!(into, "; {name}");
        if !value.is_empty() {
            let _ = write!(into, "={value}");
        }
    }
    into.extend_from_slice(b"; HttpOnly");
    hash_of(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_parameter_is_found_by_its_whole_name() {
        assert_eq!(parameter(b"/a?xuser=1&user=2", b"user"), Some(&b"2"[..]));
        assert_eq!(parameter(b"/a?user", b"user"), None);
        assert_eq!(parameter(b"/user=1", b"user"), None);
    }
}
