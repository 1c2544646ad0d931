//! The analysis behind `lateen analyze`: what is wrong among objects, files or a cluster's, with
//! Istio's codes, levels and formats.
//!
//! Validation looks at one object; here objects are held against each other (does the host exist,
//! is the gateway there, does a subset select anything). Objects that are only there to be referred
//! to are passed too; whose messages are wanted is said by [`Options`].
//!
//! Istio's IST0128 and IST0129 (no CA certificates, hence no verification) are left out on purpose:
//! without CA certificates servers are verified by the system's authorities.

mod annotation;
pub mod code;
pub mod credential;
mod destination_rule;
mod envoy_filter;
mod gateway;
pub mod output;
mod selector;
mod service;
mod service_entry;
mod set;
mod virtual_service;
mod workload;

use lateen_model::ObjectRef;
use serde_json::{Value, json};

use crate::object::Object;
use crate::problem::Problem;
use crate::yaml::{self, Lines};
use crate::{lower, validate};

pub use code::{Code, Level};
use credential::Judge;
use set::{Set, Subject};

/// An object to analyse, with its origin.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The object.
    pub value: Value,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where an object comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A cluster.
    Cluster,
    /// A file.
    File {
        /// Its name, as the user wrote it.
        name: String,
        /// The lines of the object's fields.
        lines: Lines,
    },
    /// Nowhere: it is what an installation has. Nothing is ever said about it.
    Assumed,
}

/// How to analyse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The namespace of objects in files that name none.
    pub namespace: String,
    /// Report on objects of all namespaces; else on those of `namespace` and of files.
    pub all_namespaces: bool,
    /// The root namespace of the mesh.
    pub root_namespace: String,
    /// The domain of the cluster's services.
    pub cluster_domain: String,
}

/// Something that is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What kind of problem it is.
    pub code: &'static Code,
    /// How grave it is; usually the code's level.
    pub level: Level,
    /// The object.
    pub object: ObjectRef,
    /// The field, such as `spec.http[0].route[0].destination.host`; empty for the whole object.
    pub field: String,
    /// What is wrong, and what to do.
    pub text: String,
    /// The place in a file, as `name:line`; empty for objects of a cluster.
    pub reference: String,
}

/// The kinds of Kubernetes itself that the analysis reads, as group, version, kind and plural; of a
/// cluster they are wanted from every namespace, since Gateways select pods anywhere. The kinds of
/// Istio are [`crate::KINDS`].
pub const KUBERNETES_KINDS: [(&str, &str, &str, &str); 9] = [
    ("", "v1", "Namespace", "namespaces"),
    ("", "v1", "Pod", "pods"),
    ("", "v1", "Service", "services"),
    ("apps", "v1", "Deployment", "deployments"),
    ("apps", "v1", "StatefulSet", "statefulsets"),
    ("apps", "v1", "DaemonSet", "daemonsets"),
    ("apps", "v1", "ReplicaSet", "replicasets"),
    ("batch", "v1", "Job", "jobs"),
    ("batch", "v1", "CronJob", "cronjobs"),
];

/// Reads a file's text; lists (`kind: List`) are taken apart.
///
/// # Errors
/// If the text is no YAML.
pub fn read(name: &str, text: &str) -> Result<Vec<Entry>, yaml::Error> {
    let mut entries = Vec::new();
    for document in yaml::documents(text)? {
        let origin = |lines: Lines| Origin::File {
            name: name.to_owned(),
            lines,
        };
        match document.value {
            Value::Object(mut list) if list.get("kind").is_some_and(|kind| kind == "List") => {
                let items = match list.remove("items") {
                    Some(Value::Array(items)) => items,
                    _ => Vec::new(),
                };
                for (index, value) in items.into_iter().enumerate() {
                    let lines = document.lines.at(&format!("items[{index}]"));
                    entries.push(Entry {
                        value,
                        origin: origin(lines),
                    });
                }
            }
            value => entries.push(Entry {
                value,
                origin: origin(document.lines),
            }),
        }
    }
    Ok(entries)
}

/// What every installation has, to be added where only files are analysed: the ingress gateway
/// that Gateways select.
pub fn installation(options: &Options) -> Vec<Entry> {
    let labels = json!({"app": "istio-ingressgateway", "istio": "ingressgateway"});
    let metadata = json!({
        "name": "istio-ingressgateway", "namespace": options.root_namespace, "labels": labels,
    });
    let port = |name: &str, port: u16, target: u16| json!({"name": name, "port": port, "targetPort": target, "protocol": "TCP"});
    let ports = json!([
        port("status-port", 15021, 15021),
        port("http2", 80, 8080),
        port("https", 443, 8443),
    ]);
    let containers = json!([{"name": "istio-proxy"}]);
    let objects = [
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": {"containers": containers},
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"selector": labels, "ports": ports},
        }),
    ];
    let entries = objects.into_iter().map(|value| Entry {
        value,
        origin: Origin::Assumed,
    });
    entries.collect()
}

/// Analyses objects. An object of a file takes the place of the cluster's of the same name. What
/// Secrets hold is for `judge`, and so is what time it is.
pub fn analyze(entries: &[Entry], options: &Options, judge: Judge<'_>) -> Vec<Message> {
    let set = Set::new(entries, options);
    let mut findings = Findings {
        messages: Vec::new(),
    };
    for subject in set.subjects() {
        schema(subject, &mut findings);
    }
    annotation::analyze(&set, &mut findings);
    workload::analyze(&set, &mut findings);
    service::analyze(&set, &mut findings);
    virtual_service::analyze(&set, &mut findings);
    destination_rule::analyze(&set, &mut findings);
    gateway::analyze(&set, judge, &mut findings);
    service_entry::analyze(&set, &mut findings);
    selector::analyze(&set, &mut findings);
    envoy_filter::analyze(&set, &mut findings);
    let mut messages = findings.messages;
    messages.sort_by(|a, b| {
        let key = |m: &Message| (m.code.id, m.object.clone(), m.field.clone());
        b.level.cmp(&a.level).then_with(|| key(a).cmp(&key(b)))
    });
    messages.dedup();
    messages
}

/// Validation of single objects.
fn schema(subject: &Subject<'_>, findings: &mut Findings) {
    let object = subject.object;
    if object.kind().is_empty() || object.api_version().is_empty() {
        let text = "this is not a Kubernetes object: apiVersion or kind is missing";
        return findings.add(&code::SCHEMA, subject, "", text);
    }
    if !object.group().ends_with(".istio.io") || object.group().starts_with("install.") {
        return;
    }
    let report = validate::check(object);
    for problem in &report.errors {
        findings.problem(&code::SCHEMA, subject, problem);
    }
    for problem in &report.warnings {
        findings.problem(&code::SCHEMA_WARNING, subject, problem);
    }
    let Some(kind) = object.istio_kind().filter(|_| report.is_valid()) else {
        return;
    };
    for finding in validate::unreachable(object) {
        let code = if finding.is_whole_rule {
            &code::UNREACHABLE_RULE
        } else {
            &code::INEFFECTIVE_MATCH
        };
        findings.problem(code, subject, &finding.problem);
    }
    if let Some(problem) = validate::address_missing(object) {
        findings.problem(&code::ADDRESSES_REQUIRED, subject, &problem);
    }
    for field in lower::unsupported::fields(kind, object.0) {
        let text = format!("{field}: {}", validate::NOT_IN_EFFECT);
        findings.add(&code::SCHEMA_WARNING, subject, &field, text);
    }
}

/// Collects messages.
struct Findings {
    messages: Vec<Message>,
}

// === impl Findings ===

impl Findings {
    /// Adds a message of the code's level.
    fn add(
        &mut self,
        code: &'static Code,
        subject: &Subject<'_>,
        field: &str,
        text: impl Into<String>,
    ) {
        self.add_at(code.level, code, subject, field, text.into());
    }

    /// Adds what validation found.
    fn problem(&mut self, code: &'static Code, subject: &Subject<'_>, problem: &Problem) {
        self.add(code, subject, &problem.path, problem.to_string());
    }

    /// Adds a message of another level.
    fn add_at(
        &mut self,
        level: Level,
        code: &'static Code,
        subject: &Subject<'_>,
        field: &str,
        text: String,
    ) {
        if subject.is_wanted && !is_suppressed(subject.object, code) {
            self.messages.push(Message {
                code,
                level,
                object: subject.reference(),
                field: field.to_owned(),
                text,
                reference: subject.place(field),
            });
        }
    }
}

/// The annotation by which an object turns messages off: codes, or `*`.
const SUPPRESS: &str = "galley.istio.io/analyze-suppress";

fn is_suppressed(object: Object<'_>, code: &Code) -> bool {
    let codes = object.annotation(SUPPRESS).unwrap_or("");
    codes
        .split(',')
        .map(str::trim)
        .any(|entry| entry == "*" || entry == code.id)
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: "default".into(),
            all_namespaces: false,
            root_namespace: "istio-system".into(),
            cluster_domain: "cluster.local".into(),
        }
    }
}

#[cfg(test)]
mod tests;
