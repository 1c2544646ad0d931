//! Credentials that come, change, and turn out to be of no use.

use lateen_certificates::{Authority, Signed};
use lateen_model::gateway::{Certificate, ServerTls, ServerTlsMode};

use super::{Directory, get, https, plain, put, shake, shown, world};
use crate::world::{World, run};

/// The certificate that a new client is shown; nothing if its handshake fails.
async fn seen(world: &World, authority: &Authority) -> Option<Vec<u8>> {
    let client = shake(world, &plain(authority), "shop.example").await.ok()?;
    Some(shown(client.stream.get_ref().1))
}

/// The same certificate as it is signed.
fn der(signed: &Signed) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject;
    let der = rustls::pki_types::CertificateDer::from_pem_slice(signed.chain.as_bytes());
    der.expect("PEM").to_vec()
}

#[test]
fn a_new_secret_serves_new_connections_and_old_ones_go_on() {
    run(|| async {
        let authority = Authority::new("root");
        let (first, second) = (
            authority.sign(&["shop.example"]),
            authority.sign(&["shop.example"]),
        );
        let mut world = world(vec![https(&["shop.example"])]);
        put(&mut world, "credential", &first);
        let mut old = shake(&world, &plain(&authority), "shop.example")
            .await
            .expect("TLS");
        get(&world, &mut old, "shop.example").await;
        put(&mut world, "credential", &second);
        assert_eq!(seen(&world, &authority).await, Some(der(&second)));
        get(&world, &mut old, "shop.example").await;
    });
}

#[test]
fn a_server_whose_secret_is_absent_closes_until_it_is_there() {
    run(|| async {
        let authority = Authority::new("root");
        let mut world = world(vec![https(&["shop.example"])]);
        let errors: Vec<String> = world.credentials.errors().collect();
        assert!(errors[0].contains("has not come"), "{errors:?}");
        world.credentials.absent("default/credential");
        world.publish();
        let errors: Vec<String> = world.credentials.errors().collect();
        assert!(
            errors[0].contains("there is no Secret default/credential"),
            "{errors:?}"
        );
        assert!(seen(&world, &authority).await.is_none());
        let signed = authority.sign(&["shop.example"]);
        put(&mut world, "credential", &signed);
        assert_eq!(seen(&world, &authority).await, Some(der(&signed)));
        assert_eq!(world.credentials.errors().count(), 0);
    });
}

#[test]
fn a_bad_secret_is_refused_with_the_reason_and_the_last_good_one_stays() {
    run(|| async {
        let authority = Authority::new("root");
        let good = authority.sign(&["shop.example"]);
        let mut world = world(vec![https(&["shop.example"])]);
        put(&mut world, "credential", &good);
        let other = authority.sign(&["shop.example"]);
        let encrypted =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        for (chain, key, why) in [
            (
                &*good.chain,
                &*other.key,
                "does not belong to the certificate",
            ),
            (&*good.chain, "", "has no private key in PEM"),
            ("", &*good.key, "has no certificate in PEM"),
            (&*good.chain, encrypted, "is encrypted"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                &*good.key,
                "is not X.509",
            ),
        ] {
            let bad = Signed {
                chain: chain.into(),
                key: key.into(),
                ..good.clone()
            };
            put(&mut world, "credential", &bad);
            let refused = world.credentials.refused("default/credential");
            let refused = refused.expect("refused");
            assert!(refused.contains(why), "{refused}");
            assert!(refused.contains("Secret default/credential"), "{refused}");
            assert!(refused.contains("stays in use"), "{refused}");
            assert_eq!(seen(&world, &authority).await, Some(der(&good)), "{why}");
        }
        assert_eq!(world.credentials.describe()[0]["state"], "STALE");
        put(&mut world, "credential", &other);
        assert_eq!(seen(&world, &authority).await, Some(der(&other)));
        assert_eq!(world.credentials.refused("default/credential"), None);
    });
}

#[test]
fn files_are_read_again_when_they_change() {
    run(|| async {
        let authority = Authority::new("root");
        let (first, second) = (
            authority.sign(&["shop.example"]),
            authority.sign(&["shop.example"]),
        );
        let directory = Directory::new("rotation");
        let mut server = https(&["shop.example"]);
        server.tls = Some(ServerTls {
            mode: ServerTlsMode::Simple,
            certificates: vec![Certificate::Files {
                chain: directory.write("cert.pem", &first.chain),
                private_key: directory.write("key.pem", &first.key),
            }],
            ..ServerTls::default()
        });
        let mut world = world(vec![server]);
        assert_eq!(seen(&world, &authority).await, Some(der(&first)));
        assert!(!world.credentials.refresh_files());
        directory.write("cert.pem", &second.chain);
        assert!(world.credentials.refresh_files());
        world.publish();
        // The key is the old one still: nothing changes before both have.
        assert_eq!(seen(&world, &authority).await, Some(der(&first)));
        directory.write("key.pem", &second.key);
        assert!(world.credentials.refresh_files());
        world.publish();
        assert_eq!(seen(&world, &authority).await, Some(der(&second)));
    });
}

#[test]
fn a_connection_ends_when_its_server_changes_how_it_ends_tls() {
    run(|| async {
        let authority = Authority::new("root");
        let mut world = world(vec![https(&["shop.example"])]);
        put(&mut world, "credential", &authority.sign(&["shop.example"]));
        let mut old = shake(&world, &plain(&authority), "shop.example")
            .await
            .expect("TLS");
        get(&world, &mut old, "shop.example").await;
        let mut stricter = https(&["shop.example"]);
        stricter.tls.as_mut().expect("TLS").min_version = lateen_model::gateway::TlsVersion::V1_3;
        world.apply(super::gateway(vec![stricter]));
        old.say("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            .await;
        old.hear_end().await;
        assert!(seen(&world, &authority).await.is_some());
    });
}

#[test]
fn what_is_shown_is_described_without_keys() {
    run(|| async {
        let authority = Authority::new("root");
        let signed = authority.sign(&["shop.example"]);
        let mut world = world(vec![https(&["shop.example"])]);
        put(&mut world, "credential", &signed);
        let text = serde_json::to_string(&world.credentials.describe()).expect("JSON");
        for part in [
            "https.8443.https.gateway.default",
            "CN=shop.example",
            "4711",
            "ACTIVE",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("PRIVATE"), "{text}");
        let debug = format!("{:?}", world.credentials);
        assert!(
            !debug.contains("PRIVATE") && !debug.contains("45, 45, 45"),
            "{debug}"
        );
    });
}
