//! VirtualServices at sidecars.

use lateen_model::http::{HttpAction, HttpRule};
use lateen_model::mesh::OutboundPolicy;
use lateen_model::proxy::Role;
use lateen_model::route::{GatewayRef, HttpMatch, ValueMatch};
use lateen_model::service::{ExportTo, Registry, Resolution};
use lateen_model::{Body, Protocol};

use crate::request::Request;
use crate::world::{
    World, destination_rule, entry, exact, gateway_ref, get, header, labels, prefix, regex, rule,
    service, to, uri, virtual_service, weighted,
};

const REVIEWS: &str = "outbound|9080||reviews.default.svc.cluster.local";
const RATINGS: &str = "outbound|9080||ratings.default.svc.cluster.local";
const DETAILS: &str = "outbound|9080||details.default.svc.cluster.local";

fn bookinfo() -> World {
    let mut world = World::sidecar();
    for name in ["reviews", "ratings", "details"] {
        world.http(name, 9080);
    }
    world
}

#[test]
fn a_service_without_rules_is_reached_by_all_its_names_in_any_case_and_with_any_port() {
    let mut world = bookinfo();
    let mut service = service("vip", "default", &[(9080, Protocol::Http)]);
    service.addresses = vec![
        "10.96.0.7/32".parse().expect("an address"),
        "fd00::7/128".parse().expect("an address"),
    ];
    world.service(service);
    for name in [
        "reviews.default.svc.cluster.local",
        "reviews.default.svc.cluster.local.",
        "reviews",
        "Reviews:8080",
        "reviews.default",
        "reviews.default.svc:9080",
    ] {
        assert_eq!(world.ask(9080, &get(name, "/")), REVIEWS, "{name}");
    }
    for name in [
        "10.96.0.7",
        "10.96.0.7:9080",
        "[fd00::7]:9080",
        "[fd00:0::7]",
    ] {
        let vip = "outbound|9080||vip.default.svc.cluster.local";
        assert_eq!(world.ask(9080, &get(name, "/")), vip, "{name}");
    }
}

#[test]
fn the_bare_name_belongs_to_services_of_the_own_namespace_only() {
    let mut world = World::sidecar();
    world.service(service("far", "other", &[(80, Protocol::Http)]));
    let far = "outbound|80||far.other.svc.cluster.local";
    assert_eq!(world.ask(80, &get("far", "/")), "PassthroughCluster");
    assert_eq!(world.ask(80, &get("far.other", "/")), far);
}

#[test]
fn unknown_hosts_pass_through_or_are_answered_502_as_the_mesh_says() {
    let mut world = bookinfo();
    assert_eq!(world.ask(9080, &get("unknown", "/")), "PassthroughCluster");
    world.policy(OutboundPolicy::RegistryOnly);
    assert_eq!(world.ask(9080, &get("unknown", "/")), "502 -");
}

#[test]
fn the_first_rule_that_matches_wins_even_if_a_later_one_is_longer() {
    let mut world = bookinfo();
    let rules = vec![
        rule(vec![uri(prefix("/api"))], "ratings"),
        rule(vec![uri(exact("/api/v1"))], "details"),
        rule(vec![], "reviews"),
    ];
    world.routes("one", virtual_service(&["reviews"], rules));
    assert_eq!(world.ask(9080, &get("reviews", "/api/v1")), RATINGS);
    assert_eq!(world.ask(9080, &get("reviews", "/")), REVIEWS);
}

#[test]
fn a_prefix_needs_no_separator() {
    let mut world = bookinfo();
    let rules = vec![rule(vec![uri(prefix("/foo"))], "ratings")];
    world.routes("one", virtual_service(&["reviews"], rules));
    assert_eq!(world.ask(9080, &get("reviews", "/foobar")), RATINGS);
    assert_eq!(world.ask(9080, &get("reviews", "/fo")), "404 NR");
}

#[test]
fn the_query_is_no_part_of_the_path() {
    let mut world = bookinfo();
    let rules = vec![
        rule(vec![uri(exact("/login"))], "ratings"),
        rule(vec![uri(regex("/v[0-9]"))], "details"),
    ];
    world.routes("one", virtual_service(&["reviews"], rules));
    assert_eq!(world.ask(9080, &get("reviews", "/login?user=x")), RATINGS);
    assert_eq!(world.ask(9080, &get("reviews", "/v1?x=/login")), DETAILS);
    assert_eq!(world.ask(9080, &get("reviews", "/v12")), "404 NR");
}

#[test]
fn case_of_the_path_is_ignored_only_where_it_is_said() {
    let mut world = bookinfo();
    let mut folded = uri(prefix("/Api"));
    folded.ignore_uri_case = true;
    let rules = vec![
        rule(vec![uri(exact("/Login"))], "ratings"),
        rule(vec![folded], "details"),
    ];
    world.routes("one", virtual_service(&["reviews"], rules));
    assert_eq!(world.ask(9080, &get("reviews", "/aPI/v1")), DETAILS);
    assert_eq!(world.ask(9080, &get("reviews", "/login")), "404 NR");
}

#[test]
fn blocks_are_alternatives_and_conditions_in_a_block_add_up() {
    let mut world = bookinfo();
    let mut both = uri(prefix("/a"));
    both.method = Some(exact("POST"));
    let rules = vec![rule(vec![both, uri(exact("/b"))], "ratings")];
    world.routes("one", virtual_service(&["reviews"], rules));
    assert_eq!(world.ask(9080, &get("reviews", "/a")), "404 NR");
    assert_eq!(world.ask(9080, &get("reviews", "/b")), RATINGS);
    let post = Request {
        method: "POST".into(),
        ..get("reviews", "/a")
    };
    assert_eq!(world.ask(9080, &post), RATINGS);
}

#[test]
fn methods_schemes_and_authorities_are_compared_as_texts() {
    let mut world = bookinfo();
    let post = Request {
        method: "POST".into(),
        ..get("reviews:9080", "/")
    };
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
    for (block, expected) in [
        (method(exact("POST")), RATINGS),
        (method(exact("post")), "404 NR"),
        (method(prefix("PO")), RATINGS),
        (method(prefix("GE")), "404 NR"),
        (method(regex("PUT|POST")), RATINGS),
        (method(regex("POS")), "404 NR"),
        (scheme(exact("http")), RATINGS),
        (scheme(exact("https")), "404 NR"),
        (scheme(prefix("ht")), RATINGS),
        (scheme(prefix("https")), "404 NR"),
        (scheme(regex("https?")), RATINGS),
        (scheme(regex("htt")), "404 NR"),
        (authority(exact("reviews:9080")), RATINGS),
        (authority(exact("reviews")), "404 NR"),
        (authority(prefix("rev")), RATINGS),
        (authority(prefix("Rev")), "404 NR"),
        (authority(regex(".*:9080")), RATINGS),
        (authority(regex("reviews")), "404 NR"),
    ] {
        let rules = vec![rule(vec![block.clone()], "ratings")];
        world.routes("one", virtual_service(&["reviews"], rules));
        assert_eq!(world.ask(9080, &post), expected, "{block:?}");
    }
}

#[test]
fn an_empty_condition_on_a_header_asks_whether_it_is_there() {
    let mut world = bookinfo();
    let rules = vec![rule(vec![header("x", ValueMatch::Present)], "ratings")];
    world.routes("one", virtual_service(&["reviews"], rules));
    let request = get("reviews", "/");
    assert_eq!(world.ask(9080, &request.clone().with("X", "")), RATINGS);
    assert_eq!(world.ask(9080, &request), "404 NR");
}

#[test]
fn an_absent_header_matches_no_value() {
    let mut world = bookinfo();
    let any = ValueMatch::Value(regex(".*"));
    let rules = vec![rule(vec![header("x", any)], "ratings")];
    world.routes("one", virtual_service(&["reviews"], rules));
    assert_eq!(world.ask(9080, &get("reviews", "/")), "404 NR");
    assert_eq!(
        world.ask(9080, &get("reviews", "/").with("x", "1")),
        RATINGS
    );
}

#[test]
fn a_repeated_header_is_one_value_joined_by_commas() {
    let mut world = bookinfo();
    let both = ValueMatch::Value(exact("1,2"));
    let rules = vec![rule(vec![header("x", both)], "ratings")];
    world.routes("one", virtual_service(&["reviews"], rules));
    let request = get("reviews", "/").with("x", "1");
    assert_eq!(world.ask(9080, &request), "404 NR");
    assert_eq!(world.ask(9080, &request.with("X", "2")), RATINGS);
}

#[test]
fn a_header_that_must_not_match_may_be_absent_and_an_empty_condition_forbids_it() {
    let mut world = bookinfo();
    let without = |value| HttpMatch {
        without_headers: vec![("x".into(), value)],
        ..HttpMatch::default()
    };
    let rules = vec![
        rule(vec![without(ValueMatch::Present)], "ratings"),
        rule(vec![without(ValueMatch::Value(exact("1")))], "details"),
    ];
    world.routes("one", virtual_service(&["reviews"], rules));
    let request = get("reviews", "/");
    assert_eq!(world.ask(9080, &request), RATINGS);
    assert_eq!(world.ask(9080, &request.clone().with("x", "2")), DETAILS);
    assert_eq!(world.ask(9080, &request.with("x", "1")), "404 NR");
    let rules = vec![rule(
        vec![without(ValueMatch::Value(regex("1?")))],
        "details",
    )];
    world.routes("one", virtual_service(&["reviews"], rules));
    // An absent value counts as an empty one, which this pattern matches.
    assert_eq!(world.ask(9080, &get("reviews", "/")), "404 NR");
}

#[test]
fn the_host_and_pseudo_headers_can_be_matched_as_headers() {
    let mut world = bookinfo();
    let host = ValueMatch::Value(exact("reviews:9080"));
    let method = ValueMatch::Value(exact("GET"));
    let mut block = header("host", host);
    block.headers.push((":method".into(), method));
    world.routes(
        "one",
        virtual_service(&["reviews"], vec![rule(vec![block], "ratings")]),
    );
    assert_eq!(world.ask(9080, &get("reviews:9080", "/")), RATINGS);
    assert_eq!(world.ask(9080, &get("reviews", "/")), "404 NR");
}

#[test]
fn query_parameters_are_compared_as_sent_and_the_first_value_counts() {
    let mut world = bookinfo();
    let parameter = |value| HttpMatch {
        query_params: vec![("q".into(), value)],
        ..HttpMatch::default()
    };
    let rules = vec![
        rule(
            vec![parameter(ValueMatch::Value(exact("a%20b")))],
            "ratings",
        ),
        rule(vec![parameter(ValueMatch::Present)], "details"),
    ];
    world.routes("one", virtual_service(&["reviews"], rules));
    assert_eq!(world.ask(9080, &get("reviews", "/?q=a%20b&q=1")), RATINGS);
    assert_eq!(world.ask(9080, &get("reviews", "/?p=1&q")), DETAILS);
    assert_eq!(world.ask(9080, &get("reviews", "/?p=q")), "404 NR");
    assert_eq!(world.ask(9080, &get("reviews", "/")), "404 NR");
}

#[test]
fn a_rule_for_another_port_is_not_there() {
    let mut world = bookinfo();
    let block = HttpMatch {
        port: Some(80),
        ..HttpMatch::default()
    };
    let only_80 = virtual_service(&["reviews"], vec![rule(vec![block], "ratings")]);
    world.routes("one", only_80);
    // With none of its rules left the VirtualService does not hold for this port at all.
    assert_eq!(world.ask(9080, &get("reviews", "/")), REVIEWS);
}

#[test]
fn source_conditions_are_those_of_the_proxy_and_ignored_beside_gateways() {
    let mut world = bookinfo();
    let other = HttpMatch {
        source_labels: labels(&[("app", "other")]),
        ..HttpMatch::default()
    };
    let namespace = HttpMatch {
        source_namespace: Some("other".into()),
        ..HttpMatch::default()
    };
    let overridden = HttpMatch {
        gateways: vec![GatewayRef::Mesh],
        ..other.clone()
    };
    let at_edge = HttpMatch {
        gateways: vec![gateway_ref("edge")],
        ..HttpMatch::default()
    };
    let rules = vec![
        rule(vec![other, namespace, at_edge], "ratings"),
        rule(vec![overridden], "details"),
    ];
    world.routes("one", virtual_service(&["reviews"], rules));
    assert_eq!(world.ask(9080, &get("reviews", "/")), DETAILS);
}

#[test]
fn a_virtual_service_of_gateways_alone_does_not_concern_sidecars() {
    let mut world = bookinfo();
    let mut routes = virtual_service(&["reviews"], vec![rule(vec![], "ratings")]);
    routes.gateways = vec![gateway_ref("edge")];
    world.routes("one", routes);
    assert_eq!(world.ask(9080, &get("reviews", "/")), REVIEWS);
}

#[test]
fn a_destination_without_port_gets_the_only_one_of_its_service_or_that_of_the_arrival() {
    let mut world = bookinfo();
    let two = [(8080, Protocol::Http), (9080, Protocol::Http)];
    world
        .service(service("two", "default", &two))
        .http("one", 7000);
    let rules = vec![
        rule(vec![uri(exact("/two"))], "two"),
        rule(vec![uri(exact("/one"))], "one"),
        rule(vec![uri(exact("/set"))], "two:8080"),
        rule(vec![uri(exact("/none"))], "two:1"),
        rule(vec![uri(exact("/unknown"))], "unknown"),
        rule(vec![uri(exact("/subset"))], "one/v1"),
    ];
    world.routes("one", virtual_service(&["reviews"], rules));
    for (path, expected) in [
        ("/two", "outbound|9080||two.default.svc.cluster.local"),
        ("/one", "outbound|7000||one.default.svc.cluster.local"),
        ("/set", "outbound|8080||two.default.svc.cluster.local"),
        ("/none", "503 NC"),
        ("/unknown", "503 NC"),
        ("/subset", "503 NC"),
    ] {
        assert_eq!(world.ask(9080, &get("reviews", path)), expected, "{path}");
    }
    world.rules("dr", destination_rule("one", "default", &["v1"]));
    let subset = "outbound|7000|v1|one.default.svc.cluster.local";
    assert_eq!(world.ask(9080, &get("reviews", "/subset")), subset);
}

#[test]
fn weights_are_relative_and_those_of_zero_get_nothing() {
    let mut world = bookinfo();
    world.rules(
        "dr",
        destination_rule("reviews", "default", &["v1", "v2", "v3"]),
    );
    let route = vec![
        weighted("reviews/v1", 3),
        weighted("reviews/v3", 0),
        weighted("reviews/v2", 1),
    ];
    let split = HttpRule {
        action: HttpAction::Route(route),
        ..HttpRule::clone(&rule(vec![], "reviews"))
    };
    world.routes("one", virtual_service(&["reviews"], vec![split]));
    let plan = world.plan();
    let table = plan.outbound(([203, 0, 113, 1], 9080).into()).http.clone();
    let table = table.expect("the port has HTTP services");
    let mut counts = std::collections::BTreeMap::new();
    for step in 0..4000_u64 {
        // The middles of 4000 equal parts of all bits.
        let bits = step * (u64::MAX / 4000) + u64::MAX / 8000;
        let answer = crate::world::decide(&plan, &table, &get("reviews", "/"), bits);
        *counts.entry(answer).or_insert(0) += 1;
    }
    let share = |subset: &str| {
        let name = format!("outbound|9080|{subset}|reviews.default.svc.cluster.local");
        counts.get(&name).copied().unwrap_or(0)
    };
    assert_eq!(
        (share("v1"), share("v2"), share("v3")),
        (3000, 1000, 0),
        "{counts:?}"
    );
}

#[test]
fn a_single_destination_takes_all_whatever_its_weight() {
    let mut world = bookinfo();
    let single = HttpRule {
        action: HttpAction::Route(vec![weighted("ratings", 0)]),
        ..rule(vec![], "x")
    };
    world.routes("one", virtual_service(&["reviews"], vec![single]));
    assert_eq!(world.ask(9080, &get("reviews", "/")), RATINGS);
}

#[test]
fn sidecars_do_not_merge_virtual_services_and_the_oldest_wins() {
    let mut world = bookinfo();
    let older = virtual_service(&["reviews"], vec![rule(vec![uri(exact("/a"))], "ratings")]);
    let younger = virtual_service(&["reviews"], vec![rule(vec![uri(exact("/b"))], "ratings")]);
    world.routes("older", older).routes("younger", younger);
    assert_eq!(world.ask(9080, &get("reviews", "/a")), RATINGS);
    assert_eq!(world.ask(9080, &get("reviews", "/b")), "404 NR");
    let plan = world.plan();
    let (object, text) = &plan.notices()[0];
    assert_eq!(object.name, "younger");
    assert!(text.contains("VirtualService/default/older"), "{text}");
}

#[test]
fn each_service_has_the_most_specific_virtual_service() {
    let mut world = bookinfo();
    let wide = virtual_service(&["*.svc.cluster.local"], vec![rule(vec![], "ratings")]);
    let narrow = virtual_service(
        &["*.default.svc.cluster.local"],
        vec![rule(vec![], "details")],
    );
    let own = virtual_service(&["reviews"], vec![rule(vec![], "reviews")]);
    world
        .routes("wide", wide)
        .routes("narrow", narrow)
        .routes("own", own);
    assert_eq!(world.ask(9080, &get("reviews", "/")), REVIEWS);
    assert_eq!(world.ask(9080, &get("ratings", "/")), DETAILS);
}

#[test]
fn hosts_outside_of_the_registry_are_routed_on_port_80_alone() {
    let mut world = bookinfo();
    world.http("web", 80);
    let free = virtual_service(
        &["free.example.com", "*.wild.org"],
        vec![rule(vec![], "ratings")],
    );
    world.routes("free", free);
    assert_eq!(world.ask(80, &get("free.example.com", "/")), RATINGS);
    assert_eq!(world.ask(80, &get("a.wild.org", "/")), RATINGS);
    assert_eq!(
        world.ask(9080, &get("free.example.com", "/")),
        "PassthroughCluster"
    );
}

#[test]
fn what_is_not_exported_to_the_namespace_does_not_exist() {
    let mut world = bookinfo();
    let mut hidden = service("hidden", "other", &[(9080, Protocol::Http)]);
    hidden.export_to = ExportTo::Namespaces(vec!["other".into()]);
    world.service(hidden);
    let mut nobody = virtual_service(&["reviews"], vec![rule(vec![], "ratings")]);
    nobody.export_to = ExportTo::Nobody;
    world.routes("nobody", nobody);
    assert_eq!(
        world.ask(9080, &get("hidden.other", "/")),
        "PassthroughCluster"
    );
    assert_eq!(world.ask(9080, &get("reviews", "/")), REVIEWS);
}

#[test]
fn of_one_host_in_several_namespaces_the_own_then_kubernetes_then_the_oldest_counts() {
    let define = |world: &mut World, namespace: &str, registry| {
        let mut one = entry(
            "dup.example.com",
            &[(80, Protocol::Http)],
            Resolution::Endpoints,
        );
        one.key.namespace = namespace.into();
        one.registry = registry;
        world.service(one);
    };
    let owner = |world: &mut World| {
        let plan = world.plan();
        let labels = plan.clusters().find_map(|cluster| cluster.service.clone());
        labels.map(|labels| labels.namespace.to_string())
    };
    let mut world = World::sidecar();
    define(&mut world, "z-oldest", Registry::ServiceEntry);
    define(&mut world, "a-younger", Registry::ServiceEntry);
    assert_eq!(owner(&mut world).as_deref(), Some("z-oldest"));
    define(&mut world, "kube", Registry::Kubernetes);
    assert_eq!(owner(&mut world).as_deref(), Some("kube"));
    define(&mut world, "default", Registry::ServiceEntry);
    assert_eq!(owner(&mut world).as_deref(), Some("default"));
}

#[test]
fn another_name_for_a_service_is_routed_as_that_service() {
    let mut world = bookinfo();
    let mut alias = service("old-reviews", "default", &[(9080, Protocol::Http)]);
    alias.resolution = Resolution::Alias(to("reviews").destination.host);
    let mut outside = service("outside", "default", &[(9080, Protocol::Http)]);
    outside.resolution = Resolution::Alias(lateen_model::Host::new("example.com"));
    world.service(alias).service(outside);
    assert_eq!(world.ask(9080, &get("old-reviews", "/")), REVIEWS);
    world.routes(
        "one",
        virtual_service(&["reviews"], vec![rule(vec![], "ratings")]),
    );
    assert_eq!(world.ask(9080, &get("old-reviews", "/")), RATINGS);
    let outside = "outbound|9080||outside.default.svc.cluster.local";
    assert_eq!(world.ask(9080, &get("outside", "/")), outside);
    assert!(world.store.dns_names().contains("example.com"));
}

#[test]
fn a_headless_service_answers_for_its_pods_too() {
    let mut world = World::sidecar();
    let mut headless = service("db", "default", &[(80, Protocol::Http)]);
    headless.resolution = Resolution::OriginalDst;
    world.service(headless);
    let cluster = "outbound|80||db.default.svc.cluster.local";
    assert_eq!(
        world.ask(80, &get("db-0.db.default.svc.cluster.local", "/")),
        cluster
    );
    assert_eq!(world.ask(80, &get("db", "/")), cluster);
}

#[test]
fn a_bad_expression_is_refused_with_its_place_and_what_was_there_stays() {
    let mut world = bookinfo();
    world.routes(
        "one",
        virtual_service(&["reviews"], vec![rule(vec![], "ratings")]),
    );
    let bad = virtual_service(
        &["reviews"],
        vec![
            rule(vec![uri(exact("/a")), uri(regex("("))], "details"),
            rule(vec![], "details"),
        ],
    );
    let resource = world.resource(
        "VirtualService",
        "default",
        "one",
        Body::VirtualService(bad),
    );
    let error = world
        .store
        .apply(resource)
        .expect_err("the expression is not valid");
    let text = error.to_string();
    assert!(text.contains("VirtualService/default/one"), "{text}");
    assert!(text.contains("http[0].match[1].uri.regex"), "{text}");
    assert_eq!(world.ask(9080, &get("reviews", "/a")), RATINGS);
}

#[test]
fn a_rule_without_weight_for_anybody_is_refused() {
    let mut world = bookinfo();
    let nobody = HttpRule {
        action: HttpAction::Route(vec![weighted("ratings", 0), weighted("details", 0)]),
        ..rule(vec![], "x")
    };
    let bad = virtual_service(&["reviews"], vec![nobody]);
    let resource = world.resource(
        "VirtualService",
        "default",
        "one",
        Body::VirtualService(bad),
    );
    let error = world.store.apply(resource).expect_err("there is no weight");
    assert!(error.to_string().contains("http[0].route"), "{error}");
}

#[test]
fn a_trace_names_for_each_rule_the_first_condition_that_failed() {
    let mut world = bookinfo();
    let mut jason = header("end-user", ValueMatch::Value(exact("jason")));
    jason.uri = Some(prefix("/"));
    let rules = vec![
        rule(vec![uri(exact("/login"))], "details"),
        rule(vec![jason], "ratings"),
        rule(vec![], "reviews"),
    ];
    world.routes("one", virtual_service(&["reviews"], rules));
    let plan = world.plan();
    let table = plan.outbound(([203, 0, 113, 1], 9080).into()).http.clone();
    let table = table.expect("the port has HTTP services");
    let request = get("Reviews:9080", "/x").with("End-User", "alice");
    let trace = table.explain(&request, || 0);
    assert_eq!(trace.host, "reviews");
    let failed: Vec<_> = trace
        .passed_over
        .iter()
        .map(|one| one.failed.as_str())
        .collect();
    assert_eq!(
        failed,
        [
            r#"path is exactly "/login", but it was "/x""#,
            r#"header "end-user" is exactly "jason", but it was "alice""#,
        ]
    );
    let origin = trace.passed_over[1].route.origin.to_string();
    assert_eq!(origin, "VirtualService/default/one rule 1 match 0");
}

#[test]
fn the_own_proxy_of_another_namespace_sees_its_own_short_names() {
    let mut world = World::new(World::proxy(Role::Sidecar, "other", &[]));
    world.http("reviews", 9080);
    assert_eq!(world.ask(9080, &get("reviews", "/")), "PassthroughCluster");
    assert_eq!(world.ask(9080, &get("reviews.default", "/")), REVIEWS);
}
