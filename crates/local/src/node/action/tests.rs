use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use ::http::{HeaderMap, HeaderValue, Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::HTTPGetAction;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{grpc, http};

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn action(path: &str, scheme: &str) -> HTTPGetAction {
    serde_json::from_value(json!({ "path": path, "port": 1, "scheme": scheme,
        "httpHeaders": [{ "name": "Host", "value": "web.example" }, { "name": "X-A", "value": "b" }] }))
    .unwrap()
}

/// Answers 200 to whoever asks as a probe is to ask, for `/ok`, and 500 to everything else.
async fn serve_http(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let answer = service_fn(async |request: Request<Incoming>| {
        let header = |name: &str| {
            request
                .headers()
                .get(name)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(
            (header("host").as_str(), header("x-a").as_str()),
            ("web.example", "b")
        );
        assert!(header("user-agent").starts_with("kube-probe/"));
        let status = if request.uri().path() == "/ok" {
            200
        } else {
            500
        };
        let body = Full::new(Bytes::from("what is wrong"));
        Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
    });
    let io = TokioIo::new(stream);
    hyper::server::conn::http1::Builder::new()
        .serve_connection(io, answer)
        .await
        .unwrap();
}

#[tokio::test]
async fn http_is_healthy_by_its_status() {
    for (path, healthy) in [("/ok", true), ("ok", true), ("/bad", false)] {
        let (listener, address) = listen().await;
        let serve = async { serve_http(listener.accept().await.unwrap().0).await };
        let action = action(path, "HTTP");
        let (answer, ()) = tokio::join!(http::get(address, &action), serve);
        assert_eq!(answer.is_ok(), healthy, "{path}: {answer:?}");
        if let Err(why) = answer {
            assert_eq!(why, "HTTP probe failed with statuscode: 500 what is wrong");
        }
    }
}

#[tokio::test]
async fn https_takes_any_certificate() {
    let made = rcgen::generate_simple_self_signed(["nobody.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let (listener, address) = listen().await;
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        serve_http(
            TlsAcceptor::from(Arc::new(config))
                .accept(stream)
                .await
                .unwrap(),
        )
        .await;
    };
    let action = action("/ok", "HTTPS");
    let (answer, ()) = tokio::join!(http::get(address, &action), serve);
    answer.unwrap();
}

#[tokio::test]
async fn a_closed_port_is_not_healthy() {
    let (listener, address) = listen().await;
    drop(listener);
    let why = http::get(address, &action("/", "HTTP")).await.unwrap_err();
    assert!(why.contains(&format!("http://{address}/")), "{why}");
    assert!(why.contains("refused"), "{why}");
}

/// Answers one health check with a status, or with a gRPC error.
async fn serve_grpc(stream: TcpStream, status: u8, error: &'static str) {
    let answer = service_fn(move |request: Request<Incoming>| async move {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        let question = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&question[5..], b"\x0a\x04shop");
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static(error));
        let frames = [
            Frame::data(Bytes::from(vec![0, 0, 0, 0, 2, 8, status])),
            Frame::trailers(trailers),
        ];
        let frames = futures::stream::iter(frames.map(Ok::<_, Infallible>));
        let response = Response::builder().header("content-type", "application/grpc");
        Ok::<_, Infallible>(response.body(StreamBody::new(frames)).unwrap())
    });
    let io = TokioIo::new(stream);
    // The probe hangs up when it has its answer.
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(io, answer)
        .await;
}

#[tokio::test]
async fn grpc_is_healthy_if_the_service_serves() {
    for (status, error, healthy) in [(1, "0", true), (2, "0", false), (1, "12", false)] {
        let (listener, address) = listen().await;
        let serve = async { serve_grpc(listener.accept().await.unwrap().0, status, error).await };
        let (answer, ()) = tokio::join!(grpc::check(address, "shop"), serve);
        assert_eq!(answer.is_ok(), healthy, "{status} {error}: {answer:?}");
    }
}
