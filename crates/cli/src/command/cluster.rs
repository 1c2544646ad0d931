//! `lateen up`, `down`, `status`, `logs` and `env`: a whole mesh on this machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use lateen_local::cluster::{self, Options, Record};
use lateen_local::node::images::Mapping;
use serde_json::json;

use super::{bookinfo, install};
use crate::manifests::Values;
use crate::output::{self, Format};
use crate::progress::Step;

/// The exit code of `lateen status` when the cluster does not run, as of `systemctl status`.
const NOT_RUNNING: u8 = 3;

/// Which cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct Which {
    /// The cluster's name, for more than one on this machine.
    #[arg(long, default_value = "lateen")]
    name: String,
}

/// Start a mesh on this machine: a cluster, the control plane, the ingress gateway.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lateen up                                   the mesh, ready for your own workloads
  lateen up --bookinfo                        with the Bookinfo sample deployed
  lateen up --http-port 9000                  the gateway on http://127.0.0.1:9000
  lateen up --image web:1=/usr/local/bin/web  what `image: web:1` runs")]
pub(crate) struct Up {
    #[command(flatten)]
    which: Which,
    /// Deploy the Bookinfo sample, with a sidecar in each pod, and a route to it.
    #[arg(long)]
    bookinfo: bool,
    /// Port of 127.0.0.1 for the gateway's HTTP; 0 takes any.
    #[arg(long, default_value_t = 8080)]
    http_port: u16,
    /// Port of 127.0.0.1 for the gateway's HTTPS; 0 takes any.
    #[arg(long, default_value_t = 8443)]
    https_port: u16,
    /// Port of 127.0.0.1 for the Kubernetes API; 0 takes any.
    #[arg(long, default_value_t = 6443)]
    api_port: u16,
    /// A program of this machine that an image name stands for; may be repeated.
    #[arg(long = "image", value_name = "NAME=PROGRAM", value_parser = Mapping::parse)]
    images: Vec<Mapping>,
    /// The kubeconfig that gets the context; $KUBECONFIG or ~/.kube/config if unset.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// How long to wait for the mesh, in seconds.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    timeout: u64,
}

/// End the mesh that `lateen up` started; its objects are kept for the next `up`.
#[derive(Debug, Args)]
pub(crate) struct Down {
    #[command(flatten)]
    which: Which,
    /// Forget the objects, too.
    #[arg(long)]
    purge: bool,
}

/// Tell whether the local mesh runs, where, and whether its parts are ready.
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    which: Which,
    /// How to print.
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// Print the local cluster's own log (not that of pods: `kubectl logs` does).
#[derive(Debug, Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    which: Which,
    /// Go on printing what is added.
    #[arg(long, short)]
    follow: bool,
}

/// Print the addresses of the local mesh as shell variables: `eval "$(lateen env)"`.
#[derive(Debug, Args)]
pub(crate) struct Env {
    #[command(flatten)]
    which: Which,
}

/// Runs `lateen up`.
pub(crate) async fn up(args: Up) -> anyhow::Result<()> {
    let record = match cluster::status(&args.which.name, None)? {
        cluster::Status::Running(record) => {
            eprintln!("The cluster {:?} is already running", args.which.name);
            *record
        }
        cluster::Status::Stopped | cluster::Status::Starting => start(&args).await?,
    };
    let client = client_of(&args.which.name).await?;
    let timeout = Duration::from_secs(args.timeout);
    install::install(client.clone(), &Values::default(), timeout).await?;
    let ingress = port(&record, "ingress HTTP")?;
    if args.bookinfo {
        bookinfo::deploy(client, ingress, timeout).await?;
    }
    output::print(&welcome(&args.which.name, &record, ingress, args.bookinfo));
    Ok(())
}

async fn start(args: &Up) -> anyhow::Result<Record> {
    let mut options = Options {
        name: args.which.name.clone(),
        api: local(args.api_port),
        images: args.images.clone(),
        kubeconfig: args.kubeconfig.clone(),
        ..Options::default()
    };
    for published in &mut options.published {
        published.address = local(match published.service.port {
            80 => args.http_port,
            _ => args.https_port,
        });
    }
    let step = Step::begin("Starting the cluster");
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let starting = tokio::task::spawn_blocking(move || {
        // A receiver that is gone means that nobody waits any more.
        cluster::up(&options, |progress| drop(tell.send(progress.text)))
    });
    while let Some(text) = told.recv().await {
        step.note(text);
    }
    match starting.await? {
        Ok(record) => {
            step.done("Cluster started");
            Ok(record)
        }
        Err(error) => {
            step.failed("Starting the cluster");
            Err(error.into())
        }
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A client that does not depend on which context is selected.
async fn client_of(name: &str) -> anyhow::Result<Client> {
    let path = cluster::state::Home::open(name, None)?.kubeconfig();
    let kubeconfig = Kubeconfig::read_from(&path)
        .with_context(|| format!("cannot read the cluster's kubeconfig {}", path.display()))?;
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn port(record: &Record, purpose: &str) -> anyhow::Result<SocketAddr> {
    let found = record.ports.iter().find(|(name, _)| name == purpose);
    found
        .map(|(_, address)| *address)
        .with_context(|| format!("the cluster has no port for {purpose}"))
}

fn welcome(name: &str, record: &Record, ingress: SocketAddr, has_bookinfo: bool) -> String {
    let mut text = String::from("\nThe mesh is up.\n\n");
    if has_bookinfo {
        text.push_str(&format!("  Bookinfo      http://{ingress}/productpage\n"));
    } else {
        text.push_str(&format!("  Ingress       http://{ingress}\n"));
    }
    text.push_str(&format!(
        "  Kubernetes    https://{}  (kubectl context `{}`)\n\n",
        record.api,
        cluster::options::context_name(name)
    ));
    if record.kubeconfig.is_none() {
        text.push_str(
            "No kubeconfig could be written: `eval \"$(lateen env)\"` sets KUBECONFIG.\n\n",
        );
    }
    text.push_str("Try next:\n");
    if has_bookinfo {
        text.push_str(
            "  kubectl get pods                      each pod 2/2: the application and its proxy\n  \
               lateen proxy-status                   every proxy in sync\n  \
               kubectl apply -f samples/bookinfo/networking/destination-rule-all.yaml\n  \
               kubectl apply -f samples/bookinfo/networking/virtual-service-reviews-80-20.yaml\n                                        \
               reload the page: a fifth of the loads shows black stars\n",
        );
    } else {
        text.push_str(
            "  kubectl label namespace default istio-injection=enabled\n  \
               kubectl apply -f samples/bookinfo/platform/kube/bookinfo.yaml\n  \
               kubectl apply -f samples/bookinfo/networking/bookinfo-gateway.yaml\n",
        );
    }
    text.push_str("  lateen down                           end it\n");
    text
}

/// Runs `lateen down`.
pub(crate) fn down(args: &Down) -> anyhow::Result<()> {
    let was_running = cluster::down(&args.which.name, None)?;
    if args.purge {
        let data = cluster::state::Home::open(&args.which.name, None)?.data();
        match std::fs::remove_file(&data) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => bail!("cannot remove {}: {error}", data.display()),
        }
    }
    eprintln!(
        "{}",
        if was_running {
            "The cluster is down"
        } else {
            "The cluster was not running"
        }
    );
    Ok(())
}

/// Runs `lateen status`.
pub(crate) async fn status(args: Status) -> anyhow::Result<ExitCode> {
    let record = match cluster::status(&args.which.name, None)? {
        cluster::Status::Running(record) => record,
        other => {
            let state = if matches!(other, cluster::Status::Starting) {
                "starting"
            } else {
                "stopped"
            };
            match args.output {
                Format::Table => output::print(&format!("{state}\n")),
                format => output::print_value(&json!({ "state": state }), format)?,
            }
            return Ok(ExitCode::from(NOT_RUNNING));
        }
    };
    let ports: serde_json::Map<_, _> = record
        .ports
        .iter()
        .map(|(name, address)| (name.clone(), json!(address.to_string())))
        .collect();
    let pods = install::unready(&client_of(&args.which.name).await?).await;
    let value = json!({
        "state": "running",
        "pid": record.supervisor.pid,
        "publisherPid": record.publisher.pid,
        "started": record.started.to_string(),
        "api": record.api.to_string(),
        "ports": ports,
        "kubeconfig": record.kubeconfig,
        "notReady": pods.as_ref().ok()
    });
    if args.output != Format::Table {
        output::print_value(&value, args.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!(
        "running since {}, pid {}\n  Kubernetes API  https://{}\n",
        record.started, record.supervisor.pid, record.api
    );
    for (name, address) in &record.ports {
        text.push_str(&format!("  {name:<15} {address}\n"));
    }
    match pods {
        Ok(pods) if pods.is_empty() => text.push_str("  every pod is ready\n"),
        Ok(pods) => text.push_str(&format!("  not ready: {}\n", pods.join(", "))),
        Err(error) => text.push_str(&format!("  the API does not answer: {error:#}\n")),
    }
    output::print(&text);
    Ok(ExitCode::SUCCESS)
}

/// Runs `lateen logs`.
pub(crate) fn logs(args: &Logs) -> anyhow::Result<()> {
    Ok(cluster::follow_log(
        &args.which.name,
        None,
        args.follow,
        &mut std::io::stdout(),
    )?)
}

/// Runs `lateen env`.
pub(crate) fn env(args: &Env) -> anyhow::Result<()> {
    let cluster::Status::Running(record) = cluster::status(&args.which.name, None)? else {
        bail!(
            "the cluster {:?} does not run: `lateen up` starts it",
            args.which.name
        );
    };
    let http = port(&record, "ingress HTTP")?;
    let https = port(&record, "ingress HTTPS")?;
    let kubeconfig = match &record.kubeconfig {
        Some(path) => path.clone(),
        None => cluster::state::Home::open(&args.which.name, None)?.kubeconfig(),
    };
    output::print(&format!(
        "export INGRESS_HOST={}\nexport INGRESS_PORT={}\nexport SECURE_INGRESS_PORT={}\n\
         export GATEWAY_URL={http}\nexport KUBECONFIG='{}'\n",
        http.ip(),
        http.port(),
        https.port(),
        kubeconfig.display().to_string().replace('\'', "'\\''")
    ));
    Ok(())
}
