//! Copies of requests for mirrors.

use std::time::Duration;

use lateen_model::destination::PortPolicy;
use lateen_model::http::{HttpRule, Mirror};
use lateen_model::{Percent, Protocol};

use crate::resources;
use crate::world::{GET, OK, Peer, World, answer, field, run, to};

const WEB: &str = "10.0.1.1:9080";
const COPY: &str = "10.0.2.1:9080";

fn mirror(service: &str, percentage: Percent) -> Mirror {
    Mirror {
        destination: resources::destination(service),
        percentage,
    }
}

fn world(mirrors: Vec<Mirror>) -> World {
    let mut world = World::gateway();
    world
        .service("web", Protocol::Http, &["10.0.1.1"])
        .service("copy", Protocol::Http, &["10.0.2.1"])
        .service("other", Protocol::Http, &["10.0.3.1"])
        .rule(HttpRule {
            mirrors,
            ..to("web")
        });
    world
}

/// The upstream and the mirror, in whichever order they are dialled.
async fn both(world: &World) -> (Peer, Peer) {
    let (one, other) = (world.upstream().await, world.upstream().await);
    if one.address.to_string() == WEB {
        (one, other)
    } else {
        (other, one)
    }
}

#[test]
fn a_mirror_gets_the_request_and_its_answer_goes_nowhere() {
    run(async || {
        let world = world(vec![mirror("copy", Percent::ALL)]);
        let mut client = world.client();
        for (first, request) in [
            (true, GET.to_owned()),
            (false, GET.replace("GET /", "GET /b?c")),
        ] {
            client.say(&request).await;
            let (mut web, mut copy) = both(&world).await;
            assert_eq!(copy.address.to_string(), COPY);
            let (sent, copied) = (web.hear_head().await, copy.hear_head().await);
            assert_eq!(sent, copied);
            assert_eq!(field(&copied, "host"), Some("a"));
            assert!(sent.starts_with(if first { "GET / " } else { "GET /b?c " }));
            copy.say(answer(500)).await;
            web.say(OK).await;
            client.hear_message("ok").await;
            assert_eq!(world.worker.activity.mirrors.get(), 0);
        }
        let labels = [("response_code", "200")];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(2));
        let labels = [("response_code", "500")];
        assert_eq!(world.metric("istio_requests_total", &labels), None);
        assert_eq!(world.worker.activity.mirrored.get(), 2);
    });
}

#[test]
fn a_connection_to_a_mirror_is_used_again() {
    run(async || {
        let world = world(vec![mirror("copy", Percent::ALL)]);
        let mut client = world.client();
        client.say(GET).await;
        let (mut web, mut copy) = both(&world).await;
        for response in [
            OK,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            OK,
        ] {
            copy.serve(response).await;
            web.serve(OK).await;
            client.hear_message("ok").await;
            client.say(GET).await;
        }
        assert_eq!(world.dialled(), 2);
    });
}

#[test]
fn a_mirror_that_does_not_answer_delays_nothing() {
    run(async || {
        let world = world(vec![mirror("copy", Percent::ALL)]);
        let mut client = world.client();
        client.say(GET).await;
        let (mut web, mut copy) = both(&world).await;
        copy.hear_head().await;
        web.serve(OK).await;
        client.hear_message("ok").await;
        // The end of the proxy waits for it, as for any request.
        assert_eq!(world.worker.activity.mirrors.get(), 1);
        assert_eq!(world.worker.activity.exchanges.get(), 0);
        tokio::time::sleep(Duration::from_secs(61)).await;
        copy.hear_end().await;
        assert_eq!(world.worker.activity.mirrors.get(), 0);
        assert_eq!(world.worker.activity.unmirrored.get(), 1);
    });
}

#[test]
fn a_mirror_that_cannot_be_reached_fails_nothing() {
    run(async || {
        let world = world(vec![
            mirror("copy", Percent::ALL),
            mirror("missing", Percent::ALL),
        ]);
        world.refuse(COPY);
        let mut client = world.client();
        client.say(GET).await;
        let mut web = world.upstream().await;
        assert_eq!(web.address.to_string(), WEB);
        web.serve(OK).await;
        client.hear_message("ok").await;
        assert_eq!(world.worker.activity.unmirrored.get(), 2);
    });
}

#[test]
fn each_mirror_takes_its_share() {
    run(async || {
        let world = world(vec![
            mirror("copy", Percent::ZERO),
            mirror("other", Percent::ALL),
        ]);
        let mut client = world.client();
        client.say(GET).await;
        let (mut web, mut copy) = both(&world).await;
        assert_eq!(copy.address.to_string(), "10.0.3.1:9080");
        copy.serve(OK).await;
        web.serve(OK).await;
        client.hear_message("ok").await;
        assert_eq!(world.dialled(), 2);
    });
}

#[test]
fn a_mirror_gets_the_body_too() {
    run(async || {
        let world = world(vec![mirror("copy", Percent::ALL)]);
        let mut client = world.client();
        client
            .say("POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\n\r\nhello")
            .await;
        let (mut web, mut copy) = both(&world).await;
        copy.hear_message("hello").await;
        copy.say(OK).await;
        web.hear_message("hello").await;
        web.say(OK).await;
        client.hear_message("ok").await;
    });
}

#[test]
fn a_request_that_streams_is_copied_when_all_of_it_was_sent() {
    run(async || {
        let world = world(vec![mirror("copy", Percent::ALL)]);
        let mut client = world.client();
        client
            .say("POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
            .await;
        let mut web = world.upstream().await;
        web.hear_message("5\r\nhello\r\n").await;
        client.say("1\r\n!\r\n0\r\n\r\n").await;
        web.hear("1\r\n!\r\n0\r\n\r\n").await;
        web.say(OK).await;
        client.hear_message("ok").await;
        let mut copy = world.upstream().await;
        assert_eq!(copy.address.to_string(), COPY);
        copy.hear_message("5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n").await;
        copy.say(OK).await;
    });
}

#[test]
fn a_request_that_is_too_long_to_be_kept_is_not_mirrored() {
    run(async || {
        let world = world(vec![mirror("copy", Percent::ALL)]);
        let mut client = world.client();
        client
            .say("POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 102400\r\n\r\n")
            .await;
        let mut web = world.upstream().await;
        web.hear_head().await;
        let piece = "x".repeat(1024);
        for _ in 0..100 {
            client.say(&piece).await;
            web.hear(&piece).await;
        }
        web.say(OK).await;
        client.hear_message("ok").await;
        assert_eq!(world.dialled(), 1);
        assert_eq!(world.worker.activity.unmirrored.get(), 1);
    });
}

#[test]
fn a_route_without_a_timeout_is_mirrored() {
    run(async || {
        let mut world = world(Vec::new());
        world.rule(HttpRule {
            mirrors: vec![mirror("copy", Percent::ALL)],
            timeout: Some(Duration::ZERO),
            ..to("web")
        });
        let mut client = world.client();
        client.say(GET).await;
        let (mut web, mut copy) = both(&world).await;
        web.serve(OK).await;
        client.hear_message("ok").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        copy.serve(OK).await;
        tokio::task::yield_now().await;
        assert_eq!(world.worker.activity.unmirrored.get(), 0);
    });
}

#[test]
fn a_mirror_that_answers_with_errors_is_left_out_for_a_while() {
    run(async || {
        let mut world = world(vec![mirror("copy", Percent::ALL)]);
        world.policy(
            "copy",
            PortPolicy {
                outlier_detection: Some(resources::detection()),
                ..PortPolicy::default()
            },
        );
        let mut client = world.client();
        client.say(GET).await;
        let (mut web, mut copy) = both(&world).await;
        for (at, status) in [500, 200, 500, 500].into_iter().enumerate() {
            if at > 0 {
                client.say(GET).await;
            }
            copy.serve(answer(status)).await;
            web.serve(OK).await;
            client.hear_message("ok").await;
            assert_eq!(world.worker.activity.unmirrored.get(), 0);
        }
        client.say(GET).await;
        web.serve(OK).await;
        client.hear_message("ok").await;
        assert_eq!(world.worker.activity.unmirrored.get(), 1);
    });
}
