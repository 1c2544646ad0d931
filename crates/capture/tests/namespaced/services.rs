//! What a cluster's service translation needs of the rules, seen from connections.

use std::collections::BTreeMap;

use lateen_capture::nft::{
    Base, Chain, Connection, Family, Field, Hook, Ip, Match, Protocol, Rule, Set, Statement,
    States, Table, Value, Verdict,
};
use lateen_capture::sysctl;

use crate::world::{Case, POD, World, call, reached, serve};

pub(crate) const CASES: &[Case] = &[
    (
        "a_service_spreads_over_its_endpoints",
        a_service_spreads_over_its_endpoints,
    ),
    (
        "a_verdict_map_leads_to_the_chain_of_a_service",
        a_verdict_map_leads_to_the_chain_of_a_service,
    ),
    (
        "a_service_without_endpoints_refuses",
        a_service_without_endpoints_refuses,
    ),
    ("ipv6_services_are_translated", ipv6_services_are_translated),
    (
        "sets_of_ranges_and_names_select",
        sets_of_ranges_and_names_select,
    ),
    ("masquerade_hides_the_source", masquerade_hides_the_source),
    (
        "marks_travel_from_rule_to_rule",
        marks_travel_from_rule_to_rule,
    ),
];

/// Two endpoints outside, and a table in the pod.
fn world_with(table: &Table) -> World {
    let world = World::new();
    for (name, port) in [("one", 9001), ("two", 9002), ("three", 9003)] {
        serve(&world.outside, name, &format!("10.1.0.1:{port}"));
        serve(&world.outside, name, &format!("[fd00:1::1]:{port}"));
    }
    let replace = || Connection::open()?.replace(table);
    world.pod.run(replace).unwrap().unwrap();
    world
}

fn services(chains: Vec<Chain>, output: Vec<Rule>) -> Table {
    let mut table = Table::new(Family::Inet, "services");
    table.chains = chains;
    table.chain(Chain::new("output").base(Base::nat_output()).rules(output))
}

fn to_service() -> Rule {
    Rule::new()
        .when(Match::to([10, 96, 0, 1]))
        .when(Match::tcp(80))
}

fn counts(world: &World, to: &str, calls: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..calls {
        *counts.entry(reached(&world.pod, to)).or_default() += 1;
    }
    counts
}

fn a_service_spreads_over_its_endpoints() {
    let endpoints = [9001, 9002]
        .map(|port| ([10, 1, 0, 1], port).into())
        .to_vec();
    let rule = to_service()
        .then(Statement::Counter)
        .then(Statement::DnatAny(endpoints));
    let world = world_with(&services(Vec::new(), vec![rule]));
    let counts = counts(&world, "10.96.0.1:80", 60);
    assert_eq!(counts.values().sum::<usize>(), 60);
    // Each has 30 on average; below 8 would be 5.7 standard deviations away.
    assert!(counts["one"] > 8 && counts["two"] > 8, "{counts:?}");
    let packets = world.pod.run(|| {
        let listing = Connection::open()?.list(Family::Inet, "services")?;
        Ok::<_, lateen_capture::Error>(listing.unwrap().chain("output").unwrap().rules[0].packets())
    });
    assert_eq!(
        packets.unwrap().unwrap(),
        Some(60),
        "one packet of each connection"
    );
}

fn a_verdict_map_leads_to_the_chain_of_a_service() {
    let fields = vec![
        Field::DestinationAddress(Ip::V4),
        Field::Protocol,
        Field::DestinationPort,
    ];
    let entry = |set: Set, last: u8, port: u16, chain: &str| {
        set.entry(
            vec![
                Value::Address([10, 96, 0, last].into()),
                Value::Protocol(Protocol::Tcp),
                Value::Port(port),
            ],
            Verdict::Goto(chain.into()),
        )
    };
    let map = entry(Set::map("by_address", fields.clone()), 1, 80, "service_a");
    let map = entry(map, 2, 443, "service_b");
    let dnat = |port: u16| Rule::new().then(Statement::Dnat(([10, 1, 0, 1], port).into()));
    let chains = vec![
        Chain::new("endpoint_one").rule(
            Rule::new()
                .when(Match::Protocol(Protocol::Tcp))
                .then(Statement::Dnat(([10, 1, 0, 1], 9001).into())),
        ),
        Chain::new("endpoint_two").rule(dnat(9002)),
        Chain::new("service_a").rule(Rule::new().then(Statement::Spread(vec![
            "endpoint_one".into(),
            "endpoint_two".into(),
        ]))),
        Chain::new("service_b").rule(dnat(9003)),
    ];
    let map_name = map.name.clone();
    let dispatch = Rule::new().then(Statement::Dispatch {
        fields,
        map: map_name,
    });
    let world = world_with(&services(chains, vec![dispatch]).set(map));
    let spread = counts(&world, "10.96.0.1:80", 60);
    assert!(spread["one"] > 8 && spread["two"] > 8, "{spread:?}");
    assert_eq!(reached(&world.pod, "10.96.0.2:443"), "three");
    assert_eq!(reached(&world.pod, "10.1.0.1:9001"), "one", "others pass");
}

fn a_service_without_endpoints_refuses() {
    let mut table = Table::new(Family::Inet, "services");
    let filter = Base::filter(Hook::Output);
    table.chains.push(
        Chain::new("refuse")
            .base(filter)
            .rule(to_service().then(Statement::RejectWithReset))
            .rule(
                Rule::new()
                    .when(Match::to([10, 96, 0, 2]))
                    .then(Statement::Reject),
            ),
    );
    let world = world_with(&table);
    for to in ["10.96.0.1:80", "10.96.0.2:80"] {
        let error = call(&world.pod, to).unwrap_err();
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::ConnectionRefused,
            "{to}: {error}"
        );
    }
}

fn ipv6_services_are_translated() {
    let service: std::net::Ipv6Addr = "fd00:96::1".parse().unwrap();
    let endpoints = ["[fd00:1::1]:9001", "[fd00:1::1]:9002"].map(|to| to.parse().unwrap());
    let rule = Rule::new()
        .when(Match::to(service))
        .then(Statement::DnatAny(endpoints.to_vec()));
    let world = world_with(&services(Vec::new(), vec![rule]));
    let counts = counts(&world, "[fd00:96::1]:80", 60);
    assert!(counts["one"] > 8 && counts["two"] > 8, "{counts:?}");
}

fn sets_of_ranges_and_names_select() {
    let ranges = Set::of_ranges("ranges", Field::DestinationAddress(Ip::V4))
        .element(vec![Value::Network("10.97.0.0/16".parse().unwrap())])
        .element(vec![Value::Network("10.98.0.0/16".parse().unwrap())]);
    let ports = Set::of("ports", vec![Field::DestinationPort])
        .element(vec![Value::Port(80)])
        .element(vec![Value::Port(81)]);
    let rule = Rule::new()
        .when(Match::Protocol(Protocol::Tcp))
        .when(Match::Output("eth*".into()))
        .when(Match::In {
            fields: vec![Field::DestinationAddress(Ip::V4)],
            set: "ranges".into(),
        })
        .when(Match::In {
            fields: vec![Field::DestinationPort],
            set: "ports".into(),
        })
        .then(Statement::Dnat(([10, 1, 0, 1], 9001).into()));
    let other = Rule::new()
        .when(Match::Destination("10.96.0.0/12".parse().unwrap()))
        .unless(Match::LocalDestination)
        .then(Statement::Dnat(([10, 1, 0, 1], 9002).into()));
    let table = services(Vec::new(), vec![rule, other])
        .set(ranges)
        .set(ports);
    let world = world_with(&table);
    for (to, server) in [
        ("10.97.255.255:80", "one"),
        ("10.98.0.0:81", "one"),
        ("10.98.0.1:82", "two"),
        ("10.99.0.0:80", "two"),
        ("10.96.255.255:80", "two"),
    ] {
        assert_eq!(reached(&world.pod, to), server, "{to}");
    }
}

fn masquerade_hides_the_source() {
    let masquerade = Rule::new()
        .when(Match::Output("eth0".into()))
        .when(Match::State(States::NEW.or(States::ESTABLISHED)))
        .then(Statement::Masquerade);
    let table = Table::new(Family::Inet, "services").chain(
        Chain::new("postrouting")
            .base(Base::nat_postrouting())
            .rule(masquerade),
    );
    let world = world_with(&table);
    // A second address, that the world has no route to, is hidden behind the first.
    let answer = world.pod.run(|| {
        let mut links = lateen_capture::link::Connection::open().unwrap();
        links
            .add_address("lo", "192.168.7.7/32".parse().unwrap())
            .unwrap();
    });
    answer.unwrap();
    let source: std::net::SocketAddr = "192.168.7.7:0".parse().unwrap();
    let answer = crate::world::call_with(&world.pod, "10.1.0.1:9001", |socket| {
        socket.bind(&source.into())
    });
    assert_eq!(answer.unwrap().peer.to_string(), POD);
}

fn marks_travel_from_rule_to_rule() {
    let bit = 0x4000;
    let mark = Rule::new()
        .when(Match::to([10, 96, 0, 1]))
        .then(Statement::SetMark {
            mask: bit,
            value: bit,
        })
        .then(Statement::SetConnectionMark(9))
        .verdict(Verdict::Jump("translate".into()));
    let translate = Rule::new()
        .when(Match::Mark {
            mask: bit,
            value: bit,
        })
        .when(Match::ConnectionMark { mask: 1, value: 1 })
        .unless(Match::State(States::INVALID))
        .unless(Match::IsTranslated)
        .then(Statement::Dnat(([10, 1, 0, 1], 9003).into()));
    let chains = vec![Chain::new("translate").rule(translate)];
    let world = world_with(&services(chains, vec![mark]));
    world
        .pod
        .run(|| sysctl::enable_route_localnet("eth0"))
        .unwrap()
        .unwrap();
    assert_eq!(reached(&world.pod, "10.96.0.1:1"), "three");
}
