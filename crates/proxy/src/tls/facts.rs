//! What is known of a connection whose TLS has ended: for routes, headers and logs.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use lateen_decide::ServerId;
use lateen_decide::headers::TlsFact;
use lateen_wire::tls::{Certificate, Session, certificate};

use crate::observe::calendar;

/// What is known of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The name that the client asked for, as sent; empty if none.
    pub server_name: Box<[u8]>,
    /// The version, as logs have it.
    pub version: &'static str,
    /// The cipher suite, as logs have it.
    pub cipher: Box<str>,
    /// What the client showed.
    pub peer: Option<Certificate>,
    /// What it was shown.
    pub local: Option<Arc<Certificate>>,
    /// The value of `x-forwarded-client-cert`; empty if the client showed nothing.
    pub forwarded: Box<[u8]>,
    /// Where the certificate itself is in that.
    pem: Range<usize>,
}

/// Names a connection whose TLS ended here, for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secure {
    /// The server whose certificate the client saw.
    pub server: ServerId,
    /// The connection. A number is used again only after all others.
    session: NonZeroU32,
}

/// What is known of the connections of a worker.
#[derive(Debug, Default)]
pub struct Sessions {
    last: Cell<u32>,
    known: RefCell<HashMap<NonZeroU32, Rc<Facts>>>,
}

/// Remembers what is known of a connection until it is dropped.
#[derive(Debug)]
pub struct Known<'s> {
    sessions: &'s Sessions,
    /// By which it is asked for.
    pub secure: Secure,
}

// === impl Facts ===

impl Facts {
    /// What is known after the handshake.
    pub fn of(session: &Session, server_name: &[u8]) -> Self {
        let shown = session.peer_certificates();
        let peer = shown.first().and_then(|der| Certificate::read(der));
        let forwarded = shown.first().zip(peer.as_ref());
        let forwarded = forwarded.map(|(der, peer)| forwarded_certificate(der, peer));
        let (forwarded, pem) = forwarded.unwrap_or_default();
        Self {
            server_name: server_name.into(),
            version: session.version(),
            cipher: session.cipher_suite().into(),
            local: session.local_certificate().cloned(),
            forwarded: forwarded.into_bytes().into(),
            pem,
            peer,
        }
    }

    /// Writes what a variable of a header stands for: nothing if it is not known.
    pub fn write(&self, fact: TlsFact, into: &mut Vec<u8>) {
        let peer = self.peer.as_ref();
        let local = self.local.as_deref();
        let text = match fact {
            TlsFact::Version => self.version,
            TlsFact::Cipher => &self.cipher,
            TlsFact::SessionId => "",
            TlsFact::PeerSubject => peer.map_or("", |peer| &peer.subject),
            TlsFact::PeerIssuer => peer.map_or("", |peer| &peer.issuer),
            TlsFact::PeerSerial => peer.map_or("", |peer| &peer.serial),
            TlsFact::PeerFingerprint => peer.map_or("", |peer| &peer.hash),
            TlsFact::LocalSubject => local.map_or("", |local| &local.subject),
            TlsFact::ServerName => {
                into.extend(self.server_name.iter().map(u8::to_ascii_lowercase));
                return;
            }
            TlsFact::PeerCertificate => {
                into.extend_from_slice(&self.forwarded[self.pem.clone()]);
                return;
            }
            TlsFact::PeerUris => return join(peer.map(|peer| &*peer.uris), into),
            TlsFact::PeerDnsNames => return join(peer.map(|peer| &*peer.dns_names), into),
            TlsFact::LocalUris => return join(local.map(|local| &*local.uris), into),
            TlsFact::LocalDnsNames => return join(local.map(|local| &*local.dns_names), into),
            TlsFact::PeerValidFrom => return moment(peer.map(|peer| peer.not_before), into),
            TlsFact::PeerValidUntil => return moment(peer.map(|peer| peer.not_after), into),
        };
        into.extend_from_slice(text.as_bytes());
    }
}

// === impl Sessions ===

impl Sessions {
    /// Remembers what is known of a connection to a server.
    pub fn enter(&self, server: ServerId, facts: Facts) -> Known<'_> {
        let mut known = self.known.borrow_mut();
        let session = loop {
            self.last.set(self.last.get().wrapping_add(1));
            let fresh = NonZeroU32::new(self.last.get());
            if let Some(fresh) = fresh.filter(|fresh| !known.contains_key(fresh)) {
                break fresh;
            }
        };
        known.insert(session, Rc::new(facts));
        Known {
            sessions: self,
            secure: Secure { server, session },
        }
    }

    /// What is known of a connection; nothing if it is gone.
    pub fn get(&self, secure: Secure) -> Option<Rc<Facts>> {
        self.known.borrow().get(&secure.session).cloned()
    }
}

// === impl Known ===

impl Drop for Known<'_> {
    fn drop(&mut self) {
        self.sessions
            .known
            .borrow_mut()
            .remove(&self.secure.session);
    }
}

/// The value of `x-forwarded-client-cert` as Envoy writes it at the edge: hash, certificate,
/// subject, URIs, names of hosts. The certificate itself is PEM, and is at the range.
fn forwarded_certificate(der: &[u8], peer: &Certificate) -> (String, Range<usize>) {
    let mut value = format!("Hash={};Cert=\"", peer.hash);
    let start = value.len();
    let text = certificate::base64(der);
    let mut lines = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        lines.push_str(&String::from_utf8_lossy(line));
        lines.push('\n');
    }
    lines.push_str("-----END CERTIFICATE-----\n");
    for byte in lines.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                value.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            other => drop(write!(value, "%{other:02X}")),
        }
    }
    let pem = start..value.len();
    value.push('"');
    let subject = peer.subject.replace('\\', "\\\\").replace('"', "\\\"");
    let _ = write!(value, ";Subject=\"{subject}\"");
    for uri in &peer.uris {
        let _ = write!(value, ";URI={}", quoted(uri));
    }
    for name in &peer.dns_names {
        let _ = write!(value, ";DNS={}", quoted(name));
    }
    (value, pem)
}

/// Writes names between commas.
fn join(names: Option<&[String]>, into: &mut Vec<u8>) {
    for (index, name) in names.unwrap_or_default().iter().enumerate() {
        if index > 0 {
            into.push(b',');
        }
        into.extend_from_slice(name.as_bytes());
    }
}

fn moment(seconds: Option<i64>, into: &mut Vec<u8>) {
    if let Some(seconds) = seconds {
        calendar::write_iso_seconds(into, seconds);
    }
}

/// A value whose separators would be read as the field's own is put between quotation marks.
fn quoted(text: &str) -> String {
    if text.contains([',', ';', '=', '"']) {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        text.to_owned()
    }
}
