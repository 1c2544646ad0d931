//! Ways into pods: connections to the loopback address of a pod's own network namespace, for
//! `port-forward`.
//!
//! A socket belongs to the namespace of the thread that makes it, wherever it is connected: so it
//! is made on a thread that has entered the pod's, and used on the runtime.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::sandbox::Sandbox;

/// How long a port may take to answer; on a loopback only a full backlog takes long.
const PATIENCE: Duration = Duration::from_secs(5);

/// The sandboxes of the node's pods, by uid; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sandboxes {
    by_uid: Arc<Mutex<HashMap<String, Weak<Sandbox>>>>,
}

// === impl Sandboxes ===

impl Sandboxes {
    /// Notes a pod's sandbox; it is forgotten when the sandbox goes.
    pub(super) fn add(&self, uid: &str, sandbox: &Arc<Sandbox>) {
        let mut by_uid = self.by_uid.lock().unwrap_or_else(PoisonError::into_inner);
        by_uid.retain(|_, sandbox| sandbox.strong_count() > 0);
        by_uid.insert(uid.to_owned(), Arc::downgrade(sandbox));
    }

    /// Connects to a port of a pod, as its own processes would to `localhost`.
    ///
    /// # Errors
    /// If the pod has no sandbox, or nothing listens on the port; in the words of Kubernetes.
    pub(crate) async fn dial(&self, uid: &str, port: u16) -> io::Result<TcpStream> {
        let sandbox = self.get(uid).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotConnected,
                "the pod's sandbox is not running",
            )
        })?;
        let own = Arc::clone(&sandbox);
        let sockets = tokio::task::spawn_blocking(move || own.within(sockets));
        let (v4, v6) = sockets.await.map_err(io::Error::other)??;
        let first = match connect(v4, SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let second = match v6 {
            Ok(v6) => connect(v6, SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await,
            Err(error) => Err(error),
        };
        second.map_err(|second| {
            let text = format!(
                "failed to connect to localhost:{port} inside the pod, IPv4: dial tcp4 \
                 127.0.0.1:{port}: {}, IPv6: dial tcp6 [::1]:{port}: {}",
                words(&first),
                words(&second)
            );
            io::Error::new(first.kind(), text)
        })
    }

    fn get(&self, uid: &str) -> Option<Arc<Sandbox>> {
        let by_uid = self.by_uid.lock().unwrap_or_else(PoisonError::into_inner);
        by_uid.get(uid)?.upgrade()
    }
}

/// A socket for each version of IP; a machine may lack version 6.
fn sockets() -> io::Result<(TcpSocket, io::Result<TcpSocket>)> {
    Ok((TcpSocket::new_v4()?, TcpSocket::new_v6()))
}

async fn connect(socket: TcpSocket, to: SocketAddr) -> io::Result<TcpStream> {
    match timeout(PATIENCE, socket.connect(to)).await {
        Ok(result) => {
            let stream = result?;
            stream.set_nodelay(true)?;
            Ok(stream)
        }
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// An error as programs in Go, and so Kubernetes' users, know it.
fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".into(),
        io::ErrorKind::TimedOut => "i/o timeout".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pod_that_is_not_there_is_no_place_to_dial() {
        let error = Sandboxes::default().dial("nobody", 80).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
        assert_eq!(error.to_string(), "the pod's sandbox is not running");
    }

    #[test]
    fn refusals_are_worded_as_kubernetes_words_them() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(words(&refused), "connect: connection refused");
    }
}
