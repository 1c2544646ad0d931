//! The client: one line of JSON for each call, whatever comes of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use clap::Args;
use http::{HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::{grpc, http as web, tls, websocket};

/// Calls a server and tells what came back.
#[derive(Debug, Args)]
pub(crate) struct Call {
    /// `http`, `https`, `h2`, `grpc`, `ws`, `tcp` or `tls`, such as `grpc://echo:8080/a.B/C`.
    url: Uri,
    /// A header, as `name: value`; several may be given.
    #[arg(short = 'H', long)]
    header: Vec<String>,
    /// How often.
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// Where to connect, if not to the URL's host: `host:port`.
    #[arg(long)]
    connect: Option<String>,
    /// What is sent.
    #[arg(short, long, default_value = "")]
    data: String,
    /// Milliseconds until a call is given up.
    #[arg(long, default_value_t = 10_000)]
    timeout: u64,
    /// Milliseconds between calls.
    #[arg(long, default_value_t = 0)]
    pause: u64,
    /// Calls for this many seconds, however often that is, and tells only the numbers.
    #[arg(long)]
    seconds: Option<u64>,
    /// Callers at a time, where the numbers are told.
    #[arg(long, default_value_t = 1)]
    concurrency: usize,
}

/// How calls ended.
#[derive(Debug, Default)]
struct Tally {
    statuses: BTreeMap<String, usize>,
    errors: Vec<String>,
}

impl Call {
    /// Calls as often, or as long, as asked.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        if let Some(seconds) = self.seconds {
            let end = Instant::now() + Duration::from_secs(seconds);
            let callers = (0..self.concurrency).map(|_| self.tally(end));
            let mut all = Tally::default();
            for tally in futures::future::join_all(callers).await {
                all.add(tally);
            }
            println!(
                "{}",
                json!({"statuses": all.statuses, "errors": all.errors})
            );
            return Ok(());
        }
        for _ in 0..self.count {
            println!("{}", self.told().await);
            tokio::time::sleep(Duration::from_millis(self.pause)).await;
        }
        Ok(())
    }

    /// Calls until then and counts what came back.
    async fn tally(&self, end: Instant) -> Tally {
        let mut tally = Tally::default();
        while Instant::now() < end {
            let told = self.told().await;
            let status = match told["status"].as_u64() {
                Some(status) => status.to_string(),
                None => "none".into(),
            };
            if status != "200" && tally.errors.len() < 5 {
                tally.errors.push(told.to_string());
            }
            *tally.statuses.entry(status).or_default() += 1;
            tokio::time::sleep(Duration::from_millis(self.pause)).await;
        }
        tally
    }

    /// One call, whatever comes of it.
    async fn told(&self) -> Value {
        let began = Instant::now();
        let limit = Duration::from_millis(self.timeout);
        let mut told = match tokio::time::timeout(limit, self.once()).await {
            Ok(Ok(told)) => told,
            Ok(Err(error)) => json!({"error": format!("{error:#}")}),
            Err(_) => json!({"error": "no answer in time"}),
        };
        told["millis"] = (began.elapsed().as_secs_f64() * 1000.0).into();
        told
    }

    async fn once(&self) -> anyhow::Result<Value> {
        let stream = self.dial().await?;
        match self.url.scheme_str() {
            Some("http") => self.http1(stream).await,
            Some("h2" | "grpc") => self.http2(stream).await,
            Some("https") => {
                let stream = self.secure(stream, &[b"h2", b"http/1.1"]).await?;
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    self.http2(stream).await
                } else {
                    self.http1(stream).await
                }
            }
            Some("ws") => self.websocket(stream).await,
            Some("tcp") => self.line(stream).await,
            Some("tls") => {
                let stream = self.secure(stream, &[]).await?;
                self.line(stream).await
            }
            other => bail!("the scheme {other:?} is none of http, https, h2, grpc, ws, tcp, tls"),
        }
    }

    fn host(&self) -> anyhow::Result<&str> {
        self.url.host().context("the URL has no host")
    }

    async fn dial(&self) -> anyhow::Result<TcpStream> {
        let stream = if let Some(address) = &self.connect {
            TcpStream::connect(address).await?
        } else {
            let port = self.url.port_u16().context("the URL has no port")?;
            TcpStream::connect((self.host()?, port)).await?
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn secure(
        &self,
        stream: TcpStream,
        protocols: &[&[u8]],
    ) -> anyhow::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let name = ServerName::try_from(self.host()?.to_owned())?;
        let connector = tokio_rustls::TlsConnector::from(tls::client(protocols)?);
        Ok(connector.connect(name, stream).await?)
    }

    fn request(&self, uri: Uri, body: Bytes) -> anyhow::Result<Request<Full<Bytes>>> {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .body(Full::new(body))?;
        for line in &self.header {
            let (name, value) = line.split_once(':').context("a header is `name: value`")?;
            let name: HeaderName = name.trim().parse()?;
            let value: HeaderValue = value.trim().parse()?;
            request.headers_mut().append(name, value);
        }
        Ok(request)
    }

    fn host_header(&self) -> anyhow::Result<HeaderValue> {
        let authority = self.url.authority().context("the URL has no host")?;
        Ok(authority.as_str().parse()?)
    }

    async fn http1(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> anyhow::Result<Value> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let mut request = self.request(path.parse()?, self.data.clone().into())?;
        let host = self.host_header()?;
        request.headers_mut().entry(header::HOST).or_insert(host);
        tell(sender.send_request(request).await?).await
    }

    async fn http2(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> anyhow::Result<Value> {
        let io = TokioIo::new(stream);
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
        tokio::spawn(connection);
        let is_grpc = self.url.scheme_str() == Some("grpc");
        let body = if is_grpc {
            grpc::message(self.data.as_bytes())
        } else {
            self.data.clone().into()
        };
        let mut parts = self.url.clone().into_parts();
        let scheme = if self.url.scheme_str() == Some("https") {
            "https"
        } else {
            "http"
        };
        parts.scheme = Some(scheme.parse()?);
        let mut request = self.request(Uri::from_parts(parts)?, body)?;
        if is_grpc {
            let headers = request.headers_mut();
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            let kind = HeaderValue::from_static("application/grpc");
            headers.insert(header::CONTENT_TYPE, kind);
        }
        tell(sender.send_request(request).await?).await
    }

    async fn websocket(&self, stream: TcpStream) -> anyhow::Result<Value> {
        const KEY: &str = "bGF0ZWVuLWVjaG8tY2FsbA==";
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection.with_upgrades());
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let mut request = self.request(path.parse()?, Bytes::new())?;
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.host_header()?);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        let version = HeaderValue::from_static("13");
        headers.insert(header::SEC_WEBSOCKET_VERSION, version);
        headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_static(KEY));
        let response = sender.send_request(request).await?;
        let status = response.status();
        if status != http::StatusCode::SWITCHING_PROTOCOLS {
            return tell(response).await;
        }
        let answer = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        let is_right =
            answer.is_some_and(|it| it.as_bytes() == websocket::expected(KEY).as_bytes());
        ensure!(is_right, "sec-websocket-accept does not answer the key");
        let mut stream = TokioIo::new(hyper::upgrade::on(response).await?);
        let mask = Some([0x37, 0xfa, 0x21, 0x3d]);
        websocket::write(&mut stream, websocket::TEXT, self.data.as_bytes(), mask).await?;
        let (_, text) = websocket::read(&mut stream).await?;
        Ok(json!({"status": 101, "body": String::from_utf8_lossy(&text)}))
    }

    async fn line(&self, stream: impl AsyncRead + AsyncWrite) -> anyhow::Result<Value> {
        let (read, mut write) = tokio::io::split(stream);
        let mut lines = BufReader::new(read).lines();
        let mut told = json!({});
        if self.data.is_empty() {
            // Servers that speak first are listened to.
            told["line"] = lines.next_line().await?.into();
        } else {
            write
                .write_all(format!("{}\n", self.data).as_bytes())
                .await?;
            let answer = lines.next_line().await?;
            told["line"] = answer
                .context("the server closed without an answer")?
                .into();
        }
        Ok(told)
    }
}

// === impl Tally ===

impl Tally {
    fn add(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.errors.extend(other.errors);
    }
}

/// What came back.
async fn tell(response: http::Response<hyper::body::Incoming>) -> anyhow::Result<Value> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?;
    let mut told = json!({
        "status": head.status.as_u16(),
        "protocol": web::protocol(head.version),
        "headers": web::headers(&head.headers),
        "trailers": body.trailers().map(web::headers),
    });
    let bytes = body.to_bytes();
    told["body"] = if grpc::is_call(&head.headers) {
        grpc::messages(&bytes).into()
    } else {
        serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into())
    };
    Ok(told)
}
