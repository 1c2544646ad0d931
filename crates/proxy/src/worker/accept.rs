//! Accepts connections and starts a task for each.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use lateen_model::proxy::Role;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::Worker;
use crate::connection::{self, Door};

/// How long accepting rests when the process is out of descriptors or memory: trying again at once
/// would only burn the CPU that could end a connection.
const REST: Duration = Duration::from_millis(50);

/// The most that the future of one connection may take: ten thousand of them are 30 MiB.
const MOST_BYTES: usize = 3 * 1024;

/// A socket on which a worker accepts.
#[derive(Debug)]
pub struct Listener {
    /// The address that the main thread calls it by.
    pub address: SocketAddr,
    /// The socket, bound by the main thread.
    pub socket: std::net::TcpListener,
    /// What comes in here.
    pub door: Door,
}

/// Stops accepting when dropped.
#[derive(Debug)]
pub(super) struct Stop {
    _stop: oneshot::Sender<()>,
    is_drained: bool,
}

// === impl Stop ===

impl Stop {
    /// Answers whether the listener closes when the proxy ends, while others serve to the end.
    pub(super) fn is_drained(&self) -> bool {
        self.is_drained
    }
}

pub(super) fn start(worker: &Rc<Worker>, listener: Listener) -> io::Result<Stop> {
    let socket = TcpListener::from_std(listener.socket)?;
    let (stop, stopped) = oneshot::channel();
    let is_drained = worker.profile.role == Role::Gateway || listener.door != Door::Outbound;
    tokio::task::spawn_local(accept(Rc::clone(worker), socket, listener.door, stopped));
    Ok(Stop {
        _stop: stop,
        is_drained,
    })
}

async fn accept(
    worker: Rc<Worker>,
    socket: TcpListener,
    door: Door,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = &mut stopped => break,
        };
        match accepted {
            Ok((stream, peer)) => spawn(&worker, stream, peer, door),
            Err(error) => {
                if is_about_one_connection(&error) {
                    continue;
                }
                tracing::warn!(%error, "cannot accept connections; resting");
                tokio::time::sleep(REST).await;
            }
        }
    }
    // Connections that the kernel completed before the socket closes would be reset.
    while let Poll::Ready(Ok((stream, peer))) =
        poll_fn(|cx| Poll::Ready(socket.poll_accept(cx))).await
    {
        spawn(&worker, stream, peer, door);
    }
}

fn spawn(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, door: Door) {
    worker.activity.accepted.increase();
    let task = connection::serve(Rc::clone(worker), stream, peer, door);
    debug_assert!(
        size_of_val(&task) <= MOST_BYTES,
        "a connection takes {} bytes",
        size_of_val(&task)
    );
    tokio::task::spawn_local(task);
}

/// Answers whether an error concerns only the connection that was to be accepted.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
