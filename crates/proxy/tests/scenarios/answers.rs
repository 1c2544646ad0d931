//! Rules that answer by themselves: redirects and direct responses.

use lateen_model::Protocol;
use lateen_model::http::{
    DirectResponse, HeaderChanges, HeaderRules, HttpAction, HttpRule, Redirect, RedirectPath,
    RedirectPort, Rewrite,
};
use lateen_model::route::{HttpMatch, StringMatch};

use crate::world::{GET, World, field, has_line, run};

fn redirect() -> Redirect {
    Redirect {
        path: RedirectPath::Keep,
        authority: None,
        port: RedirectPort::Keep,
        scheme: None,
        code: 301,
    }
}

fn world(action: HttpAction) -> World {
    let mut world = World::gateway();
    world.service("web", Protocol::Http, &["10.0.1.1"]);
    world.rule(HttpRule {
        name: "r".into(),
        matches: vec![HttpMatch {
            uri: Some(StringMatch::Prefix("/old".into())),
            ..HttpMatch::default()
        }],
        headers: HeaderRules {
            response: HeaderChanges {
                set: vec![("x-by".into(), "%ROUTE_NAME%".into())],
                ..HeaderChanges::default()
            },
            ..HeaderRules::default()
        },
        ..HttpRule::new(action)
    });
    world
}

async fn location(redirect: Redirect, target: &str) -> String {
    let code = redirect.code;
    let world = world(HttpAction::Redirect(redirect));
    let mut client = world.client();
    let request = format!("GET {target} HTTP/1.1\r\nHost: shop.example:8080\r\n\r\n");
    let (head, body) = client.ask(&request).await;
    assert!(head.starts_with(&format!("HTTP/1.1 {code}")), "{head}");
    assert_eq!(body, "");
    assert_eq!(world.dialled(), 0);
    field(&head, "location").expect("a location").to_owned()
}

#[test]
fn a_redirect_replaces_what_its_rule_says_and_keeps_the_rest() {
    run(async || {
        let plain = location(redirect(), "/old/a?b=c").await;
        assert_eq!(plain, "http://shop.example:8080/old/a?b=c");
        let path = RedirectPath::Replace("/new".into());
        let moved = location(Redirect { path, ..redirect() }, "/old/a?b=c").await;
        assert_eq!(moved, "http://shop.example:8080/new?b=c");
        let path = RedirectPath::ReplacePrefix("/new".into());
        let moved = location(Redirect { path, ..redirect() }, "/old/a?b=c").await;
        assert_eq!(moved, "http://shop.example:8080/new/a?b=c");
        let authority = Some("other.example".to_owned());
        let moved = location(
            Redirect {
                authority,
                ..redirect()
            },
            "/old",
        )
        .await;
        assert_eq!(moved, "http://other.example/old");
    });
}

#[test]
fn a_redirect_has_the_code_and_the_port_of_its_rule() {
    run(async || {
        for code in [301, 302, 303, 307, 308] {
            location(Redirect { code, ..redirect() }, "/old").await;
        }
        let https = |port| Redirect {
            scheme: Some("https".into()),
            port,
            ..redirect()
        };
        let moved = location(https(RedirectPort::Number(443)), "/old").await;
        assert_eq!(moved, "https://shop.example/old");
        let moved = location(https(RedirectPort::Number(8443)), "/old").await;
        assert_eq!(moved, "https://shop.example:8443/old");
        let moved = location(https(RedirectPort::FromScheme), "/old").await;
        assert_eq!(moved, "https://shop.example/old");
        let moved = location(https(RedirectPort::FromRequest), "/old").await;
        assert_eq!(moved, "https://shop.example:8080/old");
    });
}

#[test]
fn a_redirect_leads_to_the_path_that_was_decided_on() {
    run(async || {
        let moved = location(redirect(), "/x/../old/%61").await;
        assert_eq!(moved, "http://shop.example:8080/old/a");
    });
}

#[test]
fn a_direct_response_is_sent_with_the_headers_of_its_rule() {
    run(async || {
        let world = world(HttpAction::DirectResponse(DirectResponse {
            status: 503,
            body: b"closed today".to_vec(),
        }));
        let mut client = world.client();
        for _ in 0..2 {
            let (head, body) = client.ask("GET /old HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert!(head.starts_with("HTTP/1.1 503"), "{head}");
            assert!(has_line(&head, "content-type: text/plain"), "{head}");
            assert!(has_line(&head, "x-by: r"), "{head}");
            assert_eq!(body, "closed today");
        }
        assert_eq!(world.dialled(), 0);
        let labels = [("response_code", "503"), ("response_flags", "-")];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(2));
        let (head, _) = client.ask(GET).await;
        assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    });
}

#[test]
fn a_direct_response_may_have_a_type_of_its_own_and_no_body() {
    run(async || {
        let mut world = World::gateway();
        let action = HttpAction::DirectResponse(DirectResponse {
            status: 200,
            body: b"{}".to_vec(),
        });
        world.rule(HttpRule {
            rewrite: Some(Rewrite {
                uri: None,
                authority: None,
            }),
            headers: HeaderRules {
                response: HeaderChanges {
                    set: vec![("content-type".into(), "application/json".into())],
                    ..HeaderChanges::default()
                },
                ..HeaderRules::default()
            },
            ..HttpRule::new(action)
        });
        let (head, body) = world.client().ask(GET).await;
        assert!(has_line(&head, "content-type: application/json"), "{head}");
        assert_eq!(head.matches("content-type").count(), 1, "{head}");
        assert_eq!(body, "{}");
        let mut client = world.client();
        client.say("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let head = client.hear_head().await;
        assert_eq!(field(&head, "content-length"), Some("2"));
        client.hear_nothing().await;
        let action = HttpAction::DirectResponse(DirectResponse {
            status: 204,
            body: vec![],
        });
        world.rule(HttpRule::new(action));
        client.say(GET).await;
        let head = client.hear_head().await;
        assert!(head.starts_with("HTTP/1.1 204"), "{head}");
        assert_eq!(field(&head, "content-type"), None);
    });
}

#[test]
fn rules_cannot_touch_what_frames_an_answer() {
    run(async || {
        let mut world = World::gateway();
        let action = HttpAction::DirectResponse(DirectResponse {
            status: 200,
            body: b"body".to_vec(),
        });
        let set = |name: &str| (name.to_owned(), "9".to_owned());
        world.rule(HttpRule {
            headers: HeaderRules {
                response: HeaderChanges {
                    set: ["connection", "content-length", "date", "transfer-encoding"]
                        .map(set)
                        .to_vec(),
                    add: vec![set("x-a"), set("x-a")],
                    remove: vec!["server".into()],
                },
                ..HeaderRules::default()
            },
            ..HttpRule::new(action)
        });
        let mut client = world.client();
        for _ in 0..2 {
            let (head, body) = client.ask(GET).await;
            assert_eq!(body, "body");
            assert_eq!(head.matches("content-length").count(), 1, "{head}");
            assert_eq!(head.matches("date").count(), 1, "{head}");
            assert_eq!(head.matches("x-a: 9").count(), 2, "{head}");
            for name in ["connection", "transfer-encoding", "server"] {
                assert_eq!(field(&head, name), None, "{head}");
            }
        }
    });
}

#[test]
fn a_call_is_answered_as_a_call() {
    run(async || {
        let call = "POST /old HTTP/1.1\r\nHost: a\r\ncontent-type: application/grpc+proto\r\n\
                    content-length: 0\r\n\r\n";
        let world = world(HttpAction::DirectResponse(DirectResponse {
            status: 403,
            body: b"not you".to_vec(),
        }));
        let mut client = world.client();
        let (head, body) = client.ask(call).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(has_line(&head, "content-type: application/grpc"), "{head}");
        assert!(has_line(&head, "grpc-status: 7"), "{head}");
        assert!(has_line(&head, "grpc-message: not you"), "{head}");
        assert_eq!(body, "");
        let (head, _) = client.ask(&call.replace("/old", "/")).await;
        assert!(has_line(&head, "grpc-status: 12"), "{head}");
        let labels = [
            ("request_protocol", "grpc"),
            ("response_code", "200"),
            ("grpc_response_status", "12"),
            ("response_flags", "NR"),
        ];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
    });
}

#[test]
fn an_answer_that_its_client_does_not_read_is_given_up() {
    run(async || {
        let world = world(HttpAction::DirectResponse(DirectResponse {
            status: 200,
            body: vec![b'x'; 200_000],
        }));
        let mut client = world.client();
        client.say("GET /old HTTP/1.1\r\nHost: a\r\n\r\n").await;
        tokio::time::sleep(std::time::Duration::from_secs(600)).await;
        assert_eq!(world.worker.activity.connections.get(), 0);
    });
}
