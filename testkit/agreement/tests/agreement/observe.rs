//! A real worker of the proxy, with a client and upstreams in memory, and what it does with one
//! request.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lateen_decide::Store;
use lateen_model::SocketAddress;
use lateen_model::proxy::Role;
use lateen_proxy::connection::{self, Door};
use lateen_proxy::names::Names;
use lateen_proxy::observe::access_log::{Sink, Writer};
use lateen_proxy::observe::exposition::Registry;
use lateen_proxy::observe::labels::Directory;
use lateen_proxy::published::Published;
use lateen_proxy::settings::Timeouts;
use lateen_proxy::upstream::Connector;
use lateen_proxy::worker::{Profile, Shared, Worker};
use lateen_why::{Answer, Caller, Configuration, Question};
use lateen_wire::h1::head::Limits;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use crate::generate;
use crate::tls::Tls;

/// How much a connection in memory holds.
const CAPACITY: usize = 64 * 1024;
/// The first byte of a ClientHello (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// How long an answer may take; time is paused, so that waiting costs nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a proxy did with a request.
#[derive(Debug)]
pub(crate) struct Observed {
    /// The status that the client got; none if the connection ended without one.
    pub(crate) status: Option<u16>,
    /// The upstream that was reached.
    pub(crate) upstream: Option<Upstream>,
    /// The rule by which it was treated, by the mark that each rule leaves.
    pub(crate) rule: Option<String>,
    /// `response_flags` of the metric.
    pub(crate) flags: Option<String>,
}

/// What an upstream got.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddress,
    pub(crate) path: String,
    pub(crate) host: String,
    rule: Option<String>,
}

/// Where access logs go: nowhere, since none is on.
pub(crate) fn sink() -> Sink {
    Sink::start().unwrap()
}

/// Sends a request through a proxy with this configuration, over TLS where the URL says so; nothing if
/// the client has no address to dial or no listener meets it.
pub(crate) fn observe(
    configuration: &Configuration,
    caller: &Caller,
    question: &Question,
    answer: &Answer,
    (sink, tls): (&Sink, &Tls),
) -> Option<Observed> {
    let (door, destination) = match caller.role {
        Role::Sidecar => (Door::Outbound, answer.destination?),
        Role::Gateway => {
            let (_, port) = answer.listener.rsplit_once('_')?;
            (
                Door::Gateway,
                SocketAddr::new(caller.address, port.parse().unwrap()),
            )
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let origin = connection::Origin {
        door,
        peer: "192.0.2.7:40000".parse().unwrap(),
        destination,
        tls: None,
    };
    let exchange = exchange(
        configuration,
        caller,
        question,
        origin,
        (sink.clone(), tls.clone()),
    );
    Some(tokio::task::LocalSet::new().block_on(&runtime, exchange))
}

async fn exchange(
    configuration: &Configuration,
    caller: &Caller,
    question: &Question,
    origin: connection::Origin,
    (sink, tls): (Sink, Tls),
) -> Observed {
    let reached = Rc::<RefCell<Vec<Upstream>>>::default();
    let (worker, registry) = worker(
        configuration,
        caller,
        Rc::clone(&reached),
        (sink, tls.clone()),
    );
    let (client, near) = tokio::io::duplex(CAPACITY);
    let carried = tokio::task::spawn_local(async move {
        connection::carry(&worker, near.into(), origin).await;
    });
    let is_secure = question.url.starts_with("https");
    let answer = async {
        if is_secure {
            ask(question, tls.connect(&question.host, client).await?).await
        } else {
            ask(question, client).await
        }
    };
    let answer = tokio::time::timeout(PATIENCE, answer);
    let head = answer.await.expect("the proxy never answers");
    // The end of the connection is when everything about it has been counted.
    tokio::time::timeout(PATIENCE, carried)
        .await
        .expect("the connection never ends")
        .unwrap();
    let upstream = reached.borrow().first().cloned();
    assert!(
        reached.borrow().len() <= 1,
        "one request went to several upstreams"
    );
    let of_upstream = upstream.as_ref().and_then(|it| it.rule.clone());
    Observed {
        status: head.as_deref().and_then(status),
        rule: of_upstream.or_else(|| head.as_deref().and_then(generate::mark_of)),
        upstream,
        flags: flags(&registry),
    }
}

/// Sends the request, and reads its answer; nothing if the connection ends without one. Then the
/// client is gone.
async fn ask(
    question: &Question,
    mut client: impl AsyncRead + AsyncWrite + Unpin,
) -> Option<String> {
    // Whoever is refused may notice it here.
    client.write_all(request(question).as_bytes()).await.ok()?;
    client.flush().await.ok()?;
    read_message(&mut client).await
}

fn worker(
    configuration: &Configuration,
    caller: &Caller,
    reached: Rc<RefCell<Vec<Upstream>>>,
    (sink, tls): (Sink, Tls),
) -> (Rc<Worker>, Registry) {
    let mut store = Store::new();
    for resource in &configuration.resources {
        store.apply(resource.clone()).unwrap();
    }
    for endpoints in &configuration.endpoints {
        store.apply_endpoints(endpoints.clone());
    }
    let mut directory = Directory::new(vec![caller.address], caller.namespace.clone());
    let plan = store.compile();
    let servers = tls.servers(&plan, &caller.namespace);
    let published = Published::new(1, plan, &mut directory).with_tls(servers);
    let published = Arc::new(published);
    let connector = Connector::Memory(Rc::new(move |address| {
        let (reached, tls, address) = (Rc::clone(&reached), tls.clone(), address.clone());
        Box::pin(async move {
            let (near, far) = tokio::io::duplex(CAPACITY);
            tokio::task::spawn_local(async move {
                let mut far = BufReader::new(far);
                // TLS that is passed on ends here.
                if far
                    .fill_buf()
                    .await
                    .is_ok_and(|first| first.starts_with(&[HANDSHAKE]))
                {
                    if let Some(stream) = tls.accept(far).await {
                        serve(address, stream, reached).await;
                    }
                } else {
                    serve(address, far, reached).await;
                }
            });
            Ok(near)
        })
    }));
    let profile = Profile {
        role: caller.role,
        timeouts: Timeouts::default(),
        limits: Limits::default(),
        captured_ports: [15001, 15006],
    };
    let shared = Shared::default();
    let (names, writer) = (Names::new(None), Writer::new(sink));
    let worker = Worker::new(profile, &shared, published, connector, names, writer);
    (worker, Registry::new(directory, vec![shared.shard]))
}

/// An upstream: notes what it gets and answers 200.
async fn serve(
    address: SocketAddress,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    reached: Rc<RefCell<Vec<Upstream>>>,
) {
    let Some(head) = read_head(&mut stream).await else {
        return;
    };
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    reached.borrow_mut().push(Upstream {
        address,
        path,
        host: field(&head, "host").unwrap_or_default().to_owned(),
        rule: field(&head, "x-rule").map(str::to_owned),
    });
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    // A client that has gone is none of an upstream's business.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.flush().await;
}

fn request(question: &Question) -> String {
    let (method, path, host) = (&question.method, &question.path, &question.authority);
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
    for (name, value) in &question.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("content-length: 0\r\n\r\n");
    text
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// A response's head and body; nothing if the connection ends without one.
async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let head = read_head(stream).await?;
    let length = field(&head, "content-length").and_then(|it| it.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + &String::from_utf8_lossy(&body))
}

fn status(head: &str) -> Option<u16> {
    head.split(' ').nth(1)?.parse().ok()
}

/// The value of a field, by its name in any case.
pub(crate) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.split("\r\n").skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn flags(registry: &Registry) -> Option<String> {
    let text = registry.render();
    let line = text
        .lines()
        .find(|line| line.starts_with("istio_requests_total{"))?;
    let (_, rest) = line.split_once("response_flags=\"")?;
    Some(rest.split('"').next()?.to_owned())
}
