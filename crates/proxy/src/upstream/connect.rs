//! Opens connections to upstreams.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use lateen_model::SocketAddress;
use lateen_model::pool::TcpKeepalive;
use tokio::io::DuplexStream;
use tokio::net::UnixStream;

use crate::sys::{self, Mark};
use crate::transport::Transport;

/// How connections are opened.
#[derive(Clone)]
pub enum Connector {
    /// By TCP, or over a socket of the file system.
    Sockets,
    /// In memory: the test seam of the whole worker.
    Memory(Rc<dyn Fn(&SocketAddress) -> Dialled>),
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
    /// Opens a connection. Marks and probes are of the network: a socket of the file system needs
    /// neither.
    pub async fn connect(
        &self,
        to: &SocketAddress,
        mark: Mark,
        limit: Duration,
        keepalive: Option<&TcpKeepalive>,
    ) -> Result<Transport, Error> {
        match self {
            Self::Memory(open) => {
                let stream = within(limit, open(to)).await?;
                Ok(Transport::Memory(stream))
            }
            Self::Sockets => match to {
                SocketAddress::Inet(to) => {
                    let socket = sys::connecting_socket(*to, mark)?;
                    if let Some(keepalive) = keepalive {
                        sys::keep_alive(&socket, keepalive)?;
                    }
                    let stream = within(limit, socket.connect(*to)).await?;
                    // Heads and small bodies are written whole: waiting for more only adds latency.
                    stream.set_nodelay(true)?;
                    Ok(Transport::Tcp(stream))
                }
                SocketAddress::Unix(path) => {
                    let stream = within(limit, UnixStream::connect(&*name(path))).await?;
                    Ok(Transport::Unix(stream))
                }
            },
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sockets => "Sockets",
            Self::Memory(_) => "Memory",
        })
    }
}

/// What the kernel calls a socket: an abstract one, `@` to its users, begins with a zero (unix(7)).
fn name(path: &str) -> Cow<'_, str> {
    match path.strip_prefix('@') {
        Some(name) => Cow::Owned(format!("\0{name}")),
        None => Cow::Borrowed(path),
    }
}

/// Waits for a connection as long as it may take.
async fn within<T>(
    limit: Duration,
    connecting: impl Future<Output = io::Result<T>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, connecting).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(Error::TimedOut(limit)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn sockets_of_the_file_system_are_reached_by_path_or_by_abstract_name() {
        let unique = format!("lateen-connect-{}.sock", std::process::id());
        let path = std::env::temp_dir().join(unique);
        let path = path.to_str().expect("it is ASCII");
        let _ = std::fs::remove_file(path);
        for address in [path.to_owned(), format!("@{path}")] {
            let listener = UnixListener::bind(&*name(&address)).expect("a free name");
            let to = SocketAddress::Unix(address.into());
            let limit = Duration::from_secs(60);
            let connecting = Connector::Sockets.connect(&to, Mark::Outbound, limit, None);
            let transport = connecting.await.expect("somebody listens");
            let Transport::Unix(mut near) = transport else {
                panic!("{transport:?}");
            };
            let (mut far, _) = listener.accept().await.expect("it is connected");
            near.write_all(b"hello").await.expect("room");
            let mut got = [0; 5];
            far.read_exact(&mut got).await.expect("what was written");
            assert_eq!(&got, b"hello");
        }
        std::fs::remove_file(path).expect("it was bound");
    }

    #[tokio::test]
    async fn a_socket_that_is_not_there_is_a_refusal() {
        let to = SocketAddress::Unix("/nowhere/app.sock".into());
        let limit = Duration::from_secs(60);
        let connecting = Connector::Sockets.connect(&to, Mark::Outbound, limit, None);
        assert!(matches!(connecting.await, Err(Error::Io(_))));
    }
}
