//! Heads, from HTTP/2 to HTTP/1.1 and back.
//!
//! `h2` has checked the form of pseudo headers, the names and bytes of fields, fields of one
//! connection only (`connection`, `transfer-encoding`, …), `te`, and content lengths against DATA.
//! Here is checked what could mean something else in HTTP/1.1: a path that would be read as an
//! absolute target, an authority beside another `host`, white space around values. What is then
//! written is parsed by [`lateen_wire`] like any request, with all of its rules and limits.

use ::h2::ext::Protocol;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, TE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, request, response};
use lateen_wire::h1::field::Id;
use lateen_wire::h1::request::{Method as Verb, Request};
use lateen_wire::h1::response::Response;

use super::incoming::Framing;

/// The longest head of which values are slices; those of longer ones are copied. HPACK's tables keep
/// values for the life of a connection, up to a hundred, and each would keep its whole head.
const SHARED: usize = 2 * 1024;

/// What most heads take: memory for one is asked for once.
const USUAL: usize = 512;

/// The key of a WebSocket's handshake, and the answer to it.
const SEC_WEBSOCKET_KEY: &str = "sec-websocket-key";
const SEC_WEBSOCKET_ACCEPT: &str = "sec-websocket-accept";

/// What is to be remembered of a request to read its response.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    /// The method as HTTP/1.1 has it.
    pub(super) method: Verb,
    /// The protocol to switch to.
    pub(super) upgrade: Option<Bytes>,
}

/// Why a request is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("the :path is not a path")]
    Path,
    #[error("the :scheme is not http or https")]
    Scheme,
    #[error("the :protocol is not a token")]
    Protocol,
    #[error(":authority and host differ")]
    Host,
    #[error("a field value has white space around it")]
    Space,
}

/// The length that a head declares; `h2` has compared it with DATA.
pub(super) fn length(fields: &HeaderMap) -> Option<u64> {
    fields.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Writes the head of a client's request, and answers how its body is read.
pub(super) fn write_request(
    out: &mut Vec<u8>,
    head: &request::Parts,
    has_body: bool,
    key: impl FnOnce() -> String,
) -> Result<(Asked, Framing), Malformed> {
    let protocol = head.extensions.get::<Protocol>().map(Protocol::as_str);
    let is_connect = head.method == Method::CONNECT && protocol.is_none();
    let authority = head.uri.authority().map(|it| it.as_str().as_bytes());
    if !matches!(head.uri.scheme_str(), None | Some("http" | "https")) {
        return Err(Malformed::Scheme);
    }
    // `h2` takes any text for it.
    if protocol.is_some_and(|it| HeaderName::from_bytes(it.as_bytes()).is_err()) {
        return Err(Malformed::Protocol);
    }
    out.reserve(USUAL);
    let method = if protocol.is_some() {
        "GET"
    } else {
        head.method.as_str()
    };
    let target = if is_connect {
        authority.unwrap_or_default()
    } else {
        path(head)?
    };
    line(out, [method.as_bytes(), b" ", target, b" HTTP/1.1"]);
    if let Some(authority) = authority {
        let hosts = head.headers.get_all(HOST);
        if !hosts
            .iter()
            .all(|it| it.as_bytes().eq_ignore_ascii_case(authority))
        {
            return Err(Malformed::Host);
        }
        line(out, [b"host: ", authority]);
    }
    let has_length = write_fields(out, &head.headers, authority.is_some(), protocol.is_some())?;
    if let Some(protocol) = protocol {
        line(out, [b"upgrade: ", protocol.as_bytes()]);
        line(out, [b"connection: upgrade"]);
        if protocol.eq_ignore_ascii_case("websocket") {
            line(out, [SEC_WEBSOCKET_KEY.as_bytes(), b": ", key().as_bytes()]);
        }
    }
    let framing = match has_body {
        _ if is_connect || protocol.is_some() => Framing::Plain,
        false => Framing::Done,
        true if has_length => Framing::Plain,
        true => {
            line(out, [b"transfer-encoding: chunked"]);
            Framing::Chunks
        }
    };
    out.extend_from_slice(b"\r\n");
    let asked = Asked {
        method: Verb::of(method.as_bytes()),
        upgrade: protocol.map(|it| Bytes::copy_from_slice(it.as_bytes())),
    };
    Ok((asked, framing))
}

/// The path and query of a request. A `:path` such as `http://elsewhere/` would become an absolute
/// target, which overrides the host.
fn path(head: &request::Parts) -> Result<&[u8], Malformed> {
    let path = head.uri.path_and_query().ok_or(Malformed::Path)?.as_str();
    // A URI without an authority and a path says that its path is `/`; its parts know better.
    let has_path =
        head.uri.authority().is_some() || head.uri.clone().into_parts().path_and_query.is_some();
    if !has_path {
        return Err(Malformed::Path);
    }
    let is_asterisk = path == "*" && head.method == Method::OPTIONS;
    if path.starts_with('/') || is_asterisk {
        return Ok(path.as_bytes());
    }
    Err(Malformed::Path)
}

/// Writes the fields, and answers whether one of them declares a length.
fn write_fields(
    out: &mut Vec<u8>,
    fields: &HeaderMap,
    has_authority: bool,
    is_upgrade: bool,
) -> Result<bool, Malformed> {
    let mut has_length = false;
    let mut has_cookies = false;
    for (name, value) in fields {
        let bytes = value.as_bytes();
        if bytes.trim_ascii().len() != bytes.len() {
            return Err(Malformed::Space);
        }
        has_length |= name == CONTENT_LENGTH;
        has_cookies |= name == COOKIE;
        let is_replaced = name == COOKIE
            || name == HOST && has_authority
            || is_upgrade && name == SEC_WEBSOCKET_KEY;
        if !is_replaced {
            line(out, [name.as_str().as_bytes(), b": ", bytes]);
        }
    }
    if !has_cookies {
        return Ok(has_length);
    }
    // HTTP/2 splits cookies into fields for its compression (RFC 9113 §8.2.3).
    let mut cookies = fields.get_all(COOKIE).iter();
    if let Some(first) = cookies.next() {
        out.extend_from_slice(b"cookie: ");
        out.extend_from_slice(first.as_bytes());
        for more in cookies {
            out.extend_from_slice(b"; ");
            out.extend_from_slice(more.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
    Ok(has_length)
}

/// The head for a client of a response that the engine wrote as these bytes. A switch of protocols
/// is a success of the CONNECT that asked for it.
pub(super) fn response(head: Response<'_>, bytes: &Bytes) -> Option<http::Response<()>> {
    let is_switch = head.status() == 101;
    let status = if is_switch { 200 } else { head.status() };
    let mut response = http::Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    let fields = response.headers_mut();
    fields.reserve(head.fields().iter().count());
    for (field, value) in head.fields().iter() {
        let name = name(field)?;
        if !(is_switch && (name == SEC_WEBSOCKET_ACCEPT || name == CONTENT_LENGTH)) {
            let mut value = shared(bytes, value)?;
            value.set_sensitive(is_unique(field, &value));
            fields.append(name, value);
        }
    }
    if is_call(fields) && fields.get(CONTENT_LENGTH).is_some_and(|it| it == "0") {
        // gRPC's answers without a message have no length; it is there for HTTP/1.1.
        fields.remove(CONTENT_LENGTH);
    }
    Some(response)
}

/// Answers whether a message belongs to a call of gRPC.
fn is_call(fields: &HeaderMap) -> bool {
    let kind = fields.get(CONTENT_TYPE);
    kind.is_some_and(|it| it.as_bytes().starts_with(b"application/grpc"))
}

/// A request for an upstream, and what to remember of it.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) request: http::Request<()>,
    pub(super) asked: Asked,
    /// What the upstream's consent to a WebSocket has to be for the client.
    pub(super) accept: Option<String>,
}

/// The head for an upstream of a request that the engine wrote as these bytes; nothing if HTTP/2
/// cannot say it.
pub(super) fn request(head: Request<'_>, bytes: &Bytes) -> Option<Sent> {
    let upgrade = head.upgrade().map(Bytes::copy_from_slice);
    let authority = head.authority()?.as_bytes();
    let mut request = http::Request::new(());
    *request.version_mut() = http::Version::HTTP_2;
    let mut uri = http::uri::Parts::default();
    uri.authority = Some(authority.try_into().ok()?);
    if head.method() != Verb::Connect {
        uri.scheme = Some(scheme(head));
        uri.path_and_query = Some(target(head.target())?);
    }
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    *request.method_mut() = match &upgrade {
        Some(protocol) => {
            let protocol = std::str::from_utf8(protocol).ok()?;
            request.extensions_mut().insert(Protocol::from(protocol));
            Method::CONNECT
        }
        None => Method::from_bytes(head.method_bytes()).ok()?,
    };
    let mut accept = None;
    let fields = request.headers_mut();
    fields.reserve(head.fields().iter().count() + 1);
    for (field, value) in head.fields().iter() {
        if Id::of(field) == Id::Host {
            continue;
        }
        let name = name(field)?;
        if upgrade.is_some() && name == SEC_WEBSOCKET_KEY {
            accept = Some(super::websocket::accept(value));
            continue;
        }
        let mut value = shared(bytes, value)?;
        value.set_sensitive(is_unique(field, &value));
        fields.append(name, value);
    }
    if head.takes_trailers() {
        fields.insert(TE, HeaderValue::from_static("trailers"));
    }
    Some(Sent {
        request,
        asked: Asked {
            method: head.method(),
            upgrade,
        },
        accept,
    })
}

/// The name of a field. Those that the mesh adds or that come with every call of gRPC cost no
/// memory; the ones that [`http`] knows cost none either.
pub(super) fn name(bytes: &[u8]) -> Option<HeaderName> {
    let known = match bytes {
        b"grpc-status" => "grpc-status",
        b"grpc-message" => "grpc-message",
        b"grpc-timeout" => "grpc-timeout",
        b"grpc-encoding" => "grpc-encoding",
        b"grpc-accept-encoding" => "grpc-accept-encoding",
        b"traceparent" => "traceparent",
        b"x-request-id" => "x-request-id",
        b"x-forwarded-for" => "x-forwarded-for",
        b"x-forwarded-proto" => "x-forwarded-proto",
        b"x-envoy-attempt-count" => "x-envoy-attempt-count",
        b"x-envoy-expected-rq-timeout-ms" => "x-envoy-expected-rq-timeout-ms",
        b"x-envoy-upstream-service-time" => "x-envoy-upstream-service-time",
        _ => return HeaderName::from_bytes(bytes).ok(),
    };
    Some(HeaderName::from_static(known))
}

/// Answers whether a field hardly ever has the same value again. HPACK's table is spared it, where it
/// would push out what does come again, and make each search for its name longer. Times of one digit
/// do come again.
fn is_unique(name: &[u8], value: &HeaderValue) -> bool {
    match name {
        b"x-request-id" | b"traceparent" | b"x-b3-traceid" | b"x-b3-spanid" => true,
        b"x-envoy-upstream-service-time" => value.len() > 1,
        _ => false,
    }
}

/// A value in these bytes, without a copy where they are few.
fn shared(bytes: &Bytes, value: &[u8]) -> Option<HeaderValue> {
    if bytes.len() > SHARED {
        return HeaderValue::from_bytes(value).ok();
    }
    HeaderValue::from_maybe_shared(bytes.slice_ref(value)).ok()
}

/// The scheme that the client spoke, as the edge of the mesh has it: like Envoy, not whether this
/// hop is encrypted.
fn scheme(head: Request<'_>) -> http::uri::Scheme {
    match head.fields().get(Id::XForwardedProto) {
        Some(b"https") => http::uri::Scheme::HTTPS,
        Some(_) | None => http::uri::Scheme::HTTP,
    }
}

/// A target; what a URI may not have but browsers send is escaped, as HTTP/2's peers check it.
fn target(bytes: &[u8]) -> Option<PathAndQuery> {
    if let Ok(target) = PathAndQuery::try_from(bytes) {
        return Some(target);
    }
    let mut escaped = String::with_capacity(bytes.len() + 16);
    for byte in bytes {
        match byte {
            b'<' | b'>' | b'`' | b'"' | b'{' | b'}' | b'|' | b'^' | b'\\' | b'[' | b']' => {
                escaped.push_str(&format!("%{byte:02X}"));
            }
            byte => escaped.push(char::from(*byte)),
        }
    }
    escaped.try_into().ok()
}

/// Writes the head of an upstream's response, and answers how its body is read.
pub(super) fn write_response(
    out: &mut Vec<u8>,
    head: &response::Parts,
    has_body: bool,
    asked: &Asked,
    accept: Option<&str>,
) -> Framing {
    out.reserve(USUAL);
    let is_success = head.status.is_success();
    let switched = asked.upgrade.as_ref().filter(|_| is_success);
    let status = if switched.is_some() {
        StatusCode::SWITCHING_PROTOCOLS
    } else {
        head.status
    };
    let reason = status.canonical_reason().unwrap_or_default();
    line(
        out,
        [
            b"HTTP/1.1 ",
            status.as_str().as_bytes(),
            b" ",
            reason.as_bytes(),
        ],
    );
    let mut has_length = false;
    // HTTP/1.1 has no trailers behind a body with a length, and a call's status is one.
    let drops_length = switched.is_some() || has_body && is_call(&head.headers);
    for (name, value) in &head.headers {
        let is_length = name == CONTENT_LENGTH;
        has_length |= is_length && !drops_length;
        if !is_length || !drops_length {
            line(out, [name.as_str().as_bytes(), b": ", value.as_bytes()]);
        }
    }
    if let Some(protocol) = switched {
        line(out, [b"connection: upgrade"]);
        line(out, [b"upgrade: ", &protocol[..]]);
        if let Some(accept) = accept {
            line(
                out,
                [SEC_WEBSOCKET_ACCEPT.as_bytes(), b": ", accept.as_bytes()],
            );
        }
        out.extend_from_slice(b"\r\n");
        return Framing::Plain;
    }
    let framing = match (has_body, has_length) {
        _ if asked.method == Verb::Connect && is_success => Framing::Plain,
        _ if is_bare(head.status, asked) => Framing::Done,
        (true, true) => Framing::Plain,
        (true, false) => {
            line(out, [b"transfer-encoding: chunked"]);
            Framing::Chunks
        }
        (false, true) => Framing::Done,
        (false, false) => {
            line(out, [b"content-length: 0"]);
            Framing::Done
        }
    };
    out.extend_from_slice(b"\r\n");
    framing
}

/// Answers whether a response has no body whatever its fields say.
fn is_bare(status: StatusCode, asked: &Asked) -> bool {
    let has_none = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    asked.method == Verb::Head || status.is_informational() || has_none
}

fn line<const N: usize>(out: &mut Vec<u8>, parts: [&[u8]; N]) {
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
}
