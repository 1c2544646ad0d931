//! `lateen control`: the control plane, as the Deployment `istiod` runs it.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use lateen_control::Settings;
use tokio::signal::unix::{SignalKind, signal};

/// Run the control plane.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lateen control                               in a pod, as `lateen install` deploys it
  lateen control --kubeconfig ~/.kube/config   beside a cluster, for development")]
pub(crate) struct Control {
    /// The namespace that it runs in, which is the mesh's root namespace.
    #[arg(long, env = "POD_NAMESPACE", default_value = "istio-system")]
    namespace: String,
    /// The revision that it serves.
    #[arg(long, env = "REVISION", default_value = "default")]
    revision: String,
    /// The image of injected proxies.
    #[arg(long, value_name = "IMAGE")]
    proxy_image: Option<String>,
    /// The cluster's name in metrics.
    #[arg(long, env = "CLUSTER_ID", default_value = "Kubernetes")]
    cluster: String,
    /// The domain of the cluster's services.
    #[arg(long, default_value = "cluster.local")]
    domain: String,
    /// Port for proxies, in plaintext.
    #[arg(long, default_value_t = 15010)]
    xds_port: u16,
    /// Port for proxies, with TLS and a token of their service account.
    #[arg(long, default_value_t = 15012)]
    secured_xds_port: u16,
    /// Port for readiness and debug pages.
    #[arg(long, default_value_t = 8080)]
    http_port: u16,
    /// Port for metrics.
    #[arg(long, default_value_t = 15014)]
    monitoring_port: u16,
    /// Port for the webhooks.
    #[arg(long, default_value_t = 15017)]
    webhook_port: u16,
    /// The kubeconfig; the cluster that it runs in, or the usual files, if unset.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// What to log: a level, or filters such as `info,lateen_xds=debug`.
    #[arg(long, env = "LATEEN_LOG", default_value = "info,kube_client=off")]
    log_level: String,
}

/// Runs the command until SIGTERM or SIGINT.
pub(crate) async fn run(args: Control) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_new(&args.log_level)?)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let any = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let default = Settings::default();
    let settings = Settings {
        namespace: args.namespace,
        revision: args.revision,
        proxy_image: args.proxy_image.unwrap_or(default.proxy_image),
        cluster: args.cluster,
        cluster_domain: args.domain,
        xds_address: any(args.xds_port),
        secured_xds_address: any(args.secured_xds_port),
        http_address: any(args.http_port),
        monitoring_address: any(args.monitoring_port),
        webhook_address: any(args.webhook_port),
        kubeconfig: args.kubeconfig,
        mesh_config_map: default.mesh_config_map,
        service: default.service,
    };
    Ok(lateen_control::run(settings, shutdown).await?)
}
