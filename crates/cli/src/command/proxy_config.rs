//! `lateen proxy-config`: what a proxy really has, asked from the proxy itself.
//!
//! The plan comes from the admin port of the proxy, which listens on the pod's loopback only,
//! through a port-forward: so it works wherever `kubectl port-forward` is allowed, whatever the
//! control plane thinks.

mod filter;
mod tables;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use kube::ResourceExt as _;
use serde_json::Value;

use crate::{output, pod};

/// Show what a proxy has: its listeners, routes, clusters and endpoints.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lateen proxy-config routes productpage-v1-abc --name 9080
  lateen pc clusters deploy/reviews-v1 --fqdn ratings.default.svc.cluster.local
  lateen pc endpoints istio-ingressgateway-abc.istio-system --status healthy
  lateen pc all productpage-v1-abc -o json       everything, for programs")]
pub(crate) struct ProxyConfig {
    #[command(subcommand)]
    part: Part,
}

/// What of it.
#[derive(Debug, Subcommand)]
enum Part {
    /// What the proxy listens to, and what serves it.
    #[command(visible_aliases = ["listener", "l"])]
    Listeners {
        #[command(flatten)]
        of: Of,
        /// Only this port.
        #[arg(long)]
        port: Option<u16>,
        /// Only this address.
        #[arg(long)]
        address: Option<String>,
    },
    /// The rules for requests, in the order in which they are tried.
    #[command(visible_aliases = ["route", "r"])]
    Routes {
        #[command(flatten)]
        of: Of,
        /// Only the table of this name, such as 9080 or http.8080.
        #[arg(long)]
        name: Option<String>,
        /// Only the virtual host of this name.
        #[arg(long)]
        fqdn: Option<String>,
    },
    /// The destinations.
    #[command(visible_aliases = ["cluster", "c"])]
    Clusters {
        #[command(flatten)]
        of: Of,
        /// Only of this service.
        #[arg(long)]
        fqdn: Option<String>,
        /// Only of this service port.
        #[arg(long)]
        port: Option<u16>,
        /// Only of this subset.
        #[arg(long)]
        subset: Option<String>,
        /// Only of this direction.
        #[arg(long, value_parser = ["inbound", "outbound"])]
        direction: Option<String>,
    },
    /// The addresses behind the destinations, with their state.
    #[command(visible_aliases = ["endpoint", "ep"])]
    Endpoints {
        #[command(flatten)]
        of: Of,
        /// Only of this cluster.
        #[arg(long)]
        cluster: Option<String>,
        /// Only with this address.
        #[arg(long)]
        address: Option<String>,
        /// Only on this port.
        #[arg(long)]
        port: Option<u16>,
        /// Only in this state.
        #[arg(long, value_parser = ["healthy", "unhealthy", "draining"])]
        status: Option<String>,
    },
    /// Everything.
    All {
        #[command(flatten)]
        of: Of,
    },
}

/// Whose it is and how it is printed.
#[derive(Debug, Args)]
struct Of {
    /// The pod, or `deploy/NAME` for one of its pods.
    #[arg(value_name = "POD[.NAMESPACE]", required_unless_present = "file")]
    pod: Option<String>,
    /// A file with the proxy's `/config_dump`, in place of a pod.
    #[arg(long, short, conflicts_with = "pod")]
    file: Option<PathBuf>,
    /// The namespace; the context's if unset.
    #[arg(long, short)]
    namespace: Option<String>,
    /// The context of the kubeconfig.
    #[arg(long)]
    context: Option<String>,
    /// How to print.
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// How it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// Tables.
    #[default]
    Short,
    /// The plan as the proxy tells it, filtered.
    Json,
    /// The same as YAML.
    Yaml,
}

/// Runs the command.
pub(crate) async fn run(args: ProxyConfig) -> anyhow::Result<()> {
    let part = args.part;
    let dump = dump(part.of()).await?;
    let plan = plan_of(&dump)?;
    let format = match part.of().output {
        Format::Short => {
            output::print(&text(&part, plan));
            return Ok(());
        }
        Format::Json => output::Format::Json,
        Format::Yaml => output::Format::Yaml,
    };
    output::print_value(&selected(&part, &dump, plan), format)
}

/// The dump of the proxy, or of the file.
async fn dump(of: &Of) -> anyhow::Result<Value> {
    if let Some(path) = &of.file {
        let name = path.display();
        let text = std::fs::read(path).with_context(|| format!("cannot read {name}"))?;
        return serde_json::from_slice(&text).with_context(|| format!("{name} is not JSON"));
    }
    let text = of.pod.as_deref().unwrap_or_default();
    let name = pod::Name::parse(text, of.namespace.as_deref())?;
    let client = output::client(of.context.as_deref()).await?;
    let default = match &of.namespace {
        Some(namespace) => namespace.clone(),
        None => output::default_namespace(of.context.as_deref()).await?,
    };
    let pod = name.find(&client, &default).await?;
    let page = pod::page(&client, &pod, "/config_dump?resource=plan").await?;
    let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    serde_json::from_slice(&page)
        .with_context(|| format!("the proxy of pod {name} does not answer with JSON"))
}

/// The plan in a dump.
fn plan_of(dump: &Value) -> anyhow::Result<&Value> {
    match dump.get("plan") {
        Some(Value::Null) => bail!(
            "the proxy has no configuration yet: it waits for the control plane; \
             `lateen proxy-status` shows whether they are connected"
        ),
        Some(plan) => Ok(plan),
        None => bail!(
            "the dump has no plan: it is not from a proxy of Lateen of this version; \
             `lateen proxy-status` shows the versions"
        ),
    }
}

fn text(part: &Part, plan: &Value) -> String {
    let list = |name: &str| filter::list(part, plan, name);
    match part {
        Part::Listeners { .. } => tables::listeners(&list("listeners")),
        Part::Routes { .. } => tables::routes(&list("routes")),
        Part::Clusters { .. } => tables::clusters(&list("clusters")),
        Part::Endpoints { .. } => tables::endpoints(&list("endpoints")),
        Part::All { .. } => [
            tables::clusters(&list("clusters")),
            tables::listeners(&list("listeners")),
            tables::routes(&list("routes")),
            tables::endpoints(&list("endpoints")),
        ]
        .join("\n"),
    }
}

fn selected(part: &Part, dump: &Value, plan: &Value) -> Value {
    let list = |name: &str| Value::Array(filter::list(part, plan, name));
    match part {
        Part::Listeners { .. } => list("listeners"),
        Part::Routes { .. } => list("routes"),
        Part::Clusters { .. } => list("clusters"),
        Part::Endpoints { .. } => list("endpoints"),
        Part::All { .. } => dump.clone(),
    }
}

// === impl Part ===

impl Part {
    fn of(&self) -> &Of {
        match self {
            Self::Listeners { of, .. }
            | Self::Routes { of, .. }
            | Self::Clusters { of, .. }
            | Self::Endpoints { of, .. }
            | Self::All { of } => of,
        }
    }
}

#[cfg(test)]
mod tests;
