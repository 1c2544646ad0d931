//! Limits of heads: 60 KiB and 100 fields, and what is just within them.

use super::{Forwarded, Input, RequestCase, Then};

pub(super) const CASES: &[RequestCase] = &[
    RequestCase {
        name: "101 fields",
        reference: "limits",
        input: Input::Repeated {
            before: b"GET / HTTP/1.1\r\nHost: a\r\n",
            unit: b"X: y\r\n",
            count: 100,
            after: b"\r\n",
        },
        forwarded: &[],
        then: Then::Refuses(431),
    },
    RequestCase {
        name: "100 fields",
        reference: "limits",
        input: Input::Repeated {
            before: b"GET / HTTP/1.1\r\nHost: a\r\n",
            unit: b"X: y\r\n",
            count: 99,
            after: b"\r\n",
        },
        forwarded: &[Forwarded::get("/")],
        then: Then::Waits,
    },
    RequestCase {
        name: "a value that is too long",
        reference: "limits",
        input: Input::Repeated {
            before: b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
            unit: b"0123456789abcdef",
            count: 3840,
            after: b"\r\n\r\n",
        },
        forwarded: &[],
        then: Then::Refuses(431),
    },
    RequestCase {
        name: "a long value",
        reference: "limits",
        input: Input::Repeated {
            before: b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
            unit: b"0123456789abcdef",
            count: 3830,
            after: b"\r\n\r\n",
        },
        forwarded: &[Forwarded::get("/")],
        then: Then::Waits,
    },
    RequestCase {
        name: "a target that is too long",
        reference: "9112 §3",
        input: Input::Repeated {
            before: b"GET /",
            unit: b"0123456789abcdef",
            count: 3840,
            after: b" HTTP/1.1\r\nHost: a\r\n\r\n",
        },
        forwarded: &[],
        then: Then::Refuses(431),
    },
    RequestCase {
        name: "a name that is too long",
        reference: "limits",
        input: Input::Repeated {
            before: b"GET / HTTP/1.1\r\nHost: a\r\n",
            unit: b"0123456789abcdef",
            count: 3840,
            after: b": y\r\n\r\n",
        },
        forwarded: &[],
        then: Then::Refuses(431),
    },
    RequestCase {
        name: "a head without an end",
        reference: "limits, DoS",
        input: Input::Repeated {
            before: b"GET / HTTP/1.1\r\nHost: a\r\n",
            unit: b"X: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n",
            count: 700,
            after: b"",
        },
        forwarded: &[],
        then: Then::Refuses(431),
    },
    RequestCase {
        name: "bytes without a line",
        reference: "limits, DoS",
        input: Input::Repeated {
            before: b"",
            unit: b"AAAAAAAAAAAAAAAA",
            count: 4096,
            after: b"",
        },
        forwarded: &[],
        then: Then::Refuses(431),
    },
    RequestCase {
        name: "very many Connection options",
        reference: "limits, DoS",
        input: Input::Repeated {
            before: b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x",
            unit: b",x",
            count: 1000,
            after: b"\r\n\r\n",
        },
        forwarded: &[],
        then: Then::Refuses(400),
    },
];
