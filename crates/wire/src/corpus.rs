//! Messages and what must become of them: the cases of RFC 9112 and RFC 9110, and of the request
//! smuggling that proxies have suffered, as a table.
//!
//! The table is data: this crate runs it through the parsers and writers, the proxy sends it over
//! sockets between a client and an upstream. A case is the bytes of one connection, and says
//! which requests reach the upstream, and how the connection ends. What is sent to keep a server of
//! HTTP/2 busy is in [`h2`].

mod chunked;
mod connection;
mod fields;
mod framing;
pub mod h2;
mod host;
mod limits;
mod request_line;
mod response;
mod valid;

use std::borrow::Cow;

use crate::h1::framing::{Body, Outgoing};

/// The bytes of a case.
#[derive(Debug, Clone, Copy)]
pub enum Input {
    /// As they are.
    Bytes(&'static [u8]),
    /// With a part that is repeated, for limits.
    Repeated {
        /// What comes first.
        before: &'static [u8],
        /// What is repeated.
        unit: &'static [u8],
        /// How often.
        count: usize,
        /// What comes last.
        after: &'static [u8],
    },
}

/// What a client sends on one connection, and what becomes of it.
#[derive(Debug, Clone, Copy)]
pub struct RequestCase {
    /// A unique name.
    pub name: &'static str,
    /// The section of an RFC, or the class of attack.
    pub reference: &'static str,
    /// The bytes. The client then waits.
    pub input: Input,
    /// The requests that reach the upstream as a whole, in order.
    pub forwarded: &'static [Forwarded],
    /// What follows.
    pub then: Then,
}

/// How the connection goes on after the forwarded requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It waits for the next request, or for the rest of an unfinished one.
    Waits,
    /// It is closed, as the client asked for that, or because it is HTTP/1.0.
    Closes,
    /// The next request is answered with this status and the connection closed. It must not reach
    /// the upstream as a complete request.
    Refuses(u16),
}

/// A request as the upstream sees it.
#[derive(Debug, Clone, Copy)]
pub struct Forwarded {
    /// The method.
    pub method: &'static str,
    /// The target on the request line.
    pub target: &'static str,
    /// The only Host; empty if there was none to send on.
    pub host: &'static str,
    /// The framing.
    pub body: Body,
    /// The content.
    pub content: &'static [u8],
    /// Fields that are there with exactly these values and this spelling, in this order.
    pub fields: &'static [(&'static str, &'static str)],
    /// Fields that are not there.
    pub absent: &'static [&'static str],
    /// The trailer fields; exactly these.
    pub trailers: &'static [(&'static str, &'static str)],
}

/// What an upstream answers, and what the client gets.
#[derive(Debug, Clone, Copy)]
pub struct ResponseCase {
    /// A unique name.
    pub name: &'static str,
    /// The section of an RFC, or the class of attack.
    pub reference: &'static str,
    /// The method of the request: `GET`, `HEAD` or `CONNECT`.
    pub method: &'static str,
    /// The Upgrade field of the request.
    pub upgrade: Option<&'static str>,
    /// What the upstream sends; then it closes if `closes`, else waits.
    pub input: Input,
    /// Whether the upstream closes its connection after that.
    pub closes: bool,
    /// What the client gets.
    pub outcome: ResponseOutcome,
}

/// What a client gets for a response.
#[derive(Debug, Clone, Copy)]
pub enum ResponseOutcome {
    /// The response.
    Forwarded(Answer),
    /// 502, and the upstream's connection is closed.
    BadGateway,
    /// The head was fine, but the body is malformed or cut off: the client sees the end of its
    /// connection before the end of the body.
    Truncated,
}

/// A response as an HTTP/1.1 client sees it.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// Interim responses before it.
    pub interim: &'static [u16],
    /// The status.
    pub status: u16,
    /// The framing towards the client.
    pub body: Outgoing,
    /// The content.
    pub content: &'static [u8],
    /// Fields that are there with exactly these values and this spelling, in this order.
    pub fields: &'static [(&'static str, &'static str)],
    /// Fields that are not there.
    pub absent: &'static [&'static str],
}

/// Every case of requests.
pub const REQUESTS: &[&[RequestCase]] = &[
    request_line::CASES,
    fields::CASES,
    host::CASES,
    framing::CASES,
    chunked::CASES,
    connection::CASES,
    limits::CASES,
    valid::CASES,
];

/// Every case of responses.
pub const RESPONSES: &[ResponseCase] = response::CASES;

/// Every case of requests, one after the other.
pub fn requests() -> impl Iterator<Item = &'static RequestCase> {
    REQUESTS.iter().flat_map(|group| group.iter())
}

// === impl Input ===

impl Input {
    /// The bytes.
    pub fn bytes(self) -> Cow<'static, [u8]> {
        match self {
            Self::Bytes(bytes) => Cow::Borrowed(bytes),
            Self::Repeated {
                before,
                unit,
                count,
                after,
            } => {
                let mut bytes = before.to_vec();
                for _ in 0..count {
                    bytes.extend_from_slice(unit);
                }
                bytes.extend_from_slice(after);
                Cow::Owned(bytes)
            }
        }
    }
}

// === impl RequestCase ===

impl RequestCase {
    /// Requests that are served; the connection then waits.
    const fn served(
        name: &'static str,
        reference: &'static str,
        input: &'static [u8],
        forwarded: &'static [Forwarded],
    ) -> Self {
        Self {
            name,
            reference,
            input: Input::Bytes(input),
            forwarded,
            then: Then::Waits,
        }
    }

    /// Requests that are served; the connection is then closed.
    const fn served_last(
        name: &'static str,
        reference: &'static str,
        input: &'static [u8],
        forwarded: &'static [Forwarded],
    ) -> Self {
        let mut case = Self::served(name, reference, input, forwarded);
        case.then = Then::Closes;
        case
    }

    /// A request that is answered 400.
    const fn bad(name: &'static str, reference: &'static str, input: &'static [u8]) -> Self {
        Self::refused(name, reference, input, 400)
    }

    /// A request that is answered with a status.
    const fn refused(
        name: &'static str,
        reference: &'static str,
        input: &'static [u8],
        status: u16,
    ) -> Self {
        let mut case = Self::served(name, reference, input, &[]);
        case.then = Then::Refuses(status);
        case
    }

    /// The same with requests that are served before.
    const fn after(mut self, forwarded: &'static [Forwarded]) -> Self {
        self.forwarded = forwarded;
        self
    }
}

// === impl Forwarded ===

impl Forwarded {
    /// A request without a body.
    const fn new(method: &'static str, target: &'static str, host: &'static str) -> Self {
        Self {
            method,
            target,
            host,
            body: Body::Empty,
            content: b"",
            fields: &[],
            absent: &[],
            trailers: &[],
        }
    }

    const fn get(target: &'static str) -> Self {
        Self::new("GET", target, "a")
    }

    const fn post(body: Body, content: &'static [u8]) -> Self {
        let mut forwarded = Self::new("POST", "/", "a");
        forwarded.body = body;
        forwarded.content = content;
        forwarded
    }

    const fn with(mut self, fields: &'static [(&'static str, &'static str)]) -> Self {
        self.fields = fields;
        self
    }

    const fn without(mut self, absent: &'static [&'static str]) -> Self {
        self.absent = absent;
        self
    }

    const fn trailed(mut self, trailers: &'static [(&'static str, &'static str)]) -> Self {
        self.trailers = trailers;
        self
    }
}

// === impl ResponseCase ===

impl ResponseCase {
    const fn new(
        name: &'static str,
        reference: &'static str,
        input: &'static [u8],
        outcome: ResponseOutcome,
    ) -> Self {
        Self {
            name,
            reference,
            method: "GET",
            upgrade: None,
            input: Input::Bytes(input),
            closes: false,
            outcome,
        }
    }

    /// A response to GET that is sent on.
    const fn served(
        name: &'static str,
        reference: &'static str,
        input: &'static [u8],
        answer: Answer,
    ) -> Self {
        Self::new(name, reference, input, ResponseOutcome::Forwarded(answer))
    }

    /// A response that is 502.
    const fn bad(name: &'static str, reference: &'static str, input: &'static [u8]) -> Self {
        Self::new(name, reference, input, ResponseOutcome::BadGateway)
    }

    /// A response whose body is malformed.
    const fn truncated(name: &'static str, reference: &'static str, input: &'static [u8]) -> Self {
        Self::new(name, reference, input, ResponseOutcome::Truncated)
    }

    const fn to(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    const fn asking(mut self, upgrade: &'static str) -> Self {
        self.upgrade = Some(upgrade);
        self
    }

    const fn closing(mut self) -> Self {
        self.closes = true;
        self
    }
}

// === impl Answer ===

impl Answer {
    const fn new(status: u16, body: Outgoing, content: &'static [u8]) -> Self {
        Self {
            interim: &[],
            status,
            body,
            content,
            fields: &[],
            absent: &[],
        }
    }

    const fn with(mut self, fields: &'static [(&'static str, &'static str)]) -> Self {
        self.fields = fields;
        self
    }

    const fn without(mut self, absent: &'static [&'static str]) -> Self {
        self.absent = absent;
        self
    }

    const fn after(mut self, interim: &'static [u16]) -> Self {
        self.interim = interim;
        self
    }
}
