//! The HTTP server that the four roles share: HTTP/1.1, graceful end on SIGTERM.

use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// What a handler answers.
pub(crate) type Reply = Response<Full<Bytes>>;

/// How long running requests may take to finish once SIGTERM came.
const GRACE: Duration = Duration::from_secs(10);

/// Serves `handler` on `port` of every address until SIGTERM or SIGINT.
pub(crate) async fn serve<H, F>(port: u16, handler: H) -> anyhow::Result<()>
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Reply> + Send,
{
    let listener = bind(port).await?;
    eprintln!("listening on {}", listener.local_addr()?);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let graceful = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, usually: give others the time to close theirs.
                    eprintln!("accept: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        stream.set_nodelay(true).ok();
        let handler = handler.clone();
        let service = service_fn(move |request| {
            let reply = handler(request);
            async move { Ok::<_, Infallible>(reply.await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that goes away in the middle of a request is not our error.
            connection.await.ok();
        });
    }
    drop(listener);
    tokio::time::timeout(GRACE, graceful.shutdown()).await.ok();
    Ok(())
}

async fn bind(port: u16) -> anyhow::Result<TcpListener> {
    // A dual-stack socket where the machine has IPv6, IPv4 alone elsewhere.
    if let Ok(listener) = TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        return Ok(listener);
    }
    TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
        .await
        .with_context(|| format!("cannot listen on port {port}"))
}

/// A reply with a body of a type.
pub(crate) fn reply(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Reply {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A reply with a JSON body.
pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Reply {
    reply(status, "application/json", value.to_string())
}

/// The answer to a path that does not exist.
pub(crate) fn not_found(path: &str) -> Reply {
    json(
        StatusCode::NOT_FOUND,
        &serde_json::json!({ "error": format!("no such path: {path}") }),
    )
}
