//! A pod and the world around it: two namespaces, a pair of links, servers that tell who they are.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use lateen_capture::link::{self, Veth};
use lateen_capture::netns::Netns;
use socket2::{Domain, SockRef, Socket, Type};

pub(crate) type Case = (&'static str, fn());

pub(crate) const POD: &str = "10.1.0.2";
pub(crate) const POD6: &str = "fd00:1::2";
pub(crate) const WORLD: &str = "10.1.0.1";
pub(crate) const WORLD6: &str = "fd00:1::1";

/// A pod's namespace, and one around it with addresses of servers.
pub(crate) struct World {
    pub(crate) pod: Netns,
    pub(crate) outside: Netns,
}

/// What a server told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Which server.
    pub(crate) server: String,
    /// What the client dialled, by conntrack.
    pub(crate) original: SocketAddr,
    /// Who the server saw.
    pub(crate) peer: IpAddr,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self {
            pod: Netns::create().unwrap(),
            outside: Netns::create().unwrap(),
        };
        world.outside.run(|| world.wire_outside()).unwrap();
        world.pod.run(wire_pod).unwrap();
        world
    }

    fn wire_outside(&self) {
        use std::os::fd::AsFd;
        let mut links = link::Connection::open().unwrap();
        links.set_up("lo").unwrap();
        links
            .add_veth(&Veth {
                name: "pod0",
                peer: "eth0",
                peer_netns: Some(self.pod.as_fd()),
                mtu: Some(9000),
                hardware_addresses: None,
            })
            .unwrap();
        for address in [format!("{WORLD}/24"), format!("{WORLD6}/64")] {
            links.add_address("pod0", address.parse().unwrap()).unwrap();
        }
        links.set_up("pod0").unwrap();
    }
}

fn wire_pod() {
    let mut links = link::Connection::open().unwrap();
    links.set_up("lo").unwrap();
    links.set_up("eth0").unwrap();
    for address in [format!("{POD}/24"), format!("{POD6}/64")] {
        links.add_address("eth0", address.parse().unwrap()).unwrap();
    }
    for (net, hop) in [("0.0.0.0/0", WORLD), ("::/0", WORLD6)] {
        let route = link::Route::via(net.parse().unwrap(), hop.parse().unwrap(), "eth0");
        links.add_route(&route).unwrap();
    }
}

/// Serves a port of a namespace: tells every client the server's name and what it sees.
pub(crate) fn serve(netns: &Netns, name: &str, address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    let listener = netns.run(|| listen(address)).unwrap().unwrap();
    let name = name.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let original = original_destination(&stream);
            let peer = stream.peer_addr().unwrap();
            // A client that has gone is the test's own failure, seen at its end.
            let _ = writeln!(stream, "{name} {original} {}", peer.ip());
        }
    });
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(64)?;
    Ok(socket.into())
}

/// Dials from a namespace and returns what the server tells.
pub(crate) fn call(netns: &Netns, to: &str) -> io::Result<Answer> {
    call_with(netns, to, |_| Ok(()))
}

/// Dials with a socket that `prepare` changes before.
pub(crate) fn call_with(
    netns: &Netns,
    to: &str,
    prepare: impl FnOnce(&Socket) -> io::Result<()> + Send,
) -> io::Result<Answer> {
    let to: SocketAddr = to.parse().unwrap();
    let stream = netns.run(|| -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        prepare(&socket)?;
        socket.connect_timeout(&to.into(), Duration::from_secs(5))?;
        Ok(socket.into())
    });
    let mut stream = stream.unwrap()?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let words: Vec<_> = text.split_whitespace().collect();
    let [server, original, peer] = words[..] else {
        return Err(io::Error::other(format!("not an answer: {text:?}")));
    };
    Ok(Answer {
        server: server.into(),
        original: original.parse().unwrap(),
        peer: peer.parse().unwrap(),
    })
}

/// The name of the server that a call reaches.
pub(crate) fn reached(netns: &Netns, to: &str) -> String {
    call(netns, to).unwrap().server
}

/// The name of the server that a call with a marked socket reaches.
pub(crate) fn reached_marked(netns: &Netns, to: &str, mark: u32) -> String {
    let answer = call_with(netns, to, |socket| socket.set_mark(mark));
    answer.unwrap().server
}

fn original_destination(stream: &TcpStream) -> SocketAddr {
    let socket = SockRef::from(stream);
    let local = stream.local_addr().unwrap();
    let original = if local.is_ipv4() {
        socket.original_dst_v4()
    } else {
        socket.original_dst_v6()
    };
    // Without a translation there may be no entry of conntrack.
    original
        .ok()
        .and_then(|address| address.as_socket())
        .unwrap_or(local)
}
