//! The way into pods: given by whoever runs them, since this server does not.

use std::fmt;
use std::io;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::net::TcpStream;

/// Connects to a port inside of a pod, by the pod's uid.
#[derive(Clone)]
pub struct PodDialer(
    Arc<dyn Fn(String, u16) -> BoxFuture<'static, io::Result<TcpStream>> + Send + Sync>,
);

// === impl PodDialer ===

impl PodDialer {
    /// Wraps a function from uid and port to a connection.
    pub fn new<F>(dial: impl Fn(String, u16) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<TcpStream>> + Send + 'static,
    {
        Self(Arc::new(move |uid, port| dial(uid, port).boxed()))
    }

    /// Connects.
    pub(crate) async fn dial(&self, uid: &str, port: u16) -> io::Result<TcpStream> {
        (self.0)(uid.to_owned(), port).await
    }
}

impl fmt::Debug for PodDialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PodDialer")
    }
}
