//! What rules do with requests, beside sending them somewhere.

use std::time::Duration;

use lateen_decide::headers::{Piece, Template, Variable, Write};
use lateen_decide::retry::RetryPolicy;
use lateen_decide::{Action, Route};
use lateen_model::http::{
    Abort, AbortWith, CorsPolicy, DirectResponse, Fault, HeaderRules, HttpAction, HttpRule, Mirror,
    Redirect, RedirectPath, RedirectPort, Rewrite, UriRewrite,
};
use lateen_model::mesh::Mesh;
use lateen_model::retry::Retries;
use lateen_model::route::{HttpMatch, StringMatch};
use lateen_model::{Body, Percent};

use crate::world::{World, exact, get, prefix, regex, rule, to, uri, virtual_service};

fn bookinfo() -> World {
    let mut world = World::sidecar();
    world.http("reviews", 9080).http("ratings", 9080);
    world
}

/// The only route of the only rule.
fn route_of(world: &mut World, rule: HttpRule) -> Route {
    world.routes("one", virtual_service(&["reviews"], vec![rule]));
    let plan = world.plan();
    let table = plan.outbound(([203, 0, 113, 1], 9080).into()).http.clone();
    let table = table.expect("the port has HTTP services");
    let mut routes = table.routes();
    let found = routes.find(|(_, route)| route.origin.object.kind == "VirtualService");
    found.expect("the rule has a route").1.clone()
}

/// Why the only rule of a VirtualService is refused.
fn refusal(rule: HttpRule) -> String {
    let mut world = bookinfo();
    let body = Body::VirtualService(virtual_service(&["reviews"], vec![rule]));
    let resource = world.resource("VirtualService", "default", "one", body);
    let refused = world.store.apply(resource);
    refused.expect_err("it cannot be carried out").to_string()
}

fn redirect() -> Redirect {
    Redirect {
        path: RedirectPath::Replace("/new".into()),
        authority: None,
        port: RedirectPort::Keep,
        scheme: None,
        code: 308,
    }
}

#[test]
fn a_rule_may_send_the_client_elsewhere_or_answer_itself() {
    let mut world = bookinfo();
    let mut moved = HttpRule::new(HttpAction::Redirect(redirect()));
    moved.matches = vec![uri(exact("/old"))];
    let response = DirectResponse {
        status: 418,
        body: b"tea".to_vec(),
    };
    let mut tea = HttpRule::new(HttpAction::DirectResponse(response));
    tea.matches = vec![uri(prefix("/tea"))];
    let rules = vec![moved, tea, rule(vec![], "ratings")];
    world.routes("one", virtual_service(&["reviews"], rules));
    assert_eq!(world.ask(9080, &get("reviews", "/old")), "308");
    assert_eq!(world.ask(9080, &get("reviews", "/tea/green")), "418");
    let ratings = "outbound|9080||ratings.default.svc.cluster.local";
    assert_eq!(world.ask(9080, &get("reviews", "/")), ratings);
}

#[test]
fn a_rule_without_retries_has_those_of_the_mesh_and_a_service_without_rules_too() {
    let mut world = bookinfo();
    let retries = Retries {
        attempts: 7,
        ..Retries::default_policy()
    };
    let mesh = Mesh {
        default_retries: retries.clone(),
        ..Mesh::default()
    };
    world.add("Mesh", "istio-system", "mesh", Body::Mesh(mesh));
    let route = route_of(&mut world, rule(vec![], "reviews"));
    assert_eq!(route.policy.retries, RetryPolicy::new(&retries));
    let none = Retries {
        attempts: 0,
        ..Retries::default_policy()
    };
    let own = HttpRule {
        retries: Some(none),
        ..rule(vec![], "reviews")
    };
    assert!(!route_of(&mut world, own).policy.retries.is_on());
    let plan = world.plan();
    let table = plan.outbound(([203, 0, 113, 1], 9080).into()).http.clone();
    let table = table.expect("the port has HTTP services");
    let mut routes = table.routes();
    let default = routes.find(|(_, route)| &*route.name == "default");
    let policy = &default.expect("ratings has no rules").1.policy;
    assert_eq!(policy.retries, RetryPolicy::new(&retries));
}

#[test]
fn timeouts_faults_and_mirrors_are_kept_and_mirrors_of_nothing_are_not() {
    let mut world = bookinfo();
    let mirror = |share| Mirror {
        destination: to("ratings").destination,
        percentage: Percent::from_millionths(share),
    };
    let fault = Fault {
        delay: None,
        abort: Some(Abort {
            with: AbortWith::Grpc(14),
            percentage: Percent::ALL,
        }),
    };
    let full = HttpRule {
        timeout: Some(Duration::from_millis(500)),
        fault: fault.clone(),
        mirrors: vec![mirror(0), mirror(250_000)],
        ..rule(vec![], "reviews")
    };
    let policy = route_of(&mut world, full).policy;
    assert_eq!(policy.timeout, Some(Duration::from_millis(500)));
    assert_eq!(policy.fault, fault);
    let plan = world.plan();
    let [(cluster, share)] = *policy.mirrors else {
        panic!("one mirror: {:?}", policy.mirrors);
    };
    assert_eq!(share.millionths(), 250_000);
    let name = plan.cluster(cluster).map(|one| one.name.to_string());
    assert!(name.is_some_and(|name| name.contains("ratings")));
}

/// The target after a rewrite, by a block on the path.
fn rewritten(block: HttpMatch, change: UriRewrite, target: &str) -> String {
    let rewrite = Rewrite {
        uri: Some(change),
        authority: None,
    };
    let rule = HttpRule {
        rewrite: Some(rewrite),
        ..rule(vec![block], "reviews")
    };
    let route = route_of(&mut bookinfo(), rule);
    let mut into = Vec::new();
    let rewrite = route.policy.rewrite.as_ref().expect("it has one");
    rewrite.write_target(target.as_bytes(), route.matched, &mut into);
    String::from_utf8(into).expect("text")
}

#[test]
fn a_prefix_is_replaced_and_what_matched_as_a_whole_is_replaced_as_a_whole() {
    let to = |text: &str| UriRewrite::Prefix(text.into());
    let any = HttpMatch::default;
    assert_eq!(
        rewritten(uri(prefix("/a")), to("/b"), "/a/x?q=/a"),
        "/b/x?q=/a"
    );
    // Istio's trap.
    assert_eq!(rewritten(uri(prefix("/foo")), to("/"), "/foo/bar"), "//bar");
    assert_eq!(rewritten(uri(exact("/a/x")), to("/b"), "/a/x?q"), "/b?q");
    assert_eq!(rewritten(uri(regex("/a.*")), to("/b"), "/a/x"), "/b");
    assert_eq!(rewritten(any(), to("/b/"), "/a/x"), "/b/a/x");
    let mut folded = uri(prefix("/A"));
    folded.ignore_uri_case = true;
    assert_eq!(rewritten(folded, to("/b"), "/a/x"), "/b/x");
}

#[test]
fn a_regex_rewrites_every_match_in_the_path_alone() {
    let change = |pattern: &str, replacement: &str| UriRewrite::Regex {
        pattern: pattern.into(),
        replacement: replacement.into(),
    };
    let any = HttpMatch::default;
    let swap = change("^/service/([^/]+)(/.*)$", r"\2/instance/\1");
    assert_eq!(
        rewritten(any(), swap, "/service/foo/v1/api?x=1"),
        "/v1/api/instance/foo?x=1"
    );
    assert_eq!(
        rewritten(any(), change("one", "two"), "/one/one?one"),
        "/two/two?one"
    );
    assert_eq!(rewritten(any(), change("x", r"$1\\"), "/x"), r"/$1\");
}

#[test]
fn changes_of_headers_are_in_order_and_the_host_is_apart() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut headers = HeaderRules::default();
    headers.request.set = vec![pair("host", "set.com"), pair("x-a", "%REQ(X-B?x-c):10%-%%")];
    headers.request.add = vec![pair(":authority", "add.com"), pair("x-a", "2")];
    headers.request.remove = vec!["x-gone".into()];
    let with = HttpRule {
        headers,
        ..rule(vec![], "reviews")
    };
    let route = route_of(&mut bookinfo(), with);
    let headers = route.policy.headers.as_ref().expect("it has some");
    let authority = headers.authority.as_ref().and_then(Template::as_text);
    assert_eq!(authority, Some("set.com"));
    assert_eq!(*headers.request.remove, ["x-gone".into()]);
    assert!(headers.response.is_empty());
    let [(_, Write::Set, first), (_, Write::Add, second)] = &*headers.request.write else {
        panic!("{:?}", headers.request);
    };
    let variable = Variable::Request {
        name: "x-b".into(),
        other: Some("x-c".into()),
        length: Some(10),
    };
    let pieces = [Piece::Variable(variable), Piece::Text("-%".into())];
    assert_eq!(*first.pieces, pieces);
    assert_eq!(second.as_text(), Some("2"));
    assert!(route.policy.headers_of(0).is_none());
}

#[test]
fn destinations_change_headers_of_their_own() {
    let mut first = to("reviews");
    first.weight = 1;
    let mut second = to("ratings");
    second.weight = 1;
    second.headers.response.set = vec![("x-b".into(), "1".into())];
    let split = HttpRule::new(HttpAction::Route(vec![first, second]));
    let route = route_of(&mut bookinfo(), split);
    assert!(matches!(route.action, Action::Forward(_)));
    assert!(route.policy.headers_of(0).is_none());
    let headers = route.policy.headers_of(1).expect("the second has some");
    assert_eq!(headers.response.write.len(), 1);
}

#[test]
fn origins_are_compared_as_they_are_written() {
    let cors = CorsPolicy {
        allow_origins: vec![
            StringMatch::Exact("https://a.com".into()),
            StringMatch::Prefix("https://b.".into()),
            StringMatch::Regex("https://c[0-9]".into()),
        ],
        max_age: Some(Duration::from_millis(86_400_900)),
        ..CorsPolicy::default()
    };
    let with = HttpRule {
        cors: Some(cors),
        ..rule(vec![], "reviews")
    };
    let policy = route_of(&mut bookinfo(), with).policy;
    let cors = policy.cors.as_ref().expect("it has one");
    for (origin, is_allowed) in [
        ("https://a.com", true),
        ("https://a.com.evil", false),
        ("https://b.org", true),
        ("https://c1", true),
        ("https://c12", false),
        ("", false),
    ] {
        assert_eq!(cors.allows(origin.as_bytes()), is_allowed, "{origin}");
    }
    assert_eq!(&*cors.max_age, "86400");
}

#[test]
fn texts_that_would_break_a_message_are_refused_with_their_place() {
    let header = |name: &str, value: &str| {
        let mut rule = rule(vec![], "reviews");
        rule.headers.request.set = vec![(name.into(), value.into())];
        rule
    };
    let broken = refusal(header("x-a", "1\r\nx-evil: 2"));
    assert!(
        broken.contains("http[0].headers.request.set[x-a]"),
        "{broken}"
    );
    for name in ["x a", "", ":path", "x-\u{e9}"] {
        assert!(
            refusal(header(name, "1")).contains("name of a header"),
            "{name}"
        );
    }
    for (value, says) in [
        ("%REQ", "without its end"),
        ("%REQ(%", "parenthesis"),
        ("%NO%", "unknown"),
    ] {
        let told = refusal(header("x-a", value));
        assert!(told.contains(says), "{told}");
    }
    let spaced = HttpRule {
        rewrite: Some(Rewrite {
            uri: Some(UriRewrite::Prefix("/a HTTP/1.1\r\n".into())),
            authority: None,
        }),
        ..rule(vec![], "reviews")
    };
    assert!(refusal(spaced).contains("http[0].rewrite.uri"));
    let elsewhere = Redirect {
        authority: Some("a.com\r\n".into()),
        ..redirect()
    };
    let told = refusal(HttpRule::new(HttpAction::Redirect(elsewhere)));
    assert!(told.contains("redirect.authority"), "{told}");
    let unclosed = HttpRule {
        rewrite: Some(Rewrite {
            uri: Some(UriRewrite::Regex {
                pattern: "(".into(),
                replacement: "/".into(),
            }),
            authority: None,
        }),
        ..rule(vec![], "reviews")
    };
    let told = refusal(unclosed);
    assert!(told.contains("rewrite.uriRegexRewrite.match"), "{told}");
}
