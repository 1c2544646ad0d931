//! The webhooks as the API server calls them: over TLS, with admission reviews.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::authority::{Authority, Served, server_config};

use super::*;

struct Server {
    address: SocketAddr,
    authority: Authority,
    webhook: Arc<Webhook>,
    /// Ends the server when it is dropped.
    _stop: watch::Sender<bool>,
}

impl Server {
    async fn start() -> Self {
        let settings = Settings::default();
        let state = Arc::new(State::new(&settings));
        let webhook = Arc::new(Webhook::new(settings.clone(), state));
        let authority = Authority::make("cluster.local").unwrap();
        let served = Arc::new(Served::default());
        served.set(authority.issue(&settings).unwrap());
        let acceptor = TlsAcceptor::from(Arc::new(server_config(served).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let handler = webhook.handler();
        tokio::spawn(crate::http::serve(
            listener,
            Some(acceptor),
            handler,
            stopped,
        ));
        Self {
            address,
            authority,
            webhook,
            _stop: stop,
        }
    }

    /// Calls as the API server does: it knows only the `caBundle`, and the Service's name.
    async fn call(&self, path: &str, body: Vec<u8>) -> (http::StatusCode, Value) {
        let mut roots = RootCertStore::empty();
        let pem = self.authority.certificate.as_bytes();
        roots
            .add(CertificateDer::from_pem_slice(pem).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("istiod.istio-system.svc").unwrap();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap();
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = Box::pin(handshake).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post(path)
            .header("host", "istiod.istio-system.svc")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn review(&self, path: &str, object: &Value) -> Value {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "u-1",
                "kind": { "group": "", "version": "v1", "kind": object["kind"] },
                "namespace": "default",
                "operation": "CREATE",
                "object": object,
            }
        });
        let call = self.call(path, review.to_string().into_bytes());
        let (status, answer) = Box::pin(call).await;
        assert_eq!(status, http::StatusCode::OK);
        assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(answer["response"]["uid"], "u-1");
        answer["response"].clone()
    }
}

fn pod() -> Value {
    json!({
        "kind": "Pod", "metadata": { "name": "a" },
        "spec": { "containers": [{ "name": "app", "image": "x" }] },
    })
}

fn virtual_service(spec: &Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": { "name": "reviews", "namespace": "default" },
        "spec": spec,
    })
}

#[tokio::test]
async fn a_pod_is_answered_with_a_patch_that_makes_it_an_injected_one() {
    let server = Server::start().await;
    let answer = Box::pin(server.review("/inject", &pod())).await;
    assert_eq!(answer["allowed"], true);
    assert_eq!(answer["patchType"], "JSONPatch");
    let patch = BASE64.decode(answer["patch"].as_str().unwrap()).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    let mut patched = pod();
    json_patch::patch(&mut patched, &patch).unwrap();
    let Outcome::Injected { pod: expected, .. } =
        inject::inject(&pod(), "default", &server.webhook.template()).unwrap()
    else {
        panic!("it is injected");
    };
    assert_eq!(patched, expected);
}

#[tokio::test]
async fn a_pod_that_cannot_be_injected_is_refused_with_the_reason() {
    let server = Server::start().await;
    let mut pod = pod();
    pod["metadata"]["annotations"]["proxy.istio.io/config"] = "concurrency: x".into();
    let answer = Box::pin(server.review("/inject/cluster/a/net/b", &pod)).await;
    assert_eq!(answer["allowed"], false);
    let message = answer["status"]["message"].as_str().unwrap();
    assert!(
        message.contains("pod default/a") && message.contains("concurrency"),
        "{message}"
    );
}

#[tokio::test]
async fn an_invalid_object_is_refused_with_object_field_and_reason() {
    let server = Server::start().await;
    let bad = virtual_service(&json!({ "hosts": ["reviews"], "http": [{ "rout": [] }] }));
    let answer = Box::pin(server.review("/validate", &bad)).await;
    assert_eq!(answer["allowed"], false);
    assert_eq!(answer["status"]["code"], 422);
    let message = answer["status"]["message"].as_str().unwrap();
    assert!(
        message.contains("VirtualService/default/reviews"),
        "{message}"
    );
    assert!(message.contains("spec.http[0]"), "{message}");
}

#[tokio::test]
async fn a_valid_object_is_allowed_and_its_doubts_are_warnings() {
    let server = Server::start().await;
    let good = virtual_service(&json!({ "hosts": ["reviews"], "http": [
        { "route": [{ "destination": { "host": "reviews" } }], "timeout": "5s" },
        { "match": [{ "uri": { "prefix": "/never" } }],
          "route": [{ "destination": { "host": "reviews" } }] },
    ] }));
    let answer = Box::pin(server.review("/validate", &good)).await;
    assert_eq!(answer["allowed"], true, "{answer}");
    assert!(
        !answer["warnings"].as_array().unwrap().is_empty(),
        "{answer}"
    );
}

#[tokio::test]
async fn what_is_no_review_is_answered_as_a_bad_request() {
    let server = Server::start().await;
    let (status, _) = Box::pin(server.call("/inject", b"{}".to_vec())).await;
    assert_eq!(status, http::StatusCode::BAD_REQUEST);
    let (status, _) = Box::pin(server.call("/else", b"{}".to_vec())).await;
    assert_eq!(status, http::StatusCode::NOT_FOUND);
    assert_eq!(server.webhook.counters.malformed.load(Ordering::Relaxed), 1);
}
