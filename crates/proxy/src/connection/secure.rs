//! TLS that ends here: the handshake, and what is carried under it.
//!
//! The server was chosen by the name in the ClientHello, which is at hand as a whole. Everything
//! that the client may make the proxy wait for has a limit: the handshake takes as long as a head
//! may, and as many bytes as certificates need.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use lateen_decide::tls::{Choice, Ended};
use lateen_decide::{Serve, ServerId};
use lateen_wire::server_name::{ServerName, server_name};
use lateen_wire::sniff::Verdict;
use lateen_wire::tls::Session;

use super::sniff::{self, First};
use super::{Origin, is_no_request};
use crate::clock;
use crate::deadline::Deadline;
use crate::h2;
use crate::http;
use crate::published::Published;
use crate::side::Side;
use crate::tcp;
use crate::tls::{Facts, Stream};
use crate::transport::Transport;
use crate::worker::Worker;

/// The protocol that HTTP/2 over TLS is called by (RFC 9113 §3.2).
const HTTP2: &[u8] = b"h2";

/// What comes after the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carries {
    Requests,
    Bytes,
}

/// Where TLS ends, for a connection that begins with the ClientHello in `first`; nothing if it does
/// not end here.
pub(super) fn server(published: &Published, origin: Origin, first: &[u8]) -> Option<ServerId> {
    let Serve::Tls(table) = &published.plan.gateway(origin.destination)?.serve else {
        return None;
    };
    let name = server_name(first);
    let name = match &name {
        ServerName::Name(name) => Some(&**name),
        ServerName::Absent | ServerName::NeedMore => None,
    };
    match table.choose(name)? {
        Choice::Ended(server) => Some(server.id),
        Choice::Passed(_) | Choice::Mesh(_) => None,
    }
}

/// Serves a connection that is for a server to its end.
pub(super) async fn serve(worker: &Rc<Worker>, side: Side, origin: Origin, id: ServerId) {
    let Some((session, carries)) = accept(&worker.view(), origin, id) else {
        return;
    };
    let ServerName::Name(name) = server_name(side.buffer.bytes()) else {
        return Box::pin(open(
            worker,
            side,
            origin,
            id,
            session,
            carries,
            Box::default(),
        ))
        .await;
    };
    let name = name.into_owned().into();
    Box::pin(open(worker, side, origin, id, session, carries, name)).await;
}

/// A session of the server, if it has what it needs.
fn accept(published: &Published, origin: Origin, id: ServerId) -> Option<(Session, Carries)> {
    let terminated = published.plan.terminated(id)?;
    let carries = match terminated.serve {
        Ended::Http(_) => Carries::Requests,
        Ended::Tcp(_) => Carries::Bytes,
    };
    let name = &terminated.name;
    let Some(server) = published.tls.get(&id) else {
        // Why is in the log and among the errors of listeners, once for all connections.
        tracing::debug!(?origin, server = %name, "closed a connection: no certificate to show");
        return None;
    };
    match server.accept() {
        Ok(session) => Some((session, carries)),
        Err(error) => {
            tracing::warn!(server = %name, %error, "cannot begin a session of TLS");
            None
        }
    }
}

/// Exchanges what comes before plaintext, then serves what is under it.
async fn open(
    worker: &Rc<Worker>,
    mut side: Side,
    origin: Origin,
    id: ServerId,
    session: Session,
    carries: Carries,
    name: Box<[u8]>,
) {
    let memory = Rc::clone(&worker.tls);
    let mut stream = Stream::start(side.transport, session, memory, side.buffer.bytes());
    side.buffer.discard(&worker.buffers);
    let mut deadline = Deadline::default();
    deadline.set(clock::now().checked_add(worker.profile.timeouts.head));
    let is_done = poll_fn(|cx| {
        if let Poll::Ready(result) = stream.poll_handshake(cx) {
            return Poll::Ready(result.is_ok());
        }
        deadline.poll(cx).map(|()| false)
    })
    .await;
    if !is_done {
        tracing::debug!(?origin, server = ?id, "closed a connection in its TLS handshake");
        return;
    }
    let is_http2 = stream.session().protocol() == Some(HTTP2);
    let is_agreed = stream.session().protocol().is_some();
    let known = worker
        .sessions
        .enter(id, Facts::of(stream.session(), &name));
    let origin = Origin {
        tls: Some(known.secure),
        ..origin
    };
    let side = Side::new(Transport::Tls(Box::new(stream)));
    match carries {
        Carries::Bytes => Box::pin(tcp::serve(worker, side, origin, Verdict::Tcp)).await,
        Carries::Requests if is_http2 => Box::pin(h2::serve(Rc::clone(worker), side, origin)).await,
        Carries::Requests if is_agreed => http::serve(Rc::clone(worker), side, origin).await,
        Carries::Requests => Box::pin(find_out(worker, side, origin)).await,
    }
}

/// Serves a client that agreed on no protocol by what it says.
async fn find_out(worker: &Rc<Worker>, mut side: Side, origin: Origin) {
    match sniff::first(worker, &mut side, None).await {
        First::Said(Verdict::Http2) => Box::pin(h2::serve(Rc::clone(worker), side, origin)).await,
        First::Said(Verdict::Tcp) if is_no_request(worker, &side, origin) => {}
        First::Said(_) => http::serve(Rc::clone(worker), side, origin).await,
        First::Gone | First::Silence => {}
    }
}
