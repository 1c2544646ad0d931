//! When a request is sent again, and what client and upstreams see of it.

use std::time::Duration;

use lateen_model::balancer::{Algorithm, ConsistentHash, HashKey, HashTable, LoadBalancer};
use lateen_model::destination::PortPolicy;
use lateen_model::http::{HeaderChanges, HeaderRules, HttpRule};
use lateen_model::mesh::Mesh;
use lateen_model::pool::{ConnectionPool, HttpPool};
use lateen_model::retry::{Retries, RetryOn};
use lateen_model::route::GatewayRef;
use lateen_model::{Body, HostPattern, Protocol};
use tokio::time::Instant;

use crate::resources;
use crate::world::{GET, OK, World, answer, attempt, field, has_line, run, to};

const TWO: [&str; 2] = ["10.0.1.1", "10.0.1.2"];

fn retries(attempts: u32, conditions: &[RetryOn]) -> Retries {
    Retries {
        attempts,
        conditions: conditions.to_vec(),
        ..Retries::default_policy()
    }
}

fn world(endpoints: &[&str], retries: Retries) -> World {
    let mut world = World::gateway();
    world
        .service("web", Protocol::Http, endpoints)
        .rule(HttpRule {
            retries: Some(retries),
            ..to("web")
        });
    world
}

#[test]
fn an_answer_that_is_worth_another_attempt_never_reaches_the_client() {
    run(async || {
        let world = world(&TWO, retries(2, &[RetryOn::ServerError]));
        let mut client = world.client();
        client.say(GET).await;
        let mut first = world.upstream().await;
        assert_eq!(attempt(&first.serve(answer(503)).await), 1);
        let mut second = world.upstream().await;
        assert_eq!(attempt(&second.serve(OK).await), 2);
        assert_ne!(first.address, second.address, "another endpoint is sought");
        let (head, body) = client.hear_response().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(body, "ok");
        assert_eq!(world.requests("200", "-"), Some(1));
    });
}

#[test]
fn when_attempts_run_out_the_last_answer_is_sent_on() {
    run(async || {
        let world = world(&TWO, retries(1, &[RetryOn::GatewayError]));
        let mut client = world.client();
        client.say(GET).await;
        for _ in 0..2 {
            world.upstream().await.serve(answer(502)).await;
        }
        let (head, body) = client.hear_response().await;
        assert!(head.starts_with("HTTP/1.1 502"), "{head}");
        assert_eq!(body, "no");
        assert_eq!(world.requests("502", "URX"), Some(1));
    });
}

#[test]
fn each_condition_retries_what_it_names_and_nothing_else() {
    let with = |name: &str| format!("HTTP/1.1 200 OK\r\n{name}\r\ncontent-length: 0\r\n\r\n");
    let limited = "HTTP/1.1 429 No\r\nx-envoy-ratelimited: true\r\ncontent-length: 0\r\n\r\n";
    let cases = [
        (RetryOn::ServerError, answer(500), answer(404)),
        (RetryOn::GatewayError, answer(504), answer(500)),
        (RetryOn::Retriable4xx, answer(409), answer(429)),
        (RetryOn::RetriableStatusCodes, answer(418), answer(503)),
        (RetryOn::EnvoyRatelimited, limited.into(), answer(429)),
        (
            RetryOn::Cancelled,
            with("grpc-status: 1"),
            with("grpc-status: 2"),
        ),
        (
            RetryOn::DeadlineExceeded,
            with("grpc-status: 4"),
            with("grpc-status: 14"),
        ),
        (
            RetryOn::ResourceExhausted,
            with("grpc-status: 8"),
            with("grpc-status: 0"),
        ),
        (
            RetryOn::Internal,
            with("grpc-status: 13"),
            with("grpc-status: x"),
        ),
        (
            RetryOn::Unavailable,
            with("grpc-status: 14"),
            with("x-other: 14"),
        ),
    ];
    for (condition, retried, sent_on) in cases {
        run(async || {
            let policy = Retries {
                status_codes: vec![418],
                ..retries(1, &[condition])
            };
            let world = world(&TWO, policy);
            let call = "POST / HTTP/1.1\r\nHost: a\r\ncontent-type: application/grpc\r\n\
                        content-length: 0\r\n\r\n";
            let mut client = world.client();
            client.say(call).await;
            world.upstream().await.serve(&retried).await;
            world.upstream().await.serve(OK).await;
            client.hear_response().await;
            assert_eq!(world.dialled(), 2, "{condition:?} retries");
            let mut client = world.client();
            client.say(call).await;
            world.upstream().await.serve(&sent_on).await;
            let (head, _) = client.hear_response().await;
            assert_eq!(
                head.get(9..12),
                sent_on.get(9..12),
                "{condition:?} sends on"
            );
        });
    }
}

#[test]
fn a_connection_that_cannot_be_made_is_tried_elsewhere_by_default() {
    run(async || {
        let mut world = World::gateway();
        world.service("web", Protocol::Http, &TWO).rule(to("web"));
        world.refuse("10.0.1.1:9080");
        for _ in 0..8 {
            let mut client = world.client();
            client.say(GET).await;
            let mut web = world.upstream().await;
            assert_eq!(web.address.to_string(), "10.0.1.2:9080");
            web.serve(OK).await;
            client.hear_message("ok").await;
        }
        world.refuse("10.0.1.2:9080");
        let (head, _) = world.client().ask(GET).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert_eq!(world.requests("503", "UF,URX"), Some(1));
    });
}

#[test]
fn zero_attempts_turn_retries_off() {
    run(async || {
        let world = world(&TWO, retries(0, &Retries::DEFAULT_CONDITIONS));
        world.refuse("10.0.1.1:9080");
        world.refuse("10.0.1.2:9080");
        world.client().ask(GET).await;
        assert_eq!(world.dialled(), 1);
        assert_eq!(world.requests("503", "UF"), Some(1));
    });
}

#[test]
fn a_503_of_the_application_is_not_retried_by_default() {
    run(async || {
        let mut world = World::gateway();
        world.service("web", Protocol::Http, &TWO).rule(to("web"));
        let mut client = world.client();
        client.say(GET).await;
        world.upstream().await.serve(answer(503)).await;
        let (head, _) = client.hear_response().await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert_eq!(world.dialled(), 1);
    });
}

#[test]
fn a_connection_that_breaks_is_a_reset() {
    run(async || {
        let world = world(&TWO, retries(1, &[RetryOn::Reset]));
        let mut client = world.client();
        client.say(GET).await;
        let mut first = world.upstream().await;
        first.hear_head().await;
        drop(first);
        world.upstream().await.serve(OK).await;
        client.hear_message("ok").await;
        // In the middle of an answer that was sent on, nothing can be taken back.
        client.say(GET).await;
        let mut web = world.upstream().await;
        web.serve("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart")
            .await;
        drop(web);
        client.hear_head().await;
        client.hear("part").await;
        client.hear_end().await;
        assert_eq!(world.dialled(), 3);
    });
}

#[test]
fn the_application_is_asked_again_only_if_it_cannot_have_seen_the_request() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller.say(GET).await;
        let mut app = world.upstream().await;
        app.hear_head().await;
        drop(app);
        let (head, _) = caller.hear_response().await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert_eq!(world.dialled(), 1);
        assert_eq!(world.requests("503", "UC"), Some(1));
        world.refuse("10.0.0.1:8080");
        caller.ask(GET).await;
        assert_eq!(world.dialled(), 4);
        assert_eq!(world.requests("503", "UF,URX"), Some(1));
    });
}

#[test]
fn an_attempt_has_a_time_of_its_own() {
    run(async || {
        let policy = Retries {
            per_try_timeout: Some(Duration::from_millis(500)),
            ..retries(2, &[RetryOn::GatewayError])
        };
        let world = world(&TWO, policy.clone());
        let mut client = world.client();
        let begun = Instant::now();
        client.say(GET).await;
        let mut slow = world.upstream().await;
        let head = slow.hear_head().await;
        assert!(
            has_line(&head, "x-envoy-expected-rq-timeout-ms: 500"),
            "{head}"
        );
        let mut quick = world.upstream().await;
        assert!(begun.elapsed() >= Duration::from_millis(500));
        quick.serve(OK).await;
        client.hear_message("ok").await;
        slow.hear_end().await;
        let world = self::world(&TWO, policy);
        let mut client = world.client();
        client.say(GET).await;
        let mut slow = Vec::new();
        for _ in 0..3 {
            client.hear_nothing_for(Duration::from_millis(400)).await;
            let mut web = world.upstream().await;
            web.hear_head().await;
            slow.push(web);
        }
        let (head, body) = client.hear_response().await;
        assert!(head.starts_with("HTTP/1.1 504"), "{head}");
        assert_eq!(body, "upstream request timeout");
        assert_eq!(world.requests("504", "UT,URX"), Some(1));
    });
}

#[test]
fn the_time_of_an_attempt_ends_when_its_answer_begins() {
    run(async || {
        let policy = Retries {
            per_try_timeout: Some(Duration::from_millis(500)),
            ..retries(2, &[RetryOn::GatewayError])
        };
        let world = world(&TWO, policy);
        let mut client = world.client();
        client.say(GET).await;
        let mut web = world.upstream().await;
        web.serve("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")
            .await;
        client.hear_head().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        web.say("k").await;
        client.hear("ok").await;
    });
}

#[test]
fn pauses_between_attempts_grow_up_to_ten_times_their_base() {
    run(async || {
        let policy = Retries {
            backoff: Duration::from_secs(1),
            ..retries(6, &[RetryOn::ConnectFailure])
        };
        let world = world(&["10.0.1.1"], policy);
        world.refuse("10.0.1.1:9080");
        let begun = Instant::now();
        let mut client = world.client();
        client.say(GET).await;
        let late = Duration::from_secs(1 + 3 + 7 + 10 + 10 + 10 + 1);
        let heard = tokio::time::timeout(late, client.hear_late()).await;
        assert!(heard.is_ok(), "every pause is below its most");
        assert_eq!(world.dialled(), 7);
        assert!(
            begun.elapsed() > Duration::from_millis(100),
            "there is jitter"
        );
    });
}

#[test]
fn a_body_that_is_whole_is_sent_again() {
    run(async || {
        let world = world(&TWO, retries(1, &[RetryOn::ServerError]));
        let mut client = world.client();
        client
            .say("POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\n\r\nhello")
            .await;
        for (number, response) in [(1, answer(500)), (2, OK.to_owned())] {
            let mut web = world.upstream().await;
            assert_eq!(attempt(&web.hear_message("hello").await), number);
            web.say(response).await;
        }
        client.hear_message("ok").await;
        assert_eq!(world.requests("200", "-"), Some(1));
    });
}

#[test]
fn a_body_that_streams_is_sent_again_from_its_beginning_while_it_is_short() {
    run(async || {
        let world = world(&["10.0.1.1"], retries(12, &[RetryOn::ServerError]));
        let mut client = world.client();
        client
            .say("POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 10\r\n\r\nhello")
            .await;
        let mut web = world.upstream().await;
        web.hear_message("hello").await;
        web.say(answer(500)).await;
        // The rest of the body comes while an attempt is under way that has half of it.
        let mut web = world.upstream().await;
        assert_eq!(attempt(&web.hear_message("hello").await), 2);
        client.say("world").await;
        web.hear("world").await;
        web.say(answer(500)).await;
        for number in 3..=12 {
            assert_eq!(attempt(&web.hear_message("helloworld").await), number);
            web.say(answer(500)).await;
        }
        assert_eq!(attempt(&web.hear_message("helloworld").await), 13);
        web.say(OK).await;
        client.hear_message("ok").await;
    });
}

#[test]
fn chunks_are_sent_again_as_they_were() {
    run(async || {
        let world = world(&TWO, retries(1, &[RetryOn::ServerError]));
        let mut client = world.client();
        client
            .say("POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
            .await;
        let mut first = world.upstream().await;
        first.hear_message("5\r\nhello\r\n").await;
        client.say("05;x=y\r\nworld\r\n0\r\n\r\n").await;
        first.hear("5\r\nworld\r\n0\r\n\r\n").await;
        first.say(answer(500)).await;
        let mut second = world.upstream().await;
        second
            .hear_message("5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n")
            .await;
        second.say(OK).await;
        client.hear_message("ok").await;
    });
}

#[test]
fn a_body_that_is_too_long_to_be_kept_is_sent_once() {
    for framing in ["content-length: 102400", "transfer-encoding: chunked"] {
        run(async || {
            let world = world(&TWO, retries(3, &[RetryOn::ServerError]));
            let mut client = world.client();
            client
                .say(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"))
                .await;
            let mut web = world.upstream().await;
            web.hear_head().await;
            let (line, end) = match framing {
                "transfer-encoding: chunked" => ("400\r\n", "\r\n"),
                _ => ("", ""),
            };
            let piece = format!("{line}{}{end}", "x".repeat(1024));
            for _ in 0..100 {
                client.say(&piece).await;
                web.hear(&piece).await;
            }
            if !line.is_empty() {
                client.say("0\r\n\r\n").await;
                web.hear("0\r\n\r\n").await;
            }
            web.say(answer(500)).await;
            let (head, _) = client.hear_response().await;
            assert!(head.starts_with("HTTP/1.1 500"), "{head}");
            assert_eq!(world.dialled(), 1);
        });
    }
}

#[test]
fn an_answer_that_came_whole_leaves_its_connection_to_others() {
    run(async || {
        let world = world(&["10.0.1.1"], retries(1, &[RetryOn::ServerError]));
        let mut client = world.client();
        client.say(GET).await;
        let mut web = world.upstream().await;
        assert_eq!(attempt(&web.serve(answer(500)).await), 1);
        assert_eq!(attempt(&web.serve(OK).await), 2);
        client.hear_message("ok").await;
        assert_eq!(world.dialled(), 1);
    });
}

#[test]
fn no_more_retries_are_under_way_than_the_cluster_allows() {
    run(async || {
        let mut world = world(&["10.0.1.1"], retries(5, &[RetryOn::ServerError]));
        world.policy(
            "web",
            PortPolicy {
                connection_pool: Some(ConnectionPool {
                    http: HttpPool {
                        max_retries: Some(1),
                        ..HttpPool::default()
                    },
                    ..ConnectionPool::default()
                }),
                ..PortPolicy::default()
            },
        );
        let mut first = world.client();
        first.say(GET).await;
        let mut web = world.upstream().await;
        web.serve(answer(500)).await;
        assert_eq!(attempt(&web.hear_head().await), 2);
        // While that retry is under way, there is none for another request.
        let mut second = world.client();
        second.say(GET).await;
        let mut other = world.upstream().await;
        other.serve(answer(500)).await;
        let (head, _) = second.hear_response().await;
        assert!(head.starts_with("HTTP/1.1 500"), "{head}");
        assert_eq!(world.requests("500", "URX"), Some(1));
        web.say(OK).await;
        first.hear_message("ok").await;
    });
}

#[test]
fn earlier_endpoints_are_avoided_unless_the_policy_says_otherwise() {
    for (avoids, expected) in [(true, 0), (false, 1)] {
        run(async || {
            let policy = Retries {
                ignores_previous_hosts: avoids,
                ..retries(1, &[RetryOn::ServerError])
            };
            let mut world = world(&TWO, policy);
            let any = LoadBalancer {
                algorithm: Algorithm::Random,
                ..LoadBalancer::default()
            };
            world.policy(
                "web",
                PortPolicy {
                    load_balancer: Some(any),
                    ..PortPolicy::default()
                },
            );
            let mut same = 0;
            for _ in 0..60 {
                let mut client = world.client();
                client.say(GET).await;
                let closing = "HTTP/1.1 500 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
                let mut first = world.upstream().await;
                first.serve(closing).await;
                let mut second = world.upstream().await;
                second.serve(closing).await;
                client.hear_response().await;
                same += u32::from(first.address == second.address);
            }
            assert_eq!(same.min(1), expected, "{avoids}");
        });
    }
}

#[test]
fn a_hash_keeps_retries_at_their_endpoint() {
    run(async || {
        let mut world = world(&TWO, retries(1, &[RetryOn::ServerError]));
        let by_user = LoadBalancer {
            algorithm: Algorithm::ConsistentHash(ConsistentHash {
                key: HashKey::Header("x-user".into()),
                table: HashTable::Maglev { table_size: 65537 },
            }),
            ..LoadBalancer::default()
        };
        world.policy(
            "web",
            PortPolicy {
                load_balancer: Some(by_user),
                ..PortPolicy::default()
            },
        );
        for user in 0..10 {
            let mut client = world.client();
            client
                .say(format!(
                    "GET / HTTP/1.1\r\nHost: a\r\nx-user: {user}\r\n\r\n"
                ))
                .await;
            let mut first = world.upstream().await;
            first.hear_head().await;
            first
                .say("HTTP/1.1 500 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                .await;
            let mut second = world.upstream().await;
            assert_eq!(second.address, first.address);
            second
                .serve("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                .await;
            client.hear_response().await;
        }
    });
}

#[test]
fn a_rule_without_retries_takes_those_of_the_mesh() {
    run(async || {
        let mut world = World::gateway();
        world.service("web", Protocol::Http, &TWO).rule(to("web"));
        let mesh = Mesh {
            default_retries: retries(3, &[RetryOn::ServerError]),
            ..Mesh::default()
        };
        world.apply(resources::named("mesh", Body::Mesh(mesh)));
        let mut client = world.client();
        client.say(GET).await;
        for _ in 0..4 {
            let mut web = world.upstream().await;
            web.hear_head().await;
            drop(web);
        }
        assert!(client.hear_head().await.starts_with("HTTP/1.1 503"));
        assert_eq!(world.requests("503", "UC,URX"), Some(1));
    });
}

#[test]
fn a_sidecar_retries_the_calls_of_its_application() {
    run(async || {
        let mut world = World::sidecar();
        world.service("web", Protocol::Http, &TWO);
        let rule = HttpRule {
            retries: Some(retries(1, &[RetryOn::ServerError])),
            ..to("web")
        };
        let host = HostPattern::Exact(resources::key("web").host);
        world.apply(resources::virtual_service(
            vec![host],
            GatewayRef::Mesh,
            vec![rule],
        ));
        let mut application = world.application("10.96.0.3:80");
        application.say("GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
        world.upstream().await.serve(answer(500)).await;
        assert_eq!(attempt(&world.upstream().await.serve(OK).await), 2);
        application.hear_message("ok").await;
    });
}

#[test]
fn a_service_without_rules_has_the_retries_of_the_mesh() {
    run(async || {
        let mut world = World::sidecar();
        world.service("web", Protocol::Http, &TWO);
        world.refuse("10.0.1.1:9080");
        for _ in 0..8 {
            let mut application = world.application("10.96.0.3:80");
            application.say("GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
            world.upstream().await.serve(OK).await;
            application.hear_message("ok").await;
        }
    });
}

#[test]
fn a_request_that_the_application_did_not_get_is_sent_elsewhere() {
    let get = GET.to_owned();
    let post = GET
        .replace("GET /", "POST /")
        .replace("\r\n\r\n", "\r\ncontent-length: 0\r\n\r\n");
    for (request, said, is_retried) in [
        (&get, "unsent", true),
        (&post, "unsent", true),
        (&get, "sent", true),
        (&post, "sent", false),
        (&get, "else", false),
    ] {
        run(async || {
            let mut world = World::gateway();
            world.service("web", Protocol::Http, &TWO).rule(to("web"));
            let mut client = world.client();
            client.say(request).await;
            let mut gone = world.upstream().await;
            let refusal =
                answer(503).replacen("\r\n", &format!("\r\nx-lateen-unanswered: {said}\r\n"), 1);
            gone.serve(refusal).await;
            if is_retried {
                let mut web = world.upstream().await;
                assert_ne!(web.address, gone.address);
                assert_eq!(attempt(&web.serve(OK).await), 2);
                client.hear_message("ok").await;
            } else {
                let (head, _) = client.hear_response().await;
                assert!(head.starts_with("HTTP/1.1 503"), "{head}");
                assert_eq!(field(&head, "x-lateen-unanswered"), None);
            }
        });
    }
}

#[test]
fn the_proxy_of_an_application_says_whether_a_request_was_sent() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        caller.say(GET).await;
        let mut app = world.upstream().await;
        app.hear_head().await;
        drop(app);
        let (head, _) = caller.hear_response().await;
        assert_eq!(field(&head, "x-lateen-unanswered"), Some("sent"));
        caller.say(GET).await;
        let mut app = world.upstream().await;
        app.serve(answer(503).replacen("\r\n", "\r\nx-lateen-unanswered: unsent\r\n", 1))
            .await;
        let (head, _) = caller.hear_response().await;
        assert_eq!(
            field(&head, "x-lateen-unanswered"),
            None,
            "not the application's"
        );
        drop(app);
        world.refuse("10.0.0.1:8080");
        let (head, _) = world.caller(8080).ask(GET).await;
        assert_eq!(field(&head, "x-lateen-unanswered"), Some("unsent"));
        let mut application = World::sidecar();
        application.service("web", Protocol::Http, &TWO);
        application.refuse("203.0.113.9:80");
        let mut outbound = application.application("203.0.113.9:80");
        let (head, _) = outbound.ask(GET).await;
        assert_eq!(
            field(&head, "x-lateen-unanswered"),
            None,
            "outbound says nothing"
        );
    });
}

#[test]
fn a_request_to_a_pod_whose_application_has_ended_is_answered_by_another_pod() {
    run(async || {
        let ended = World::sidecar();
        ended.refuse("10.0.0.1:8080");
        let mut world = World::gateway();
        world.service("web", Protocol::Http, &TWO).rule(to("web"));
        let mut client = world.client();
        client.say(GET).await;
        let mut first = world.upstream().await;
        let mut proxy = ended.caller(8080);
        tokio::task::spawn_local(async move {
            tokio::io::copy_bidirectional(&mut first.stream, &mut proxy.stream).await
        });
        let mut second = world.upstream().await;
        second.serve(OK).await;
        let (head, _) = client.hear_response().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    });
}

#[test]
fn an_attempt_is_numbered_behind_the_headers_of_its_rule() {
    run(async || {
        let mut world = World::gateway();
        let set = |name: &str, value: &str| HeaderChanges {
            set: vec![(name.into(), value.into())],
            ..HeaderChanges::default()
        };
        world.service("web", Protocol::Http, &TWO).rule(HttpRule {
            retries: Some(retries(1, &[RetryOn::ServerError])),
            headers: HeaderRules {
                request: set("x-envoy-attempt-count", "9"),
                response: set("x-from", "%UPSTREAM_HOST%"),
            },
            ..to("web")
        });
        let mut client = world.client();
        client.say(GET).await;
        assert_eq!(attempt(&world.upstream().await.serve(answer(500)).await), 1);
        let mut web = world.upstream().await;
        assert_eq!(attempt(&web.serve(OK).await), 2);
        let (head, _) = client.hear_response().await;
        let from = web.address.to_string();
        assert_eq!(field(&head, "x-from"), Some(from.as_str()));
    });
}

#[test]
fn the_application_learns_the_number_of_its_callers_attempt() {
    run(async || {
        let world = World::sidecar();
        let mut caller = world.caller(8080);
        for count in ["x-envoy-attempt-count: 2\r\n", ""] {
            caller
                .say(format!("GET / HTTP/1.1\r\nHost: a\r\n{count}\r\n"))
                .await;
            let mut app = world.upstream().await;
            let head = app
                .serve("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
                .await;
            let told = field(&head, "x-envoy-attempt-count");
            assert_eq!(told, (!count.is_empty()).then_some("2"));
            caller.hear_message("ok").await;
        }
    });
}

#[test]
fn the_number_of_the_attempt_is_not_for_others_to_say() {
    run(async || {
        let world = world(&TWO, retries(1, &[RetryOn::ServerError]));
        let mut client = world.client();
        client
            .say("GET / HTTP/1.1\r\nHost: a\r\nx-envoy-attempt-count: 7\r\n\r\n")
            .await;
        let head = world.upstream().await.serve(OK).await;
        assert_eq!(field(&head, "x-envoy-attempt-count"), Some("1"));
        client.hear_message("ok").await;
    });
}
