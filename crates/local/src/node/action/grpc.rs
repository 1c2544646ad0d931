//! A probe by the gRPC health checking protocol: two messages of one field each.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

const PATH: &str = "/grpc.health.v1.Health/Check";
/// The tag of field 1 as a string, and as a number.
const TEXT: u8 = 0x0a;
const NUMBER: u8 = 0x08;
/// `HealthCheckResponse.SERVING`.
const SERVING: u8 = 1;
/// A frame's flag and length.
const FRAME: usize = 5;
const MAX_BODY: usize = 4096;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Asks whether a service serves; the empty name is the server itself.
pub(super) async fn check(address: SocketAddr, service: &str) -> Result<(), String> {
    match ask(address, service).await {
        Ok(SERVING) => Ok(()),
        Ok(status) => Err(format!(
            "service unhealthy (responded with status {status})"
        )),
        Err(error) => Err(format!("grpc health check of {address}: {error}")),
    }
}

async fn ask(address: SocketAddr, service: &str) -> Result<u8, Failure> {
    let stream = TcpStream::connect(address).await?;
    let io = TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
    let request = Request::post(format!("http://{address}{PATH}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(question(service)?))?;
    let ask = async {
        let response = sender.send_request(request).await?;
        if !response.status().is_success() {
            return Err(format!("HTTP status {}", response.status()).into());
        }
        succeeded(response.headers())?;
        let body = Limited::new(response.into_body(), MAX_BODY)
            .collect()
            .await?;
        if let Some(trailers) = body.trailers() {
            succeeded(trailers)?;
        }
        answer(&body.to_bytes())
    };
    tokio::pin!(ask, connection);
    // The connection may end with the answer already read.
    tokio::select! {
        biased;
        answer = &mut ask => answer,
        ended = connection => match ended {
            Ok(()) => ask.await,
            Err(error) => Err(error.into()),
        },
    }
}

fn question(service: &str) -> Result<Bytes, Failure> {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        // A length below 128 is its own encoding.
        let length = u8::try_from(service.len())
            .ok()
            .filter(|length| *length < 128);
        let length = length.ok_or("the name of the service is longer than 127 bytes")?;
        message.extend_from_slice(&[TEXT, length]);
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.extend_from_slice(&[0]);
    frame.extend_from_slice(&u32::try_from(message.len())?.to_be_bytes());
    frame.extend_from_slice(&message);
    Ok(frame.freeze())
}

/// The number of the first field, which is left out if it is 0 (UNKNOWN).
fn answer(body: &[u8]) -> Result<u8, Failure> {
    let message = body.get(FRAME..).ok_or("the answer has no message")?;
    match message {
        [] => Ok(0),
        [NUMBER, status, ..] => Ok(*status),
        _ => Err("the answer is not understood".into()),
    }
}

fn succeeded(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        None | Some("0") => Ok(()),
        Some(status) => {
            let message = text("grpc-message").unwrap_or_default();
            Err(format!("gRPC status {status} {message}").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_the_protocol() {
        assert_eq!(&question("").unwrap()[..], [0, 0, 0, 0, 0]);
        assert_eq!(
            &question("ab").unwrap()[..],
            [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']
        );
        assert!(question(&"x".repeat(128)).is_err());
        assert_eq!(answer(&[0, 0, 0, 0, 2, 8, 1]).unwrap(), SERVING);
        assert_eq!(answer(&[0, 0, 0, 0, 0]).unwrap(), 0);
        assert!(answer(&[0, 0]).is_err());
        assert!(answer(&[0, 0, 0, 0, 1, 9]).is_err());
    }
}
