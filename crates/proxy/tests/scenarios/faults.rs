//! Faults that rules inject.

use std::time::Duration;

use lateen_model::http::{Abort, AbortWith, Delay, Fault, HttpRule};
use lateen_model::route::GatewayRef;
use lateen_model::{HostPattern, Percent, Protocol};
use tokio::time::Instant;

use crate::resources;
use crate::world::{GET, OK, World, has_line, run, to};

const CALL: &str = "POST / HTTP/1.1\r\nHost: a\r\ncontent-type: application/grpc\r\n\
                    content-length: 0\r\n\r\n";

fn abort(with: AbortWith, percentage: Percent) -> Fault {
    Fault {
        abort: Some(Abort { with, percentage }),
        delay: None,
    }
}

fn delay(percentage: Percent) -> Delay {
    Delay {
        duration: Duration::from_secs(2),
        percentage,
    }
}

fn world(fault: Fault) -> World {
    let mut world = World::gateway();
    world
        .service("web", Protocol::Http, &["10.0.1.1"])
        .rule(HttpRule {
            fault,
            timeout: Some(Duration::from_secs(1)),
            ..to("web")
        });
    world
}

#[test]
fn an_abort_is_answered_in_place_of_the_upstream() {
    run(async || {
        let world = world(abort(AbortWith::Http(418), Percent::ALL));
        let mut client = world.client();
        for _ in 0..2 {
            let (head, body) = client.ask(GET).await;
            assert!(head.starts_with("HTTP/1.1 418"), "{head}");
            assert_eq!(body, "fault filter abort");
        }
        assert_eq!(world.dialled(), 0);
        assert_eq!(world.requests("418", "FI"), Some(2));
    });
}

#[test]
fn an_abort_with_a_status_of_grpc_speaks_to_calls_and_to_others() {
    run(async || {
        let world = world(abort(AbortWith::Grpc(8), Percent::ALL));
        let (head, _) = world.client().ask(CALL).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(has_line(&head, "grpc-status: 8"), "{head}");
        assert!(
            has_line(&head, "grpc-message: fault filter abort"),
            "{head}"
        );
        assert!(has_line(&head, "content-type: application/grpc"), "{head}");
        let (head, _) = world.client().ask(GET).await;
        assert!(head.starts_with("HTTP/1.1 429"), "{head}");
        let labels = [("request_protocol", "grpc"), ("grpc_response_status", "8")];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
    });
}

#[test]
fn a_delay_comes_before_the_request_and_outside_of_its_timeout() {
    run(async || {
        let world = world(Fault {
            delay: Some(delay(Percent::ALL)),
            abort: None,
        });
        let mut client = world.client();
        let begun = Instant::now();
        client.say(GET).await;
        let mut web = world.upstream().await;
        assert_eq!(begun.elapsed().as_secs(), 2);
        web.serve(OK).await;
        client.hear_message("ok").await;
        assert_eq!(world.requests("200", "DI"), Some(1));
    });
}

#[test]
fn a_delay_comes_before_an_abort() {
    run(async || {
        let world = world(Fault {
            delay: Some(delay(Percent::ALL)),
            ..abort(AbortWith::Http(503), Percent::ALL)
        });
        let begun = Instant::now();
        let (head, _) = world.client().ask(GET).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert_eq!(begun.elapsed().as_secs(), 2);
        assert_eq!(world.requests("503", "DI,FI"), Some(1));
    });
}

#[test]
fn faults_take_their_share_of_the_requests() {
    run(async || {
        let world = world(Fault {
            delay: Some(delay(Percent::ZERO)),
            ..abort(AbortWith::Http(500), Percent::ZERO)
        });
        let mut client = world.client();
        let begun = Instant::now();
        client.say(GET).await;
        world.upstream().await.serve(OK).await;
        client.hear_message("ok").await;
        assert_eq!(begun.elapsed().as_millis(), 0);
        assert_eq!(world.requests("200", "-"), Some(1));
    });
    run(async || {
        let world = world(abort(
            AbortWith::Http(500),
            Percent::from_millionths(500_000),
        ));
        let mut client = world.client();
        for _ in 0..200 {
            client.say(GET).await;
            if world.dialled() > 0 && world.worker.pools.is_empty() {
                break;
            }
            tokio::task::yield_now().await;
            if world.dialled() > 0 {
                break;
            }
            client.hear_response().await;
        }
        assert_eq!(world.dialled(), 1, "half of them pass");
    });
}

#[test]
fn a_sidecar_injects_faults_into_the_calls_of_its_application_only() {
    run(async || {
        let mut world = World::sidecar();
        world.service("app", Protocol::Http, &["10.0.0.1"]);
        let rule = HttpRule {
            fault: abort(AbortWith::Http(555), Percent::ALL),
            ..to("app")
        };
        let host = HostPattern::Exact(resources::key("app").host);
        world.apply(resources::virtual_service(
            vec![host],
            GatewayRef::Mesh,
            vec![rule],
        ));
        let request = "GET / HTTP/1.1\r\nHost: app\r\n\r\n";
        let (head, _) = world.application("10.96.0.3:80").ask(request).await;
        assert!(head.starts_with("HTTP/1.1 555"), "{head}");
        let mut caller = world.caller(8080);
        caller.say(request).await;
        world.upstream().await.serve(OK).await;
        caller.hear_message("ok").await;
    });
}

#[test]
fn a_client_that_goes_away_during_a_delay_leaves_nothing_behind() {
    run(async || {
        let world = world(Fault {
            delay: Some(Delay {
                duration: Duration::from_secs(60),
                percentage: Percent::ALL,
            }),
            abort: None,
        });
        let mut client = world.client();
        client.say(GET).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.worker.activity.exchanges.get(), 1);
        drop(client);
        tokio::time::sleep(Duration::from_secs(70)).await;
        assert_eq!(world.worker.activity.exchanges.get(), 0);
    });
}
