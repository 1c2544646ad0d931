//! Calls a webhook: finds where it is, verifies who answers, posts and reads.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::apiserver::object;
use crate::apiserver::server::Core;
use crate::apiserver::store::Key;

/// The largest answer that is read.
const MAX_ANSWER: usize = 3 * 1024 * 1024;

/// Where a webhook is.
struct Place {
    /// The name that its certificate must be for.
    host: String,
    /// What is called, as messages show it.
    url: String,
    addresses: Vec<SocketAddr>,
}

/// Posts a review and answers the body of the response.
pub(super) async fn post(
    core: &Core,
    config: &Value,
    body: String,
    timeout: Duration,
) -> Result<Bytes, String> {
    let place = find(core, config, timeout).await?;
    let failed = |error: String| format!("failed to call webhook: Post {:?}: {error}", place.url);
    let tls = client_config(config).map_err(failed)?;
    match tokio::time::timeout(timeout, Box::pin(exchange(&place, tls, body))).await {
        Ok(result) => result.map_err(failed),
        Err(_) => Err(failed("context deadline exceeded".into())),
    }
}

async fn find(core: &Core, config: &Value, timeout: Duration) -> Result<Place, String> {
    let seconds = timeout.as_secs();
    if let Some(service) = config.get("service").filter(|one| one.is_object()) {
        let text = |key| object::text(service, &[key]);
        let (name, namespace) = (text("name"), text("namespace"));
        let port = service["port"].as_u64().unwrap_or(443);
        let path = text("path").trim_start_matches('/');
        let host = format!("{name}.{namespace}.svc");
        return Ok(Place {
            url: format!("https://{host}:{port}/{path}?timeout={seconds}s"),
            addresses: endpoints(core, namespace, name, port)?,
            host,
        });
    }
    let url = object::text(config, &["url"]);
    let uri: Uri = url
        .parse()
        .map_err(|error| format!("the url {url:?} is wrong: {error}"))?;
    let host = uri
        .host()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_owned();
    if uri.scheme_str() != Some("https") || host.is_empty() {
        return Err(format!("the url {url:?} must be https and name a host"));
    }
    let port = uri.port_u16().unwrap_or(443);
    let addresses = tokio::net::lookup_host((host.as_str(), port))
        .await
        .map_err(|error| format!("failed to call webhook: Post {url:?}: {error}"))?
        .collect();
    let mark = if uri.query().is_some() { '&' } else { '?' };
    Ok(Place {
        url: format!("{url}{mark}timeout={seconds}s"),
        host,
        addresses,
    })
}

/// The ready endpoints of a service's port.
fn endpoints(
    core: &Core,
    namespace: &str,
    name: &str,
    port: u64,
) -> Result<Vec<SocketAddr>, String> {
    let service = core
        .store
        .get("services", &Key::new(namespace, name))
        .ok_or_else(|| format!("failed to call webhook: service {name:?} not found"))?;
    let own = object::items(&service, &["spec", "ports"])
        .iter()
        .find(|one| one["port"] == port)
        .ok_or_else(|| {
            format!("failed to call webhook: no service port {port} found for service {name:?}")
        })?;
    let port_name = object::text(own, &["name"]);
    let mut found = Vec::new();
    for slice in core
        .store
        .list("endpointslices.discovery.k8s.io", namespace, None)
        .0
    {
        let label = ["metadata", "labels", "kubernetes.io/service-name"];
        if object::text(&slice, &label) != name {
            continue;
        }
        let ports = object::items(&slice, &["ports"]);
        let target = ports
            .iter()
            .find(|one| object::text(one, &["name"]) == port_name);
        let target = target.and_then(|one| u16::try_from(one["port"].as_u64()?).ok());
        let Some(target) = target else {
            continue;
        };
        for endpoint in object::items(&slice, &["endpoints"]) {
            if endpoint["conditions"]["ready"] == false {
                continue;
            }
            let addresses = object::items(endpoint, &["addresses"]).iter();
            let addresses = addresses.filter_map(|one| one.as_str()?.parse::<IpAddr>().ok());
            found.extend(addresses.map(|address| SocketAddr::new(address, target)));
        }
    }
    if found.is_empty() {
        return Err(format!(
            "failed to call webhook: no endpoints available for service {name:?}"
        ));
    }
    Ok(found)
}

fn client_config(config: &Value) -> Result<Arc<ClientConfig>, String> {
    let bundle = STANDARD
        .decode(object::text(config, &["caBundle"]))
        .map_err(|error| format!("the caBundle is not base64: {error}"))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bundle) {
        let certificate =
            certificate.map_err(|error| format!("the caBundle cannot be read: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("the caBundle holds an unusable certificate: {error}"))?;
    }
    if roots.is_empty() {
        return Err("tls: failed to verify certificate: the webhook has no caBundle".into());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

async fn exchange(place: &Place, tls: Arc<ClientConfig>, body: String) -> Result<Bytes, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = connect(&place.addresses).await?;
    let name = ServerName::try_from(place.host.clone()).map_err(|error| text(&error))?;
    let stream = TlsConnector::from(tls)
        .connect(name, stream)
        .await
        .map_err(|error| format!("tls: {error}"))?;
    let (mut sender, connection) =
        Box::pin(hyper::client::conn::http1::handshake(TokioIo::new(stream)))
            .await
            .map_err(|error| text(&error))?;
    let uri: Uri = place.url.parse().map_err(|error| text(&error))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::HOST, &place.host)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "kube-apiserver-admission")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| text(&error))?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| text(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER);
        let body = body
            .collect()
            .await
            .map_err(|error| text(&error))?
            .to_bytes();
        if !status.is_success() {
            let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
            return Err(format!("the server answered {status}: {shown}"));
        }
        Ok(body)
    };
    // The connection ends with the exchange: it is driven beside it, never left behind.
    tokio::pin!(exchange, connection);
    let mut is_open = true;
    loop {
        tokio::select! {
            result = &mut exchange => return result,
            _ = &mut connection, if is_open => is_open = false,
        }
    }
}

/// Connects to the first endpoint that answers.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, String> {
    let mut last = "no address".to_owned();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = format!("dial tcp {address}: connect: {error}"),
        }
    }
    Err(last)
}
