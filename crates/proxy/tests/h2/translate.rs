//! Requests and responses from one version of HTTP to the other.

use bytes::Bytes;
use http::Response;
use lateen_model::Protocol;

use crate::peers::{
    Client, Server, get, piece, read, request, say, soon, status, trailer, trailers,
};
use crate::world::{World, field, has_line, run};

/// A gateway in front of a service that speaks this.
pub(crate) fn gateway(protocol: Protocol) -> World {
    let mut world = World::gateway();
    world
        .service("web", protocol, &["10.0.1.1"])
        .route_all_to("web");
    world
}

#[test]
fn a_request_of_http2_reaches_an_upstream_of_http1() {
    run(async || {
        let world = gateway(Protocol::Http);
        let mut client = Client::new(world.client()).await;
        let mut asked = get("/a?b=c");
        for cookie in ["a=1", "b=2"] {
            asked
                .headers_mut()
                .append("cookie", cookie.parse().expect("a value"));
        }
        asked
            .headers_mut()
            .insert("x-own", "v".parse().expect("a value"));
        let (response, _) = client.open(asked, true).await;
        let mut web = world.upstream().await;
        let head = web.hear_head().await;
        assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{head}");
        assert!(has_line(&head, "host: shop"), "{head}");
        assert!(has_line(&head, "cookie: a=1; b=2"), "{head}");
        assert!(has_line(&head, "x-own: v"), "{head}");
        assert!(has_line(&head, "x-forwarded-for: 192.0.2.7"), "{head}");
        assert_eq!(field(&head, "transfer-encoding"), None, "{head}");
        web.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Odd: V\r\nConnection: x-gone\r\nX-Gone: 1\r\n\r\nhello")
            .await;
        let (head, mut body) = soon(response).await.expect("a response").into_parts();
        assert_eq!(head.status, 200);
        assert_eq!(head.headers["x-odd"], "V");
        assert_eq!(head.headers["content-length"], "5");
        assert_eq!(head.headers["server"], "istio-envoy");
        assert!(!head.headers.contains_key("connection"));
        assert!(!head.headers.contains_key("x-gone"));
        assert_eq!(read(&mut body).await, "hello");
        // The upstream's connection serves the next stream.
        let (response, _) = client.open(get("/2"), true).await;
        assert!(web.hear_head().await.starts_with("GET /2 "));
        web.say("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(soon(response).await.expect("a response").status(), 204);
        assert_eq!(world.dialled(), 1);
        let labels = [("reporter", "source"), ("response_code", "200")];
        assert_eq!(world.metric("istio_requests_total", &labels), Some(1));
    });
}

#[test]
fn bodies_and_trailers_become_chunks_and_back() {
    run(async || {
        let world = gateway(Protocol::Http);
        let mut client = Client::new(world.client()).await;
        let (response, mut body) = client.open(request("POST", "/"), false).await;
        say(&mut body, "hello", false);
        let mut web = world.upstream().await;
        let head = web.hear_head().await;
        assert!(has_line(&head, "transfer-encoding: chunked"), "{head}");
        web.hear("5\r\nhello\r\n").await;
        say(&mut body, "again", false);
        web.hear("5\r\nagain\r\n").await;
        body.send_trailers(trailer("x-sum", "7")).expect("trailers");
        web.hear("0\r\nx-sum: 7\r\n\r\n").await;
        web.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\none\r\n")
            .await;
        let (head, mut body) = soon(response).await.expect("a response").into_parts();
        assert!(!head.headers.contains_key("transfer-encoding"));
        assert_eq!(piece(&mut body).await, "one");
        web.say("3\r\ntwo\r\n0\r\nX-Check: 9\r\nContent-Type: evil\r\n\r\n")
            .await;
        assert_eq!(read(&mut body).await, "two");
        let trailers = trailers(&mut body).await.expect("trailers");
        assert_eq!(trailers["x-check"], "9");
        assert_eq!(trailers.len(), 1);
    });
}

#[test]
fn a_request_with_a_length_keeps_it() {
    run(async || {
        let world = gateway(Protocol::Http);
        let mut client = Client::new(world.client()).await;
        let mut asked = request("PUT", "/");
        asked.headers_mut().insert("content-length", 10.into());
        let (response, mut body) = client.open(asked, false).await;
        say(&mut body, "01234", false);
        let mut web = world.upstream().await;
        let head = web.hear_message("01234").await;
        assert!(has_line(&head, "content-length: 10"), "{head}");
        say(&mut body, "56789", true);
        web.hear("56789").await;
        web.say("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n")
            .await;
        let mut response = soon(response).await.expect("a response");
        assert_eq!(response.status(), 304);
        assert_eq!(response.headers()["content-length"], "99");
        assert_eq!(read(response.body_mut()).await, "");
    });
}

#[test]
fn a_request_of_http1_reaches_an_upstream_of_http2() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = world.client();
        client
            .say("POST /a<b?c HTTP/1.1\r\nHost: Shop:80\r\nTE: trailers\r\nConnection: te, x-hop\r\nX-Hop: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            .await;
        let mut web = Server::new(world.upstream().await).await;
        let (mut asked, mut respond) = web.request().await;
        assert_eq!(asked.method(), "POST");
        assert_eq!(asked.uri().to_string(), "http://Shop:80/a%3Cb?c");
        assert_eq!(asked.headers()["te"], "trailers");
        for absent in ["host", "connection", "x-hop", "transfer-encoding"] {
            assert!(!asked.headers().contains_key(absent), "{absent}");
        }
        assert_eq!(piece(asked.body_mut()).await, "hello");
        client.say("0\r\nX-Sum: 7\r\n\r\n").await;
        assert_eq!(read(asked.body_mut()).await, "");
        let sum = trailers(asked.body_mut()).await.expect("trailers");
        assert_eq!(sum["x-sum"], "7");
        let mut body = respond.send_response(status(201), false).expect("response");
        let head = client.hear_head().await;
        assert!(head.starts_with("HTTP/1.1 201 Created\r\n"), "{head}");
        assert!(has_line(&head, "transfer-encoding: chunked"), "{head}");
        say(&mut body, "made", false);
        client.hear("4\r\nmade\r\n").await;
        body.send_trailers(trailer("x-check", "9"))
            .expect("trailers");
        client.hear("0\r\nx-check: 9\r\n\r\n").await;
        // The client's connection serves again, over the same connection to the upstream.
        client.say("GET / HTTP/1.1\r\nHost: shop\r\n\r\n").await;
        let (asked, mut respond) = web.request().await;
        assert!(asked.body().is_end_stream());
        respond.send_response(status(200), true).expect("response");
        let head = client.hear_head().await;
        assert!(has_line(&head, "content-length: 0"), "{head}");
        assert_eq!(world.dialled(), 1);
    });
}

#[test]
fn responses_without_a_body_end_with_their_head() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = Client::new(world.client()).await;
        let (answer, _) = client.open(request("HEAD", "/"), true).await;
        let mut web = Server::new(world.upstream().await).await;
        let (_, mut respond) = web.request().await;
        let response = Response::builder().header("content-length", "99");
        let response = response.body(()).expect("a response");
        respond.send_response(response, true).expect("response");
        let answer = soon(answer).await.expect("a response");
        assert_eq!(answer.headers()["content-length"], "99");
        assert!(answer.body().is_end_stream());
        for code in [204, 304, 200] {
            let (answer, _) = client.open(get("/"), true).await;
            let (_, mut respond) = web.request().await;
            respond.send_response(status(code), true).expect("response");
            let answer = soon(answer).await.expect("a response");
            assert_eq!(answer.status(), code);
            assert!(answer.body().is_end_stream(), "{code}");
        }
    });
}

#[test]
fn interim_responses_come_before_the_final_one() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = world.client();
        client
            .say("POST / HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            .await;
        let mut web = Server::new(world.upstream().await).await;
        let (mut asked, mut respond) = web.request().await;
        assert_eq!(asked.headers()["expect"], "100-continue");
        respond.send_informational(status(100)).expect("interim");
        assert!(client.hear_head().await.starts_with("HTTP/1.1 100 "));
        let mut hints = status(103);
        hints
            .headers_mut()
            .insert("link", "</a>".parse().expect("a value"));
        respond.send_informational(hints).expect("interim");
        let head = client.hear_head().await;
        assert!(head.starts_with("HTTP/1.1 103 "), "{head}");
        assert!(has_line(&head, "link: </a>"), "{head}");
        client.say("ok").await;
        assert_eq!(read(asked.body_mut()).await, "ok");
        respond.send_response(status(200), true).expect("response");
        assert!(client.hear_head().await.starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn interim_responses_reach_clients_of_http2() {
    run(async || {
        let world = gateway(Protocol::Http);
        let mut client = Client::new(world.client()).await;
        let (mut response, _) = client.open(get("/"), true).await;
        let mut web = world.upstream().await;
        web.hear_head().await;
        web.say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            .await;
        let hints = std::future::poll_fn(|cx| response.poll_informational(cx));
        let hints = soon(hints).await.expect("hints").expect("valid");
        assert_eq!(hints.status(), 103);
        assert_eq!(hints.headers()["link"], "</a>");
        web.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await;
        assert_eq!(soon(response).await.expect("a response").status(), 200);
    });
}

#[test]
fn an_early_response_ends_an_exchange_whose_request_goes_on() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = Client::new(world.client()).await;
        let (response, mut body) = client.open(request("POST", "/"), false).await;
        say(&mut body, "some", false);
        let mut web = Server::new(world.upstream().await).await;
        let (_asked, mut respond) = web.request().await;
        respond.send_response(status(413), true).expect("response");
        assert_eq!(soon(response).await.expect("a response").status(), 413);
        // The rest is not wanted, and the stream is no error.
        assert_eq!(
            crate::peers::reset(&mut body).await,
            Some(h2::Reason::NO_ERROR)
        );
        let (response, _) = client.open(get("/"), true).await;
        let (_, mut respond) = web.request().await;
        respond.send_response(status(200), true).expect("response");
        assert_eq!(soon(response).await.expect("a response").status(), 200);
    });
}

#[test]
fn an_undeclared_port_is_spoken_to_as_the_client_speaks() {
    run(async || {
        let mut world = World::sidecar();
        world.service("web", Protocol::Unknown, &["10.0.1.1"]);
        let mut client = Client::new(world.application("10.96.0.3:80")).await;
        let (response, _) = client.open(get("/"), true).await;
        let mut web = Server::new(world.upstream().await).await;
        let (_, mut respond) = web.request().await;
        let mut body = respond.send_response(status(200), false).expect("response");
        say(&mut body, "from h2", true);
        let mut response = soon(response).await.expect("a response");
        assert_eq!(read(response.body_mut()).await, "from h2");
        let mut client = world.application("10.96.0.3:80");
        client.say("GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
        let head = world.upstream().await.hear_head().await;
        assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
    });
}

#[test]
fn the_application_gets_what_its_port_declares() {
    run(async || {
        let world = World::sidecar();
        let mut http = Client::new(world.caller(8080)).await;
        let (_response, _) = http.open(get("/"), true).await;
        let head = world.upstream().await.hear_head().await;
        assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
        let mut undeclared = Client::new(world.caller(9000)).await;
        let (_response, _) = undeclared.open(get("/u"), true).await;
        let mut app = Server::new(world.upstream().await).await;
        assert_eq!(app.request().await.0.uri().path(), "/u");
        assert_eq!(app.address, "10.0.0.1:9000");
    });
}

#[test]
fn a_connection_that_speaks_no_http_is_closed_without_an_answer() {
    run(async || {
        let world = gateway(Protocol::Http);
        let mut client = world.client();
        client.say("INVALID CONNECTION PREFACE\r\n\r\n").await;
        client.hear_end().await;
        let mut client = world.client();
        client.say("GET /\r\n\r\n").await;
        assert!(client.hear_head().await.starts_with("HTTP/1.1 400 "));
    });
}

#[test]
fn many_streams_are_served_at_once() {
    run(async || {
        let world = gateway(Protocol::Http2);
        let mut client = Client::new(world.client()).await;
        let mut answers = Vec::new();
        for index in 0..300 {
            answers.push(client.open(get(&format!("/{index}")), true).await.0);
        }
        let mut held = Vec::new();
        let mut web = Server::new(world.upstream().await).await;
        for _ in 0..300 {
            held.push(web.request().await);
        }
        for (asked, respond) in held.iter_mut().rev() {
            let mut body = respond.send_response(status(200), false).expect("response");
            let path = Bytes::copy_from_slice(asked.uri().path().as_bytes());
            body.send_data(path, true).expect("an open stream");
        }
        for (index, answer) in answers.into_iter().enumerate() {
            let mut answer = soon(answer).await.expect("a response");
            assert_eq!(read(answer.body_mut()).await, format!("/{index}"));
        }
        assert_eq!(world.dialled(), 1);
    });
}
