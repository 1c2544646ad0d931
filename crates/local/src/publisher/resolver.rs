//! Asks the host's resolver, as its `/etc/resolv.conf` says, with the message as it came.
//!
//! It reads nothing of a message but its id, its question and the bit that says that an answer did
//! not fit into a datagram: what it means is for those who asked.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// Where a host keeps its name servers.
const CONFIGURATION: &str = "/etc/resolv.conf";
/// How long one server may take; libc waits 5 s, but the pod's own resolver waits for us.
const TIMEOUT: Duration = Duration::from_millis(1500);
/// libc asks no more servers than three.
const MAX_SERVERS: usize = 3;
/// The smallest DNS message: its header.
const HEADER: usize = 12;

/// Sends `query` to the host's name servers in order and returns the first answer.
pub(crate) async fn ask(query: &[u8]) -> io::Result<Vec<u8>> {
    // Read anew each time: a laptop changes its network without telling us.
    let text = tokio::fs::read_to_string(CONFIGURATION)
        .await
        .unwrap_or_default();
    ask_servers(&servers(&text), query).await
}

async fn ask_servers(servers: &[SocketAddr], query: &[u8]) -> io::Result<Vec<u8>> {
    if query.len() < HEADER {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a DNS message: too short",
        ));
    }
    let mut last = io::Error::new(io::ErrorKind::TimedOut, "no name server answered");
    for server in servers {
        match ask_one(*server, query).await {
            Ok(answer) => return Ok(answer),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn ask_one(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let answer = within(by_datagram(server, query)).await?;
    let is_truncated = answer[2] & 0x02 != 0;
    if !is_truncated {
        return Ok(answer);
    }
    // A server that does not speak TCP leaves us with the part that fitted.
    Ok(within(by_stream(server, query)).await.unwrap_or(answer))
}

async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(TIMEOUT, work)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "a name server did not answer"))?
}

async fn by_datagram(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut answer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut answer).await?;
        if is_answer(query, &answer[..length]) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn by_stream(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream
        .write_all(&[&length.to_be_bytes(), query].concat())
        .await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    if is_answer(query, &answer) {
        return Ok(answer);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "a name server answered another question",
    ))
}

/// Answers whether `message` is a response with the query's id.
fn is_answer(query: &[u8], message: &[u8]) -> bool {
    message.len() >= HEADER && message[..2] == query[..2] && message[2] & 0x80 != 0
}

/// The name servers of a `resolv.conf`; without any, this machine's own, as libc does.
fn servers(text: &str) -> Vec<SocketAddr> {
    let servers: Vec<SocketAddr> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next() == Some("nameserver"))
                .then(|| words.next())
                .flatten()
        })
        .filter_map(|word| word.parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, 53))
        .take(MAX_SERVERS)
        .collect();
    if servers.is_empty() {
        return vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 53))];
    }
    servers
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const QUERY: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01";

    fn answer(flags: u8, tail: &[u8]) -> Vec<u8> {
        let mut message = QUERY.to_vec();
        message[2] = 0x80 | flags;
        message.extend_from_slice(tail);
        message
    }

    #[test]
    fn servers_are_read_as_libc_reads_them() {
        let text = "# by hand\nsearch example.com\nnameserver 192.0.2.1\nnameserver ::1\n\
                    nameserver what\n nameserver 192.0.2.2 # late\nnameserver 192.0.2.3\n";
        let found: Vec<_> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[::1]:53", "192.0.2.2:53"]);
        assert_eq!(servers("")[0].to_string(), "127.0.0.1:53");
    }

    #[tokio::test]
    async fn the_second_server_is_asked_when_the_first_refuses() {
        let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let refused = closed.local_addr().unwrap();
        drop(closed);
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let servers = [refused, server.local_addr().unwrap()];
        let serve = async {
            let mut buffer = [0; 512];
            let (_, asker) = server.recv_from(&mut buffer).await.unwrap();
            // Somebody else's answer is not ours.
            server
                .send_to(b"\x99\x99\x80\x00aaaaaaaaaa", asker)
                .await
                .unwrap();
            server.send_to(&answer(0, b"yes"), asker).await.unwrap();
        };
        let (got, ()) = tokio::join!(ask_servers(&servers, QUERY), serve);
        assert!(got.unwrap().ends_with(b"yes"));
    }

    #[tokio::test]
    async fn an_answer_that_did_not_fit_is_asked_for_again_over_tcp() {
        let stream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = stream.local_addr().unwrap();
        let datagram = UdpSocket::bind(address).await.unwrap();
        let serve = async {
            let mut buffer = [0; 512];
            let (_, asker) = datagram.recv_from(&mut buffer).await.unwrap();
            datagram.send_to(&answer(0x02, b""), asker).await.unwrap();
            let (mut socket, _) = stream.accept().await.unwrap();
            let length = socket.read_u16().await.unwrap();
            let mut query = vec![0; usize::from(length)];
            socket.read_exact(&mut query).await.unwrap();
            assert_eq!(query, QUERY);
            let whole = answer(0, &[b'x'; 2000]);
            socket
                .write_u16(u16::try_from(whole.len()).unwrap())
                .await
                .unwrap();
            socket.write_all(&whole).await.unwrap();
        };
        let servers = [address];
        let (got, ()) = tokio::join!(ask_servers(&servers, QUERY), serve);
        assert!(got.unwrap().len() > 2000);
    }

    #[tokio::test]
    async fn what_is_no_dns_message_is_refused() {
        let error = ask_servers(&[], b"short").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
