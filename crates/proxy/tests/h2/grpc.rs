//! gRPC: its framing by hand, its status in trailers.

use bytes::Bytes;
use http::{Request, Response};
use lateen_model::Protocol;

use crate::peers::{Client, Server, piece, read, request, say, soon, trailer, trailers};
use crate::translate::gateway;
use crate::world::run;

/// A length-prefixed message.
fn message(text: &str) -> Bytes {
    let length = u32::try_from(text.len()).expect("short").to_be_bytes();
    [&[0][..], &length, text.as_bytes()].concat().into()
}

fn call() -> Request<()> {
    let mut request = request("POST", "/echo.Echo/Say");
    let fields = request.headers_mut();
    fields.insert("content-type", "application/grpc".parse().expect("a value"));
    fields.insert("te", "trailers".parse().expect("a value"));
    fields.insert("grpc-timeout", "1S".parse().expect("a value"));
    request
}

fn ok() -> Response<()> {
    let response = Response::builder().header("content-type", "application/grpc");
    response.body(()).expect("a response")
}

#[test]
fn a_unary_call_gets_its_message_and_its_status() {
    run(async || {
        let world = gateway(Protocol::Grpc);
        let mut client = Client::new(world.client()).await;
        let (answer, mut body) = client.open(call(), false).await;
        body.send_data(message("hello"), true)
            .expect("an open stream");
        let mut server = Server::new(world.upstream().await).await;
        let (mut asked, mut respond) = server.request().await;
        assert_eq!(asked.headers()["te"], "trailers");
        assert_eq!(asked.headers()["grpc-timeout"], "1000m");
        assert_eq!(read(asked.body_mut()).await.as_bytes(), message("hello"));
        let mut body = respond.send_response(ok(), false).expect("response");
        body.send_data(message("hello!"), false)
            .expect("an open stream");
        body.send_trailers(trailer("grpc-status", "0"))
            .expect("trailers");
        let mut answer = soon(answer).await.expect("a response");
        assert_eq!(answer.headers()["content-type"], "application/grpc");
        assert_eq!(read(answer.body_mut()).await.as_bytes(), message("hello!"));
        let end = trailers(answer.body_mut()).await.expect("trailers");
        assert_eq!(end["grpc-status"], "0");
        tokio::task::yield_now().await;
        let labels = [("request_protocol", "grpc"), ("grpc_response_status", "0")];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
    });
}

#[test]
fn a_length_of_an_answer_does_not_hide_the_status_behind_it() {
    run(async || {
        let world = gateway(Protocol::Grpc);
        let mut client = Client::new(world.client()).await;
        let (answer, _body) = client.open(call(), true).await;
        let mut server = Server::new(world.upstream().await).await;
        let (_asked, mut respond) = server.request().await;
        let mut head = ok();
        head.headers_mut().insert("content-length", 11.into());
        let mut body = respond.send_response(head, false).expect("response");
        body.send_data(message("hello!"), false)
            .expect("an open stream");
        body.send_trailers(trailer("grpc-status", "5"))
            .expect("trailers");
        let mut answer = soon(answer).await.expect("a response");
        assert_eq!(read(answer.body_mut()).await.as_bytes(), message("hello!"));
        let end = trailers(answer.body_mut()).await.expect("trailers");
        assert_eq!(end["grpc-status"], "5");
    });
}

#[test]
fn a_call_of_two_streams_goes_both_ways_at_once() {
    run(async || {
        let world = gateway(Protocol::Grpc);
        let mut client = Client::new(world.client()).await;
        let (answer, mut up) = client.open(call(), false).await;
        let mut server = Server::new(world.upstream().await).await;
        let (mut asked, mut respond) = server.request().await;
        let mut down = respond.send_response(ok(), false).expect("response");
        let mut answer = soon(answer)
            .await
            .expect("a response before the first message");
        for round in 0..20 {
            let ping = message(&format!("ping {round}"));
            up.send_data(ping.clone(), false).expect("an open stream");
            assert_eq!(piece(asked.body_mut()).await, ping);
            let pong = message(&format!("pong {round}"));
            down.send_data(pong.clone(), false).expect("an open stream");
            assert_eq!(piece(answer.body_mut()).await, pong);
        }
        say(&mut up, "", true);
        assert_eq!(read(asked.body_mut()).await, "");
        down.send_trailers(trailer("grpc-status", "5"))
            .expect("trailers");
        assert_eq!(read(answer.body_mut()).await, "");
        let end = trailers(answer.body_mut()).await.expect("trailers");
        assert_eq!(end["grpc-status"], "5");
    });
}

#[test]
fn an_answer_of_trailers_alone_is_one_frame() {
    run(async || {
        let world = gateway(Protocol::Grpc);
        let mut client = Client::new(world.client()).await;
        let (answer, mut body) = client.open(call(), false).await;
        body.send_data(message("hello"), true)
            .expect("an open stream");
        let mut server = Server::new(world.upstream().await).await;
        let (_asked, mut respond) = server.request().await;
        let mut refusal = ok();
        let code = "12".parse().expect("a value");
        refusal.headers_mut().insert("grpc-status", code);
        respond.send_response(refusal, true).expect("response");
        let answer = soon(answer).await.expect("a response");
        assert_eq!(answer.headers()["grpc-status"], "12");
        assert!(!answer.headers().contains_key("content-length"));
        assert!(answer.body().is_end_stream());
    });
}

#[test]
fn the_mesh_answers_a_call_as_a_server_would() {
    run(async || {
        let world = gateway(Protocol::Grpc);
        world.refuse("10.0.1.1:9080");
        let mut client = Client::new(world.client()).await;
        let (answer, mut body) = client.open(call(), false).await;
        body.send_data(message("hello"), true)
            .expect("an open stream");
        let answer = soon(answer).await.expect("a response");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["grpc-status"], "14");
        assert!(!answer.headers().contains_key("content-length"));
        assert!(answer.body().is_end_stream());
    });
}
