//! The life of a client's connection up to the point where it is known what it carries.
//!
//! ```text
//! serve ─ original destination ─ loop? ─► carry
//! carry ─ rules of the plan ─┬─ nothing to look at ────────────► tcp
//!                            ├─ first bytes: HTTP/1 ───────────► http::serve
//!                            ├─ first bytes: HTTP/2 ───────────► h2::serve
//!                            ├─ first bytes: TLS, by its name ─► tcp, or secure: TLS ends, then
//!                            │                                   http, h2 or tcp under it
//!                            ├─ first bytes: anything else ────► tcp
//!                            └─ silence on an undeclared port ─► dial, whoever speaks first decides
//! ```

pub mod rules;
mod secure;
pub(crate) mod sniff;

use std::net::SocketAddr;
use std::rc::Rc;

use lateen_decide::Inspect;
use lateen_wire::h1::request::Method;
use lateen_wire::sniff::Verdict;
use tokio::net::TcpStream;

use crate::activity::Counted;
use crate::h2;
use crate::http;
use crate::side::Side;
use crate::sys;
use crate::tcp;
use crate::tls::Secure;
use crate::transport::Transport;
use crate::worker::Worker;

use rules::Rules;
use sniff::First;

/// Which way a connection comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// A call of the application.
    Outbound,
    /// A call to the application.
    Inbound,
    /// A connection to a gateway.
    Gateway,
}

/// Where a connection comes from and where it was going.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// Which way it came in.
    pub door: Door,
    /// The client.
    pub peer: SocketAddr,
    /// The address that the client dialled.
    pub destination: SocketAddr,
    /// TLS that the proxy ended on it.
    pub tls: Option<Secure>,
}

// === impl Origin ===

impl Origin {
    /// The scheme of requests on the connection.
    pub fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }
}

/// Serves an accepted socket to its end.
pub async fn serve(worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr, door: Door) {
    let destination = match door {
        Door::Gateway => stream.local_addr().map(sys::canonical),
        Door::Outbound | Door::Inbound => sys::original_dst(&stream),
    };
    let (Ok(destination), Ok(())) = (destination, stream.set_nodelay(true)) else {
        return; // The client has gone already.
    };
    let origin = Origin {
        door,
        peer: sys::canonical(peer),
        destination,
        tls: None,
    };
    if is_loop(&worker, origin) {
        tracing::debug!(
            ?origin,
            "closed a connection that was dialled to the proxy itself"
        );
        let _ = stream.set_zero_linger();
        return;
    }
    carry(&worker, Transport::Tcp(stream), origin).await;
}

/// Serves a connection of which is known where it was going.
pub async fn carry(worker: &Rc<Worker>, transport: Transport, origin: Origin) {
    let _counted = Counted::enter(&worker.activity, |it| &it.connections);
    let is_drained = origin.door != Door::Outbound;
    let _drained =
        is_drained.then(|| Counted::enter(&worker.activity, |it| &it.drained_connections));
    match look(worker, Side::new(transport), origin).await {
        None => {}
        Some((side, Verdict::Http2)) => {
            Box::pin(h2::serve(Rc::clone(worker), side, origin)).await;
        }
        Some((side, _)) => http::serve(Rc::clone(worker), side, origin).await,
    }
}

/// Finds out what a connection carries; serves it unless that is requests. A future of its own, so
/// that its memory is used again by the requests.
async fn look(worker: &Rc<Worker>, mut side: Side, origin: Origin) -> Option<(Side, Verdict)> {
    let first = match Rules::of(&worker.view(), origin).inspect() {
        Inspect::Never => First::Said(Verdict::Tcp),
        Inspect::Wait => sniff::first(worker, &mut side, None).await,
        Inspect::Detect => {
            let limit = worker.view().plan.mesh().protocol_detection_timeout_ms;
            sniff::first(worker, &mut side, Some(limit)).await
        }
    };
    // What carries bytes is boxed, once per connection, so that connections of HTTP are smaller.
    match first {
        First::Gone => None,
        First::Said(Verdict::Tcp) if is_no_request(worker, &side, origin) => {
            tracing::debug!(?origin, "closed a connection that does not speak HTTP");
            None
        }
        First::Said(verdict) if Rules::of(&worker.view(), origin).takes_http(verdict) => {
            Some((side, verdict))
        }
        First::Said(Verdict::Tls) if origin.door == Door::Gateway => {
            match secure::server(&worker.view(), origin, side.buffer.bytes()) {
                Some(id) => Box::pin(secure::serve(worker, side, origin, id)).await,
                None => Box::pin(tcp::serve(worker, side, origin, Verdict::Tls)).await,
            }
            None
        }
        First::Said(verdict) => {
            Box::pin(tcp::serve(worker, side, origin, verdict)).await;
            None
        }
        First::Silence => Box::pin(tcp::serve_undeclared(worker, side, origin)).await,
    }
}

/// Answers whether a connection that has to speak HTTP begins with a line that cannot be meant as a
/// request of any version: no method, and no `/` anywhere. An answer would be in a language that its
/// client does not speak (RFC 9113 §3.4 wants a wrong preface's connection closed). Anything else
/// that is no request is answered 400.
fn is_no_request(worker: &Worker, side: &Side, origin: Origin) -> bool {
    let bytes = side.buffer.bytes();
    let mut words = bytes.split(|byte| !byte.is_ascii_uppercase());
    Method::of(words.next().unwrap_or_default()) == Method::Other
        && bytes.contains(&b'\n')
        && !bytes.contains(&b'/')
        && Rules::of(&worker.view(), origin).takes_http(Verdict::Tcp)
}

/// Answers whether a connection was dialled to a port of the proxy to which others are redirected:
/// carrying it would dial itself for ever.
fn is_loop(worker: &Worker, origin: Origin) -> bool {
    origin.door != Door::Gateway
        && worker
            .profile
            .captured_ports
            .contains(&origin.destination.port())
}
