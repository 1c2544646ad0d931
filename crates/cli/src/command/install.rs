//! `lateen install`: deploys the mesh into the cluster that the kubeconfig names.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};

use crate::apply::{Applier, Outcome};
use crate::manifests::{self, ROOT_NAMESPACE, Values};
use crate::progress::Step;

/// Deploy the control plane and the ingress gateway.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lateen install                           into the cluster of the current context
  lateen install --dry-run > mesh.yaml     print what would be applied
  lateen install --hub registry.example/lateen --tag 1.2.3")]
pub(crate) struct Install {
    /// Print the objects instead of applying them.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Where the images `lateen` and `lateen-proxy` come from.
    #[arg(long, default_value = "docker.io/lateen")]
    pub(crate) hub: String,
    /// The images' tag.
    #[arg(long, default_value = manifests::VERSION)]
    pub(crate) tag: String,
    /// A file with MeshConfig (YAML), for the ConfigMap `istio`.
    #[arg(long, value_name = "FILE")]
    pub(crate) mesh_config: Option<std::path::PathBuf>,
    /// The context of the kubeconfig.
    #[arg(long)]
    pub(crate) context: Option<String>,
    /// How long to wait for the deployments, in seconds; 0 does not wait.
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    pub(crate) timeout: u64,
    /// Do not ask: there is nothing to confirm, taken for scripts that were written for istioctl.
    #[arg(long, short = 'y', visible_alias = "skip-confirmation")]
    pub(crate) yes: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Install) -> anyhow::Result<()> {
    let mut values = Values {
        hub: args.hub,
        tag: args.tag,
        ..Values::default()
    };
    if let Some(path) = &args.mesh_config {
        values.mesh_config = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read MeshConfig from {}", path.display()))?;
    }
    if args.dry_run {
        return print(&values);
    }
    let client = crate::output::client(args.context.as_deref()).await?;
    install(client, &values, Duration::from_secs(args.timeout)).await
}

fn print(values: &Values) -> anyhow::Result<()> {
    let mut text = String::new();
    for object in manifests::all(values) {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&object)?);
    }
    crate::output::print(&text);
    Ok(())
}

/// Applies every object and waits until the deployments are ready.
pub(crate) async fn install(
    client: Client,
    values: &Values,
    timeout: Duration,
) -> anyhow::Result<()> {
    let step = Step::begin("Applying the mesh's objects");
    let mut applier = Applier::new(client.clone());
    let (mut created, mut configured, mut unchanged) = (0, 0, 0);
    for object in manifests::all(values) {
        match applier.apply(&object, ROOT_NAMESPACE).await {
            Ok(Outcome::Created) => created += 1,
            Ok(Outcome::Configured) => configured += 1,
            Ok(Outcome::Unchanged) => unchanged += 1,
            Err(error) => {
                step.failed(format!("Applying {}", manifests::name_of(&object)));
                return Err(error);
            }
        }
    }
    step.done(format!(
        "Mesh objects applied: {created} created, {configured} configured, {unchanged} unchanged"
    ));
    if timeout.is_zero() {
        return Ok(());
    }
    wait_ready(
        &client,
        ROOT_NAMESPACE,
        &["istiod", "istio-ingressgateway"],
        timeout,
    )
    .await
}

/// Waits until every pod of these deployments is ready, and says what it waits for.
pub(crate) async fn wait_ready(
    client: &Client,
    namespace: &str,
    names: &[&str],
    timeout: Duration,
) -> anyhow::Result<()> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let step = Step::begin(format!("Waiting for {}", names.join(", ")));
    let waiting = async {
        loop {
            let mut open = Vec::new();
            for name in names {
                let deployment = api
                    .get(name)
                    .await
                    .with_context(|| format!("deployment {namespace}/{name}"))?;
                if !is_ready(&deployment) {
                    open.push(*name);
                }
            }
            if open.is_empty() {
                return anyhow::Ok(());
            }
            step.note(format!("Waiting for {}", open.join(", ")));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    match tokio::time::timeout(timeout, waiting).await {
        Ok(Ok(())) => {
            step.done(format!("Ready: {}", names.join(", ")));
            Ok(())
        }
        Ok(Err(error)) => {
            step.failed("Waiting for the deployments");
            Err(error)
        }
        Err(_) => {
            step.failed(format!("Not ready after {} s", timeout.as_secs()));
            bail!("{}", why_not_ready(client, namespace).await?)
        }
    }
}

fn is_ready(deployment: &Deployment) -> bool {
    let wanted = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    let Some(status) = &deployment.status else {
        return false;
    };
    status.observed_generation >= deployment.metadata.generation
        && status.updated_replicas.unwrap_or(0) >= wanted
        && status.available_replicas.unwrap_or(0) >= wanted
}

/// The pods that are not ready and neither done nor on their way out.
pub(crate) async fn unready(client: &Client) -> kube::Result<Vec<Pod>> {
    let pods: Api<Pod> = Api::all(client.clone());
    let list = pods.list(&ListParams::default()).await?;
    let is_open = |pod: &Pod| pod.metadata.deletion_timestamp.is_none() && !is_pod_ready(pod);
    Ok(list.into_iter().filter(is_open).collect())
}

/// A pod as `namespace/name`.
pub(crate) fn full_name(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

fn is_pod_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let is_done = status.and_then(|status| status.phase.as_deref()) == Some("Succeeded");
    let conditions = status
        .and_then(|status| status.conditions.as_ref())
        .into_iter()
        .flatten();
    is_done
        || conditions
            .into_iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Says which pods are not ready and why, as far as their statuses tell.
async fn why_not_ready(client: &Client, namespace: &str) -> anyhow::Result<String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let mut text = format!("pods in {namespace} are not ready:");
    for pod in pods.list(&ListParams::default()).await? {
        let Some(status) = pod.status.as_ref().filter(|_| !is_pod_ready(&pod)) else {
            continue;
        };
        let phase = status.phase.as_deref().unwrap_or("Unknown");
        text.push_str(&format!("\n  {} ({phase})", pod.name_any()));
        let containers = status
            .init_container_statuses
            .iter()
            .chain(&status.container_statuses)
            .flatten();
        for container in containers.filter(|container| !container.ready) {
            let state = container.state.as_ref();
            let waiting = state.and_then(|state| state.waiting.as_ref());
            let ended = state.and_then(|state| state.terminated.as_ref());
            let why = match (waiting, ended) {
                (Some(waiting), _) => format!(
                    "{} {}",
                    waiting.reason.as_deref().unwrap_or("waiting"),
                    waiting.message.as_deref().unwrap_or_default()
                ),
                (None, Some(ended)) => format!("ended with code {}", ended.exit_code),
                (None, None) => "not ready".into(),
            };
            text.push_str(&format!("\n    {}: {}", container.name, why.trim_end()));
        }
    }
    text.push_str(&format!(
        "\nsee `kubectl -n {namespace} describe pods` and `kubectl -n {namespace} logs <pod>`"
    ));
    Ok(text)
}
