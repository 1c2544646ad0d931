//! `lateen analyze`: finds mistakes in files or in the cluster, with istioctl's codes and formats.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ListParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use lateen_api::analyze::credential::Credential;
use lateen_api::analyze::output::Suppression;
use lateen_api::analyze::{self, Entry, KUBERNETES_KINDS, Level, Message, Options, Origin};
use serde_json::Value;

use crate::manifests::ROOT_NAMESPACE;
use crate::output;

/// istioctl's exit code when something was found at or above the threshold.
const FOUND: u8 = 79;

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// A line each.
    #[default]
    Log,
    /// istioctl's JSON.
    Json,
    /// The same as YAML.
    Yaml,
}

/// Find mistakes in files or in the cluster.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lateen analyze                           the current namespace of the cluster
  lateen analyze -A                        every namespace
  lateen analyze my-route.yaml             a file as if it were applied to the cluster
  lateen analyze --use-kube=false dir/     files alone, without a cluster")]
pub(crate) struct Analyze {
    /// Files or folders; `-` for standard input. Objects in them take the place of the cluster's.
    files: Vec<PathBuf>,
    /// Look at the cluster, too; by default if no file is given or a cluster is configured.
    #[arg(long, short = 'k', action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    use_kube: Option<bool>,
    /// Go into folders of folders.
    #[arg(long, short = 'R')]
    recursive: bool,
    /// The namespace; the context's if unset.
    #[arg(long, short)]
    namespace: Option<String>,
    /// Every namespace.
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// The namespace of the control plane.
    #[arg(long, short = 'i', default_value = ROOT_NAMESPACE)]
    istio_namespace: String,
    /// Leave messages out: those of a code about an object, `CODE=KIND NAME.NAMESPACE`. `*` stands
    /// for anything; objects without a namespace are `KIND NAME`. May be repeated.
    ///
    /// Such as `-S "IST0102=Namespace test"`, `-S "IST0101=VirtualService reviews.default"` or
    /// `-S "IST01*=* *.default"`. The annotation `galley.istio.io/analyze-suppress: IST0101` on an
    /// object does the same for good.
    #[arg(long, short = 'S', value_name = "CODE=OBJECT", value_parser = Suppression::parse)]
    suppress: Vec<Suppression>,
    /// Fail if there is a message of this level: Info, Warning or Error.
    #[arg(long, default_value = "Error", value_parser = level)]
    failure_threshold: Level,
    /// Print messages from this level on.
    #[arg(long, default_value = "Info", value_parser = level)]
    output_threshold: Level,
    /// How to print.
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
    /// The context of the kubeconfig.
    #[arg(long)]
    context: Option<String>,
}

fn level(text: &str) -> Result<Level, String> {
    Level::from_name(text).ok_or_else(|| format!("{text:?} is neither Info nor Warning nor Error"))
}

/// Runs the command.
pub(crate) async fn run(args: Analyze) -> anyhow::Result<ExitCode> {
    let client = match args.use_kube {
        Some(false) => None,
        Some(true) => Some(output::client(args.context.as_deref()).await?),
        None if args.files.is_empty() => Some(output::client(args.context.as_deref()).await?),
        // A file can be judged without a cluster, only not as well.
        None => output::client(args.context.as_deref())
            .await
            .inspect_err(|error| eprintln!("The files alone are judged: {error:#}"))
            .ok(),
    };
    let namespace = match (&args.namespace, &client) {
        (Some(namespace), _) => namespace.clone(),
        (None, Some(_)) => output::default_namespace(args.context.as_deref()).await?,
        (None, None) => "default".into(),
    };
    let options = Options {
        namespace,
        all_namespaces: args.all_namespaces,
        root_namespace: args.istio_namespace.clone(),
        cluster_domain: "cluster.local".into(),
    };
    let mut entries = match &client {
        Some(client) => cluster(client).await?,
        None => analyze::installation(&options),
    };
    for file in &args.files {
        entries.extend(files(file, args.recursive, true)?);
    }
    if let Some(client) = &client {
        contents(client, &mut entries, &options).await?;
    }
    let now = unix_seconds(SystemTime::now());
    let judge = |credential: &Credential<'_>| lateen_control::judge_credential(credential, now);
    let mut messages = analyze::analyze(&entries, &options, &judge);
    messages.retain(|message| !args.suppress.iter().any(|one| one.covers(message)));
    print(&messages, &args, &options, client.is_some())?;
    let is_bad = messages
        .iter()
        .any(|message| message.level >= args.failure_threshold);
    Ok(if is_bad {
        ExitCode::from(FOUND)
    } else {
        ExitCode::SUCCESS
    })
}

fn unix_seconds(now: SystemTime) -> i64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn print(
    messages: &[Message],
    args: &Analyze,
    options: &Options,
    is_cluster: bool,
) -> anyhow::Result<()> {
    let shown = analyze::output::json(messages, args.output_threshold);
    match args.output {
        Format::Json => output::print_value(&shown, output::Format::Json)?,
        Format::Yaml => output::print_value(&shown, output::Format::Yaml)?,
        Format::Log if shown.as_array().is_none_or(Vec::is_empty) => {
            output::print(&format!(
                "{}\n",
                analyze::output::all_well(options, is_cluster)
            ));
        }
        Format::Log => output::print(&analyze::output::log(messages, args.output_threshold)),
    }
    Ok(())
}

/// Every object of the cluster that the analysis reads.
async fn cluster(client: &Client) -> anyhow::Result<Vec<Entry>> {
    let istio = lateen_api::KINDS.iter().map(|kind| {
        let version = kind.storage_version();
        ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk(kind.group, version, kind.kind),
            kind.plural,
        )
    });
    let kubernetes = KUBERNETES_KINDS
        .iter()
        .map(|(group, version, kind, plural)| {
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
        });
    let lists = kubernetes
        .chain(istio)
        .map(|resource| list(client, resource));
    let mut entries = Vec::new();
    for list in futures::future::join_all(lists).await {
        entries.extend(list?);
    }
    entries.extend(secrets(client).await?);
    Ok(entries)
}

/// The names of Secrets; what most of them hold is nobody's business here. Who may not list them is
/// not told about missing ones.
async fn secrets(client: &Client) -> anyhow::Result<Vec<Entry>> {
    let api = Api::<Secret>::all(client.clone());
    let list = match api.list_metadata(&ListParams::default()).await {
        Ok(list) => list,
        Err(kube::Error::Api(status)) if status.code == 403 => return Ok(Vec::new()),
        Err(error) => {
            return Err(output::failed(
                "cannot list secrets",
                "`list` on it",
                &error,
            ));
        }
    };
    let entry = |secret: kube::core::PartialObjectMeta<_>| {
        let metadata = serde_json::json!({
            "namespace": secret.metadata.namespace,
            "name": secret.metadata.name,
        });
        Entry {
            value: serde_json::json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": metadata,
            }),
            origin: Origin::Cluster,
        }
    };
    Ok(list.into_iter().map(entry).collect())
}

/// What those Secrets hold that Gateways name, and no others. Who may not read them is told only
/// whether they exist.
async fn contents(
    client: &Client,
    entries: &mut Vec<Entry>,
    options: &Options,
) -> anyhow::Result<()> {
    let names = analyze::credential::missing(entries, options);
    let gets = names.iter().map(|(namespace, name)| async move {
        let api = Api::<Secret>::namespaced(client.clone(), namespace);
        match api.get_opt(name).await {
            Ok(secret) => Ok(Some(secret)),
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
            Err(error) => {
                let what = format!("cannot read the secret {namespace}/{name}");
                Err(output::failed(&what, "`get` on secrets", &error))
            }
        }
    });
    let found = futures::future::join_all(gets).await;
    for ((namespace, name), found) in names.iter().zip(found) {
        let Some(found) = found? else { continue };
        entries.retain(|entry| {
            let object = lateen_api::Object(&entry.value);
            let is_it = object.is("", "Secret")
                && (object.namespace(), object.name()) == (namespace.as_str(), name.as_str());
            entry.origin != Origin::Cluster || !is_it
        });
        // One that has gone since it was listed is gone here, too.
        entries.extend(found.map(|secret| Entry {
            value: serde_json::json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": { "namespace": namespace, "name": name },
                "data": secret.data.unwrap_or_default(),
            }),
            origin: Origin::Cluster,
        }));
    }
    Ok(())
}

pub(super) async fn list(client: &Client, resource: ApiResource) -> anyhow::Result<Vec<Entry>> {
    let api: Api<kube::api::DynamicObject> = Api::all_with(client.clone(), &resource);
    let list = match api.list(&ListParams::default()).await {
        Ok(list) => list,
        // A kind that is not installed has no objects.
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Vec::new()),
        Err(error) => {
            let (plural, group) = (&resource.plural, &resource.group);
            let kind = if group.is_empty() {
                plural.clone()
            } else {
                format!("{plural}.{group}")
            };
            return Err(output::failed(
                &format!("cannot list {kind}"),
                "`list` on it",
                &error,
            ));
        }
    };
    let mut entries = Vec::new();
    for object in list {
        let mut value = serde_json::to_value(&object)?;
        value["apiVersion"] = Value::String(resource.api_version.clone());
        value["kind"] = Value::String(resource.kind.clone());
        entries.push(Entry {
            value,
            origin: Origin::Cluster,
        });
    }
    Ok(entries)
}

/// The objects of a file, or of the YAML and JSON files of a folder.
pub(super) fn files(path: &Path, recursive: bool, is_named: bool) -> anyhow::Result<Vec<Entry>> {
    let name = path.display().to_string();
    if path.is_dir() {
        let mut inside: Vec<PathBuf> = std::fs::read_dir(path)
            .with_context(|| format!("cannot read {name}"))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        inside.sort();
        let mut entries = Vec::new();
        for path in inside
            .into_iter()
            .filter(|path| recursive || is_named && !path.is_dir())
        {
            entries.extend(files(&path, recursive, false)?);
        }
        return Ok(entries);
    }
    let is_object = path
        .extension()
        .is_some_and(|one| one == "yaml" || one == "yml" || one == "json");
    if !is_named && !is_object {
        return Ok(Vec::new());
    }
    let text = match name.as_str() {
        "-" => std::io::read_to_string(std::io::stdin())?,
        _ => std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?,
    };
    analyze::read(&name, &text).with_context(|| name)
}
