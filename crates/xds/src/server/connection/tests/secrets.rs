//! Who is given a Secret, and when.

use super::super::super::identity::{Account, Identity};
use super::super::super::secrets::{Denial, MAX_NAMES, SecretChange};
use super::*;

const EDGE: &str = "edge";

fn gateway() -> Node {
    let mut node = node("gateway-1");
    node.id.role = Role::Gateway;
    node.id.namespace = EDGE.into();
    node
}

fn account() -> Account {
    Account {
        namespace: EDGE.into(),
        name: "gateway".into(),
    }
}

fn proven() -> Identity {
    Identity {
        account: account(),
        pod: Some("gateway-1".into()),
    }
}

fn ask(names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: Kind::Secret.type_url().into(),
        ..request(names, "")
    }
}

fn known(name: &str, content: Option<&'static str>) -> SecretChange {
    SecretChange::Known {
        name: name.into(),
        content: content.map(|text| Bytes::from_static(text.as_bytes())),
    }
}

fn grant(is_granted: Option<bool>) -> SecretChange {
    SecretChange::Grant {
        account: account(),
        is_granted,
    }
}

fn open(node: &Node, identity: Option<Identity>, names: &[&str]) -> Stream {
    let mut first = ask(names);
    first.node = Some(node.to_wire());
    let mut connection = Connection::open(&mut first, identity).expect("the node is valid");
    connection.receive(first, Instant::now());
    Stream {
        cache: Cache::default(),
        connection,
    }
}

fn denials(stream: &mut Stream) -> Vec<Denial> {
    let denials = stream.connection.take_denials().into_iter();
    denials.map(|(_, denial)| denial).collect()
}

fn acked(stream: &mut Stream, nonce: &str) {
    let mut request = ask(&[]);
    request.response_nonce = nonce.into();
    stream.connection.receive(request, Instant::now());
}

#[test]
fn a_secret_is_given_once_it_and_the_right_to_it_are_known_and_changes_follow() {
    let mut stream = open(&gateway(), Some(proven()), &["edge/c"]);
    assert_eq!(stream.next(), None, "nobody knows yet");
    stream.cache.apply_secrets([known("edge/c", Some("1"))]);
    assert_eq!(stream.next(), None, "it is not known who may have it");
    stream.cache.apply_secrets([grant(Some(true))]);
    let (added, removed, nonce) = stream.next().expect("the Secret");
    assert_eq!((added, removed), (names(&["edge/c"]), names(&[])));
    acked(&mut stream, &nonce);
    assert_eq!(stream.next(), None);
    stream
        .cache
        .apply_secrets([known("edge/c", Some("2")), known("edge/d", Some("2"))]);
    let (added, _, nonce) = stream.next().expect("the change");
    assert_eq!(added, names(&["edge/c"]), "the other was not asked for");
    acked(&mut stream, &nonce);
    stream.cache.apply_secrets([known("edge/c", None)]);
    let (added, removed, _) = stream.next().expect("the removal");
    assert_eq!((added, removed), (names(&[]), names(&["edge/c"])));
    assert_eq!(denials(&mut stream), []);
}

#[test]
fn a_right_that_is_taken_away_takes_the_secret_away() {
    let mut stream = open(&gateway(), Some(proven()), &["edge/c"]);
    stream
        .cache
        .apply_secrets([known("edge/c", Some("1")), grant(Some(true))]);
    let (_, _, nonce) = stream.next().expect("the Secret");
    acked(&mut stream, &nonce);
    // Nobody knows for a moment: what the gateway has stays in service.
    stream.cache.apply_secrets([grant(None)]);
    assert_eq!(stream.next(), None);
    stream.cache.apply_secrets([grant(Some(false))]);
    let (_, removed, nonce) = stream.next().expect("the removal");
    assert_eq!(removed, names(&["edge/c"]));
    assert_eq!(denials(&mut stream), [Denial::Forbidden]);
    acked(&mut stream, &nonce);
    stream.cache.apply_secrets([grant(Some(true))]);
    let (added, _, _) = stream.next().expect("the Secret again");
    assert_eq!(added, names(&["edge/c"]));
}

#[test]
fn who_may_not_have_it_is_told_that_there_is_none_and_the_log_says_why() {
    let mut sidecar = gateway();
    sidecar.id.role = Role::Sidecar;
    let cases = [
        (gateway(), None, "edge/c", Denial::Unproven),
        (sidecar, Some(proven()), "edge/c", Denial::NoGateway),
        (gateway(), Some(proven()), "other/c", Denial::OtherNamespace),
        (gateway(), Some(proven()), "c", Denial::OtherNamespace),
    ];
    for (node, identity, name, denial) in cases {
        let mut stream = open(&node, identity, &[name]);
        // Not even then.
        stream
            .cache
            .apply_secrets([known(name, Some("key")), grant(Some(true))]);
        let (added, removed, _) = stream.next().expect("an answer");
        assert_eq!((added, removed), (names(&[]), names(&[name])), "{denial:?}");
        assert_eq!(denials(&mut stream), [denial]);
        assert_eq!(stream.connection.wanted_secrets().count(), 0, "{denial:?}");
    }
}

#[test]
fn nobody_has_all_secrets() {
    let mut first = ask(&["*"]);
    first.node = Some(gateway().to_wire());
    // Whoever claims to have one is not given it either.
    let had = [("edge/c".to_owned(), String::new())];
    first.initial_resource_versions = had.into();
    let mut connection = Connection::open(&mut first, Some(proven())).expect("the node is valid");
    connection.receive(first, Instant::now());
    let mut stream = Stream {
        cache: Cache::default(),
        connection,
    };
    stream
        .cache
        .apply_secrets([known("edge/c", Some("key")), grant(Some(true))]);
    let (added, removed, _) = stream.next().expect("an answer");
    assert_eq!((added, removed), (names(&[]), names(&["edge/c"])));
}

#[test]
fn what_a_proxy_has_from_an_earlier_stream_is_not_sent_again() {
    let version = Version::of(b"1").to_string();
    let mut first = ask(&["edge/c", "edge/d"]);
    first.node = Some(gateway().to_wire());
    first.initial_resource_versions = HashMap::from([
        ("edge/c".to_owned(), version.clone()),
        ("edge/d".to_owned(), version),
    ]);
    let mut connection = Connection::open(&mut first, Some(proven())).expect("the node is valid");
    connection.receive(first, Instant::now());
    let mut stream = Stream {
        cache: Cache::default(),
        connection,
    };
    assert_eq!(
        stream.next(),
        None,
        "a control plane that starts takes nothing away"
    );
    stream.cache.apply_secrets([
        grant(Some(true)),
        known("edge/c", Some("1")),
        known("edge/d", Some("2")),
    ]);
    let (added, removed, _) = stream.next().expect("what differs");
    assert_eq!((added, removed), (names(&["edge/d"]), names(&[])));
}

#[test]
fn one_connection_asks_for_a_limited_number() {
    let many: Vec<String> = (0..=MAX_NAMES).map(|i| format!("edge/{i:05}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut stream = open(&gateway(), Some(proven()), &many);
    assert_eq!(stream.connection.wanted_secrets().count(), MAX_NAMES);
    let (_, removed, _) = stream.next().expect("an answer for the one too many");
    assert_eq!(removed, names(&[many[MAX_NAMES]]));
}

#[test]
fn a_node_that_is_not_who_its_token_says_is_refused() {
    let mut first = ask(&[]);
    let mut other = gateway();
    other.id.namespace = "other".into();
    first.node = Some(other.to_wire());
    let refused = Connection::open(&mut first, Some(proven()));
    assert!(
        matches!(refused, Err(Error::Identity { .. })),
        "{refused:?}"
    );
}
