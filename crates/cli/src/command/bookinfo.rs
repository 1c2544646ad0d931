//! The Bookinfo sample, as `lateen up --bookinfo` deploys it: the files of `samples/bookinfo`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::install::wait_ready;
use crate::apply::Applier;
use crate::progress::Step;

const NAMESPACE: &str = "default";
const WORKLOADS: &str = include_str!("../../../../samples/bookinfo/platform/kube/bookinfo.yaml");
const GATEWAY: &str = include_str!("../../../../samples/bookinfo/networking/bookinfo-gateway.yaml");
const DEPLOYMENTS: [&str; 6] = [
    "details-v1",
    "productpage-v1",
    "ratings-v1",
    "reviews-v1",
    "reviews-v2",
    "reviews-v3",
];

/// Deploys the sample with a sidecar in each pod, and waits until its page answers at `ingress`.
pub(crate) async fn deploy(
    client: Client,
    ingress: SocketAddr,
    timeout: Duration,
) -> anyhow::Result<()> {
    let step = Step::begin("Deploying Bookinfo");
    let mut applier = Applier::new(client.clone());
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": NAMESPACE, "labels": { "istio-injection": "enabled" } }
    });
    applier.apply(&namespace, NAMESPACE).await?;
    for file in [WORKLOADS, GATEWAY] {
        for document in lateen_api::yaml::documents(file)? {
            applier.apply(&document.value, NAMESPACE).await?;
        }
    }
    step.done("Bookinfo deployed");
    wait_ready(&client, NAMESPACE, &DEPLOYMENTS, timeout).await?;
    let step = Step::begin("Waiting for the product page");
    match wait_for_page(ingress, timeout).await {
        Ok(()) => {
            step.done("The product page answers");
            Ok(())
        }
        Err(error) => {
            step.failed("Waiting for the product page");
            Err(error)
        }
    }
}

/// Answers whether the sample is there, deployed now or earlier, with the route to its page.
pub(crate) async fn is_deployed(client: &Client) -> kube::Result<bool> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    if deployments.get_opt("productpage-v1").await?.is_none() {
        return Ok(false);
    }
    let kind = GroupVersionKind::gvk("networking.istio.io", "v1", "VirtualService");
    let routes: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), NAMESPACE, &ApiResource::from_gvk(&kind));
    Ok(routes.get_opt("bookinfo").await?.is_some())
}

async fn wait_for_page(ingress: SocketAddr, timeout: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + timeout;
    loop {
        let last = match tokio::time::timeout(Duration::from_secs(5), status_of_page(ingress)).await
        {
            Ok(Ok(200)) => return Ok(()),
            Ok(Ok(status)) => format!("status {status}"),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "no answer within 5 s".into(),
        };
        if Instant::now() > end {
            bail!("http://{ingress}/productpage does not answer 200: {last}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One request, by hand: a client library for a status line would be a dependency for nothing.
async fn status_of_page(ingress: SocketAddr) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect(ingress).await?;
    let request =
        format!("GET /productpage HTTP/1.1\r\nhost: {ingress}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(64 << 10).read_to_end(&mut answer).await?;
    let line = answer
        .split(|&byte| byte == b'\r')
        .next()
        .unwrap_or_default();
    let status = line
        .split(|&byte| byte == b' ')
        .nth(1)
        .and_then(|text| std::str::from_utf8(text).ok());
    status
        .and_then(|text| text.parse().ok())
        .context("the answer is not HTTP")
}
