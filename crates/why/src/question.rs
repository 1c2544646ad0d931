//! What is asked: one request, as a client would send it.

use http::Uri;
use lateen_decide::{Facts, normalize_path};

use crate::Error;

/// How the request reaches the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP in plain text.
    Http,
    /// TLS, whose requests only the destination sees, or a gateway that ends it.
    Tls,
    /// Bytes.
    Tcp,
}

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The URL as it was typed.
    pub url: String,
    /// How it reaches the mesh.
    pub scheme: Scheme,
    /// The method.
    pub method: String,
    /// The host of the URL.
    pub host: String,
    /// Its port, the scheme's if it has none.
    pub port: u16,
    /// What the client sends as `Host`.
    pub authority: String,
    /// Path and query in the form that is decided on.
    pub path: String,
    /// Header fields with their values.
    pub headers: Vec<(String, String)>,
    /// The draw where a rule splits traffic or takes a share, from 0 to 1; the likeliest branch is
    /// followed if unset.
    pub draw: Option<f64>,
}

// === impl Question ===

impl Question {
    /// Reads a URL; `http` is meant where it names no scheme.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(url: &str) -> Result<Self, Error> {
        let fail = |why: &str| Error::Url {
            url: url.to_owned(),
            why: why.to_owned(),
        };
        let whole = if url.contains("://") {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        let uri: Uri = whole.parse().map_err(|_| fail("it cannot be read"))?;
        let (scheme, default) = match uri.scheme_str() {
            Some("http" | "ws" | "grpc") => (Scheme::Http, Some(80)),
            Some("https" | "wss" | "tls") => (Scheme::Tls, Some(443)),
            Some("tcp") => (Scheme::Tcp, None),
            _ => return Err(fail("its scheme is none of http, https and tcp")),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| fail("it has no host"))?;
        let port = uri.port_u16().or(default);
        let port = port.ok_or_else(|| fail("it has no port, which tcp needs"))?;
        let authority = match uri.port_u16() {
            Some(port) if Some(port) != default => format!("{host}:{port}"),
            _ => host.to_owned(),
        };
        let sent = uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        let sent = if sent.starts_with('/') {
            sent.to_owned()
        } else {
            format!("/{sent}")
        };
        let mut normal = Vec::new();
        let path = if normalize_path(sent.as_bytes(), &mut normal) {
            String::from_utf8_lossy(&normal).into_owned()
        } else {
            sent
        };
        Ok(Self {
            url: url.to_owned(),
            scheme,
            method: "GET".into(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            authority,
            path,
            headers: Vec::new(),
            draw: None,
        })
    }

    /// Adds a header field; `Host` replaces the authority.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        if name.eq_ignore_ascii_case("host") {
            value.clone_into(&mut self.authority);
        } else {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// The first value of a header field.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.headers.iter();
        let found = fields.find(|(candidate, _)| candidate.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The draw as uniform bits, which is how the data path takes it.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of 2^64 rounds as it likes, and the cast saturates at both ends"
    )]
    pub(crate) fn bits(&self) -> Option<u64> {
        self.draw.map(|draw| (draw * u64::MAX as f64) as u64)
    }
}

impl Facts for Question {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }

    fn scheme(&self) -> &[u8] {
        match self.scheme {
            Scheme::Tls => b"https",
            Scheme::Http | Scheme::Tcp => b"http",
        }
    }

    fn authority(&self) -> &[u8] {
        self.authority.as_bytes()
    }

    fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let fields = self.headers.iter();
        fields.map(|(name, value)| (name.as_bytes(), value.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_as_a_client_sends_it() {
        for (url, host, port, authority, path) in [
            (
                "http://reviews:9080/a?b",
                "reviews",
                9080,
                "reviews:9080",
                "/a?b",
            ),
            ("reviews", "reviews", 80, "reviews", "/"),
            ("http://a.b:80/x/../y", "a.b", 80, "a.b", "/y"),
            ("https://a.b/", "a.b", 443, "a.b", "/"),
            ("tcp://db:3306", "db", 3306, "db:3306", "/"),
            ("http://[fd00::1]:81/", "fd00::1", 81, "[fd00::1]:81", "/"),
        ] {
            let read = Question::new(url).unwrap();
            let found = (&*read.host, read.port, &*read.authority, &*read.path);
            assert_eq!(found, (host, port, authority, path), "{url}");
        }
        let asked = Question::new("a").unwrap().with("Host", "b").with("x", "y");
        assert_eq!((&*asked.authority, asked.header("X")), ("b", Some("y")));
    }

    #[test]
    fn what_is_no_url_is_refused_with_the_reason() {
        for (url, why) in [
            ("ftp://a/", "scheme"),
            ("http://", "cannot be read"),
            ("tcp://a", "no port"),
            ("http://a b/", "cannot be read"),
        ] {
            let error = Question::new(url).unwrap_err().to_string();
            assert!(error.contains(why), "{url}: {error}");
        }
    }
}
