//! A connection of TLS as a state machine: bytes in, plaintext and bytes out.
//!
//! What came is read into memory of the caller, after what an earlier read left unfinished
//! ([`Session::begin`]), and is decrypted there ([`Session::receive`]). A session itself holds only
//! the start of a record whose end has not come: nothing, as long as its connection is idle.

use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};
use rustls::{ProtocolVersion, ServerConfig};

use super::certificate::Certificate;
use super::error::Error;
use super::server::Choice;
use super::suites;

/// The longest record with its head, of any version.
pub const MAX_RECORD: usize = 5 + 16 * 1024 + 2048;

/// How much of a message goes into a record.
const MAX_PLAINTEXT: usize = 16 * 1024;

/// What a record is longer than its plaintext: head, nonce, type and tag; rounded up.
const OVERHEAD: usize = 64;

/// How many bytes a client's part of a handshake may have: certificates are within it.
const MAX_HANDSHAKE: usize = 64 * 1024;

/// A session.
pub struct Session {
    connection: UnbufferedServerConnection,
    /// What came of something that is not complete.
    rest: Vec<u8>,
    /// How many bytes of the handshake came.
    handshake: usize,
    has_peer_closed: bool,
    has_closed: bool,
    /// Why it is of no more use. rustls is not asked for anything after an error but for what it
    /// has to say about it.
    failed: Option<Error>,
    local: Local,
}

/// The certificate that the client is shown.
#[derive(Debug)]
pub(super) enum Local {
    /// There is but one.
    Only(Arc<Certificate>),
    /// It is chosen by what the client can check.
    Chosen(Arc<Choice>),
}

/// Whether anything more will come from the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It may.
    Open,
    /// The peer said that nothing will.
    Closed,
}

/// Bytes that are to be sent.
#[derive(Debug, Default)]
pub struct Output {
    storage: Vec<u8>,
    filled: usize,
    /// Several small pieces of a message, to be one record.
    joined: Vec<u8>,
}

// === impl Session ===

impl Session {
    pub(super) fn new(config: Arc<ServerConfig>, local: Local) -> Result<Self, Error> {
        Ok(Self {
            connection: UnbufferedServerConnection::new(config)?,
            rest: Vec::new(),
            handshake: 0,
            has_peer_closed: false,
            has_closed: false,
            failed: None,
            local,
        })
    }

    /// Answers whether plaintext cannot be sent yet.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Puts what is left of earlier bytes to the front of `memory` and answers how many they are.
    /// The next bytes belong behind them.
    pub fn begin(&self, memory: &mut [u8]) -> usize {
        let count = self.rest.len().min(memory.len());
        memory[..count].copy_from_slice(&self.rest[..count]);
        count
    }

    /// Takes everything that was left and came since, which `incoming` is. Each piece of plaintext
    /// goes to `plaintext`, and what is to be sent is added to `out`, after an error too.
    ///
    /// # Errors
    /// When the peer broke a rule or is not let in: the connection is to be closed once `out` is
    /// sent, which says so.
    pub fn receive(
        &mut self,
        incoming: &mut [u8],
        mut plaintext: impl FnMut(&[u8]),
        out: &mut Output,
    ) -> Result<Fate, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let fresh = incoming.len().saturating_sub(self.rest.len());
        if self.is_handshaking() {
            self.handshake += fresh;
            if self.handshake > MAX_HANDSHAKE {
                return Err(self.fail(Error::LongHandshake(MAX_HANDSHAKE)));
            }
        }
        let mut used = 0;
        if let Err(error) = self.process(incoming, &mut used, &mut plaintext, out) {
            self.say_why(out);
            return Err(self.fail(error));
        }
        self.rest.clear();
        match incoming.get(used..) {
            Some(left) if !left.is_empty() && !self.has_peer_closed => {
                self.rest.extend_from_slice(left);
            }
            // Storage for a record is not held by whoever has none, nor what comes after the end.
            Some(_) | None => self.rest = Vec::new(),
        }
        if self.has_peer_closed {
            Ok(Fate::Closed)
        } else {
            Ok(Fate::Open)
        }
    }

    fn process(
        &mut self,
        incoming: &mut [u8],
        used: &mut usize,
        plaintext: &mut impl FnMut(&[u8]),
        out: &mut Output,
    ) -> Result<(), Error> {
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut incoming[*used..]);
            let is_done = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        plaintext(record.payload);
                    }
                    false
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    out.grow(|room| match data.encode(room) {
                        Err(EncodeError::InsufficientSize(size)) => Err(size),
                        Ok(count) => Ok(count),
                        Err(EncodeError::AlreadyEncoded) => Ok(0),
                    });
                    false
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done(); // It is in `out`, which the caller sends.
                    false
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.has_peer_closed = true;
                    false
                }
                // It waits for the peer, or may send, or is closed. Early data is not offered, and
                // no other state is known.
                Ok(_) => true,
                Err(error) => {
                    *used += discard;
                    return Err(error.into());
                }
            };
            *used += discard;
            if is_done {
                return Ok(());
            }
        }
    }

    /// Adds the alert that tells the peer why its connection ends, and what was to be sent before.
    fn say_why(&mut self, out: &mut Output) {
        // Only as long as there is something to send: otherwise rustls would look at bytes that
        // came, which are not at hand here, and panic where it has seen half a message of them.
        while self.connection.wants_write() {
            match self.connection.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    out.grow(|room| match data.encode(room) {
                        Err(EncodeError::InsufficientSize(size)) => Err(size),
                        Ok(count) => Ok(count),
                        Err(EncodeError::AlreadyEncoded) => Ok(0),
                    });
                }
                Ok(_) | Err(_) => return,
            }
        }
    }

    fn fail(&mut self, error: Error) -> Error {
        self.rest = Vec::new();
        self.failed = Some(error.clone());
        error
    }

    /// Encrypts the start of a message that is in `pieces`, `most` bytes of it at most, and answers
    /// how many bytes that is. Small pieces share a record.
    ///
    /// # Errors
    /// When nothing can be sent: the handshake is not done, or the session is closed.
    pub fn send(
        &mut self,
        pieces: &[IoSlice<'_>],
        most: usize,
        out: &mut Output,
    ) -> Result<usize, Error> {
        if self.has_closed {
            return Err(Error::Peer("the session was closed by this side".into()));
        }
        let mut joined = std::mem::take(&mut out.joined);
        let sent = self.traffic(|traffic| {
            let mut sent = 0;
            let mut pieces = pieces.iter().filter(|piece| !piece.is_empty()).peekable();
            while let Some(piece) = pieces.next() {
                let left = most - sent;
                let piece = &piece[..piece.len().min(left)];
                let fits =
                    |next: &&IoSlice<'_>| piece.len() + next.len() <= MAX_PLAINTEXT.min(left);
                if pieces.peek().is_some_and(fits) {
                    joined.clear();
                    joined.extend_from_slice(piece);
                    while let Some(next) =
                        pieces.next_if(|next| joined.len() + next.len() <= MAX_PLAINTEXT.min(left))
                    {
                        joined.extend_from_slice(next);
                    }
                    encrypt(traffic, &joined, out)?;
                    sent += joined.len();
                } else {
                    encrypt(traffic, piece, out)?;
                    sent += piece.len();
                }
                if sent == most {
                    break;
                }
            }
            Ok(sent)
        });
        out.joined = joined;
        sent
    }

    /// Says that nothing more will be sent, once.
    ///
    /// # Errors
    /// When nothing can be sent any more.
    pub fn close(&mut self, out: &mut Output) -> Result<(), Error> {
        if self.has_closed || self.is_handshaking() {
            return Ok(());
        }
        self.has_closed = true;
        self.traffic(|traffic| {
            out.grow(|room| match traffic.queue_close_notify(room) {
                Err(EncryptError::InsufficientSize(size)) => Err(size),
                Ok(count) => Ok(count),
                Err(EncryptError::EncryptExhausted) => Ok(0),
            });
            Ok(())
        })
    }

    /// Calls `send` while plaintext may be sent.
    fn traffic<T>(
        &mut self,
        send: impl FnOnce(
            &mut WriteTraffic<'_, rustls::server::ServerConnectionData>,
        ) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        loop {
            // Everything complete was processed when it came, so that this only looks.
            let status = self.connection.process_tls_records(&mut self.rest);
            match status.state? {
                ConnectionState::WriteTraffic(mut traffic) => return send(&mut traffic),
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.has_peer_closed = true,
                _ => return Err(Error::Peer("the session cannot send now".into())),
            }
        }
    }

    // --- what was agreed ---

    /// The protocol that was agreed by ALPN; nothing if none was.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// The version as logs have it; empty before the handshake.
    pub fn version(&self) -> &'static str {
        match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(_) | None => "",
        }
    }

    /// The cipher suite as logs have it; empty before the handshake.
    pub fn cipher_suite(&self) -> String {
        let suite = self.connection.negotiated_cipher_suite();
        suite.map(suites::name).unwrap_or_default()
    }

    /// The certificate that the client was shown; nothing before it is chosen.
    pub fn local_certificate(&self) -> Option<&Arc<Certificate>> {
        match &self.local {
            Local::Only(certificate) => Some(certificate),
            Local::Chosen(choice) => choice.certificate(),
        }
    }

    /// The client's certificates in DER, its own first; empty if it showed none.
    pub fn peer_certificates(&self) -> Vec<&[u8]> {
        let shown: &[CertificateDer<'_>] = self.connection.peer_certificates().unwrap_or_default();
        shown.iter().map(|one| &**one).collect()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("is_handshaking", &self.is_handshaking())
            .field("rest", &self.rest.len())
            .finish_non_exhaustive()
    }
}

// === impl Output ===

impl Output {
    /// What is to be sent.
    pub fn bytes(&self) -> &[u8] {
        &self.storage[..self.filled]
    }

    /// Forgets everything but the memory.
    pub fn clear(&mut self) {
        self.filled = 0;
    }

    /// Has `write` write to the room behind, which is made as large as it says it needs.
    fn grow(&mut self, mut write: impl FnMut(&mut [u8]) -> Result<usize, InsufficientSizeError>) {
        loop {
            match write(&mut self.storage[self.filled..]) {
                Ok(count) => {
                    self.filled += count;
                    return;
                }
                Err(size) => self.reserve(size.required_size),
            }
        }
    }

    fn reserve(&mut self, room: usize) {
        let needed = self.filled + room;
        if self.storage.len() < needed {
            self.storage.resize(needed, 0);
        }
    }
}

fn encrypt(
    traffic: &mut WriteTraffic<'_, rustls::server::ServerConnectionData>,
    plaintext: &[u8],
    out: &mut Output,
) -> Result<(), Error> {
    out.reserve(plaintext.len() + plaintext.len().div_ceil(MAX_PLAINTEXT) * OVERHEAD);
    let mut is_exhausted = false;
    out.grow(|room| match traffic.encrypt(plaintext, room) {
        Ok(count) => Ok(count),
        Err(EncryptError::InsufficientSize(size)) => Err(size),
        Err(EncryptError::EncryptExhausted) => {
            is_exhausted = true;
            Ok(0)
        }
    });
    if is_exhausted {
        return Err(Error::Peer("the keys of the session are used up".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
