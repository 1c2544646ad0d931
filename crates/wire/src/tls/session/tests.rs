//! Sessions against rustls' client: bytes that come in any pieces, what ends a connection, and what
//! strangers send.

mod crafted;

use lateen_certificates::Authority;

use super::super::fixture::{NAME, Pipe, Served, Shown as _, Trusted as _, VERSIONS};
use super::super::server::{Server, Settings};
use super::*;

/// Types of records (RFC 8446 §5.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION: u8 = 23;

fn server() -> (Authority, Server) {
    server_with(|_| {})
}

fn server_with(change: impl FnOnce(&mut Settings<'_>)) -> (Authority, Server) {
    let authority = Authority::new("root");
    let signed = authority.sign(&["shop", NAME]);
    let mut settings = signed.settings();
    change(&mut settings);
    let server = settings.build().expect("a server");
    (authority, server)
}

/// The types of the records that these bytes are, which have to be whole.
fn records(mut bytes: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = bytes {
        types.push(*kind);
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        bytes = &rest[length..];
    }
    assert_eq!(bytes, b"", "half a record");
    types
}

// --- in any pieces ---

#[test]
fn a_handshake_may_come_byte_by_byte() {
    for version in VERSIONS {
        let (authority, server) = server();
        let mut pipe = Pipe::new(&server, authority.client(None, &[version]));
        while pipe.server.session.is_handshaking() || pipe.client.wants_write() {
            let said = pipe.said();
            for byte in &said {
                let (fate, answer) = pipe.server.take(&[*byte]);
                assert_eq!(fate, Ok(Fate::Open));
                pipe.hear(&answer).expect("well said");
            }
        }
        assert!(!pipe.client.is_handshaking());
        for byte in pipe.say(b"hello") {
            pipe.server.take(&[byte]).0.expect("well said");
        }
        assert_eq!(pipe.server.plain, b"hello");
        let answer = pipe.server.send(b"welcome");
        for byte in answer.chunks(1) {
            let heard = pipe.hear(byte).expect("well said");
            assert!(heard.is_empty() || heard == b"welcome");
        }
    }
}

#[test]
fn messages_of_a_handshake_may_be_cut_into_many_records() {
    for version in VERSIONS {
        let (root, clients) = (Authority::new("root"), Authority::new("clients"));
        let (signed, own) = (root.sign(&["shop", NAME]), clients.sign(&["alice", NAME]));
        let mut settings = signed.settings();
        settings.clients = Some(clients.clients());
        let server = settings.build().expect("a server");
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let mut client = root.client_of(provider, Some(&own), &[version]);
        client.max_fragment_size = Some(40); // With the head; rustls' least is 32.
        let mut pipe = Pipe::new(&server, client);
        while pipe.server.session.is_handshaking() || pipe.client.wants_write() {
            let said = pipe.said();
            assert!(
                records(&said).len() > 3,
                "the client does not cut its messages"
            );
            // Pieces that no record ends with.
            for piece in said.chunks(17) {
                let (fate, answer) = pipe.server.take(piece);
                assert_eq!(fate, Ok(Fate::Open));
                pipe.hear(&answer).expect("well said");
            }
        }
        let shown = pipe.server.session.peer_certificates();
        let shown = Certificate::read(shown[0]).expect("a certificate");
        assert!(shown.subject.starts_with("CN=alice"), "{}", shown.subject);
    }
}

#[test]
fn a_record_may_be_cut_at_any_place() {
    for version in VERSIONS {
        let (authority, server) = server();
        let mut pipe = Pipe::open(&server, authority.client(None, &[version]));
        let said = pipe.say(b"message");
        pipe.server.take(&said).0.expect("well said");
        let length = said.len();
        for at in 0..=length {
            let said = pipe.say(b"message");
            pipe.server.plain.clear();
            pipe.server.take(&said[..at]).0.expect("well said");
            let expected: &[u8] = if at == length { b"message" } else { b"" };
            assert_eq!(pipe.server.plain, expected, "cut at {at}");
            pipe.server.take(&said[at..]).0.expect("well said");
            assert_eq!(pipe.server.plain, b"message", "cut at {at}");
        }
    }
}

#[test]
fn many_records_may_come_in_pieces_of_any_size() {
    let message: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    for version in VERSIONS {
        let (authority, server) = server();
        for size in [
            97,
            1000,
            16_384,
            MAX_RECORD - 1,
            MAX_RECORD,
            70_000,
            200_000,
        ] {
            let mut pipe = Pipe::open(&server, authority.client(None, &[version]));
            let said = pipe.say(&message);
            for piece in said.chunks(size) {
                let (fate, answer) = pipe.server.take(piece);
                assert_eq!((fate, answer), (Ok(Fate::Open), vec![]));
            }
            assert!(pipe.server.plain == message, "in pieces of {size}");
        }
    }
}

#[test]
fn plaintext_that_comes_with_the_end_of_the_handshake_is_delivered() {
    for version in VERSIONS {
        let (authority, server) = server();
        let mut pipe = Pipe::new(&server, authority.client(None, &[version]));
        let mut answer = Vec::new();
        while pipe.server.session.is_handshaking() {
            pipe.hear(&answer).expect("well said");
            let mut said = pipe.said();
            if !pipe.client.is_handshaking() {
                said.extend(pipe.say(b"early bird"));
            }
            let (fate, more) = pipe.server.take(&said);
            fate.expect("well said");
            answer = more;
        }
        pipe.hear(&answer).expect("well said");
        // A client of TLS 1.2 waits for the server's last word.
        let said = if pipe.server.plain.is_empty() {
            pipe.say(b"early bird")
        } else {
            vec![]
        };
        pipe.server.take(&said).0.expect("well said");
        assert_eq!(pipe.server.plain, b"early bird");
    }
}

#[test]
fn nothing_is_held_while_a_connection_is_idle() {
    let (authority, server) = server();
    let mut pipe = Pipe::open(&server, authority.client(None, &VERSIONS));
    assert_eq!(pipe.server.session.rest.capacity(), 0);
    let said = pipe.say(&[7; 5000]);
    pipe.server.take(&said[..3000]).0.expect("well said");
    assert_eq!(pipe.server.session.begin(&mut [0; 8000]), 3000);
    pipe.server.take(&said[3000..]).0.expect("well said");
    assert_eq!(pipe.server.session.rest.capacity(), 0);
}

// --- what is sent ---

#[test]
fn a_message_that_is_not_sent_at_once_is_continued() {
    let message: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[1]).collect();
    for version in VERSIONS {
        let (authority, server) = server();
        for most in [1000, MAX_PLAINTEXT, MAX_PLAINTEXT + 1, 65_536] {
            let mut pipe = Pipe::open(&server, authority.client(None, &[version]));
            let mut out = Output::default();
            let mut heard = Vec::new();
            let mut sent = 0;
            while sent < message.len() {
                // Two pieces, of which the second is never reached in full before the end.
                let (head, body) = message[sent..].split_at(10.min(message.len() - sent));
                let pieces = [IoSlice::new(head), IoSlice::new(body)];
                out.clear();
                let count = pipe.server.session.send(&pieces, most, &mut out);
                let count = count.expect("sent");
                assert_eq!(count, most.min(message.len() - sent));
                heard.extend(pipe.hear(out.bytes()).expect("well said"));
                sent += count;
            }
            assert!(heard == message, "at most {most} at once");
        }
    }
}

#[test]
fn small_pieces_share_a_record_and_large_ones_fill_them() {
    let (authority, server) = server();
    let large = vec![1; 3 * MAX_PLAINTEXT];
    for (pieces, count) in [
        (&[&b"a"[..], b"", b"b", b"c"][..], 1),
        (&[b"", b""], 0),
        (&[], 0),
        (&[&large], 3),
        (&[b"a", &large], 4),
        (&[b"a", &large[..MAX_PLAINTEXT - 1]], 1),
        (&[b"a", &large[..MAX_PLAINTEXT]], 2),
        (&[&large[..10], &large[..10], &large, b"z"], 5),
    ] {
        let mut pipe = Pipe::open(&server, authority.client(None, &VERSIONS));
        let mut out = Output::default();
        let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let sent = pipe.server.session.send(&slices, usize::MAX, &mut out);
        let whole = pieces.concat();
        assert_eq!(sent, Ok(whole.len()));
        assert_eq!(records(out.bytes()), vec![APPLICATION; count]);
        assert!(pipe.hear(out.bytes()).expect("well said") == whole);
    }
}

#[test]
fn nothing_is_sent_before_the_handshake_is_done() {
    let (_, server) = server();
    let mut session = server.accept().expect("a session");
    let mut out = Output::default();
    let sent = session.send(&[IoSlice::new(b"early")], 100, &mut out);
    assert!(matches!(sent, Err(Error::Peer(_))), "{sent:?}");
    assert_eq!(session.close(&mut out), Ok(()));
    assert_eq!(out.bytes(), b"");
}

// --- the end ---

#[test]
fn a_farewell_ends_what_comes_and_not_what_is_sent() {
    for version in VERSIONS {
        let (authority, server) = server();
        let mut pipe = Pipe::open(&server, authority.client(None, &[version]));
        let mut said = pipe.say(b"last words");
        pipe.client.send_close_notify();
        said.extend(pipe.said());
        let (fate, _) = pipe.server.take(&said);
        assert_eq!(fate, Ok(Fate::Closed));
        assert_eq!(pipe.server.plain, b"last words");
        let answer = pipe.server.send(b"answer");
        assert_eq!(pipe.hear(&answer).expect("well said"), b"answer");
        let farewell = pipe.server.close();
        assert_eq!(pipe.hear(&farewell).expect("well said"), b"");
        assert!(pipe.server.close().is_empty(), "said twice");
    }
}

#[test]
fn nothing_is_sent_after_a_farewell_of_our_own_and_what_comes_is_delivered() {
    for version in VERSIONS {
        let (authority, server) = server();
        let mut pipe = Pipe::open(&server, authority.client(None, &[version]));
        let farewell = pipe.server.close();
        assert_eq!(records(&farewell).len(), 1);
        pipe.hear(&farewell).expect("well said");
        let mut out = Output::default();
        let more = pipe
            .server
            .session
            .send(&[IoSlice::new(b"more")], 100, &mut out);
        assert!(matches!(more, Err(Error::Peer(_))), "{more:?}");
        assert_eq!(out.bytes(), b"");
        let said = pipe.say(b"still here");
        assert_eq!(pipe.server.take(&said).0, Ok(Fate::Open));
        assert_eq!(pipe.server.plain, b"still here");
    }
}

#[test]
fn what_comes_after_a_farewell_is_dropped() {
    for version in VERSIONS {
        let (authority, server) = server();
        let mut pipe = Pipe::open(&server, authority.client(None, &[version]));
        let said = pipe.say(b"late");
        pipe.client.send_close_notify();
        let mut farewell = pipe.said();
        // A record that was said, but in the wrong order; and nonsense.
        let (fate, _) = pipe.server.take(&said);
        assert_eq!(fate, Ok(Fate::Open));
        farewell.extend_from_slice(&said);
        farewell.extend(vec![0; 20_000]);
        assert_eq!(pipe.server.take(&farewell).0, Ok(Fate::Closed));
        assert_eq!(pipe.server.take(&[1; 100]).0, Ok(Fate::Closed));
        assert_eq!(pipe.server.plain, b"late");
        assert_eq!(pipe.server.session.rest.capacity(), 0);
        let answer = pipe.server.send(b"answer");
        assert_eq!(pipe.hear(&answer).expect("well said"), b"answer");
    }
}

#[test]
fn a_connection_that_is_cut_is_never_taken_for_one_that_ended() {
    for version in VERSIONS {
        let (authority, server) = server();
        let mut pipe = Pipe::open(&server, authority.client(None, &[version]));
        let mut said = pipe.say(b"whole");
        let whole = said.len();
        pipe.client.send_close_notify();
        said.extend(pipe.said());
        for byte in &said[..said.len() - 1] {
            assert_eq!(pipe.server.take(&[*byte]).0, Ok(Fate::Open));
        }
        assert_eq!(pipe.server.plain, b"whole");
        assert!(whole < said.len() - 1);
        let last = said[said.len() - 1];
        assert_eq!(pipe.server.take(&[last]).0, Ok(Fate::Closed));
    }
}

// --- what is refused ---

#[test]
fn what_is_no_tls_is_refused_with_an_alert() {
    let (_, server) = server();
    for nonsense in [
        &b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"[..],
        &[0; 64],
        &[0xff; 64],
        &[APPLICATION, 3, 3, 0, 1, 0],
        &[HANDSHAKE, 3, 1, 0, 4, 99, 0, 0, 0],
    ] {
        let mut served = Served::of(&server);
        let (fate, answer) = served.take(nonsense);
        assert!(matches!(fate, Err(Error::Peer(_))), "{fate:?}");
        assert_eq!(records(&answer), [ALERT], "{nonsense:?}");
        let (again, answer) = served.take(b"more");
        assert_eq!((again, answer), (fate, vec![]), "the reason is told once");
    }
}

#[test]
fn half_a_handshake_message_and_then_nonsense_is_refused_with_an_alert() {
    let (_, server) = server();
    let start = [HANDSHAKE, 3, 1, 0, 6, 1, 0, 1, 0, 3, 3];
    for nonsense in [
        &[99, 3, 3, 0, 1, 0][..],
        &[ALERT, 3, 3, 0, 2, 1, 90],
        &[APPLICATION, 3, 3, 0, 1, 0],
        &[HANDSHAKE, 3, 3, 0xff, 0xff],
    ] {
        for is_together in [false, true] {
            let mut served = Served::of(&server);
            let fate = if is_together {
                served.take(&[&start, nonsense].concat())
            } else {
                let (fate, answer) = served.take(&start);
                assert_eq!((fate, answer), (Ok(Fate::Open), vec![]));
                served.take(nonsense)
            };
            let (fate, _) = fate;
            assert!(matches!(fate, Err(Error::Peer(_))), "{fate:?} {nonsense:?}");
            let mut out = Output::default();
            assert!(served.session.send(&[], 1, &mut out).is_err());
        }
    }
}

#[test]
fn a_record_that_was_changed_under_way_ends_the_connection() {
    for version in VERSIONS {
        let (authority, server) = server();
        let length = {
            let mut pipe = Pipe::open(&server, authority.client(None, &[version]));
            pipe.say(b"message").len()
        };
        for at in 5..length {
            let mut pipe = Pipe::open(&server, authority.client(None, &[version]));
            let mut said = pipe.say(b"message");
            said[at] ^= 1;
            let (fate, answer) = pipe.server.take(&said);
            assert!(matches!(fate, Err(Error::Peer(_))), "{fate:?} at {at}");
            assert_eq!(pipe.server.plain, b"");
            let bad = rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac);
            assert_eq!(pipe.hear(&answer), Err(bad));
            let mut out = Output::default();
            let sent = pipe.server.session.send(&[IoSlice::new(b"x")], 1, &mut out);
            assert!(sent.is_err(), "sent after an error");
            assert!(pipe.server.session.close(&mut out).is_err());
            assert_eq!(out.bytes(), b"");
        }
    }
}

#[test]
fn records_of_another_order_end_the_connection() {
    let (authority, server) = server();
    let mut pipe = Pipe::open(&server, authority.client(None, &VERSIONS));
    let first = pipe.say(b"first");
    let second = pipe.say(b"second");
    assert!(pipe.server.take(&second).0.is_err());
    assert!(pipe.server.take(&first).0.is_err());
    assert_eq!(pipe.server.plain, b"");
}

#[test]
fn a_record_that_was_sent_twice_ends_the_connection() {
    let (authority, server) = server();
    let mut pipe = Pipe::open(&server, authority.client(None, &VERSIONS));
    let said = pipe.say(b"once");
    pipe.server.take(&said).0.expect("well said");
    assert!(pipe.server.take(&said).0.is_err());
    assert_eq!(pipe.server.plain, b"once");
}

#[test]
fn a_handshake_without_end_is_refused() {
    let (_, server) = server();
    let mut served = Served::of(&server);
    // A ClientHello of nearly 64 KiB, and its start in records of one byte, which count in full.
    let mut fates = vec![];
    let first = [HANDSHAKE, 3, 1, 0, 4, 1, 0, 0xff, 0xf0];
    fates.push(served.take(&first).0);
    let one = [HANDSHAKE, 3, 1, 0, 1, 0];
    let many: Vec<u8> = one.iter().copied().cycle().take(6000).collect();
    while fates.iter().all(Result::is_ok) && fates.len() < 20 {
        fates.push(served.take(&many).0);
    }
    assert_eq!(fates.pop(), Some(Err(Error::LongHandshake(MAX_HANDSHAKE))));
    assert_eq!(fates.len(), 11, "64 KiB in pieces of 6000");
    assert_eq!(served.session.rest.capacity(), 0);
}

// --- what is agreed ---

#[test]
fn the_best_protocol_of_the_server_is_agreed_on() {
    for (ours, theirs, agreed) in [
        (&["h2", "http/1.1"][..], &["http/1.1", "h2"][..], Some("h2")),
        (&["h2", "http/1.1"], &["http/1.1"], Some("http/1.1")),
        (&["h2", "http/1.1"], &["other", "h2"], Some("h2")),
        (&["h2", "http/1.1"], &[], None),
        (&[], &["h2"], None),
    ] {
        for version in VERSIONS {
            let ours: Vec<&[u8]> = ours.iter().map(|one| one.as_bytes()).collect();
            let authority = Authority::new("root");
            let signed = authority.sign(&["shop", NAME]);
            let mut settings = signed.settings();
            settings.protocols = &ours;
            let server = settings.build().expect("a server");
            let mut client = authority.client(None, &[version]);
            client.alpn_protocols = theirs.iter().map(|one| one.as_bytes().to_vec()).collect();
            let pipe = Pipe::open(&server, client);
            let expected = agreed.map(str::as_bytes);
            assert_eq!(pipe.server.session.protocol(), expected);
            assert_eq!(pipe.client.alpn_protocol(), expected);
        }
    }
}

#[test]
fn a_client_that_speaks_no_protocol_of_the_server_is_told_so() {
    let (authority, server) = server_with(|settings| settings.protocols = &[b"h2"]);
    let mut client = authority.client(None, &VERSIONS);
    client.alpn_protocols = vec![b"smtp".to_vec()];
    let mut pipe = Pipe::new(&server, client);
    let said = pipe.said();
    let (fate, answer) = pipe.server.take(&said);
    assert!(matches!(fate, Err(Error::Peer(_))), "{fate:?}");
    let told = rustls::AlertDescription::NoApplicationProtocol;
    assert_eq!(pipe.hear(&answer), Err(rustls::Error::AlertReceived(told)));
}

#[test]
fn what_was_agreed_is_known_by_the_names_of_logs() {
    for (version, name) in VERSIONS.into_iter().zip(["TLSv1.2", "TLSv1.3"]) {
        let (authority, server) = server();
        let mut pipe = Pipe::new(&server, authority.client(None, &[version]));
        assert_eq!(pipe.server.session.version(), "");
        assert_eq!(pipe.server.session.cipher_suite(), "");
        pipe.shake().expect("a handshake");
        let session = &pipe.server.session;
        assert_eq!(session.version(), name);
        let suite = session.cipher_suite();
        let prefix = if name == "TLSv1.3" {
            "TLS_"
        } else {
            "ECDHE-ECDSA-"
        };
        assert!(suite.starts_with(prefix), "{suite}");
        assert!(session.peer_certificates().is_empty());
        let local = session.local_certificate().expect("a certificate");
        assert!(local.subject.starts_with("CN=shop"), "{}", local.subject);
    }
}

// --- keys ---

#[test]
fn keys_that_the_client_renews_are_renewed_on_this_side_too() {
    let (authority, server) = server();
    let mut pipe = Pipe::open(&server, authority.client(None, &[VERSIONS[1]]));
    for round in 0..40_u8 {
        pipe.client.refresh_traffic_keys().expect("TLS 1.3");
        let said = [pipe.said(), pipe.say(&[round])].concat();
        assert_eq!(pipe.server.take(&said).0, Ok(Fate::Open));
        assert_eq!(pipe.server.plain.pop(), Some(round));
        // The renewal of this side goes before what is sent with the new key.
        let answer = pipe.server.send(&[round, round]);
        assert_eq!(records(&answer).len(), 2);
        assert_eq!(pipe.hear(&answer).expect("well said"), [round, round]);
    }
}

#[test]
fn a_farewell_after_keys_were_renewed_is_understood() {
    let (authority, server) = server();
    let mut pipe = Pipe::open(&server, authority.client(None, &[VERSIONS[1]]));
    pipe.client.refresh_traffic_keys().expect("TLS 1.3");
    let said = pipe.said();
    pipe.server.take(&said).0.expect("well said");
    let farewell = pipe.server.close();
    assert_eq!(pipe.hear(&farewell), Ok(vec![]));
    let mut bytes = std::io::Cursor::new(&farewell);
    assert_eq!(
        pipe.client.read_tls(&mut bytes).expect("read"),
        0,
        "it is the end"
    );
}

#[test]
fn a_client_that_does_nothing_but_renew_keys_is_refused() {
    let (authority, server) = server();
    let mut pipe = Pipe::open(&server, authority.client(None, &[VERSIONS[1]]));
    let mut renewals = 0;
    loop {
        pipe.client.refresh_traffic_keys().expect("TLS 1.3");
        let said = pipe.said();
        if pipe.server.take(&said).0.is_err() {
            break;
        }
        renewals += 1;
        assert!(renewals < 100, "it may renew its keys as often as it likes");
    }
    assert_eq!(renewals, 32);
}
