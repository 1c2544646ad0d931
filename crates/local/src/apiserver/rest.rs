//! The generic handlers: what every type can do, over JSON values and the registry.
//!
//! ```text
//! create   decode ─► prepare ─► default ─► admit ─► allocate ─► validate ─► store
//! update   read ─► (patch) ─► decode ─► prepare ─► default ─► admit ─► validate ─► store, or again
//! delete   read ─► admit ─► finalizers and grace ─► mark, or remove
//! ```

pub(crate) mod create;
pub(crate) mod decode;
pub(crate) mod delete;
mod finish;
mod logs;
mod pods;
mod port_forward;
mod proxy;
mod read;
mod reviews;
mod scale;
pub(crate) mod update;
mod watch;

use std::sync::Arc;

use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::body::{self, Body};
use super::call::{Call, Form, Verb};
use super::server::Core;
use super::status::Failure;
use super::store::Refusal;
use super::{convert, object, table};

/// Answers a call.
pub(crate) async fn handle(core: &Arc<Core>, mut call: Call) -> Response<Body> {
    let result = dispatch(core, &mut call).await;
    let mut response = result.unwrap_or_else(Failure::into_response);
    let deprecated = call.version().warning.clone();
    for warning in deprecated.iter().chain(&call.warnings) {
        if let Some(value) = warning_header(warning) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

async fn dispatch(core: &Arc<Core>, call: &mut Call) -> Result<Response<Body>, Failure> {
    let subresource = call.subresource.clone();
    match (subresource.as_str(), call.verb) {
        ("log", Verb::Get) => return logs::read(core, call),
        ("proxy", _) if call.resource.plural == "pods" => return proxy::pass(core, call).await,
        ("portforward", _) => return port_forward::open(core, call),
        ("exec" | "attach" | "proxy", _) => return Err(not_yet(call)),
        ("scale", Verb::Get) => return scale::get(core, call),
        ("scale", Verb::Update) => return scale::update(core, call).await,
        ("scale", Verb::Patch) => return scale::patch(core, call).await,
        ("token", Verb::Create) => return reviews::request_token(core, call),
        ("binding", Verb::Create) => return pods::bind(core, call).await,
        ("eviction", Verb::Create) => return pods::evict(core, call).await,
        _ => {}
    }
    let is_plain = subresource.is_empty();
    if is_plain && !call.resource.verbs.contains(&verb_name(call.verb)) {
        return Err(method_not_allowed());
    }
    match call.verb {
        Verb::Get => read::get(core, call),
        Verb::List if is_plain => read::list(core, call),
        Verb::Watch if is_plain => watch::watch(core, call),
        Verb::Create if is_plain => match call.resource.verbs.len() {
            1 => reviews::create(core, call).await,
            _ => create::create(core, call).await,
        },
        Verb::Update => update::update(core, call).await,
        Verb::Patch => update::patch(core, call).await,
        Verb::Delete if is_plain => delete::delete(core, call).await,
        Verb::DeleteCollection if is_plain => delete::delete_collection(core, call).await,
        _ => Err(method_not_allowed()),
    }
}

fn verb_name(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "get",
        Verb::List => "list",
        Verb::Watch => "watch",
        Verb::Create => "create",
        Verb::Update => "update",
        Verb::Patch => "patch",
        Verb::Delete => "delete",
        Verb::DeleteCollection => "deletecollection",
    }
}

fn method_not_allowed() -> Failure {
    Failure::method_not_allowed("the server does not allow this method on the requested resource")
}

fn not_yet(call: &Call) -> Failure {
    Failure::not_implemented(format!(
        "{} of {} is not supported by this API server yet",
        call.subresource,
        call.resource.qualified()
    ))
}

/// A `Warning` header, as RFC 7234 has it: code, agent, quoted text.
fn warning_header(text: &str) -> Option<HeaderValue> {
    let quoted: String = text
        .chars()
        .flat_map(|character| match character {
            '"' | '\\' => vec!['\\', character],
            '\n' | '\r' | '\t' => vec![' '],
            other => vec![other],
        })
        .collect();
    HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()).ok()
}

/// Writes one object in the form that the client asked for.
pub(crate) fn respond(call: &Call, status: StatusCode, stored: &Value) -> Response<Body> {
    let object = convert::to_version(&call.resource, &call.version().name, stored);
    let value = match call.form {
        Form::Objects => object,
        Form::Metadata => partial(&object),
        Form::Table(version) => {
            let revision = object::text(&object, &["metadata", "resourceVersion"]).to_owned();
            let metadata = json!({"resourceVersion": revision});
            table::render(call, version, &[object], &metadata)
        }
    };
    body::json(status, &value)
}

/// The object's metadata alone.
pub(crate) fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object.get("metadata"),
    })
}

/// Reads the object that a call names.
pub(crate) fn current(core: &Core, call: &Call) -> Result<Arc<Value>, Failure> {
    let key = super::store::Key::new(&call.namespace, &call.name);
    core.store
        .get(&call.resource.table, &key)
        .ok_or_else(|| call.resource.not_found(&call.name))
}

/// The failure that a refusal of the store is to a client.
pub(crate) fn refused(call: &Call, name: &str, refusal: &Refusal) -> Failure {
    match refusal {
        Refusal::Exists => call.resource.already_exists(name),
        Refusal::Missing => call.resource.not_found(name),
        Refusal::Changed => call.resource.modified(name),
        Refusal::Journal(_) => Failure::internal(refusal),
    }
}
