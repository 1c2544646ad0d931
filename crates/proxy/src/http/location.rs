//! Where a redirect leads. Redirects are rare: this allocates.

use lateen_decide::route::Matched;
use lateen_model::http::{Redirect, RedirectPath, RedirectPort};
use lateen_wire::h1::request::Request;
use lateen_wire::h1::target::Authority;

use super::client::Client;
use super::course::Course;
use super::respond::Answer;
use super::workspace::Workspace;
use crate::connection::Origin;

/// The URL that an answer sends the client to; empty if it sends it nowhere.
pub(super) fn of(
    client: &Client,
    work: &Workspace,
    course: &Course<'_>,
    answer: Answer<'_>,
) -> Vec<u8> {
    match answer {
        Answer::RedirectToHttps => https(work.request(&client.side)),
        Answer::Redirect(redirect) => {
            let matched = course.route.map_or(Matched::Whole, |route| route.matched);
            let request = work.request(&client.side);
            by_rule(
                redirect,
                request.authority(),
                work.path(request),
                matched,
                client.origin,
            )
        }
        Answer::Refuse(_) | Answer::Respond(_) | Answer::Fault(_) | Answer::Preflight(_) => {
            Vec::new()
        }
    }
}

/// The URL of the request under https.
fn https(request: Request<'_>) -> Vec<u8> {
    let host = request
        .authority()
        .map_or(&b""[..], |authority| authority.host());
    let mut url = [b"https://", host, request.path()].concat();
    if let Some(query) = request.query() {
        url.push(b'?');
        url.extend_from_slice(query);
    }
    url
}

/// Where a rule leads, as Envoy reads its fields.
fn by_rule(
    redirect: &Redirect,
    authority: Option<Authority<'_>>,
    target: &[u8],
    matched: Matched,
    origin: Origin,
) -> Vec<u8> {
    let was = origin.scheme();
    let scheme = redirect.scheme.as_deref().unwrap_or(was);
    let host = authority.map_or(&b""[..], |authority| authority.host());
    let written = authority.and_then(Authority::port);
    let port = match redirect.port {
        RedirectPort::Number(port) => Some(port),
        RedirectPort::FromRequest => Some(origin.destination.port()),
        RedirectPort::FromScheme => None,
        RedirectPort::Keep if redirect.authority.is_some() => None,
        // The port of the other scheme would be wrong under this one.
        RedirectPort::Keep => written.filter(|port| scheme == was || !is_default(was, *port)),
    };
    let mut url = [scheme.as_bytes(), b"://"].concat();
    url.extend_from_slice(redirect.authority.as_deref().map_or(host, str::as_bytes));
    if let Some(port) = port.filter(|port| !is_default(scheme, *port)) {
        url.extend_from_slice(format!(":{port}").as_bytes());
    }
    let end = target.iter().position(|byte| *byte == b'?');
    let (path, query) = target.split_at(end.unwrap_or(target.len()));
    let start = url.len();
    match &redirect.path {
        RedirectPath::Keep => url.extend_from_slice(path),
        RedirectPath::Replace(text) => url.extend_from_slice(text.as_bytes()),
        RedirectPath::ReplacePrefix(text) => {
            let replaced = match matched {
                Matched::Prefix(length) => length.min(path.len()),
                Matched::Whole => path.len(),
            };
            url.extend_from_slice(text.as_bytes());
            url.extend_from_slice(&path[replaced..]);
        }
    }
    // A replacement with a query of its own, or a fragment, is complete.
    if !url[start..].iter().any(|byte| matches!(byte, b'?' | b'#')) {
        url.extend_from_slice(query);
    }
    url
}

fn is_default(scheme: &str, port: u16) -> bool {
    matches!((scheme, port), ("http", 80) | ("https", 443))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Door;

    fn redirect() -> Redirect {
        Redirect {
            path: RedirectPath::Keep,
            authority: None,
            port: RedirectPort::Keep,
            scheme: None,
            code: 301,
        }
    }

    fn origin() -> Origin {
        let address = "192.0.2.1:8443".parse().expect("an address");
        Origin {
            door: Door::Gateway,
            peer: address,
            destination: address,
            tls: None,
        }
    }

    #[track_caller]
    fn check(redirect: &Redirect, expected: &str) {
        let authority = Authority::new(b"shop.example:8080");
        let url = by_rule(
            redirect,
            authority,
            b"/old/a?x=1",
            Matched::Prefix(4),
            origin(),
        );
        assert_eq!(String::from_utf8_lossy(&url), expected);
    }

    #[test]
    fn what_a_redirect_does_not_replace_stays() {
        check(&redirect(), "http://shop.example:8080/old/a?x=1");
        let path = RedirectPath::Replace("/new".into());
        check(
            &Redirect { path, ..redirect() },
            "http://shop.example:8080/new?x=1",
        );
        let path = RedirectPath::Replace("/new?y=2".into());
        check(
            &Redirect { path, ..redirect() },
            "http://shop.example:8080/new?y=2",
        );
        let path = RedirectPath::ReplacePrefix("/new".into());
        check(
            &Redirect { path, ..redirect() },
            "http://shop.example:8080/new/a?x=1",
        );
    }

    #[test]
    fn another_authority_comes_without_the_port_of_the_old_one() {
        let authority = Some("other.example".to_owned());
        check(
            &Redirect {
                authority,
                ..redirect()
            },
            "http://other.example/old/a?x=1",
        );
    }

    #[test]
    fn the_port_of_a_scheme_is_not_written() {
        for (port, scheme, expected) in [
            (RedirectPort::Number(80), None, "http://shop.example"),
            (RedirectPort::Number(443), None, "http://shop.example:443"),
            (
                RedirectPort::Number(443),
                Some("https"),
                "https://shop.example",
            ),
            (
                RedirectPort::FromRequest,
                Some("https"),
                "https://shop.example:8443",
            ),
            (
                RedirectPort::FromScheme,
                Some("https"),
                "https://shop.example",
            ),
            (
                RedirectPort::Keep,
                Some("https"),
                "https://shop.example:8080",
            ),
        ] {
            let changed = Redirect {
                port,
                scheme: scheme.map(str::to_owned),
                ..redirect()
            };
            check(&changed, &format!("{expected}/old/a?x=1"));
        }
    }
}
