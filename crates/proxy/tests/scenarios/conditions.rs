//! Which requests and connections a rule is for.

use std::collections::BTreeMap;

use lateen_model::http::{HeaderChanges, HeaderRules, HttpAction, HttpRule};
use lateen_model::proxy::Role;
use lateen_model::route::{GatewayRef, HttpMatch, L4Match, StringMatch, TcpRule, ValueMatch};
use lateen_model::service::ExportTo;
use lateen_model::{Body, HostPattern, Labels, Protocol, Resource};

use crate::resources;
use crate::world::{GET, OK, OWN, World, field, has_line, run, to};

const A: &str = "10.0.1.1";
const B: &str = "10.0.2.1";

fn exact(text: &str) -> StringMatch {
    StringMatch::Exact(text.into())
}

fn prefix(text: &str) -> StringMatch {
    StringMatch::Prefix(text.into())
}

fn regex(text: &str) -> StringMatch {
    StringMatch::Regex(text.into())
}

fn gateway() -> GatewayRef {
    GatewayRef::Gateway {
        namespace: "default".into(),
        name: "gateway".into(),
    }
}

/// The proxy of this test, with a label.
fn labelled(role: Role) -> Resource {
    let mut proxy = resources::proxy(role, OWN.parse().expect("an address"));
    if let Body::Proxy(proxy) = &mut proxy.body {
        proxy.labels = Labels::from([("app".into(), "client".into())]);
    }
    proxy
}

/// Whether a block takes a request.
async fn takes(block: HttpMatch, request: &str) -> bool {
    let mut world = Box::new(World::gateway());
    world.apply(labelled(Role::Gateway));
    world
        .service("a", Protocol::Http, &[A])
        .service("b", Protocol::Http, &[B]);
    world.apply(resources::gateway(8080));
    let chosen = HttpRule {
        matches: vec![block],
        ..to("a")
    };
    world.apply(resources::rules(vec![chosen, to("b")]));
    let mut client = world.client();
    client.say(request).await;
    let mut upstream = world.upstream().await;
    upstream.serve(OK).await;
    client.hear_message("ok").await;
    upstream.ip() == A
}

fn with(line: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n")
}

#[test]
fn methods_schemes_and_authorities_are_compared_as_texts() {
    let method = |method| HttpMatch {
        method: Some(method),
        ..HttpMatch::default()
    };
    let scheme = |scheme| HttpMatch {
        scheme: Some(scheme),
        ..HttpMatch::default()
    };
    let authority = |authority| HttpMatch {
        authority: Some(authority),
        ..HttpMatch::default()
    };
    for (block, is_taken) in [
        (method(exact("GET")), true),
        (method(exact("get")), false),
        (method(prefix("G")), true),
        (method(prefix("P")), false),
        (method(regex("PUT|GET")), true),
        (method(regex("GE")), false),
        (scheme(exact("http")), true),
        (scheme(exact("https")), false),
        (scheme(prefix("ht")), true),
        (scheme(regex("https")), false),
        (authority(exact("shop.example:8080")), true),
        (authority(exact("shop.example")), false),
        (authority(prefix("shop.")), true),
        (authority(prefix("Shop.")), false),
        (authority(regex(".*:80[0-9]+")), true),
        (authority(regex("shop")), false),
    ] {
        run(async || {
            let request = "GET / HTTP/1.1\r\nHost: shop.example:8080\r\n\r\n";
            assert_eq!(takes(block.clone(), request).await, is_taken, "{block:?}");
        });
    }
}

#[test]
fn headers_are_compared_or_must_be_there() {
    let header = |value| HttpMatch {
        headers: vec![("x-a".into(), value)],
        ..HttpMatch::default()
    };
    for (value, taken, left) in [
        (ValueMatch::Present, "X-A:", "x-b: 1"),
        (ValueMatch::Value(exact("one")), "X-A: one", "x-a: One"),
        (ValueMatch::Value(prefix("on")), "x-a: one", "x-a: two"),
        (ValueMatch::Value(regex("[a-z]+")), "x-a: one", "x-a: one1"),
    ] {
        run(async || {
            assert!(takes(header(value.clone()), &with(taken)).await, "{taken}");
            assert!(!takes(header(value.clone()), &with(left)).await, "{left}");
        });
    }
}

#[test]
fn headers_that_must_not_match_may_be_absent() {
    let without = |value| HttpMatch {
        without_headers: vec![("x-a".into(), value)],
        ..HttpMatch::default()
    };
    for (value, taken, left) in [
        (ValueMatch::Present, "x-b: 1", "X-A:"),
        (ValueMatch::Value(exact("one")), "x-a: two", "x-a: one"),
        (ValueMatch::Value(exact("one")), "x-b: one", "X-A: one"),
        (ValueMatch::Value(prefix("on")), "x-a: two", "x-a: one"),
        (ValueMatch::Value(regex("[a-z]+")), "x-a: 1", "x-a: one"),
    ] {
        run(async || {
            assert!(takes(without(value.clone()), &with(taken)).await, "{taken}");
            assert!(!takes(without(value.clone()), &with(left)).await, "{left}");
        });
    }
}

#[test]
fn query_parameters_are_compared_or_must_be_there() {
    let parameter = |value| HttpMatch {
        query_params: vec![("q".into(), value)],
        ..HttpMatch::default()
    };
    for (value, taken, left) in [
        (ValueMatch::Present, "q", "p=q"),
        (ValueMatch::Value(exact("a%20b")), "p=1&q=a%20b", "q=a+b"),
        (ValueMatch::Value(prefix("a")), "q=ab", "q=ba"),
        (ValueMatch::Value(regex("[0-9]+")), "q=17", "q=17a"),
    ] {
        run(async || {
            let get = |query: &str| format!("GET /?{query} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(takes(parameter(value.clone()), &get(taken)).await);
            assert!(!takes(parameter(value.clone()), &get(left)).await);
        });
    }
}

#[test]
fn ports_gateways_and_sources_say_where_a_block_is_there() {
    let port = |port| HttpMatch {
        port: Some(port),
        ..HttpMatch::default()
    };
    let at = |gateway| HttpMatch {
        gateways: vec![gateway],
        ..HttpMatch::default()
    };
    let app = |app: &str| HttpMatch {
        source_labels: Labels::from([("app".into(), app.into())]),
        ..HttpMatch::default()
    };
    let from = |namespace: &str| HttpMatch {
        source_namespace: Some(namespace.into()),
        ..HttpMatch::default()
    };
    let mut folded = HttpMatch {
        uri: Some(exact("/")),
        ..HttpMatch::default()
    };
    folded.ignore_uri_case = true;
    for (block, is_taken) in [
        (port(8080), true),
        (port(81), false),
        (at(gateway()), true),
        (at(GatewayRef::Mesh), false),
        (app("client"), true),
        (app("other"), false),
        (from("default"), true),
        (from("other"), false),
        (folded, true),
    ] {
        run(async || assert_eq!(takes(block.clone(), GET).await, is_taken, "{block:?}"));
    }
}

#[test]
fn rules_that_are_not_exported_to_the_namespace_are_not_there() {
    let namespaces = |name: &str| ExportTo::Namespaces(vec![name.into()]);
    for (export_to, status) in [
        (ExportTo::All, "200"),
        (namespaces("default"), "200"),
        (namespaces("other"), "404"),
        (ExportTo::Nobody, "404"),
    ] {
        run(async || {
            let mut world = World::gateway();
            world.service("a", Protocol::Http, &[A]).rule(to("a"));
            let mut rules = resources::rules(vec![to("a")]);
            if let Body::VirtualService(rules) = &mut rules.body {
                rules.export_to = export_to.clone();
            }
            world.apply(rules);
            let mut client = world.client();
            client.say(GET).await;
            if status == "200" {
                world.upstream().await.serve(OK).await;
            }
            let (head, _) = client.hear_response().await;
            assert_eq!(head.get(9..12), Some(status), "{export_to:?}");
        });
    }
}

#[test]
fn a_destination_adds_to_and_removes_from_responses() {
    run(async || {
        let mut destination = resources::to_service("a", 1);
        destination.headers = HeaderRules {
            response: HeaderChanges {
                add: vec![("x-added".into(), "2".into())],
                remove: vec!["x-gone".into()],
                ..HeaderChanges::default()
            },
            ..HeaderRules::default()
        };
        let mut world = World::gateway();
        world
            .service("a", Protocol::Http, &[A])
            .rule(HttpRule::new(HttpAction::Route(vec![destination])));
        let mut client = world.client();
        client.say(GET).await;
        let response = "HTTP/1.1 200 OK\r\nx-added: 1\r\nx-gone: 1\r\ncontent-length: 0\r\n\r\n";
        world.upstream().await.serve(response).await;
        let (head, _) = client.hear_response().await;
        assert!(has_line(&head, "x-added: 1") && has_line(&head, "x-added: 2"));
        assert_eq!(field(&head, "x-gone"), None);
    });
}

/// A sidecar with rules for the connections to `db`.
fn with_tcp_rules(rules: Vec<TcpRule>) -> World {
    let mut world = World::sidecar();
    world.apply(labelled(Role::Sidecar));
    world
        .service("db", Protocol::Tcp, &["10.0.3.1"])
        .service("aaa", Protocol::Tcp, &[A])
        .service("bbbb", Protocol::Tcp, &[B]);
    let host = HostPattern::Exact(resources::key("db").host);
    let mut routes = resources::virtual_service(vec![host], GatewayRef::Mesh, vec![]);
    if let Body::VirtualService(routes) = &mut routes.body {
        routes.tcp = rules;
    }
    world.apply(routes);
    world
}

/// Where a connection to `db` goes.
async fn place(world: &World) -> String {
    let mut client = world.application("10.96.0.2:80");
    client.say("hello").await;
    let mut upstream = world.upstream().await;
    upstream.hear("hello").await;
    upstream.ip()
}

#[test]
fn connections_are_routed_by_address_port_and_source() {
    let subnet = |net: &str| L4Match {
        destination_subnets: vec![net.parse().expect("a network")],
        ..L4Match::default()
    };
    let port = |port| L4Match {
        port: Some(port),
        ..L4Match::default()
    };
    let app = |app: &str| L4Match {
        source_labels: Labels::from([("app".into(), app.into())]),
        ..L4Match::default()
    };
    let from = |namespace: &str| L4Match {
        source_namespace: Some(namespace.into()),
        ..L4Match::default()
    };
    let at = |gateway| L4Match {
        gateways: vec![gateway],
        ..L4Match::default()
    };
    for (block, is_taken) in [
        (subnet("10.96.0.2/31"), true),
        (subnet("10.97.0.0/16"), false),
        (port(80), true),
        (port(81), false),
        (app("client"), true),
        (app("other"), false),
        (from("default"), true),
        (from("other"), false),
        (at(GatewayRef::Mesh), true),
        (at(gateway()), false),
    ] {
        run(async || {
            let world = with_tcp_rules(vec![TcpRule {
                matches: vec![block.clone()],
                route: vec![resources::to_service("aaa", 1)],
            }]);
            assert_eq!(place(&world).await == A, is_taken, "{block:?}");
        });
    }
}

#[test]
fn connections_are_split_by_weight() {
    run(async || {
        let world = with_tcp_rules(vec![TcpRule {
            matches: vec![],
            route: vec![
                resources::to_service("aaa", 90),
                resources::to_service("bbbb", 10),
            ],
        }]);
        let mut counts = BTreeMap::<_, u32>::new();
        for _ in 0..400 {
            *counts.entry(place(&world).await).or_default() += 1;
        }
        // Six deviations from what is expected.
        assert!(counts[A].abs_diff(360) <= 36, "{counts:?}");
        assert_eq!(counts[A] + counts[B], 400);
    });
}
