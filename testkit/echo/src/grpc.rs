//! gRPC without a schema: whatever method is called, each message comes back as it is, as it
//! comes. `x-grpc-status` asks for a status, `x-grpc-trailers-only` for an answer without
//! messages.

use std::pin::Pin;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};

use crate::http::{Body, Piece, streamed, whole};

/// Pieces of an answer.
pub(crate) type Frames = Pin<Box<dyn Stream<Item = Piece> + Send>>;

/// Answers whether a request is a call.
pub(crate) fn is_call(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Sends every message back.
pub(crate) fn answer(name: &str, request: Request<Incoming>) -> Response<Body> {
    let asked = |name: &str| request.headers().get(name).cloned();
    let status = asked("x-grpc-status").unwrap_or(HeaderValue::from_static("0"));
    let is_bare = asked("x-grpc-trailers-only").is_some();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status);
    let mut response = if is_bare {
        let mut response = Response::new(whole(Bytes::new()));
        response.headers_mut().extend(trailers);
        response
    } else {
        let messages = request.into_body().into_data_stream();
        let messages = messages
            .take_while(|data| std::future::ready(data.is_ok()))
            .filter_map(async |data| data.ok())
            .map(|data| Ok(Frame::data(data)));
        let end = stream::once(std::future::ready(Ok(Frame::trailers(trailers))));
        Response::new(streamed(Box::pin(messages.chain(end))))
    };
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    if let Ok(name) = HeaderValue::from_str(name) {
        headers.insert("x-served-by", name);
    }
    response
}

/// A message with its prefix: not compressed, and its length.
pub(crate) fn message(text: &[u8]) -> Bytes {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), text].concat().into()
}

/// The messages of a body; what is no whole message is left out.
pub(crate) fn messages(mut bytes: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    while let Some((prefix, rest)) = bytes.split_at_checked(5) {
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some((text, rest)) = rest.split_at_checked(length) else {
            break;
        };
        messages.push(String::from_utf8_lossy(text).into_owned());
        bytes = rest;
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_as_they_were_written() {
        let bytes = [message(b"one"), message(b""), message(b"two")].concat();
        assert_eq!(messages(&bytes), ["one", "", "two"]);
        assert_eq!(messages(&bytes[..bytes.len() - 1]), ["one", ""]);
    }
}
