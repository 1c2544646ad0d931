//! For whom a request is (RFC 9112 §3.2, RFC 9110 §7.2).

use super::{Forwarded, RequestCase};

pub(super) const CASES: &[RequestCase] = &[
    RequestCase::bad("no Host", "9112 §3.2", b"GET / HTTP/1.1\r\n\r\n"),
    RequestCase::bad(
        "no Host beside an absolute-form",
        "9112 §3.2",
        b"GET http://a/ HTTP/1.1\r\n\r\n",
    ),
    RequestCase::bad(
        "two Hosts",
        "9112 §3.2",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ),
    RequestCase::bad(
        "two equal Hosts",
        "9112 §3.2",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    ),
    RequestCase::bad(
        "two Hosts in different case",
        "9112 §3.2",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nhOST: b\r\n\r\n",
    ),
    RequestCase::bad(
        "two Hosts in HTTP/1.0",
        "9112 §3.2",
        b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    ),
    RequestCase::bad(
        "an empty Host",
        "9110 §4.2.1",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    ),
    RequestCase::bad(
        "a list of hosts",
        "9112 §3.2",
        b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    ),
    RequestCase::bad(
        "a Host with a space",
        "9112 §3.2",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    ),
    RequestCase::bad(
        "a Host with a path",
        "9112 §3.2",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    ),
    RequestCase::bad(
        "a Host with a query",
        "9112 §3.2",
        b"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n",
    ),
    RequestCase::bad(
        "a Host with a fragment",
        "9112 §3.2",
        b"GET / HTTP/1.1\r\nHost: a#b\r\n\r\n",
    ),
    RequestCase::bad(
        "a Host with a scheme",
        "9112 §3.2",
        b"GET / HTTP/1.1\r\nHost: http://a\r\n\r\n",
    ),
    RequestCase::bad(
        "a Host with user information",
        "9112 §3.2",
        b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    ),
    RequestCase::bad(
        "a Host with a backslash",
        "9112 §3.2",
        b"GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n",
    ),
    RequestCase::bad(
        "a Host above ASCII",
        "9112 §3.2",
        b"GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n",
    ),
    RequestCase::bad(
        "a Host with a bad encoding",
        "3986 §2.1",
        b"GET / HTTP/1.1\r\nHost: a%zz\r\n\r\n",
    ),
    RequestCase::bad(
        "a port that is no number",
        "9112 §3.2",
        b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
    ),
    RequestCase::bad(
        "a port with a sign",
        "9112 §3.2",
        b"GET / HTTP/1.1\r\nHost: a:-80\r\n\r\n",
    ),
    RequestCase::bad(
        "a port out of range",
        "9112 §3.2",
        b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n",
    ),
    RequestCase::bad(
        "two ports",
        "9112 §3.2",
        b"GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n",
    ),
    RequestCase::bad(
        "a port without a host",
        "9112 §3.2",
        b"GET / HTTP/1.1\r\nHost: :80\r\n\r\n",
    ),
    RequestCase::bad(
        "an IPv6 address without brackets",
        "3986 §3.2.2",
        b"GET / HTTP/1.1\r\nHost: ::1\r\n\r\n",
    ),
    RequestCase::bad(
        "an open bracket",
        "3986 §3.2.2",
        b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    ),
    RequestCase::bad(
        "bytes after a bracket",
        "3986 §3.2.2",
        b"GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n",
    ),
    RequestCase::bad(
        "brackets around no address",
        "3986 §3.2.2",
        b"GET / HTTP/1.1\r\nHost: [a]\r\n\r\n",
    ),
    RequestCase::bad(
        "an invalid Host beside an absolute-form",
        "9112 §3.2",
        b"GET http://a/ HTTP/1.1\r\nHost: b c\r\n\r\n",
    ),
    RequestCase::served(
        "the target's host overrides Host",
        "9112 §3.2.2",
        b"GET http://b:81/c HTTP/1.1\r\nX: 1\r\nHost: a\r\nY: 2\r\n\r\n",
        &[Forwarded::new("GET", "/c", "b:81").with(&[("X", "1"), ("Host", "b:81"), ("Y", "2")])],
    ),
    RequestCase::served(
        "a host with a port",
        "9112 §3.2",
        b"GET / HTTP/1.1\r\nHost: a:8080\r\n\r\n",
        &[Forwarded::new("GET", "/", "a:8080")],
    ),
    RequestCase::served(
        "a host with an empty port",
        "3986 §3.2.3",
        b"GET / HTTP/1.1\r\nHost: a:\r\n\r\n",
        &[Forwarded::new("GET", "/", "a:")],
    ),
    RequestCase::served(
        "an IPv6 address",
        "3986 §3.2.2",
        b"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n",
        &[Forwarded::new("GET", "/", "[2001:db8::1]:80")],
    ),
    RequestCase::served(
        "an IPv4 address",
        "3986 §3.2.2",
        b"GET / HTTP/1.1\r\nHost: 10.0.0.1:65535\r\n\r\n",
        &[Forwarded::new("GET", "/", "10.0.0.1:65535")],
    ),
    RequestCase::served(
        "a name with an underscore, upper case and a trailing dot",
        "3986 §3.2.2",
        b"GET / HTTP/1.1\r\nHost: My_Host.Example.\r\n\r\n",
        &[Forwarded::new("GET", "/", "My_Host.Example.")],
    ),
    RequestCase::served(
        "an encoded host",
        "3986 §3.2.2",
        b"GET / HTTP/1.1\r\nHost: a%41b\r\n\r\n",
        &[Forwarded::new("GET", "/", "a%41b")],
    ),
    RequestCase::served_last(
        "HTTP/1.0 with Host",
        "9112 §3.2",
        b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        &[Forwarded::get("/")],
    ),
    RequestCase::served_last(
        "HTTP/1.0 without Host",
        "9112 §3.2",
        b"GET / HTTP/1.0\r\n\r\n",
        &[Forwarded::new("GET", "/", "")],
    ),
];
