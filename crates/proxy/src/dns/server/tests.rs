use lateen_wire::dns::{Answer, ask, is_truncated};

use super::super::fixture::{NameServer, Say, run, upstream};
use super::*;

/// The mesh of these tests.
fn names(name: &str) -> Option<Named> {
    let (alias, addresses): (Option<&str>, &[&str]) = match name {
        "reviews" | "reviews.default" => (None, &["10.96.0.1"]),
        "vip.test" => (None, &["240.240.0.1"]),
        "db" => (None, &["10.244.0.1", "10.244.0.2", "10.244.0.3"]),
        "other" => (Some("vip.test"), &["240.240.0.1"]),
        _ => return None,
    };
    Some(Named {
        alias: alias.map(lateen_model::Host::new),
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
    })
}

fn zone(name: &str, kind: u16, transport: Transport) -> Say {
    match (name, kind, transport) {
        ("out.test", A, _) => Say::Addresses("cdn.test", &["192.0.2.1"], 77),
        ("vip.test", _, _) => Say::Addresses("", &["192.0.2.66"], 77),
        ("large.test", _, Transport::Udp) => Say::Raw(vec![0; 2000]),
        ("large.test", _, Transport::Tcp) => Say::Raw(vec![0; 30_000]),
        ("silent.test", ..) => Say::Silence,
        _ => Say::Code(Code::NxDomain),
    }
}

struct World {
    server: Rc<Server>,
    at: SocketAddr,
    outside: NameServer,
}

impl World {
    async fn new() -> Self {
        let outside = NameServer::start(zone).await;
        let search = ["default.svc.cluster.local", "svc.cluster.local"];
        let upstream = upstream(&[outside.address], &search);
        let server = Server::new(Box::new(names), upstream);
        let sockets = Sockets::bind(0).unwrap();
        let at = sockets[0].address().unwrap();
        server.serve(sockets);
        Self {
            server,
            at,
            outside,
        }
    }

    /// What is answered to a datagram.
    async fn exchange(&self, message: &[u8]) -> Vec<u8> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(message, self.at).await.unwrap();
        let mut answer = vec![0; 4096];
        let received = timeout(Duration::from_secs(10), socket.recv(&mut answer)).await;
        answer.truncate(received.expect("an answer").unwrap());
        answer
    }

    async fn ask(&self, name: &str, kind: u16) -> Answer {
        let name = Name::parse(name).unwrap();
        let query = ask::write(4711, &name, kind);
        let answer = self.exchange(&query).await;
        assert!(lateen_wire::dns::is_answer(&answer, 4711, &query));
        Answer::read(&answer, &name).unwrap()
    }

    async fn ask_over(&self, stream: &mut TcpStream, name: &str, kind: u16) -> Vec<u8> {
        let query = ask::write(4711, &Name::parse(name).unwrap(), kind);
        let length = u16::try_from(query.len()).unwrap();
        stream.write_u16(length).await.unwrap();
        stream.write_all(&query).await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await.unwrap();
        answer
    }
}

fn addresses(answer: &Answer) -> Vec<String> {
    answer.addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn names_of_the_mesh_are_answered_without_asking_anybody() {
    run(async || {
        let world = World::new().await;
        let answer = world.ask("Reviews.default", A).await;
        assert_eq!(addresses(&answer), ["10.96.0.1"]);
        assert_eq!((answer.code, answer.ttl), (Code::NoError, Some(30)));
        // Whatever the world says: the other family has nothing.
        let answer = world.ask("vip.test", AAAA).await;
        assert_eq!((answer.code, answer.addresses.len()), (Code::NoError, 0));
        // As programs ask first, and by another name.
        for name in ["vip.test.default.svc.cluster.local", "other"] {
            let answer = world.ask(name, A).await;
            assert_eq!(addresses(&answer), ["240.240.0.1"], "{name}");
        }
        assert_eq!(world.outside.names(), [""; 0]);
    });
}

#[test]
fn everything_else_is_answered_by_the_systems_servers() {
    run(async || {
        let world = World::new().await;
        let answer = world.ask("out.test", A).await;
        assert_eq!(addresses(&answer), ["192.0.2.1"]);
        assert_eq!(answer.ttl, Some(77));
        let answer = world.ask("absent.test", A).await;
        assert_eq!(answer.code, Code::NxDomain);
        // Of what the mesh knows only addresses are its own.
        let answer = world.ask("vip.test", 15).await;
        assert_eq!(answer.code, Code::NoError);
        assert_eq!(
            world.outside.names(),
            ["out.test", "absent.test", "vip.test"]
        );
        let metrics = world.server.metrics();
        assert!(
            metrics.contains("istio_agent_dns_requests_total 3\n"),
            "{metrics}"
        );
        assert!(metrics.contains("istio_agent_dns_upstream_requests_total 3\n"));
    });
}

#[test]
fn a_server_that_is_silent_makes_a_failure() {
    run(async || {
        let world = World::new().await;
        let answer = world.ask("silent.test", A).await;
        assert_eq!(answer.code, Code::ServFail);
        assert!(
            world
                .server
                .metrics()
                .contains("upstream_failures_total 1\n")
        );
    });
}

#[test]
fn an_answer_that_is_too_long_is_asked_for_over_tcp() {
    run(async || {
        let world = World::new().await;
        let query = ask::write(1, &Name::parse("large.test").unwrap(), A);
        let answer = world.exchange(&query).await;
        assert!(is_truncated(&answer));
        assert!(answer.len() <= 1232);
        let mut stream = TcpStream::connect(world.at).await.unwrap();
        // Several questions come over one connection.
        let own = world.ask_over(&mut stream, "reviews", A).await;
        assert!(Answer::read(&own, &Name::parse("reviews").unwrap()).is_ok());
        let answer = world.ask_over(&mut stream, "large.test", A).await;
        assert!(answer.len() > 30_000);
    });
}

#[test]
fn every_pod_of_a_headless_service_comes_first_now_and_then() {
    run(async || {
        let world = World::new().await;
        let mut first = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let answer = world.ask("db", A).await;
            assert_eq!(answer.addresses.len(), 3);
            first.insert(answer.addresses[0]);
        }
        assert_eq!(first.len(), 3);
    });
}

#[test]
fn malformed_questions_are_told_so_and_answers_are_ignored() {
    run(async || {
        let world = World::new().await;
        let good = ask::write(9, &Name::parse("reviews").unwrap(), A);
        let code = |answer: &[u8]| lateen_wire::dns::code(answer);
        let answer = world.exchange(&good[..good.len() - 3]).await;
        assert_eq!(code(&answer), Some(Code::FormErr));
        let mut update = good.clone();
        update[2] |= 5 << 3;
        assert_eq!(code(&world.exchange(&update).await), Some(Code::NotImp));
        // Nothing comes back to these, so the next question has the next answer.
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut response = good.clone();
        response[2] |= 0x80;
        for message in [&response[..], &[], &[0; 5000]] {
            socket.send_to(message, world.at).await.unwrap();
        }
        socket.send_to(&good, world.at).await.unwrap();
        let mut answer = [0; 4096];
        let length = socket.recv(&mut answer).await.unwrap();
        assert_eq!(code(&answer[..length]), Some(Code::NoError));
    });
}

#[test]
fn too_many_questions_at_a_time_fail_at_once() {
    run(async || {
        let world = World::new().await;
        let permits = Arc::clone(&world.server.forwarded);
        let all = u32::try_from(MOST_FORWARDED).unwrap();
        let _taken = permits.acquire_many(all).await.unwrap();
        assert_eq!(world.ask("out.test", A).await.code, Code::ServFail);
        assert_eq!(addresses(&world.ask("reviews", A).await), ["10.96.0.1"]);
    });
}
