//! The ports: connections in, each served as HTTP/2 until it ends or the server does.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::handshakes::{Handshakes, PATIENCE, Proof};
use super::identity::Authenticate;
use super::publisher::Publisher;
use super::service::{Gate, Service};
use crate::Error;

/// After how long without a byte a connection is probed; Istio's value.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How long open connections may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(3);

/// Streams of one connection: a proxy has one.
const MAX_STREAMS: u32 = 16;

/// After how long a stream has to be opened anew, with a fresh token; Istio's value.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);

/// The secured port.
#[derive(Clone)]
pub struct Door {
    /// TLS; the certificate may change while the port is open.
    pub config: Arc<ServerConfig>,
    /// Whom a token stands for.
    pub authenticate: Authenticate,
    /// After how long a stream has to be opened anew, with a token that is good then.
    pub max_age: Duration,
}

/// What a connection is served by.
#[derive(Clone)]
enum Port {
    Plain,
    Secured(Door, Handshakes),
}

/// Serves in plaintext until `shutdown` completes, then ends the streams and waits for the
/// connections. Nobody has an identity here, so no Secret ever travels.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    publisher: Publisher,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    run(listener, publisher, Port::Plain, shutdown).await
}

/// As [`serve`], over TLS, for clients that prove who they are with a token.
///
/// # Errors
/// As [`serve`].
pub async fn serve_secured(
    listener: TcpListener,
    publisher: Publisher,
    door: Door,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let port = Port::Secured(door, Handshakes::default());
    run(listener, publisher, port, shutdown).await
}

async fn run(
    listener: TcpListener,
    publisher: Publisher,
    port: Port,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(serve_one(stream, peer, publisher.clone(), port.clone()));
                }
                Err(error) => {
                    // Out of descriptors, or a client that gave up: neither ends the server, but
                    // the first would make this loop spin.
                    tracing::warn!(%error, "xds: cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    publisher.close();
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, drained).await.is_err() {
        tracing::info!("xds: closing connections that did not end by themselves");
    }
    Ok(())
}

async fn serve_one(stream: TcpStream, peer: SocketAddr, publisher: Publisher, port: Port) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "xds: no TCP_NODELAY");
    }
    let (door, handshakes) = match port {
        Port::Plain => {
            let service = Service::of_peer(publisher.clone(), peer, None);
            return Box::pin(serve_http(stream, peer, publisher, service)).await;
        }
        Port::Secured(door, handshakes) => (door, handshakes),
    };
    let Some(proof) = handshakes.enter(peer.ip()) else {
        tracing::warn!(%peer, "xds: too many connections of clients that have not proven anything");
        return publisher.count(|stats| stats.unproven += 1);
    };
    tokio::select! {
        () = Box::pin(secure(stream, peer, publisher.clone(), door, proof.clone())) => {}
        () = proof.missing() => {
            tracing::info!(%peer, after = ?PATIENCE, "xds: a client has not proven who it is");
            publisher.count(|stats| stats.unproven += 1);
        }
    }
}

async fn secure(
    stream: TcpStream,
    peer: SocketAddr,
    publisher: Publisher,
    door: Door,
    proof: Proof,
) {
    let stream = match TlsAcceptor::from(door.config.clone()).accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            // A client that does not trust the certificate says so here.
            tracing::info!(%peer, %error, "xds: no TLS with a client");
            return publisher.count(|stats| stats.unproven += 1);
        }
    };
    let gate = Gate {
        authenticate: door.authenticate,
        max_age: door.max_age,
        proof,
    };
    let service = Service::of_peer(publisher.clone(), peer, Some(gate));
    Box::pin(serve_http(stream, peer, publisher, service)).await;
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    publisher: Publisher,
    service: Service,
) {
    let mut changed = publisher.changed();
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .max_concurrent_streams(MAX_STREAMS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    // The guard that `wait_for` yields must not live across an await.
    let closed = async { drop(changed.wait_for(|changed| changed.is_closed).await) };
    let result = tokio::select! {
        result = &mut connection => result,
        () = closed => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "xds: connection ended");
    }
}

// === impl Door ===

impl Door {
    /// A door with the usual limits.
    pub fn new(config: Arc<ServerConfig>, authenticate: Authenticate) -> Self {
        Self {
            config,
            authenticate,
            max_age: MAX_AGE,
        }
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door")
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}
