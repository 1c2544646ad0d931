//! Calls between the services, with the headers that tracing and routing need passed on.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Headers that every service passes on, so that traces stay whole (W3C, B3, Datadog, SkyWalking,
/// x-request-id) and rules by user or browser work behind the front end, too.
const PASSED_ON: [&str; 20] = [
    "x-request-id",
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "x-ot-span-context",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "x-cloud-trace-context",
    "grpc-trace-bin",
    "sw8",
    "end-user",
    "user-agent",
    "authorization",
];

/// More than any answer of these services has.
const BODY_LIMIT: usize = 1 << 20;

/// A client of the other services.
pub(crate) struct Client {
    pool: Pool<HttpConnector, Empty<Bytes>>,
}

/// Why a call yielded no JSON.
#[derive(Debug)]
pub(crate) struct CallError {
    /// The status to show: that of the answer, or 500 if there was none.
    pub(crate) status: StatusCode,
    /// What happened.
    pub(crate) message: String,
}

impl Client {
    /// A client with an empty pool of connections.
    pub(crate) fn from_env() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(2)));
        // Short, because every deployment of a service closes its idle connections.
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(5))
            .build(connector);
        Self { pool }
    }

    /// Gets JSON from a service within `timeout`.
    pub(crate) async fn get(
        &self,
        service: Service,
        path: &str,
        headers: &HeaderMap,
        timeout: Duration,
    ) -> Result<Value, CallError> {
        let url = format!("{}{path}", service.base_url());
        let mut request = Request::get(&url)
            .body(Empty::new())
            .map_err(|error| CallError::here(format!("{url}: {error}")))?;
        pass_on(headers, request.headers_mut());
        let call = async {
            let response = self
                .pool
                .request(request)
                .await
                .map_err(|error| error.to_string())?;
            let status = response.status();
            let body = Limited::new(response.into_body(), BODY_LIMIT)
                .collect()
                .await
                .map_err(|error| error.to_string())?;
            Ok::<_, String>((status, body.to_bytes()))
        };
        let (status, body) = match tokio::time::timeout(timeout, call).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(CallError::here(format!("{url}: {error}"))),
            Err(_) => {
                return Err(CallError::here(format!(
                    "{url}: no answer within {timeout:?}"
                )));
            }
        };
        if !status.is_success() {
            return Err(CallError {
                status,
                message: format!("{url}: {status}"),
            });
        }
        serde_json::from_slice(&body).map_err(|error| CallError::here(format!("{url}: {error}")))
    }
}

impl CallError {
    fn here(message: String) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message,
        }
    }
}

fn pass_on(from: &HeaderMap, to: &mut HeaderMap) {
    for name in PASSED_ON {
        if let Some(value) = from.get(name) {
            to.insert(name, value.clone());
        }
    }
}

/// A service that others call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Facts about a book.
    Details,
    /// Reviews of a book.
    Reviews,
    /// Ratings of a book.
    Ratings,
}

impl Service {
    /// Where it is: `<NAME>_HOSTNAME` and `<NAME>_SERVICE_PORT` override the name and 9080, and
    /// `SERVICES_DOMAIN` is put behind the name.
    fn base_url(self) -> String {
        let (name, prefix) = match self {
            Self::Details => ("details", "DETAILS"),
            Self::Reviews => ("reviews", "REVIEWS"),
            Self::Ratings => ("ratings", "RATINGS"),
        };
        let set = |key: String| std::env::var(key).ok().filter(|value| !value.is_empty());
        let host = set(format!("{prefix}_HOSTNAME")).unwrap_or_else(|| name.to_owned());
        let domain = set("SERVICES_DOMAIN".into()).map_or_else(String::new, |d| format!(".{d}"));
        // Kubernetes puts `tcp://…` into variables of a like name; only a number is a port.
        let port = set(format!("{prefix}_SERVICE_PORT")).and_then(|p| p.parse::<u16>().ok());
        format!("http://{host}{domain}:{}", port.unwrap_or(9080))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_headers_that_are_named_are_passed_on() {
        let mut from = HeaderMap::new();
        from.insert("end-user", "jason".parse().unwrap());
        from.insert("traceparent", "00-1-2-01".parse().unwrap());
        from.insert("cookie", "session=jason".parse().unwrap());
        let mut to = HeaderMap::new();
        pass_on(&from, &mut to);
        assert_eq!(to.len(), 2);
        assert_eq!(to["end-user"], "jason");
    }

    #[test]
    fn services_are_found_by_their_short_names() {
        assert_eq!(Service::Reviews.base_url(), "http://reviews:9080");
    }
}
