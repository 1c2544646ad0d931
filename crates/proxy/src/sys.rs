//! What the standard library and tokio do not offer of sockets and of the process.
//!
//! This is the proxy's only module that may contain `unsafe`; `socket2` keeps it to two calls.
#![allow(
    unsafe_code,
    reason = "getrlimit and setrlimit have no safe wrapper among our dependencies"
)]

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsFd;
use std::sync::Once;

use lateen_model::pool::TcpKeepalive;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

/// Whose traffic an upstream socket carries; the capture's rules tell them apart by mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mark {
    /// The application's calls. Captured again as inbound when they go to an address of the pod
    /// itself, so that a call to its own service passes its inbound policy.
    Outbound,
    /// Requests to the application: never captured.
    Inbound,
}

/// How many connections may wait to be accepted per listener and worker.
const BACKLOG: i32 = 4096;

// === impl Mark ===

impl Mark {
    /// The number on the socket.
    pub fn number(self) -> u32 {
        match self {
            Self::Outbound => lateen_capture::rules::OUTBOUND_MARK,
            Self::Inbound => lateen_capture::rules::INBOUND_MARK,
        }
    }
}

/// Binds a listener that shares its port with the other workers' (`SO_REUSEPORT`).
pub fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        // `::` takes IPv4 too: one listener for both families, as the capture's rules expect.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Answers whether this machine has IPv6, so that one listener can serve both families.
pub fn has_ipv6() -> bool {
    let any = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0));
    Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))
        .and_then(|socket| socket.bind(&any.into()))
        .is_ok()
}

/// Where a captured connection was going; the listener's own address if it was not captured.
pub fn original_dst(stream: &TcpStream) -> io::Result<SocketAddr> {
    let local = canonical(stream.local_addr()?);
    let socket = SockRef::from(stream);
    let asked = if local.is_ipv4() {
        socket.original_dst_v4()
    } else {
        socket.original_dst_v6()
    };
    // Connection tracking knows nothing of a connection that no rule redirected: ENOENT, or
    // ENOPROTOOPT where it is not loaded at all.
    let found = asked.ok().and_then(|address| address.as_socket());
    Ok(found.map_or(local, canonical))
}

/// An IPv4 address that came through an IPv6 socket, as IPv4.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Makes a socket for a connection to `to`, which the capture's rules know by its mark. A process
/// that may not mark (no CAP_NET_ADMIN) is known by its user id instead; its inbound side, which
/// the user id does not tell from the outbound one, by the source address that Istio uses for it.
pub fn connecting_socket(to: SocketAddr, mark: Mark) -> io::Result<TcpSocket> {
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if !set_mark(&socket, mark) && mark == Mark::Inbound {
        let source = if to.is_ipv4() {
            IpAddr::V4(lateen_capture::rules::INBOUND_SOURCE)
        } else {
            IpAddr::V6(lateen_capture::rules::INBOUND_SOURCE_V6)
        };
        // Where the address is not there, nothing is captured either.
        let _ = socket.bind(SocketAddr::new(source, 0));
    }
    Ok(socket)
}

/// Marks a socket; `false` if the process may not, which is said once.
pub fn set_mark(socket: &impl AsFd, mark: Mark) -> bool {
    static TOLD: Once = Once::new();
    let marked = SockRef::from(socket).set_mark(mark.number());
    if let Err(error) = &marked {
        TOLD.call_once(|| {
            tracing::info!(%error,
                "sockets cannot be marked (no CAP_NET_ADMIN); the capture must exempt this process by its user id");
        });
    }
    marked.is_ok()
}

/// Has the kernel probe a connection that is silent.
pub fn keep_alive(socket: &TcpSocket, settings: &TcpKeepalive) -> io::Result<()> {
    let mut probes = socket2::TcpKeepalive::new();
    if let Some(time) = settings.time {
        probes = probes.with_time(time);
    }
    if let Some(interval) = settings.interval {
        probes = probes.with_interval(interval);
    }
    if let Some(count) = settings.probes {
        probes = probes.with_retries(count);
    }
    SockRef::from(socket).set_tcp_keepalive(&probes)
}

/// Raises the limit of open files to what the system allows, and returns it.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit for the kernel to write to, and outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is a valid rlimit that the kernel only reads, and outlives the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_listeners_share_a_port() {
        let first = listen("127.0.0.1:0".parse().expect("an address")).expect("bind");
        let address = first.local_addr().expect("an address");
        listen(address).expect("the port is shared");
    }

    #[tokio::test]
    async fn keep_alive_probes_are_set_on_the_socket() {
        let socket = TcpSocket::new_v4().expect("a socket");
        let settings = TcpKeepalive {
            probes: Some(5),
            time: Some(std::time::Duration::from_secs(70)),
            interval: Some(std::time::Duration::from_secs(7)),
        };
        keep_alive(&socket, &settings).expect("settings that the kernel takes");
        let socket = SockRef::from(&socket);
        assert!(socket.keepalive().expect("an option"));
        assert_eq!(
            socket.tcp_keepalive_time().expect("an option").as_secs(),
            70
        );
        assert_eq!(
            socket
                .tcp_keepalive_interval()
                .expect("an option")
                .as_secs(),
            7
        );
        assert_eq!(socket.tcp_keepalive_retries().expect("an option"), 5);
    }

    #[tokio::test]
    async fn a_connection_that_was_not_captured_goes_where_it_came() {
        let listener = listen("127.0.0.1:0".parse().expect("an address")).expect("bind");
        let address = listener.local_addr().expect("an address");
        let listener = tokio::net::TcpListener::from_std(listener).expect("in a runtime");
        let _client = TcpStream::connect(address).await.expect("connect");
        let (stream, _) = listener.accept().await.expect("accept");
        assert_eq!(original_dst(&stream).expect("it is connected"), address);
    }
}
