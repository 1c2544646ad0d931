//! `lateen why`: the decision of a proxy on one request, with its trace.
//!
//! The objects come from the cluster, or from files; what is made of them is the work of
//! `lateen-why`, which runs the code of the control plane and of the proxies.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::Pod;
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Client, ResourceExt as _};
use lateen_why::{Answer, Error, Question, World, assume, explain, text};
use serde_json::Value;

use super::analyze;
use crate::manifests::ROOT_NAMESPACE;
use crate::{output, pod};

/// Usage that cannot be carried out, as the shell's own commands have it.
const USAGE: u8 = 2;

/// The kinds of Kubernetes that are read: group, version, kind, plural.
const KINDS: [(&str, &str, &str, &str); 6] = [
    ("", "v1", "Service", "services"),
    ("", "v1", "Pod", "pods"),
    ("", "v1", "Node", "nodes"),
    ("", "v1", "Namespace", "namespaces"),
    ("", "v1", "ConfigMap", "configmaps"),
    ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
];

/// Tell why a request gets what it gets.
///
/// Prints the decision of the caller's proxy with its trace: listener, virtual host, every rule
/// that was tried with its first failing condition, the destination and its endpoints, and each
/// object and rule behind them. The code is the very one that proxies run. Exits with 0 if the
/// request is forwarded or answered by a rule, with 1 if not.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lateen why --from productpage http://reviews:9080/reviews/0 -H 'end-user: jason'
  lateen why --from istio-ingressgateway -n istio-system http://bookinfo.local/productpage
  lateen why --from productpage-v1 -f samples/bookinfo http://ratings:9080/ratings/0
  lateen why --from shop/app=web -f rules.yaml tcp://db:3306")]
pub(crate) struct Why {
    /// The URL, as the caller would write it; http, https or tcp.
    url: String,
    /// Who calls: a pod, a deployment or the value of a label `app`; with -f also
    /// `namespace/key=value,…`.
    #[arg(long, value_name = "POD_OR_DEPLOY[.NAMESPACE]")]
    from: String,
    /// A header field of the request; may be given several times.
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// The method.
    #[arg(long, short = 'X', default_value = "GET")]
    method: String,
    /// The namespace of the caller; the context's if unset, `default` for files.
    #[arg(long, short)]
    namespace: Option<String>,
    /// Files or folders in place of the cluster; `-` for standard input.
    #[arg(long = "file", short, value_name = "FILE_OR_DIR")]
    files: Vec<PathBuf>,
    /// The draw where a rule splits traffic or takes a share, from 0 to 100; the greatest share is
    /// followed if unset.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    random: Option<f64>,
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

/// How it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| format!("{text:?} is no header: write 'name: value'"))?;
    let (name, value) = (name.trim(), value.trim());
    let is_valid = http::HeaderName::from_bytes(name.as_bytes()).is_ok()
        && http::HeaderValue::from_str(value).is_ok();
    if is_valid {
        Ok((name.to_owned(), value.to_owned()))
    } else {
        Err(format!("{text:?} has characters that no header may have"))
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.trim_end_matches('%').parse().ok();
    number
        .filter(|number| (0.0..=100.0).contains(number))
        .ok_or_else(|| format!("{text:?} is no number from 0 to 100"))
}

/// Runs the command.
pub(crate) async fn run(args: Why) -> anyhow::Result<ExitCode> {
    let question = match question(&args) {
        Ok(question) => question,
        Err(error) => {
            eprintln!("Error: {error}");
            return Ok(ExitCode::from(USAGE));
        }
    };
    let answer = if args.files.is_empty() {
        live(&args, &question).await?
    } else {
        offline(&args, &question)?
    };
    match args.output {
        Format::Text => output::print(&text::render(&answer)),
        Format::Json => output::print_value(&answer.to_json(), output::Format::Json)?,
    }
    Ok(if answer.outcome.is_served() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn question(args: &Why) -> Result<Question, Error> {
    let mut question = Question::new(&args.url)?;
    question.method = args.method.to_ascii_uppercase();
    question.draw = args.random.map(|percent| percent / 100.0);
    for (name, value) in &args.header {
        question = question.with(name, value);
    }
    Ok(question)
}

/// The answer by the objects of files.
fn offline(args: &Why, question: &Question) -> anyhow::Result<Answer> {
    let mut objects = Vec::new();
    for file in &args.files {
        let entries = analyze::files(file, true, true)?;
        objects.extend(entries.into_iter().map(|entry| entry.value));
    }
    let namespace = args.namespace.as_deref().unwrap_or("default");
    let completed = assume::complete(objects, &args.from, namespace)?;
    let world = World::new(&completed.objects, &args.istio_namespace)?;
    let caller = world.caller(&completed.caller.0, &completed.caller.1)?;
    let mut answer = explain(&world, &world.configuration(&caller), &caller, question);
    answer.assumptions.splice(0..0, completed.assumptions);
    Ok(answer)
}

/// The answer by the objects of the cluster.
async fn live(args: &Why, question: &Question) -> anyhow::Result<Answer> {
    let name = pod::Name::parse(&args.from, args.namespace.as_deref())?;
    let client = output::client(args.context.as_deref()).await?;
    let default = match &args.namespace {
        Some(namespace) => namespace.clone(),
        None => output::default_namespace(args.context.as_deref()).await?,
    };
    let pod: Pod = name.find(&client, &default).await?;
    let objects = cluster(&client).await?;
    let world = World::new(&objects, &args.istio_namespace)?;
    let namespace = pod.namespace().unwrap_or_default();
    let caller = world.caller(&namespace, &pod.name_any())?;
    let configuration = world.configuration(&caller);
    Ok(explain(&world, &configuration, &caller, question))
}

/// Every object that the answer depends on.
async fn cluster(client: &Client) -> anyhow::Result<Vec<Value>> {
    let kubernetes = KINDS.iter().map(|(group, version, kind, plural)| {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    });
    let istio = lateen_api::KINDS.iter().map(|kind| {
        let version = kind.storage_version();
        let gvk = GroupVersionKind::gvk(kind.group, version, kind.kind);
        ApiResource::from_gvk_with_plural(&gvk, kind.plural)
    });
    let lists = kubernetes
        .chain(istio)
        .map(|kind| analyze::list(client, kind));
    let mut objects = Vec::new();
    for list in futures::future::join_all(lists).await {
        let entries = list.context("the objects of the cluster cannot be read")?;
        objects.extend(entries.into_iter().map(|entry| entry.value));
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        why: Why,
    }

    fn typed(words: &[&str]) -> Result<Why, String> {
        let words = std::iter::once("why").chain(words.iter().copied());
        Typed::try_parse_from(words)
            .map(|typed| typed.why)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_request_is_typed_as_for_curl() {
        let why = typed(&[
            "--from",
            "web",
            "http://a:80/x",
            "-H",
            "end-user: jason",
            "-H",
            "Host: b",
            "-X",
            "post",
            "--random",
            "75",
        ])
        .unwrap();
        let question = question(&why).unwrap();
        assert_eq!(question.method, "POST");
        assert_eq!(question.authority, "b");
        assert_eq!(question.headers, [("end-user".into(), "jason".into())]);
        assert_eq!(question.draw, Some(0.75));
    }

    #[test]
    fn what_is_typed_wrong_is_told() {
        for (words, why) in [
            (&["http://a/"][..], "--from"),
            (&["--from", "web", "http://a/", "-H", "x"], "'name: value'"),
            (
                &["--from", "web", "http://a/", "-H", "a b: c"],
                "no header may have",
            ),
            (
                &["--from", "web", "http://a/", "--random", "101"],
                "from 0 to 100",
            ),
        ] {
            let error = typed(words).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let why = typed(&["--from", "web", "ftp://a/"]).unwrap();
        assert!(question(&why).is_err());
    }

    #[test]
    fn files_alone_are_enough() {
        let samples = "../../samples/bookinfo";
        let why = typed(&[
            "--from",
            "productpage-v1",
            "-f",
            samples,
            "http://reviews:9080/reviews/0",
        ])
        .unwrap();
        let answer = offline(&why, &question(&why).unwrap()).unwrap();
        assert!(answer.outcome.is_served(), "{}", text::render(&answer));
        assert!(
            answer
                .assumptions
                .iter()
                .any(|one| one.contains("Service/default/reviews"))
        );
    }
}
