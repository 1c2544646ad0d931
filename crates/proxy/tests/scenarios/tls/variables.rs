//! Variables of headers that tell of a client's connection of TLS.

use std::sync::Arc;

use lateen_certificates::{Authority, Signed};
use lateen_model::HostPattern;
use lateen_model::Protocol;
use lateen_model::gateway::{Certificate, ClientCa, Server, ServerHost, ServerTlsMode};
use lateen_model::http::{HeaderChanges, HeaderRules, HttpRule};
use lateen_wire::tls::Certificate as Read;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};

use super::{get, https, only, plain, shake, world};
use crate::certificates;
use crate::resources;
use crate::world::{OK, World, field, run, to};

/// The header that each variable is told in.
const TOLD: [(&str, &str); 16] = [
    ("x-version", "%DOWNSTREAM_TLS_VERSION%"),
    ("x-cipher", "%DOWNSTREAM_TLS_CIPHER%"),
    ("x-session", "%DOWNSTREAM_TLS_SESSION_ID%"),
    ("x-server-name", "%REQUESTED_SERVER_NAME%"),
    ("x-uris", "%DOWNSTREAM_PEER_URI_SAN%"),
    ("x-dns-names", "%DOWNSTREAM_PEER_DNS_SAN%"),
    ("x-subject", "%DOWNSTREAM_PEER_SUBJECT%"),
    ("x-issuer", "%DOWNSTREAM_PEER_ISSUER%"),
    ("x-serial", "%DOWNSTREAM_PEER_SERIAL%"),
    ("x-fingerprint", "%DOWNSTREAM_PEER_FINGERPRINT_256%"),
    ("x-certificate", "%DOWNSTREAM_PEER_CERT%"),
    ("x-valid-from", "%DOWNSTREAM_PEER_CERT_V_START%"),
    ("x-valid-until", "%DOWNSTREAM_PEER_CERT_V_END%"),
    ("x-local-uris", "%DOWNSTREAM_LOCAL_URI_SAN%"),
    ("x-local-dns-names", "%DOWNSTREAM_LOCAL_DNS_SAN%"),
    ("x-local-subject", "%DOWNSTREAM_LOCAL_SUBJECT%"),
];

/// Says all of them to the upstream, and two to the client.
fn telling() -> HttpRule {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let of_response = [
        (
            "x-seen",
            "%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_PEER_SUBJECT%",
        ),
        ("x-nobody", "%DOWNSTREAM_PEER_SUBJECT%"),
    ];
    HttpRule {
        headers: HeaderRules {
            request: HeaderChanges {
                set: TOLD.iter().map(owned).collect(),
                ..HeaderChanges::default()
            },
            response: HeaderChanges {
                set: of_response.iter().map(owned).collect(),
                ..HeaderChanges::default()
            },
        },
        ..to("a")
    }
}

/// Alice, who has several names of every kind.
fn alice(clients: &Authority) -> Signed {
    clients.sign_changed(&["alice", "alice.test"], |params| {
        for uri in ["spiffe://cluster.local/ns/a/sa/alice", "https://a.test/x"] {
            let uri = uri.try_into().expect("a URI");
            params.subject_alt_names.push(rcgen::SanType::URI(uri));
        }
        let organization = rcgen::DnType::OrganizationName;
        params.distinguished_name.push(organization, "Zürich, Inc.");
        params.not_before = rcgen::date_time_ymd(2024, 2, 29);
        params.not_after = rcgen::date_time_ymd(2124, 1, 1);
    })
}

/// A gateway that shows a certificate with a URI, lets clients in with and without a certificate,
/// and has a server in plaintext beside.
fn gateway(authority: &Authority, clients: &Authority) -> World {
    let mut secure = https(&["shop.example"]);
    let tls = secure.tls.as_mut().expect("TLS");
    tls.mode = ServerTlsMode::OptionalMutual;
    tls.client_ca = Some(ClientCa::Secret("credential-cacert".into()));
    let plaintext = Server {
        port: 8080,
        port_name: "http".into(),
        protocol: Protocol::Http,
        hosts: vec![ServerHost {
            namespace: None,
            host: HostPattern::Any,
        }],
        tls: None,
        ..https(&[])
    };
    let mut world = world(vec![secure, plaintext]);
    world.apply(resources::rules(vec![telling()]));
    let own = authority.sign_changed(&["shop.example"], |params| {
        let uri = "spiffe://cluster.local/ns/istio-system/sa/gateway";
        let uri = uri.try_into().expect("a URI");
        params.subject_alt_names.push(rcgen::SanType::URI(uri));
    });
    let mut secret = certificates::secret(&own, "credential");
    secret.authorities = clients.pem.clone().into_bytes();
    world.credentials.put(secret);
    world.credentials.absent("default/credential-cacert");
    world.publish();
    world
}

/// What the upstream hears of a client's request, and what the client hears.
async fn heard(world: &World, config: &Arc<ClientConfig>) -> (String, String) {
    let mut client = Box::pin(shake(world, config, "shop.example")).await;
    let client = client.as_mut().expect("a handshake");
    client
        .say("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .await;
    let head = world.upstream().await.serve(OK).await;
    (head, client.hear_message("ok").await)
}

#[test]
fn the_upstream_is_told_of_the_connection_and_of_both_certificates() {
    run(|| async {
        let (authority, clients) = (Authority::new("root"), Authority::new("clients"));
        let world = gateway(&authority, &clients);
        let alice = alice(&clients);
        let der = CertificateDer::from_pem_slice(alice.chain.as_bytes()).expect("PEM");
        let fingerprint = Read::read(&der).expect("a certificate").hash;
        let config = certificates::client(&authority, Some(&alice), &[&TLS13], &[]);
        let (head, answer) = heard(&world, &config).await;
        for (name, value) in [
            ("x-version", "TLSv1.3"),
            ("x-server-name", "shop.example"),
            (
                "x-uris",
                "spiffe://cluster.local/ns/a/sa/alice,https://a.test/x",
            ),
            ("x-dns-names", "alice,alice.test"),
            ("x-subject", "O=Z\\C3\\BCrich\\, Inc.,CN=alice"),
            ("x-issuer", "CN=clients"),
            ("x-serial", "4711"),
            ("x-fingerprint", &fingerprint),
            ("x-valid-from", "2024-02-29T00:00:00.000Z"),
            ("x-valid-until", "2124-01-01T00:00:00.000Z"),
            (
                "x-local-uris",
                "spiffe://cluster.local/ns/istio-system/sa/gateway",
            ),
            ("x-local-dns-names", "shop.example"),
            ("x-local-subject", "CN=shop.example"),
        ] {
            assert_eq!(field(&head, name), Some(value), "{name}: {head}");
        }
        let cipher = field(&head, "x-cipher").expect("a cipher suite");
        assert!(cipher.starts_with("TLS_AES_"), "{cipher}");
        assert_eq!(field(&head, "x-session"), None, "tickets have no id");
        let seen = "TLSv1.3 O=Z\\C3\\BCrich\\, Inc.,CN=alice";
        assert_eq!(field(&answer, "x-seen"), Some(seen));
    });
}

#[test]
fn the_clients_certificate_is_told_as_pem_in_the_coding_of_urls() {
    run(|| async {
        let (authority, clients) = (Authority::new("root"), Authority::new("clients"));
        let world = gateway(&authority, &clients);
        let alice = alice(&clients);
        let config = certificates::client(&authority, Some(&alice), &[&TLS13], &[]);
        let (head, _) = heard(&world, &config).await;
        let told = field(&head, "x-certificate").expect("a certificate");
        assert!(
            told.starts_with("-----BEGIN%20CERTIFICATE-----%0A"),
            "{told}"
        );
        let plain = told
            .replace("%20", " ")
            .replace("%0A", "\n")
            .replace("%2B", "+")
            .replace("%2F", "/")
            .replace("%3D", "=");
        assert_eq!(plain, alice.chain.replace("\r\n", "\n"));
    });
}

#[test]
fn tls_1_2_is_told_by_its_own_names() {
    run(|| async {
        let (authority, clients) = (Authority::new("root"), Authority::new("clients"));
        let world = gateway(&authority, &clients);
        let suite = rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;
        let (head, _) = heard(&world, &only(&authority, suite)).await;
        assert_eq!(field(&head, "x-version"), Some("TLSv1.2"));
        let cipher = field(&head, "x-cipher");
        assert_eq!(cipher, Some("ECDHE-ECDSA-AES256-GCM-SHA384"));
        assert_eq!(field(&head, "x-session"), None);
    });
}

#[test]
fn nothing_is_told_of_a_certificate_that_was_not_shown() {
    run(|| async {
        let (authority, clients) = (Authority::new("root"), Authority::new("clients"));
        let world = gateway(&authority, &clients);
        let (head, answer) = heard(&world, &plain(&authority)).await;
        for name in [
            "x-uris",
            "x-dns-names",
            "x-subject",
            "x-issuer",
            "x-serial",
            "x-fingerprint",
            "x-certificate",
            "x-valid-from",
            "x-valid-until",
        ] {
            assert_eq!(field(&head, name), None, "{head}");
        }
        assert_eq!(field(&head, "x-version"), Some("TLSv1.3"));
        assert_eq!(field(&head, "x-local-subject"), Some("CN=shop.example"));
        assert_eq!(field(&answer, "x-seen"), Some("TLSv1.3"));
        assert_eq!(field(&answer, "x-nobody"), None);
    });
}

#[test]
fn nothing_is_told_of_a_connection_in_plaintext() {
    run(|| async {
        let (authority, clients) = (Authority::new("root"), Authority::new("clients"));
        let world = gateway(&authority, &clients);
        let mut client = world.client();
        client.say("GET / HTTP/1.1\r\nHost: any.test\r\n\r\n").await;
        let head = world.upstream().await.serve(OK).await;
        for (name, _) in TOLD {
            assert_eq!(field(&head, name), None, "{head}");
        }
        let answer = client.hear_message("ok").await;
        assert_eq!(field(&answer, "x-nobody"), None, "{answer}");
    });
}

#[test]
fn the_name_that_was_asked_for_is_told_in_lower_case() {
    run(|| async {
        let (authority, clients) = (Authority::new("root"), Authority::new("clients"));
        let world = gateway(&authority, &clients);
        let mut client = Box::pin(shake(&world, &plain(&authority), "Shop.EXAMPLE")).await;
        let client = client.as_mut().expect("a handshake");
        let head = get(&world, client, "shop.example").await;
        assert_eq!(field(&head, "x-server-name"), Some("shop.example"));
    });
}

#[test]
fn of_several_certificates_the_one_that_was_shown_is_told_to_new_and_returning_clients() {
    run(|| async {
        let authority = Authority::new("root");
        let mut secure = https(&["shop.example"]);
        let tls = secure.tls.as_mut().expect("TLS");
        let names = ["rsa", "ecdsa"];
        tls.certificates = names.map(|name| Certificate::Secret(name.into())).to_vec();
        let mut world = world(vec![secure]);
        world.apply(resources::rules(vec![telling()]));
        let rsa = authority.sign_with(&["rsa.test", "shop.example"], &rcgen::PKCS_RSA_SHA256);
        let ecdsa = authority.sign(&["ecdsa.test", "shop.example"]);
        world.credentials.put(certificates::secret(&rsa, "rsa"));
        world.credentials.put(certificates::secret(&ecdsa, "ecdsa"));
        world.publish();
        let rsa = rustls::CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
        for (config, name) in [
            (only(&authority, rsa), "CN=rsa.test"),
            (plain(&authority), "CN=ecdsa.test"),
        ] {
            for _ in 0..2 {
                let (head, _) = heard(&world, &config).await;
                assert_eq!(field(&head, "x-local-subject"), Some(name), "{head}");
            }
        }
        let config = certificates::client(&authority, None, &[&TLS12], &[]);
        let (head, _) = heard(&world, &config).await;
        assert_eq!(field(&head, "x-local-subject"), Some("CN=ecdsa.test"));
    });
}

#[test]
fn requests_over_http2_are_told_of_their_connection() {
    run(|| async {
        let (authority, clients) = (Authority::new("root"), Authority::new("clients"));
        let world = gateway(&authority, &clients);
        let alice = alice(&clients);
        let config = certificates::client(&authority, Some(&alice), &[&TLS13], &["h2"]);
        let client = Box::pin(shake(&world, &config, "shop.example")).await;
        let stream = client.expect("a handshake").stream;
        let (mut send, connection) = Box::pin(h2::client::handshake(stream)).await.expect("h2");
        tokio::task::spawn_local(connection);
        for _ in 0..2 {
            let request = http::Request::get("https://shop.example/").body(());
            send = send.ready().await.expect("ready");
            let sent = send.send_request(request.expect("a request"), true);
            let (response, _) = sent.expect("sent");
            let head = world.upstream().await.serve(OK).await;
            let subject = Some("O=Z\\C3\\BCrich\\, Inc.,CN=alice");
            assert_eq!(field(&head, "x-subject"), subject, "{head}");
            assert_eq!(field(&head, "x-version"), Some("TLSv1.3"));
            let response = response.await.expect("a response");
            let seen = response.headers().get("x-seen").expect("the field");
            assert!(seen.to_str().expect("text").starts_with("TLSv1.3 O="));
        }
    });
}
