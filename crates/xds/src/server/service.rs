//! The gRPC service: one session per stream, pulled by the response stream itself.

use std::convert::Infallible;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{self, Stream};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::codegen::{Body as HttpBody, StdError, http};
use tonic::{Request, Response, Status, Streaming};

use super::connection::{Answered, Connection};
use super::handshakes::Proof;
use super::identity::{self, Authenticate, Identity};
use super::publisher::{Changed, Publisher, Registration, lock};
use crate::Error;
use crate::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, METHOD, SERVICE};

/// The largest request: the versions of 200,000 resources after a reconnect.
const MAX_REQUEST: usize = 32 << 20;

/// How long a stream may take to say who it is.
const FIRST_REQUEST: Duration = Duration::from_secs(15);

/// The aggregated discovery service.
#[derive(Clone)]
pub struct Service {
    publisher: Publisher,
    peer: String,
    gate: Option<Gate>,
}

/// What the streams of a secured connection have to pass.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) authenticate: Authenticate,
    pub(super) max_age: Duration,
    pub(super) proof: Proof,
}

/// The state between two responses of a stream.
struct Session {
    registration: Registration,
    publisher: Publisher,
    requests: Streaming<DeltaDiscoveryRequest>,
    changed: watch::Receiver<Changed>,
    /// When the client has to prove again who it is.
    ends: Option<Instant>,
    /// The last change that the proxy is known to have; those before it came do not count.
    converged: Instant,
}

type Responses = Pin<Box<dyn Stream<Item = Result<DeltaDiscoveryResponse, Status>> + Send>>;

// === impl Service ===

impl Service {
    /// A service over a publisher, to be mounted in a server that does not know its peers.
    pub fn new(publisher: Publisher) -> Self {
        Self {
            publisher,
            peer: String::new(),
            gate: None,
        }
    }

    pub(super) fn of_peer(publisher: Publisher, peer: SocketAddr, gate: Option<Gate>) -> Self {
        Self {
            publisher,
            peer: peer.to_string(),
            gate,
        }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("peer", &self.peer)
            .field("is_secured", &self.gate.is_some())
            .finish_non_exhaustive()
    }
}

// === impl Gate ===

impl Gate {
    /// Lets a stream in, or tells why not.
    async fn pass(
        &self,
        request: &Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Identity, Status> {
        let token = identity::token(request.metadata())?;
        let identity = (self.authenticate)(token).await?;
        self.proof.give();
        Ok(identity)
    }

    /// When a stream that begins now ends. Streams that began together end apart.
    fn end(&self) -> Instant {
        let thousandths = RandomState::new().hash_one(()) % 100;
        let extra = self.max_age * u32::try_from(thousandths).unwrap_or(0) / 1000;
        Instant::now() + self.max_age + extra
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
        let Self {
            publisher,
            peer,
            gate,
        } = self.clone();
        Box::pin(async move {
            let (mut identity, mut ends) = (None, None);
            if let Some(gate) = gate {
                // Before anything is read from it.
                match gate.pass(&request).await {
                    Ok(proven) => identity = Some(proven),
                    Err(status) => {
                        let why = status.message();
                        tracing::warn!(%peer, why, "xds: a client has not proven who it is");
                        publisher.count(|stats| stats.unproven += 1);
                        return Err(status);
                    }
                }
                ends = Some(gate.end());
            }
            // The stream is returned at once: clients wait for the head of the response.
            let opening = Opening {
                publisher,
                peer,
                identity,
                ends,
                requests: request.into_inner(),
            };
            let responses = stream::unfold(Stage::Opening(opening), Stage::next);
            Ok(Response::new(Box::pin(responses) as Responses))
        })
    }
}

/// A stream whose client has not said who it is.
struct Opening {
    publisher: Publisher,
    peer: String,
    identity: Option<Identity>,
    ends: Option<Instant>,
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
        let opened = Connection::open(&mut first, self.identity);
        let mut connection = opened.map_err(|error| {
            tracing::warn!(peer = %self.peer, %error, "xds: refused a stream");
            self.publisher.count(|stats| stats.failures += 1);
            match error {
                Error::Identity { .. } => Status::permission_denied(error.to_string()),
                _ => Status::invalid_argument(error.to_string()),
            }
        })?;
        connection.receive(first, Instant::now());
        tracing::info!(node = %connection.node().id, peer = %self.peer, "xds: proxy connected");
        let session = Session {
            registration: self.publisher.register(connection, self.peer),
            changed: self.publisher.changed(),
            converged: self.publisher.changed_at(),
            publisher: self.publisher,
            requests: self.requests,
            ends: self.ends,
        };
        // Its first request may have asked for Secrets.
        session.publisher.wants_others();
        Ok(Some(session))
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
                () = until(self.ends) => return None,
            }
        }
    }

    fn respond(&self) -> Option<DeltaDiscoveryResponse> {
        let cache = self.publisher.cache();
        let mut connection = lock(&self.registration.connection);
        let response = connection.respond(&cache, Instant::now());
        drop(cache);
        let denials = connection.take_denials();
        for (name, denial) in &denials {
            let node = &connection.node().id;
            tracing::warn!(%node, secret = %name, why = %denial, "xds: a Secret is not given");
        }
        drop(connection);
        if !denials.is_empty() {
            self.publisher.count(|stats| {
                for (_, denial) in denials {
                    *stats.denials.entry(denial).or_default() += 1;
                }
            });
        }
        let response = response?;
        let kind = crate::Kind::from_type_url(&response.type_url)?;
        let payloads = response.resources.iter().flat_map(|r| &r.resource);
        let bytes: usize = payloads.map(|payload| payload.value.len()).sum();
        self.publisher.count(|stats| {
            *stats.pushes.entry(kind).or_default() += 1;
            *stats.bytes.entry(kind).or_default() += bytes as u64;
        });
        Some(response)
    }

    fn receive(&mut self, request: DeltaDiscoveryRequest) {
        let now = Instant::now();
        let mut connection = lock(&self.registration.connection);
        let had_refusals = connection.has_refusals();
        let kind = crate::Kind::from_type_url(&request.type_url);
        let changes_names = !request.resource_names_subscribe.is_empty()
            || !request.resource_names_unsubscribe.is_empty();
        let wants_others = kind == Some(crate::Kind::Secret) && changes_names;
        let answered = connection.receive(request, now);
        if let Answered::Nack { kind, .. } = &answered {
            tracing::warn!(node = %connection.node().id, %kind, "xds: proxy refused resources");
        }
        drop(connection);
        if wants_others {
            self.publisher.wants_others();
        }
        let converged = &mut self.converged;
        self.publisher
            .answered(&answered, had_refusals, now, converged);
    }
}

/// Waits until a moment; for ever if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
