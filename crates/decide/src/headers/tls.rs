//! Variables that tell of a client's connection of TLS.
//!
//! Names and meanings are Envoy's. On a connection without TLS, and where the client showed no
//! certificate, they stand for nothing.

/// What is told of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFact {
    /// The version: `TLSv1.3`.
    Version,
    /// The cipher suite, by OpenSSL's name.
    Cipher,
    /// The id of the session. There is none: sessions are resumed by tickets, for which Envoy has
    /// no id either.
    SessionId,
    /// The name that the client asked for, in lower case.
    ServerName,
    /// The URIs of the client's certificate, between commas.
    PeerUris,
    /// Its names of hosts, between commas.
    PeerDnsNames,
    /// Whose it is, as RFC 2253 writes names.
    PeerSubject,
    /// Who signed it, the same.
    PeerIssuer,
    /// Its number, in hexadecimal.
    PeerSerial,
    /// SHA-256 of it, in hexadecimal.
    PeerFingerprint,
    /// All of it, as PEM in the coding of URLs.
    PeerCertificate,
    /// When it begins to be valid, in RFC 3339 with milliseconds.
    PeerValidFrom,
    /// When it ends, the same.
    PeerValidUntil,
    /// The URIs of the certificate that the client was shown, between commas.
    LocalUris,
    /// Its names of hosts, between commas.
    LocalDnsNames,
    /// Whose it is.
    LocalSubject,
}

/// By which names they are asked for.
const NAMES: [(&str, TlsFact); 16] = [
    ("DOWNSTREAM_TLS_VERSION", TlsFact::Version),
    ("DOWNSTREAM_TLS_CIPHER", TlsFact::Cipher),
    ("DOWNSTREAM_TLS_SESSION_ID", TlsFact::SessionId),
    ("REQUESTED_SERVER_NAME", TlsFact::ServerName),
    ("DOWNSTREAM_PEER_URI_SAN", TlsFact::PeerUris),
    ("DOWNSTREAM_PEER_DNS_SAN", TlsFact::PeerDnsNames),
    ("DOWNSTREAM_PEER_SUBJECT", TlsFact::PeerSubject),
    ("DOWNSTREAM_PEER_ISSUER", TlsFact::PeerIssuer),
    ("DOWNSTREAM_PEER_SERIAL", TlsFact::PeerSerial),
    ("DOWNSTREAM_PEER_FINGERPRINT_256", TlsFact::PeerFingerprint),
    ("DOWNSTREAM_PEER_CERT", TlsFact::PeerCertificate),
    ("DOWNSTREAM_PEER_CERT_V_START", TlsFact::PeerValidFrom),
    ("DOWNSTREAM_PEER_CERT_V_END", TlsFact::PeerValidUntil),
    ("DOWNSTREAM_LOCAL_URI_SAN", TlsFact::LocalUris),
    ("DOWNSTREAM_LOCAL_DNS_SAN", TlsFact::LocalDnsNames),
    ("DOWNSTREAM_LOCAL_SUBJECT", TlsFact::LocalSubject),
];

// === impl TlsFact ===

impl TlsFact {
    /// What a name asks for; nothing if it is no name of these.
    pub fn of_name(name: &str) -> Option<Self> {
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, fact)| *fact)
    }

    /// By which name it is asked for.
    pub fn name(self) -> &'static str {
        let found = NAMES.iter().find(|(_, fact)| *fact == self);
        found.map_or("", |(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_asks_for_has_that_name() {
        for (name, fact) in NAMES {
            assert_eq!(TlsFact::of_name(name), Some(fact));
            assert_eq!(fact.name(), name);
        }
        assert_eq!(TlsFact::of_name("DOWNSTREAM_PEER"), None);
    }
}
