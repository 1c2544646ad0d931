//! What each side sees of the other's end in the middle.

use h2::Reason;
use lateen_model::Protocol;
use lateen_model::pool::HttpPool;

use crate::peers::{Client, Server, get, piece, request, reset, reset_of, say, soon, status};
use crate::resources::{one_connection, pools};
use crate::translate::gateway;
use crate::world::run;

#[test]
fn a_client_that_resets_its_stream_ends_the_upstreams_exchange() {
    run(async || {
        let world = gateway(Protocol::Http);
        let mut client = Client::new(world.client()).await;
        let (response, mut body) = client.open(get("/"), true).await;
        let mut web = world.upstream().await;
        web.hear_head().await;
        body.send_reset(Reason::CANCEL);
        drop(response);
        web.hear_end().await;
        let labels = [("response_code", "0"), ("response_flags", "DC")];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
        // Its connection serves on.
        let (response, _) = client.open(get("/"), true).await;
        let mut web = world.upstream().await;
        web.hear_head().await;
        web.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await;
        assert_eq!(soon(response).await.expect("a response").status(), 200);
    });
}

#[test]
fn a_client_that_resets_its_stream_does_not_wait_for_a_connection() {
    run(async || {
        let mut world = gateway(Protocol::Http);
        world.policy("web", pools(one_connection(), HttpPool::default()));
        let mut client = Client::new(world.client()).await;
        let (_first, _) = client.open(get("/first"), true).await;
        let mut web = world.upstream().await;
        web.hear_head().await;
        let (second, mut up) = client.open(get("/second"), true).await;
        web.hear_nothing().await;
        up.send_reset(Reason::CANCEL);
        drop(second);
        web.hear_nothing().await;
        assert_eq!(world.worker.activity.exchanges.get(), 1);
        let (third, _) = client.open(get("/third"), true).await;
        web.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await;
        let head = web.hear_head().await;
        assert!(head.starts_with("GET /third "), "{head}");
        web.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await;
        assert_eq!(soon(third).await.expect("a response").status(), 200);
    });
}

#[test]
fn a_client_that_resets_its_stream_resets_the_upstreams() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = Client::new(world.client()).await;
        let (response, mut up) = client.open(request("POST", "/"), false).await;
        say(&mut up, "x", false);
        let mut web = Server::new(world.upstream().await).await;
        let (mut asked, mut respond) = web.request().await;
        assert_eq!(piece(asked.body_mut()).await, "x");
        let mut down = respond.send_response(status(200), false).expect("response");
        soon(response).await.expect("a response");
        up.send_reset(Reason::CANCEL);
        assert_eq!(reset(&mut down).await, Some(Reason::CANCEL));
    });
}

#[test]
fn a_response_that_breaks_off_is_never_a_clean_end() {
    run(async || {
        let world = gateway(Protocol::Http);
        let mut client = Client::new(world.client()).await;
        for start in [
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalfbad",
        ] {
            let (response, _) = client.open(get("/"), true).await;
            let mut web = world.upstream().await;
            web.hear_head().await;
            web.say(start).await;
            drop(web);
            // A reset overtakes a head that was not written yet.
            let reason = match soon(response).await {
                Ok(mut response) => reset_of(response.body_mut()).await,
                Err(error) => error.reason(),
            };
            assert_eq!(reason, Some(Reason::INTERNAL_ERROR), "{start}");
        }
    });
}

#[test]
fn an_upstream_that_resets_a_stream_in_the_middle_resets_the_clients() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = Client::new(world.client()).await;
        let (response, _) = client.open(get("/"), true).await;
        let mut web = Server::new(world.upstream().await).await;
        let (_asked, mut respond) = web.request().await;
        let mut down = respond.send_response(status(200), false).expect("response");
        say(&mut down, "half", false);
        let mut response = soon(response).await.expect("a response");
        assert_eq!(piece(response.body_mut()).await, "half");
        down.send_reset(Reason::INTERNAL_ERROR);
        let reason = reset_of(response.body_mut()).await;
        assert_eq!(reason, Some(Reason::INTERNAL_ERROR));
    });
}

#[test]
fn an_upstream_that_resets_a_stream_before_its_response_is_answered_for() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = Client::new(world.client()).await;
        let (response, _) = client.open(get("/"), true).await;
        let mut web = Server::new(world.upstream().await).await;
        let (_asked, mut respond) = web.request().await;
        respond.send_reset(Reason::INTERNAL_ERROR);
        assert_eq!(soon(response).await.expect("a response").status(), 503);
        let labels = [("response_code", "503"), ("response_flags", "UC")];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
    });
}

#[test]
fn a_stream_that_the_upstream_refused_is_sent_again_whatever_the_method() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = Client::new(world.client()).await;
        let (response, _) = client.open(request("POST", "/"), true).await;
        let mut web = Server::new(world.upstream().await).await;
        for _ in 0..2 {
            let (_asked, mut respond) = web.request().await;
            respond.send_reset(Reason::REFUSED_STREAM);
        }
        let (_asked, mut respond) = web.request().await;
        respond.send_response(status(200), true).expect("response");
        assert_eq!(soon(response).await.expect("a response").status(), 200);
    });
}

#[test]
fn an_upstream_that_refuses_every_stream_is_not_asked_for_ever() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = Client::new(world.client()).await;
        let (response, _) = client.open(get("/"), true).await;
        let mut web = Server::new(world.upstream().await).await;
        for _ in 0..3 {
            let (_asked, mut respond) = web.request().await;
            respond.send_reset(Reason::REFUSED_STREAM);
        }
        assert_eq!(soon(response).await.expect("a response").status(), 503);
        web.hears_nothing().await;
    });
}

#[test]
fn an_upstream_whose_connection_ends_breaks_off_its_streams() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = Client::new(world.client()).await;
        let (response, _) = client.open(request("POST", "/"), true).await;
        let mut web = Server::new(world.upstream().await).await;
        let (asked, respond) = web.request().await;
        web.close();
        drop((asked, respond));
        assert_eq!(soon(response).await.expect("a response").status(), 503);
        // The next request dials anew.
        let (response, _) = client.open(get("/"), true).await;
        let mut web = Server::new(world.upstream().await).await;
        let (_asked, mut respond) = web.request().await;
        respond.send_response(status(200), true).expect("response");
        assert_eq!(soon(response).await.expect("a response").status(), 200);
    });
}

#[test]
fn a_client_whose_connection_ends_ends_its_exchanges() {
    run(async || {
        let world = gateway(Protocol::Http);
        let mut client = Client::new(world.client()).await;
        let (response, _) = client.open(get("/"), true).await;
        let mut web = world.upstream().await;
        web.hear_head().await;
        drop((client, response));
        web.hear_end().await;
    });
}
