//! Answers the DNS questions of the application (15053, UDP and TCP), as Istio's agent does.
//!
//! What the mesh knows is answered from the plan; everything else goes to the servers of
//! `resolv.conf` as it came, but for its id, and comes back as it is. It listens on the loopback
//! addresses alone, and no answer is longer than the client says that it takes, so nobody else can
//! have it send anything anywhere.
//!
//! What is under way is bounded: a client above the bound is told SERVFAIL at once, which its
//! resolver tries again.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lateen_decide::Named;
use lateen_wire::dns::query::{Refusal, Transport};
use lateen_wire::dns::{A, AAAA, Code, INTERNET, Name, Query};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::upstream::Upstream;
use crate::random::Random;
use crate::sys;

/// For how many seconds our own answers hold, as Istio's.
const TTL: u32 = 30;

/// The longest question that is read.
const MOST_QUESTION: usize = 4096;

/// How many questions may be on their way to other servers.
const MOST_FORWARDED: usize = 512;

/// How many clients may be connected.
const MOST_CLIENTS: usize = 128;

/// How long a client may keep a connection without a question (RFC 7766, 6.2.3).
const IDLE: Duration = Duration::from_secs(10);

/// How long others may take altogether; clients give up after five seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long receiving rests when it fails.
const REST: Duration = Duration::from_millis(100);

/// Says what a name of the mesh stands for.
pub type Names = Box<dyn Fn(&str) -> Option<Named>>;

/// Answers questions.
pub struct Server {
    names: Names,
    upstream: Rc<Upstream>,
    /// The first search domain: programs seek every name in it first.
    search: Option<Name>,
    random: Random,
    forwarded: Arc<Semaphore>,
    clients: Arc<Semaphore>,
    requests: Cell<u64>,
}

/// The sockets of one address.
#[derive(Debug)]
pub struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
}

/// What becomes of a message.
enum Course {
    /// This is sent back.
    Answer(Vec<u8>),
    /// Others are asked.
    Forward(Query),
    /// Nothing.
    Drop,
}

// === impl Sockets ===

impl Sockets {
    /// Opens a port on the loopback addresses of both families, as far as there are such.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn bind(port: u16) -> io::Result<Vec<Self>> {
        let v4 = Self::bind_to((Ipv4Addr::LOCALHOST, port).into())?;
        // The same number in both, also where it was the system that chose it.
        let port = v4.address()?.port();
        let v6 = Self::bind_to((Ipv6Addr::LOCALHOST, port).into());
        let v6 = v6.inspect_err(|error| tracing::debug!(%error, "no DNS over IPv6"));
        Ok([Some(v4), v6.ok()].into_iter().flatten().collect())
    }

    fn bind_to(address: SocketAddr) -> io::Result<Self> {
        let tcp = TcpListener::from_std(sys::listen(address)?)?;
        let udp = std::net::UdpSocket::bind(tcp.local_addr()?)?;
        udp.set_nonblocking(true)?;
        Ok(Self {
            udp: UdpSocket::from_std(udp)?,
            tcp,
        })
    }

    /// Where they listen.
    ///
    /// # Errors
    /// Never while the sockets are open.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }
}

// === impl Server ===

impl Server {
    /// A server that knows these names and asks these servers for others.
    pub fn new(names: Names, upstream: Rc<Upstream>) -> Rc<Self> {
        Rc::new(Self {
            names,
            search: upstream.config().search.into_iter().next(),
            upstream,
            random: Random::from_system(),
            forwarded: Arc::new(Semaphore::new(MOST_FORWARDED)),
            clients: Arc::new(Semaphore::new(MOST_CLIENTS)),
            requests: Cell::new(0),
        })
    }

    /// Serves for ever.
    pub fn serve(self: &Rc<Self>, all: Vec<Sockets>) {
        for Sockets { udp, tcp } in all {
            tokio::task::spawn_local(Rc::clone(self).serve_datagrams(Rc::new(udp)));
            tokio::task::spawn_local(Rc::clone(self).serve_streams(tcp));
        }
    }

    /// Its counters, with the names of Istio's agent, in Prometheus' text format.
    pub fn metrics(&self) -> String {
        let counters = [
            (
                "requests",
                "Total number of DNS requests.",
                self.requests.get(),
            ),
            (
                "upstream_requests",
                "Total number of DNS requests forwarded to upstream.",
                self.upstream.asked(),
            ),
            (
                "upstream_failures",
                "Total number of DNS failures from upstream.",
                self.upstream.failed(),
            ),
        ];
        let lines = counters.map(|(name, help, value)| {
            let name = format!("istio_agent_dns_{name}_total");
            format!("# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}\n")
        });
        lines.concat()
    }

    async fn serve_datagrams(self: Rc<Self>, socket: Rc<UdpSocket>) {
        let mut buffer = vec![0; MOST_QUESTION + 1];
        loop {
            let (length, from) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, "cannot receive DNS questions");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            };
            let message = &buffer[..length];
            match self.course(message, Transport::Udp, from) {
                Course::Drop => {}
                Course::Answer(answer) => send(&socket, &answer, from),
                Course::Forward(query) => {
                    let Ok(permit) = Arc::clone(&self.forwarded).try_acquire_owned() else {
                        send(&socket, &query.failure(Code::ServFail), from);
                        continue;
                    };
                    let forwarded = Rc::clone(&self).relay(
                        message.to_vec(),
                        query,
                        permit,
                        (Rc::clone(&socket), from),
                    );
                    tokio::task::spawn_local(forwarded);
                }
            }
        }
    }

    async fn relay(
        self: Rc<Self>,
        message: Vec<u8>,
        query: Query,
        permit: OwnedSemaphorePermit,
        (socket, to): (Rc<UdpSocket>, SocketAddr),
    ) {
        let answer = self.forward(&message, &query, Transport::Udp).await;
        if answer.len() > query.limit() {
            send(&socket, &query.truncated(), to);
        } else {
            send(&socket, &answer, to);
        }
        drop(permit);
    }

    async fn serve_streams(self: Rc<Self>, listener: TcpListener) {
        loop {
            let Ok(permit) = Arc::clone(&self.clients).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, from)) => {
                    let server = Rc::clone(&self);
                    tokio::task::spawn_local(async move {
                        // What goes wrong with one client is its own affair.
                        let _ = server.converse(stream, from).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections for DNS");
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }

    /// Answers the questions of one connection in order.
    async fn converse(&self, mut stream: TcpStream, from: SocketAddr) -> io::Result<()> {
        loop {
            let Ok(length) = timeout(IDLE, stream.read_u16()).await else {
                return Ok(());
            };
            let length = usize::from(length?);
            if length > MOST_QUESTION {
                return Ok(());
            }
            let mut message = vec![0; length];
            timeout(IDLE, stream.read_exact(&mut message)).await??;
            let mut answer = match self.course(&message, Transport::Tcp, from) {
                Course::Drop => return Ok(()),
                Course::Answer(answer) => answer,
                Course::Forward(query) => self.forward(&message, &query, Transport::Tcp).await,
            };
            let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
            answer.splice(..0, length.to_be_bytes());
            timeout(IDLE, stream.write_all(&answer)).await??;
        }
    }

    fn course(&self, message: &[u8], transport: Transport, from: SocketAddr) -> Course {
        self.requests.set(self.requests.get() + 1);
        if message.len() > MOST_QUESTION {
            return Course::Drop;
        }
        let query = match Query::read(message, transport) {
            Ok(query) => query,
            Err(Refusal::Answered(answer)) => return Course::Answer(answer),
            Err(Refusal::Ignored(why)) => {
                tracing::debug!(%from, %why, "not a DNS question");
                return Course::Drop;
            }
        };
        if let Some(answer) = self.answer(&query) {
            return Course::Answer(answer);
        }
        if transport == Transport::Udp && self.upstream.is_own(from) {
            tracing::warn!(
                name = %query.name,
                "a DNS question of this proxy came back to it: the capture exempts neither its \
                 mark nor its user"
            );
            return Course::Answer(query.failure(Code::Refused));
        }
        Course::Forward(query)
    }

    /// The answer to a question about the mesh; nothing if others are to be asked. A name that is
    /// known has no other addresses than ours, whatever the world says about the other family.
    fn answer(&self, query: &Query) -> Option<Vec<u8>> {
        let is_wanted: fn(&IpAddr) -> bool = match (query.class, query.kind) {
            (INTERNET, A) => IpAddr::is_ipv4,
            (INTERNET, AAAA) => IpAddr::is_ipv6,
            _ => return None,
        };
        let (mut aliases, named) = self.find(&query.name)?;
        aliases.extend(named.alias.and_then(|alias| Name::parse(alias.as_str())));
        let mut addresses = named.addresses;
        addresses.retain(is_wanted);
        if !addresses.is_empty() {
            // Clients take the first: each is to be first equally often.
            let count = u64::try_from(addresses.len()).unwrap_or(1);
            let first = usize::try_from(self.random.next() % count).unwrap_or(0);
            addresses.rotate_left(first);
        }
        Some(query.addresses(&aliases, addresses, TTL))
    }

    /// Finds a name as it is, or as a program asks for it first: in the first search domain, where
    /// the answer says what it is really called, so that the other domains need not be tried.
    fn find(&self, name: &Name) -> Option<(Vec<Name>, Named)> {
        if let Some(named) = (self.names)(name.as_str()) {
            return Some((Vec::new(), named));
        }
        let domain = self.search.as_ref()?.as_str();
        let short = name.as_str().strip_suffix(domain)?.strip_suffix('.')?;
        let named = (self.names)(short)?;
        Some((vec![Name::parse(short)?], named))
    }

    /// Asks the servers of the system; what they do not answer fails.
    async fn forward(&self, message: &[u8], query: &Query, transport: Transport) -> Vec<u8> {
        let config = self.upstream.config();
        let asked = timeout(PATIENCE, self.upstream.ask(message, transport, &config));
        let why = match asked.await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {PATIENCE:?}"),
        };
        tracing::debug!(name = %query.name, %why, "a DNS question has no answer");
        query.failure(Code::ServFail)
    }
}

/// Sends an answer; one for which the socket has no room is lost, as datagrams are.
fn send(socket: &UdpSocket, answer: &[u8], to: SocketAddr) {
    if let Err(error) = socket.try_send_to(answer, to) {
        tracing::debug!(%to, %error, "cannot send a DNS answer");
    }
}

#[cfg(test)]
mod tests;
