//! HTTP/1.1: one task owns a client's connection and drives the upstream of each exchange.
//!
//! ```text
//! serve ─ wait for bytes ─► exchange::run ─ read head ─ decide ─ fault ─┬─ attempts ─┬─ record ─┐
//!   ▲                                                                   └─ respond ──┘          │
//!   └──────────────────────────────── Next::Again ◄─────────────────────────────────────────────┘
//! ```
//!
//! [`exchange`] is the life of a request. [`course`] decides, by its head, what becomes of it;
//! [`attempts`] sends it until it is answered; [`links`] is where connections come from;
//! [`transfer`] moves its bytes, both directions at once; [`flow`] is one direction. [`respond`] is
//! the only place that makes answers of the proxy's own.

mod affinity;
mod attempts;
mod client;
mod cors;
mod course;
mod discard;
mod edits;
mod exchange;
mod failure;
mod fault;
mod flow;
mod grpc;
mod headers;
mod links;
mod location;
mod mirror;
mod record;
mod request_head;
mod respond;
mod response_head;
mod timeouts;
mod transfer;
mod unanswered;
pub mod workspace;

use std::rc::Rc;
use std::time::Duration;

use crate::connection::Origin;
use crate::side::Side;
use crate::upstream::Connection;
use crate::worker::Worker;

use client::Client;

/// How long a client may take nothing of an answer, by not reading or by giving no window. Whoever
/// opens connections or a thousand streams to leave them so would keep their buffers for ever
/// (CVE-2019-9511, -9517); five minutes is Envoy's limit.
pub(crate) const MOST_STALLED: Duration = Duration::from_secs(300);

/// What becomes of a client's connection after an exchange.
#[derive(Debug)]
enum Next {
    /// It carries another one.
    Again,
    /// It is closed.
    Close,
    /// It is closed when the client has had time to read the answer: it may still be sending.
    Linger,
    /// It becomes a tunnel to this upstream.
    Tunnel(Box<Connection>),
}

/// Serves a connection of which the client speaks HTTP/1 until it ends.
pub async fn serve(worker: Rc<Worker>, side: Side, origin: Origin) {
    let mut client = Client::new(worker, side, origin);
    while client.wait().await && !client.is_outdated() {
        let mut work = client.worker.workspaces.take();
        let next = exchange::run(&mut client, &mut work).await;
        client.worker.workspaces.put(work);
        match next {
            // A stream carries one exchange. What a client sent after the head of a CONNECT was for
            // the tunnel: where there is none, it must not be read as requests.
            Next::Again if client.side.transport.is_stream() => break,
            Next::Again => client.rest(),
            Next::Close => break,
            Next::Linger => return client.linger().await,
            Next::Tunnel(upstream) => return client.tunnel(*upstream).await,
        }
    }
    client.close().await;
}
