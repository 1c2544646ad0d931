//! HTTP/2: connections of streams, each of which looks like an HTTP/1.1 connection for one exchange.
//!
//! The exchange engine ([`crate::http`]) knows one protocol, so that routes, retries, timeouts,
//! metrics and the log are written once. A [`Pipe`] translates between it and a stream, in both
//! roles:
//!
//! ```text
//!  client ══ server: one task per connection        client.rs: one task per upstream connection ══ upstream
//!            ║ one task per stream                                                       ║
//!            ╚► served::Stream ◄─ HTTP/1.1 bytes ─► http::serve ◄─ HTTP/1.1 bytes ─► requested::Stream
//! ```
//!
//! [`incoming`] turns the peer's HEADERS, DATA and trailers into a head and chunks (or plain bytes,
//! where a length was declared, and in tunnels); [`outgoing`] turns the engine's bytes back.
//! Neither keeps bytes: DATA is taken from the peer's window, and the window given back, when the
//! engine has room for it; the engine's writes wait while the peer gives no window. So a slow reader
//! at one end slows the writer at the other end down.
//!
//! [`wire`] gathers what `h2` writes in a turn into one write, without copying large pieces, and the
//! tasks of streams go from one stream to the next ([`attendants`]).
//!
//! | HTTP/2 | HTTP/1.1, as the engine sees it |
//! |---|---|
//! | `END_STREAM` with the head | no body; in responses `content-length: 0` |
//! | `content-length` | the same, the body as it is; trailers are dropped, as HTTP/1.1 has none there |
//! | neither, or an answer to a call of gRPC | chunks, trailers after the last |
//! | `:authority` | `host`; both must agree |
//! | several `cookie` fields | one |
//! | extended CONNECT with `:protocol: websocket` | a GET that asks for an upgrade; 101 is 200 |
//! | `RST_STREAM`, a connection that ends | an error of reading and writing |
//! | the engine drops the pipe in the middle | `RST_STREAM` with `INTERNAL_ERROR` or `CANCEL` |
//!
//! `upgrade: h2c` (RFC 7540 §3.2) is not a thing any more (RFC 9113 §3.1): the engine ignores it.

mod attendants;
mod client;
mod collect;
mod data;
mod head;
mod incoming;
mod io;
mod keepalive;
mod outbox;
mod outgoing;
mod pipe;
mod requested;
mod served;
mod server;
mod watch;
mod websocket;
mod wire;

use lateen_decide::cluster::HttpVersion;
use lateen_model::Protocol;

use crate::connection::Door;
use crate::connection::rules::{Recipient, Target};
use crate::upstream::Version;

pub use attendants::Attendants;
pub use client::Upstreams;
pub use pipe::{Fault, Pipe};
pub use server::serve;

/// How many streams a client may have open at once on a connection, and how many a connection to an
/// upstream takes before another one is opened. 100, as many servers have it, makes gRPC clients
/// queue that send all their calls over one connection; without a limit a single connection could
/// take all memory. A stream that waits costs a task and a pipe, some 6 KiB, so it is 6 MiB at most.
const MOST_STREAMS: u32 = 1000;

/// How many bytes of a stream's body a peer may send that nobody has read. 256 KiB is 1 Gbit/s at
/// 2 ms: enough within a region.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The same for all streams of a client's connection together: what bounds the memory of one
/// connection. Four streams that nobody reads use it up; they are the client's own.
const CLIENT_WINDOW: u32 = 1024 * 1024;

/// The same for a connection to an upstream, which clients share: it takes 64 of them that do not
/// read their responses before they are in the way of others.
const UPSTREAM_WINDOW: u32 = 16 * 1024 * 1024;

/// How many bytes of a stream wait in a connection for its socket; more is not taken from the
/// engine. As much as the engine's largest buffer has, so that it is emptied at once.
const SEND_BUFFER: usize = 64 * 1024;

/// The longest head, as HTTP/2 counts (RFC 9113 §6.5.2): the same 60 KiB as for HTTP/1.
const HEAD_BYTES: u32 = 60 * 1024;

/// How many streams may be reset because their client broke a rule of streams (CVE-2025-8671).
const MOST_LOCAL_RESETS: usize = 100;

/// What is spoken to an upstream: what its policy asks for, else what is declared for its port;
/// where nothing is, what the client speaks, as a sidecar is to be transparent. A gateway's clients
/// say nothing about what is behind it, and HTTP/1.1 is understood everywhere.
pub fn upstream_protocol(target: &Target<'_>, is_client_http2: bool, door: Door) -> Version {
    let wanted = match target.recipient {
        Recipient::Cluster(cluster) => cluster.policy.http_version,
        // Of how versions are chosen the workload's own proxy takes nothing from the policy.
        Recipient::Workload(_) => match target.declared {
            Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb => HttpVersion::Http2,
            Protocol::Unknown => HttpVersion::Client,
            Protocol::Http | Protocol::Https | Protocol::Tls | Protocol::Tcp | Protocol::Udp => {
                HttpVersion::Http1
            }
        },
    };
    let is_asked_for = target.declared != Protocol::Unknown || door != Door::Gateway;
    match wanted {
        HttpVersion::Http2 => Version::Http2,
        HttpVersion::Client if is_client_http2 && is_asked_for => Version::Http2,
        HttpVersion::Http1 | HttpVersion::Client => Version::Http1,
    }
}
