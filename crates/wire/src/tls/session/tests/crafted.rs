//! Records that no client makes by itself, under the keys of a connection.

use rustls::crypto::cipher::{AeadKey, MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::{
    ConnectionTrafficSecrets, ContentType, ProtocolVersion, SupportedCipherSuite,
    SupportedProtocolVersion,
};

use super::super::super::fixture::{Pipe, Served};
use super::{ALERT, Fate, VERSIONS, records, server};
use crate::tls::Error;

/// The client of an open connection, as far as its keys.
struct Forger {
    encrypter: Box<dyn MessageEncrypter>,
    number: u64,
}

// === impl Forger ===

impl Forger {
    /// An open connection whose client is replaced.
    fn open(version: &'static SupportedProtocolVersion) -> (Served, Self) {
        let (authority, server) = server();
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        // The nonces of its suites are the same in every version.
        let is_simple = |suite: &SupportedCipherSuite| {
            let name = format!("{:?}", suite.suite());
            name.contains("CHACHA20")
        };
        provider.cipher_suites.retain(is_simple);
        let mut config = authority.client_of(provider, None, &[version]);
        config.enable_secret_extraction = true;
        let pipe = Pipe::open(&server, config);
        let suite = pipe.client.negotiated_cipher_suite().expect("a suite");
        let secrets = pipe.client.dangerous_extract_secrets().expect("secrets");
        let (number, ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = secrets.tx else {
            panic!("another suite than the one that was offered");
        };
        let key_again: [u8; 32] = key.as_ref().try_into().expect("32 bytes");
        let key = AeadKey::from(key_again);
        let encrypter = match suite {
            SupportedCipherSuite::Tls12(suite) => suite.aead_alg.encrypter(key, iv.as_ref(), &[]),
            SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key, iv),
        };
        (pipe.server, Self { encrypter, number })
    }

    fn record(&mut self, kind: ContentType, content: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ: kind,
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(content),
        };
        let record = self.encrypter.encrypt(message, self.number);
        self.number += 1;
        record.expect("encrypted").encode()
    }
}

/// The message with which a handshake begins.
fn hello() -> Vec<u8> {
    let (authority, server) = server();
    let said = Pipe::new(&server, authority.client(None, &VERSIONS)).said();
    said[5..].to_vec()
}

#[test]
fn what_is_crafted_is_what_a_client_would_send() {
    for version in VERSIONS {
        let (mut served, mut forger) = Forger::open(version);
        let record = forger.record(ContentType::ApplicationData, b"as usual");
        assert_eq!(served.take(&record).0, Ok(Fate::Open));
        assert_eq!(served.plain, b"as usual");
    }
}

#[test]
fn a_second_handshake_is_declined_once_and_then_ends_the_connection() {
    let (mut served, mut forger) = Forger::open(VERSIONS[0]);
    let hello = hello();
    let record = forger.record(ContentType::Handshake, &hello);
    let (fate, answer) = served.take(&record);
    assert_eq!(fate, Ok(Fate::Open));
    assert_eq!(records(&answer), [ALERT]);
    let record = forger.record(ContentType::ApplicationData, b"as before");
    served.take(&record).0.expect("well said");
    assert_eq!(served.plain, b"as before");
    let record = forger.record(ContentType::Handshake, &hello);
    let (fate, _) = served.take(&record);
    assert!(matches!(fate, Err(Error::Peer(_))), "{fate:?}");
}

#[test]
fn tls_1_3_knows_no_second_handshake() {
    let (mut served, mut forger) = Forger::open(VERSIONS[1]);
    let record = forger.record(ContentType::Handshake, &hello());
    let (fate, answer) = served.take(&record);
    assert!(matches!(fate, Err(Error::Peer(_))), "{fate:?}");
    assert_eq!(records(&answer).len(), 1, "the alert, which is encrypted");
}

#[test]
fn half_a_message_and_then_data_ends_the_connection() {
    for version in VERSIONS {
        let (mut served, mut forger) = Forger::open(version);
        let half = forger.record(ContentType::Handshake, &hello()[..20]);
        let (fate, answer) = served.take(&half);
        assert_eq!((fate, answer), (Ok(Fate::Open), vec![]));
        // This side goes on sending meanwhile.
        assert!(!served.send(b"meanwhile").is_empty());
        let data = forger.record(ContentType::ApplicationData, b"data");
        let (fate, _) = served.take(&data);
        assert!(matches!(fate, Err(Error::Peer(_))), "{fate:?}");
        assert_eq!(served.plain, b"");
    }
}

#[test]
fn half_a_message_and_then_a_farewell_is_no_end() {
    for version in VERSIONS {
        let (mut served, mut forger) = Forger::open(version);
        let half = forger.record(ContentType::Handshake, &hello()[..20]);
        served.take(&half).0.expect("well said");
        let farewell = forger.record(ContentType::Alert, &[1, 0]);
        assert!(served.take(&farewell).0.is_err());
    }
}

#[test]
fn an_alert_of_the_client_ends_the_connection() {
    for version in VERSIONS {
        let (mut served, mut forger) = Forger::open(version);
        let alert = forger.record(ContentType::Alert, &[2, 80]);
        let (fate, answer) = served.take(&alert);
        assert!(matches!(fate, Err(Error::Peer(_))), "{fate:?}");
        assert_eq!(answer, [0; 0], "an alert is not answered");
    }
}

#[test]
fn empty_records_are_no_flood() {
    for version in VERSIONS {
        let (mut served, mut forger) = Forger::open(version);
        let mut count = 0;
        loop {
            let empty = forger.record(ContentType::ApplicationData, b"");
            if served.take(&empty).0.is_err() {
                break;
            }
            count += 1;
            assert!(count < 1000, "as many as it likes");
        }
        assert_eq!(served.plain, b"");
    }
}
