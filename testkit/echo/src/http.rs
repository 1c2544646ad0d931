//! HTTP: answers with what reached it, as JSON.

use bytes::Bytes;
use http::{Method, Request, Response, Version, header};
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Map, Value, json};

use crate::behaviour::Behaviour;
use crate::serve::Server;
use crate::{grpc, websocket};

/// The body of an answer: whole, or as it comes.
pub(crate) type Body = Either<Full<Bytes>, StreamBody<grpc::Frames>>;

/// The server does not answer: the connection ends.
#[derive(Debug)]
pub(crate) struct Reset;

/// Answers a request.
pub(crate) async fn answer(
    server: &Server,
    sni: Option<&str>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Reset> {
    if websocket::is_asked_for(&request) {
        return Ok(websocket::accept(request));
    }
    let query = request.uri().query().unwrap_or_default();
    let behaviour = Behaviour::of(query, &server.counts);
    tokio::time::sleep(behaviour.delay).await;
    if behaviour.resets {
        return Err(Reset);
    }
    if grpc::is_call(request.headers()) {
        return Ok(grpc::answer(&server.name, request));
    }
    let mut told = describe(server, sni, &request);
    let is_head = request.method() == Method::HEAD;
    let body = request.into_body().collect().await.map_err(|_| Reset)?;
    told["trailers"] = headers(body.trailers().unwrap_or(&header::HeaderMap::new()));
    told["body"] = String::from_utf8_lossy(&body.to_bytes()).into();
    if behaviour.size > 0 {
        told["filling"] = "x".repeat(behaviour.size).into();
    }
    let text = if is_head {
        String::new()
    } else {
        format!("{told}\n")
    };
    let response = Response::builder()
        .status(behaviour.status)
        .header(header::CONTENT_TYPE, "application/json")
        .header("x-served-by", &server.name)
        .body(Either::Left(Full::new(text.into())));
    response.map_err(|_| Reset)
}

/// What reached the server.
pub(crate) fn describe<B>(server: &Server, sni: Option<&str>, request: &Request<B>) -> Value {
    let authority = request.uri().authority().map(ToString::to_string);
    let host = request.headers().get(header::HOST);
    let host = host.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    json!({
        "name": server.name,
        "protocol": protocol(request.version()),
        "method": request.method().as_str(),
        "host": authority.or(host),
        "path": request.uri().path_and_query().map(ToString::to_string),
        "headers": headers(request.headers()),
        "sni": sni,
    })
}

/// How a version is written.
pub(crate) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

/// Headers by name, the values of one name joined by commas.
pub(crate) fn headers(headers: &header::HeaderMap) -> Value {
    let mut map = Map::new();
    for name in headers.keys() {
        let values = headers.get_all(name).iter();
        let values: Vec<_> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        map.insert(name.to_string(), values.join(",").into());
    }
    map.into()
}

/// A whole body.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(bytes.into()))
}

/// A body as it comes.
pub(crate) fn streamed(frames: grpc::Frames) -> Body {
    Either::Right(StreamBody::new(frames))
}

/// One piece of a body.
pub(crate) type Piece = Result<Frame<Bytes>, std::convert::Infallible>;

impl std::fmt::Display for Reset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("asked not to answer")
    }
}

impl std::error::Error for Reset {}
