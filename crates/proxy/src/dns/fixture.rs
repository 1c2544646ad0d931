//! A name server for tests: answers as it is told, and counts.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use lateen_wire::dns::query::Transport;
use lateen_wire::dns::{Code, Name, Query};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::LocalSet;

use super::system::{Config, Files};
use super::upstream::Upstream;

/// Runs a test with tasks of its own thread.
pub(super) fn run(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, Box::pin(test()));
}

/// What a server says to a question.
pub(super) enum Say {
    /// The name is another one's, if one is given, with these addresses.
    Addresses(&'static str, &'static [&'static str], u32),
    /// Only a code.
    Code(Code),
    /// That the answer does not fit into a datagram.
    Truncated,
    /// Nothing.
    Silence,
    /// These bytes; over UDP first with another id, then with its own.
    Raw(Vec<u8>),
}

/// A running name server.
pub(super) struct NameServer {
    pub(super) address: SocketAddr,
    /// The questions that came: name, type and way.
    pub(super) seen: Rc<RefCell<Vec<(String, u16, Transport)>>>,
}

/// Decides what to say.
pub(super) type Zone = fn(&str, u16, Transport) -> Say;

impl NameServer {
    /// Starts a server on a free port, for UDP and TCP.
    pub(super) async fn start(zone: Zone) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let (by_udp, by_tcp) = (Rc::clone(&seen), Rc::clone(&seen));
        tokio::task::spawn_local(async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
                for answer in answers(zone, &buffer[..length], Transport::Udp, &by_udp) {
                    udp.send_to(&answer, from).await.unwrap();
                }
            }
        });
        tokio::task::spawn_local(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let length = stream.read_u16().await.unwrap();
                let mut message = vec![0; usize::from(length)];
                stream.read_exact(&mut message).await.unwrap();
                for answer in answers(zone, &message, Transport::Tcp, &by_tcp) {
                    let length = u16::try_from(answer.len()).unwrap();
                    stream.write_u16(length).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            }
        });
        Self { address, seen }
    }

    /// The names that were asked for, in order.
    pub(super) fn names(&self) -> Vec<String> {
        let seen = self.seen.borrow();
        seen.iter().map(|(name, ..)| name.clone()).collect()
    }
}

fn answers(
    zone: Zone,
    message: &[u8],
    transport: Transport,
    seen: &RefCell<Vec<(String, u16, Transport)>>,
) -> Vec<Vec<u8>> {
    let query = Query::read(message, transport).unwrap();
    let name = query.name.as_str().to_owned();
    let said = zone(&name, query.kind, transport);
    seen.borrow_mut().push((name, query.kind, transport));
    match said {
        Say::Addresses(alias, addresses, ttl) => {
            let aliases: Vec<Name> = Name::parse(alias).into_iter().collect();
            let addresses = addresses.iter().map(|text| text.parse::<IpAddr>().unwrap());
            vec![query.addresses(&aliases, addresses, ttl)]
        }
        Say::Code(code) => vec![query.failure(code)],
        Say::Truncated => vec![query.truncated()],
        Say::Silence => Vec::new(),
        Say::Raw(bytes) => {
            let mut own = query.failure(Code::NoError);
            own.extend_from_slice(&bytes);
            let mut foreign = own.clone();
            lateen_wire::dns::set_id(&mut foreign, query.id.wrapping_add(1));
            match transport {
                Transport::Udp => vec![foreign, own],
                Transport::Tcp => vec![own],
            }
        }
    }
}

/// What asks these servers, with these search domains.
pub(super) fn upstream(servers: &[SocketAddr], search: &[&str]) -> Rc<Upstream> {
    let config = Config {
        servers: servers.to_vec(),
        search: search.iter().filter_map(|text| Name::parse(text)).collect(),
        dots: 2,
        timeout: Duration::from_millis(200),
    };
    let files = Files {
        resolv_conf: "/nonexistent".into(),
        hosts: "/nonexistent".into(),
    };
    Rc::new(Upstream::fixed(config, files))
}
