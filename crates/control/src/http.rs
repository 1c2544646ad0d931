//! A small HTTP server for pages and webhooks: whole bodies in, whole bodies out, with limits.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// The largest body: an admission review carries an object twice, and etcd holds 1.5 MiB.
const MAX_BODY: usize = 8 << 20;

/// How long a handshake, or the head of a request, may take.
const HEAD: Duration = Duration::from_secs(10);

/// How long the body of a request may take.
const BODY: Duration = Duration::from_secs(30);

/// How long open requests may take when the server stops.
const GRACE: Duration = Duration::from_secs(3);

/// A request.
#[derive(Debug)]
pub(crate) struct Request {
    /// Where it comes from.
    pub(crate) peer: IpAddr,
    /// The method.
    pub(crate) method: http::Method,
    /// The path.
    pub(crate) path: String,
    /// The body.
    pub(crate) body: Bytes,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Response {
    /// The status.
    pub(crate) status: http::StatusCode,
    /// `content-type`.
    pub(crate) content_type: &'static str,
    /// The body.
    pub(crate) body: Bytes,
}

/// Answers requests.
pub(crate) type Handler =
    Arc<dyn Fn(Request) -> Pin<Box<dyn Future<Output = Response> + Send>> + Send + Sync>;

// === impl Response ===

impl Response {
    /// A page of text.
    pub(crate) fn text(status: http::StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: text.into().into(),
        }
    }

    /// A page of JSON.
    pub(crate) fn json(value: &serde_json::Value) -> Self {
        Self {
            status: http::StatusCode::OK,
            content_type: "application/json",
            body: format!("{value:#}\n").into(),
        }
    }
}

/// Listens. Where there is no IPv6, the unspecified address of IPv6 means that of IPv4.
///
/// # Errors
/// When the address cannot be listened to, with the address.
pub(crate) async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let result = match TcpListener::bind(address).await {
        Err(error) if is_without_ipv6(&error) && address.ip().is_unspecified() => {
            let v4 = SocketAddr::from(([0, 0, 0, 0], address.port()));
            TcpListener::bind(v4).await
        }
        result => result,
    };
    result.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })
}

fn is_without_ipv6(error: &io::Error) -> bool {
    // EAFNOSUPPORT where the kernel has none; EADDRNOTAVAIL where it is disabled by a sysctl.
    matches!(error.raw_os_error(), Some(97 | 99))
}

/// Serves until `stop` becomes true.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    handler: Handler,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                let answer = Answer {
                    peer: peer.ip().to_canonical(),
                    handler: handler.clone(),
                    patience: HEAD,
                };
                let connection = connection(stream, tls.clone(), answer, stop.clone());
                connections.spawn(async move {
                    if let Err(error) = Box::pin(connection).await {
                        tracing::debug!(%peer, %error, "connection ended");
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, for instance: it passes, and must not spin until then.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, drained).await.is_err() {
        tracing::debug!("closing connections that did not end by themselves");
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What answers the requests of a connection.
#[derive(Clone)]
struct Answer {
    peer: IpAddr,
    handler: Handler,
    /// How long the first request may take to come.
    patience: Duration,
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    answer: Answer,
    stop: watch::Receiver<bool>,
) -> Result<(), BoxError> {
    stream.set_nodelay(true)?;
    match tls {
        None => Box::pin(exchange(stream, answer, stop)).await,
        Some(tls) => {
            let stream = tokio::time::timeout(HEAD, tls.accept(stream)).await??;
            Box::pin(exchange(stream, answer, stop)).await
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    answer: Answer,
    mut stop: watch::Receiver<bool>,
) -> Result<(), BoxError> {
    let patience = answer.patience;
    let (begun, mut has_begun) = watch::channel(false);
    let service = service_fn(move |request| {
        begun.send_replace(true);
        answer.clone().to(request)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(BODY);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // The guard that `wait_for` yields must not live across an await.
    let stopped = async { drop(stop.wait_for(|stop| *stop).await) };
    // What it speaks is found out by its first bytes, for which nothing else sets a limit.
    let silent = async {
        let first = has_begun.wait_for(|begun| *begun);
        if tokio::time::timeout(patience, first).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        result = connection.as_mut() => return result,
        () = silent => return Err("no request came".into()),
        () = stopped => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

// === impl Answer ===

impl Answer {
    async fn to(
        self,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<Full<Bytes>>, Infallible> {
        let (parts, body) = request.into_parts();
        let body = tokio::time::timeout(BODY, Limited::new(body, MAX_BODY).collect()).await;
        let response = match body {
            Ok(Ok(body)) => {
                let request = Request {
                    peer: self.peer,
                    method: parts.method,
                    path: parts.uri.path().to_owned(),
                    body: body.to_bytes(),
                };
                (self.handler)(request).await
            }
            Ok(Err(error)) => {
                let why = format!("the body cannot be read (at most {MAX_BODY} bytes): {error}\n");
                Response::text(http::StatusCode::BAD_REQUEST, why)
            }
            Err(_) => Response::text(http::StatusCode::REQUEST_TIMEOUT, "the body did not come\n"),
        };
        let mut answer = http::Response::new(Full::new(response.body));
        *answer.status_mut() = response.status;
        let content_type = http::HeaderValue::from_static(response.content_type);
        answer
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, content_type);
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A connection to a server that answers with the address of who asks.
    async fn connect(patience: Duration) -> (TcpStream, tokio::task::JoinHandle<bool>) {
        let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (stream, peer) = accepted.unwrap();
        let answer = Answer {
            peer: peer.ip(),
            handler: Arc::new(|request| {
                let text = request.peer.to_string();
                Box::pin(async { Response::text(http::StatusCode::OK, text) })
            }),
            patience,
        };
        let served = tokio::spawn(async move {
            let (_stop, stopped) = watch::channel(false);
            connection(stream, None, answer, stopped).await.is_ok()
        });
        (client.unwrap(), served)
    }

    #[tokio::test]
    async fn who_asks_is_known_to_the_handler() {
        let (mut client, served) = connect(HEAD).await;
        let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("\r\n\r\n127.0.0.1"), "{answer}");
        assert!(served.await.unwrap());
    }

    #[tokio::test]
    async fn whoever_sends_no_request_is_not_waited_for() {
        // Nothing at all, and what may become either version of HTTP.
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        for first in [&b""[..], b"GET", &preface[..8], preface] {
            let (mut client, served) = connect(Duration::from_millis(20)).await;
            client.write_all(first).await.unwrap();
            assert!(!served.await.unwrap(), "{first:?}");
        }
    }
}
