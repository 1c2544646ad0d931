use std::net::IpAddr;

use super::query::{Refusal, Transport};
use super::{A, AAAA, Answer, Code, HEADER, Name, Query, ask};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn asked(text: &str, kind: u16) -> Query {
    Query::read(&ask::write(7, &name(text), kind), Transport::Udp).unwrap()
}

/// A header of an answer with these counts, for messages by hand.
fn answer_with(counts: [u8; 3], rest: &[u8]) -> Vec<u8> {
    let [questions, answers, authorities] = counts;
    let mut message = vec![
        0,
        7,
        0x81,
        0x80,
        0,
        questions,
        0,
        answers,
        0,
        authorities,
        0,
        0,
    ];
    message.extend_from_slice(rest);
    message
}

#[test]
fn an_answer_says_what_was_put_into_it() {
    let query = asked("Reviews.Default", A);
    assert_eq!(query.name.as_str(), "reviews.default");
    let aliases = [name("reviews.default.svc.cluster.local")];
    let message = query.addresses(&aliases, [ip("10.0.0.1"), ip("10.0.0.2")], 30);
    let question = ask::write(7, &name("reviews.default"), A);
    assert!(super::is_answer(&message, 7, &question));
    assert!(!super::is_answer(&message, 8, &question), "another id");
    let other = ask::write(7, &name("reviews.default"), AAAA);
    assert!(!super::is_answer(&message, 7, &other), "another type");
    let answer = Answer::read(&message, &query.name).unwrap();
    assert_eq!(answer.code, Code::NoError);
    assert_eq!(answer.addresses, [ip("10.0.0.1"), ip("10.0.0.2")]);
    assert_eq!(answer.ttl, Some(30));
    assert_eq!(answer.alias, None);
}

#[test]
fn what_does_not_fit_is_left_out_and_the_answer_says_so() {
    let mut message = ask::write(7, &name("a.test"), AAAA);
    message[11] = 0;
    message.truncate(message.len() - 11);
    let many: Vec<IpAddr> = (0..200_u16)
        .map(|n| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]))
        .collect();
    let query = Query::read(&message, Transport::Udp).unwrap();
    let written = query.addresses(&[], many.iter().copied(), 30);
    assert!(written.len() <= 512, "{}", written.len());
    assert!(super::is_truncated(&written));
    let over_tcp = Query::read(&message, Transport::Tcp).unwrap();
    let written = over_tcp.addresses(&[], many.iter().copied(), 30);
    assert!(!super::is_truncated(&written));
    let answer = Answer::read(&written, &query.name).unwrap();
    assert_eq!(answer.addresses, many);
}

#[test]
fn a_known_name_without_the_wanted_type_is_no_error() {
    let query = asked("a.test", AAAA);
    let message = query.addresses(&[], [], 30);
    let answer = Answer::read(&message, &query.name).unwrap();
    assert_eq!((answer.code, answer.addresses.len()), (Code::NoError, 0));
    let failure = query.failure(Code::ServFail);
    assert_eq!(super::code(&failure), Some(Code::ServFail));
}

#[test]
fn what_is_no_question_is_ignored_and_what_cannot_be_read_is_told_so() {
    let question = ask::write(7, &name("a.test"), A);
    let read = |message: &[u8]| Query::read(message, Transport::Udp);
    assert!(matches!(read(b""), Err(Refusal::Ignored(_))));
    let mut response = question.clone();
    response[2] |= 0x80;
    assert!(matches!(read(&response), Err(Refusal::Ignored(_))));
    let code = |message: &[u8]| match read(message) {
        Err(Refusal::Answered(answer)) => super::code(&answer),
        other => panic!("{other:?}"),
    };
    let mut update = question.clone();
    update[2] |= 5 << 3;
    assert_eq!(code(&update), Some(Code::NotImp));
    let mut two = question.clone();
    two[5] = 2;
    assert_eq!(code(&two), Some(Code::FormErr));
    assert_eq!(code(&question[..HEADER + 3]), Some(Code::FormErr));
}

#[test]
fn a_name_that_points_to_itself_is_refused() {
    let loops: [&[u8]; 4] = [
        &[0xc0, 12],
        &[0xc0, 14, 0xc0, 12],
        &[1, b'a', 0xc0, 12],
        &[0xc0, 0xff],
    ];
    for bytes in loops {
        let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(bytes);
        message.extend_from_slice(&[0, 1, 0, 1]);
        assert!(Query::read(&message, Transport::Udp).is_err(), "{bytes:?}");
    }
}

#[test]
fn a_name_that_points_into_the_header_is_refused() {
    // Its question would be another one in the answer, whose header is another one.
    let mut question = ask::write(7, &name("a.test"), A);
    let end = HEADER + "1a4test".len();
    question.splice(end..=end, [0xc0, 1]);
    let refused = Query::read(&question, Transport::Udp).unwrap_err();
    let Refusal::Answered(answer) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(super::code(&answer), Some(Code::FormErr));
}

#[test]
fn a_name_of_more_than_255_bytes_is_refused() {
    let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for _ in 0..5 {
        message.push(63);
        message.extend_from_slice(&[b'a'; 63]);
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    assert!(Query::read(&message, Transport::Udp).is_err());
    assert_eq!(Name::parse(&"a.".repeat(128)), None);
    assert_eq!(Name::parse(&"a".repeat(64)), None);
    assert_eq!(Name::parse("a..b"), None);
    assert_eq!(Name::parse("."), None);
}

#[test]
fn bytes_of_no_host_make_names_of_their_own() {
    let mut message = Vec::new();
    message.extend_from_slice(&[3, b'a', b'.', b'b', 2, 0xff, b'\\', 0]);
    let (odd, end) = Name::read(&message, 0).unwrap();
    assert_eq!(odd.as_str(), "a\\046b.\\255\\092");
    assert_eq!(end, message.len());
    let mut written = Vec::new();
    odd.write(&mut written);
    assert_eq!(written, message);
}

#[test]
fn aliases_are_followed_in_any_order_and_the_least_ttl_counts() {
    // c.test A 192.0.2.1 (60), b.test CNAME c.test (20), a.test CNAME b.test (40).
    let mut rest = Vec::new();
    name("a.test").write(&mut rest);
    rest.extend_from_slice(&[0, 1, 0, 1]);
    let mut record = |owner: &str, kind: u8, ttl: u8, data: &[u8]| {
        name(owner).write(&mut rest);
        rest.extend_from_slice(&[0, kind, 0, 1, 0, 0, 0, ttl, 0]);
        rest.push(u8::try_from(data.len()).unwrap());
        rest.extend_from_slice(data);
    };
    let text = |text: &str| {
        let mut bytes = Vec::new();
        name(text).write(&mut bytes);
        bytes
    };
    record("c.test", 1, 60, &[192, 0, 2, 1]);
    record("b.test", 5, 20, &text("c.test"));
    record("a.test", 5, 40, &text("b.test"));
    let message = answer_with([1, 3, 0], &rest);
    let answer = Answer::read(&message, &name("a.test")).unwrap();
    assert_eq!(answer.addresses, [ip("192.0.2.1")]);
    assert_eq!(answer.ttl, Some(20));
    // Of another name nothing is known.
    let other = Answer::read(&message, &name("x.test")).unwrap();
    assert_eq!((other.addresses.len(), other.alias), (0, None));
}

#[test]
fn an_alias_without_an_address_and_a_circle_end() {
    let mut rest = Vec::new();
    name("a.test").write(&mut rest);
    rest.extend_from_slice(&[0, 1, 0, 1]);
    // Points to the question's name: a.test CNAME b.test.
    rest.extend_from_slice(&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 8]);
    name("b.test").write(&mut rest);
    let answer = Answer::read(&answer_with([1, 1, 0], &rest), &name("a.test")).unwrap();
    assert_eq!(answer.alias, Some(name("b.test")));
    assert_eq!(answer.ttl, Some(9));
    name("b.test").write(&mut rest);
    rest.extend_from_slice(&[0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12]);
    let circle = Answer::read(&answer_with([1, 2, 0], &rest), &name("a.test")).unwrap();
    assert_eq!((circle.addresses.len(), circle.alias), (0, None));
}

#[test]
fn for_how_long_a_name_has_nothing_is_said_by_its_zone() {
    let mut rest = Vec::new();
    name("a.test").write(&mut rest);
    rest.extend_from_slice(&[0, 1, 0, 1]);
    // test SOA . . 1 2 3 4 15, with a TTL of 60.
    name("test").write(&mut rest);
    rest.extend_from_slice(&[0, 6, 0, 1, 0, 0, 0, 60, 0, 22, 0, 0]);
    for number in [1_u32, 2, 3, 4, 15] {
        rest.extend_from_slice(&number.to_be_bytes());
    }
    let mut message = answer_with([1, 0, 1], &rest);
    message[3] |= 3;
    let answer = Answer::read(&message, &name("a.test")).unwrap();
    assert_eq!((answer.code, answer.ttl), (Code::NxDomain, Some(15)));
}

#[test]
fn every_cut_and_every_changed_byte_is_survived() {
    let query = asked("reviews.default.svc.cluster.local", A);
    let whole = query.addresses(&[name("b.test")], [ip("10.0.0.1"), ip("::1")], 30);
    for end in 0..whole.len() {
        let _ = Answer::read(&whole[..end], &query.name);
        let _ = Query::read(&whole[..end], Transport::Udp);
    }
    for at in 0..whole.len() {
        for value in [0, 1, 0x3f, 0x40, 0x80, 0xc0, 0xff] {
            let mut changed = whole.clone();
            changed[at] = value;
            let _ = Answer::read(&changed, &query.name);
            let _ = super::is_answer(&changed, 7, &whole);
            changed[2] &= 0x7f;
            let _ = Query::read(&changed, Transport::Udp);
        }
    }
}
