//! Port-forward as `kube` speaks it: the n-th port has two channels of a WebSocket, 2n for its bytes
//! and 2n+1 for an error, and each message begins with its channel. The first message of a channel
//! says its port, in two bytes, the low one first. A port is done when the pod closes its connection
//! or cannot be dialled, the WebSocket when all its ports are.

use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::SplitStream;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use super::{CHUNK, Pod, QUEUE, end, send, to_pod};
use crate::apiserver::call::Call;
use crate::apiserver::status::Failure;
use crate::apiserver::websocket::WebSocket;

/// As many ports as there are pairs of channels.
const MAX_PORTS: usize = 128;

/// One port, and the two ends of its channels.
struct Forward {
    pod: Pod,
    port: u16,
    /// The channel of its bytes.
    channel: u8,
    to_client: mpsc::Sender<Bytes>,
    from_client: mpsc::Receiver<Bytes>,
}

/// The ports that are asked for: `ports=80,81`, or the parameter several times.
pub(super) fn ports(call: &Call) -> Result<Vec<u16>, Failure> {
    let texts = call.query.all("ports").flat_map(|list| list.split(','));
    let ports = texts.map(|text| match text.trim().parse() {
        Ok(0) | Err(_) => Err(Failure::bad_request(format!(
            "invalid port {text:?}: a number from 1 to 65535 is needed"
        ))),
        Ok(port) => Ok(port),
    });
    let ports: Vec<u16> = ports.collect::<Result<_, _>>()?;
    match ports.len() {
        0 => Err(Failure::bad_request(
            "query parameter \"ports\" is required",
        )),
        1..=MAX_PORTS => Ok(ports),
        _ => Err(Failure::bad_request(format!(
            "at most {MAX_PORTS} ports can be forwarded at once"
        ))),
    }
}

/// Carries everything until the client or all ports are done.
pub(super) async fn carry(socket: WebSocket, pod: &Pod, ports: &[u16]) {
    let (mut sink, mut stream) = socket.split();
    let (to_client, outgoing) = mpsc::channel(QUEUE);
    let mut to_ports = Vec::with_capacity(ports.len());
    let mut forwards = JoinSet::new();
    for (port, channel) in ports.iter().zip((0..=u8::MAX).step_by(2)) {
        let (to_port, from_client) = mpsc::channel(QUEUE);
        to_ports.push(to_port);
        let forward = Forward {
            pod: pod.clone(),
            port: *port,
            channel,
            to_client: to_client.clone(),
            from_client,
        };
        forwards.spawn(forward.run());
    }
    // The last port that is done closes the way out.
    drop(to_client);
    tokio::select! {
        () = send(&mut sink, outgoing) => {}
        // What the client sent before it left still gets to the pod.
        () = receive(&mut stream, to_ports) => while forwards.join_next().await.is_some() {},
    }
    end(sink, stream).await;
}

/// Distributes messages until the client leaves.
async fn receive(stream: &mut SplitStream<WebSocket>, ports: Vec<mpsc::Sender<Bytes>>) {
    while let Some(Ok(message)) = stream.next().await {
        match message {
            Message::Binary(mut bytes) if bytes.len() > 1 => {
                let channel = usize::from(bytes.split_to(1)[0]);
                let port = ports.get(channel / 2).filter(|_| channel.is_multiple_of(2));
                if let Some(port) = port {
                    // A port that is done takes nothing more.
                    let _ = port.send(bytes).await;
                }
            }
            Message::Close(_) => return,
            Message::Binary(_)
            | Message::Text(_)
            | Message::Ping(_)
            | Message::Pong(_)
            | Message::Frame(_) => {}
        }
    }
}

// === impl Forward ===

impl Forward {
    async fn run(self) {
        let error_channel = self.channel + 1;
        for channel in [self.channel, error_channel] {
            let port = Bytes::copy_from_slice(&self.port.to_le_bytes());
            if self.to_client.send(framed(channel, &port)).await.is_err() {
                return;
            }
        }
        match self.pod.dialer.dial(&self.pod.uid, self.port).await {
            Ok(stream) => self.exchange(stream).await,
            Err(error) => {
                let text = self.pod.failure(self.port, &error);
                let message = framed(error_channel, text.as_bytes());
                // Nobody is left to be told if this fails.
                let _ = self.to_client.send(message).await;
            }
        }
    }

    /// Carries bytes both ways until the pod closes or the client leaves.
    async fn exchange(self, stream: TcpStream) {
        let (reading, writing) = stream.into_split();
        tokio::select! {
            () = to_client(reading, self.channel, &self.to_client) => {}
            () = to_pod(writing, self.from_client) => {}
        }
    }
}

/// Carries what the pod sends until it closes.
async fn to_client(mut pod: OwnedReadHalf, channel: u8, client: &mpsc::Sender<Bytes>) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(length @ 1..) = pod.read(&mut chunk).await {
        if client
            .send(framed(channel, &chunk[..length]))
            .await
            .is_err()
        {
            return;
        }
    }
}

fn framed(channel: u8, bytes: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(bytes.len() + 1);
    message.put_u8(channel);
    message.put_slice(bytes);
    message.freeze()
}
