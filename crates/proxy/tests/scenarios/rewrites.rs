//! Changes of a request's target, and of headers in both directions.

use lateen_model::Protocol;
use lateen_model::http::{HeaderChanges, HeaderRules, HttpAction, HttpRule, Rewrite, UriRewrite};
use lateen_model::route::{HttpMatch, StringMatch};

use crate::resources;
use crate::world::{GET, OK, World, field, has_line, run, to};

fn matching(uri: StringMatch, rewrite: Rewrite) -> HttpRule {
    HttpRule {
        matches: vec![HttpMatch {
            uri: Some(uri),
            ..HttpMatch::default()
        }],
        rewrite: Some(rewrite),
        ..to("web")
    }
}

fn uri(uri: UriRewrite) -> Rewrite {
    Rewrite {
        uri: Some(uri),
        authority: None,
    }
}

/// What the upstream sees of a request.
async fn seen(rule: &HttpRule, request: &str) -> String {
    let (head, _) = both(rule, request, OK).await;
    head
}

/// What the upstream sees of a request, and the client of the response.
async fn both(rule: &HttpRule, request: &str, response: &str) -> (String, String) {
    let mut world = Box::new(World::gateway());
    world
        .service("web", Protocol::Http, &["10.0.1.1"])
        .rule(rule.clone());
    let mut client = world.client();
    client.say(request).await;
    let seen = world.upstream().await.serve(response).await;
    let (head, _) = client.hear_response().await;
    (seen, head)
}

fn changes(set: &[(&str, &str)], add: &[(&str, &str)], remove: &[&str]) -> HeaderChanges {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    HeaderChanges {
        set: set.iter().map(owned).collect(),
        add: add.iter().map(owned).collect(),
        remove: remove.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn of_request(request: HeaderChanges) -> HttpRule {
    HttpRule {
        headers: HeaderRules {
            request,
            ..HeaderRules::default()
        },
        ..to("web")
    }
}

fn of_response(response: HeaderChanges) -> HttpRule {
    HttpRule {
        headers: HeaderRules {
            response,
            ..HeaderRules::default()
        },
        ..to("web")
    }
}

#[test]
fn a_prefix_that_matched_is_replaced_and_the_query_is_kept() {
    run(async || {
        let rule = matching(
            StringMatch::Prefix("/shop".into()),
            uri(UriRewrite::Prefix("/v2".into())),
        );
        let head = seen(&rule, "GET /shop/cart?id=1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(head.starts_with("GET /v2/cart?id=1 HTTP/1.1\r\n"), "{head}");
        assert_eq!(
            field(&head, "x-envoy-original-path"),
            Some("/shop/cart?id=1")
        );
    });
}

#[test]
fn a_path_that_matched_as_a_whole_is_replaced_as_a_whole() {
    run(async || {
        for written in [
            StringMatch::Exact("/shop/cart".into()),
            StringMatch::Regex("/shop/.*".into()),
        ] {
            let rule = matching(written, uri(UriRewrite::Prefix("/new".into())));
            let head = seen(&rule, "GET /shop/cart?id=1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert!(head.starts_with("GET /new?id=1 HTTP/1.1\r\n"), "{head}");
        }
    });
}

#[test]
fn a_regular_expression_rewrites_with_its_groups() {
    run(async || {
        let rule = matching(
            StringMatch::Prefix("/".into()),
            uri(UriRewrite::Regex {
                pattern: "/user/([0-9]+)/(.*)".into(),
                replacement: r"/\2/of/\1".into(),
            }),
        );
        let head = seen(
            &rule,
            "GET /user/7/cart?x=/user/1/a HTTP/1.1\r\nHost: a\r\n\r\n",
        )
        .await;
        assert!(
            head.starts_with("GET /cart/of/7?x=/user/1/a HTTP/1.1\r\n"),
            "{head}"
        );
    });
}

#[test]
fn what_is_rewritten_is_the_path_in_its_canonical_form() {
    run(async || {
        let rule = matching(
            StringMatch::Prefix("/shop".into()),
            uri(UriRewrite::Prefix("/v2".into())),
        );
        let head = seen(&rule, "GET /x/../shop/%61/./b HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(head.starts_with("GET /v2/a/b HTTP/1.1\r\n"), "{head}");
        assert_eq!(field(&head, "x-envoy-original-path"), Some("/shop/a/b"));
    });
}

#[test]
fn a_rewrite_never_makes_an_invalid_request() {
    run(async || {
        let rule = matching(
            StringMatch::Prefix("/shop".into()),
            uri(UriRewrite::Prefix("no-slash#z".into())),
        );
        let head = seen(&rule, "GET /shop/a HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(
            head.starts_with("GET /no-slash%23z/a HTTP/1.1\r\n"),
            "{head}"
        );
    });
}

#[test]
fn the_authority_is_rewritten() {
    run(async || {
        let rule = HttpRule {
            rewrite: Some(Rewrite {
                uri: None,
                authority: Some("other.example".into()),
            }),
            ..to("web")
        };
        let head = seen(&rule, GET).await;
        assert_eq!(field(&head, "host"), Some("other.example"));
        assert_eq!(head.to_lowercase().matches("\r\nhost:").count(), 1);
        assert_eq!(field(&head, "x-envoy-original-path"), None);
    });
}

#[test]
fn host_among_the_headers_of_a_rule_rewrites_the_authority() {
    run(async || {
        for name in ["host", ":authority"] {
            let head = seen(&of_request(changes(&[(name, "b.example")], &[], &[])), GET).await;
            assert_eq!(field(&head, "host"), Some("b.example"));
        }
    });
}

#[test]
fn headers_of_requests_are_removed_set_and_added() {
    run(async || {
        let rule = of_request(changes(
            &[("x-set", "new"), ("x-fresh", "1")],
            &[("x-add", "two")],
            &["x-gone"],
        ));
        let head = seen(
            &rule,
            "GET / HTTP/1.1\r\nHost: a\r\nX-Set: old\r\nX-Add: one\r\nX-Gone: 1\r\n\
             x-gone: 2\r\nX-Stays: yes\r\n\r\n",
        )
        .await;
        assert_eq!(field(&head, "x-set"), Some("new"));
        assert_eq!(field(&head, "x-fresh"), Some("1"));
        assert!(
            has_line(&head, "X-Add: one") && has_line(&head, "x-add: two"),
            "{head}"
        );
        assert_eq!(field(&head, "x-gone"), None);
        assert_eq!(field(&head, "x-stays"), Some("yes"));
    });
}

#[test]
fn headers_of_responses_are_removed_set_and_added() {
    run(async || {
        let rule = of_response(changes(
            &[("x-set", "new"), ("server", "mine")],
            &[("x-add", "two")],
            &["x-gone"],
        ));
        let response = "HTTP/1.1 200 OK\r\nx-set: old\r\nx-gone: 1\r\nx-add: one\r\n\
                        content-length: 0\r\n\r\n";
        let (_, head) = both(&rule, GET, response).await;
        assert_eq!(field(&head, "x-set"), Some("new"));
        assert_eq!(field(&head, "server"), Some("mine"));
        assert!(
            has_line(&head, "x-add: one") && has_line(&head, "x-add: two"),
            "{head}"
        );
        assert_eq!(field(&head, "x-gone"), None);
    });
}

#[test]
fn headers_of_a_destination_come_after_those_of_its_rule() {
    run(async || {
        let mut destination = resources::to_service("web", 1);
        destination.headers = HeaderRules {
            request: changes(&[("x-level", "destination")], &[("x-path", "d")], &["x-a"]),
            response: changes(&[("x-level", "destination")], &[], &[]),
        };
        let mut rule = of_request(changes(
            &[("x-level", "rule"), ("x-a", "1"), ("x-b", "2")],
            &[("x-path", "r")],
            &[],
        ));
        rule.headers.response = changes(&[("x-level", "rule"), ("x-rule", "1")], &[], &[]);
        rule.action = HttpAction::Route(vec![destination]);
        let (seen, head) = both(&rule, GET, OK).await;
        assert_eq!(seen.matches("x-level").count(), 1, "{seen}");
        assert_eq!(field(&seen, "x-level"), Some("destination"));
        assert_eq!(field(&seen, "x-a"), None);
        assert_eq!(field(&seen, "x-b"), Some("2"));
        assert!(
            has_line(&seen, "x-path: r") && has_line(&seen, "x-path: d"),
            "{seen}"
        );
        assert_eq!(head.matches("x-level").count(), 1, "{head}");
        assert_eq!(field(&head, "x-level"), Some("destination"));
        assert_eq!(field(&head, "x-rule"), Some("1"));
    });
}

#[test]
fn values_may_have_variables() {
    run(async || {
        let mut rule = of_request(changes(
            &[
                ("x-client", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
                (
                    "x-local",
                    "%DOWNSTREAM_LOCAL_ADDRESS%|%DOWNSTREAM_LOCAL_PORT%",
                ),
                ("x-was", "%REQ(:METHOD)% %REQ(:PATH)% %REQ(:AUTHORITY)%"),
                ("x-user", "user %REQ(X-USER?END-USER):3%!"),
                ("x-protocol", "%PROTOCOL% 100%%"),
                ("x-nothing", "%REQ(X-MISSING)%"),
                ("x-host", "%HOSTNAME%"),
                ("x-route", "%ROUTE_NAME%"),
                ("x-cluster", "%UPSTREAM_CLUSTER%"),
            ],
            &[],
            &[],
        ));
        rule.name = "named".into();
        rule.headers.response = changes(
            &[
                ("x-code", "%RESPONSE_CODE% %RESPONSE_FLAGS%"),
                ("x-upstream", "%UPSTREAM_HOST%"),
                ("x-type", "%RESP(CONTENT-LENGTH)% of %REQ(end-user)%"),
            ],
            &[],
            &[],
        );
        let request = "GET /a?b HTTP/1.1\r\nHost: a\r\nEnd-User: jason\r\n\r\n";
        let (seen, head) = both(&rule, request, OK).await;
        let cluster = "outbound|80||web.default.svc.cluster.local";
        for (name, value) in [
            ("x-client", "192.0.2.7"),
            ("x-local", "10.0.0.1:8080|8080"),
            ("x-was", "GET /a?b a"),
            ("x-user", "user jas!"),
            ("x-protocol", "HTTP/1.1 100%"),
            ("x-host", "app-1"),
            ("x-route", "named"),
            ("x-cluster", cluster),
        ] {
            assert_eq!(field(&seen, name), Some(value), "{seen}");
        }
        assert_eq!(field(&seen, "x-nothing"), None);
        assert_eq!(field(&head, "x-code"), Some("200 -"));
        assert_eq!(field(&head, "x-upstream"), Some("10.0.1.1:9080"));
        assert_eq!(field(&head, "x-type"), Some("2 of jason"));
    });
}

#[test]
fn variables_of_a_request_that_streams_still_stand_for_it() {
    run(async || {
        let mut world = World::gateway();
        world
            .service("web", Protocol::Http, &["10.0.1.1"])
            .rule(of_response(changes(
                &[("x-was", "%REQ(:METHOD)% %REQ(:PATH)% %REQ(X-A)%")],
                &[],
                &[],
            )));
        let mut client = world.client();
        client
            .say("POST /up HTTP/1.1\r\nHost: a\r\nx-a: 1\r\ncontent-length: 6\r\n\r\nabc")
            .await;
        let mut web = world.upstream().await;
        web.hear_message("abc").await;
        client.say("def").await;
        web.hear("def").await;
        web.say(OK).await;
        let (head, _) = client.hear_response().await;
        assert_eq!(field(&head, "x-was"), Some("POST /up 1"));
    });
}

#[test]
fn rules_cannot_touch_what_frames_a_message() {
    run(async || {
        let names = [
            ("content-length", "9"),
            ("transfer-encoding", "chunked"),
            ("connection", "x"),
        ];
        let mut rule = of_request(changes(&names, &[], &["host"]));
        rule.headers.response = changes(&names, &[], &["content-length"]);
        let (seen, head) = both(&rule, GET, OK).await;
        for (name, _) in names {
            assert_eq!(field(&seen, name), None, "{seen}");
        }
        assert_eq!(field(&seen, "host"), Some("a"));
        assert_eq!(field(&head, "content-length"), Some("2"));
        assert_eq!(field(&head, "transfer-encoding"), None);
    });
}
