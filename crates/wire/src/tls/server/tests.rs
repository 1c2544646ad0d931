//! Settings that cannot be used, those that can in part, and what a server makes of them.

use std::sync::Arc;

use lateen_certificates::{Authority, Signed};
use rustls::{CipherSuite, HandshakeKind};

use super::super::fixture::{NAME, NOW, Pipe, Shown as _, Trusted as _, VERSIONS};
use super::*;

const DAY: i64 = 86_400;

fn refused(settings: &Settings<'_>) -> String {
    settings.build().expect_err("a server").to_string()
}

fn pair<'a>(chain: &'a str, key: &'a str) -> Settings<'a> {
    Settings {
        pairs: vec![Pair {
            what: "the pair",
            chain: chain.as_bytes(),
            key: key.as_bytes(),
            ocsp: b"",
        }],
        now: NOW,
        ..Settings::default()
    }
}

// --- what it shows ---

#[test]
fn a_pair_that_cannot_be_used_is_told_with_the_reason() {
    let authority = Authority::new("root");
    let (own, other) = (
        authority.sign(&["own", NAME]),
        authority.sign(&["other", NAME]),
    );
    let encrypted = own.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let marked = own
        .key
        .replace("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\n");
    let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let broken = "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n";
    for (chain, key, problem) in [
        ("", &*own.key, "has no certificate in PEM"),
        (&*own.key, &*own.key, "has no certificate in PEM"),
        (broken, &*own.key, "is not valid PEM"),
        (
            no_certificate,
            &*own.key,
            "has a certificate that is not X.509",
        ),
        (&*own.chain, "", "has no private key in PEM"),
        (&*own.chain, &*own.chain, "has no private key in PEM"),
        (&*own.chain, &*encrypted, "store it without a passphrase"),
        (&*own.chain, &*marked, "private key"),
        (&*own.chain, no_key, "is not a valid RSA or ECDSA"),
        (
            &*own.chain,
            &*other.key,
            "does not belong to the certificate (CN=own",
        ),
    ] {
        let told = refused(&pair(chain, key));
        assert!(told.starts_with("the pair: "), "{told}");
        assert!(told.contains(problem), "{problem}: {told}");
        for line in own
            .key
            .lines()
            .chain(other.key.lines())
            .filter(|it| it.len() > 20)
        {
            assert!(line.starts_with("-----") || !told.contains(line), "{told}");
        }
    }
    assert!(refused(&Settings::default()).contains("no certificate to show"));
}

#[test]
fn nothing_of_a_key_is_in_what_is_printed() {
    let signed = Authority::new("root").sign(&["shop", NAME]);
    let settings = signed.settings();
    let server = settings.build().expect("a server");
    let session = server.accept().expect("a session");
    let printed = format!("{settings:?} {server:?} {session:?}");
    assert!(
        printed.contains("the pair") && printed.contains("CN=shop"),
        "{printed}"
    );
    assert!(
        !printed.contains("PRIVATE") && !printed.contains("key:"),
        "{printed}"
    );
}

#[test]
fn a_certificate_out_of_its_time_is_shown_with_a_warning() {
    let authority = Authority::new("root");
    let signed = authority.sign_changed(&["shop", NAME], |params| {
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 2, 1);
    });
    let (begin, end) = (1_767_225_600, 1_769_904_000);
    for (now, warning) in [
        (begin, None),
        (end, None),
        (end + 3 * DAY, Some("expired 3 days ago")),
        (begin - 1, Some("is not valid yet")),
    ] {
        let settings = Settings {
            now,
            ..signed.settings()
        };
        let server = settings.build().expect("a server");
        let told = server.warnings.first();
        assert_eq!(told.is_some(), warning.is_some(), "{told:?}");
        if let (Some(told), Some(warning)) = (told, warning) {
            assert!(
                told.starts_with("the pair: ") && told.contains(warning),
                "{told}"
            );
        }
    }
}

/// A server with certificates of both kinds, RSA first.
fn both(authority: &Authority) -> Server {
    let rsa = authority.sign_with(&["rsa", NAME], &rcgen::PKCS_RSA_SHA256);
    let ecdsa = authority.sign(&["ecdsa", NAME]);
    let settings = Settings {
        pairs: vec![rsa.pair(), ecdsa.pair()],
        now: NOW,
        ..Settings::default()
    };
    settings.build().expect("a server")
}

fn shown(pipe: &Pipe) -> &str {
    let shown = pipe.server.session.local_certificate();
    let subject = shown.map_or("", |shown| &shown.subject);
    subject.split(',').next().unwrap_or_default()
}

#[test]
fn a_client_is_shown_the_cheapest_certificate_that_it_can_check() {
    let authority = Authority::new("root");
    let server = both(&authority);
    let subjects: Vec<_> = server.certificates.iter().map(|it| &*it.subject).collect();
    assert!(subjects[0].starts_with("CN=rsa") && subjects[1].starts_with("CN=ecdsa"));
    for (suite, name) in [
        (CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "CN=rsa"),
        (
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            "CN=ecdsa",
        ),
    ] {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites.retain(|one| one.suite() == suite);
        let client = authority.client_of(provider, None, &[VERSIONS[0]]);
        let mut pipe = Pipe::new(&server, client);
        assert_eq!(shown(&pipe), "", "nothing is chosen yet");
        pipe.shake().expect("a handshake");
        assert_eq!(shown(&pipe), name);
    }
    for version in VERSIONS {
        let pipe = Pipe::open(&server, authority.client(None, &[version]));
        assert_eq!(shown(&pipe), "CN=ecdsa");
    }
}

// --- resumption ---

/// Connects and says something, so that the client gets its tickets.
fn connect(server: &Server, client: &Arc<rustls::ClientConfig>) -> Pipe {
    let mut pipe = Pipe::of(server, client);
    pipe.shake().expect("a handshake");
    let answer = pipe.server.send(b"welcome");
    pipe.hear(&answer).expect("well said");
    pipe
}

#[test]
fn sessions_are_resumed_with_all_that_is_known_of_them() {
    for version in VERSIONS {
        let (root, clients) = (Authority::new("root"), Authority::new("clients"));
        let own = clients.sign(&["alice", NAME]);
        for with_two in [false, true] {
            let (ecdsa, rsa) = (
                root.sign(&["ecdsa", NAME]),
                root.sign_with(&["rsa", NAME], &rcgen::PKCS_RSA_SHA256),
            );
            let mut settings = ecdsa.settings();
            settings.clients = Some(clients.clients());
            if with_two {
                settings.pairs.push(rsa.pair());
            }
            let server = settings.build().expect("a server");
            let client = root.client_of(aws_lc_rs::default_provider(), Some(&own), &[version]);
            let client = Arc::new(client);
            connect(&server, &client);
            let pipe = connect(&server, &client);
            assert_eq!(pipe.client.handshake_kind(), Some(HandshakeKind::Resumed));
            let peer = pipe.server.session.peer_certificates();
            let peer = Certificate::read(peer[0]).expect("a certificate");
            assert!(peer.subject.starts_with("CN=alice"), "{}", peer.subject);
            assert_eq!(shown(&pipe), "CN=ecdsa");
        }
    }
}

#[test]
fn nobody_resumes_what_was_agreed_on_with_other_settings() {
    for version in VERSIONS {
        let authority = Authority::new("root");
        let signed = authority.sign(&["shop", NAME]);
        let [first, second] = [(); 2].map(|()| signed.settings().build().expect("a server"));
        let client = Arc::new(authority.client(None, &[version]));
        connect(&first, &client);
        let pipe = connect(&second, &client);
        assert_eq!(pipe.client.handshake_kind(), Some(HandshakeKind::Full));
    }
}

// --- what it speaks ---

#[test]
fn versions_are_limited_and_old_ones_are_named() {
    let signed = Authority::new("root").sign(&["shop", NAME]);
    let with = |oldest, newest| Settings {
        versions: Versions { oldest, newest },
        ..signed.settings()
    };
    let server = with(Some(Version::Older), None).build().expect("a server");
    assert!(server.warnings[0].contains("1.0 and 1.1 are not spoken"));
    for (oldest, newest) in [
        (None, Some(Version::Older)),
        (Some(Version::V1_3), Some(Version::V1_2)),
    ] {
        let told = refused(&with(oldest, newest));
        assert!(told.contains("leave no version"), "{told}");
    }
}

#[test]
fn a_client_of_another_version_is_told_so() {
    for (spoken, version) in [(Version::V1_3, VERSIONS[0]), (Version::V1_2, VERSIONS[1])] {
        let authority = Authority::new("root");
        let signed = authority.sign(&["shop", NAME]);
        let only = Versions {
            oldest: Some(spoken),
            newest: Some(spoken),
        };
        let settings = Settings {
            versions: only,
            ..signed.settings()
        };
        let server = settings.build().expect("a server");
        let mut pipe = Pipe::new(&server, authority.client(None, &[version]));
        let said = pipe.said();
        let (fate, answer) = pipe.server.take(&said);
        assert!(fate.is_err(), "{fate:?}");
        let told = rustls::AlertDescription::ProtocolVersion;
        assert_eq!(pipe.hear(&answer), Err(rustls::Error::AlertReceived(told)));
        let pipe = Pipe::open(&server, authority.client(None, &VERSIONS));
        assert!(!pipe.server.session.is_handshaking());
    }
}

#[test]
fn unknown_suites_and_groups_are_left_out_by_name() {
    let signed = Authority::new("root").sign(&["shop", NAME]);
    let (suites, groups) = (
        ["AES256-SHA".to_owned()],
        ["P-521".to_owned(), "p256".to_owned()],
    );
    let settings = Settings {
        cipher_suites: &suites,
        groups: &groups,
        ..signed.settings()
    };
    let server = settings.build().expect("a server");
    assert_eq!(server.warnings.len(), 2);
    assert!(
        server.warnings[0].contains("AES256-SHA"),
        "{:?}",
        server.warnings
    );
    assert!(server.warnings[0].contains("all of these are used"));
    assert!(
        server.warnings[1].contains("P-521"),
        "{:?}",
        server.warnings
    );
    assert!(!server.warnings[1].contains("all of these are used"));
}

// --- who may come in ---

fn asking<'a>(signed: &'a Signed, clients: Clients<'a>) -> Settings<'a> {
    Settings {
        clients: Some(clients),
        ..signed.settings()
    }
}

#[test]
fn authorities_that_cannot_be_used_are_told_with_the_reason() {
    let authority = Authority::new("root");
    let signed = authority.sign(&["shop", NAME]);
    let broken = b"-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n";
    let no_certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let broken_list = b"-----BEGIN X509 CRL-----\n????\n-----END X509 CRL-----\n";
    for (authorities, revoked, problem) in [
        (&b""[..], &b""[..], "has no certificate of an authority"),
        (
            signed.key.as_bytes(),
            b"",
            "has no certificate of an authority",
        ),
        (broken, b"", "is not valid PEM"),
        (no_certificate, b"", "has an authority that cannot be used"),
        (authority.pem.as_bytes(), b"nothing", "hold no X509 CRL"),
        (
            authority.pem.as_bytes(),
            broken_list,
            "revocations that is not valid PEM",
        ),
    ] {
        let clients = Clients {
            authorities,
            revoked,
            ..authority.clients()
        };
        let told = refused(&asking(&signed, clients));
        assert!(told.starts_with("the authorities: "), "{told}");
        assert!(told.contains(problem), "{problem}: {told}");
    }
}

/// Whether a client with this certificate gets through its handshake.
fn is_let_in(server: &Server, root: &Authority, own: Option<&Signed>) -> bool {
    let mut verdicts = VERSIONS.map(|version| {
        let client = root.client_of(aws_lc_rs::default_provider(), own, &[version]);
        let mut pipe = Pipe::new(server, client);
        pipe.shake().is_ok() && !pipe.server.session.is_handshaking()
    });
    verdicts.sort_unstable();
    assert_eq!(verdicts[0], verdicts[1], "the versions differ");
    verdicts[0]
}

/// Who may come in: Alice, somebody without a certificate, and an Alice of strangers.
struct Visitors {
    root: Authority,
    clients: Authority,
    signed: Signed,
    alice: Signed,
    stranger: Signed,
}

impl Visitors {
    fn new() -> Self {
        let (root, clients) = (Authority::new("root"), Authority::new("clients"));
        Self {
            signed: root.sign(&["shop", NAME]),
            alice: clients.sign(&["alice", NAME]),
            stranger: Authority::new("strangers").sign(&["alice", NAME]),
            root,
            clients,
        }
    }

    /// Which of them are let in.
    fn let_in<'a>(&'a self, change: impl FnOnce(&mut Clients<'a>)) -> [bool; 3] {
        let mut clients = self.clients.clients();
        change(&mut clients);
        let server = asking(&self.signed, clients).build().expect("a server");
        [Some(&self.alice), None, Some(&self.stranger)]
            .map(|own| is_let_in(&server, &self.root, own))
    }
}

const ALICE: [bool; 3] = [true, false, false];
const NOBODY: [bool; 3] = [false; 3];
const ALL: [bool; 3] = [true; 3];

#[test]
fn clients_have_to_be_signed_by_the_authority() {
    let visitors = Visitors::new();
    assert_eq!(visitors.let_in(|_| {}), ALICE);
    let optional = visitors.let_in(|clients| clients.is_required = false);
    assert_eq!(optional, [true, true, false]);
}

#[test]
fn clients_have_to_have_one_of_the_names() {
    let visitors = Visitors::new();
    let names = ["other.test".to_owned(), "shop.test".to_owned()];
    assert_eq!(visitors.let_in(|clients| clients.names = &names), ALICE);
    let none = visitors.let_in(|clients| clients.names = &names[..1]);
    assert_eq!(none, NOBODY);
}

#[test]
fn clients_have_to_have_one_of_the_hashes() {
    let visitors = Visitors::new();
    let der = CertificateDer::from_pem_slice(visitors.alice.chain.as_bytes()).expect("PEM");
    let read = Certificate::read(&der).expect("a certificate");
    let pairs = read.hash.as_bytes().chunks(2);
    let pairs: Vec<_> = pairs
        .map(|pair| String::from_utf8_lossy(pair).to_uppercase())
        .collect();
    let (hash, key) = ([pairs.join(":")], [read.spki.clone()]);
    let other = ["other.test".to_owned()];
    let in_turn = [
        visitors.let_in(|clients| clients.certificate_hashes = &hash),
        visitors.let_in(|clients| clients.key_hashes = &key),
        visitors.let_in(|clients| {
            clients.key_hashes = &other;
            clients.certificate_hashes = &hash;
        }),
    ];
    assert_eq!(in_turn, [ALICE; 3]);
    let refused = [
        visitors.let_in(|clients| clients.key_hashes = &other),
        // The right hash is not enough without the right name.
        visitors.let_in(|clients| {
            clients.names = &other;
            clients.certificate_hashes = &hash;
        }),
    ];
    assert_eq!(refused, [NOBODY; 2]);
}

#[test]
fn everybody_is_let_in_where_it_is_said_so() {
    let visitors = Visitors::new();
    let other = ["other.test".to_owned()];
    let in_turn = [
        visitors.let_in(|clients| clients.lets_all_in = true),
        visitors.let_in(|clients| {
            clients.names = &other;
            clients.lets_all_in = true;
        }),
        visitors.let_in(|clients| {
            clients.authorities = b"";
            clients.lets_all_in = true;
        }),
    ];
    assert_eq!(in_turn, [ALL; 3]);
}
