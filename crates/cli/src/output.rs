//! Standard output, and the client for the cluster that a command is about.

use std::io::Write as _;

use anyhow::Context as _;
use clap::ValueEnum;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// How a command that reads prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
}

/// Writes to standard output. A reader that went away, as `head` does, is no error.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .ok();
}

/// Prints a value as JSON or YAML.
pub(crate) fn print_value(value: &serde_json::Value, format: Format) -> anyhow::Result<()> {
    let text = match format {
        Format::Yaml => serde_saphyr::to_string(value)?,
        Format::Json | Format::Table => serde_json::to_string_pretty(value)? + "\n",
    };
    print(&text);
    Ok(())
}

/// A client for the cluster of a context, else of the current one.
pub(crate) async fn client(context: Option<&str>) -> anyhow::Result<Client> {
    let config = config(context).await?;
    let server = config.cluster_url.to_string();
    Client::try_from(config).with_context(|| format!("cannot talk to the cluster at {server}"))
}

/// The namespace that commands without `-n` are about.
pub(crate) async fn default_namespace(context: Option<&str>) -> anyhow::Result<String> {
    Ok(config(context).await?.default_namespace)
}

async fn config(context: Option<&str>) -> anyhow::Result<Config> {
    let Some(context) = context else {
        return Config::infer()
            .await
            .context("no cluster is configured: set KUBECONFIG, or start one with `lateen up`");
    };
    let kubeconfig = Kubeconfig::read().context("cannot read the kubeconfig")?;
    let options = KubeConfigOptions {
        context: Some(context.to_owned()),
        ..KubeConfigOptions::default()
    };
    Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .with_context(|| format!("the kubeconfig's context {context:?} cannot be used"))
}
