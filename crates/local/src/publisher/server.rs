//! The publisher's end: does outside what the supervisor wishes.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::channel::Channel;
use super::message::{Bytes, Failure, Outcome, Reply, Request, Wish};
use super::resolver;

/// How long a connection to the outside may take to be established: less than the kernel's own two
/// minutes, longer than three lost SYNs.
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

/// Serves wishes until the supervisor's end of the channel closes.
pub(crate) async fn serve(channel: Channel) -> io::Result<()> {
    let channel = Arc::new(channel);
    while let Some(parcel) = channel.receive().await? {
        let request: Request = serde_json::from_slice(&parcel.bytes)?;
        let channel = Arc::clone(&channel);
        tokio::spawn(async move {
            let (outcome, descriptor) = fulfil(request.wish).await;
            let reply = Reply {
                id: request.id,
                outcome,
            };
            if let Err(error) = answer(&channel, &reply, descriptor.as_ref()).await {
                tracing::warn!(%error, "the supervisor could not be answered");
            }
        });
    }
    Ok(())
}

async fn answer(channel: &Channel, reply: &Reply, descriptor: Option<&OwnedFd>) -> io::Result<()> {
    let bytes = serde_json::to_vec(reply)?;
    match descriptor {
        Some(descriptor) => channel.send(&bytes, &[descriptor.as_fd()]).await,
        None => channel.send(&bytes, &[]).await,
    }
}

async fn fulfil(wish: Wish) -> (Outcome, Option<OwnedFd>) {
    let done = match wish {
        Wish::Dial(address) => dial(address).await.map(opened),
        Wish::Listen(address) => listen(address).await.map(opened),
        Wish::Resolve(query) => resolver::ask(&query.0)
            .await
            .map(|answer| (Outcome::Resolved(Bytes(answer)), None)),
    };
    done.unwrap_or_else(|error| (Outcome::Failed(Failure::from(&error)), None))
}

fn opened(descriptor: OwnedFd) -> (Outcome, Option<OwnedFd>) {
    (Outcome::Descriptor, Some(descriptor))
}

async fn dial(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = timeout(DIAL_TIMEOUT, TcpStream::connect(address))
        .await
        .map_err(|_| io::Error::from_raw_os_error(libc::ETIMEDOUT))??;
    Ok(socket.into_std()?.into())
}

async fn listen(address: SocketAddr) -> io::Result<OwnedFd> {
    Ok(TcpListener::bind(address).await?.into_std()?.into())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::{Client, channel};
    use super::*;

    fn client() -> Client {
        let (inside, outside) = channel::pair().unwrap();
        tokio::spawn(serve(Channel::new(outside).unwrap()));
        Client::new(Channel::new(inside).unwrap())
    }

    #[tokio::test]
    async fn a_listener_and_a_socket_made_outside_carry_bytes() {
        let client = client();
        let listener = client.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut dialled = client.dial(address).await.unwrap();
        let (mut accepted, _) = listener.accept().await.unwrap();
        dialled.write_all(b"hello").await.unwrap();
        drop(dialled);
        let mut text = String::new();
        accepted.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
    }

    #[tokio::test]
    async fn the_reason_of_a_refusal_survives_the_way_in() {
        let client = client();
        let listener = client.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let taken = client.listen(address).await.unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        let refused = client.dial(address).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn who_asks_after_the_end_gets_an_error_at_once() {
        let (inside, outside) = channel::pair().unwrap();
        let client = Client::new(Channel::new(inside).unwrap());
        drop(outside);
        client.gone().await;
        let error = client
            .dial("127.0.0.1:1".parse().unwrap())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
