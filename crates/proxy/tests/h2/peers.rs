//! Clients and upstreams that speak HTTP/2 over streams in memory.

use std::future::{Future, poll_fn};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use lateen_wire::corpus;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::world::Peer;

pub(crate) use corpus::h2::{frame, literal};

/// How long something may take before a test says that it does not come.
const PATIENCE: Duration = Duration::from_secs(3);

/// A client with an open connection.
pub(crate) struct Client {
    pub(crate) send: SendRequest<Bytes>,
    /// How its connection ended.
    pub(crate) ended: mpsc::UnboundedReceiver<Result<(), h2::Error>>,
}

/// An upstream with an open connection.
pub(crate) struct Server {
    pub(crate) address: String,
    requests: mpsc::UnboundedReceiver<(Request<RecvStream>, SendResponse<Bytes>)>,
    commands: mpsc::UnboundedSender<Command>,
}

enum Command {
    GoAway,
    Close,
}

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, what).await;
    waited.expect("it does not come")
}

// === impl Client ===

impl Client {
    pub(crate) async fn new(peer: Peer) -> Self {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(64 * 1024);
        let (send, connection) = soon(builder.handshake(peer.stream))
            .await
            .expect("handshake");
        let (told, ended) = mpsc::unbounded_channel();
        tokio::task::spawn_local(async move {
            let _ = told.send(connection.await);
        });
        Self { send, ended }
    }

    /// Opens a stream.
    pub(crate) async fn open(
        &mut self,
        request: Request<()>,
        is_end: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut send = soon(self.send.clone().ready()).await.expect("ready");
        send.send_request(request, is_end).expect("a stream")
    }
}

// === impl Server ===

impl Server {
    pub(crate) async fn new(peer: Peer) -> Self {
        Self::with(peer, h2::server::Builder::new().enable_connect_protocol()).await
    }

    pub(crate) async fn with(peer: Peer, builder: &h2::server::Builder) -> Self {
        let address = peer.address.to_string();
        let handshake = soon(builder.handshake(peer.stream));
        let mut connection = Box::pin(handshake).await.expect("handshake");
        let (send, requests) = mpsc::unbounded_channel();
        let (commands, mut orders) = mpsc::unbounded_channel();
        tokio::task::spawn_local(async move {
            loop {
                tokio::select! {
                    accepted = connection.accept() => match accepted {
                        Some(Ok(stream)) => drop(send.send(stream)),
                        Some(Err(_)) | None => return,
                    },
                    Some(order) = orders.recv() => match order {
                        Command::GoAway => connection.graceful_shutdown(),
                        Command::Close => return,
                    },
                }
            }
        });
        Self {
            address,
            requests,
            commands,
        }
    }

    /// The next request.
    pub(crate) async fn request(&mut self) -> (Request<RecvStream>, SendResponse<Bytes>) {
        soon(self.requests.recv())
            .await
            .expect("the connection ended")
    }

    /// Expects that no request comes.
    pub(crate) async fn hears_nothing(&mut self) {
        let heard = tokio::time::timeout(PATIENCE, self.requests.recv()).await;
        assert!(!matches!(heard, Ok(Some(_))), "a request came");
    }

    /// Says GOAWAY.
    pub(crate) fn go_away(&self) {
        let _ = self.commands.send(Command::GoAway);
    }

    /// Closes the connection.
    pub(crate) fn close(&self) {
        let _ = self.commands.send(Command::Close);
    }
}

/// A GET for a path of the host `shop`.
pub(crate) fn get(path: &str) -> Request<()> {
    request("GET", path)
}

/// A request for a path of the host `shop`.
pub(crate) fn request(method: &str, path: &str) -> Request<()> {
    let uri = format!("http://shop{path}");
    let request = Request::builder().method(method).uri(uri);
    request.body(()).expect("a request")
}

/// A response with this status.
pub(crate) fn status(status: u16) -> Response<()> {
    Response::builder()
        .status(status)
        .body(())
        .expect("a response")
}

/// Reads a body to its end.
pub(crate) async fn read(body: &mut RecvStream) -> String {
    let mut text = Vec::new();
    while let Some(data) = soon(body.data()).await {
        let data = data.expect("data");
        let _ = body.flow_control().release_capacity(data.len());
        text.extend_from_slice(&data);
    }
    String::from_utf8(text).expect("text")
}

/// Reads a piece of a body.
pub(crate) async fn piece(body: &mut RecvStream) -> Bytes {
    let data = soon(body.data()).await.expect("more").expect("data");
    let _ = body.flow_control().release_capacity(data.len());
    data
}

/// Reads the trailers, after the body.
pub(crate) async fn trailers(body: &mut RecvStream) -> Option<HeaderMap> {
    soon(body.trailers()).await.expect("an orderly end")
}

/// Sends a piece of a body.
pub(crate) fn say(body: &mut SendStream<Bytes>, text: &str, is_end: bool) {
    let text = Bytes::copy_from_slice(text.as_bytes());
    body.send_data(text, is_end).expect("an open stream");
}

/// Trailers of one field.
pub(crate) fn trailer(name: &'static str, value: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(name, value.parse().expect("a value"));
    trailers
}

/// Waits for the reset of a stream whose body is read.
pub(crate) async fn reset_of(body: &mut RecvStream) -> Option<h2::Reason> {
    loop {
        match soon(body.data()).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return error.reason(),
            None => return None,
        }
    }
}

/// Waits for the reset of a stream to which is written.
pub(crate) async fn reset(body: &mut SendStream<Bytes>) -> Option<h2::Reason> {
    soon(poll_fn(|cx| body.poll_reset(cx))).await.ok()
}

/// The pseudo headers of a GET of `/` for the host `shop`, by hand.
pub(crate) fn pseudo() -> Vec<u8> {
    corpus::h2::get("shop")
}

/// A client that sends frames by hand.
pub(crate) struct Raw(pub(crate) Peer);

// === impl Raw ===

impl Raw {
    /// Says the preface and empty settings.
    pub(crate) async fn new(mut peer: Peer) -> Self {
        peer.say(corpus::h2::greeting()).await;
        Self(peer)
    }

    /// Sends bytes; `false` if they are no longer taken.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        let written = tokio::time::timeout(PATIENCE, self.0.stream.write_all(bytes)).await;
        matches!(written, Ok(Ok(())))
    }

    /// The next frame: kind, flags, stream, payload; nothing at the end.
    pub(crate) async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        soon(self.0.stream.read_exact(&mut head)).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        soon(self.0.stream.read_exact(&mut payload)).await.ok()?;
        Some((kind, flags, u32::from_be_bytes(stream), payload))
    }

    /// The code of the reset of a stream, or of the GOAWAY if that comes first.
    pub(crate) async fn refusal(&mut self) -> u32 {
        loop {
            match self
                .next()
                .await
                .expect("the connection ended without a word")
            {
                (3, _, _, code) => return u32::from_be_bytes(code.try_into().expect("a code")),
                (7, _, _, payload) => {
                    let code = payload[4..8].try_into().expect("a code");
                    return u32::from_be_bytes(code);
                }
                (1, _, stream, _) => panic!("a response came on stream {stream}"),
                _ => {}
            }
        }
    }
}
