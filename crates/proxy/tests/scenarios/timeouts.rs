//! How long requests may take.

use std::time::Duration;

use lateen_model::Protocol;
use lateen_model::http::HttpRule;
use lateen_model::retry::{Retries, RetryOn};
use tokio::time::Instant;

use crate::world::{GET, OK, World, answer, field, has_line, run, to};

const SECOND: Duration = Duration::from_secs(1);

fn world(rule: HttpRule) -> World {
    let mut world = World::gateway();
    world
        .service("web", Protocol::Http, &["10.0.1.1", "10.0.1.2"])
        .rule(rule);
    world
}

fn limited() -> HttpRule {
    HttpRule {
        timeout: Some(SECOND),
        ..to("web")
    }
}

#[test]
fn a_request_without_an_answer_in_time_is_504() {
    run(async || {
        let world = world(limited());
        let mut client = world.client();
        let begun = Instant::now();
        client.say(GET).await;
        let mut web = world.upstream().await;
        let head = web.hear_head().await;
        assert!(
            has_line(&head, "x-envoy-expected-rq-timeout-ms: 1000"),
            "{head}"
        );
        let (head, body) = client.hear_response().await;
        assert!(head.starts_with("HTTP/1.1 504"), "{head}");
        assert_eq!(body, "upstream request timeout");
        assert_eq!(begun.elapsed().as_secs(), 1);
        web.hear_end().await;
        assert_eq!(world.requests("504", "UT"), Some(1));
        // The client's connection serves on.
        client.say(GET).await;
        world.upstream().await.serve(OK).await;
        client.hear_message("ok").await;
    });
}

#[test]
fn a_response_that_is_under_way_is_cut_off() {
    run(async || {
        let world = world(limited());
        let mut client = world.client();
        client.say(GET).await;
        let mut web = world.upstream().await;
        web.serve("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart")
            .await;
        client.hear_head().await;
        client.hear("part").await;
        client.hear_end().await;
        web.hear_end().await;
        assert_eq!(world.requests("200", "UT"), Some(1));
    });
}

#[test]
fn the_timeout_of_the_route_covers_all_attempts_and_their_pauses() {
    run(async || {
        let retries = Retries {
            attempts: 100,
            conditions: vec![RetryOn::ServerError],
            backoff: Duration::from_millis(100),
            per_try_timeout: Some(Duration::from_millis(300)),
            ..Retries::default_policy()
        };
        let world = world(HttpRule {
            retries: Some(retries),
            ..limited()
        });
        let mut client = world.client();
        let begun = Instant::now();
        client.say(GET).await;
        let (head, _) = client.hear_response().await;
        assert!(head.starts_with("HTTP/1.1 504"), "{head}");
        assert_eq!(begun.elapsed().as_millis(), 1000);
        assert!(world.dialled() > 2);
        assert_eq!(world.requests("504", "UT"), Some(1));
    });
}

#[test]
fn the_timeout_covers_connecting_too() {
    run(async || {
        let world = world(limited());
        world.silence("10.0.1.1:9080");
        world.silence("10.0.1.2:9080");
        let mut client = world.client();
        let begun = Instant::now();
        let (head, _) = client.ask(GET).await;
        assert!(head.starts_with("HTTP/1.1 504"), "{head}");
        assert_eq!(begun.elapsed().as_secs(), 1);
    });
}

#[test]
fn a_slow_upload_is_not_the_upstreams_fault() {
    run(async || {
        let world = world(limited());
        let mut client = world.client();
        client
            .say("PUT / HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\n\r\n")
            .await;
        let mut web = world.upstream().await;
        web.hear_head().await;
        for byte in ["h", "e", "l", "l", "o"] {
            tokio::time::sleep(SECOND).await;
            client.say(byte).await;
            web.hear(byte).await;
        }
        tokio::time::sleep(SECOND / 2).await;
        web.say(OK).await;
        client.hear_message("ok").await;
    });
}

#[test]
fn no_timeout_is_no_limit_and_no_header() {
    run(async || {
        let world = world(to("web"));
        let mut client = world.client();
        client.say(GET).await;
        let mut web = world.upstream().await;
        let head = web.hear_head().await;
        assert_eq!(field(&head, "x-envoy-expected-rq-timeout-ms"), None);
        tokio::time::sleep(Duration::from_secs(3000)).await;
        web.say(OK).await;
        client.hear_message("ok").await;
    });
}

#[test]
fn a_call_says_its_own_time_and_the_route_caps_it() {
    for (asked, rule, allowed) in [
        ("grpc-timeout: 500m\r\n", limited(), 500),
        ("grpc-timeout: 5S\r\n", limited(), 1000),
        ("grpc-timeout: 2S\r\n", to("web"), 2000),
        ("", limited(), 1000),
        // None at all.
        ("grpc-timeout: 0m\r\n", limited(), 1000),
    ] {
        run(async || {
            let world = world(rule.clone());
            let mut client = world.client();
            let begun = Instant::now();
            client
                .say(format!(
                    "POST / HTTP/1.1\r\nHost: a\r\ncontent-type: application/grpc\r\n{asked}\
                     content-length: 0\r\n\r\n"
                ))
                .await;
            let mut web = world.upstream().await;
            let head = web.hear_head().await;
            let told = format!("grpc-timeout: {allowed}m");
            assert!(has_line(&head, &told), "{head}");
            let (head, _) = client.hear_response().await;
            assert_eq!(begun.elapsed().as_millis(), allowed);
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert!(has_line(&head, "grpc-status: 14"), "{head}");
        });
    }
}

#[test]
fn a_timeout_of_a_rule_is_not_for_clients_to_set() {
    run(async || {
        let world = world(to("web"));
        let mut client = world.client();
        client
            .say("GET / HTTP/1.1\r\nHost: a\r\nx-envoy-upstream-rq-timeout-ms: 10\r\n\r\n")
            .await;
        let mut web = world.upstream().await;
        let head = web.hear_head().await;
        assert_eq!(field(&head, "x-envoy-upstream-rq-timeout-ms"), None);
        tokio::time::sleep(SECOND).await;
        web.say(answer(500)).await;
        let (head, _) = client.hear_response().await;
        assert!(head.starts_with("HTTP/1.1 500"), "{head}");
    });
}
