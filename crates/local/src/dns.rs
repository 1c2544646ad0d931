//! Cluster DNS: services and pods by name, everything else through the publisher.
//!
//! It follows the Kubernetes DNS specification (1.1.0) for the cluster's own domain and for the
//! reverse names of its addresses, and passes every other question on as it came, to whoever the
//! caller says. It caches nothing: services are looked up in memory, and the host's resolver has a
//! cache of its own.
//!
//! ```text
//! watch of Services, EndpointSlices ─► zone::Zone (a value, swapped as a whole)
//! question ─► answer::answer ─► the zone's answer, or Forward ─► the caller's function
//! ```

mod answer;
mod zone;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Api, Client};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};

use answer::{Answer, Transport};
use zone::Zone;

/// How long a client may keep a TCP connection without a question (RFC 7766, 6.2.3).
const TCP_IDLE: Duration = Duration::from_secs(10);
/// How long the outside may take.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(5);
/// Questions that are answered at a time; a flood waits in the socket and is then dropped there.
const AT_A_TIME: usize = 512;
/// Changes that come together make one zone.
const SETTLE: Duration = Duration::from_millis(10);

/// Where cluster DNS listens.
#[derive(Debug)]
pub struct Sockets {
    /// For UDP.
    pub udp: UdpSocket,
    /// For TCP.
    pub tcp: TcpListener,
}

/// Answers questions for ever: those about `domain` from the objects of `client`, the others by
/// `forward`, which takes a DNS message and returns the answer to it.
pub async fn run<F, A>(client: Client, domain: &str, sockets: Sockets, forward: F)
where
    F: Fn(Vec<u8>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = io::Result<Vec<u8>>> + Send,
{
    let (tell, zone) = watch::channel(Arc::new(Zone::new(domain)));
    let permits = Arc::new(Semaphore::new(AT_A_TIME));
    let udp = serve_udp(
        Arc::new(sockets.udp),
        zone.clone(),
        forward.clone(),
        Arc::clone(&permits),
    );
    let tcp = serve_tcp(sockets.tcp, zone, forward, permits);
    tokio::join!(keep(client, domain, tell), udp, tcp);
}

/// Keeps the zone like the cluster.
async fn keep(client: Client, domain: &str, zone: watch::Sender<Arc<Zone>>) {
    let (services, services_writer) = reflector::store();
    let (slices, slices_writer) = reflector::store();
    let config = || watcher::Config::default().any_semantic();
    let service_changes = reflector(
        services_writer,
        watcher(Api::<Service>::all(client.clone()), config()),
    );
    let slice_changes = reflector(
        slices_writer,
        watcher(Api::<EndpointSlice>::all(client), config()),
    );
    let changes = stream::select(
        service_changes
            .default_backoff()
            .map(|event| event.map(drop)),
        slice_changes.default_backoff().map(|event| event.map(drop)),
    );
    let mut changes = std::pin::pin!(changes);
    while let Some(change) = changes.next().await {
        if let Err(error) = change {
            tracing::warn!(%error, "DNS cannot watch services and endpoints");
            continue;
        }
        let settled = tokio::time::sleep(SETTLE);
        tokio::pin!(settled);
        loop {
            tokio::select! {
                () = &mut settled => break,
                more = changes.next() => if more.is_none() { break },
            }
        }
        let mut next = Zone::new(domain);
        next.fill(&services.state(), &slices.state());
        zone.send_replace(Arc::new(next));
    }
}

async fn serve_udp<F, A>(
    socket: Arc<UdpSocket>,
    zone: watch::Receiver<Arc<Zone>>,
    forward: F,
    permits: Arc<Semaphore>,
) where
    F: Fn(Vec<u8>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = io::Result<Vec<u8>>> + Send,
{
    let mut buffer = vec![0; 64 << 10];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // An ICMP error of an earlier answer arrives here, too; it says nothing about us.
                tracing::debug!(%error, "DNS over UDP");
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let question = buffer[..length].to_vec();
        let (socket, zone, forward) = (Arc::clone(&socket), zone.borrow().clone(), forward.clone());
        tokio::spawn(async move {
            let _permit = permit;
            if let Some(bytes) = respond(&zone, question, Transport::Udp, &forward).await
                && let Err(error) = socket.send_to(&bytes, from).await
            {
                tracing::debug!(%from, %error, "DNS answer over UDP");
            }
        });
    }
}

async fn serve_tcp<F, A>(
    listener: TcpListener,
    zone: watch::Receiver<Arc<Zone>>,
    forward: F,
    permits: Arc<Semaphore>,
) where
    F: Fn(Vec<u8>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = io::Result<Vec<u8>>> + Send,
{
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "DNS over TCP");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let (zone, forward) = (zone.clone(), forward.clone());
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = converse(stream, from, zone, forward).await {
                tracing::debug!(%from, %error, "DNS over TCP");
            }
        });
    }
}

/// Answers the questions of one connection in order.
async fn converse<F, A>(
    mut stream: TcpStream,
    from: SocketAddr,
    zone: watch::Receiver<Arc<Zone>>,
    forward: F,
) -> io::Result<()>
where
    F: Fn(Vec<u8>) -> A + Send + Sync,
    A: Future<Output = io::Result<Vec<u8>>> + Send,
{
    loop {
        let length = match tokio::time::timeout(TCP_IDLE, stream.read_u16()).await {
            Ok(Ok(length)) => length,
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) => return Ok(()),
        };
        let mut question = vec![0; usize::from(length)];
        tokio::time::timeout(TCP_IDLE, stream.read_exact(&mut question)).await??;
        let current = zone.borrow().clone();
        let Some(answer) = respond(&current, question, Transport::Tcp, &forward).await else {
            tracing::debug!(%from, "not a DNS question");
            return Ok(());
        };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let mut message = length.to_be_bytes().to_vec();
        message.extend_from_slice(&answer);
        stream.write_all(&message).await?;
    }
}

/// The answer to a message; nothing to what is no question, as answering could loop.
async fn respond<F, A>(
    zone: &Zone,
    question: Vec<u8>,
    transport: Transport,
    forward: &F,
) -> Option<Vec<u8>>
where
    F: Fn(Vec<u8>) -> A + Sync,
    A: Future<Output = io::Result<Vec<u8>>> + Send,
{
    match answer::answer(zone, &question, transport)? {
        Answer::Own(bytes) => Some(bytes),
        Answer::Forward { failure } => {
            match tokio::time::timeout(FORWARD_TIMEOUT, forward(question)).await {
                Ok(Ok(answer)) => Some(answer::fit(answer, &failure, transport)),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the host's resolver");
                    Some(failure.bytes)
                }
                Err(_) => Some(failure.bytes),
            }
        }
    }
}

#[cfg(test)]
mod tests;
