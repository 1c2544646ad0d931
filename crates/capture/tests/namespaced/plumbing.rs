//! Namespaces, links, routes and the transactions of nftables themselves.

use std::os::fd::AsFd;

use lateen_capture::link::{self, Route, RouteKind, Veth};
use lateen_capture::netns::Netns;
use lateen_capture::nft::{
    Base, Chain, Connection, Expression, Family, Hook, Match, Rule, Statement, Table,
};
use lateen_capture::sysctl;

use crate::world::{Case, World};

pub(crate) const CASES: &[Case] = &[
    (
        "rules_are_read_back_as_they_were_written",
        rules_are_read_back_as_they_were_written,
    ),
    (
        "a_refused_table_leaves_the_previous_one",
        a_refused_table_leaves_the_previous_one,
    ),
    (
        "a_large_table_goes_in_one_transaction",
        a_large_table_goes_in_one_transaction,
    ),
    (
        "links_are_made_changed_and_deleted",
        links_are_made_changed_and_deleted,
    ),
    (
        "routes_are_read_back_as_they_were_written",
        routes_are_read_back_as_they_were_written,
    ),
    (
        "what_does_not_exist_is_told_so",
        what_does_not_exist_is_told_so,
    ),
    (
        "sysctls_are_those_of_the_entered_namespace",
        sysctls_are_those_of_the_entered_namespace,
    ),
    (
        "a_namespace_is_found_by_process",
        a_namespace_is_found_by_process,
    ),
];

fn output(rule: Rule) -> Table {
    Table::new(Family::Inet, "t").chain(Chain::new("output").base(Base::nat_output()).rule(rule))
}

fn rules_are_read_back_as_they_were_written() {
    let netns = Netns::create().unwrap();
    let mut nft = netns.run(Connection::open).unwrap().unwrap();
    let rule = Rule::new()
        .when(Match::tcp(80))
        .unless(Match::mark(7))
        .then(Statement::Redirect(15001))
        .because("a reason");
    // The connection belongs to the namespace, whatever thread uses it.
    nft.replace(&output(rule)).unwrap();
    let listing = nft.list(Family::Inet, "t").unwrap().unwrap();
    let chain = listing.chain("output").unwrap();
    assert_eq!(chain.hook, Some((3, -100)));
    assert_eq!(chain.rules[0].comment, "a reason");
    let text: Vec<_> = chain.rules[0]
        .expressions
        .iter()
        .map(Expression::to_string)
        .collect();
    assert_eq!(
        text,
        [
            "meta 16 => 1",
            "1 == 0x06",
            "payload 2+2/2 => 1",
            "1 == 0x0050",
            "meta 3 => 1",
            &format!(
                "1 != 0x{}",
                if cfg!(target_endian = "little") {
                    "07000000"
                } else {
                    "00000007"
                }
            ),
            "0x3a99 => 1",
            "redirect to 1",
        ]
    );
    nft.delete(Family::Inet, "t").unwrap();
    assert_eq!(nft.list(Family::Inet, "t").unwrap(), None);
    assert_eq!(nft.tables().unwrap(), []);
}

fn a_refused_table_leaves_the_previous_one() {
    let netns = Netns::create().unwrap();
    let mut nft = netns.run(Connection::open).unwrap().unwrap();
    let good = output(Rule::new().then(Statement::Counter));
    nft.replace(&good).unwrap();
    // A redirect belongs in a chain of translations: the kernel refuses it in a filter.
    let bad = Table::new(Family::Inet, "t").chain(
        Chain::new("filter")
            .base(Base::filter(Hook::Output))
            .rule(Rule::new().then(Statement::Redirect(1))),
    );
    let error = nft.replace(&bad).unwrap_err().to_string();
    assert!(
        error.starts_with("replace table inet t: chain filter rule redirect to :1: "),
        "{error}"
    );
    let listing = nft.list(Family::Inet, "t").unwrap().unwrap();
    assert_eq!(listing.chains.len(), 1);
    assert_eq!(listing.chains[0].name, "output");
    nft.replace(&good)
        .expect("the connection is usable after a refusal");
}

fn a_large_table_goes_in_one_transaction() {
    let netns = Netns::create().unwrap();
    let mut nft = netns.run(Connection::open).unwrap().unwrap();
    let mut table = Table::new(Family::Inet, "t");
    for index in 0..500_u16 {
        let [high, low] = index.to_be_bytes();
        let endpoints = vec![
            ([10, 244, high, low], 80).into(),
            ([10, 244, high, low], 81).into(),
        ];
        let rule = Rule::new().then(Statement::DnatAny(endpoints));
        table
            .chains
            .push(Chain::new(format!("service_{index}")).rule(rule));
    }
    nft.replace(&table).unwrap();
    nft.replace(&table).unwrap();
    let listing = nft.list(Family::Inet, "t").unwrap().unwrap();
    assert_eq!((listing.chains.len(), listing.sets.len()), (500, 500));
}

fn links_are_made_changed_and_deleted() {
    let (here, there) = (Netns::create().unwrap(), Netns::create().unwrap());
    let mut links = here.run(link::Connection::open).unwrap().unwrap();
    let hardware = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
    links
        .add_veth(&Veth {
            name: "a",
            peer: "b",
            peer_netns: Some(there.as_fd()),
            mtu: Some(9000),
            hardware_addresses: Some(hardware),
        })
        .unwrap();
    let mut others = there.run(link::Connection::open).unwrap().unwrap();
    let (a, b) = (links.link("a").unwrap(), others.link("b").unwrap());
    assert_eq!((a.mtu, b.mtu, a.is_up), (9000, 9000, false));
    assert_eq!(
        [a.hardware_address, b.hardware_address],
        hardware.map(Vec::from)
    );
    others.rename("b", "eth0").unwrap();
    others.set_mtu("eth0", 1400).unwrap();
    others
        .set_hardware_address("eth0", [2, 0, 0, 0, 0, 3])
        .unwrap();
    others.set_up("eth0").unwrap();
    let eth0 = others.link("eth0").unwrap();
    assert_eq!(
        (eth0.mtu, eth0.is_up, eth0.hardware_address[5]),
        (1400, true, 3)
    );
    others.set_down("eth0").unwrap();
    assert!(!others.link("eth0").unwrap().is_up);
    others.move_to("eth0", here.as_fd()).unwrap();
    let mut names: Vec<_> = links
        .links()
        .unwrap()
        .into_iter()
        .map(|link| link.name)
        .collect();
    names.sort();
    assert_eq!(names, ["a", "eth0", "lo"]);
    links.delete("a").unwrap();
    assert!(
        links.link("eth0").unwrap_err().is_not_found(),
        "the other end goes with it"
    );
}

fn routes_are_read_back_as_they_were_written() {
    let netns = World::new().pod;
    let mut links = netns.run(link::Connection::open).unwrap().unwrap();
    let mut host = Route::on_link("10.9.0.5/32".parse().unwrap(), "eth0");
    host.source = Some(crate::world::POD.parse().unwrap());
    let mut unreachable = Route::on_link("10.10.0.0/16".parse().unwrap(), "lo");
    unreachable.kind = RouteKind::Unreachable;
    unreachable.link = None;
    // A next hop to which no address leads.
    let onlink = Route::via(
        "10.11.0.0/16".parse().unwrap(),
        [169, 254, 1, 1].into(),
        "eth0",
    );
    for route in [&host, &unreachable, &onlink] {
        links.add_route(route).unwrap();
        links
            .add_route(route)
            .expect("adding again is without effect");
        assert!(links.routes().unwrap().contains(route), "{route}");
    }
    links.delete_route(&host).unwrap();
    assert!(!links.routes().unwrap().contains(&host));
    let mut local = Route::on_link("10.12.0.0/16".parse().unwrap(), "lo");
    local.kind = RouteKind::Local;
    links.add_route(&local).unwrap();
    links
        .add_neighbor("eth0", [10, 1, 0, 9].into(), [2, 0, 0, 0, 0, 9])
        .unwrap();
    links
        .add_proxy_neighbor("eth0", "fd00:1::9".parse().unwrap())
        .unwrap();
}

fn what_does_not_exist_is_told_so() {
    let netns = Netns::create().unwrap();
    let mut links = netns.run(link::Connection::open).unwrap().unwrap();
    let error = links.set_up("nowhere").unwrap_err();
    assert!(error.is_not_found());
    assert!(
        error.to_string().starts_with("bring link nowhere up: "),
        "{error}"
    );
    let error = links
        .add_address("nowhere", "10.0.0.1/24".parse().unwrap())
        .unwrap_err();
    assert!(error.is_not_found(), "{error}");
    let veth = Veth {
        name: "lo",
        peer: "b",
        peer_netns: None,
        mtu: None,
        hardware_addresses: None,
    };
    assert!(links.add_veth(&veth).unwrap_err().is_existing());
}

fn sysctls_are_those_of_the_entered_namespace() {
    let (first, second) = (Netns::create().unwrap(), Netns::create().unwrap());
    first.run(sysctl::enable_forwarding).unwrap().unwrap();
    first
        .run(|| sysctl::enable_proxy_arp("lo"))
        .unwrap()
        .unwrap();
    let read = || sysctl::get("net/ipv4/ip_forward").unwrap();
    assert_eq!(
        (
            first.run(read).unwrap().as_str(),
            second.run(read).unwrap().as_str()
        ),
        ("1", "0")
    );
}

fn a_namespace_is_found_by_process() {
    let own = Netns::of_process(std::process::id()).unwrap();
    own.run(|| link::Connection::open().unwrap().link("lo").unwrap())
        .unwrap();
    let error = Netns::of_process(u32::MAX).unwrap_err().to_string();
    assert!(error.contains("/proc/4294967295/ns/net"), "{error}");
}
