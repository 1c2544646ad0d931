//! The `proxy` subresource of pods: an HTTP request passed on to a port of the pod.
//!
//! Services and nodes have none yet; clients are told so. Upgrades are not passed on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::apiserver::body::Body;
use crate::apiserver::call::{Call, Verb};
use crate::apiserver::object;
use crate::apiserver::server::Core;
use crate::apiserver::status::Failure;
use crate::apiserver::store::Key;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The whole exchange: what is asked of pods this way are pages and metrics, not streams.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Headers that are for this server alone: credentials above all.
const KEPT_BACK: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::HOST,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
];

/// Passes a call on to the pod that it names, as `[scheme:]pod[:port]`.
pub(super) async fn pass(core: &Arc<Core>, call: &Call) -> Result<Response<Body>, Failure> {
    let parts: Vec<&str> = call.name.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme, name, port] => (*scheme, *name, *port),
        _ => {
            return Err(Failure::bad_request(format!(
                "invalid pod request {:?}",
                call.name
            )));
        }
    };
    if !matches!(scheme, "" | "http") {
        return Err(Failure::not_implemented(format!(
            "the scheme {scheme:?} of a proxied pod is not supported yet"
        )));
    }
    let key = Key::new(&call.namespace, name);
    let pod = core
        .store
        .get(&call.resource.table, &key)
        .ok_or_else(|| call.resource.not_found(name))?;
    let address: IpAddr = object::text(&pod, &["status", "podIP"])
        .parse()
        .map_err(|_| Failure::bad_request("address not allowed: the pod has no address"))?;
    let port = port_of(&pod, port)?;
    let exchange = tokio::time::timeout(TIMEOUT, exchange(call, address, port));
    let failed = |why: String| {
        Failure::service_unavailable(format!("error trying to reach pod {name:?}: {why}"))
    };
    match exchange.await {
        Ok(result) => result.map_err(failed),
        Err(_) => Err(failed(format!("no answer within {} s", TIMEOUT.as_secs()))),
    }
}

/// A port by number or by the name that a container gives it; the first port if none is named.
fn port_of(pod: &serde_json::Value, port: &str) -> Result<u16, Failure> {
    if let Ok(number) = port.parse() {
        return Ok(number);
    }
    let containers = object::items(pod, &["spec", "containers"]);
    let ports = containers
        .iter()
        .flat_map(|container| object::items(container, &["ports"]));
    let mut found = ports.filter(|one| port.is_empty() || object::text(one, &["name"]) == port);
    let number = found.find_map(|one| one["containerPort"].as_u64());
    match number
        .or_else(|| port.is_empty().then_some(80))
        .and_then(|number| u16::try_from(number).ok())
    {
        Some(number) => Ok(number),
        None => Err(Failure::bad_request(format!(
            "no port {port:?} found for the pod"
        ))),
    }
}

async fn exchange(call: &Call, address: IpAddr, port: u16) -> Result<Response<Body>, String> {
    let dial = TcpStream::connect((address, port));
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, dial)
        .await
        .map_err(|_| "connection timed out".to_owned())?
        .map_err(|error| format!("dial tcp {address}:{port}: {error}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let query = call.query.to_text();
    let mark = if query.is_empty() { "" } else { "?" };
    let mut request = Request::builder()
        .method(method(call.verb))
        .uri(format!("/{}{mark}{query}", call.tail))
        .header(header::HOST, format!("{address}:{port}"))
        .body(Full::new(call.body.clone()))
        .map_err(|error| error.to_string())?;
    copy(&call.headers, request.headers_mut());
    tokio::spawn(async move {
        // An error of the connection is an error of the exchange, which is told.
        connection.await.ok();
    });
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())?;
    let (mut head, body) = response.into_parts();
    let answered = std::mem::take(&mut head.headers);
    copy(&answered, &mut head.headers);
    let body = body
        .collect()
        .await
        .map_err(|error| error.to_string())?
        .to_bytes();
    Ok(Response::from_parts(
        head,
        crate::apiserver::body::full(body),
    ))
}

fn copy(from: &HeaderMap, to: &mut HeaderMap) {
    for (name, value) in from {
        if !KEPT_BACK.contains(name) {
            to.append(name, value.clone());
        }
    }
}

fn method(verb: Verb) -> Method {
    match verb {
        Verb::Get | Verb::List | Verb::Watch => Method::GET,
        Verb::Create => Method::POST,
        Verb::Update => Method::PUT,
        Verb::Patch => Method::PATCH,
        Verb::Delete | Verb::DeleteCollection => Method::DELETE,
    }
}
