//! The rules of the protocol, on one connection as a value.

mod secrets;

use std::collections::HashMap;

use bytes::Bytes;
use lateen_model::proxy::Role;
use lateen_model::{Host, HostPattern, Labels};

use super::super::cache::{Audience, Change, View};
use super::super::scope::{Import, Scope, Subject};
use super::*;
use crate::NodeId;

fn node(name: &str) -> Node {
    Node::new(NodeId {
        role: Role::Sidecar,
        address: "10.0.0.1".parse().expect("an address"),
        name: name.into(),
        namespace: "default".into(),
        domain: "default.svc.cluster.local".into(),
    })
}

fn set(name: &str, bytes: &'static str) -> Change {
    seen_by(name, bytes, Audience::default())
}

fn seen_by(name: &str, bytes: &'static str, audience: Audience) -> Change {
    Change::Set {
        kind: Kind::Config,
        name: name.into(),
        bytes: Bytes::from_static(bytes.as_bytes()),
        audience,
    }
}

fn remove(name: &str) -> Change {
    Change::Remove {
        kind: Kind::Config,
        name: name.into(),
    }
}

fn request(names: &[&str], nonce: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: Kind::Config.type_url().into(),
        resource_names_subscribe: names.iter().map(|name| (*name).into()).collect(),
        response_nonce: nonce.into(),
        ..DeltaDiscoveryRequest::default()
    }
}

/// A connection beside the cache it reads.
struct Stream {
    cache: Cache,
    connection: Connection,
}

impl Stream {
    fn open(cache: Cache, mut first: DeltaDiscoveryRequest) -> Self {
        first.node = Some(node("a").to_wire());
        let mut connection = Connection::open(&mut first, None).expect("the node is valid");
        connection.receive(first, Instant::now());
        Self { cache, connection }
    }

    fn wildcard(changes: impl IntoIterator<Item = Change>) -> Self {
        let mut cache = Cache::default();
        cache.apply(changes);
        Self::open(cache, request(&["*"], ""))
    }

    /// Names added and removed by the next response, and its nonce.
    fn next(&mut self) -> Option<(Vec<String>, Vec<String>, String)> {
        let response = self.connection.respond(&self.cache, Instant::now())?;
        let added = response.resources.into_iter().map(|r| r.name).collect();
        Some((added, response.removed_resources, response.nonce))
    }

    fn ack(&mut self, nonce: &str) -> Answered {
        self.connection.receive(request(&[], nonce), Instant::now())
    }

    fn nack(&mut self, nonce: &str, rejected: Option<&str>) -> Answered {
        let details = rejected.map(|name| prost_types::Any {
            type_url: Rejections::TYPE_URL.into(),
            value: Rejections {
                rejected: vec![Rejection {
                    name: name.into(),
                    error: "bad".into(),
                }],
            }
            .encode_to_vec(),
        });
        let mut request = request(&[], nonce);
        request.error_detail = Some(RpcStatus {
            code: 3,
            message: "all bad".into(),
            details: details.into_iter().collect(),
        });
        self.connection.receive(request, Instant::now())
    }

    fn refused(&self) -> Vec<(String, String)> {
        let status = self.connection.status().remove(0);
        let refused = status.refused.into_iter();
        refused
            .map(|(name, refusal)| (name, refusal.error))
            .collect()
    }
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).into()).collect()
}

#[test]
fn only_changed_names_follow_the_first_response() {
    let mut stream = Stream::wildcard([set("a", "1"), set("b", "1")]);
    let (added, removed, nonce) = stream.next().expect("everything");
    assert_eq!((added, removed), (names(&["a", "b"]), names(&[])));
    stream.ack(&nonce);
    assert_eq!(stream.next(), None);
    let changed = stream
        .cache
        .apply([set("a", "1"), set("b", "2"), remove("x")]);
    assert_eq!(changed, 1);
    let (added, removed, nonce) = stream.next().expect("the change");
    assert_eq!((added, removed), (names(&["b"]), names(&[])));
    stream.ack(&nonce);
    stream.cache.apply([remove("a")]);
    let (added, removed, _) = stream.next().expect("the removal");
    assert_eq!((added, removed), (names(&[]), names(&["a"])));
}

#[test]
fn an_empty_mesh_is_answered_so_that_the_proxy_knows() {
    let mut stream = Stream::wildcard([]);
    let (added, removed, _) = stream.next().expect("an answer");
    assert!(added.is_empty() && removed.is_empty());
    assert_eq!(stream.next(), None);
}

#[test]
fn changes_coalesce_while_a_response_is_in_flight() {
    let mut stream = Stream::wildcard([set("a", "1")]);
    let (_, _, nonce) = stream.next().expect("everything");
    for bytes in ["2", "3", "4"] {
        stream.cache.apply([set("a", bytes), set("b", bytes)]);
        assert_eq!(stream.next(), None);
    }
    stream.cache.apply([remove("b")]);
    stream.ack(&nonce);
    let (added, removed, _) = stream.next().expect("the last state");
    assert_eq!((added, removed), (names(&["a"]), names(&[])));
}

#[test]
fn an_answer_with_another_nonce_is_stale() {
    let mut stream = Stream::wildcard([set("a", "1")]);
    let (_, _, nonce) = stream.next().expect("everything");
    stream.cache.apply([set("a", "2")]);
    assert_eq!(stream.ack("no such nonce"), Answered::Nothing);
    assert_eq!(stream.ack(""), Answered::Nothing);
    assert_eq!(stream.next(), None);
    assert!(matches!(stream.ack(&nonce), Answered::Ack { .. }));
    assert_eq!(stream.ack(&nonce), Answered::Nothing);
    assert!(stream.next().is_some());
}

#[test]
fn a_nack_of_one_resource_keeps_the_others_and_ends_when_it_changes() {
    let mut stream = Stream::wildcard([set("a", "1"), set("b", "1")]);
    let (_, _, nonce) = stream.next().expect("everything");
    assert!(matches!(
        stream.nack(&nonce, Some("b")),
        Answered::Nack { .. }
    ));
    assert_eq!(stream.refused(), [("b".into(), "bad".into())]);
    // It is not sent again until it changes, and others are sent as ever.
    assert_eq!(stream.next(), None);
    stream.cache.apply([set("a", "2")]);
    let (added, _, nonce) = stream.next().expect("the change");
    assert_eq!(added, names(&["a"]));
    stream.ack(&nonce);
    assert_eq!(stream.refused().len(), 1);
    stream.cache.apply([set("b", "2")]);
    let (added, _, nonce) = stream.next().expect("the correction");
    assert_eq!(added, names(&["b"]));
    stream.ack(&nonce);
    assert!(stream.refused().is_empty());
}

#[test]
fn a_nack_without_names_refuses_the_whole_response() {
    let mut stream = Stream::wildcard([set("a", "1"), set("b", "1")]);
    let (_, _, nonce) = stream.next().expect("everything");
    stream.nack(&nonce, None);
    let all_bad = |name: &str| (name.to_owned(), "all bad".to_owned());
    assert_eq!(stream.refused(), [all_bad("a"), all_bad("b")]);
}

#[test]
fn a_nack_cannot_name_what_was_not_sent() {
    let mut stream = Stream::wildcard([set("a", "1")]);
    let (_, _, nonce) = stream.next().expect("everything");
    stream.nack(&nonce, Some("other"));
    assert!(stream.refused().is_empty());
}

#[test]
fn a_reconnect_is_sent_what_differs_and_what_is_gone() {
    let mut cache = Cache::default();
    cache.apply([set("a", "1"), set("b", "2"), set("new", "1")]);
    let version = |bytes: &str| Version::of(bytes.as_bytes()).to_string();
    let mut first = request(&["*"], "");
    first.initial_resource_versions = HashMap::from([
        ("a".into(), version("1")),
        ("b".into(), version("1")),
        ("gone".into(), version("1")),
    ]);
    let mut stream = Stream::open(cache, first);
    let (added, removed, _) = stream.next().expect("the difference");
    assert_eq!(added, names(&["b", "new"]));
    assert_eq!(removed, names(&["gone"]));
}

#[test]
fn a_name_that_does_not_exist_is_answered_as_absent_and_sent_when_it_appears() {
    let mut cache = Cache::default();
    cache.apply([set("other", "1")]);
    let mut stream = Stream::open(cache, request(&["a"], ""));
    let (added, removed, nonce) = stream.next().expect("an answer");
    assert_eq!((added, removed), (names(&[]), names(&["a"])));
    stream.ack(&nonce);
    stream.cache.apply([set("a", "1"), set("other", "2")]);
    let (added, _, nonce) = stream.next().expect("it appeared");
    assert_eq!(added, names(&["a"]));
    stream.ack(&nonce);
    let mut unsubscribe = request(&[], "");
    unsubscribe.resource_names_unsubscribe = names(&["a"]);
    stream.connection.receive(unsubscribe, Instant::now());
    stream.cache.apply([set("a", "2")]);
    assert_eq!(stream.next(), None);
    stream
        .connection
        .receive(request(&["a"], ""), Instant::now());
    let (added, _, nonce) = stream.next().expect("again");
    assert_eq!(added, names(&["a"]));
    stream.ack(&nonce);
    let mut anew = request(&["a"], "");
    anew.resource_names_unsubscribe = names(&["a"]);
    stream.connection.receive(anew, Instant::now());
    assert_eq!(stream.next().expect("anew").0, names(&["a"]));
}

#[test]
fn whoever_takes_no_answers_cannot_ask_without_end() {
    let mut stream = Stream::open(Cache::default(), request(&["a"], ""));
    assert!(stream.next().is_some());
    for i in 0..5_u32 {
        let many: Vec<String> = (0..MAX_NAMES).map(|n| format!("{i}/{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        stream
            .connection
            .receive(request(&many, ""), Instant::now());
        // Nor by turns.
        let mut drop = request(&[], "");
        drop.resource_names_unsubscribe = many.iter().map(|name| (*name).into()).collect();
        if i > 2 {
            stream.connection.receive(drop, Instant::now());
        }
    }
    let long = "x".repeat(MAX_NAME + 1);
    stream
        .connection
        .receive(request(&[&long], ""), Instant::now());
    let subscription = &stream.connection.subscriptions[&Kind::Config];
    assert!(subscription.asked.len() <= MAX_NAMES + 1);
    assert!(subscription.names.len() <= MAX_NAMES);
    let Pending::Names(pending) = &subscription.pending else {
        panic!("nothing asks for everything");
    };
    assert!(pending.len() <= MAX_NAMES + 1, "{}", pending.len());
    assert!(!subscription.names.contains(long.as_str()));
}

#[test]
fn a_first_request_that_only_drops_names_does_not_mean_everything() {
    let mut cache = Cache::default();
    cache.apply([set("a", "1")]);
    let mut first = request(&[], "");
    first.resource_names_unsubscribe = names(&["a"]);
    let mut stream = Stream::open(cache, first);
    assert_eq!(stream.next(), None);
}

#[test]
fn a_proxy_is_sent_only_what_it_may_see_and_follows_its_labels() {
    let labels: Labels = [("app".to_owned(), "x".to_owned())].into();
    let other_pod = Audience {
        pod: Some(("default".into(), "b".into())),
        ..Audience::default()
    };
    let other_namespace = Audience {
        namespaces: Some(vec!["other".into()]),
        ..Audience::default()
    };
    let gateway = Audience {
        role: Some(Role::Gateway),
        ..Audience::default()
    };
    let labelled = Audience {
        labels: labels.clone(),
        ..Audience::default()
    };
    let mut stream = Stream::wildcard([
        set("all", "1"),
        seen_by("pod", "1", other_pod),
        seen_by("namespace", "1", other_namespace),
        seen_by("gateway", "1", gateway.clone()),
        seen_by("labelled", "1", labelled),
    ]);
    let (added, _, nonce) = stream.next().expect("what it sees");
    assert_eq!(added, names(&["all"]));
    stream.ack(&nonce);
    stream.cache.apply([view(Some(View {
        labels,
        scope: None,
    }))]);
    let (added, _, nonce) = stream.next().expect("what its labels show");
    assert_eq!(added, names(&["labelled"]));
    stream.ack(&nonce);
    // Both losing sight of a resource and a narrower audience remove it.
    stream
        .cache
        .apply([view(None), seen_by("all", "1", gateway)]);
    let (_, removed, _) = stream.next().expect("what it no longer sees");
    assert_eq!(removed, names(&["all", "labelled"]));
}

fn view(view: Option<View>) -> Change {
    Change::View {
        namespace: "default".into(),
        name: "a".into(),
        view,
    }
}

#[test]
fn a_proxy_is_sent_what_its_scope_sees_and_follows_its_changes() {
    let service = |namespace: &str| Audience {
        subject: Some(Subject::Service {
            namespace: namespace.into(),
            host: HostPattern::Exact(Host::new("s.com")),
        }),
        ..Audience::default()
    };
    let settings = |scope: &str| Audience {
        subject: Some(Subject::Settings(scope.into())),
        ..Audience::default()
    };
    let mut stream = Stream::wildcard([
        seen_by("own", "1", service("default")),
        seen_by("other", "1", service("other")),
        seen_by("mesh", "1", settings("")),
        seen_by("scope", "1", settings("a")),
    ]);
    let (added, _, nonce) = stream.next().expect("everything");
    assert_eq!(added, names(&["mesh", "other", "own"]));
    stream.ack(&nonce);
    let scope = Scope {
        imports: vec![Import {
            namespace: Some("default".into()),
            host: HostPattern::Any,
        }],
        settings: "a".into(),
        ..Scope::default()
    };
    stream.cache.apply([view(Some(View {
        labels: Labels::new(),
        scope: Some(Arc::new(scope)),
    }))]);
    let (added, removed, nonce) = stream.next().expect("what differs");
    assert_eq!(
        (added, removed),
        (names(&["scope"]), names(&["mesh", "other"]))
    );
    stream.ack(&nonce);
    stream.cache.apply([view(Some(View::default()))]);
    let (added, removed, _) = stream.next().expect("what differs");
    assert_eq!(
        (added, removed),
        (names(&["mesh", "other"]), names(&["scope"]))
    );
}

#[test]
fn a_connection_that_fell_behind_the_log_compares_everything() {
    let mut stream = Stream::wildcard([set("a", "1"), set("b", "1")]);
    let (_, _, nonce) = stream.next().expect("everything");
    stream.ack(&nonce);
    for _ in 0..20_000 {
        stream
            .cache
            .apply([set("flapping", "1"), remove("flapping")]);
    }
    stream.cache.apply([set("b", "2")]);
    let (added, removed, _) = stream.next().expect("the difference");
    assert_eq!((added, removed), (names(&["b"]), names(&[])));
}

#[test]
fn a_stream_without_a_node_is_refused() {
    let error = Connection::open(&mut request(&["*"], ""), None).expect_err("it has no node");
    assert!(error.to_string().contains("first request"), "{error}");
}
