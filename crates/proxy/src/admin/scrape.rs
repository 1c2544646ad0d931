//! The application's own metrics, shown together with the proxy's on the status port.
//!
//! Injection turns the annotations `prometheus.io/*` of a pod to the proxy, as only it can be
//! reached past mutual TLS, and keeps what they said in `ISTIO_PROMETHEUS_ANNOTATIONS`.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

use super::Context;
use super::fetch;
use super::pages;
use super::server::Response;

/// How long the application may take; Prometheus itself waits ten seconds for both.
const PATIENCE: Duration = Duration::from_secs(5);

/// The metrics of the proxy, and after them those of the application if it has any. An application
/// that does not answer leaves those of the proxy.
pub(super) async fn merged(context: &Context) -> Response {
    let mut response = pages::metrics(context);
    let Some(source) = &context.settings.app_metrics else {
        return response;
    };
    let Some(address) = context.settings.addresses.first() else {
        return response;
    };
    let to = SocketAddr::new(*address, source.port);
    let head = format!(
        "GET {} HTTP/1.1\r\nhost: {to}\r\naccept: text/plain;version=0.0.4\r\n\
         user-agent: lateen-proxy\r\nconnection: close\r\n\r\n",
        source.path
    );
    let fetched = timeout(PATIENCE, async {
        let mut stream = fetch::connect(to).await?;
        fetch::fetch(&mut stream, head.as_bytes()).await
    });
    match fetched.await {
        Ok(Ok((200, body))) => response.body.extend_from_slice(&body),
        Ok(Ok((status, _))) => tracing::warn!(%to, status, "the application's metrics failed"),
        Ok(Err(error)) => tracing::warn!(%to, %error, "the application's metrics failed"),
        Err(_) => tracing::warn!(%to, "the application's metrics took too long"),
    }
    response
}
