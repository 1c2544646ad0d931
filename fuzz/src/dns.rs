//! DNS messages of strangers: clients' questions, servers' answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lateen_wire::dns::query::{Refusal, Transport};
use lateen_wire::dns::{A, AAAA, Answer, Code, HEADER, Name, Query, ask, is_answer, is_truncated};

/// Reads the input as a question and as an answer. What we answer fits, answers that question, and
/// says what was put into it.
pub fn run(input: &[u8]) {
    for transport in [Transport::Udp, Transport::Tcp] {
        match Query::read(input, transport) {
            Ok(query) => answers(input, &query),
            Err(Refusal::Answered(answer)) => assert_eq!(answer.len(), HEADER),
            Err(Refusal::Ignored(_)) => {}
        }
    }
    let Some(name) = Name::parse("a.test") else {
        panic!("a name that a message can carry");
    };
    if let Ok(answer) = Answer::read(input, &name) {
        assert!(answer.alias.is_none() || answer.addresses.is_empty());
    }
    let _ = is_answer(input, 0, &ask::write(0, &name, A));
}

fn answers(input: &[u8], query: &Query) {
    let addresses = [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::from(Ipv6Addr::LOCALHOST),
    ];
    let written = query.addresses(std::slice::from_ref(&query.name), addresses, 30);
    assert!(written.len() <= query.limit());
    assert!(is_answer(&written, query.id, input));
    if !is_truncated(&written) {
        let Ok(read) = Answer::read(&written, &query.name) else {
            panic!("our own answer cannot be read");
        };
        // The name is an alias of itself here, which ends at its addresses.
        assert_eq!(read.addresses, addresses);
    }
    for answer in [query.truncated(), query.failure(Code::ServFail)] {
        assert!(is_answer(&answer, query.id, input));
    }
}

/// Questions and answers of every kind, and each of them cut.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let names = ["a.test", "reviews.default.svc.cluster.local", "x"];
    let names = names.iter().filter_map(|text| Name::parse(text));
    let mut seeds = Vec::new();
    for name in names {
        for kind in [A, AAAA, 15] {
            let question = ask::write(7, &name, kind);
            let Ok(query) = Query::read(&question, Transport::Udp) else {
                panic!("our own question cannot be read");
            };
            let alias = Name::parse("b.test").into_iter().collect::<Vec<_>>();
            let address = [IpAddr::from(Ipv4Addr::LOCALHOST)];
            seeds.push(query.addresses(&alias, address, 30));
            seeds.push(query.failure(Code::NxDomain));
            seeds.push(question[..question.len() - 7].to_vec());
            seeds.push(question);
        }
    }
    seeds
}
