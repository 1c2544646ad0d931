//! `lateen proxy-status`: what every connected proxy has, from the control plane's `/debug/syncz`.

use anyhow::{Context as _, bail};
use clap::Args;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::manifests::ROOT_NAMESPACE;
use crate::output::{self, Format};
use crate::{pod, table};

/// The port of the control plane's debug pages.
const DEBUG_PORT: u16 = 8080;

/// List every proxy and whether it has the latest configuration.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lateen proxy-status                 every proxy
  lateen proxy-status details-v1      those whose name begins so, with what they refused
  lateen proxy-status -o json         for programs")]
pub(crate) struct ProxyStatus {
    /// Only proxies whose `pod.namespace` begins with this.
    #[arg(value_name = "POD[.NAMESPACE]", default_value = "")]
    name: String,
    /// The namespace of the control plane.
    #[arg(long, short = 'i', default_value = ROOT_NAMESPACE)]
    istio_namespace: String,
    /// The context of the kubeconfig.
    #[arg(long)]
    context: Option<String>,
    /// How to print.
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// Runs the command.
pub(crate) async fn run(args: ProxyStatus) -> anyhow::Result<()> {
    let client = output::client(args.context.as_deref()).await?;
    let mut proxies = connected(&client, &args.istio_namespace).await?;
    let count = proxies.len();
    proxies.retain(|proxy| text(&proxy["proxy"]).starts_with(&args.name));
    proxies.sort_by_key(|proxy| text(&proxy["proxy"]).to_owned());
    if proxies.is_empty() {
        eprintln!("{}", nothing(&args.name, count, &args.istio_namespace));
    }
    if args.output != Format::Table {
        return output::print_value(&Value::Array(proxies), args.output);
    }
    let rows: Vec<Vec<String>> = proxies.iter().map(row).collect();
    output::print(&table::render(
        &[
            "NAME",
            "CLUSTER",
            "STATUS",
            "ISTIOD",
            "VERSION",
            "SUBSCRIBED TYPES",
        ],
        &rows,
    ));
    for proxy in &proxies {
        for subscription in proxy["subscriptions"].as_array().into_iter().flatten() {
            for error in subscription["errors"].as_array().into_iter().flatten() {
                let (name, why) = (text(&error["name"]), text(&error["error"]));
                eprintln!("{} refuses {name}: {why}", text(&proxy["proxy"]));
            }
        }
    }
    Ok(())
}

/// What is said where there is nothing to list, of `count` proxies.
fn nothing(name: &str, count: usize, namespace: &str) -> String {
    match count {
        0 => format!("no proxy is connected to the control plane in {namespace}"),
        1 => format!("the name of the one proxy that is connected does not begin with {name:?}"),
        _ => format!("none of the {count} proxies that are connected begins with {name:?}"),
    }
}

/// The proxies of every replica of the control plane, each with the replica that it is connected to.
async fn connected(client: &Client, namespace: &str) -> anyhow::Result<Vec<Value>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let replicas = pods
        .list(&ListParams::default().labels("app=istiod"))
        .await
        .map_err(|error| {
            let what = format!("cannot list the pods of {namespace}");
            output::failed(&what, "`list` on pods", &error)
        })?;
    let running = replicas.iter().filter(|pod| {
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
    });
    let mut proxies = Vec::new();
    let mut count = 0;
    for pod in running {
        count += 1;
        let name = pod.name_any();
        let what = || format!("cannot ask the control plane's pod {namespace}/{name}");
        let page = pod::page_at(client, pod, DEBUG_PORT, "/debug/syncz").await;
        let page = page.with_context(what)?;
        let entries: Vec<Value> = serde_json::from_slice(&page).with_context(what)?;
        proxies.extend(entries.into_iter().map(|mut entry| {
            entry["istiod"] = json!(name);
            entry
        }));
    }
    if count == 0 {
        bail!(
            "no control plane runs in {namespace}: `lateen install` deploys it, `-i` names another namespace"
        );
    }
    Ok(proxies)
}

fn row(proxy: &Value) -> Vec<String> {
    let subscriptions = proxy["subscriptions"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let types: Vec<&str> = subscriptions
        .iter()
        .map(|subscription| text(&subscription["type"]))
        .collect();
    vec![
        text(&proxy["proxy"]).to_owned(),
        text(&proxy["cluster_id"]).to_owned(),
        state(subscriptions).to_owned(),
        text(&proxy["istiod"]).to_owned(),
        text(&proxy["istio_version"]).to_owned(),
        format!("{} ({})", types.len(), types.join(",")),
    ]
}

/// The worst of a proxy's states; types of which nothing had to be sent yet say nothing.
fn state(subscriptions: &[Value]) -> &'static str {
    let states: Vec<&str> = subscriptions
        .iter()
        .map(|subscription| text(&subscription["state"]))
        .collect();
    for worst in ["ERROR", "STALE"] {
        if states.contains(&worst) {
            return worst;
        }
    }
    if states.contains(&"SYNCED") {
        "SYNCED"
    } else {
        "NOT SENT"
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nothing_has_is_told_apart_from_no_proxy_at_all() {
        assert!(nothing("x", 0, "istio-system").contains("no proxy is connected"));
        assert_eq!(
            nothing("x", 7, "istio-system"),
            "none of the 7 proxies that are connected begins with \"x\""
        );
    }

    #[test]
    fn a_proxy_is_as_far_as_its_worst_subscription() {
        let states = |states: &[&str]| {
            let list: Vec<Value> = states
                .iter()
                .map(|state| json!({ "state": state }))
                .collect();
            state(&list)
        };
        assert_eq!(states(&["SYNCED", "NOT SENT"]), "SYNCED");
        assert_eq!(states(&["SYNCED", "STALE"]), "STALE");
        assert_eq!(states(&["STALE", "ERROR"]), "ERROR");
        assert_eq!(states(&[]), "NOT SENT");
    }
}
