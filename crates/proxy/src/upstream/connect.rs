//! Opens connections to upstreams.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use lateen_model::pool::TcpKeepalive;
use tokio::io::DuplexStream;

use crate::sys::{self, Mark};
use crate::transport::Transport;

/// How connections are opened.
#[derive(Clone)]
pub enum Connector {
    /// By TCP.
    Tcp,
    /// In memory: the test seam of the whole worker.
    Memory(Rc<dyn Fn(SocketAddr) -> Dialled>),
}

/// A connection in memory on its way.
pub type Dialled = Pin<Box<dyn Future<Output = io::Result<DuplexStream>>>>;

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was refused, or there is no way.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// There was no answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

// === impl Connector ===

impl Connector {
    /// Opens a connection.
    pub async fn connect(
        &self,
        to: SocketAddr,
        mark: Mark,
        limit: Duration,
        keepalive: Option<&TcpKeepalive>,
    ) -> Result<Transport, Error> {
        match self {
            Self::Memory(open) => {
                let connected = tokio::time::timeout(limit, open(to)).await;
                let stream = connected.map_err(|_| Error::TimedOut(limit))??;
                Ok(Transport::Memory(stream))
            }
            Self::Tcp => {
                let socket = sys::connecting_socket(to, mark)?;
                if let Some(keepalive) = keepalive {
                    sys::keep_alive(&socket, keepalive)?;
                }
                let connected = tokio::time::timeout(limit, socket.connect(to)).await;
                let stream = connected.map_err(|_| Error::TimedOut(limit))??;
                // Heads and small bodies are written whole: waiting for more only adds latency.
                stream.set_nodelay(true)?;
                Ok(Transport::Tcp(stream))
            }
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "Tcp",
            Self::Memory(_) => "Memory",
        })
    }
}
