//! TLS that does not end here, beside TLS that does, and plaintext that is sent to it.

use lateen_certificates::Authority;
use lateen_model::gateway::{Server, ServerTls, ServerTlsMode};
use lateen_model::route::{L4Match, TlsMatch, TlsRule};
use lateen_model::{Body, HostPattern, Protocol};
use rustls::version::TLS13;

use super::{get, https, plain, put, routes, server, shake, world};
use crate::certificates;
use crate::resources;
use crate::world::{World, run};

/// The first message of a client that asks for a name.
fn hello(name: &str, protocols: &[&str]) -> Vec<u8> {
    let config = certificates::client(&Authority::new("any"), None, &[&TLS13], protocols);
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = rustls::ClientConnection::new(config, name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("written");
    hello
}

fn passing(mode: ServerTlsMode, hosts: &[&str]) -> Server {
    let tls = ServerTls {
        mode,
        ..ServerTls::default()
    };
    let mut passing = server(Protocol::Tls, hosts, tls);
    passing.port_name = "passed".into();
    passing
}

#[test]
fn passthrough_and_termination_share_a_port() {
    run(|| async {
        let authority = Authority::new("root");
        let passed = passing(ServerTlsMode::Passthrough, &["db.example"]);
        let mut world = world(vec![https(&["shop.example"]), passed]);
        put(&mut world, "credential", &authority.sign(&["shop.example"]));
        let mut db = routes("a", "db.example");
        db.http = vec![];
        db.tls = vec![TlsRule {
            matches: vec![TlsMatch {
                sni_hosts: vec![HostPattern::literal("db.example")],
                l4: L4Match::default(),
            }],
            route: vec![resources::to_service("a", 1)],
        }];
        world.apply(resources::named("db", Body::VirtualService(db)));
        let mut client = shake(&world, &plain(&authority), "shop.example")
            .await
            .expect("TLS");
        get(&world, &mut client, "shop.example").await;
        assert_passed(&world, &hello("db.example", &[])).await;
    });
}

/// The upstream gets exactly what the client sent.
async fn assert_passed(world: &World, hello: &[u8]) {
    let mut client = world.secure_client();
    client.say(hello).await;
    let mut upstream = world.upstream().await;
    let mut got = vec![0; hello.len()];
    tokio::io::AsyncReadExt::read_exact(&mut upstream.stream, &mut got)
        .await
        .expect("the hello");
    assert!(got == hello, "the hello came changed");
}

#[test]
fn the_mesh_s_names_lead_to_services_for_clients_of_the_mesh() {
    run(|| async {
        let hosts = ["*.cluster.local"];
        let world = world(vec![passing(ServerTlsMode::AutoPassthrough, &hosts)]);
        let name = "outbound_.80_._.a.default.svc.cluster.local";
        assert_passed(&world, &hello(name, &["istio-peer-exchange", "istio"])).await;
        for (name, protocols) in [
            (name, &[][..]),
            (name, &["h2", "http/1.1"]),
            ("outbound_.81_._.a.default.svc.cluster.local", &["istio"]),
            ("a.default.svc.cluster.local", &["istio"]),
        ] {
            let mut client = world.secure_client();
            client.say(hello(name, protocols)).await;
            client.hear_end().await;
        }
        assert_eq!(world.dialled(), 1);
    });
}

#[test]
fn plaintext_is_redirected_to_the_server_that_ends_tls() {
    run(|| async {
        let authority = Authority::new("root");
        let mut plaintext = https(&["shop.example"]);
        plaintext.port = 8080;
        plaintext.port_name = "http".into();
        plaintext.protocol = Protocol::Http;
        plaintext.tls = None;
        plaintext.https_redirect = true;
        let mut world = world(vec![plaintext, https(&["shop.example"])]);
        put(&mut world, "credential", &authority.sign(&["shop.example"]));
        let mut client = world.client();
        let (head, _) = client
            .ask("GET /a?b HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            .await;
        assert!(head.starts_with("HTTP/1.1 301"), "{head}");
        assert!(
            head.contains("location: https://shop.example/a?b\r\n"),
            "{head}"
        );
        let mut client = shake(&world, &plain(&authority), "shop.example")
            .await
            .expect("TLS");
        get(&world, &mut client, "shop.example").await;
    });
}
