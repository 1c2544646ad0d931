//! One HTTP/1.1 request of the proxy's own: to the application's probe, or to its admin port.

use std::io;
use std::net::SocketAddr;

use lateen_wire::h1::chunked::{Decoder, Event, Mode};
use lateen_wire::h1::framing::Body;
use lateen_wire::h1::head::{Limits, Progress};
use lateen_wire::h1::request::Method;
use lateen_wire::h1::response::{Asked, Head};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::sys::{self, Mark};

/// The longest body that is read; more is an error.
const MOST_BODY: usize = 10 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What came is not a response.
    #[error("{0}")]
    Malformed(#[from] lateen_wire::Error),
    /// The body is longer than what is read.
    #[error("the body is longer than 10 MiB")]
    TooLong,
}

/// Connects to a port of the pod itself, past the capture.
pub async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    sys::connecting_socket(to, Mark::Inbound)?.connect(to).await
}

/// Sends `head` (with its last empty line) and reads the response.
///
/// # Errors
/// When there is no valid response.
pub async fn fetch<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    head: &[u8],
) -> Result<(u16, Vec<u8>), Error> {
    stream.write_all(head).await?;
    let mut input = Vec::with_capacity(1024);
    let mut response = Head::default();
    let asked = Asked {
        method: Method::Get,
        upgrade: None,
    };
    loop {
        while response.parse(&input, &Limits::default(), asked)? == Progress::NeedMore {
            read_some(stream, &mut input).await?;
        }
        if !response.view(&input).is_interim() {
            break;
        }
        input.drain(..response.len());
    }
    let view = response.view(&input);
    let (status, framing) = (view.status(), view.body());
    input.drain(..response.len());
    let body = match framing {
        Body::Empty | Body::Tunnel => Vec::new(),
        Body::Length(length) => {
            let length = usize::try_from(length).map_err(|_| Error::TooLong)?;
            while input.len() < length {
                read_some(stream, &mut input).await?;
            }
            input.truncate(length);
            input
        }
        Body::UntilClose => {
            while stream.read_buf(&mut input).await? > 0 {
                check(&input)?;
            }
            input
        }
        Body::Chunked => read_chunks(stream, input).await?,
    };
    Ok((status, body))
}

async fn read_chunks<S: AsyncRead + Unpin>(
    stream: &mut S,
    mut input: Vec<u8>,
) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    let mut decoder = Decoder::new(Mode::Decode);
    loop {
        let step = decoder.next(&input)?;
        match step.event {
            Event::Data(range) | Event::Verbatim { bytes: range, .. } => {
                body.extend_from_slice(&input[range]);
                check(&body)?;
            }
            Event::End(_) => return Ok(body),
            Event::NeedMore => {
                input.clear();
                read_some(stream, &mut input).await?;
                continue;
            }
        }
        input.drain(..step.consumed);
    }
}

async fn read_some<S: AsyncRead + Unpin>(stream: &mut S, input: &mut Vec<u8>) -> Result<(), Error> {
    check(input)?;
    if stream.read_buf(input).await? == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(())
}

fn check(bytes: &[u8]) -> Result<(), Error> {
    if bytes.len() > MOST_BODY {
        return Err(Error::TooLong);
    }
    Ok(())
}
