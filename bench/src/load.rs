//! The load generator for HTTP/1.1: keep-alive connections, in plain text or over TLS, as fast as they
//! go or at a fixed rate.

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::h2load;
use crate::origin::end_of_head;
use crate::tls::Client;
use crate::workload::Protocol;

/// A load.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Where the peer listens.
    pub(crate) port: u16,
    /// What the client speaks.
    pub(crate) protocol: Protocol,
    /// The client for TLS; plain text if unset.
    pub(crate) tls: Option<Client>,
    /// The host that is asked for.
    pub(crate) host: String,
    /// The path that is asked for.
    pub(crate) path: String,
    /// Bytes of each body.
    pub(crate) body: usize,
    /// Connections.
    pub(crate) connections: u32,
    /// Requests per second over all connections; as fast as they go if unset.
    pub(crate) rate: Option<u32>,
    /// How long.
    pub(crate) duration: Duration,
}

/// What a load saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// Requests that were answered well.
    pub(crate) requests: u64,
    /// Requests that were not.
    pub(crate) errors: u64,
    /// Latencies in microseconds, sorted.
    pub(crate) latencies: Vec<u32>,
    /// What the connections agreed on in TLS: one thing, unless something is wrong.
    pub(crate) agreed: BTreeSet<String>,
}

impl Outcome {
    /// The latency that this share of the requests did not exceed, in microseconds.
    pub(crate) fn percentile(&self, share: f64) -> u32 {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index into a list of at most some millions"
        )]
        let index = ((self.latencies.len() as f64 * share) as usize)
            .min(self.latencies.len().saturating_sub(1));
        self.latencies.get(index).copied().unwrap_or(0)
    }

    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.latencies.extend(other.latencies);
        self.agreed.extend(other.agreed);
    }
}

/// Runs a load: of HTTP/1.1 on the current thread, of HTTP/2 by `h2load`.
pub(crate) async fn run(load: &Load, folder: &Path) -> anyhow::Result<Outcome> {
    match load.protocol {
        Protocol::Http1 => Ok(http1(load).await),
        Protocol::Http2 | Protocol::Grpc => h2load::run(load, folder).await,
    }
}

async fn http1(load: &Load) -> Outcome {
    let load = Rc::new(load.clone());
    let begin = Instant::now();
    let tasks: Vec<_> = (0..load.connections)
        .map(|index| tokio::task::spawn_local(connection(Rc::clone(&load), begin, index)))
        .collect();
    let mut total = Outcome::default();
    for task in tasks {
        match task.await {
            Ok(outcome) => total.add(outcome),
            Err(_) => total.errors += 1,
        }
    }
    total.latencies.sort_unstable();
    total
}

async fn connection(load: Rc<Load>, begin: Instant, index: u32) -> Outcome {
    let mut outcome = Outcome::default();
    while begin.elapsed() < load.duration {
        let connected = Box::pin(connected(&load, begin, index, &mut outcome));
        if connected.await.is_err() {
            outcome.errors += 1;
            // A peer that refuses is not asked a million times.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    outcome
}

/// Connects, and sends requests until the time is over or the connection breaks.
async fn connected(
    load: &Load,
    begin: Instant,
    index: u32,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let stream = TcpStream::connect(("127.0.0.1", load.port)).await?;
    stream.set_nodelay(true)?;
    let Some(client) = &load.tls else {
        return requests(stream, load, begin, index, outcome).await;
    };
    let (stream, agreed) = client.connect(stream).await?;
    outcome.agreed.insert(agreed);
    Box::pin(requests(stream, load, begin, index, outcome)).await
}

async fn requests(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    load: &Load,
    begin: Instant,
    index: u32,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: {}\r\nuser-agent: lateen-bench\r\naccept: */*\r\n\r\n",
        load.path, load.host
    );
    let interval = load
        .rate
        .map(|rate| Duration::from_secs(1) * load.connections / rate);
    let mut due = interval.map(|interval| begin + interval * index / load.connections);
    let mut buffer = vec![0; 128 << 10];
    loop {
        if let (Some(at), Some(interval)) = (due, interval) {
            tokio::time::sleep_until(at.into()).await;
            let mut next = at + interval;
            while next < begin + load.duration && next + interval < Instant::now() {
                next += interval;
            }
            due = Some(next);
        }
        if begin.elapsed() >= load.duration {
            return Ok(());
        }
        let sent = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        response(&mut stream, &mut buffer, load.body).await?;
        outcome.requests += 1;
        outcome
            .latencies
            .push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
}

async fn response(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut [u8],
    body: usize,
) -> anyhow::Result<()> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        ensure!(read > 0, "closed");
        filled += read;
        let Some(head) = end_of_head(&buffer[..filled.min(8 << 10)]) else {
            continue;
        };
        if !buffer.starts_with(b"HTTP/1.1 200") {
            bail!("{}", String::from_utf8_lossy(&buffer[..head.min(40)]));
        }
        let mut left = (head + body)
            .checked_sub(filled)
            .context("more than was asked for")?;
        while left > 0 {
            let most = left.min(buffer.len());
            let read = stream.read(&mut buffer[..most]).await?;
            ensure!(read > 0, "closed");
            left -= read;
        }
        return Ok(());
    }
}
