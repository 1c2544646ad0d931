//! A small HTTP/1.1 server for the pages: one request per connection.
//!
//! It uses the same strict parser as the data path, limits what a client may send and how long it
//! may take, and serves a bounded number of clients at once.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lateen_wire::h1::field::Value;
use lateen_wire::h1::framing::Body;
use lateen_wire::h1::head::{Limits, Persistence, Progress, Version};
use lateen_wire::h1::local::{self, Client, Reply};
use lateen_wire::h1::request::{Head, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::observe::calendar;
use crate::sys;

/// How long a client may take for its request.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest body that a client may send; pages take none, but clients send empty ones.
const MOST_BODY: u64 = 64 * 1024;

/// How many clients are served at once.
const MOST_CLIENTS: usize = 256;

/// How long accepting rests when it fails.
const REST: Duration = Duration::from_millis(100);

/// A request for a page.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: String,
    /// The query; empty if none.
    pub query: String,
    /// Who asks.
    pub peer: SocketAddr,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// Makes pages.
pub type Handler = Rc<dyn Fn(Request) -> Pin<Box<dyn Future<Output = Response>>>>;

// === impl Request ===

impl Request {
    /// The value of a parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut pairs = self
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

// === impl Response ===

impl Response {
    /// A page of text.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into().into_bytes(),
        }
    }

    /// A page of JSON.
    pub fn json(value: &serde_json::Value) -> Self {
        let mut body = format!("{value:#}").into_bytes();
        body.push(b'\n');
        Self {
            status: 200,
            content_type: "application/json",
            body,
        }
    }

    /// The answer to a path that has no page.
    pub fn not_found(pages: &str) -> Self {
        Self::text(404, format!("no such page; there are:\n{pages}\n"))
    }

    /// The answer to a method that a page does not take.
    pub fn needs_post() -> Self {
        Self::text(405, "this changes the proxy: send a POST\n")
    }
}

/// Binds a listener for pages.
///
/// # Errors
/// When the port is taken.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::from_std(sys::listen(address)?)
}

/// Serves pages for ever.
pub async fn serve(listener: TcpListener, handler: Handler) {
    let clients = Arc::new(Semaphore::new(MOST_CLIENTS));
    loop {
        let Ok(permit) = Arc::clone(&clients).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let handler = Rc::clone(&handler);
                tokio::task::spawn_local(async move {
                    // What goes wrong with one client is its own affair.
                    let _ = answer(stream, sys::canonical(peer), handler).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept on a port of the proxy's own");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, peer: SocketAddr, handler: Handler) -> io::Result<()> {
    let mut head = Head::default();
    let read = timeout(PATIENCE, read(&mut stream, &mut head)).await;
    let (response, client) = match read {
        Err(_) | Ok(Err(Refusal::Gone)) => return Ok(()),
        Ok(Err(Refusal::Status(status))) => {
            let client = Client {
                version: Version::Http11,
                is_head: false,
                persistence: Persistence::Close,
            };
            (Response::text(status, "bad request\n"), client)
        }
        Ok(Ok(input)) => {
            let request = head.view(&input);
            let client = Client {
                version: request.version(),
                is_head: request.method() == Method::Head,
                persistence: Persistence::Close,
            };
            let request = Request {
                method: request.method(),
                path: String::from_utf8_lossy(request.path()).into_owned(),
                query: String::from_utf8_lossy(request.query().unwrap_or_default()).into_owned(),
                peer,
            };
            (handler(request).await, client)
        }
    };
    let mut out = Vec::with_capacity(response.body.len() + 256);
    let none = Value::default();
    let date = calendar::http_date(SystemTime::now());
    let reply = Reply {
        status: response.status,
        date: Value::new(date.as_bytes()).unwrap_or(none),
        fields: &[],
        content_type: Value::new(response.content_type.as_bytes()).unwrap_or(none),
        body: &response.body,
        is_call: false,
    };
    local::write(&mut out, &reply, client);
    timeout(PATIENCE, stream.write_all(&out)).await??;
    stream.shutdown().await
}

enum Refusal {
    Gone,
    Status(u16),
}

/// Reads a whole request; answers the bytes of its head.
async fn read(stream: &mut TcpStream, head: &mut Head) -> Result<Vec<u8>, Refusal> {
    let mut input = Vec::with_capacity(1024);
    while head
        .parse(&input, &Limits::default())
        .map_err(|error| Refusal::Status(error.request_status()))?
        == Progress::NeedMore
    {
        if read_some(stream, &mut input).await? == 0 {
            return Err(Refusal::Gone);
        }
    }
    let length = match head.view(&input).body() {
        Body::Empty | Body::UntilClose | Body::Tunnel => 0,
        Body::Length(length) if length <= MOST_BODY => usize::try_from(length).unwrap_or(0),
        Body::Length(_) | Body::Chunked => return Err(Refusal::Status(413)),
    };
    while input.len() < head.len() + length {
        if read_some(stream, &mut input).await? == 0 {
            return Err(Refusal::Gone);
        }
    }
    Ok(input)
}

async fn read_some(stream: &mut TcpStream, input: &mut Vec<u8>) -> Result<usize, Refusal> {
    stream.read_buf(input).await.map_err(|_| Refusal::Gone)
}
