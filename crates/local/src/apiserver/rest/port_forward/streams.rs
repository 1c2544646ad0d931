//! Port-forward as kubectl speaks it: for each connection to a port the client opens two streams of
//! SPDY, with the headers `port`, `requestid` (the same for both) and `streamtype`, which is `error`
//! or `data`.
//!
//! ```text
//! both are open ─ dialled ─► bytes both ways ─ the pod closes ─► both end
//!                    └─ cannot be ─► the reason on `error` ─────► both end
//! ```
//!
//! When the client ends its side of `data`, so does the pod's connection on that side, and what the
//! pod still says is carried. A client that resets `data` wants none of it.

use std::collections::HashMap;
use std::io;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_tungstenite::tungstenite::Message;

use super::{CHUNK, Pod, QUEUE, WebSocket, end, send, to_pod};
use crate::apiserver::spdy::{Decoder, Encoder, Error, Frame};

/// How many connections may be open, or half asked for, at once: a browser's dozens, many times.
const MOST_PORTS: usize = 1000;

/// What a client asked for, by streams that belong together.
#[derive(Debug, Default)]
struct Asked {
    port: u16,
    data: Option<u32>,
    error: Option<u32>,
}

/// A connection to a port, by its stream `data`.
#[derive(Debug)]
struct Port {
    error: u32,
    /// Nothing when the client has ended its side.
    to_pod: Option<mpsc::Sender<Bytes>>,
    task: AbortHandle,
}

/// Everything of one client.
struct Session {
    pod: Pod,
    decoder: Decoder,
    encoder: Encoder,
    to_client: mpsc::Sender<Bytes>,
    asked: HashMap<String, Asked>,
    ports: HashMap<u32, Port>,
    /// They answer their stream `data`.
    forwards: JoinSet<u32>,
}

/// One connection to a port, with what it needs on its own.
struct Forward {
    pod: Pod,
    port: u16,
    data: u32,
    error: u32,
    to_client: mpsc::Sender<Bytes>,
    from_client: mpsc::Receiver<Bytes>,
}

/// Carries everything until the client leaves, over its connection.
pub(super) async fn carry(client: impl AsyncRead + AsyncWrite, pod: Pod) {
    let (mut reading, mut writing) = tokio::io::split(client);
    let (mut session, mut frames) = Session::new(pod);
    let write = async {
        while let Some(frame) = frames.recv().await {
            if writing.write_all(&frame).await.is_err() {
                return;
            }
        }
    };
    let read = async {
        let mut chunk = vec![0; CHUNK];
        while let Ok(length @ 1..) = reading.read(&mut chunk).await {
            if !session.takes(&chunk[..length]).await {
                return;
            }
        }
    };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
}

/// The same within the messages of a WebSocket.
pub(super) async fn carry_in_messages(client: WebSocket, pod: Pod) {
    let (mut sink, mut messages) = client.split();
    let (mut session, frames) = Session::new(pod);
    let read = async {
        while let Some(Ok(message)) = messages.next().await {
            match message {
                Message::Binary(bytes) => {
                    if !session.takes(&bytes).await {
                        return;
                    }
                }
                Message::Close(_) => return,
                Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    };
    tokio::select! {
        () = send(&mut sink, frames) => {}
        () = read => {}
    }
    end(sink, messages).await;
}

// === impl Session ===

impl Session {
    fn new(pod: Pod) -> (Self, mpsc::Receiver<Bytes>) {
        let (to_client, frames) = mpsc::channel(QUEUE);
        let session = Self {
            pod,
            decoder: Decoder::new(),
            encoder: Encoder::default(),
            to_client,
            asked: HashMap::new(),
            ports: HashMap::new(),
            forwards: JoinSet::new(),
        };
        (session, frames)
    }

    /// Takes bytes from the client; answers whether it can go on.
    async fn takes(&mut self, bytes: &[u8]) -> bool {
        self.decoder.feed(bytes);
        match self.handle().await {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, pod = self.pod.name, "a port-forward over SPDY ends");
                false
            }
        }
    }

    async fn handle(&mut self) -> Result<(), Error> {
        while let Some(frame) = self.decoder.next()? {
            while let Some(done) = self.forwards.try_join_next() {
                // Those that were stopped are forgotten already.
                if let Ok(data) = done {
                    self.ports.remove(&data);
                }
            }
            match frame {
                Frame::Open {
                    stream,
                    headers,
                    is_last,
                } => self.open(stream, &headers, is_last).await,
                Frame::Data {
                    stream,
                    bytes,
                    is_last,
                } => self.data(stream, bytes, is_last).await,
                Frame::Reset { stream } => self.reset(stream).await,
                Frame::Ping { id } => self.say(Encoder::pong(id)).await,
            }
        }
        Ok(())
    }

    async fn open(&mut self, stream: u32, headers: &[(String, String)], is_last: bool) {
        let Some(request) = self.ask(stream, headers) else {
            return self.say(Encoder::refuse(stream)).await;
        };
        let reply = self.encoder.reply(stream);
        self.say(reply).await;
        let asked = self.asked.get(&request);
        let pair = asked.and_then(|asked| Some((asked.port, asked.data?, asked.error?)));
        let Some((port, data, error)) = pair else {
            return;
        };
        self.asked.remove(&request);
        let (to_pod, from_client) = mpsc::channel(QUEUE);
        let forward = Forward {
            pod: self.pod.clone(),
            port,
            data,
            error,
            to_client: self.to_client.clone(),
            from_client,
        };
        let task = self.forwards.spawn(forward.run());
        let port = Port {
            error,
            to_pod: Some(to_pod).filter(|_| !(is_last && stream == data)),
            task,
        };
        self.ports.insert(data, port);
    }

    /// Takes note of a stream and answers to what it belongs, if it can be taken.
    fn ask(&mut self, stream: u32, headers: &[(String, String)]) -> Option<String> {
        let header = |name: &str| {
            let mut found = headers.iter().filter(|(own, _)| own == name);
            found.next().map(|(_, value)| value.as_str())
        };
        let port: u16 = header("port")?.parse().ok().filter(|port| *port != 0)?;
        let request = header("requestid")?.to_owned();
        let is_data = match header("streamtype")? {
            "data" => true,
            "error" => false,
            _ => return None,
        };
        if self.asked.len() + self.ports.len() >= MOST_PORTS {
            return None;
        }
        let new = || Asked {
            port,
            ..Asked::default()
        };
        let asked = self.asked.entry(request.clone()).or_insert_with(new);
        let half = if is_data {
            &mut asked.data
        } else {
            &mut asked.error
        };
        if asked.port != port || half.is_some() {
            return None;
        }
        *half = Some(stream);
        Some(request)
    }

    async fn data(&mut self, stream: u32, bytes: Bytes, is_last: bool) {
        // That of `error` is only its end, and a port that is done takes nothing more.
        let Some(port) = self.ports.get_mut(&stream) else {
            return;
        };
        if let Some(to_pod) = port.to_pod.as_ref().filter(|_| !bytes.is_empty()) {
            let _ = to_pod.send(bytes).await;
        }
        if is_last {
            port.to_pod = None;
        }
    }

    async fn reset(&mut self, stream: u32) {
        if let Some(port) = self.ports.remove(&stream) {
            port.task.abort();
            // The client waits until it knows that there was no error.
            self.say(Encoder::data(port.error, b"", true)).await;
        }
    }

    async fn say(&self, frame: Bytes) {
        // A client that has gone is noticed where it is read from.
        let _ = self.to_client.send(frame).await;
    }
}

// === impl Forward ===

impl Forward {
    async fn run(self) -> u32 {
        let Self { data, error, .. } = self;
        let to_client = self.to_client.clone();
        let failure = match self.pod.dialer.dial(&self.pod.uid, self.port).await {
            Ok(stream) => {
                self.exchange(stream).await;
                String::new()
            }
            Err(failure) => self.pod.failure(self.port, &failure),
        };
        for last in [
            Encoder::data(data, b"", true),
            Encoder::data(error, failure.as_bytes(), true),
        ] {
            // A client that has gone needs no farewell.
            let _ = to_client.send(last).await;
        }
        data
    }

    /// Carries bytes both ways until the pod has said everything.
    async fn exchange(self, stream: TcpStream) {
        let (reading, writing) = stream.into_split();
        let mut to_client = std::pin::pin!(to_client(reading, self.data, &self.to_client));
        tokio::select! {
            // An end that the pod brings about by a reset is an end as well.
            _ = &mut to_client => return,
            () = to_pod(writing, self.from_client) => {}
        }
        let _ = to_client.await;
    }
}

/// Carries what the pod sends until it closes.
async fn to_client(
    mut pod: OwnedReadHalf,
    data: u32,
    client: &mpsc::Sender<Bytes>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = pod.read(&mut chunk).await?;
        let frame = Encoder::data(data, &chunk[..length], false);
        if length == 0 || client.send(frame).await.is_err() {
            return Ok(());
        }
    }
}
