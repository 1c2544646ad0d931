//! TLS that ends at a gateway: whose certificate is shown, who is let in, and what is carried.

mod clients;
mod hostile;
mod passed;
mod rotation;
mod variables;

use std::sync::Arc;

use lateen_certificates::{Authority, Signed};
use lateen_model::gateway::{
    Certificate, Gateway, Server, ServerHost, ServerTls, ServerTlsMode, TlsVersion,
};
use lateen_model::route::{GatewayRef, L4Match, TcpRule, VirtualService};
use lateen_model::service::ExportTo;
use lateen_model::{Body, HostPattern, Labels, Protocol, Resource};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificates;
use crate::resources;
use crate::world::{OK, Peer, World, has_line, run, to};

/// A gateway whose server `https` has these hosts and shows the Secret `credential`.
pub(super) fn https(hosts: &[&str]) -> Server {
    let tls = ServerTls {
        mode: ServerTlsMode::Simple,
        certificates: vec![Certificate::Secret("credential".into())],
        ..ServerTls::default()
    };
    server(Protocol::Https, hosts, tls)
}

pub(super) fn server(protocol: Protocol, hosts: &[&str], tls: ServerTls) -> Server {
    let hosts = hosts.iter().map(|host| ServerHost {
        namespace: None,
        host: HostPattern::literal(host),
    });
    Server {
        name: String::new(),
        port: 8443,
        port_name: "https".into(),
        protocol,
        bind: String::new(),
        hosts: hosts.collect(),
        https_redirect: false,
        tls: Some(tls),
    }
}

pub(super) fn gateway(servers: Vec<Server>) -> Resource {
    let gateway = Gateway {
        namespace: "default".into(),
        name: "gateway".into(),
        selector: Labels::new(),
        servers,
    };
    resources::named("gateway", Body::Gateway(gateway))
}

/// A VirtualService of the Gateway for a host.
pub(super) fn routes(name: &str, host: &str) -> VirtualService {
    VirtualService {
        namespace: "default".into(),
        hosts: vec![HostPattern::literal(host)],
        gateways: vec![GatewayRef::Gateway {
            namespace: "default".into(),
            name: "gateway".into(),
        }],
        export_to: ExportTo::All,
        http: vec![to(name)],
        tls: vec![],
        tcp: vec![],
    }
}

/// A gateway with these servers, and the service `a`, which takes every request.
pub(super) fn world(servers: Vec<Server>) -> World {
    let mut world = World::gateway();
    world.service("a", Protocol::Http, &["10.1.0.1"]);
    world.apply(gateway(servers));
    world.apply(resources::rules(vec![to("a")]));
    world
}

pub(super) fn put(world: &mut World, name: &str, signed: &Signed) {
    world.credentials.put(certificates::secret(signed, name));
    world.publish();
}

/// The usual client: any version, no protocol asked for.
pub(super) fn plain(authority: &Authority) -> Arc<ClientConfig> {
    certificates::client(authority, None, &[&TLS13, &TLS12], &[])
}

/// A handshake; the error is what the client sees.
pub(super) async fn shake(
    world: &World,
    config: &Arc<ClientConfig>,
    name: &str,
) -> std::io::Result<Peer<TlsStream<DuplexStream>>> {
    let peer = world.secure_client();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connector = TlsConnector::from(Arc::clone(config));
    let stream = connector.connect(name, peer.stream).await?;
    Ok(Peer {
        address: peer.address,
        stream,
    })
}

/// A request that has to be answered by the upstream; answers what the upstream was asked.
pub(super) async fn get(
    world: &World,
    client: &mut Peer<TlsStream<DuplexStream>>,
    host: &str,
) -> String {
    client
        .say(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
        .await;
    let head = world.upstream().await.serve(OK).await;
    assert!(client.hear_message("ok").await.starts_with("HTTP/1.1 200"));
    head
}

#[test]
fn requests_are_served_with_the_certificate_of_a_secret() {
    run(|| async {
        let authority = Authority::new("root");
        let mut world = world(vec![https(&["shop.example"])]);
        put(&mut world, "credential", &authority.sign(&["shop.example"]));
        let mut client = shake(&world, &plain(&authority), "shop.example")
            .await
            .expect("a handshake");
        let head = get(&world, &mut client, "shop.example").await;
        assert!(has_line(&head, "x-forwarded-proto: https"), "{head}");
        assert!(has_line(&head, "Host: shop.example"), "{head}");
    });
}

#[test]
fn requests_are_served_with_the_certificate_of_files() {
    run(|| async {
        let authority = Authority::new("root");
        let signed = authority.sign(&["shop.example"]);
        let directory = Directory::new("files");
        let mut secure = https(&["shop.example"]);
        secure.tls = Some(ServerTls {
            mode: ServerTlsMode::Simple,
            certificates: vec![Certificate::Files {
                chain: directory.write("cert.pem", &signed.chain),
                private_key: directory.write("key.pem", &signed.key),
            }],
            ..ServerTls::default()
        });
        let world = world(vec![secure]);
        let config = plain(&authority);
        let mut client = shake(&world, &config, "shop.example")
            .await
            .expect("a handshake");
        get(&world, &mut client, "shop.example").await;
    });
}

#[test]
fn the_certificate_is_chosen_by_the_server_name() {
    run(|| async {
        let authority = Authority::new("root");
        let mut servers = vec![
            https(&["shop.example"]),
            https(&["*.wild.test"]),
            https(&["*"]),
        ];
        for (server, name) in servers.iter_mut().zip(["exact", "wild", "any"]) {
            server.port_name = name.into();
            let tls = server.tls.as_mut().expect("TLS");
            tls.certificates = vec![Certificate::Secret(name.into())];
        }
        let mut world = world(servers);
        put(
            &mut world,
            "exact",
            &authority.sign(&["exact", "shop.example"]),
        );
        put(
            &mut world,
            "wild",
            &authority.sign(&["wild", "*.wild.test"]),
        );
        let names = ["any", "other.test", "10.0.0.1"];
        put(&mut world, "any", &authority.sign(&names));
        let config = plain(&authority);
        for name in ["shop.example", "a.wild.test", "other.test", "10.0.0.1"] {
            // The client checks that the certificate has the name; an address sends no name.
            let mut client = shake(&world, &config, name).await.expect(name);
            get(&world, &mut client, name).await;
        }
    });
}

#[test]
fn a_name_that_no_server_has_is_closed() {
    run(|| async {
        let authority = Authority::new("root");
        let mut world = world(vec![https(&["shop.example"])]);
        put(&mut world, "credential", &authority.sign(&["shop.example"]));
        let config = plain(&authority);
        for name in ["other.example", "10.0.0.1"] {
            assert!(shake(&world, &config, name).await.is_err(), "{name}");
        }
        assert_eq!(world.dialled(), 0);
        let refused = [("reporter", "source"), ("response_flags", "NR")];
        assert_eq!(
            world.metric("istio_tcp_connections_opened_total", &refused),
            Some(2)
        );
    });
}

#[test]
fn a_server_with_two_certificates_shows_the_kind_that_the_client_can_check() {
    run(|| async {
        let authority = Authority::new("root");
        let mut secure = https(&["shop.example"]);
        let tls = secure.tls.as_mut().expect("TLS");
        tls.certificates = vec![
            Certificate::Secret("rsa".into()),
            Certificate::Secret("ecdsa".into()),
        ];
        let mut world = world(vec![secure]);
        let rsa = authority.sign_with(&["shop.example"], &rcgen::PKCS_RSA_SHA256);
        put(&mut world, "rsa", &rsa);
        put(&mut world, "ecdsa", &authority.sign(&["shop.example"]));
        for (suite, _kind) in [
            (
                rustls::CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                "RSA",
            ),
            (
                rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                "ECDSA",
            ),
        ] {
            let config = only(&authority, suite);
            let client = shake(&world, &config, "shop.example").await;
            let client = client.expect("a handshake");
            let (_, session) = client.stream.get_ref();
            assert_eq!(
                session.negotiated_cipher_suite().map(|it| it.suite()),
                Some(suite)
            );
        }
    });
}

/// A client that speaks TLS 1.2 with one cipher suite.
fn only(authority: &Authority, suite: rustls::CipherSuite) -> Arc<ClientConfig> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|one| one.suite() == suite);
    certificates::client_of(provider, authority, None, &[&TLS12], &[])
}

#[test]
fn versions_are_limited() {
    run(|| async {
        let authority = Authority::new("root");
        let mut secure = https(&["shop.example"]);
        secure.tls.as_mut().expect("TLS").min_version = TlsVersion::V1_3;
        let mut world = world(vec![secure]);
        put(&mut world, "credential", &authority.sign(&["shop.example"]));
        let old = certificates::client(&authority, None, &[&TLS12], &[]);
        let error = shake(&world, &old, "shop.example").await.err();
        let error = error.expect("refused").to_string();
        assert!(error.contains("ProtocolVersion"), "{error}");
        let new = certificates::client(&authority, None, &[&TLS13], &[]);
        assert!(shake(&world, &new, "shop.example").await.is_ok());
        let mut secure = https(&["shop.example"]);
        secure.tls.as_mut().expect("TLS").max_version = TlsVersion::V1_2;
        world.apply(gateway(vec![secure]));
        assert!(shake(&world, &new, "shop.example").await.is_err());
        assert!(shake(&world, &old, "shop.example").await.is_ok());
    });
}

#[test]
fn cipher_suites_are_limited_and_unknown_ones_are_named() {
    run(|| async {
        let authority = Authority::new("root");
        let mut secure = https(&["shop.example"]);
        let tls = secure.tls.as_mut().expect("TLS");
        tls.cipher_suites = vec!["ECDHE-ECDSA-AES256-GCM-SHA384".into(), "AES256-SHA".into()];
        let mut world = world(vec![secure]);
        put(&mut world, "credential", &authority.sign(&["shop.example"]));
        let shown = world.credentials.describe();
        let warning = shown[0]["warnings"][0].as_str().expect("a warning");
        assert!(warning.contains("AES256-SHA"), "{warning}");
        let weaker = rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
        let config = only(&authority, weaker);
        assert!(shake(&world, &config, "shop.example").await.is_err());
        let listed = rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;
        let config = only(&authority, listed);
        assert!(shake(&world, &config, "shop.example").await.is_ok());
    });
}

#[test]
fn groups_are_limited() {
    run(|| async {
        let authority = Authority::new("root");
        let mut secure = https(&["shop.example"]);
        let tls = secure.tls.as_mut().expect("TLS");
        tls.ecdh_curves = vec!["P-384".into()];
        let mut world = world(vec![secure]);
        put(&mut world, "credential", &authority.sign(&["shop.example"]));
        for (group, is_served) in [
            (rustls::NamedGroup::secp384r1, true),
            (rustls::NamedGroup::X25519, false),
        ] {
            let mut provider = rustls::crypto::aws_lc_rs::default_provider();
            provider.kx_groups.retain(|one| one.name() == group);
            let config = certificates::client_of(provider, &authority, None, &[&TLS13], &[]);
            let shaken = shake(&world, &config, "shop.example").await;
            assert_eq!(shaken.is_ok(), is_served, "{group:?}");
        }
    });
}

#[test]
fn http2_is_agreed_on_by_alpn() {
    run(|| async {
        let authority = Authority::new("root");
        let mut world = world(vec![https(&["shop.example"])]);
        put(&mut world, "credential", &authority.sign(&["shop.example"]));
        let config = certificates::client(&authority, None, &[&TLS13], &["h2", "http/1.1"]);
        let client = shake(&world, &config, "shop.example").await.expect("TLS");
        let agreed = client.stream.get_ref().1.alpn_protocol();
        assert_eq!(agreed, Some(&b"h2"[..]));
        let (send, connection) = Box::pin(h2::client::handshake(client.stream))
            .await
            .expect("h2");
        tokio::task::spawn_local(connection);
        let request = http::Request::get("https://shop.example/a").body(());
        let mut send = send.ready().await.expect("ready");
        let (response, _) = send
            .send_request(request.expect("a request"), true)
            .expect("sent");
        let head = world.upstream().await.serve(OK).await;
        assert!(head.starts_with("GET /a HTTP/1.1\r\n"), "{head}");
        assert!(has_line(&head, "x-forwarded-proto: https"), "{head}");
        assert_eq!(response.await.expect("a response").status(), 200);
    });
}

#[test]
fn a_client_that_agrees_on_no_protocol_is_served_by_what_it_says() {
    run(|| async {
        let authority = Authority::new("root");
        let mut world = world(vec![https(&["shop.example"])]);
        put(&mut world, "credential", &authority.sign(&["shop.example"]));
        let client = shake(&world, &plain(&authority), "shop.example").await;
        let stream = client.expect("a handshake").stream;
        assert_eq!(stream.get_ref().1.alpn_protocol(), None);
        let (_send, connection) = Box::pin(h2::client::handshake(stream)).await.expect("h2");
        let settled = Box::pin(tokio::time::timeout(
            std::time::Duration::from_secs(1),
            connection,
        ))
        .await;
        assert!(settled.is_err(), "the connection ended: {settled:?}");
    });
}

#[test]
fn requests_see_the_routes_of_their_server_only() {
    run(|| async {
        let authority = Authority::new("root");
        let mut inner = https(&["inner.example"]);
        inner.port_name = "inner".into();
        let mut world = world(vec![https(&["shop.example"]), inner]);
        let names = ["shop.example", "inner.example"];
        put(&mut world, "credential", &authority.sign(&names));
        let mut client = shake(&world, &plain(&authority), "shop.example")
            .await
            .expect("a handshake");
        let (head, _) = client
            .ask("GET / HTTP/1.1\r\nHost: inner.example\r\n\r\n")
            .await;
        assert!(head.starts_with("HTTP/1.1 404"), "{head}");
        get(&world, &mut client, "shop.example").await;
    });
}

#[test]
fn bytes_are_carried_under_tls_with_half_close() {
    run(|| async {
        let authority = Authority::new("root");
        let mut secure = https(&["db.example"]);
        secure.protocol = Protocol::Tls;
        let mut world = world(vec![secure]);
        let mut db = routes("a", "db.example");
        db.http = vec![];
        db.tcp = vec![TcpRule {
            matches: vec![L4Match::default()],
            route: vec![resources::to_service("a", 1)],
        }];
        world.apply(resources::named("db", Body::VirtualService(db)));
        put(&mut world, "credential", &authority.sign(&["db.example"]));
        let mut client = shake(&world, &plain(&authority), "db.example")
            .await
            .expect("a handshake");
        let mut upstream = world.upstream().await;
        upstream.say("220 ready\r\n").await;
        client.hear("220 ready\r\n").await;
        client.say("question").await;
        client.stream.shutdown().await.expect("a farewell");
        upstream.hear("question").await;
        upstream.hear_end().await;
        upstream.say("the answer").await;
        client.hear("the answer").await;
        drop(upstream);
        client.hear_end().await;
    });
}

#[test]
fn large_bodies_pass_both_ways() {
    run(|| async {
        let authority = Authority::new("root");
        let mut world = world(vec![https(&["shop.example"])]);
        put(&mut world, "credential", &authority.sign(&["shop.example"]));
        let mut client = shake(&world, &plain(&authority), "shop.example")
            .await
            .expect("a handshake");
        let body: Vec<u8> = (0..1_000_003_u32)
            .map(|at| at.to_le_bytes()[at as usize % 3])
            .collect();
        let length = body.len();
        let head =
            format!("POST / HTTP/1.1\r\nHost: shop.example\r\ncontent-length: {length}\r\n\r\n");
        let serve = async {
            let mut upstream = world.upstream().await;
            upstream.hear_head().await;
            let mut got = vec![0; length];
            upstream
                .stream
                .read_exact(&mut got)
                .await
                .expect("the body");
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            upstream
                .stream
                .write_all(head.as_bytes())
                .await
                .expect("a head");
            upstream.stream.write_all(&got).await.expect("the body");
            upstream
        };
        let ask = async {
            client
                .stream
                .write_all(head.as_bytes())
                .await
                .expect("a head");
            client.stream.write_all(&body).await.expect("the body");
            client.stream.flush().await.expect("sent");
            client.hear_head().await;
            let mut got = vec![0; length];
            client.stream.read_exact(&mut got).await.expect("the body");
            assert!(got == body, "the body came back changed");
        };
        let (_upstream, ()) = tokio::join!(serve, ask);
    });
}

/// A directory that goes with the test.
pub(super) struct Directory(std::path::PathBuf);

impl Directory {
    pub(super) fn new(name: &str) -> Self {
        let process = std::process::id();
        let path = std::env::temp_dir().join(format!("lateen-tls-{process}-{name}"));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> String {
        // As a volume's files are: in one step, by another file of the same name.
        let (path, fresh) = (self.0.join(name), self.0.join(format!("{name}.new")));
        std::fs::write(&fresh, text).expect("written");
        std::fs::rename(&fresh, &path).expect("renamed");
        path.to_string_lossy().into_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left is the temporary directory's business.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The certificate's number that a client was shown.
pub(super) fn shown(session: &ClientConnection) -> Vec<u8> {
    let shown = session.peer_certificates().expect("certificates");
    shown[0].to_vec()
}
