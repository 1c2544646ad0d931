//! The server.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use crate::behaviour::Counts;
use crate::{http, stream, tls};

/// Answers with what reached it.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Who answers.
    #[arg(long, env = "HOSTNAME", default_value = "echo")]
    name: String,
    /// A port for HTTP/1.1, HTTP/2, gRPC and WebSocket; several may be given.
    #[arg(long)]
    http: Vec<u16>,
    /// A port that echoes lines.
    #[arg(long)]
    tcp: Vec<u16>,
    /// A port that greets, then echoes lines.
    #[arg(long)]
    server_first: Vec<u16>,
    /// A port for TLS with the first kind inside.
    #[arg(long)]
    tls: Vec<u16>,
    /// The name of the certificate.
    #[arg(long, default_value = "echo.example")]
    certificate: String,
    /// Milliseconds to go on after SIGTERM; ends at once if not given.
    #[arg(long, default_value_t = 0)]
    drain: u64,
}

/// What every connection knows.
#[derive(Debug)]
pub(crate) struct Server {
    /// Who answers.
    pub(crate) name: String,
    /// How often each key was asked for.
    pub(crate) counts: Counts,
}

/// What a port speaks.
#[derive(Debug, Clone)]
enum Kind {
    Http,
    Tcp { greets: bool },
    Tls(Arc<rustls::ServerConfig>),
}

impl Serve {
    /// Serves until SIGTERM or SIGINT.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let certificate = tls::server(&self.certificate)?;
        let mut ports = Vec::new();
        ports.extend(self.http.iter().map(|port| (*port, Kind::Http)));
        ports.extend(
            self.tcp
                .iter()
                .map(|port| (*port, Kind::Tcp { greets: false })),
        );
        let first = self.server_first.iter();
        ports.extend(first.map(|port| (*port, Kind::Tcp { greets: true })));
        let tls = self.tls.iter();
        ports.extend(tls.map(|port| (*port, Kind::Tls(Arc::clone(&certificate)))));
        let server = Arc::new(Server {
            name: self.name,
            counts: Counts::default(),
        });
        for (port, kind) in ports {
            let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
            let listener = TcpListener::bind(address)
                .await
                .with_context(|| format!("cannot listen on port {port}"))?;
            println!("serves {kind} on {}", listener.local_addr()?.port());
            tokio::spawn(accept(listener, kind, Arc::clone(&server)));
        }
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::time::sleep(Duration::from_millis(self.drain)).await;
        Ok(())
    }
}

async fn accept(listener: TcpListener, kind: Kind, server: Arc<Server>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (kind, server) = (kind.clone(), Arc::clone(&server));
                tokio::spawn(async move {
                    if let Err(error) = connection(stream, kind, server).await {
                        eprintln!("connection: {error:#}");
                    }
                });
            }
            Err(error) => eprintln!("accept: {error}"),
        }
    }
}

async fn connection(stream: TcpStream, kind: Kind, server: Arc<Server>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    match kind {
        Kind::Http => serve_http(stream, server, None).await,
        Kind::Tcp { greets } => Ok(stream::echo(stream, &server.name, greets).await?),
        Kind::Tls(config) => {
            let stream = tokio_rustls::TlsAcceptor::from(config)
                .accept(stream)
                .await?;
            let name = stream.get_ref().1.server_name().map(str::to_owned);
            serve_http(stream, server, name).await
        }
    }
}

async fn serve_http<S>(stream: S, server: Arc<Server>, sni: Option<String>) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request| {
        let (server, sni) = (Arc::clone(&server), sni.clone());
        async move { http::answer(&server, sni.as_deref(), request).await }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().enable_connect_protocol();
    let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    served.await.map_err(|error| anyhow::anyhow!("{error}"))
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Tcp { greets: false } => "TCP",
            Self::Tcp { greets: true } => "TCP that speaks first",
            Self::Tls(_) => "TLS",
        })
    }
}
