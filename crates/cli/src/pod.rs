//! Pods by the names that people type, and the pages of their proxies.

use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::core::Selector;
use kube::{Client, ResourceExt as _};
use tokio::time::timeout;

/// The proxy's own pages, on the pod's loopback.
const ADMIN_PORT: u16 = 15000;
/// The container of a proxy.
const PROXY: &str = "istio-proxy";
/// The longest value of a label.
const MOST_LABEL: usize = 63;
/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// What somebody typed for a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    /// It is the name of a Deployment: `deploy/web`.
    is_deployment: bool,
    /// The name as typed; it may end with a namespace.
    text: String,
    /// The namespace, if it is given.
    namespace: Option<String>,
}

// === impl Name ===

impl Name {
    /// Reads `POD`, `POD.NAMESPACE`, `pod/POD`, `deploy/NAME` or `deployment/NAME`.
    pub(crate) fn parse(text: &str, namespace: Option<&str>) -> anyhow::Result<Self> {
        let (kind, name) = text.split_once('/').unwrap_or(("", text));
        let is_deployment = match kind {
            "" | "pod" | "pods" | "po" => false,
            "deploy" | "deployment" | "deployments" | "deployment.apps" | "deployments.apps" => {
                true
            }
            other => bail!("{text:?}: {other:?} is neither a pod nor a deployment"),
        };
        if name.is_empty() {
            bail!("{text:?} names nothing: give a pod, such as `productpage-v1-abc.default`");
        }
        Ok(Self {
            is_deployment,
            text: name.to_owned(),
            namespace: namespace.map(str::to_owned),
        })
    }

    /// The names with their namespaces that may be meant, the likelier first. Names of pods may
    /// have dots themselves.
    pub(crate) fn candidates(&self, default: &str) -> Vec<(String, String)> {
        let own = self.namespace.as_deref().unwrap_or(default);
        let mut candidates = vec![(self.text.clone(), own.to_owned())];
        if let Some((name, namespace)) = self.text.rsplit_once('.')
            && self.namespace.as_deref().is_none_or(|own| own == namespace)
            && !name.is_empty()
        {
            candidates.insert(0, (name.to_owned(), namespace.to_owned()));
        }
        candidates
    }

    /// The pod, or the best one of a Deployment of this name, or of those whose label `app` says so.
    pub(crate) async fn find(&self, client: &Client, default: &str) -> anyhow::Result<Pod> {
        let candidates = self.candidates(default);
        for (name, namespace) in &candidates {
            let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
            if !self.is_deployment
                && let Some(pod) = pods
                    .get_opt(name)
                    .await
                    .with_context(|| format!("cannot read pod {namespace}/{name}"))?
            {
                return Ok(pod);
            }
            if let Some(pod) = of_deployment(client, namespace, name).await? {
                return Ok(pod);
            }
            if !self.is_deployment
                && name.len() <= MOST_LABEL
                && let Some(pod) = of_app(client, namespace, name).await?
            {
                return Ok(pod);
            }
        }
        let (name, namespace) = &candidates[0];
        let what = if self.is_deployment {
            "deployment with pods"
        } else {
            "pod, deployment or label `app`"
        };
        let known = with_proxies(client, namespace).await?;
        let known = match known.as_slice() {
            [] => "no pod has a proxy there: `-n` names another namespace".to_owned(),
            known => format!("pods with a proxy there: {}", known.join(", ")),
        };
        bail!("no {what} {name:?} in namespace {namespace:?}; {known}");
    }
}

/// The pod of a Deployment that most likely answers: one that is ready before one that runs.
async fn of_deployment(
    client: &Client,
    namespace: &str,
    name: &str,
) -> anyhow::Result<Option<Pod>> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let found = deployments.get_opt(name).await;
    let found = found.with_context(|| format!("cannot read deployment {namespace}/{name}"))?;
    let Some(spec) = found.and_then(|deployment| deployment.spec) else {
        return Ok(None);
    };
    let selector = Selector::try_from(spec.selector)
        .with_context(|| format!("the selector of deployment {namespace}/{name}"))?;
    best(client, namespace, &selector).await
}

/// The pod of an application that most likely answers.
async fn of_app(client: &Client, namespace: &str, name: &str) -> anyhow::Result<Option<Pod>> {
    let app = ("app".to_owned(), name.to_owned());
    best(client, namespace, &Selector::from_iter([app])).await
}

/// The pod that most likely answers among those that a selector chooses.
async fn best(
    client: &Client,
    namespace: &str,
    selector: &Selector,
) -> anyhow::Result<Option<Pod>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let list = pods
        .list(&ListParams::default().labels_from(selector))
        .await;
    let list = list.with_context(|| format!("cannot list the pods of {namespace}"))?;
    Ok(list.items.into_iter().max_by_key(rank))
}

fn rank(pod: &Pod) -> (bool, bool, bool) {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref());
    let mut conditions = conditions.unwrap_or_default().iter();
    (
        pod.metadata.deletion_timestamp.is_none(),
        phase(pod) == "Running",
        conditions.any(|one| one.type_ == "Ready" && one.status == "True"),
    )
}

async fn with_proxies(client: &Client, namespace: &str) -> anyhow::Result<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let list = pods.list(&ListParams::default()).await;
    let list = list.with_context(|| format!("cannot list the pods of {namespace}"))?;
    let own = list.iter().filter(|pod| has_proxy(pod));
    Ok(own.map(kube::ResourceExt::name_any).collect())
}

/// Answers whether a pod has a proxy, as a container or as a native sidecar.
pub(crate) fn has_proxy(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let mut all = spec.containers.iter().chain(init);
    all.any(|container| container.name == PROXY)
}

fn phase(pod: &Pod) -> &str {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    phase.unwrap_or("Pending")
}

/// Answers whether a proxy can be asked, or what stands against it.
fn check(pod: &Pod) -> anyhow::Result<()> {
    let (name, namespace) = (pod.name_any(), pod.namespace().unwrap_or_default());
    if !has_proxy(pod) {
        bail!(
            "pod {namespace}/{name} has no proxy (no container {PROXY}): label its namespace \
             istio-injection=enabled and restart it"
        );
    }
    match phase(pod) {
        "Running" => Ok(()),
        phase => bail!(
            "pod {namespace}/{name} is {phase}, so that its proxy does not run; \
             `kubectl describe pod {name} -n {namespace}` tells why"
        ),
    }
}

/// Reads a page of a pod's proxy, through a port-forward.
pub(crate) async fn page(client: &Client, pod: &Pod, path: &str) -> anyhow::Result<Bytes> {
    check(pod)?;
    let (name, namespace) = (pod.name_any(), pod.namespace().unwrap_or_default());
    let answer = page_at(client, pod, ADMIN_PORT, path).await;
    answer.with_context(|| {
        format!(
            "the proxy of pod {namespace}/{name} does not answer on its admin port {ADMIN_PORT}; \
             `kubectl logs {name} -n {namespace} -c {PROXY}` may tell why"
        )
    })
}

/// Reads a page on a port of a pod's loopback address, through a port-forward.
pub(crate) async fn page_at(
    client: &Client,
    pod: &Pod,
    port: u16,
    path: &str,
) -> anyhow::Result<Bytes> {
    let (name, namespace) = (pod.name_any(), pod.namespace().unwrap_or_default());
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let mut forward = pods.portforward(&name, &[port]).await.with_context(|| {
        format!("cannot forward a port of pod {namespace}/{name} (it needs `create` on pods/portforward)")
    })?;
    let (Some(stream), Some(error)) = (forward.take_stream(port), forward.take_error(port)) else {
        bail!("the port-forward to pod {namespace}/{name} has no stream");
    };
    let answer = match timeout(PATIENCE, get(stream, path)).await {
        Ok(Ok((200, body))) => Ok(body),
        Ok(Ok((status, body))) => Err(anyhow::anyhow!(
            "{path} was answered {status}: {}",
            String::from_utf8_lossy(&body).trim_end()
        )),
        Ok(Err(failure)) => {
            // What the other end says is nearer to the cause than that the connection ended.
            let said = timeout(Duration::from_secs(1), error).await.ok().flatten();
            Err(said.map_or(failure, anyhow::Error::msg))
        }
        Err(_) => Err(anyhow::anyhow!("no answer within {} s", PATIENCE.as_secs())),
    };
    forward.abort();
    answer
}

async fn get(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    path: &str,
) -> anyhow::Result<(u16, Bytes)> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = http::Request::get(path)
        .header(http::header::HOST, "localhost")
        .body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        anyhow::Ok((status, response.into_body().collect().await?.to_bytes()))
    };
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = &mut connection => {
            ended?;
            exchange.await
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn candidates(text: &str, namespace: Option<&str>) -> Vec<String> {
        let name = Name::parse(text, namespace).unwrap();
        let candidates = name.candidates("default").into_iter();
        candidates
            .map(|(name, namespace)| format!("{namespace}/{name}"))
            .collect()
    }

    #[test]
    fn a_name_may_end_with_its_namespace() {
        assert_eq!(candidates("web", None), ["default/web"]);
        assert_eq!(candidates("web", Some("shop")), ["shop/web"]);
        assert_eq!(
            candidates("web.shop", None),
            ["shop/web", "default/web.shop"]
        );
        // Names of pods may have dots.
        assert_eq!(candidates("web.v1", Some("shop")), ["shop/web.v1"]);
        assert_eq!(candidates("deploy/web", None), ["default/web"]);
    }

    #[test]
    fn only_pods_and_deployments_have_proxies() {
        let error = Name::parse("svc/web", None).unwrap_err().to_string();
        assert!(error.contains("neither a pod nor a deployment"), "{error}");
        assert!(Name::parse("", None).is_err());
    }

    fn pod(phase: &str, container: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "b"},
            "spec": {"containers": [{"name": container}]},
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    #[test]
    fn what_stands_against_asking_a_proxy_is_said() {
        assert!(check(&pod("Running", "istio-proxy")).is_ok());
        let none = check(&pod("Running", "app")).unwrap_err().to_string();
        assert!(
            none.contains("b/a has no proxy") && none.contains("istio-injection=enabled"),
            "{none}"
        );
        let pending = check(&pod("Pending", "istio-proxy"))
            .unwrap_err()
            .to_string();
        assert!(
            pending.contains("is Pending") && pending.contains("kubectl describe pod a -n b"),
            "{pending}"
        );
    }

    #[tokio::test]
    async fn a_page_is_read_from_a_stream() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let server = async move {
            let mut request = vec![0; 256];
            let length = theirs.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /x HTTP/1.1\r\n"));
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
            theirs.write_all(answer).await.unwrap();
            // The stream stays open, as a forwarded one may.
            theirs
        };
        let (answer, _theirs) = tokio::join!(get(ours, "/x"), server);
        let (status, body) = answer.unwrap();
        assert_eq!((status, &body[..]), (200, &b"hi"[..]));
    }
}
