//! DNS messages: a question in, the zone's answer or a wish to forward out. No socket, no clock.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::zone::{Found, Records, Zone};

/// Seconds that answers are good for: short, as endpoints come and go.
const TTL: u32 = 5;
/// What a client without EDNS takes over UDP (RFC 1035, 4.2.1).
const UDP_DEFAULT: usize = 512;
/// What we take and send over UDP at most.
const UDP_MAX: u16 = 1232;
/// The version of the Kubernetes DNS specification that is followed.
const SPECIFICATION: &str = "1.1.0";
/// Aliases of aliases; more are a loop.
const MAX_ALIASES: usize = 8;

/// How a question came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// In a datagram.
    Udp,
    /// Over a connection.
    Tcp,
}

/// What to do with a question.
#[derive(Debug)]
pub(super) enum Answer {
    /// Send this.
    Own(Vec<u8>),
    /// Ask somebody else.
    Forward {
        /// What to send if that fails.
        failure: Failure,
    },
}

/// The answer that there is none, and how much the client takes.
#[derive(Debug)]
pub(super) struct Failure {
    /// SERVFAIL for the question.
    pub(super) bytes: Vec<u8>,
    /// The same with TC set: the client is to ask again over TCP.
    truncated: Vec<u8>,
    limit: usize,
}

/// Answers a message; nothing to what is no question.
pub(super) fn answer(zone: &Zone, bytes: &[u8], transport: Transport) -> Option<Answer> {
    let question = Message::from_vec(bytes).ok()?;
    if question.metadata.message_type != MessageType::Query {
        return None;
    }
    let limit = match transport {
        Transport::Udp => usize::from(question.max_payload().min(UDP_MAX)).max(UDP_DEFAULT),
        Transport::Tcp => usize::from(u16::MAX),
    };
    let mut response = response_to(&question);
    let query = match question.queries.as_slice() {
        [query] if question.metadata.op_code == OpCode::Query => query,
        [_] => {
            response.metadata.response_code = ResponseCode::NotImp;
            return Some(Answer::Own(encode(&response, limit)));
        }
        _ => {
            response.metadata.response_code = ResponseCode::FormErr;
            return Some(Answer::Own(encode(&response, limit)));
        }
    };
    let is_ours = query.query_class() == DNSClass::IN || query.query_class() == DNSClass::ANY;
    if !is_ours || resolve(zone, query, &mut response) == Outcome::Elsewhere {
        let mut failure = response_to(&question);
        failure.metadata.response_code = ResponseCode::ServFail;
        let mut truncated = response_to(&question);
        truncated.metadata.truncation = true;
        let failure = Failure {
            bytes: encode(&failure, limit),
            truncated: encode(&truncated, limit),
            limit,
        };
        return Some(Answer::Forward { failure });
    }
    Some(Answer::Own(encode(&response, limit)))
}

/// Makes a forwarded answer fit for the client's transport.
pub(super) fn fit(answer: Vec<u8>, failure: &Failure, transport: Transport) -> Vec<u8> {
    match transport {
        Transport::Udp if answer.len() > failure.limit => failure.truncated.clone(),
        Transport::Udp | Transport::Tcp => answer,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    Elsewhere,
}

fn response_to(question: &Message) -> Message {
    let mut response = Message::response(question.metadata.id, question.metadata.op_code);
    response.metadata.recursion_desired = question.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_queries(question.queries.iter().cloned());
    if question.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_MAX);
        response.set_edns(edns);
    }
    response
}

/// Puts the zone's answer into `response`.
fn resolve(zone: &Zone, query: &Query, response: &mut Message) -> Outcome {
    let asked = canonical(query.name());
    let mut name = asked.clone();
    for _ in 0..MAX_ALIASES {
        match zone.find(&name) {
            Found::Elsewhere if name == asked => return Outcome::Elsewhere,
            // The alias leads out of the cluster: the client asks for the rest itself, which its
            // search for the address of an ExternalName does (the answer has no address).
            Found::Elsewhere => break,
            Found::Nothing => {
                response.metadata.response_code = ResponseCode::NXDomain;
                break;
            }
            Found::Records(records) => {
                let owner = if name == asked {
                    query.name().clone()
                } else {
                    fqdn(&name)
                };
                if let Some(target) = alias_to_follow(&records, query.query_type()) {
                    response.add_answer(Record::from_rdata(
                        owner,
                        TTL,
                        RData::CNAME(CNAME(fqdn(&target))),
                    ));
                    name = target;
                    continue;
                }
                let version =
                    (name == format!("dns-version.{}", zone.domain())).then_some(SPECIFICATION);
                response.add_answers(records_of(&records, &owner, query.query_type(), version));
                add_targets(zone, &records, query.query_type(), response);
                break;
            }
        }
    }
    response.metadata.authoritative = true;
    if response.answers.is_empty() {
        response.add_authority(start_of_authority(zone));
    }
    Outcome::Answered
}

fn alias_to_follow(records: &Records, wanted: RecordType) -> Option<String> {
    records
        .alias
        .clone()
        .filter(|_| wanted != RecordType::CNAME)
}

fn records_of(
    records: &Records,
    owner: &Name,
    wanted: RecordType,
    version: Option<&str>,
) -> Vec<Record> {
    let mut data = Vec::new();
    let wants = |kind: RecordType| wanted == kind || wanted == RecordType::ANY;
    for address in &records.addresses {
        match address {
            IpAddr::V4(address) if wants(RecordType::A) => data.push(RData::A(A(*address))),
            IpAddr::V6(address) if wants(RecordType::AAAA) => {
                data.push(RData::AAAA(AAAA(*address)));
            }
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
    }
    if wants(RecordType::SRV) && !records.services.is_empty() {
        let count = u16::try_from(records.services.len()).unwrap_or(u16::MAX);
        // As CoreDNS does: priority 0, and an even share of 100 for each.
        let weight = (100 / count).max(1);
        data.extend(
            records
                .services
                .iter()
                .map(|(port, target)| RData::SRV(SRV::new(0, weight, *port, fqdn(target)))),
        );
    }
    if wants(RecordType::CNAME) {
        data.extend(
            records
                .alias
                .iter()
                .map(|target| RData::CNAME(CNAME(fqdn(target)))),
        );
    }
    if wants(RecordType::PTR) {
        data.extend(
            records
                .pointer
                .iter()
                .map(|name| RData::PTR(PTR(fqdn(name)))),
        );
    }
    if wants(RecordType::TXT) {
        data.extend(version.map(|text| RData::TXT(TXT::new(vec![text.to_owned()]))));
    }
    data.into_iter()
        .map(|data| Record::from_rdata(owner.clone(), TTL, data))
        .collect()
}

/// The addresses of the names that SRV records point to (RFC 2782, "The Target").
fn add_targets(zone: &Zone, records: &Records, wanted: RecordType, response: &mut Message) {
    if wanted != RecordType::SRV {
        return;
    }
    for (_, target) in &records.services {
        if let Found::Records(target_records) = zone.find(target) {
            let owner = fqdn(target);
            for kind in [RecordType::A, RecordType::AAAA] {
                response.add_additionals(records_of(&target_records, &owner, kind, None));
            }
        }
    }
}

/// What negative answers carry (RFC 2308, 3): how long they are good for.
fn start_of_authority(zone: &Zone) -> Record {
    let server = fqdn(&format!("ns.dns.{}", zone.domain()));
    let mailbox = fqdn(&format!("hostmaster.{}", zone.domain()));
    let soa = SOA::new(server, mailbox, 1, 7200, 1800, 86400, TTL);
    Record::from_rdata(fqdn(zone.domain()), TTL, RData::SOA(soa))
}

fn encode(message: &Message, limit: usize) -> Vec<u8> {
    let whole = message.to_vec().unwrap_or_default();
    if whole.len() <= limit {
        return whole;
    }
    let mut short = message.truncate();
    short.metadata.truncation = true;
    short.to_vec().unwrap_or_default()
}

fn canonical(name: &Name) -> String {
    name.to_lowercase()
        .to_ascii()
        .trim_end_matches('.')
        .to_owned()
}

/// A name of ours as DNS writes it. One that cannot be written (a label over 63 bytes) becomes the
/// root: Kubernetes allows no such name.
fn fqdn(name: &str) -> Name {
    Name::from_ascii(format!("{name}.")).unwrap_or_else(|_| Name::root())
}
