//! WebSocket (RFC 6455): every message comes back. Over HTTP/1.1 by Upgrade, over HTTP/2 by
//! extended CONNECT (RFC 8441).

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::http::{Body, whole};

/// What RFC 6455 §1.3 appends to a key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The most bytes of a message.
const MOST: u64 = 1 << 20;

/// A text message, the only kind that this client sends.
pub(crate) const TEXT: u8 = 1;
const CLOSE: u8 = 8;

/// Answers whether a request asks for a WebSocket.
pub(crate) fn is_asked_for<B>(request: &Request<B>) -> bool {
    let by_upgrade = request.headers().get(header::UPGRADE);
    by_upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        || (request.method() == Method::CONNECT
            && request.extensions().get::<hyper::ext::Protocol>().is_some())
}

/// Takes the connection over and sends every message back.
pub(crate) fn accept(mut request: Request<Incoming>) -> Response<Body> {
    let mut response = Response::new(whole(Bytes::new()));
    if request.method() != Method::CONNECT {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if let Some(answer) = answer_to(request.headers()) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, answer);
        }
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let result = match upgrade.await {
            Ok(upgraded) => echo(TokioIo::new(upgraded)).await,
            Err(error) => Err(std::io::Error::other(error)),
        };
        // Clients may leave without a word.
        if let Err(error) = result
            && error.kind() != std::io::ErrorKind::UnexpectedEof
        {
            eprintln!("websocket: {error}");
        }
    });
    response
}

fn answer_to(headers: &HeaderMap) -> Option<HeaderValue> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?.to_str().ok()?;
    HeaderValue::from_str(&expected(key)).ok()
}

/// What a server has to answer to a key.
pub(crate) fn expected(key: &str) -> String {
    let text = format!("{key}{GUID}");
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    STANDARD.encode(hash)
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    loop {
        let (kind, text) = read(&mut stream).await?;
        write(&mut stream, kind, &text, None).await?;
        if kind == CLOSE {
            return Ok(());
        }
    }
}

/// Reads a message of one frame.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(u8, Vec<u8>)> {
    let mut start = [0; 2];
    stream.read_exact(&mut start).await?;
    let length = match start[1] & 0x7f {
        126 => u64::from(stream.read_u16().await?),
        127 => stream.read_u64().await?,
        short => u64::from(short),
    };
    if length > MOST {
        return Err(std::io::Error::other("the message is too long"));
    }
    let mut mask = [0; 4];
    if start[1] & 0x80 != 0 {
        stream.read_exact(&mut mask).await?;
    }
    let mut text = vec![0; usize::try_from(length).unwrap_or(0)];
    stream.read_exact(&mut text).await?;
    for (byte, mask) in text.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok((start[0] & 0x0f, text))
}

/// Writes a message of one frame; clients give a mask.
pub(crate) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    kind: u8,
    text: &[u8],
    mask: Option<[u8; 4]>,
) -> std::io::Result<()> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![0x80 | kind];
    match u16::try_from(text.len()) {
        Ok(length @ ..126) => frame.push(masked | u8::try_from(length).unwrap_or(0)),
        Ok(length) => {
            frame.push(masked | 0x7e);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            frame.push(masked | 0x7f);
            frame.extend_from_slice(&(text.len() as u64).to_be_bytes());
        }
    }
    let mask = mask.unwrap_or_default();
    if masked != 0 {
        frame.extend_from_slice(&mask);
    }
    let hidden = text.iter().zip(mask.iter().cycle());
    frame.extend(hidden.map(|(byte, mask)| byte ^ mask));
    stream.write_all(&frame).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_answered_as_in_the_rfc() {
        let answer = expected("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[tokio::test]
    async fn masked_messages_of_any_length_are_read_as_they_were_written() {
        for length in [0, 5, 125, 126, 70_000] {
            let text = vec![b'x'; length];
            let (mut near, mut far) = tokio::io::duplex(1 << 17);
            let mask = Some([1, 2, 3, 4]);
            write(&mut near, TEXT, &text, mask).await.expect("room");
            let read = read(&mut far).await.expect("a message");
            assert_eq!(read, (TEXT, text));
        }
    }
}
