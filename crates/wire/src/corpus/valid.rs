//! Whole requests as common clients send them: nothing of these may be refused.

use super::{Forwarded, RequestCase};
use crate::h1::framing::Body;

pub(super) const CASES: &[RequestCase] = &[
    RequestCase::served(
        "curl",
        "9112 §2.1",
        b"GET /get HTTP/1.1\r\nHost: example.com\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n",
        &[Forwarded::new("GET", "/get", "example.com").with(&[
            ("Host", "example.com"),
            ("User-Agent", "curl/7.88.1"),
            ("Accept", "*/*"),
        ])],
    ),
    RequestCase::served(
        "a browser",
        "9112 §2.1",
        b"GET /productpage?u=normal HTTP/1.1\r\nHost: localhost:8080\r\nConnection: keep-alive\r\nCache-Control: max-age=0\r\nsec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\nUpgrade-Insecure-Requests: 1\r\nAccept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nCookie: session=eyJ1c2VyIjoiamFzb24ifQ==; a=\"b c\"\r\nIf-None-Match: W/\"1-2\"\r\n\r\n",
        &[Forwarded::new("GET", "/productpage?u=normal", "localhost:8080")
            .with(&[
                ("Host", "localhost:8080"),
                ("Cache-Control", "max-age=0"),
                ("Upgrade-Insecure-Requests", "1"),
                ("Cookie", "session=eyJ1c2VyIjoiamFzb24ifQ==; a=\"b c\""),
                ("If-None-Match", "W/\"1-2\""),
            ])
            .without(&["connection"])],
    ),
    RequestCase::served(
        "a form",
        "9112 §2.1",
        b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 20\r\n\r\nusername=jason&pw=%0",
        &[Forwarded {
            method: "POST",
            target: "/login",
            ..Forwarded::post(Body::Length(20), b"username=jason&pw=%0")
        }],
    ),
    RequestCase::served(
        "a streamed upload that expects 100-continue",
        "9110 §10.1.1",
        b"PUT /f HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        &[Forwarded {
            method: "PUT",
            target: "/f",
            ..Forwarded::post(Body::Chunked, b"abc").with(&[("Expect", "100-continue")])
        }],
    ),
    RequestCase::served(
        "HEAD",
        "9110 §9.3.2",
        b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[Forwarded::new("HEAD", "/", "a")],
    ),
    RequestCase::served(
        "DELETE with a body",
        "9110 §9.3.5",
        b"DELETE /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
        &[Forwarded {
            method: "DELETE",
            target: "/x",
            ..Forwarded::post(Body::Length(2), b"{}")
        }],
    ),
    RequestCase::served(
        "PATCH, TRACE and a method of WebDAV",
        "9110 §9.1",
        b"PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nTRACE / HTTP/1.1\r\nHost: a\r\n\r\nVERSION-CONTROL / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[
            Forwarded {
                method: "PATCH",
                ..Forwarded::post(Body::Length(0), b"")
            },
            Forwarded::new("TRACE", "/", "a"),
            Forwarded::new("VERSION-CONTROL", "/", "a"),
        ],
    ),
    RequestCase::served(
        "a proxied request with tracing",
        "9110 §7.6",
        b"GET /reviews/0 HTTP/1.1\r\nhost: reviews:9080\r\nuser-agent: python-requests/2.31\r\naccept-encoding: gzip, deflate\r\naccept: */*\r\nx-request-id: 7e6f\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nx-forwarded-for: 10.0.0.1, 10.0.0.2\r\nvia: 1.1 p\r\n\r\n",
        &[Forwarded::new("GET", "/reviews/0", "reviews:9080").with(&[
            ("accept", "*/*"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("via", "1.1 p"),
        ])],
    ),
    RequestCase::served(
        "only a Host",
        "9112 §3.2",
        b"GET / HTTP/1.1\r\nhost:a\r\n\r\n",
        &[Forwarded::get("/")],
    ),
];
