//! WebSockets: the server's side of the opening handshake (RFC 6455 section 4.2), with a
//! subprotocol, as Kubernetes' streaming subresources use it.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::body::{self, Body};
use super::status::Failure;

/// The largest message; clients send what they have read, a few KiB.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// How long a client has to take the end of a WebSocket.
const FAREWELL: Duration = Duration::from_secs(5);

/// A WebSocket over whatever carried its handshake.
pub(crate) type WebSocket = WebSocketStream<TokioIo<Upgraded>>;

/// A handshake that can be accepted.
#[derive(Debug)]
pub(crate) struct Handshake {
    accept: HeaderValue,
    protocol: &'static str,
}

// === impl Handshake ===

impl Handshake {
    /// Reads a handshake and chooses the first of `supported` that the client offers.
    ///
    /// # Errors
    /// What the client did not say or does not speak; `what` names what it wants.
    pub(crate) fn read(
        headers: &HeaderMap,
        supported: &[&'static str],
        what: &str,
    ) -> Result<Self, Failure> {
        if !has_token(headers, &header::CONNECTION, "upgrade")
            || !has_token(headers, &header::UPGRADE, "websocket")
        {
            return Err(Failure::bad_request(format!(
                "{what} needs a WebSocket: the request has no `Upgrade: websocket`"
            )));
        }
        let version = headers.get(header::SEC_WEBSOCKET_VERSION);
        if version.is_none_or(|version| version != "13") {
            return Err(Failure::bad_request(
                "the version of the WebSocket protocol must be 13",
            ));
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY);
        let key = key.ok_or_else(|| Failure::bad_request("there is no Sec-WebSocket-Key"))?;
        let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
            .map_err(|error| Failure::internal(&error))?;
        let offers = |one: &&&'static str| has_token(headers, &PROTOCOL, one);
        let protocol = supported.iter().find(offers).ok_or_else(|| {
            Failure::bad_request(format!(
                "{what} speaks the WebSocket subprotocols {supported:?} here; the client offers \
                 none of them"
            ))
        })?;
        Ok(Self { accept, protocol })
    }

    /// The subprotocol that was chosen.
    pub(crate) fn protocol(&self) -> &'static str {
        self.protocol
    }

    /// The answer that accepts it.
    pub(crate) fn response(self) -> Response<Body> {
        let mut response = Response::new(body::full(""));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        headers.insert(PROTOCOL, HeaderValue::from_static(self.protocol));
        response
    }
}

const PROTOCOL: HeaderName = header::SEC_WEBSOCKET_PROTOCOL;

/// The WebSocket, once the answer has been sent.
pub(crate) async fn accept(upgrade: OnUpgrade) -> Result<WebSocket, hyper::Error> {
    let stream = TokioIo::new(upgrade.await?);
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    Ok(WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await)
}

/// Closes a WebSocket and what is under it, in order: a client that is left without the farewell of
/// TLS takes it for cut off.
pub(crate) async fn end(mut socket: WebSocket) {
    let farewell = async {
        // A client that has gone needs no farewell.
        let _ = socket.close(None).await;
        // Where the client closed first, its answer still waits.
        let _ = socket.flush().await;
        let _ = socket.get_mut().shutdown().await;
        // Its last words are read, or the kernel would answer them with a reset.
        while let Some(Ok(_)) = socket.next().await {}
    };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

/// Answers whether a list of tokens has one, in any case.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter();
    let mut tokens = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    tokens.any(|found| found.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .collect()
    }

    /// The handshake of RFC 6455 section 1.3.
    const GOOD: [(&str, &str); 5] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "superchat, chat"),
    ];

    #[test]
    fn a_handshake_is_answered_as_the_standard_shows_it() {
        let handshake = Handshake::read(&headers(&GOOD), &["chat"], "x").unwrap();
        let response = handshake.response();
        assert_eq!(response.status(), 101);
        let said = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(said("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(said("sec-websocket-protocol"), "chat");
    }

    #[test]
    fn what_is_missing_is_named() {
        for (left_out, word) in [
            ("upgrade", "Upgrade: websocket"),
            ("connection", "Upgrade: websocket"),
            ("sec-websocket-version", "must be 13"),
            ("sec-websocket-key", "Sec-WebSocket-Key"),
            ("sec-websocket-protocol", "subprotocols"),
        ] {
            let mut incomplete = headers(&GOOD);
            incomplete.remove(left_out);
            let failure = Handshake::read(&incomplete, &["chat"], "x").unwrap_err();
            let text = format!("{failure:?}");
            assert!(text.contains(word), "{left_out}: {text}");
        }
    }
}
