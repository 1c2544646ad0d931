//! The `portforward` subresource of pods: connections to ports inside of a pod, carried over the
//! connection of the call.
//!
//! | Client | Upgrade | Subprotocol | |
//! |---|---|---|---|
//! | `kube` | WebSocket | `v4.channel.k8s.io` | [`channels`] |
//! | kubectl up to 1.30 | SPDY/3.1 | `portforward.k8s.io` | [`streams`] |
//! | kubectl from 1.31 on | WebSocket | `SPDY/3.1+portforward.k8s.io` | [`streams`], in messages |

mod channels;
mod streams;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::SinkExt as _;
use futures::stream::{SplitSink, SplitStream};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use crate::apiserver::body::{self, Body};
use crate::apiserver::call::Call;
use crate::apiserver::object;
use crate::apiserver::pod_dialer::PodDialer;
use crate::apiserver::server::Core;
use crate::apiserver::status::Failure;
use crate::apiserver::websocket::{self, Handshake, WebSocket, has_token};

/// The subprotocol of [`channels`].
const CHANNELS: &str = "v4.channel.k8s.io";
/// The subprotocol of [`streams`] in messages.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// What a connection is upgraded to for [`streams`].
const SPDY: &str = "SPDY/3.1";
/// The version of what is done with SPDY's streams, and the header that says it.
const STREAMS: &str = "portforward.k8s.io";
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
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

/// How the client wants it.
enum Wanted {
    Channels(Handshake, Vec<u16>),
    Tunnel(Handshake),
    Streams,
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
    let wanted = wanted(call)?;
    let upgrade = call
        .upgrade
        .take()
        .ok_or_else(|| Failure::bad_request("the connection of this request cannot be upgraded"))?;
    let pod = Pod {
        name: call.name.clone(),
        uid: object::uid(&found).to_owned(),
        dialer,
    };
    let failed = |error: hyper::Error| tracing::debug!(%error, "a port-forward did not begin");
    Ok(match wanted {
        Wanted::Channels(handshake, ports) => {
            tokio::spawn(async move {
                match websocket::accept(upgrade).await {
                    Ok(socket) => channels::carry(socket, &pod, &ports).await,
                    Err(error) => failed(error),
                }
            });
            handshake.response()
        }
        Wanted::Tunnel(handshake) => {
            tokio::spawn(async move {
                match websocket::accept(upgrade).await {
                    Ok(socket) => streams::carry_in_messages(socket, pod).await,
                    Err(error) => failed(error),
                }
            });
            handshake.response()
        }
        Wanted::Streams => {
            tokio::spawn(async move {
                match upgrade.await {
                    Ok(upgraded) => streams::carry(TokioIo::new(upgraded), pod).await,
                    Err(error) => failed(error),
                }
            });
            switching_to_spdy()
        }
    })
}

fn wanted(call: &Call) -> Result<Wanted, Failure> {
    if has_token(&call.headers, &header::UPGRADE, SPDY) {
        if !has_token(&call.headers, &STREAM_PROTOCOL, STREAMS) {
            return Err(Failure::bad_request(format!(
                "port-forward over SPDY needs the header {STREAM_PROTOCOL} with {STREAMS}"
            )));
        }
        return Ok(Wanted::Streams);
    }
    let handshake = Handshake::read(&call.headers, &[TUNNEL, CHANNELS], "port-forward")?;
    Ok(match handshake.protocol() {
        // It names its ports with its streams.
        TUNNEL => Wanted::Tunnel(handshake),
        _ => Wanted::Channels(handshake, channels::ports(call)?),
    })
}

fn switching_to_spdy() -> Response<Body> {
    let mut response = Response::new(body::full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(SPDY));
    headers.insert(STREAM_PROTOCOL, HeaderValue::from_static(STREAMS));
    response
}

/// Sends messages until there will be none.
async fn send(sink: &mut SplitSink<WebSocket, Message>, mut messages: mpsc::Receiver<Bytes>) {
    while let Some(message) = messages.recv().await {
        if sink.send(Message::Binary(message)).await.is_err() {
            return;
        }
    }
}

/// Closes a WebSocket that is done.
async fn end(sink: SplitSink<WebSocket, Message>, stream: SplitStream<WebSocket>) {
    // The halves are of one WebSocket.
    if let Ok(socket) = sink.reunite(stream) {
        websocket::end(socket).await;
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

// === impl Pod ===

impl Pod {
    /// What a client is told whose port cannot be dialled.
    fn failure(&self, port: u16, error: &io::Error) -> String {
        let Self { name, uid, .. } = self;
        format!("error forwarding port {port} to pod {name}, uid {uid}: {error}")
    }
}
