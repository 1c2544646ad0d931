//! The rules of capture, seen from the connections that they lead.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use lateen_capture::dns::Dns;
use lateen_capture::netns::Netns;
use lateen_capture::nft::{self, Family};
use lateen_capture::rules::{
    INBOUND_MARK, INBOUND_SOURCE, INBOUND_SOURCE_V6, Networks, OUTBOUND_MARK, Ports, TABLE,
};
use lateen_capture::{Settings, install, link, remove};

use crate::world::{
    Case, POD, POD6, WORLD, WORLD6, World, call, call_with, reached, reached_marked, serve,
};

pub(crate) const CASES: &[Case] = &[
    (
        "outbound_goes_to_the_proxy_with_its_destination",
        outbound_goes_to_the_proxy_with_its_destination,
    ),
    (
        "inbound_goes_to_the_proxy_with_its_destination",
        inbound_goes_to_the_proxy_with_its_destination,
    ),
    (
        "marked_connections_of_the_proxy_are_exempt",
        marked_connections_of_the_proxy_are_exempt,
    ),
    (
        "a_call_to_the_own_service_passes_the_inbound_side",
        a_call_to_the_own_service_passes_the_inbound_side,
    ),
    (
        "a_direct_call_within_the_pod_stays",
        a_direct_call_within_the_pod_stays,
    ),
    (
        "excluded_ports_and_networks_stay",
        excluded_ports_and_networks_stay,
    ),
    (
        "only_included_ports_and_networks_are_captured",
        only_included_ports_and_networks_are_captured,
    ),
    (
        "the_user_of_the_proxy_is_known_without_marks",
        the_user_of_the_proxy_is_known_without_marks,
    ),
    (
        "ports_of_the_proxy_itself_are_not_captured",
        ports_of_the_proxy_itself_are_not_captured,
    ),
    ("udp_is_untouched", udp_is_untouched),
    (
        "dns_questions_of_the_application_go_to_the_proxy",
        dns_questions_of_the_application_go_to_the_proxy,
    ),
    (
        "a_port_that_the_application_had_serves_the_proxy_too",
        a_port_that_the_application_had_serves_the_proxy_too,
    ),
    (
        "installing_twice_is_installing_once",
        installing_twice_is_installing_once,
    ),
    ("removal_leaves_nothing", removal_leaves_nothing),
];

/// A pod with capture, its proxy's two sides and its application on 8080; servers outside.
fn captured(settings: &Settings) -> World {
    let world = World::new();
    world.pod.run(|| install(settings)).unwrap().unwrap();
    for (name, port) in [
        ("outbound", 15001),
        ("inbound", 15006),
        ("app", 8080),
        ("ready", 15021),
    ] {
        serve(&world.pod, name, &format!("0.0.0.0:{port}"));
        serve(&world.pod, name, &format!("[::]:{port}"));
    }
    for port in [80, 443] {
        serve(&world.outside, "server", &format!("0.0.0.0:{port}"));
        serve(&world.outside, "server", &format!("[::]:{port}"));
    }
    world
}

/// Settings for the only user that the namespace has: the application cannot be told from the
/// proxy by user, so only marks count.
fn by_mark() -> Settings {
    Settings::default()
}

fn outbound_goes_to_the_proxy_with_its_destination() {
    let world = captured(&by_mark());
    // The second address exists nowhere: the proxy decides what becomes of it.
    for to in [
        format!("{WORLD}:80"),
        "10.96.3.4:9080".into(),
        format!("[{WORLD6}]:80"),
        "[fd00:9::1]:9".into(),
    ] {
        let answer = call(&world.pod, &to).unwrap();
        assert_eq!(answer.server, "outbound");
        assert_eq!(answer.original, to.parse::<SocketAddr>().unwrap());
    }
}

fn inbound_goes_to_the_proxy_with_its_destination() {
    let world = captured(&by_mark());
    for (to, from) in [
        (format!("{POD}:8080"), WORLD),
        (format!("[{POD6}]:8080"), WORLD6),
    ] {
        let answer = call(&world.outside, &to).unwrap();
        assert_eq!(answer.server, "inbound");
        assert_eq!(answer.original, to.parse::<SocketAddr>().unwrap());
        assert_eq!(answer.peer.to_string(), from, "the source is kept");
    }
}

fn marked_connections_of_the_proxy_are_exempt() {
    let world = captured(&by_mark());
    for to in [format!("{WORLD}:80"), format!("[{WORLD6}]:80")] {
        assert_eq!(reached_marked(&world.pod, &to, OUTBOUND_MARK), "server");
        assert_eq!(reached_marked(&world.pod, &to, INBOUND_MARK), "server");
        assert_eq!(
            reached_marked(&world.pod, &to, 7),
            "outbound",
            "another mark is no sign"
        );
    }
}

fn a_call_to_the_own_service_passes_the_inbound_side() {
    let world = captured(&by_mark());
    for to in [format!("{POD}:8080"), format!("[{POD6}]:8080")] {
        let mark = |mark| move |socket: &socket2::Socket| socket.set_mark(mark);
        let answer = call_with(&world.pod, &to, mark(OUTBOUND_MARK)).unwrap();
        assert_eq!(answer.server, "inbound");
        assert_eq!(answer.original, to.parse::<SocketAddr>().unwrap());
        assert_eq!(reached_marked(&world.pod, &to, INBOUND_MARK), "app");
    }
    assert_eq!(
        reached_marked(&world.pod, "127.0.0.1:8080", OUTBOUND_MARK),
        "app"
    );
}

fn a_direct_call_within_the_pod_stays() {
    let world = captured(&by_mark());
    for to in [
        format!("{POD}:8080"),
        "127.0.0.1:8080".into(),
        format!("[{POD6}]:8080"),
        "[::1]:8080".into(),
    ] {
        assert_eq!(reached(&world.pod, &to), "app", "{to}");
    }
}

fn excluded_ports_and_networks_stay() {
    let world = captured(&Settings {
        exclude_outbound_ports: vec![443.into()],
        exclude_outbound_networks: vec![format!("{WORLD6}/128").parse().unwrap()],
        exclude_inbound_ports: vec![8080.into()],
        ..by_mark()
    });
    assert_eq!(reached(&world.pod, &format!("{WORLD}:443")), "server");
    assert_eq!(reached(&world.pod, &format!("{WORLD}:80")), "outbound");
    assert_eq!(reached(&world.pod, &format!("[{WORLD6}]:80")), "server");
    assert_eq!(reached(&world.outside, &format!("{POD}:8080")), "app");
    assert_eq!(reached(&world.outside, &format!("{POD}:8081")), "inbound");
}

fn only_included_ports_and_networks_are_captured() {
    let world = captured(&Settings {
        outbound_networks: Networks::Only(vec!["10.96.0.0/16".parse().unwrap()]),
        include_outbound_ports: Ports::Only(vec![443.into()]),
        inbound_ports: Ports::Only(vec![9090.into()]),
        ..by_mark()
    });
    assert_eq!(reached(&world.pod, &format!("{WORLD}:80")), "server");
    assert_eq!(reached(&world.pod, &format!("{WORLD}:443")), "outbound");
    assert_eq!(reached(&world.pod, "10.96.0.10:80"), "outbound");
    assert_eq!(reached(&world.outside, &format!("{POD}:8080")), "app");
    assert_eq!(reached(&world.outside, &format!("{POD}:9090")), "inbound");
}

fn the_user_of_the_proxy_is_known_without_marks() {
    // The namespace's one user plays the proxy.
    let world = captured(&Settings {
        proxy_uids: vec![0],
        proxy_gids: Vec::new(),
        ..Settings::default()
    });
    assert_eq!(reached(&world.pod, &format!("{WORLD}:80")), "server");
    for (to, source) in [
        (format!("{POD}:8080"), SocketAddr::from((INBOUND_SOURCE, 0))),
        (
            format!("[{POD6}]:8080"),
            SocketAddr::from((INBOUND_SOURCE_V6, 0)),
        ),
    ] {
        assert_eq!(reached(&world.pod, &to), "inbound", "the own service");
        let from_inbound = call_with(&world.pod, &to, |socket| socket.bind(&source.into()));
        assert_eq!(from_inbound.unwrap().server, "app");
    }
}

fn ports_of_the_proxy_itself_are_not_captured() {
    let world = captured(&by_mark());
    assert_eq!(reached(&world.outside, &format!("{POD}:15021")), "ready");
}

fn udp_is_untouched() {
    let world = captured(&by_mark());
    let bind = |address: &'static str| move || UdpSocket::bind(address).unwrap();
    let server = world.outside.run(bind("0.0.0.0:53")).unwrap();
    let client = world.pod.run(bind("0.0.0.0:0")).unwrap();
    server
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    client.send_to(b"question", (WORLD, 53)).unwrap();
    let mut buffer = [0; 16];
    let (length, from) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(
        (&buffer[..length], from.ip().to_string().as_str()),
        (&b"question"[..], POD)
    );
}

/// A pod whose DNS questions to the world's server are captured.
fn with_dns() -> World {
    captured(&Settings {
        dns: Dns::Servers(vec![WORLD.parse().unwrap(), WORLD6.parse().unwrap()]),
        ..by_mark()
    })
}

/// Serves a datagram port of a namespace: tells every client the server's name.
fn serve_datagrams(netns: &Netns, name: &'static str, address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    let socket = netns.run(|| UdpSocket::bind(address)).unwrap().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            // A client that has gone is the test's own failure, seen at its end.
            let _ = socket.send_to(name.as_bytes(), from);
        }
    });
}

/// Who answers a datagram, sent from a port (0 for any) with a mark (0 for none).
fn answered(netns: &Netns, to: &str, port: u16, mark: u32) -> String {
    let to: SocketAddr = to.parse().unwrap();
    let any = if to.is_ipv4() { "0.0.0.0" } else { "::" };
    let any: std::net::IpAddr = any.parse().unwrap();
    let socket = netns.run(|| UdpSocket::bind((any, port))).unwrap().unwrap();
    if mark != 0 {
        socket2::SockRef::from(&socket).set_mark(mark).unwrap();
    }
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    // Connected: an answer from anybody but the server itself would not be received.
    socket.connect(to).unwrap();
    socket.send(b"question").unwrap();
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

fn serve_dns(world: &World) {
    for address in ["127.0.0.1", "[::1]"] {
        let address = format!("{address}:15053");
        serve(&world.pod, "proxy", &address);
        serve_datagrams(&world.pod, "proxy", &address);
    }
    for address in [WORLD.to_owned(), format!("[{WORLD6}]")] {
        let address = format!("{address}:53");
        serve(&world.outside, "dns", &address);
        serve_datagrams(&world.outside, "dns", &address);
    }
}

fn dns_questions_of_the_application_go_to_the_proxy() {
    let world = with_dns();
    serve_dns(&world);
    for to in [format!("{WORLD}:53"), format!("[{WORLD6}]:53")] {
        assert_eq!(answered(&world.pod, &to, 0, 0), "proxy", "{to}");
        assert_eq!(answered(&world.pod, &to, 0, OUTBOUND_MARK), "dns", "{to}");
        assert_eq!(reached(&world.pod, &to), "proxy", "{to} by TCP");
        assert_eq!(reached_marked(&world.pod, &to, OUTBOUND_MARK), "dns");
    }
    serve_datagrams(&world.outside, "other", &format!("{WORLD}:54"));
    assert_eq!(answered(&world.pod, &format!("{WORLD}:54"), 0, 0), "other");
}

fn a_port_that_the_application_had_serves_the_proxy_too() {
    let world = with_dns();
    serve_dns(&world);
    let to = format!("{WORLD}:53");
    // Connection tracking remembers the first for half a minute.
    for mark in [0, OUTBOUND_MARK, 0, OUTBOUND_MARK] {
        let expected = if mark == 0 { "proxy" } else { "dns" };
        assert_eq!(answered(&world.pod, &to, 40_001, mark), expected);
    }
}

fn installing_twice_is_installing_once() {
    let world = captured(&by_mark());
    let list = || {
        let mut nft = nft::Connection::open().unwrap();
        let listing = nft.list(Family::Inet, TABLE).unwrap().unwrap();
        let chains = listing.chains.into_iter();
        chains
            .map(|chain| (chain.name, chain.rules.len()))
            .collect::<Vec<_>>()
    };
    let once = world.pod.run(list).unwrap();
    world.pod.run(|| install(&by_mark())).unwrap().unwrap();
    assert_eq!(world.pod.run(list).unwrap(), once);
    assert!(once.contains(&("to_inbound".into(), 1)), "{once:?}");
    assert_eq!(reached(&world.pod, &format!("{WORLD}:80")), "outbound");
}

fn removal_leaves_nothing() {
    let world = captured(&by_mark());
    let left = world.pod.run(|| {
        remove().unwrap();
        remove().unwrap();
        let mut addresses = link::Connection::open().unwrap().addresses().unwrap();
        addresses.retain(|(_, net)| net.addr() == INBOUND_SOURCE_V6);
        (
            nft::Connection::open().unwrap().tables().unwrap(),
            addresses,
        )
    });
    assert_eq!(left.unwrap(), (Vec::new(), Vec::new()));
    assert_eq!(reached(&world.pod, &format!("{WORLD}:80")), "server");
    assert_eq!(reached(&world.outside, &format!("{POD}:8080")), "app");
}
