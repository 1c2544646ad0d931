//! The request line and its target (RFC 9112 §2.2, §3).

use super::{Forwarded, RequestCase};

pub(super) const CASES: &[RequestCase] = &[
    RequestCase::bad(
        "bare LF after the request line",
        "9112 §2.2",
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "bare LF everywhere",
        "9112 §2.2",
        b"GET / HTTP/1.1\nHost: a\n\n",
    ),
    RequestCase::bad(
        "bare CR after the request line",
        "9112 §2.2",
        b"GET / HTTP/1.1\rHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "bare CR for every line end",
        "9112 §2.2",
        b"GET / HTTP/1.1\rHost: a\r\r",
    ),
    RequestCase::bad(
        "CR CR LF after the request line",
        "9112 §2.2",
        b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "bare CR in the target",
        "9112 §2.2",
        b"GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::served(
        "one empty line before the request line",
        "9112 §2.2",
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Forwarded::get("/")],
    ),
    RequestCase::served(
        "an empty line between pipelined requests",
        "9112 §2.2",
        b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Forwarded::get("/1"), Forwarded::get("/2")],
    ),
    RequestCase::bad(
        "many empty lines before the request line",
        "9112 §2.2, DoS",
        b"\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "a bare LF before the request line",
        "9112 §2.2",
        b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "a space before the method",
        "9112 §3",
        b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "two spaces after the method",
        "9112 §3",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "two spaces after the target",
        "9112 §3",
        b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "a space after the version",
        "9112 §3",
        b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "tabs between the words",
        "9112 §3",
        b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "a form feed between the words",
        "9112 §3",
        b"GET\x0c/\x0cHTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "a space in the target",
        "9112 §3.2",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "a request line of one word",
        "9112 §3",
        b"GET\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad("a request line of HTTP/0.9", "9112 §3", b"GET /\r\n\r\n"),
    RequestCase::bad(
        "an empty target",
        "9112 §3.2",
        b"GET  HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "a method with a colon",
        "9112 §3.1",
        b"GET: / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "a method in brackets",
        "9112 §3.1",
        b"(GET) / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "a method with NUL",
        "9112 §3.1",
        b"G\0ET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "a method above ASCII",
        "9112 §3.1",
        b"G\xc3\x89T / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::served(
        "an unknown method",
        "9110 §9.1",
        b"PURGE / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Forwarded::new("PURGE", "/", "a")],
    ),
    RequestCase::served(
        "a method in lower case is another method",
        "9110 §9.1",
        b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Forwarded::new("get", "/", "a")],
    ),
    RequestCase::served(
        "a method of every token character",
        "9110 §5.6.2",
        b"!#$%&'*+-.^_`|~09Az / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Forwarded::new("!#$%&'*+-.^_`|~09Az", "/", "a")],
    ),
    RequestCase::refused(
        "version 2.0",
        "9112 §2.3",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        505,
    ),
    RequestCase::refused(
        "version 3.1",
        "9112 §2.3",
        b"GET / HTTP/3.1\r\nHost: a\r\n\r\n",
        505,
    ),
    RequestCase::refused(
        "the preface of HTTP/2 on a port of HTTP/1",
        "9113 §3.4",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        505,
    ),
    RequestCase::bad(
        "version 1.2",
        "9112 §2.3",
        b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "version 0.9",
        "9112 §2.3",
        b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "a version of two digits",
        "9112 §2.3",
        b"GET / HTTP/1.10\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "a version without a minor",
        "9112 §2.3",
        b"GET / HTTP/1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "a version in lower case",
        "9112 §2.3",
        b"GET / http/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "a version with a leading zero",
        "9112 §2.3",
        b"GET / HTTP/01.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "another protocol",
        "9112 §2.3",
        b"GET / RTSP/1.0\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "a relative path",
        "9112 §3.2",
        b"GET a/b HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "a target that is only a query",
        "9112 §3.2.1",
        b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "a fragment in the target",
        "9112 §3.2, CVE-2021-39156",
        b"GET /admin#/public HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "NUL in the target",
        "9112 §3.2",
        b"GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "DEL in the target",
        "9112 §3.2",
        b"GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "a byte above ASCII in the target",
        "9112 §3.2",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "a tab in the target",
        "9112 §3.2",
        b"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "the asterisk with GET",
        "9112 §3.2.4",
        b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "two asterisks",
        "9112 §3.2.4",
        b"OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::served(
        "the asterisk with OPTIONS",
        "9112 §3.2.4",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Forwarded::new("OPTIONS", "*", "a")],
    ),
    RequestCase::bad(
        "authority-form with GET",
        "9112 §3.2.3",
        b"GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
    ),
    RequestCase::bad(
        "CONNECT without a port",
        "9112 §3.2.3",
        b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "CONNECT with a path",
        "9112 §3.2.3",
        b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "CONNECT with a URI",
        "9112 §3.2.3",
        b"CONNECT http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "CONNECT with a port out of range",
        "9112 §3.2.3",
        b"CONNECT a:99999 HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::served(
        "absolute-form is sent on in origin-form",
        "9112 §3.2.2",
        b"GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Forwarded::get("/b?c")],
    ),
    RequestCase::served(
        "absolute-form without a path",
        "9112 §3.2.1",
        b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Forwarded::get("/")],
    ),
    RequestCase::served(
        "absolute-form with a query and no path",
        "9112 §3.2.1",
        b"GET http://a?b=c HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Forwarded::get("/?b=c")],
    ),
    RequestCase::served(
        "OPTIONS of a server in absolute-form",
        "9112 §3.2.4",
        b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Forwarded::new("OPTIONS", "*", "a")],
    ),
    RequestCase::served(
        "a scheme in upper case",
        "3986 §3.1",
        b"GET HTTP://a/b HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Forwarded::get("/b")],
    ),
    RequestCase::bad(
        "a scheme that is not HTTP's",
        "9112 §3.2.2",
        b"GET ftp://a/b HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "absolute-form with an empty host",
        "9110 §4.2.1",
        b"GET http:///b HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "absolute-form with user information",
        "9110 §4.2.4",
        b"GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "absolute-form with one slash",
        "9112 §3.2.2",
        b"GET http:/a/b HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "absolute-form with a backslash in the host",
        "3986 §3.2",
        b"GET http://a\\b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    RequestCase::served(
        "characters that browsers do not encode",
        "3986 §2, WHATWG URL",
        b"GET /a|b^c`d{e}f[g]h\"i<j>?q=|^`{}[]\\'% HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Forwarded::get("/a|b^c`d{e}f[g]h\"i<j>?q=|^`{}[]\\'%")],
    ),
    RequestCase::served(
        "dots, double slashes and encodings are not touched",
        "9112 §3.2.1",
        b"GET //a/../b/./%2e%2F;v=1//?x=/../ HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Forwarded::get("//a/../b/./%2e%2F;v=1//?x=/../")],
    ),
    RequestCase::served(
        "several question marks",
        "3986 §3.4",
        b"GET /?a?b?/c HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Forwarded::get("/?a?b?/c")],
    ),
    RequestCase::served(
        "an empty query",
        "3986 §3.4",
        b"GET /? HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Forwarded::get("/?")],
    ),
];
