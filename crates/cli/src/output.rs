//! Standard output, and the client for the cluster that a command is about.

use std::error::Error;
use std::io::{ErrorKind, Write as _};

use anyhow::{anyhow, bail};
use clap::ValueEnum;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
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
    let server = server.trim_end_matches('/');
    let client = Client::try_from(config)
        .map_err(|error| anyhow!("cannot talk to the cluster at {server}: {}", cause(&error)))?;
    // Asked once and for all, so that no command has to tell this from its own failures. What the
    // server answers does not matter.
    if let Err(error @ (kube::Error::Service(_) | kube::Error::HyperError(_))) =
        client.apiserver_version().await
    {
        let why = cause(&error);
        bail!(
            "the cluster at {server} cannot be reached: {why}; does it run? (`lateen up` starts a \
             local one)"
        );
    }
    Ok(client)
}

/// The namespace that commands without `-n` are about.
pub(crate) async fn default_namespace(context: Option<&str>) -> anyhow::Result<String> {
    Ok(config(context).await?.default_namespace)
}

/// Says what a cluster did not do; `right` is what a user must be allowed for it.
pub(crate) fn failed(what: &str, right: &str, error: &kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if status.code == 403 => {
            anyhow!("{what}: {} (it needs {right})", status.message)
        }
        kube::Error::Api(status) => anyhow!("{what}: {}", status.message),
        other => anyhow!("{what}: {}", cause(other)),
    }
}

/// What an error comes from in the end; what wraps it often only repeats it.
fn cause(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

async fn config(context: Option<&str>) -> anyhow::Result<Config> {
    let kubeconfig = match Kubeconfig::read() {
        Ok(kubeconfig) => kubeconfig,
        Err(KubeconfigError::FindPath) => Kubeconfig::default(),
        Err(KubeconfigError::ReadConfig(error, _)) if error.kind() == ErrorKind::NotFound => {
            Kubeconfig::default()
        }
        Err(error) => bail!("the kubeconfig cannot be read: {error}"),
    };
    let current = kubeconfig.current_context.clone();
    let chosen = context
        .map(str::to_owned)
        .or(current)
        .filter(|name| !name.is_empty());
    let Some(chosen) = chosen else {
        // In a pod of the cluster the service account is what there is.
        return Config::incluster().map_err(|_| anyhow!(nothing_chosen(&kubeconfig)));
    };
    if !names(&kubeconfig).any(|name| name == chosen) {
        bail!(unknown_context(&kubeconfig, &chosen));
    }
    let options = KubeConfigOptions {
        context: Some(chosen.clone()),
        ..KubeConfigOptions::default()
    };
    Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| anyhow!("the kubeconfig's context {chosen:?} cannot be used: {error}"))
}

fn names(kubeconfig: &Kubeconfig) -> impl Iterator<Item = &str> {
    kubeconfig
        .contexts
        .iter()
        .map(|context| context.name.as_str())
}

fn list(kubeconfig: &Kubeconfig) -> String {
    names(kubeconfig).collect::<Vec<_>>().join(", ")
}

fn nothing_chosen(kubeconfig: &Kubeconfig) -> String {
    if kubeconfig.contexts.is_empty() {
        return "no cluster is configured: set KUBECONFIG, or start one with `lateen up`".into();
    }
    let list = list(kubeconfig);
    format!(
        "the kubeconfig selects no context: choose one with `--context`, or for good with \
         `kubectl config use-context`; there are {list}"
    )
}

fn unknown_context(kubeconfig: &Kubeconfig, name: &str) -> String {
    if kubeconfig.contexts.is_empty() {
        return format!("the kubeconfig has no context {name:?}, nor any other");
    }
    let list = list(kubeconfig);
    format!("the kubeconfig has no context {name:?}; there are {list}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(contexts: &[&str]) -> Kubeconfig {
        let mut text = String::from("{apiVersion: v1, kind: Config, contexts: [");
        for name in contexts {
            text.push_str(&format!("{{name: {name}, context: {{cluster: c}}}},"));
        }
        Kubeconfig::from_yaml(&(text + "]}")).unwrap()
    }

    #[test]
    fn without_a_context_it_says_what_to_do() {
        assert!(nothing_chosen(&kubeconfig(&[])).contains("`lateen up`"));
        assert!(nothing_chosen(&kubeconfig(&["a", "b"])).ends_with("there are a, b"));
        assert_eq!(
            unknown_context(&kubeconfig(&["a"]), "b"),
            "the kubeconfig has no context \"b\"; there are a"
        );
    }

    #[test]
    fn the_cause_is_told_once_and_rights_only_where_they_lack() {
        let refused = std::io::Error::new(ErrorKind::ConnectionRefused, "refused");
        let wrapped = kube::Error::Service(Box::new(std::io::Error::other(refused)));
        let text = failed("cannot list pods", "`list`", &wrapped).to_string();
        assert_eq!(text, "cannot list pods: refused");
        let status = kube::core::Status {
            code: 403,
            message: "forbidden".into(),
            ..kube::core::Status::default()
        };
        let text = failed(
            "cannot list pods",
            "`list`",
            &kube::Error::Api(status.boxed()),
        );
        assert_eq!(
            text.to_string(),
            "cannot list pods: forbidden (it needs `list`)"
        );
    }
}
