//! Admission webhooks, served by a small HTTPS server in the test.

use std::convert::Infallible;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::{Api, Client, ResourceExt};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::watching::{config_map, server};

/// A webhook that answers with what `answer` makes of the request.
struct Webhook {
    port: u16,
    bundle: String,
}

impl Webhook {
    async fn serve(answer: fn(&Value) -> Value) -> Self {
        let names = vec!["hook.default.svc".to_owned(), "localhost".to_owned()];
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(names)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(move |request: http::Request<Incoming>| async move {
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let review: Value = serde_json::from_slice(&body).unwrap();
                        let mut response = answer(&review["request"]);
                        response["uid"] = review["request"]["uid"].clone();
                        let review = json!({"apiVersion": "admission.k8s.io/v1",
                            "kind": "AdmissionReview", "response": response});
                        let body = Full::new(Bytes::from(review.to_string()));
                        Ok::<_, Infallible>(http::Response::new(body))
                    });
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await
                        .ok();
                });
            }
        });
        Self {
            port,
            bundle: STANDARD.encode(certificate.pem()),
        }
    }

    /// The configuration of a client that finds it by service.
    fn by_service(&self) -> Value {
        json!({"service": {"name": "hook", "namespace": "default", "path": "/x"},
            "caBundle": self.bundle})
    }

    fn by_url(&self) -> Value {
        json!({"url": format!("https://localhost:{}/x", self.port), "caBundle": self.bundle})
    }
}

async fn create(client: &Client, namespace: &str, kind: &str, version: &str, value: Value) {
    let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
    let gvk = kube::core::GroupVersionKind::gvk(group, version, kind);
    let resource = ApiResource::from_gvk(&gvk);
    let object: DynamicObject = serde_json::from_value(value).unwrap();
    let api: Api<DynamicObject> = match namespace {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    api.create(&PostParams::default(), &object).await.unwrap();
}

/// Registers a webhook for config maps.
async fn register(client: &Client, kind: &str, config: Value, changes: Value) {
    let mut webhook = json!({
        "name": "hook.lateen.dev",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": config,
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
            "operations": ["*"]}],
    });
    json_patch::merge(&mut webhook, &changes);
    let object = json!({"metadata": {"name": "hook"}, "webhooks": [webhook]});
    create(client, "", kind, "admissionregistration.k8s.io/v1", object).await;
}

const MUTATING: &str = "MutatingWebhookConfiguration";
const VALIDATING: &str = "ValidatingWebhookConfiguration";

fn maps(client: &Client) -> Api<ConfigMap> {
    Api::default_namespaced(client.clone())
}

async fn put(client: &Client, name: &str, label: &str) -> Result<ConfigMap, String> {
    let map = config_map(name, label);
    let result = maps(client).create(&PostParams::default(), &map).await;
    result.map_err(|error| match error {
        kube::Error::Api(status) => format!("{}: {}", status.code, status.message),
        other => other.to_string(),
    })
}

fn add_label(request: &Value) -> Value {
    let value = format!(
        "{}-{}",
        request["operation"].as_str().unwrap(),
        request["name"].as_str().unwrap()
    );
    let patch = json!([{"op": "add", "path": "/metadata/labels/hook", "value": value}]);
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch.to_string()),
        "warnings": ["mind the gap"]})
}

fn deny(_: &Value) -> Value {
    json!({"allowed": false, "status": {"message": "not today", "code": 403}})
}

#[tokio::test]
async fn a_webhook_behind_a_service_changes_objects() {
    let (_server, client) = server();
    let hook = Webhook::serve(add_label).await;
    let service = json!({"metadata": {"name": "hook"}, "spec": {"ports": [{"port": 443}]}});
    create(&client, "default", "Service", "v1", service).await;
    let slice = json!({"metadata": {"name": "hook-1",
            "labels": {"kubernetes.io/service-name": "hook"}},
        "addressType": "IPv4", "ports": [{"port": hook.port}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}]});
    create(
        &client,
        "default",
        "EndpointSlice",
        "discovery.k8s.io/v1",
        slice,
    )
    .await;
    register(&client, MUTATING, hook.by_service(), json!({})).await;
    let map = put(&client, "a", "x").await.unwrap();
    assert_eq!(map.labels()["hook"], "CREATE-a");
}

#[tokio::test]
async fn a_webhook_denies_with_its_own_words() {
    let (_server, client) = server();
    let hook = Webhook::serve(deny).await;
    put(&client, "before", "x").await.unwrap();
    register(&client, VALIDATING, hook.by_url(), json!({})).await;
    let error = put(&client, "a", "x").await.unwrap_err();
    assert_eq!(
        error,
        "403: admission webhook \"hook.lateen.dev\" denied the request: not today"
    );
    let error = maps(&client)
        .delete("before", &DeleteParams::default())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("not today"), "{error}");
}

#[tokio::test]
async fn selectors_and_operations_decide_what_a_webhook_sees() {
    let (_server, client) = server();
    let hook = Webhook::serve(deny).await;
    let changes = json!({
        "objectSelector": {"matchLabels": {"app": "x"}},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
            "operations": ["CREATE"]}],
    });
    register(&client, VALIDATING, hook.by_url(), changes).await;
    put(&client, "other-label", "y").await.unwrap();
    assert!(put(&client, "a", "x").await.is_err());
    let elsewhere: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-public");
    elsewhere
        .create(&PostParams::default(), &config_map("a", "x"))
        .await
        .unwrap();
    maps(&client)
        .delete("other-label", &DeleteParams::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_webhook_that_fails_refuses_or_is_ignored_by_its_policy() {
    let (_server, client) = server();
    let hook = Webhook::serve(deny).await;
    // Nothing serves this service.
    register(&client, VALIDATING, hook.by_service(), json!({})).await;
    let error = put(&client, "a", "x").await.unwrap_err();
    assert_eq!(
        error,
        "500: Internal error occurred: failed calling webhook \"hook.lateen.dev\": failed to call \
         webhook: service \"hook\" not found"
    );
    let (_server, client) = server();
    let ignore = json!({"failurePolicy": "Ignore"});
    register(&client, VALIDATING, hook.by_service(), ignore).await;
    put(&client, "a", "x").await.unwrap();
}

#[tokio::test]
async fn a_webhook_with_an_unknown_certificate_is_not_believed() {
    let (_server, client) = server();
    let (hook, other) = (
        Webhook::serve(add_label).await,
        Webhook::serve(add_label).await,
    );
    let mut config = hook.by_url();
    config["caBundle"] = other.bundle.into();
    register(&client, MUTATING, config, json!({})).await;
    let error = put(&client, "a", "x").await.unwrap_err();
    assert!(
        error.contains("failed calling webhook") && error.contains("tls:"),
        "{error}"
    );
}

#[tokio::test]
async fn a_dry_run_is_refused_where_a_webhook_has_side_effects() {
    let (_server, client) = server();
    let hook = Webhook::serve(add_label).await;
    register(
        &client,
        MUTATING,
        hook.by_url(),
        json!({"sideEffects": "Some"}),
    )
    .await;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let error = maps(&client)
        .create(&params, &config_map("a", "x"))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("does not support dry run"),
        "{error}"
    );
}
