//! The answers that the proxy makes itself: errors, redirects, health.

use super::field::{Name, Value};
use super::head::{Persistence, Version};
use super::write::{self, Decimal};

/// An answer of the proxy's own.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// The status; not 1xx.
    pub status: u16,
    /// The value of Date, which the caller keeps (it changes once a second).
    pub date: Value<'a>,
    /// Other fields, in order.
    pub fields: &'a [(Name<'a>, Value<'a>)],
    /// The type of the body; written if there is one.
    pub content_type: Value<'a>,
    /// The body.
    pub body: &'a [u8],
    /// It answers a call of gRPC, of which the type is said even without a body.
    pub is_call: bool,
}

/// To whom it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The version of the request; HTTP/1.1 if it could not be read.
    pub version: Version,
    /// Whether the request was HEAD, so that no body follows.
    pub is_head: bool,
    /// Whether the connection stays open. It must not after a malformed request, nor when the
    /// request's body has not been read to its end.
    pub persistence: Persistence,
}

/// Writes the answer, head and body.
pub fn write(out: &mut Vec<u8>, reply: &Reply<'_>, client: Client) {
    out.reserve(256 + reply.body.len());
    write::status_line(out, reply.status, reason(reply.status).as_bytes());
    // 204 and 304 have no content; a Content-Length in a 204 is not allowed (RFC 9110 §8.6), and in
    // a 304 would speak of the resource.
    let has_content = !matches!(reply.status, 204 | 304);
    if has_content {
        let length = Decimal::of(reply.body.len() as u64);
        write::field(out, b"content-length", length.as_bytes());
        if !reply.body.is_empty() || reply.is_call {
            write::field(out, b"content-type", reply.content_type.as_bytes());
        }
    }
    for (name, value) in reply.fields {
        write::field(out, name.as_bytes(), value.as_bytes());
    }
    write::field(out, b"date", reply.date.as_bytes());
    write::write_connection(out, client.version, client.persistence, false, reply.status);
    out.extend_from_slice(b"\r\n");
    if has_content && !client.is_head {
        out.extend_from_slice(reply.body);
    }
}

/// `HTTP/1.1 100 Continue`, for a client that waits before it sends its body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The reason phrase of a status (RFC 9110 §15 and the IANA registry); empty for others.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(status: u16, body: &[u8], client: Client) -> String {
        let mut out = Vec::new();
        let reply = Reply {
            status,
            date: Value::new(b"Thu, 01 Jan 1970 00:00:00 GMT").expect("valid"),
            fields: &[(Name::SERVER, Value::new(b"lateen").expect("valid"))],
            content_type: Value::new(b"text/plain").expect("valid"),
            body,
            is_call: false,
        };
        write(&mut out, &reply, client);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn an_answer_that_closes_says_so() {
        let client = Client {
            version: Version::Http11,
            is_head: false,
            persistence: Persistence::Close,
        };
        assert_eq!(
            written(400, b"no", client),
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\ncontent-type: text/plain\r\n\
             server: lateen\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nconnection: close\r\n\r\nno"
        );
    }

    #[test]
    fn an_answer_to_head_has_the_length_but_not_the_body() {
        let client = Client {
            version: Version::Http10,
            is_head: true,
            persistence: Persistence::KeepAlive,
        };
        let written = written(404, b"body", client);
        assert!(written.contains("content-length: 4\r\n"));
        assert!(written.ends_with("connection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn an_answer_without_content_has_no_length() {
        let client = Client {
            version: Version::Http11,
            is_head: false,
            persistence: Persistence::KeepAlive,
        };
        assert!(!written(204, b"", client).contains("content-length"));
    }
}
