//! The gRPC service: one session per stream, pulled by the response stream itself.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{self, Stream};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::codegen::{Body as HttpBody, StdError, http};
use tonic::{Request, Response, Status, Streaming};

use super::connection::{Answered, Connection};
use super::publisher::{Changed, Publisher, Registration, lock};
use crate::Error;
use crate::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, METHOD, SERVICE};

/// The largest request: the versions of 200,000 resources after a reconnect.
const MAX_REQUEST: usize = 32 << 20;

/// How long a stream may take to say who it is.
const FIRST_REQUEST: Duration = Duration::from_secs(15);

/// After how long without a byte a connection is probed; Istio's value.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How long open connections may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(3);

/// Streams of one connection: a proxy has one.
const MAX_STREAMS: u32 = 16;

/// The aggregated discovery service.
#[derive(Debug, Clone)]
pub struct Service {
    publisher: Publisher,
    peer: String,
}

/// The state between two responses of a stream.
struct Session {
    registration: Registration,
    publisher: Publisher,
    requests: Streaming<DeltaDiscoveryRequest>,
    changed: watch::Receiver<Changed>,
}

type Responses = Pin<Box<dyn Stream<Item = Result<DeltaDiscoveryResponse, Status>> + Send>>;

/// Serves until `shutdown` completes, then ends the streams and waits for the connections.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    publisher: Publisher,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(serve_connection(stream, peer, publisher.clone()));
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

async fn serve_connection(stream: TcpStream, peer: SocketAddr, publisher: Publisher) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "xds: no TCP_NODELAY");
    }
    let mut changed = publisher.changed();
    let service = Service {
        publisher,
        peer: peer.to_string(),
    };
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

// === impl Service ===

impl Service {
    /// A service over a publisher, to be mounted in a server that does not know its peers.
    pub fn new(publisher: Publisher) -> Self {
        Self {
            publisher,
            peer: String::new(),
        }
    }
}

impl tonic::server::NamedService for Service {
    const NAME: &'static str = SERVICE;
}

impl<B> tower::Service<http::Request<B>> for Service
where
    B: HttpBody + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = tonic::codegen::BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if request.uri().path() != METHOD {
                let path = request.uri().path();
                let why = format!("{path} is not served here; only {METHOD} is");
                return Ok(Status::unimplemented(why).into_http());
            }
            let codec =
                tonic_prost::ProstCodec::<DeltaDiscoveryResponse, DeltaDiscoveryRequest>::default();
            let mut grpc = tonic::server::Grpc::new(codec).max_decoding_message_size(MAX_REQUEST);
            Ok(grpc.streaming(service, request).await)
        })
    }
}

impl tonic::server::StreamingService<DeltaDiscoveryRequest> for Service {
    type Response = DeltaDiscoveryResponse;
    type ResponseStream = Responses;
    type Future = tonic::codegen::BoxFuture<Response<Responses>, Status>;

    fn call(&mut self, request: Request<Streaming<DeltaDiscoveryRequest>>) -> Self::Future {
        let Self { publisher, peer } = self.clone();
        // The stream is returned at once: clients wait for the head of the response.
        let opening = Opening {
            publisher,
            peer,
            requests: request.into_inner(),
        };
        let responses = stream::unfold(Stage::Opening(opening), Stage::next);
        Box::pin(async { Ok(Response::new(Box::pin(responses) as Responses)) })
    }
}

/// A stream whose client has not said who it is.
struct Opening {
    publisher: Publisher,
    peer: String,
    requests: Streaming<DeltaDiscoveryRequest>,
}

enum Stage {
    Opening(Opening),
    Open(Session),
    Ended,
}

// === impl Stage ===

impl Stage {
    async fn next(self) -> Option<(Result<DeltaDiscoveryResponse, Status>, Self)> {
        let session = match self {
            Self::Ended => return None,
            Self::Open(session) => session,
            Self::Opening(opening) => match opening.open().await {
                Ok(session) => session?,
                Err(status) => return Some((Err(status), Self::Ended)),
            },
        };
        session.next().await
    }
}

// === impl Opening ===

impl Opening {
    /// Reads the first request; nothing if the client went away without one.
    async fn open(mut self) -> Result<Option<Session>, Status> {
        let first = tokio::time::timeout(FIRST_REQUEST, self.requests.message());
        let Ok(first) = first.await else {
            self.publisher.count(|stats| stats.failures += 1);
            return Err(Status::deadline_exceeded("no first request in time"));
        };
        let Some(mut first) = first? else {
            return Ok(None);
        };
        let mut connection = Connection::open(&mut first).map_err(|error| {
            tracing::warn!(peer = %self.peer, %error, "xds: refused a stream");
            self.publisher.count(|stats| stats.failures += 1);
            Status::invalid_argument(error.to_string())
        })?;
        connection.receive(first, Instant::now());
        tracing::info!(node = %connection.node().id, peer = %self.peer, "xds: proxy connected");
        Ok(Some(Session {
            registration: self.publisher.register(connection, self.peer),
            changed: self.publisher.changed(),
            publisher: self.publisher,
            requests: self.requests,
        }))
    }
}

// === impl Session ===

impl Session {
    async fn next(mut self) -> Option<(Result<DeltaDiscoveryResponse, Status>, Stage)> {
        loop {
            // Marked as seen before the cache is read, so that no change goes unnoticed.
            if self.changed.borrow_and_update().is_closed {
                let status = Status::unavailable("the control plane is shutting down");
                return Some((Err(status), Stage::Ended));
            }
            if let Some(response) = self.respond() {
                return Some((Ok(response), Stage::Open(self)));
            }
            tokio::select! {
                request = self.requests.message() => match request {
                    Ok(Some(request)) => self.receive(request),
                    Ok(None) => return None,
                    Err(status) => {
                        let node = lock(&self.registration.connection).node().id.clone();
                        tracing::info!(%node, error = %status.message(), "xds: proxy is gone");
                        return None;
                    }
                },
                changed = self.changed.changed() => changed.ok()?,
            }
        }
    }

    fn respond(&self) -> Option<DeltaDiscoveryResponse> {
        let cache = self.publisher.cache();
        let mut connection = lock(&self.registration.connection);
        let response = connection.respond(&cache, Instant::now())?;
        drop(cache);
        let kind = crate::Kind::from_type_url(&response.type_url)?;
        let payloads = response.resources.iter().flat_map(|r| &r.resource);
        let bytes: usize = payloads.map(|payload| payload.value.len()).sum();
        self.publisher.count(|stats| {
            *stats.pushes.entry(kind).or_default() += 1;
            *stats.bytes.entry(kind).or_default() += bytes as u64;
        });
        Some(response)
    }

    fn receive(&self, request: DeltaDiscoveryRequest) {
        let now = Instant::now();
        let mut connection = lock(&self.registration.connection);
        let had_refusals = connection.has_refusals();
        let answered = connection.receive(request, now);
        if let Answered::Nack { kind, .. } = &answered {
            tracing::warn!(node = %connection.node().id, %kind, "xds: proxy refused resources");
        }
        drop(connection);
        self.publisher.answered(&answered, had_refusals, now);
    }
}
