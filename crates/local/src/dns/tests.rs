//! Questions as clients send them, answers as they read them.

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::answer::{Answer, Transport, answer, fit};
use super::zone::Zone;

struct Object<T>(T);

impl<T> AsRef<T> for Object<T> {
    fn as_ref(&self) -> &T {
        &self.0
    }
}

fn zone() -> Zone {
    let service = |value: Value| Object::<Service>(serde_json::from_value(value).unwrap());
    let services = [
        service(json!({
            "metadata": { "namespace": "default", "name": "reviews" },
            "spec": { "clusterIP": "10.96.0.7", "ports": [{ "name": "http", "port": 9080 }] }
        })),
        service(json!({
            "metadata": { "namespace": "db", "name": "mysql" },
            "spec": { "clusterIP": "None", "ports": [{ "name": "tcp", "port": 3306 }] }
        })),
        service(json!({
            "metadata": { "namespace": "default", "name": "away" },
            "spec": { "type": "ExternalName", "externalName": "example.org" }
        })),
        service(json!({
            "metadata": { "namespace": "default", "name": "near" },
            "spec": { "type": "ExternalName", "externalName": "reviews.default.svc.cluster.local" }
        })),
    ];
    let many: Vec<Value> = (1..=60)
        .map(|n| json!({ "addresses": [format!("10.244.1.{n}")], "conditions": { "ready": true } }))
        .collect();
    let slice = |name: &str, endpoints: Value| {
        let value = json!({
            "metadata": { "namespace": "db", "name": name, "labels": { "kubernetes.io/service-name": "mysql" } },
            "addressType": "IPv4",
            "ports": [{ "name": "tcp", "port": 3306 }],
            "endpoints": endpoints
        });
        Object::<EndpointSlice>(serde_json::from_value(value).unwrap())
    };
    let named = json!([
        { "addresses": ["10.244.0.5"], "hostname": "mysql-0", "conditions": { "ready": true } },
        { "addresses": ["10.244.0.6"], "hostname": "mysql-1", "conditions": { "ready": false } }
    ]);
    let mut zone = Zone::new("cluster.local");
    zone.fill(&services, &[slice("a", named), slice("b", json!(many))]);
    zone
}

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

fn ask_over(transport: Transport, name: &str, kind: RecordType) -> Option<Message> {
    match answer(&zone(), &question(name, kind), transport).unwrap() {
        Answer::Own(bytes) => Some(Message::from_vec(&bytes).unwrap()),
        Answer::Forward { .. } => None,
    }
}

fn ask(name: &str, kind: RecordType) -> Message {
    ask_over(Transport::Udp, name, kind).unwrap()
}

fn texts(message: &Message) -> Vec<String> {
    message
        .answers
        .iter()
        .map(|record| record.data.to_string())
        .collect()
}

#[test]
fn a_service_has_its_cluster_address_whatever_the_case_of_the_question() {
    let message = ask("Reviews.default.svc.cluster.local.", RecordType::A);
    assert_eq!(texts(&message), ["10.96.0.7"]);
    assert_eq!(message.metadata.id, 7);
    assert!(message.metadata.authoritative && message.metadata.recursion_available);
    assert_eq!(
        message.answers[0].name.to_ascii(),
        "Reviews.default.svc.cluster.local."
    );
}

#[test]
fn a_name_without_records_of_the_type_exists_and_another_does_not() {
    let empty = ask("reviews.default.svc.cluster.local.", RecordType::AAAA);
    assert_eq!(empty.metadata.response_code, ResponseCode::NoError);
    assert!(empty.answers.is_empty() && matches!(empty.authorities[0].data, RData::SOA(_)));
    let above = ask("default.svc.cluster.local.", RecordType::A);
    assert_eq!(above.metadata.response_code, ResponseCode::NoError);
    let missing = ask("nobody.default.svc.cluster.local.", RecordType::A);
    assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
}

#[test]
fn a_headless_service_has_the_addresses_of_its_ready_pods() {
    let own = ask("mysql-0.mysql.db.svc.cluster.local.", RecordType::A);
    assert_eq!(texts(&own), ["10.244.0.5"]);
    let unready = ask("mysql-1.mysql.db.svc.cluster.local.", RecordType::A);
    assert_eq!(unready.metadata.response_code, ResponseCode::NXDomain);
    let all = ask_over(Transport::Tcp, "mysql.db.svc.cluster.local.", RecordType::A).unwrap();
    assert_eq!(all.answers.len(), 61);
}

#[test]
fn what_does_not_fit_into_a_datagram_is_truncated() {
    let message = ask("mysql.db.svc.cluster.local.", RecordType::A);
    assert!(message.metadata.truncation);
    assert!(message.to_vec().unwrap().len() <= 512);
}

#[test]
fn named_ports_are_found_with_the_addresses_behind_them() {
    let message = ask(
        "_http._tcp.reviews.default.svc.cluster.local.",
        RecordType::SRV,
    );
    assert_eq!(
        texts(&message),
        ["0 100 9080 reviews.default.svc.cluster.local."]
    );
    assert_eq!(message.additionals[0].data.to_string(), "10.96.0.7");
}

#[test]
fn an_external_name_is_an_alias() {
    let message = ask("away.default.svc.cluster.local.", RecordType::A);
    assert_eq!(texts(&message), ["example.org."]);
    let message = ask("near.default.svc.cluster.local.", RecordType::A);
    assert_eq!(
        texts(&message),
        ["reviews.default.svc.cluster.local.", "10.96.0.7"]
    );
}

#[test]
fn addresses_have_names_and_pods_have_addresses() {
    let message = ask("7.0.96.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(texts(&message), ["reviews.default.svc.cluster.local."]);
    let unknown = ask("8.0.96.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(unknown.metadata.response_code, ResponseCode::NXDomain);
    let pod = ask("10-244-0-9.default.pod.cluster.local.", RecordType::A);
    assert_eq!(texts(&pod), ["10.244.0.9"]);
}

#[test]
fn other_names_are_forwarded_and_a_failure_is_told() {
    assert!(ask_over(Transport::Udp, "example.org.", RecordType::A).is_none());
    // A name that only ends like the domain is not in it.
    assert!(ask_over(Transport::Udp, "mycluster.local.", RecordType::A).is_none());
    let Some(Answer::Forward { failure }) = answer(
        &zone(),
        &question("example.org.", RecordType::A),
        Transport::Udp,
    ) else {
        panic!("it is forwarded");
    };
    let message = Message::from_vec(&failure.bytes).unwrap();
    assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
    let large = fit(vec![0; 5000], &failure, Transport::Udp);
    assert!(Message::from_vec(&large).unwrap().metadata.truncation);
}

#[test]
fn what_is_no_question_gets_no_answer() {
    assert!(answer(&zone(), b"nonsense", Transport::Udp).is_none());
    let mut response = Message::response(7, OpCode::Query);
    response.add_query(Query::query(Name::root(), RecordType::A));
    assert!(answer(&zone(), &response.to_vec().unwrap(), Transport::Udp).is_none());
}
