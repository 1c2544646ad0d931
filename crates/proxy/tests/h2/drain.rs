//! What clients see of a proxy that is about to end, and of connections that are idle.

use lateen_model::Protocol;
use lateen_proxy::worker::Phase;

use crate::peers::{Client, Server, get, read, say, soon, status};
use crate::translate::gateway;
use crate::world::{World, run};

#[test]
fn a_draining_gateway_says_goaway_and_finishes_its_streams() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = Client::new(world.client()).await;
        let (response, _) = client.open(get("/"), true).await;
        let mut web = Server::new(world.upstream().await).await;
        let (_asked, mut respond) = web.request().await;
        world.worker.enter(Phase::Draining);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert!(client.send.clone().ready().await.is_err(), "no GOAWAY came");
        let mut body = respond.send_response(status(200), false).expect("response");
        say(&mut body, "to the end", true);
        let mut response = soon(response).await.expect("a response");
        assert_eq!(read(response.body_mut()).await, "to the end");
        drop(response);
        let ended = soon(client.ended.recv()).await.expect("it was told");
        assert!(ended.is_ok(), "{ended:?}");
    });
}

#[test]
fn a_connection_that_comes_while_the_gateway_drains_is_told_at_once() {
    run(async || {
        let world = gateway(Protocol::Http);
        world.worker.enter(Phase::Draining);
        let mut client = Client::new(world.client()).await;
        let ended = soon(client.ended.recv()).await.expect("it was told");
        assert!(ended.is_ok(), "{ended:?}");
    });
}

#[test]
fn calls_of_the_application_are_served_on_while_the_sidecar_drains() {
    run(async || {
        let mut world = World::sidecar();
        world.service("web", Protocol::Http2, &["10.0.1.1"]);
        world.worker.enter(Phase::Draining);
        let mut client = Client::new(world.application("10.96.0.3:80")).await;
        let mut server = None;
        for _ in 0..2 {
            let (response, _) = client.open(get("/"), true).await;
            if server.is_none() {
                server = Some(Server::new(world.upstream().await).await);
            }
            let (_asked, mut respond) = server.as_mut().expect("dialled").request().await;
            respond.send_response(status(200), true).expect("response");
            assert_eq!(soon(response).await.expect("a response").status(), 200);
        }
    });
}

#[test]
fn a_connection_without_streams_ends_after_its_idle_time() {
    run(async || {
        let world = gateway(Protocol::Http);
        let mut client = Client::new(world.client()).await;
        let idle = world.worker.profile.timeouts.idle;
        tokio::time::sleep(idle / 2).await;
        assert!(client.ended.try_recv().is_err(), "it ended too early");
        tokio::time::sleep(idle).await;
        let ended = soon(client.ended.recv()).await.expect("it was told");
        assert!(ended.is_ok(), "{ended:?}");
    });
}
