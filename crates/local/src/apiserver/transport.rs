//! HTTP over TLS: accepts connections and finds out who is at the other end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::auth::{User, authority};
use super::body::Body;
use super::server::ApiServer;
use super::status::Failure;

/// The largest body of a request, as in Kubernetes.
const MAX_BODY: usize = 3 * 1024 * 1024;

/// A client that does not finish its handshake or its head in this time is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves every connection of a listener until the future is dropped, which closes them all.
pub(crate) async fn serve(server: ApiServer, listener: TcpListener) {
    let acceptor = TlsAcceptor::from(server.tls());
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (server, acceptor) = (server.clone(), acceptor.clone());
                connections.spawn(async move {
                    if let Err(error) = Box::pin(connection(server, acceptor, stream)).await {
                        tracing::debug!(%error, "a connection to the API server ended early");
                    }
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: accepting again at once would spin.
                tracing::warn!(%error, "the API server cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(
    server: ApiServer,
    acceptor: TlsAcceptor,
    stream: TcpStream,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let tls = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await??;
    let certified = tls
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first())
        .and_then(|leaf| authority::user_of_certificate(leaf));
    let certified = Arc::new(certified);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (server, certified) = (server.clone(), certified.clone());
        async move { Ok::<_, Infallible>(respond(&server, certified.as_ref().as_ref(), request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(1000);
    Box::pin(builder.serve_connection_with_upgrades(TokioIo::new(tls), service)).await
}

async fn respond(
    server: &ApiServer,
    certified: Option<&User>,
    request: Request<Incoming>,
) -> Response<Body> {
    let user = match certified {
        Some(user) => user.clone(),
        None => match bearer(request.headers()).and_then(|token| server.user_of_token(token)) {
            Some(user) => user,
            None => return Failure::unauthorized().into_response(),
        },
    };
    let (head, body) = request.into_parts();
    match read(body).await {
        Ok(bytes) => server.handle(Request::from_parts(head, bytes), user).await,
        Err(failure) => failure.into_response(),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Reads a whole body.
pub(crate) async fn read<B>(body: B) -> Result<Bytes, Failure>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::too_large(MAX_BODY)),
        Err(error) => Err(Failure::bad_request(format!(
            "the body of the request cannot be read: {error}"
        ))),
    }
}
