//! The `portforward` subresource of pods: connections to ports inside of a pod, carried over one
//! WebSocket as `kube`'s clients speak it.
//!
//! The n-th port has two channels, 2n for its bytes and 2n+1 for an error, and each message begins
//! with its channel. The first message of a channel says its port, in two bytes, the low one
//! first. A port is done when the pod closes its connection or cannot be dialled, the WebSocket
//! when all its ports are.
//!
//! kubectl speaks SPDY, on its own or wrapped into a WebSocket; that is not understood here, and
//! it is told so.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use http::{Response, header};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::apiserver::body::Body;
use crate::apiserver::call::Call;
use crate::apiserver::object;
use crate::apiserver::pod_dialer::PodDialer;
use crate::apiserver::server::Core;
use crate::apiserver::status::Failure;
use crate::apiserver::websocket::{self, Handshake, WebSocket, has_token};

/// The subprotocols that are understood.
const PROTOCOLS: [&str; 1] = ["v4.channel.k8s.io"];
/// As many ports as there are pairs of channels.
const MAX_PORTS: usize = 128;
/// How much is read from a pod at once.
const CHUNK: usize = 32 * 1024;
/// Messages that may wait on their way in either direction.
const QUEUE: usize = 8;

/// The pod whose ports are forwarded.
#[derive(Debug, Clone)]
struct Pod {
    name: String,
    uid: String,
    dialer: PodDialer,
}

/// One port, and the two ends of its channels.
struct Forward {
    pod: Pod,
    port: u16,
    /// The channel of its bytes.
    channel: u8,
    to_client: mpsc::Sender<Bytes>,
    from_client: mpsc::Receiver<Bytes>,
}

/// Opens the ports that a call names.
pub(super) fn open(core: &Arc<Core>, call: &mut Call) -> Result<Response<Body>, Failure> {
    let found = super::current(core, call)?;
    if object::text(&found, &["spec", "nodeName"]).is_empty() {
        let message = format!("pod {} does not have a host assigned", call.name);
        return Err(Failure::bad_request(message));
    }
    let dialer = core.options.pod_dialer.clone().ok_or_else(|| {
        Failure::not_implemented("this API server has no node: there is no way into pods")
    })?;
    if speaks_spdy(call) {
        let (namespace, name) = (&call.namespace, &call.name);
        return Err(Failure::not_implemented(format!(
            "port-forward over SPDY, which kubectl speaks, is not supported by this API server; \
             a page of the pod is shown by `kubectl get --raw \
             /api/v1/namespaces/{namespace}/pods/{name}:PORT/proxy/`, and clients that speak {} \
             over a WebSocket can forward ports",
            PROTOCOLS[0]
        )));
    }
    let handshake = Handshake::read(&call.headers, &PROTOCOLS, "port-forward")?;
    let ports = ports(call)?;
    let upgrade = call.upgrade.take().ok_or_else(|| {
        Failure::bad_request("the connection of this request cannot become a WebSocket")
    })?;
    let pod = Pod {
        name: call.name.clone(),
        uid: object::uid(&found).to_owned(),
        dialer,
    };
    tokio::spawn(async move {
        match websocket::accept(upgrade).await {
            Ok(socket) => carry(socket, &pod, &ports).await,
            Err(error) => tracing::debug!(%error, "a port-forward did not begin"),
        }
    });
    Ok(handshake.response())
}

fn speaks_spdy(call: &Call) -> bool {
    let protocol = header::SEC_WEBSOCKET_PROTOCOL;
    has_token(&call.headers, &header::UPGRADE, "SPDY/3.1")
        || has_token(&call.headers, &protocol, "SPDY/3.1+portforward.k8s.io")
}

/// The ports that are asked for: `ports=80,81`, or the parameter several times.
fn ports(call: &Call) -> Result<Vec<u16>, Failure> {
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
async fn carry(socket: WebSocket, pod: &Pod, ports: &[u16]) {
    let (sink, stream) = socket.split();
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
        () = send(sink, outgoing) => {}
        // What the client sent before it left still gets to the pod.
        () = receive(stream, to_ports) => while forwards.join_next().await.is_some() {},
    }
}

/// Sends messages until there will be none, then closes.
async fn send(mut sink: SplitSink<WebSocket, Message>, mut messages: mpsc::Receiver<Bytes>) {
    while let Some(message) = messages.recv().await {
        if sink.send(Message::Binary(message)).await.is_err() {
            return;
        }
    }
    // A client that has gone needs no farewell.
    let _ = sink.close().await;
}

/// Distributes messages until the client leaves.
async fn receive(mut stream: SplitStream<WebSocket>, ports: Vec<mpsc::Sender<Bytes>>) {
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
                let Pod { name, uid, .. } = &self.pod;
                let port = self.port;
                let text =
                    format!("error forwarding port {port} to pod {name}, uid {uid}: {error}");
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

/// Carries what the client sends until it leaves.
async fn to_pod(mut pod: OwnedWriteHalf, mut client: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = client.recv().await {
        if pod.write_all(&bytes).await.is_err() {
            // What the pod had to say is still read; what comes now is for nobody.
            while client.recv().await.is_some() {}
            return;
        }
    }
    // It may have closed already.
    let _ = pod.shutdown().await;
}

fn framed(channel: u8, bytes: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(bytes.len() + 1);
    message.put_u8(channel);
    message.put_slice(bytes);
    message.freeze()
}
