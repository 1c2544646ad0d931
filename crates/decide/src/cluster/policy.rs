//! How the data path talks to the endpoints of a cluster: the blocks of a DestinationRule's
//! policy with every default filled in.

use std::num::NonZeroU32;
use std::time::Duration;

use lateen_model::Protocol;
use lateen_model::destination::{PortPolicy, RetryBudget};
use lateen_model::mesh::Mesh;
use lateen_model::pool::{ConnectionPool, H2Keepalive, H2Upgrade, HttpPool, TcpKeepalive, TcpPool};
use lateen_model::tls::ClientTls;

use super::usage::Limits;
use crate::outlier::Detection;

/// How long something may be idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleTimeout {
    /// As long as the proxy's own settings say.
    Default,
    /// For ever.
    Never,
    /// This long, whatever the proxy's own settings say.
    After(Duration),
}

/// How the data path talks to the endpoints of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// Keep-alive probes; the system's way if unset.
    pub keepalive: Option<TcpKeepalive>,
    /// How old a connection may get; any age if unset.
    pub max_connection_duration: Option<Duration>,
    /// How long a connection that is carried as bytes may be silent.
    pub tcp_idle_timeout: IdleTimeout,
    /// How long a connection of the HTTP pool may be unused.
    pub http_idle_timeout: IdleTimeout,
    /// How many requests a connection takes; any number if unset.
    pub max_requests_per_connection: Option<NonZeroU32>,
    /// The version of HTTP that the upstream gets.
    pub http_version: HttpVersion,
    /// Streams at once on one connection of HTTP/2; as many as the upstream allows if unset.
    pub max_concurrent_streams: Option<NonZeroU32>,
    /// Pings of HTTP/2; none if unset.
    pub h2_keepalive: Option<H2Keepalive>,
    /// How much may be in use at once.
    pub limits: Limits,
    /// When endpoints are taken out for a while; never if unset.
    pub outlier_detection: Option<Detection>,
    /// TLS towards the endpoints as a DestinationRule asks for it; as the mesh does it if unset.
    pub tls: Option<ClientTls>,
}

/// The version of HTTP that an upstream gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpVersion {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, by prior knowledge or ALPN.
    Http2,
    /// That of the client: the port is not declared, or the policy asks for it.
    #[default]
    Client,
}

// === impl Policy ===

impl Policy {
    /// Fills in the defaults of a port's policy.
    pub(crate) fn new(
        policy: &PortPolicy,
        retry_budget: Option<&RetryBudget>,
        protocol: Protocol,
        mesh: &Mesh,
    ) -> Self {
        let none = ConnectionPool::default();
        let ConnectionPool { tcp, http } = policy.connection_pool.as_ref().unwrap_or(&none);
        Self {
            connect_timeout: tcp.connect_timeout.unwrap_or(mesh.connect_timeout),
            keepalive: tcp.keepalive.clone(),
            max_connection_duration: tcp.max_connection_duration.filter(|it| !it.is_zero()),
            tcp_idle_timeout: idle(tcp.idle_timeout),
            http_idle_timeout: idle(http.idle_timeout.or(tcp.idle_timeout)),
            max_requests_per_connection: positive(http.max_requests_per_connection),
            http_version: HttpVersion::of(protocol, http),
            max_concurrent_streams: positive(http.max_concurrent_streams),
            h2_keepalive: http.h2_keepalive.clone(),
            limits: limits(tcp, http, retry_budget),
            outlier_detection: policy.outlier_detection.as_ref().map(Detection::new),
            tls: policy.tls.clone(),
        }
    }

    /// Where nothing is said.
    pub(crate) fn plain(protocol: Protocol, mesh: &Mesh) -> Self {
        Self::new(&PortPolicy::default(), None, protocol, mesh)
    }
}

/// Zero turns the timeout off.
fn idle(written: Option<Duration>) -> IdleTimeout {
    match written {
        None => IdleTimeout::Default,
        Some(Duration::ZERO) => IdleTimeout::Never,
        Some(timeout) => IdleTimeout::After(timeout),
    }
}

// === impl IdleTimeout ===

impl IdleTimeout {
    /// The timeout where `default` is the proxy's own; for ever if none.
    pub fn or(self, default: Duration) -> Option<Duration> {
        match self {
            Self::Default => Some(default),
            Self::Never => None,
            Self::After(timeout) => Some(timeout),
        }
    }
}

/// Zero is the same as nothing for Istio's numbers.
fn positive(written: Option<u32>) -> Option<NonZeroU32> {
    written.and_then(NonZeroU32::new)
}

fn limits(tcp: &TcpPool, http: &HttpPool, retry_budget: Option<&RetryBudget>) -> Limits {
    let limit = |written| positive(written).map_or(Limits::NONE, NonZeroU32::get);
    Limits {
        max_connections: limit(tcp.max_connections),
        max_pending: limit(http.max_pending_requests),
        max_requests: limit(http.max_requests),
        max_retries: limit(http.max_retries),
        retry_budget: retry_budget.cloned(),
    }
}

// === impl HttpVersion ===

impl HttpVersion {
    fn of(protocol: Protocol, pool: &HttpPool) -> Self {
        match (protocol, pool.h2_upgrade) {
            (_, _) if pool.uses_client_protocol => Self::Client,
            (_, H2Upgrade::Always) | (Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb, _) => {
                Self::Http2
            }
            (Protocol::Unknown, H2Upgrade::Default | H2Upgrade::Never) => Self::Client,
            (
                Protocol::Http | Protocol::Https | Protocol::Tls | Protocol::Tcp | Protocol::Udp,
                H2Upgrade::Default | H2Upgrade::Never,
            ) => Self::Http1,
        }
    }
}
