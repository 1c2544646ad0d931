use lateen_wire::dns::query::Transport;

use super::super::fixture::{NameServer, Say, run, upstream};
use super::*;

const BOTH: Families = Families { v4: true, v6: true };
const ONLY_V4: Families = Families {
    v4: true,
    v6: false,
};

fn ips(list: &[&str]) -> Vec<IpAddr> {
    let list = list.iter().map(|text| text.parse().unwrap());
    list.collect()
}

fn zone(name: &str, kind: u16, transport: Transport) -> Say {
    match (name, kind, transport) {
        ("a.test.", ..) => unreachable!("names have no dot at their end"),
        ("a.test", A, _) => Say::Addresses("", &["192.0.2.1", "192.0.2.2"], 20),
        ("a.test", AAAA, _) => Say::Addresses("", &["2001:db8::1"], 7),
        ("four.test", A, _) => Say::Addresses("", &["192.0.2.4"], 9),
        ("four.test", AAAA, _) | ("x.broken", ..) => Say::Code(Code::ServFail),
        ("alias.test", ..) => Say::Addresses("a.test", &[], 5),
        ("circle.test", ..) => Say::Addresses("circle.test", &[], 5),
        ("x.test", A, _) => Say::Addresses("", &["192.0.2.9"], 50),
        ("x.test", ..) => Say::Addresses("", &[], 50),
        ("large.test", A, Transport::Udp) => Say::Truncated,
        ("large.test", A, Transport::Tcp) => Say::Addresses("", &["192.0.2.8"], 3),
        ("guessed.test", A, _) => Say::Raw(Vec::new()),
        ("silent.test", ..) => Say::Silence,
        ("refused.test", ..) => Say::Code(Code::Refused),
        _ => Say::Code(Code::NxDomain),
    }
}

/// What is found in the test's zone.
async fn find(families: Families, name: &str) -> io::Result<Found> {
    let server = NameServer::start(zone).await;
    look_up(&upstream(&[server.address], &["test"]), families, name).await
}

#[test]
fn both_families_are_looked_up_and_the_shorter_time_counts() {
    run(async || {
        let found = find(BOTH, "a.test").await.unwrap();
        assert_eq!(
            found.addresses,
            ips(&["192.0.2.1", "192.0.2.2", "2001:db8::1"])
        );
        assert_eq!(found.ttl, Some(Duration::from_secs(7)));
        let found = find(ONLY_V4, "a.test").await.unwrap();
        assert_eq!(found.addresses, ips(&["192.0.2.1", "192.0.2.2"]));
        assert_eq!(found.ttl, Some(Duration::from_secs(20)));
        let found = find(BOTH, "four.test").await.unwrap();
        assert_eq!(found.addresses, ips(&["192.0.2.4"]), "the other one fails");
    });
}

#[test]
fn an_alias_that_the_answer_leaves_open_is_asked_for() {
    run(async || {
        let found = find(ONLY_V4, "alias.test").await.unwrap();
        assert_eq!(found.addresses, ips(&["192.0.2.1", "192.0.2.2"]));
        assert_eq!(found.ttl, Some(Duration::from_secs(5)), "the alias' own");
        let found = find(ONLY_V4, "circle.test").await.unwrap();
        assert_eq!(found.addresses, ips(&[]));
    });
}

#[test]
fn short_names_are_sought_in_the_search_domains() {
    run(async || {
        let server = NameServer::start(zone).await;
        let upstream = upstream(&[server.address], &["none", "test"]);
        let found = look_up(&upstream, ONLY_V4, "x").await.unwrap();
        assert_eq!(found.addresses, ips(&["192.0.2.9"]));
        assert_eq!(server.names(), ["x.none", "x.test"]);
        let found = look_up(&upstream, ONLY_V4, "y.").await.unwrap();
        assert_eq!(found.addresses, ips(&[]));
        assert_eq!(server.names()[2..], ["y"]);
        let broken = super::super::fixture::upstream(&[server.address], &["broken", "test"]);
        let found = look_up(&broken, ONLY_V4, "x").await.unwrap();
        assert_eq!(found.addresses, ips(&["192.0.2.9"]));
    });
}

#[test]
fn what_does_not_fit_is_asked_for_over_tcp() {
    run(async || {
        let found = find(ONLY_V4, "large.test").await.unwrap();
        assert_eq!(found.addresses, ips(&["192.0.2.8"]));
    });
}

#[test]
fn an_answer_with_another_id_is_passed_over() {
    run(async || {
        let found = find(ONLY_V4, "guessed.test").await.unwrap();
        assert_eq!(found.addresses, ips(&[]));
    });
}

#[test]
fn the_next_server_is_asked_when_one_is_silent_or_refuses() {
    fn silent(_: &str, _: u16, _: Transport) -> Say {
        Say::Silence
    }
    fn refusing(_: &str, _: u16, _: Transport) -> Say {
        Say::Code(Code::Refused)
    }
    run(async || {
        let servers = [
            NameServer::start(silent).await.address,
            NameServer::start(refusing).await.address,
            NameServer::start(zone).await.address,
        ];
        let all = upstream(&servers, &[]);
        let found = look_up(&all, ONLY_V4, "a.test").await.unwrap();
        assert_eq!(found.addresses.len(), 2);
        let none = upstream(&servers[..2], &[]);
        let error = look_up(&none, ONLY_V4, "a.test").await.unwrap_err();
        assert!(error.to_string().contains("Refused"), "{error}");
        let silent = upstream(&servers[..1], &[]);
        let error = look_up(&silent, ONLY_V4, "a.test").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!((silent.asked(), silent.failed()), (1, 1));
    });
}

#[test]
fn a_name_that_does_not_exist_has_no_addresses_and_no_error() {
    run(async || {
        let found = find(BOTH, "absent.test").await.unwrap();
        assert_eq!(found.addresses, ips(&[]));
        assert!(find(BOTH, "not a name..").await.is_err());
    });
}

#[test]
fn the_families_are_those_of_the_pods_addresses() {
    assert_eq!(Families::of(&ips(&["10.0.0.1"])), ONLY_V4);
    assert_eq!(Families::of(&ips(&["10.0.0.1", "::1"])), BOTH);
    assert_eq!(Families::of(&[]), BOTH);
    assert!(!Families::of(&ips(&["::1"])).v4);
}
