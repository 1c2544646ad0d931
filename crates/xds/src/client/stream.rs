//! One stream to a control plane: dialling, the gRPC call, and the requests on it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper_util::rt::TokioIo;
use prost::Message;
use prost_types::Any;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Endpoint, Uri};

use super::tls::Loaded;
use super::{PrepareSocket, Settings};
use crate::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, METHOD, Rejection, Rejections, RpcStatus,
};
use crate::{Error, Kind};

/// The largest response: a mesh of 100,000 services in its first one.
const MAX_RESPONSE: usize = 256 << 20;

/// Requests that may wait for the socket; more wait in the outbox.
const QUEUE: usize = 16;

/// gRPC's code for a bad argument, which is what xDS servers expect in a NACK.
const INVALID_ARGUMENT: i32 = 3;

/// Tells the streams of this process apart, so that no answer goes to the wrong one.
static NEXT_STREAM: AtomicU64 = AtomicU64::new(1);

/// An attempt to open a stream.
pub(super) type Connecting = Pin<Box<dyn Future<Output = Result<Open, String>> + Send>>;

/// An open stream.
pub(super) struct Open {
    pub(super) id: u64,
    pub(super) requests: mpsc::Sender<DeltaDiscoveryRequest>,
    pub(super) responses: tonic::Streaming<DeltaDiscoveryResponse>,
}

/// Checks the address and prepares its endpoint.
pub(super) fn endpoint(settings: &Settings) -> Result<Endpoint, Error> {
    let fail = |why: String| Error::Address {
        address: settings.address.clone(),
        why,
    };
    let uri: Uri = format!("http://{}", settings.address)
        .parse()
        .map_err(|error| fail(format!("{error}")))?;
    if uri.host().is_none_or(str::is_empty) || uri.port_u16().is_none() || uri.path() != "/" {
        return Err(fail("it must be `host:port`".into()));
    }
    let mut endpoint = Endpoint::from(uri);
    if settings.tls.is_some() {
        let origin = format!("https://{}", settings.address).parse();
        endpoint = endpoint.origin(origin.map_err(|error| fail(format!("{error}")))?);
    }
    Ok(endpoint
        .connect_timeout(settings.connect_timeout)
        .http2_keep_alive_interval(settings.keepalive)
        .keep_alive_timeout(settings.keepalive)
        .keep_alive_while_idle(true))
}

/// Dials, opens the stream and sends its first requests.
pub(super) fn connect(
    endpoint: Endpoint,
    settings: Settings,
    first: Vec<DeltaDiscoveryRequest>,
) -> Connecting {
    Box::pin(async move {
        let tls = match &settings.tls {
            None => None,
            Some(tls) => Some(Arc::new(tls.load(host(endpoint.uri())).await?)),
        };
        let (prepare, secured) = (settings.prepare_socket, tls.clone());
        let connector = tower::service_fn(move |uri: Uri| {
            Box::pin(open(uri, prepare.clone(), secured.clone()))
        });
        let channel = Box::pin(endpoint.connect_with_connector(connector))
            .await
            .map_err(|error| with_causes(&error))?;
        let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_RESPONSE);
        let (requests, queue) = mpsc::channel(QUEUE.max(first.len()));
        for request in first {
            // The channel has room for all of them.
            let _ = requests.try_send(request);
        }
        grpc.ready().await.map_err(|error| with_causes(&error))?;
        let codec =
            tonic_prost::ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::default();
        let mut request = tonic::Request::new(ReceiverStream::new(queue));
        if let Some(tls) = &tls {
            let authorization = tls.authorization.clone();
            request
                .metadata_mut()
                .insert("authorization", authorization);
        }
        let path = PathAndQuery::from_static(METHOD);
        let response = grpc
            .streaming(request, path, codec)
            .await
            .map_err(|status| describe(&status))?;
        Ok(Open {
            id: NEXT_STREAM.fetch_add(1, Ordering::Relaxed),
            requests,
            responses: response.into_inner(),
        })
    })
}

/// The host of an address, without the brackets of IPv6.
fn host(uri: &Uri) -> &str {
    let host = uri.host().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']')
}

/// A connection, with or without TLS.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Connects, and speaks TLS if that is asked for.
async fn open(
    uri: Uri,
    prepare: Option<PrepareSocket>,
    tls: Option<Arc<Loaded>>,
) -> io::Result<TokioIo<Box<dyn Io>>> {
    let stream = dial(&uri, prepare).await?;
    let stream: Box<dyn Io> = match tls {
        None => Box::new(stream),
        Some(tls) => Box::new(tls.handshake(stream).await?),
    };
    Ok(TokioIo::new(stream))
}

/// Connects to the first address of the name that answers.
async fn dial(uri: &Uri, prepare: Option<PrepareSocket>) -> io::Result<TcpStream> {
    let host = host(uri);
    let port = uri.port_u16().unwrap_or_default();
    let mut last = io::Error::new(
        io::ErrorKind::NotFound,
        format!("the name {host} has no address"),
    );
    for address in tokio::net::lookup_host((host, port)).await? {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        if let Some(prepare) = &prepare {
            prepare(&socket)?;
        }
        socket.set_nodelay(true)?;
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
        }
    }
    Err(last)
}

/// The ACK or NACK of a response.
pub(super) fn answer(kind: Kind, nonce: String, rejected: Vec<Rejection>) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: kind.type_url().to_owned(),
        response_nonce: nonce,
        error_detail: (!rejected.is_empty()).then(|| refusal(rejected)),
        ..DeltaDiscoveryRequest::default()
    }
}

fn refusal(rejected: Vec<Rejection>) -> RpcStatus {
    let lines: Vec<String> = rejected
        .iter()
        .map(|bad| format!("{}: {}", bad.name, bad.error))
        .collect();
    RpcStatus {
        code: INVALID_ARGUMENT,
        message: lines.join("; "),
        details: vec![Any {
            type_url: Rejections::TYPE_URL.to_owned(),
            value: Rejections { rejected }.encode_to_vec(),
        }],
    }
}

/// A gRPC status for people.
pub(super) fn describe(status: &tonic::Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => format!("{:?}: {}", status.code(), with_causes(source)),
        None => format!("{:?}: {}", status.code(), status.message()),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
