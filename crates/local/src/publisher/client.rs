//! The supervisor's end: wishes go out, descriptors come in.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use super::channel::{Channel, Parcel};
use super::message::{Bytes, Outcome, Reply, Request, Wish};

type Answer = (Outcome, Option<OwnedFd>);

/// Asks the publisher outside; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    /// Turns true when the publisher has gone.
    gone: watch::Receiver<bool>,
}

#[derive(Debug)]
struct Shared {
    channel: Channel,
    next: AtomicU64,
    /// `None` once the publisher has gone: who asks later must not wait for ever.
    waiting: Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>,
}

// === impl Client ===

impl Client {
    /// Takes this end of the channel over and starts reading from it.
    pub(crate) fn new(channel: Channel) -> Self {
        let shared = Arc::new(Shared {
            channel,
            next: AtomicU64::new(0),
            waiting: Mutex::new(Some(HashMap::new())),
        });
        let (tell_gone, gone) = watch::channel(false);
        let reader = Arc::clone(&shared);
        tokio::spawn(async move {
            if let Err(error) = reader.read().await {
                tracing::warn!(%error, "the channel to the publisher is broken");
            }
            reader.waiting().take();
            let _ = tell_gone.send(true);
        });
        Self { shared, gone }
    }

    /// Connects to an address outside of the cluster.
    pub async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = self.descriptor(Wish::Dial(address)).await?;
        let socket = std::net::TcpStream::from(socket);
        socket.set_nonblocking(true)?;
        TcpStream::from_std(socket)
    }

    /// Listens on an address of the host; port 0 takes any.
    pub async fn listen(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let listener = self.descriptor(Wish::Listen(address)).await?;
        let listener = std::net::TcpListener::from(listener);
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    }

    /// Sends a DNS message to the host's resolver and returns its answer.
    pub async fn resolve(&self, query: &[u8]) -> io::Result<Vec<u8>> {
        match self.ask(Wish::Resolve(Bytes(query.to_vec()))).await? {
            (Outcome::Resolved(answer), _) => Ok(answer.0),
            (Outcome::Failed(failure), _) => Err(failure.into()),
            (Outcome::Descriptor, _) => Err(confused()),
        }
    }

    /// Waits for the end of the publisher.
    pub async fn gone(&self) {
        let mut gone = self.gone.clone();
        // An error means that the reader itself has ended, which is the same.
        let _ = gone.wait_for(|gone| *gone).await;
    }

    async fn descriptor(&self, wish: Wish) -> io::Result<OwnedFd> {
        match self.ask(wish).await? {
            (Outcome::Descriptor, Some(descriptor)) => Ok(descriptor),
            (Outcome::Failed(failure), _) => Err(failure.into()),
            (Outcome::Descriptor | Outcome::Resolved(_), _) => Err(confused()),
        }
    }

    async fn ask(&self, wish: Wish) -> io::Result<Answer> {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        self.shared
            .waiting()
            .as_mut()
            .ok_or_else(publisher_gone)?
            .insert(id, tell);
        let request = serde_json::to_vec(&Request { id, wish })?;
        if let Err(error) = self.shared.channel.send(&request, &[]).await {
            if let Some(waiting) = self.shared.waiting().as_mut() {
                waiting.remove(&id);
            }
            return Err(error);
        }
        told.await.map_err(|_| publisher_gone())
    }
}

// === impl Shared ===

impl Shared {
    async fn read(&self) -> io::Result<()> {
        while let Some(Parcel { bytes, descriptors }) = self.channel.receive().await? {
            let reply: Reply = serde_json::from_slice(&bytes)?;
            let asker = self
                .waiting()
                .as_mut()
                .and_then(|waiting| waiting.remove(&reply.id));
            if let Some(asker) = asker {
                // Who no longer waits has no use for the descriptor; it is closed here.
                let _ = asker.send((reply.outcome, descriptors.into_iter().next()));
            }
        }
        Ok(())
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Option<HashMap<u64, oneshot::Sender<Answer>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn publisher_gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the publisher outside has gone")
}

fn confused() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the publisher answered something else than what was asked",
    )
}
