//! When a request is sent again.

use std::time::Duration;

use serde::Serialize;

/// A policy of retries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// How often a request is sent again at most; 0 turns retries off.
    pub attempts: u32,
    /// How long one attempt may take; as long as all of them if unset.
    pub per_try_timeout: Option<Duration>,
    /// What is worth another attempt, in order, each once.
    pub conditions: Vec<RetryOn>,
    /// Statuses that [`RetryOn::RetriableStatusCodes`] means.
    pub status_codes: Vec<u16>,
    /// The base of the pause between attempts; it grows up to ten times this, with jitter.
    pub backoff: Duration,
    /// Whether another endpoint is sought.
    pub ignores_previous_hosts: bool,
    /// Whether other localities are tried before their turn.
    pub remote_localities: bool,
}

/// What is worth another attempt: Envoy's `x-envoy-retry-on` and `x-envoy-retry-grpc-on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// A status of 500 or more, or none at all (disconnect, reset, timeout of the attempt).
    #[serde(rename = "5xx")]
    ServerError,
    /// 502, 503 or 504, or none at all.
    GatewayError,
    /// No answer: disconnect, reset, timeout of the attempt.
    Reset,
    /// The same, before any of the request was sent.
    ResetBeforeRequest,
    /// The connection could not be made.
    ConnectFailure,
    /// `x-envoy-ratelimited` is in the answer.
    EnvoyRatelimited,
    /// 409.
    #[serde(rename = "retriable-4xx")]
    Retriable4xx,
    /// HTTP/2's REFUSED_STREAM.
    RefusedStream,
    /// One of [`Retries::status_codes`].
    RetriableStatusCodes,
    /// Headers that only requests could name; never holds.
    RetriableHeaders,
    /// HTTP/3 only; never holds.
    Http3PostConnectFailure,
    /// gRPC status 1.
    Cancelled,
    /// gRPC status 4.
    DeadlineExceeded,
    /// gRPC status 13.
    Internal,
    /// gRPC status 8.
    ResourceExhausted,
    /// gRPC status 14.
    Unavailable,
}

// === impl Retries ===

impl Retries {
    /// The pause where none is given.
    pub const DEFAULT_BACKOFF: Duration = Duration::from_millis(25);

    /// Istio's conditions where a policy names none.
    pub const DEFAULT_CONDITIONS: [RetryOn; 5] = [
        RetryOn::ConnectFailure,
        RetryOn::RefusedStream,
        RetryOn::RetriableStatusCodes,
        RetryOn::Cancelled,
        RetryOn::Unavailable,
    ];

    /// What `retries` of the same rule means where it is absent.
    pub fn default_policy() -> Self {
        Self {
            attempts: 2,
            per_try_timeout: None,
            conditions: Self::DEFAULT_CONDITIONS.to_vec(),
            status_codes: Vec::new(),
            backoff: Self::DEFAULT_BACKOFF,
            ignores_previous_hosts: true,
            remote_localities: false,
        }
    }
}

// === impl RetryOn ===

impl RetryOn {
    /// Every condition with the word that names it.
    pub const ALL: [(Self, &'static str); 16] = [
        (Self::ServerError, "5xx"),
        (Self::GatewayError, "gateway-error"),
        (Self::Reset, "reset"),
        (Self::ResetBeforeRequest, "reset-before-request"),
        (Self::ConnectFailure, "connect-failure"),
        (Self::EnvoyRatelimited, "envoy-ratelimited"),
        (Self::Retriable4xx, "retriable-4xx"),
        (Self::RefusedStream, "refused-stream"),
        (Self::RetriableStatusCodes, "retriable-status-codes"),
        (Self::RetriableHeaders, "retriable-headers"),
        (Self::Http3PostConnectFailure, "http3-post-connect-failure"),
        (Self::Cancelled, "cancelled"),
        (Self::DeadlineExceeded, "deadline-exceeded"),
        (Self::Internal, "internal"),
        (Self::ResourceExhausted, "resource-exhausted"),
        (Self::Unavailable, "unavailable"),
    ];

    /// The condition of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|(_, known)| *known == word).map(|(one, _)| one)
    }

    /// The word that names it.
    pub fn word(self) -> &'static str {
        let mut all = Self::ALL.into_iter();
        all.find(|(one, _)| *one == self)
            .map_or("", |(_, word)| word)
    }
}
