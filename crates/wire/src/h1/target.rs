//! Request targets and authorities (RFC 9112 §3.2, RFC 3986).
//!
//! # What a target may contain
//!
//! Visible ASCII without `#`. A fragment is never sent by a client, and recipients disagree on
//! whether it belongs to the path (CVE-2021-39156). Bytes above 0x7f and controls are refused. The
//! characters that RFC 3986 leaves out but browsers send raw (`"`, `<`, `>`, `\`, `^`, `` ` ``,
//! `{`, `|`, `}`, `[`, `]`, and a `%` without two digits) are passed on as they are: nobody
//! reads the end of a target differently for them. What they mean to a rule is a question of path
//! normalisation, which is not done here.
//!
//! # What an authority may contain
//!
//! `host [":" port]` by the grammar, and a host that is not empty: RFC 9110 §4.2.1 wants http URIs
//! with an empty host rejected, and a mesh cannot route to nobody. No user information (RFC 9110
//! §4.2.4), no port above 65535.

use super::field::Span;
use super::request::Method;
use crate::{Error, Fault};

/// Which of the four forms a target has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// `/path?query`.
    #[default]
    Origin,
    /// `http://host/path?query`.
    Absolute,
    /// `host:port`, of CONNECT.
    Authority,
    /// `*`, of OPTIONS.
    Asterisk,
}

/// A parsed target, as spans over the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Target {
    pub(super) form: Form,
    pub(super) whole: Span,
    /// Empty for authority-form, and for an absolute-form without a path.
    pub(super) path: Span,
    pub(super) query: Option<Span>,
    pub(super) authority: Option<AuthoritySpan>,
}

/// An authority as spans over the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct AuthoritySpan {
    pub(super) whole: Span,
    pub(super) host: Span,
    pub(super) port: Option<u16>,
}

/// A host with an optional port, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'a> {
    bytes: &'a [u8],
    host_len: usize,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Checks an authority.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let (host_len, port) = split_authority(bytes)?;
        Some(Self {
            bytes,
            host_len,
            port,
        })
    }

    /// All of it, as sent.
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The host as sent: any case, an IPv6 address in its brackets, a trailing dot kept.
    pub fn host(self) -> &'a [u8] {
        &self.bytes[..self.host_len]
    }

    /// The port, if one is written.
    pub fn port(self) -> Option<u16> {
        self.port
    }

    pub(super) fn from_spans(spans: AuthoritySpan, input: &'a [u8]) -> Self {
        Self {
            bytes: spans.whole.of(input),
            host_len: spans.host.len(),
            port: spans.port,
        }
    }
}

/// A target in origin-form, checked: what a rewrite puts in the place of the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginForm<'a>(&'a [u8]);

impl<'a> OriginForm<'a> {
    /// Checks a path with an optional query; nothing if it does not start with `/` or has bytes
    /// that a target may not have.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        (bytes.first() == Some(&b'/') && has_target_bytes(bytes)).then_some(Self(bytes))
    }

    /// The bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// Reads the target of a request line.
pub(super) fn parse(whole: Span, input: &[u8], method: Method) -> Result<Target, Error> {
    let bytes = whole.of(input);
    let invalid = Error::Malformed(Fault::Target);
    if !has_target_bytes(bytes) {
        return Err(invalid);
    }
    if method == Method::Connect {
        let authority = authority_at(whole, input).filter(|authority| authority.port.is_some());
        return Ok(Target {
            form: Form::Authority,
            whole,
            path: Span::new(whole.end(), whole.end()),
            query: None,
            authority: Some(authority.ok_or(invalid)?),
        });
    }
    if bytes[0] == b'/' {
        let (path, query) = split_query(whole, input);
        return Ok(Target {
            form: Form::Origin,
            whole,
            path,
            query,
            authority: None,
        });
    }
    if bytes == b"*" && method == Method::Options {
        return Ok(Target {
            form: Form::Asterisk,
            whole,
            path: whole,
            query: None,
            authority: None,
        });
    }
    absolute(whole, input).ok_or(invalid)
}

/// Reads an absolute-form: only http and https lead to this proxy.
fn absolute(whole: Span, input: &[u8]) -> Option<Target> {
    let bytes = whole.of(input);
    let scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| {
            bytes
                .get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        })?
        .len();
    let rest = &bytes[scheme..];
    let length = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(rest.len());
    let start = whole.start() + scheme;
    let authority = authority_at(Span::new(start, start + length), input)?;
    let (path, query) = split_query(Span::new(start + length, whole.end()), input);
    Some(Target {
        form: Form::Absolute,
        whole,
        path,
        query,
        authority: Some(authority),
    })
}

fn split_query(span: Span, input: &[u8]) -> (Span, Option<Span>) {
    match memchr::memchr(b'?', span.of(input)) {
        Some(at) => {
            let at = span.start() + at;
            let query = Span::new(at + 1, span.end());
            (Span::new(span.start(), at), Some(query))
        }
        None => (span, None),
    }
}

/// Reads the authority at `span`.
pub(super) fn authority_at(span: Span, input: &[u8]) -> Option<AuthoritySpan> {
    let (host_len, port) = split_authority(span.of(input))?;
    Some(AuthoritySpan {
        whole: span,
        host: Span::new(span.start(), span.start() + host_len),
        port,
    })
}

/// Visible ASCII but `#`, and at least one byte.
fn has_target_bytes(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_graphic() && *byte != b'#')
}

/// Checks `host [":" port]` and answers the length of the host, and the port.
fn split_authority(bytes: &[u8]) -> Option<(usize, Option<u16>)> {
    let host_len = if bytes.first() == Some(&b'[') {
        let end = bytes.iter().position(|byte| *byte == b']')?;
        is_ip_literal(&bytes[1..end]).then_some(end + 1)?
    } else {
        let end = bytes
            .iter()
            .position(|byte| *byte == b':')
            .unwrap_or(bytes.len());
        is_reg_name(&bytes[..end]).then_some(end)?
    };
    match &bytes[host_len..] {
        // An empty port is allowed by the grammar and means the default (RFC 3986 §3.2.3).
        [] | [b':'] => Some((host_len, None)),
        [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
            let port = std::str::from_utf8(digits).ok()?.parse().ok()?;
            Some((host_len, Some(port)))
        }
        _ => None,
    }
}

/// `*( unreserved / pct-encoded / sub-delims )`, but not empty. IPv4 addresses are such names too.
fn is_reg_name(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [a, b, after @ ..]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => after,
            (byte, _) if is_unreserved_or_delimiter(*byte) => tail,
            _ => return false,
        };
    }
    !bytes.is_empty()
}

fn is_unreserved_or_delimiter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'_' | b'~' // unreserved
            | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        )
}

/// `IPv6address / IPvFuture`, without the brackets.
fn is_ip_literal(bytes: &[u8]) -> bool {
    if let [b'v' | b'V', rest @ ..] = bytes {
        let Some(dot) = rest.iter().position(|byte| *byte == b'.') else {
            return false;
        };
        let (version, address) = (&rest[..dot], &rest[dot + 1..]);
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !address.is_empty()
            && address
                .iter()
                .all(|byte| is_unreserved_or_delimiter(*byte) || *byte == b':');
    }
    std::str::from_utf8(bytes).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(target: &str, method: Method) -> Option<Form> {
        let span = Span::new(0, target.len());
        parse(span, target.as_bytes(), method)
            .ok()
            .map(|target| target.form)
    }

    #[test]
    fn each_form_is_for_its_method() {
        assert_eq!(form("/a?b", Method::Get), Some(Form::Origin));
        assert_eq!(form("http://a", Method::Get), Some(Form::Absolute));
        assert_eq!(form("HTTPS://a:1/b", Method::Get), Some(Form::Absolute));
        assert_eq!(form("*", Method::Options), Some(Form::Asterisk));
        assert_eq!(form("a:443", Method::Connect), Some(Form::Authority));
        for (target, method) in [
            ("*", Method::Get),
            ("a:443", Method::Get),
            ("a", Method::Connect),
            ("/", Method::Connect),
            ("a/b", Method::Get),
            ("ftp://a/", Method::Get),
            ("http:///a", Method::Get),
            ("http://u@a/", Method::Get),
            ("/a#b", Method::Get),
            ("/\u{e9}", Method::Get),
        ] {
            assert_eq!(form(target, method), None, "{target}");
        }
    }

    #[test]
    fn an_absolute_form_gives_authority_path_and_query() {
        let input = b"http://[::1]:80/a/b?c?d";
        let target = parse(Span::new(0, input.len()), input, Method::Get).expect("valid");
        let authority = Authority::from_spans(target.authority.expect("has one"), input);
        assert_eq!(authority.host(), b"[::1]");
        assert_eq!(authority.port(), Some(80));
        assert_eq!(target.path.of(input), b"/a/b");
        assert_eq!(target.query.map(|query| query.of(input)), Some(&b"c?d"[..]));
    }

    #[test]
    fn authorities_follow_the_grammar() {
        for good in [
            "a",
            "a.b_c-d~",
            "a:",
            "a:0",
            "1.2.3.4:65535",
            "[::1]",
            "[v1.a:b]",
            "a%41",
            "a,b",
        ] {
            assert!(Authority::new(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a:65536",
            "a:+1",
            "a:b",
            "a b",
            "u@a",
            "[::1",
            "[::1]a",
            "[1.2.3.4]",
            "[::1%25eth0]",
            "a/b",
            "a%4",
            "a%zz",
            "::1",
            "a\u{e9}",
            "[v.a]",
            "[v1.]",
        ] {
            assert!(Authority::new(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
