//! Flow control from end to end: who does not read stops who writes.

use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use lateen_model::Protocol;
use tokio::io::AsyncReadExt;

use crate::peers::{Client, Raw, Server, frame, get, piece, pseudo, request, say, soon, status};
use crate::translate::gateway;
use crate::world::run;

/// The most bytes that may be on their way when nobody reads: the windows of a stream on both sides,
/// the streams in memory, and the buffers between them.
const MOST_IN_FLIGHT: usize = 640 * 1024;

/// Writes until nothing is taken for a second; answers how much was.
async fn fill(body: &mut SendStream<Bytes>) -> usize {
    let mut total = 0;
    loop {
        body.reserve_capacity(16 * 1024);
        let capacity = std::future::poll_fn(|cx| body.poll_capacity(cx));
        let Ok(room) = tokio::time::timeout(Duration::from_secs(1), capacity).await else {
            return total;
        };
        let room = room.expect("an open stream").expect("capacity");
        total += room;
        assert!(
            total < 10 << 20,
            "ten megabytes were taken without a reader"
        );
        body.send_data(vec![7; room].into(), false).expect("data");
    }
}

#[test]
fn an_upstream_of_http2_that_does_not_read_stops_the_client() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = Client::new(world.client()).await;
        let (_response, mut body) = client.open(request("POST", "/"), false).await;
        say(&mut body, "x", false);
        let mut web = Server::new(world.upstream().await).await;
        let (mut asked, _respond) = web.request().await;
        let total = fill(&mut body).await;
        assert!(total <= MOST_IN_FLIGHT, "{total} bytes in flight");
        let mut read = 0;
        while read < total {
            read += piece(asked.body_mut()).await.len();
        }
        assert!(fill(&mut body).await > 0, "it does not go on");
    });
}

#[test]
fn an_upstream_of_http1_that_does_not_read_stops_the_client() {
    run(async || {
        let world = gateway(Protocol::Http);
        let mut client = Client::new(world.client()).await;
        let (_response, mut body) = client.open(request("POST", "/"), false).await;
        say(&mut body, "x", false);
        let mut web = world.upstream().await;
        web.hear_head().await;
        let total = fill(&mut body).await;
        assert!(total <= MOST_IN_FLIGHT, "{total} bytes in flight");
        let mut room = vec![0; total];
        soon(web.stream.read_exact(&mut room)).await.expect("bytes");
        assert!(fill(&mut body).await > 0, "it does not go on");
    });
}

#[test]
fn a_client_that_does_not_read_stops_the_upstream() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = Client::new(world.client()).await;
        let (response, _) = client.open(get("/"), true).await;
        let mut web = Server::new(world.upstream().await).await;
        let (_asked, mut respond) = web.request().await;
        let mut body = respond.send_response(status(200), false).expect("response");
        let mut response = soon(response).await.expect("a response");
        let total = fill(&mut body).await;
        assert!(total <= MOST_IN_FLIGHT, "{total} bytes in flight");
        // Other streams of both connections are not held up.
        let (other, _) = client.open(get("/other"), true).await;
        let (_asked, mut respond) = web.request().await;
        respond.send_response(status(204), true).expect("response");
        assert_eq!(soon(other).await.expect("a response").status(), 204);
        let mut read = 0;
        while read < total {
            read += piece(response.body_mut()).await.len();
        }
        assert!(fill(&mut body).await > 0, "it does not go on");
    });
}

#[test]
fn a_client_that_gives_windows_but_reads_nothing_fills_no_memory() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut raw = Raw::new(world.client()).await;
        // Streams and connection with windows of a gigabyte.
        raw.send(&frame(4, 0, 0, &[0, 4, 0x40, 0, 0, 0])).await;
        raw.send(&frame(8, 0, 0, &[0x3f, 0, 0, 0])).await;
        let streams = 20;
        for index in 0..streams {
            raw.send(&frame(1, 5, 2 * index + 1, &pseudo())).await;
        }
        let mut web = Server::new(world.upstream().await).await;
        let mut total = 0;
        let mut held = Vec::new();
        for _ in 0..streams {
            let (asked, mut respond) = web.request().await;
            let body = respond.send_response(status(200), false).expect("response");
            held.push((asked, body));
        }
        for (_, body) in &mut held {
            total += fill(body).await;
        }
        // The windows of the upstream's streams, a buffer of the engine for each, and no more.
        let bound = usize::try_from(streams).expect("few") * (256 + 64 + 32) * 1024;
        assert!(total <= bound, "{total} bytes in flight");
    });
}

#[test]
fn clients_that_do_not_read_are_not_in_the_way_of_others() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut slow = Client::new(world.client()).await;
        let mut web = None;
        let mut held = Vec::new();
        for _ in 0..20 {
            let (response, _) = slow.open(get("/slow"), true).await;
            if web.is_none() {
                web = Some(Server::new(world.upstream().await).await);
            }
            let (asked, mut respond) = web.as_mut().expect("dialled").request().await;
            let mut body = respond.send_response(status(200), false).expect("response");
            fill(&mut body).await;
            held.push((response, asked, body));
        }
        let mut quick = Client::new(world.client()).await;
        let (response, _) = quick.open(get("/quick"), true).await;
        let (_asked, mut respond) = web.as_mut().expect("dialled").request().await;
        let mut body = respond.send_response(status(200), false).expect("response");
        say(&mut body, "at once", true);
        let mut response = soon(response).await.expect("a response");
        assert_eq!(piece(response.body_mut()).await, "at once");
        assert_eq!(world.dialled(), 1);
    });
}

#[test]
fn large_bodies_come_whole_in_both_directions() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = Client::new(world.client()).await;
        let (response, mut up) = client.open(request("POST", "/"), false).await;
        let text: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_be_bytes()[3]).collect();
        let sent = Bytes::from(text);
        let whole = sent.clone();
        tokio::task::spawn_local(async move {
            up.send_data(whole, true).expect("an open stream");
            std::future::poll_fn(|cx| up.poll_reset(cx)).await
        });
        let mut web = Server::new(world.upstream().await).await;
        let (mut asked, mut respond) = web.request().await;
        let mut down = respond.send_response(status(200), false).expect("response");
        let echo = async {
            while let Some(data) = soon(asked.body_mut().data()).await {
                let data = data.expect("data");
                let _ = asked.body_mut().flow_control().release_capacity(data.len());
                down.send_data(data, false).expect("an open stream");
            }
            down.send_data(Bytes::new(), true).expect("an open stream");
        };
        let read = async {
            let mut response = soon(response).await.expect("a response");
            let mut received = Vec::new();
            while let Some(data) = soon(response.body_mut().data()).await {
                let data = data.expect("data");
                let flow = response.body_mut().flow_control();
                let _ = flow.release_capacity(data.len());
                received.extend_from_slice(&data);
            }
            received
        };
        let ((), received) = tokio::join!(echo, read);
        assert!(received == sent, "{} bytes came back", received.len());
    });
}

#[test]
fn a_client_that_gives_no_window_is_not_waited_for_for_ever() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut raw = Raw::new(world.client()).await;
        raw.send(&frame(4, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
        raw.send(&frame(1, 5, 1, &pseudo())).await;
        let mut web = Server::new(world.upstream().await).await;
        let (_asked, mut respond) = web.request().await;
        let mut body = respond.send_response(status(200), false).expect("response");
        say(&mut body, "nobody takes this", true);
        tokio::time::sleep(Duration::from_secs(290)).await;
        assert_eq!(world.worker.activity.exchanges.get(), 1);
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(world.worker.activity.exchanges.get(), 0);
        // INTERNAL_ERROR: the response was not completed.
        while let Some((kind, _, stream, payload)) = raw.next().await {
            if kind == 3 {
                assert_eq!((stream, payload), (1, vec![0, 0, 0, 2]));
                return;
            }
        }
        panic!("the stream was not reset");
    });
}
