//! `lateen up`, `down`, `status`, `logs` and `env`: a whole mesh on this machine.

mod kept;
mod start;
mod status;
mod welcome;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use lateen_local::cluster::options::{DEFAULT_NAME, command};
use lateen_local::cluster::{self, Record};
use lateen_local::node::images::Mapping;
use serde_json::json;

use self::welcome::Welcome;
use super::{bookinfo, install};
use crate::manifests::Values;
use crate::output::{self, Format};

/// The exit code of `lateen status` when the cluster does not run, as of `systemctl status`.
const NOT_RUNNING: u8 = 3;

/// Which cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct Which {
    /// The cluster's name, for more than one on this machine.
    #[arg(long, default_value = DEFAULT_NAME)]
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
    /// Port of 127.0.0.1 for the gateway's HTTP, 8080 if unset; 0 takes any.
    #[arg(long, value_name = "PORT")]
    http_port: Option<u16>,
    /// Port of 127.0.0.1 for the gateway's HTTPS, 8443 if unset; 0 takes any.
    #[arg(long, value_name = "PORT")]
    https_port: Option<u16>,
    /// Port of 127.0.0.1 for the Kubernetes API, 6443 if unset; 0 takes any.
    #[arg(long, value_name = "PORT")]
    api_port: Option<u16>,
    /// A program of this machine that an image name stands for; may be repeated, and is kept for
    /// the next `up`. A cluster that runs has to be ended first.
    #[arg(long = "image", value_name = "NAME=PROGRAM", value_parser = mapping)]
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
    /// Forget everything: objects, images, logs.
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

fn mapping(text: &str) -> Result<Mapping, String> {
    let mapping = Mapping::parse(text)?;
    mapping.absolute().map_err(|error| error.to_string())
}

/// Runs `lateen up`.
pub(crate) async fn up(args: Up) -> anyhow::Result<()> {
    let name = &args.which.name;
    let record = match cluster::status(name, None)? {
        cluster::Status::Running(record) => {
            start::check_images(name, &args.images)?;
            start::check_ports(&args, &record)?;
            eprintln!("The cluster {name:?} is already running");
            *record
        }
        cluster::Status::Stopped | cluster::Status::Starting => start::start(&args).await?,
    };
    let client = client_of(name).await?;
    let timeout = Duration::from_secs(args.timeout);
    install::install(client.clone(), &Values::default(), timeout).await?;
    let ingress = port(&record, "ingress HTTP")?;
    if args.bookinfo {
        bookinfo::deploy(client.clone(), ingress, timeout).await?;
    }
    let unready = kept::wait(&client, record.started.as_second(), timeout).await?;
    let welcome = Welcome {
        name,
        record: &record,
        ingress,
        has_bookinfo: bookinfo::is_deployed(&client).await?,
        unready: &unready,
    };
    output::print(&welcome.to_string());
    Ok(())
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

/// Runs `lateen down`.
pub(crate) fn down(args: &Down) -> anyhow::Result<()> {
    let name = &args.which.name;
    if cluster::state::Home::find(name, None)?.is_none() {
        eprintln!("There is no cluster {name:?} on this machine");
        return Ok(());
    }
    if args.purge {
        cluster::purge(name, None)?;
        eprintln!("The cluster {name:?} is down, and nothing of it is kept");
    } else if cluster::down(name, None)? {
        eprintln!("The cluster {name:?} is down; its objects are kept");
    } else {
        eprintln!("The cluster {name:?} was not running");
    }
    Ok(())
}

/// Runs `lateen status`.
pub(crate) async fn status(args: Status) -> anyhow::Result<ExitCode> {
    let name = &args.which.name;
    let record = match cluster::status(name, None)? {
        cluster::Status::Running(record) => record,
        other => {
            let state = if matches!(other, cluster::Status::Starting) {
                "starting"
            } else {
                "stopped"
            };
            match args.output {
                Format::Table => output::print(&format!("{state}\n")),
                format => {
                    output::print_value(&json!({ "name": name, "state": state }), format)?;
                }
            }
            return Ok(ExitCode::from(NOT_RUNNING));
        }
    };
    let client = client_of(name).await?;
    let report = status::Report {
        name,
        record: &record,
        ingress: port(&record, "ingress HTTP")?,
        has_bookinfo: bookinfo::is_deployed(&client).await.unwrap_or(false),
        unready: install::unready(&client).await,
    };
    match args.output {
        Format::Table => output::print(&report.to_string()),
        format => output::print_value(&report.value(), format)?,
    }
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
            "the cluster {:?} does not run: `{}` starts it",
            args.which.name,
            command("up", &args.which.name)
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
