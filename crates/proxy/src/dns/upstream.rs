//! Asks the name servers of the system, as their configuration says.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use lateen_wire::dns::query::Transport;
use lateen_wire::dns::{self, Code};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::system::{Config, Files};
use crate::random::Random;
use crate::sys::{self, Mark};

/// How long one server may take: clients themselves give up after five seconds, and the next
/// server is to have a chance before.
const MOST_PATIENCE: Duration = Duration::from_secs(2);

/// The longest answer in a datagram that is taken.
const MOST_DATAGRAM: usize = 4096;

/// How many datagrams that are no answer are passed over per question: somebody guesses.
const MOST_STRAYS: usize = 64;

/// The name servers.
#[derive(Debug)]
pub struct Upstream {
    files: Files,
    /// In place of what the files say: the test seam, as files cannot name a port.
    fixed: Option<Config>,
    random: Random,
    /// The ports from which questions are under way.
    ports: RefCell<HashSet<u16>>,
    asked: Cell<u64>,
    failed: Cell<u64>,
}

/// A port that a question has been sent from, as long as it is under way.
struct Port<'u> {
    upstream: &'u Upstream,
    number: u16,
}

// === impl Upstream ===

impl Upstream {
    /// The servers that these files name.
    pub fn new(files: Files) -> Self {
        Self {
            files,
            fixed: None,
            random: Random::from_system(),
            ports: RefCell::default(),
            asked: Cell::new(0),
            failed: Cell::new(0),
        }
    }

    /// Where the system's files are.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// How the system wants names looked up. Read anew each time, as a file of two lines costs
    /// less than a question, and may be changed.
    pub fn config(&self) -> Config {
        self.fixed.clone().unwrap_or_else(|| self.files.config())
    }

    /// Servers at any port.
    #[cfg(test)]
    pub(super) fn fixed(config: Config, files: Files) -> Self {
        Self {
            fixed: Some(config),
            ..Self::new(files)
        }
    }

    /// How many questions were sent on.
    pub fn asked(&self) -> u64 {
        self.asked.get()
    }

    /// How many of them had no answer.
    pub fn failed(&self) -> u64 {
        self.failed.get()
    }

    /// Answers whether a datagram from this port of this machine is a question of our own, which
    /// the capture led back to us.
    pub fn is_own(&self, from: SocketAddr) -> bool {
        self.ports.borrow().contains(&from.port())
    }

    /// A random id.
    pub fn id(&self) -> u16 {
        let [low, high, ..] = self.random.next().to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    /// Sends a question to the servers in turn and returns the first useful answer, with the id of
    /// the question. On the way it has another id, and a port, that nobody can guess.
    ///
    /// # Errors
    /// When no server gave any answer.
    pub async fn ask(
        &self,
        query: &[u8],
        transport: Transport,
        config: &Config,
    ) -> io::Result<Vec<u8>> {
        self.asked.set(self.asked.get() + 1);
        let answer = self.ask_all(query, transport, config).await;
        if answer.is_err() {
            self.failed.set(self.failed.get() + 1);
        }
        answer
    }

    async fn ask_all(
        &self,
        query: &[u8],
        transport: Transport,
        config: &Config,
    ) -> io::Result<Vec<u8>> {
        let patience = config.timeout.min(MOST_PATIENCE);
        let mut best = Err(io::Error::new(
            io::ErrorKind::NotFound,
            "there is no name server",
        ));
        for server in &config.servers {
            let asked = async {
                match transport {
                    Transport::Udp => self.by_datagram(*server, query).await,
                    Transport::Tcp => self.by_stream(*server, query).await,
                }
            };
            let answer = timeout(patience, asked).await.unwrap_or_else(|_| {
                let why = format!("{server} did not answer within {patience:?}");
                Err(io::Error::new(io::ErrorKind::TimedOut, why))
            });
            match answer {
                Ok(answer) if is_final(&answer) => return Ok(answer),
                // Another server may know better; if none does, this is the answer.
                Ok(answer) if best.is_err() => best = Ok(answer),
                Err(error) if best.is_err() => best = Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        best
    }

    async fn by_datagram(&self, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let any = match server {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        sys::set_mark(&socket, Mark::Outbound);
        // Only the server's own datagrams are received from now on.
        socket.connect(server).await?;
        let port = socket.local_addr()?.port();
        self.ports.borrow_mut().insert(port);
        let _port = Port {
            upstream: self,
            number: port,
        };
        let (id, sent) = self.disguise(query);
        socket.send(&sent).await?;
        let mut answer = vec![0; MOST_DATAGRAM];
        for _ in 0..MOST_STRAYS {
            let length = socket.recv(&mut answer).await?;
            if dns::is_answer(&answer[..length], id, query) {
                answer.truncate(length);
                restore_id(&mut answer, query);
                return Ok(answer);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{server} sends answers to other questions"),
        ))
    }

    async fn by_stream(&self, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let socket = sys::connecting_socket(server, Mark::Outbound)?;
        let mut stream: TcpStream = socket.connect(server).await?;
        let (id, mut sent) = self.disguise(query);
        let length = u16::try_from(sent.len()).map_err(io::Error::other)?;
        sent.splice(..0, length.to_be_bytes());
        stream.write_all(&sent).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        if dns::is_answer(&answer, id, query) {
            restore_id(&mut answer, query);
            return Ok(answer);
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{server} answered another question"),
        ))
    }

    /// The question under a random id.
    fn disguise(&self, query: &[u8]) -> (u16, Vec<u8>) {
        let id = self.id();
        let mut sent = query.to_vec();
        dns::set_id(&mut sent, id);
        (id, sent)
    }
}

// === impl Port ===

impl Drop for Port<'_> {
    fn drop(&mut self) {
        self.upstream.ports.borrow_mut().remove(&self.number);
    }
}

/// Answers whether asking another server is of no use.
fn is_final(answer: &[u8]) -> bool {
    !matches!(
        dns::code(answer),
        None | Some(Code::ServFail | Code::Refused | Code::NotImp)
    )
}

fn restore_id(answer: &mut [u8], query: &[u8]) {
    if let [high, low, ..] = *query {
        dns::set_id(answer, u16::from_be_bytes([high, low]));
    }
}
