//! A server's side of TLS before anybody has shown who he is: bytes of a stranger, in pieces.

use std::sync::OnceLock;

use lateen_wire::tls::{Fate, Output, Pair, Server, Session, Settings};

use crate::{record, vector16};

/// More than any input, with what is left of earlier pieces.
const MEMORY: usize = 64 * 1024;

/// How a connection stands.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Open,
    Closed,
    Refused,
}

/// Takes the input in pieces whose length its first byte says, and again as a whole: it makes no
/// difference. Nothing of it is plaintext, as nobody can guess the end of a handshake.
///
/// # Panics
/// If a property does not hold.
pub fn run(input: &[u8]) {
    let Some((size, bytes)) = input.split_first() else {
        return;
    };
    let whole = take(bytes, bytes.len().max(1));
    let pieces = take(bytes, usize::from(*size).max(1));
    assert_eq!(whole, pieces, "the size of pieces makes a difference");
}

fn take(bytes: &[u8], size: usize) -> Verdict {
    let mut session = server().accept().expect("a session");
    let mut out = Output::default();
    let mut memory = vec![0; MEMORY];
    for piece in bytes.chunks(size) {
        let fate = feed(&mut session, &mut memory, piece, &mut out);
        assert!(session.is_handshaking(), "a handshake that nobody ended");
        match fate {
            Some(Fate::Open) => {}
            Some(Fate::Closed) => return Verdict::Closed,
            None => {
                // What is refused stays so, and says nothing more.
                out.clear();
                assert_eq!(feed(&mut session, &mut memory, piece, &mut out), None);
                assert!(session.send(&[], 1, &mut out).is_err());
                assert_eq!(out.bytes(), b"");
                return Verdict::Refused;
            }
        }
    }
    Verdict::Open
}

/// Gives a piece to the session; nothing if it refuses it.
fn feed(session: &mut Session, memory: &mut [u8], piece: &[u8], out: &mut Output) -> Option<Fate> {
    let start = session.begin(memory);
    let end = start + piece.len();
    memory[start..end].copy_from_slice(piece);
    let keep = |plain: &[u8]| panic!("plaintext before the end of the handshake: {plain:?}");
    session.receive(&mut memory[..end], keep, out).ok()
}

/// A server with a certificate that is made once.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(vec!["a.test".into()]);
        let made = made.expect("a certificate");
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let settings = Settings {
            pairs: vec![Pair {
                what: "the pair",
                chain: chain.as_bytes(),
                key: key.as_bytes(),
                ocsp: b"",
            }],
            protocols: &[b"h2", b"http/1.1"],
            ..Settings::default()
        };
        settings.build().expect("a server")
    })
}

/// Handshakes of both versions as far as they go without a secret, whole and cut, with something
/// else behind.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let key_exchange = [&[16, 0, 0, 33, 32][..], &[9; 32]].concat();
    let behind = [
        record(22, &key_exchange),
        record(22, &key_exchange[..9]),
        [
            record(22, &key_exchange),
            record(20, &[1]),
            record(22, &[5; 40]),
        ]
        .concat(),
        [record(22, &key_exchange[..9]), record(99, &[0])].concat(),
        [record(20, &[1]), record(23, &[5; 60])].concat(),
        record(21, &[1, 0]),
        record(21, &[2, 40]),
    ];
    let mut seeds = Vec::new();
    for hello in [hello([3, 3]), hello([3, 4])] {
        let cut: Vec<u8> = hello.chunks(30).flat_map(|part| record(22, part)).collect();
        for start in [record(22, &hello), cut] {
            for rest in &behind {
                seeds.push([&[7][..], &start, rest].concat());
            }
        }
    }
    seeds
}

/// A ClientHello of a version that the server answers.
fn hello(version: [u8; 2]) -> Vec<u8> {
    let share = [&[0, 29][..], &vector16(&[9; 32])].concat();
    let extensions: [(u8, Vec<u8>); 5] = [
        (10, vector16(&[0, 29])),            // Groups: X25519.
        (11, vec![1, 0]),                    // Formats of points.
        (13, vector16(&[4, 3])),             // Signatures: ECDSA with P-256.
        (43, [&[2][..], &version].concat()), // Versions.
        (51, vector16(&share)),              // Keys.
    ];
    let extensions: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, content)| [&[0, *kind][..], &vector16(content)].concat())
        .collect();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &vector16(&[0x13, 0x01, 0xc0, 0x2b]),
        &[1, 0],
        &vector16(&extensions),
    ]
    .concat();
    [&[1, 0][..], &vector16(&body)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_answers_both_versions() {
        for version in [[3, 3], [3, 4]] {
            let mut session = server().accept().expect("a session");
            let (mut memory, mut out) = (vec![0; MEMORY], Output::default());
            let hello = record(22, &hello(version));
            let fate = feed(&mut session, &mut memory, &hello, &mut out);
            assert_eq!(fate, Some(Fate::Open));
            assert_eq!(out.bytes()[0], 22, "a handshake, no alert");
        }
    }
}
