//! Changes of headers, in compiled form.

mod tls;

use lateen_model::http::{HeaderChanges, HeaderRules};

pub use tls::TlsFact;

/// Changes of the headers of a request and of its response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers {
    /// Of the request.
    pub request: Changes,
    /// Of the response.
    pub response: Changes,
    /// The new authority of the request; none if it stays.
    pub authority: Option<Template>,
}

/// Changes of the headers of one message: removals first, then in order what is set or added.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Names to remove, in lower case.
    pub remove: Box<[Box<str>]>,
    /// Names in lower case, with their values.
    pub write: Box<[(Box<str>, Write, Template)]>,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// In place of all values of this name.
    Set,
    /// In addition to them.
    Add,
}

/// A value with Envoy's `%VARIABLES%`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Its pieces in order.
    pub pieces: Box<[Piece]>,
}

/// A piece of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text as it is.
    Text(Box<str>),
    /// What a variable stands for.
    Variable(Variable),
}

/// What Envoy's command operators stand for in headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// `%REQ(NAME?OTHER):LENGTH%`: a header of the request, else the other.
    Request {
        /// In lower case.
        name: Box<str>,
        /// In lower case; none if not given.
        other: Option<Box<str>>,
        /// The most bytes.
        length: Option<usize>,
    },
    /// `%RESP(NAME?OTHER):LENGTH%`: a header of the response.
    Response {
        /// In lower case.
        name: Box<str>,
        /// In lower case; none if not given.
        other: Option<Box<str>>,
        /// The most bytes.
        length: Option<usize>,
    },
    /// `%DOWNSTREAM_REMOTE_ADDRESS%`.
    DownstreamRemoteAddress,
    /// `%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%`.
    DownstreamRemoteAddressWithoutPort,
    /// `%DOWNSTREAM_LOCAL_ADDRESS%`.
    DownstreamLocalAddress,
    /// `%DOWNSTREAM_LOCAL_PORT%`.
    DownstreamLocalPort,
    /// `%UPSTREAM_REMOTE_ADDRESS%` and `%UPSTREAM_HOST%`.
    UpstreamHost,
    /// `%PROTOCOL%`.
    Protocol,
    /// `%RESPONSE_CODE%`.
    ResponseCode,
    /// `%RESPONSE_FLAGS%`.
    ResponseFlags,
    /// `%HOSTNAME%`.
    Hostname,
    /// `%START_TIME%` in RFC 3339 with milliseconds.
    StartTime,
    /// `%ROUTE_NAME%`.
    RouteName,
    /// `%UPSTREAM_CLUSTER%`.
    UpstreamCluster,
    /// What is known of the client's connection of TLS.
    Tls(TlsFact),
}

// === impl Headers ===

impl Headers {
    /// Compiles the changes of a rule or of a destination; none if there are none.
    ///
    /// # Errors
    /// The field (such as `request.set[x-a]`) and what is wrong with its value.
    pub fn compile(rules: &HeaderRules) -> Result<Option<Self>, (String, String)> {
        if rules.is_empty() {
            return Ok(None);
        }
        let mut authority = None;
        let request = Changes::compile(&rules.request, "request", &mut |template| {
            authority.get_or_insert(template);
        })?;
        let response = Changes::compile(&rules.response, "response", &mut |_| {})?;
        Ok(Some(Self {
            request,
            response,
            authority,
        }))
    }
}

// === impl Changes ===

impl Changes {
    fn compile(
        changes: &HeaderChanges,
        side: &str,
        authority: &mut dyn FnMut(Template),
    ) -> Result<Self, (String, String)> {
        let mut write = Vec::new();
        let lists = [
            ("set", Write::Set, &changes.set),
            ("add", Write::Add, &changes.add),
        ];
        for (field, how, list) in lists {
            for (name, value) in list {
                let template = Template::parse(value)
                    .map_err(|problem| (format!("{side}.{field}[{name}]"), problem))?;
                match name.as_str() {
                    "host" | ":authority" => authority(template),
                    name => write.push((name.into(), how, template)),
                }
            }
        }
        Ok(Self {
            remove: changes
                .remove
                .iter()
                .map(|name| name.as_str().into())
                .collect(),
            write: write.into(),
        })
    }

    /// Answers whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.write.is_empty()
    }
}

// === impl Template ===

impl Template {
    /// Reads a value.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(value: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = value;
        while let Some(at) = rest.find('%') {
            text.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                text.push('%');
                rest = after;
                continue;
            }
            let Some(end) = rest.find('%') else {
                return Err("has a `%` without its end; write `%%` for a percent sign".into());
            };
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text).into()));
            }
            pieces.push(Piece::Variable(Variable::parse(&rest[..end])?));
            rest = &rest[end + 1..];
        }
        text.push_str(rest);
        if !text.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(text.into()));
        }
        Ok(Self {
            pieces: pieces.into(),
        })
    }

    /// The value, if it has no variable: the usual case.
    pub fn as_text(&self) -> Option<&str> {
        match &*self.pieces {
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
}

// === impl Variable ===

impl Variable {
    fn parse(written: &str) -> Result<Self, String> {
        let (name, argument, length) = split(written)?;
        let takes_more = matches!(name, "REQ" | "RESP");
        if !takes_more && (argument.is_some() || length.is_some()) {
            return Err(format!(
                "gives %{name}% an argument or a length, which it does not take: {written}"
            ));
        }
        let header = |argument: Option<&str>| {
            let argument = argument.filter(|it| !it.is_empty());
            let argument = argument
                .ok_or_else(|| format!("%{name}% needs a header's name: %{name}(NAME)%"))?;
            let (first, other) = match argument.split_once('?') {
                Some((first, other)) => (first, Some(other)),
                None => (argument, None),
            };
            let lower = |text: &str| -> Box<str> { text.to_ascii_lowercase().into() };
            Ok::<_, String>((lower(first), other.map(lower)))
        };
        Ok(match name {
            "REQ" => {
                let (name, other) = header(argument)?;
                Self::Request {
                    name,
                    other,
                    length,
                }
            }
            "RESP" => {
                let (name, other) = header(argument)?;
                Self::Response {
                    name,
                    other,
                    length,
                }
            }
            "DOWNSTREAM_REMOTE_ADDRESS" | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => {
                Self::DownstreamRemoteAddress
            }
            "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"
            | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => {
                Self::DownstreamRemoteAddressWithoutPort
            }
            "DOWNSTREAM_LOCAL_ADDRESS" => Self::DownstreamLocalAddress,
            "DOWNSTREAM_LOCAL_PORT" => Self::DownstreamLocalPort,
            "UPSTREAM_HOST" | "UPSTREAM_REMOTE_ADDRESS" => Self::UpstreamHost,
            "PROTOCOL" => Self::Protocol,
            "RESPONSE_CODE" => Self::ResponseCode,
            "RESPONSE_FLAGS" => Self::ResponseFlags,
            "HOSTNAME" => Self::Hostname,
            "START_TIME" => Self::StartTime,
            "ROUTE_NAME" => Self::RouteName,
            "UPSTREAM_CLUSTER" => Self::UpstreamCluster,
            other => match TlsFact::of_name(other) {
                Some(fact) => Self::Tls(fact),
                None => return Err(format!("names an unknown variable: %{other}%")),
            },
        })
    }
}

/// Splits `NAME(ARGUMENT):LENGTH`.
fn split(written: &str) -> Result<(&str, Option<&str>, Option<usize>), String> {
    let (head, length) = match written.rsplit_once(':') {
        Some((head, digits)) if !digits.is_empty() && !digits.contains(')') => {
            let length = digits.parse();
            let length = length.map_err(|_| format!("has a length that is no number: {digits}"))?;
            (head, Some(length))
        }
        _ => (written, None),
    };
    match head.split_once('(') {
        None => Ok((head, None, length)),
        Some((name, argument)) => match argument.strip_suffix(')') {
            Some(argument) => Ok((name, Some(argument), length)),
            None => Err(format!("has a parenthesis without its end: %{written}%")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<Box<[Piece]>, String> {
        Template::parse(value).map(|template| template.pieces)
    }

    #[test]
    fn text_and_variables_are_kept_in_order() {
        let header = Variable::Request {
            name: "x-a".into(),
            other: Some("x-b".into()),
            length: Some(3),
        };
        let expected = [
            Piece::Text("a%".into()),
            Piece::Variable(header),
            Piece::Variable(Variable::Tls(TlsFact::Version)),
            Piece::Text("z".into()),
        ];
        let read = parse("a%%%REQ(X-A?X-B):3%%DOWNSTREAM_TLS_VERSION%z");
        assert_eq!(read.as_deref(), Ok(&expected[..]));
    }

    #[test]
    fn what_is_wrong_with_a_value_is_told() {
        for (value, problem) in [
            ("100%", "`%` without its end"),
            ("%NOPE%", "names an unknown variable: %NOPE%"),
            (
                "%DOWNSTREAM_PEER_FINGERPRINT_1%",
                "names an unknown variable",
            ),
            ("%REQ%", "%REQ% needs a header's name"),
            ("%RESP()%", "%RESP% needs a header's name"),
            ("%REQ(a%", "has a parenthesis without its end"),
            ("%REQ(a):x%", "has a length that is no number: x"),
            ("%PROTOCOL(a)%", "gives %PROTOCOL% an argument or a length"),
            ("%DOWNSTREAM_PEER_SUBJECT:5%", "an argument or a length"),
        ] {
            let error = parse(value).expect_err(value);
            assert!(error.contains(problem), "{value}: {error}");
        }
    }
}
