//! Who is let in, and what the upstream is told about it.

use lateen_certificates::{Authority, Signed};
use lateen_model::gateway::{ClientCa, Server, ServerTlsMode};
use lateen_wire::tls::Certificate;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{get, https, put, shake, world};
use crate::certificates;
use crate::world::{World, field, run};

/// A gateway that asks clients for certificates of `clients`.
fn asking(clients: &Authority, change: impl FnOnce(&mut Server)) -> (Authority, World) {
    let authority = Authority::new("root");
    let mut server = https(&["shop.example"]);
    let tls = server.tls.as_mut().expect("TLS");
    tls.mode = ServerTlsMode::Mutual;
    tls.client_ca = Some(ClientCa::Secret("credential-cacert".into()));
    change(&mut server);
    let mut world = world(vec![server]);
    let mut secret = certificates::secret(&authority.sign(&["shop.example"]), "credential");
    secret.authorities = clients.pem.clone().into_bytes();
    world.credentials.put(secret);
    world.credentials.absent("default/credential-cacert");
    world.publish();
    (authority, world)
}

/// Whether a client gets an answer. A refusal may come after its own part of the handshake.
async fn is_let_in(world: &World, authority: &Authority, own: Option<&Signed>) -> bool {
    for versions in [&[&TLS13], &[&TLS12]] {
        let config = certificates::client(authority, own, versions, &[]);
        let Ok(mut client) = Box::pin(shake(world, &config, "shop.example")).await else {
            return false;
        };
        let sent = client
            .stream
            .write_all(b"GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n");
        let mut byte = [0];
        if sent.await.is_err() || !matches!(client.stream.read(&mut byte).await, Ok(1)) {
            return false;
        }
    }
    true
}

#[test]
fn mutual_lets_clients_of_its_authority_in_and_nobody_else() {
    run(|| async {
        let clients = Authority::new("clients");
        let (authority, world) = asking(&clients, |_| {});
        let good = clients.sign(&["alice"]);
        let stranger = Authority::new("strangers").sign(&["alice"]);
        assert!(is_let_in(&world, &authority, Some(&good)).await);
        assert!(!is_let_in(&world, &authority, None).await);
        assert!(!is_let_in(&world, &authority, Some(&stranger)).await);
    });
}

#[test]
fn optional_mutual_lets_clients_without_a_certificate_in() {
    run(|| async {
        let clients = Authority::new("clients");
        let (authority, world) = asking(&clients, |server| {
            server.tls.as_mut().expect("TLS").mode = ServerTlsMode::OptionalMutual;
        });
        let stranger = Authority::new("strangers").sign(&["alice"]);
        assert!(is_let_in(&world, &authority, None).await);
        assert!(is_let_in(&world, &authority, Some(&clients.sign(&["alice"]))).await);
        assert!(!is_let_in(&world, &authority, Some(&stranger)).await);
    });
}

#[test]
fn clients_are_checked_by_name() {
    run(|| async {
        let clients = Authority::new("clients");
        let (authority, world) = asking(&clients, |server| {
            server.tls.as_mut().expect("TLS").subject_alt_names = vec!["alice".into()];
        });
        assert!(is_let_in(&world, &authority, Some(&clients.sign(&["alice"]))).await);
        assert!(!is_let_in(&world, &authority, Some(&clients.sign(&["bob"]))).await);
    });
}

#[test]
fn clients_are_checked_by_hashes_of_which_one_is_enough() {
    run(|| async {
        let clients = Authority::new("clients");
        let [alice, bob, eve] = ["alice", "bob", "eve"].map(|name| clients.sign(&[name]));
        let read = |signed: &Signed| {
            let der = CertificateDer::from_pem_slice(signed.chain.as_bytes()).expect("PEM");
            Certificate::read(&der).expect("a certificate")
        };
        let (key, hash) = (read(&alice).spki, read(&bob).hash);
        let (authority, world) = asking(&clients, |server| {
            let tls = server.tls.as_mut().expect("TLS");
            tls.verify_certificate_spki = vec![key];
            tls.verify_certificate_hash = vec![hash.to_ascii_uppercase()];
        });
        assert!(is_let_in(&world, &authority, Some(&alice)).await);
        assert!(is_let_in(&world, &authority, Some(&bob)).await);
        assert!(!is_let_in(&world, &authority, Some(&eve)).await);
    });
}

#[test]
fn revoked_clients_are_refused() {
    run(|| async {
        let clients = Authority::new("clients");
        let (authority, mut world) = asking(&clients, |_| {});
        let [alice, bob] = ["alice", "bob"].map(|name| clients.sign(&[name]));
        assert!(is_let_in(&world, &authority, Some(&alice)).await);
        let mut secret = certificates::secret(&authority.sign(&["shop.example"]), "credential");
        secret.authorities = clients.pem.clone().into_bytes();
        secret.revoked = clients.revoke(&alice).into_bytes();
        world.credentials.put(secret);
        world.publish();
        assert!(!is_let_in(&world, &authority, Some(&alice)).await);
        assert!(is_let_in(&world, &authority, Some(&bob)).await);
    });
}

#[test]
fn authorities_and_revocations_come_from_files() {
    run(|| async {
        let clients = Authority::new("clients");
        let directory = super::Directory::new("authorities");
        let signers = directory.write("ca.pem", &clients.pem);
        let (authority, mut world) = asking(&clients, |server| {
            let tls = server.tls.as_mut().expect("TLS");
            tls.client_ca = Some(ClientCa::File(signers.clone()));
        });
        let alice = clients.sign(&["alice"]);
        assert!(is_let_in(&world, &authority, Some(&alice)).await);
        let mut stricter = https(&["shop.example"]);
        let tls = stricter.tls.as_mut().expect("TLS");
        tls.mode = ServerTlsMode::Mutual;
        tls.client_ca = Some(ClientCa::File(signers.clone()));
        tls.ca_crl = directory.write("crl.pem", &clients.revoke(&alice));
        world.apply(super::gateway(vec![stricter]));
        assert!(!is_let_in(&world, &authority, Some(&alice)).await);
    });
}

#[test]
fn whoever_fails_is_let_in_where_it_is_said_so() {
    run(|| async {
        let clients = Authority::new("clients");
        let (authority, world) = asking(&clients, |server| {
            server.tls.as_mut().expect("TLS").insecure_skip_verify = true;
        });
        let stranger = Authority::new("strangers").sign(&["alice"]);
        assert!(is_let_in(&world, &authority, Some(&stranger)).await);
        assert!(is_let_in(&world, &authority, None).await);
    });
}

#[test]
fn a_secret_of_authorities_comes_before_what_lies_beside_the_certificate() {
    run(|| async {
        let (beside, own) = (Authority::new("beside"), Authority::new("own"));
        let (authority, mut world) = asking(&beside, |_| {});
        let secret = lateen_model::secret::Secret {
            namespace: "default".into(),
            name: "credential-cacert".into(),
            authorities: own.pem.clone().into_bytes(),
            ..Default::default()
        };
        world.credentials.put(secret);
        world.publish();
        assert!(is_let_in(&world, &authority, Some(&own.sign(&["alice"]))).await);
        assert!(!is_let_in(&world, &authority, Some(&beside.sign(&["alice"]))).await);
    });
}

#[test]
fn the_upstream_is_told_what_the_client_showed_and_nothing_that_it_says() {
    run(|| async {
        let clients = Authority::new("clients");
        let (authority, world) = asking(&clients, |_| {});
        let alice = clients.sign(&["alice"]);
        let config = certificates::client(&authority, Some(&alice), &[&TLS13], &[]);
        let mut client = shake(&world, &config, "shop.example").await.expect("TLS");
        client
            .say(
                "GET / HTTP/1.1\r\nHost: shop.example\r\n\
                 X-Forwarded-Client-Cert: Hash=forged;URI=spiffe://a/b\r\n\r\n",
            )
            .await;
        let head = world.upstream().await.serve(crate::world::OK).await;
        let told = field(&head, "x-forwarded-client-cert").expect("the field");
        assert!(told.starts_with("Hash="), "{told}");
        assert!(
            told.contains(";Cert=\"-----BEGIN%20CERTIFICATE-----%0A"),
            "{told}"
        );
        assert!(told.contains(";Subject=\"CN=alice\""), "{told}");
        assert!(told.ends_with(";DNS=alice"), "{told}");
        assert!(!head.contains("forged"), "{head}");
    });
}

#[test]
fn a_forged_certificate_is_not_forwarded_by_a_server_that_asks_for_none() {
    run(|| async {
        let authority = Authority::new("root");
        let mut world = world(vec![https(&["shop.example"])]);
        put(&mut world, "credential", &authority.sign(&["shop.example"]));
        let config = super::plain(&authority);
        let mut client = shake(&world, &config, "shop.example").await.expect("TLS");
        client
            .say("GET / HTTP/1.1\r\nHost: shop.example\r\nx-forwarded-client-cert: Hash=forged\r\n\r\n")
            .await;
        let head = world.upstream().await.serve(crate::world::OK).await;
        assert_eq!(field(&head, "x-forwarded-client-cert"), None);
        client.hear_message("ok").await;
        get(&world, &mut client, "shop.example").await;
    });
}
