//! Cross-origin resource sharing.

use std::time::Duration;

use lateen_model::Protocol;
use lateen_model::http::{CorsPolicy, DirectResponse, HttpAction, HttpRule};
use lateen_model::route::StringMatch;

use crate::world::{OK, World, field, run, to};

fn policy() -> CorsPolicy {
    CorsPolicy {
        allow_origins: vec![
            StringMatch::Exact("https://shop.example".into()),
            StringMatch::Regex(r"https://.*\.shop\.example".into()),
        ],
        allow_methods: vec!["GET".into(), "PUT".into()],
        allow_headers: vec!["x-a".into(), "x-b".into()],
        expose_headers: vec!["x-c".into()],
        max_age: Some(Duration::from_secs(600)),
        allow_credentials: true,
        answers_unmatched_preflights: false,
    }
}

fn world(cors: CorsPolicy) -> World {
    let mut world = World::gateway();
    world
        .service("web", Protocol::Http, &["10.0.1.1"])
        .rule(HttpRule {
            cors: Some(cors),
            ..to("web")
        });
    world
}

fn preflight(origin: &str) -> String {
    format!(
        "OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n\
         Access-Control-Request-Method: PUT\r\n\r\n"
    )
}

fn get(origin: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n\r\n")
}

#[test]
fn a_preflight_of_an_allowed_origin_is_answered_by_the_proxy() {
    run(async || {
        let world = world(policy());
        for origin in ["https://shop.example", "https://eu.shop.example"] {
            let (head, body) = world.client().ask(&preflight(origin)).await;
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert_eq!(body, "");
            for (name, value) in [
                ("access-control-allow-origin", origin),
                ("access-control-allow-methods", "GET,PUT"),
                ("access-control-allow-headers", "x-a,x-b"),
                ("access-control-max-age", "600"),
                ("access-control-allow-credentials", "true"),
            ] {
                assert_eq!(field(&head, name), Some(value), "{head}");
            }
            assert_eq!(field(&head, "access-control-expose-headers"), None);
        }
        assert_eq!(world.dialled(), 0);
    });
}

#[test]
fn a_response_to_an_allowed_origin_may_be_read_by_it() {
    run(async || {
        let world = world(policy());
        let mut client = world.client();
        client.say(get("https://shop.example")).await;
        let response = "HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\n\
                        content-length: 0\r\n\r\n";
        world.upstream().await.serve(response).await;
        let (head, _) = client.hear_response().await;
        let allowed = "access-control-allow-origin";
        assert_eq!(field(&head, allowed), Some("https://shop.example"));
        assert_eq!(head.matches(allowed).count(), 1, "{head}");
        assert_eq!(field(&head, "access-control-expose-headers"), Some("x-c"));
        assert_eq!(
            field(&head, "access-control-allow-credentials"),
            Some("true")
        );
        assert_eq!(field(&head, "access-control-allow-methods"), None);
    });
}

#[test]
fn other_origins_are_forwarded_without_a_permission() {
    run(async || {
        let world = world(policy());
        for request in [
            get("https://shop.example.evil"),
            preflight("https://evil.example"),
            get(""),
            "OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        ] {
            let mut client = world.client();
            client.say(request).await;
            world.upstream().await.serve(OK).await;
            let (head, _) = client.hear_response().await;
            assert!(!head.contains("access-control"), "{head}");
        }
    });
}

#[test]
fn an_options_request_that_is_no_preflight_is_forwarded() {
    run(async || {
        let world = world(policy());
        let mut client = world.client();
        client
            .say("OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://shop.example\r\n\r\n")
            .await;
        world.upstream().await.serve(OK).await;
        let (head, _) = client.hear_response().await;
        assert!(field(&head, "access-control-allow-origin").is_some());
    });
}

#[test]
fn preflights_of_other_origins_are_answered_where_the_policy_says_so() {
    run(async || {
        let world = world(CorsPolicy {
            answers_unmatched_preflights: true,
            ..policy()
        });
        let (head, _) = world.client().ask(&preflight("https://evil.example")).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(!head.contains("access-control"), "{head}");
        assert_eq!(world.dialled(), 0);
    });
}

#[test]
fn answers_of_the_proxy_may_be_read_too() {
    run(async || {
        let mut world = World::gateway();
        let action = HttpAction::DirectResponse(DirectResponse {
            status: 200,
            body: b"x".to_vec(),
        });
        world.rule(HttpRule {
            cors: Some(CorsPolicy {
                allow_origins: vec![StringMatch::Exact("*".into())],
                ..CorsPolicy::default()
            }),
            ..HttpRule::new(action)
        });
        let (head, _) = world.client().ask(&get("https://any.example")).await;
        let allowed = field(&head, "access-control-allow-origin");
        assert_eq!(allowed, Some("https://any.example"));
        assert_eq!(field(&head, "access-control-allow-credentials"), None);
        let (head, _) = world.client().ask(&preflight("https://any.example")).await;
        assert_eq!(field(&head, "access-control-allow-methods"), None);
    });
}
