//! Both sides of a connection for tests, without a network: a server of ours, and rustls' client.

use std::io::{Cursor, Read as _, Write as _};
use std::sync::Arc;

use lateen_certificates::{Authority, Signed};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, SupportedProtocolVersion};

use super::error::Error;
use super::server::{Clients, Pair, Server, Settings};
use super::session::{Fate, Output, Session};

/// Every version.
pub(super) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// Some moment at which the certificates are valid: 2026.
pub(super) const NOW: i64 = 1_780_000_000;

/// The name that servers have.
pub(super) const NAME: &str = "shop.test";

/// Settings that a test begins with, with a certificate.
pub(super) trait Shown {
    fn pair(&self) -> Pair<'_>;

    /// The usual settings of a server that shows it.
    fn settings(&self) -> Settings<'_>;
}

/// Settings that a test begins with, with an authority.
pub(super) trait Trusted {
    /// Asks clients for a certificate that it signed.
    fn clients(&self) -> Clients<'_>;
}

/// One side: the server.
pub(super) struct Served {
    pub(super) session: Session,
    /// What the client said so far.
    pub(super) plain: Vec<u8>,
    out: Output,
}

/// Our server and the client that talks to it.
pub(super) struct Pipe {
    pub(super) server: Served,
    pub(super) client: ClientConnection,
}

// === impl Authority ===

impl Trusted for Authority {
    fn clients(&self) -> Clients<'_> {
        Clients {
            what: "the authorities",
            authorities: self.pem.as_bytes(),
            revoked: b"",
            is_required: true,
            names: &[],
            key_hashes: &[],
            certificate_hashes: &[],
            lets_all_in: false,
        }
    }
}

// === impl Signed ===

impl Shown for Signed {
    fn pair(&self) -> Pair<'_> {
        Pair {
            what: "the pair",
            chain: self.chain.as_bytes(),
            key: self.key.as_bytes(),
            ocsp: b"",
        }
    }

    fn settings(&self) -> Settings<'_> {
        Settings {
            pairs: vec![self.pair()],
            now: NOW,
            ..Settings::default()
        }
    }
}

// === impl Served ===

impl Served {
    pub(super) fn of(server: &Server) -> Self {
        Self {
            session: server.accept().expect("a session"),
            plain: Vec::new(),
            out: Output::default(),
        }
    }

    /// Takes bytes of the client; answers what is to be sent, after an error too.
    pub(super) fn take(&mut self, bytes: &[u8]) -> (Result<Fate, Error>, Vec<u8>) {
        let mut memory = vec![0; 256 * 1024];
        let start = self.session.begin(&mut memory);
        memory[start..start + bytes.len()].copy_from_slice(bytes);
        self.out.clear();
        let plain = &mut self.plain;
        let incoming = &mut memory[..start + bytes.len()];
        let keep = |piece: &[u8]| plain.extend_from_slice(piece);
        let fate = self.session.receive(incoming, keep, &mut self.out);
        (fate, self.out.bytes().to_vec())
    }

    /// What is to be sent for this message.
    pub(super) fn send(&mut self, message: &[u8]) -> Vec<u8> {
        self.out.clear();
        let pieces = [std::io::IoSlice::new(message)];
        let sent = self.session.send(&pieces, usize::MAX, &mut self.out);
        assert_eq!(sent, Ok(message.len()));
        self.out.bytes().to_vec()
    }

    /// What is to be sent as a farewell.
    pub(super) fn close(&mut self) -> Vec<u8> {
        self.out.clear();
        self.session.close(&mut self.out).expect("a farewell");
        self.out.bytes().to_vec()
    }
}

// === impl Pipe ===

impl Pipe {
    pub(super) fn new(server: &Server, client: ClientConfig) -> Self {
        Self::of(server, &Arc::new(client))
    }

    pub(super) fn of(server: &Server, client: &Arc<ClientConfig>) -> Self {
        let name = NAME.try_into().expect("a name");
        let client = ClientConnection::new(Arc::clone(client), name).expect("a client");
        Self {
            server: Served::of(server),
            client,
        }
    }

    /// The same after the handshake.
    pub(super) fn open(server: &Server, client: ClientConfig) -> Self {
        let mut pipe = Self::new(server, client);
        pipe.shake().expect("a handshake");
        pipe
    }

    /// Exchanges what both have to say, until neither has more.
    pub(super) fn shake(&mut self) -> Result<Fate, Error> {
        loop {
            let said = self.said();
            if said.is_empty() {
                return Ok(Fate::Open);
            }
            let (fate, answer) = self.server.take(&said);
            // What is wrong for the client shows in what it says next.
            let _ = self.hear(&answer);
            if fate? == Fate::Closed {
                return Ok(Fate::Closed);
            }
        }
    }

    /// What the client has to send.
    pub(super) fn said(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut said).expect("written");
        }
        said
    }

    /// What the client sends for this message.
    pub(super) fn say(&mut self, message: &[u8]) -> Vec<u8> {
        let mut said = Vec::new();
        for piece in message.chunks(16 * 1024) {
            self.client.writer().write_all(piece).expect("written");
            said.extend(self.said());
        }
        said
    }

    /// Gives bytes to the client; answers the plaintext in them.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let mut bytes = Cursor::new(bytes);
        let mut heard = Vec::new();
        let length = bytes.get_ref().len() as u64;
        while bytes.position() < length {
            if self.client.read_tls(&mut bytes).expect("read") == 0 {
                break;
            }
            let state = self.client.process_new_packets()?;
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            self.client.reader().read_exact(&mut plain).expect("read");
            heard.extend(plain);
        }
        Ok(heard)
    }
}
